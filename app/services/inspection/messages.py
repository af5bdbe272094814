"""Text messages: what could be sent, and who would tell that it has arrived."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from app.finding import Finding, Level
from app.services import Services
from app.sms.doctor import examine

# They are for trying things out.
_NOBODY = ("console", "memory")


def findings(services: Services, settings: Mapping[str, Any]) -> Iterator[Finding]:
    """Give what there is to say; nothing can be sent by nobody, which may be meant."""
    is_production = settings["FLASK_ENV"] == "production"
    for found in examine(services.templates, services.gateway, services.limits):
        # Who reads the log of a start is not to know where receipts are taken.
        words = found.words.replace(settings["SMS_RECEIPTS_SECRET"], "…")
        is_unset = found.about == "SMS_PROVIDER"
        level = Level.NOTE if is_unset else found.level
        yield replace(found, words=words, level=level)
    for name in services.gateway.order:
        if is_production and name in _NOBODY:
            words = f"names {name}, which sends to nobody"
            yield Finding.note("SMS_PROVIDER", words, "name a provider that sends")
    if is_production and settings["PUBLIC_URL"].startswith("http:"):
        words = "is not https: who listens on the way learns the secret of the receipts"
        yield Finding.note("PUBLIC_URL", words, "put a proxy in front that speaks TLS")
