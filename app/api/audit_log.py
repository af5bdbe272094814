"""Keeps in the audit who did what by which request, and what came of it."""

import re
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response, g, request

from app.api.access import Access
from app.api.resource import services
from app.api.rule import asked_rule
from app.auth.permissions import Identity
from app.auth.tokens import PREFIX
from app.errors import StorageUnavailable

_CHARACTERS = 300

# What could be used by whoever reads it, at a place where it does not belong: a token,
# or what follows the caller in a signed uuid.
_SECRET = re.compile(rf"{PREFIX}[\w-]+|\.[0-9]+\.[0-9A-Fa-f]{{16,}}")

log = structlog.get_logger(__name__)


def register(app: Flask) -> None:
    """Have `app` keep what changes something, or was refused."""
    app.after_request(_keep)


def note(**facts: str | None) -> None:
    """Add facts to what is kept of this request: target, detail, task_id."""
    g.noted = {**g.get("noted", {}), **facts}


def _keep(response: Response) -> Response:
    access: Access | None = g.get("access")
    changes = access is not None and access.audited and access.changes(request.method)
    # A method that the route has not changes nothing.
    if (not changes or request.url_rule is None) and "claimed" not in g:
        return response
    try:
        services().audit.record(**_facts(response.status_code))
    except StorageUnavailable as error:
        log.warning("audit.not_written", error=str(error.__cause__))
    return response


def _facts(status: int) -> dict[str, Any]:
    identity: Identity | None = g.get("identity")
    of_slot = g.get("origin")
    if identity is not None:
        actor, via = identity.username, identity.via
    elif of_slot is not None:
        actor, via = of_slot.owner, "signature" if of_slot.uuid else "name"
    else:
        actor, via = None, "nothing"
    return {
        "actor": _kept(actor),
        "via": via,
        "address": request.remote_addr,
        "action": f"{request.method} {_route()}",
        "outcome": _outcome(status),
        "status": status,
        "request_id": g.uuid,
        "target": _kept(_named_in_path()),
        "task_id": _kept((request.view_args or {}).get("task_id")),
        "detail": f"claimed to be {g.claimed}" if "claimed" in g else None,
        **{name: _kept(text) for name, text in g.get("noted", {}).items()},
    }


def _route() -> str:
    return asked_rule() or "a method that is not there"


def _kept(text: str | None) -> str | None:
    """Return what is kept of a caller's text: what any database takes, not much."""
    if text is None:
        return None
    whole = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    return _SECRET.sub("***", whole)[:_CHARACTERS]


def _named_in_path() -> str | None:
    """Return what the path is about; a uuid is not: it may be signed."""
    parts = [str(v) for name, v in (request.view_args or {}).items() if name != "uuid"]
    return "/".join(parts) or None


def _outcome(status: int) -> str:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "failed"
    return "refused" if status >= HTTPStatus.BAD_REQUEST else "success"
