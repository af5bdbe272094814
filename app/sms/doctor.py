"""Looks whether what is set can send, without sending."""

from collections.abc import Iterator

from app.errors import InvalidInput
from app.finding import Finding, Level

from .gateway import SmsGateway
from .limits import SmsLimits
from .templates import SmsTemplate, SmsTemplates


def examine(
    templates: SmsTemplates, gateway: SmsGateway, limits: SmsLimits
) -> Iterator[Finding]:
    """Give what there is to say of templates, providers, receipts and limits."""
    if not gateway.order:
        words = "is not set: nothing can be sent"
        yield Finding.fault(
            "SMS_PROVIDER", words, "name who is to send, in their order"
        )
    yield from _of_templates(templates, gateway)
    for name in gateway.order:
        yield _of_receipts(name, gateway)
    if not limits.longest_seconds:
        words = "none is set: whoever may send may send any number"
        yield Finding.note("limits", words, "set SMS_LIMIT_TOTAL, SMS_LIMIT_CALLER")


def _of_templates(templates: SmsTemplates, gateway: SmsGateway) -> Iterator[Finding]:
    try:
        templates.check()
    except InvalidInput as error:
        for fault in error.faults:
            words = f"{fault.path} {fault.message}"
            yield Finding.fault(
                "SMS_TEMPLATES", words, "mend the file, or name another"
            )
    for name in templates.names():
        template = templates.get(name)
        able = [each for each in gateway.order if gateway.is_able(each, template)]
        unable = [each for each in gateway.order if each not in able]
        if able:
            yield Finding(f"template {name}", f"is sent by {', '.join(able)}")
        for each in unable:
            missing = _missing(template, gateway, each)
            words, remedy = f"has no {missing} for {each}", f"add the {missing}"
            level = Level.NOTE if able else Level.FAULT
            yield Finding(f"template {name}", words, level, remedy)


def _missing(template: SmsTemplate, gateway: SmsGateway, name: str) -> str:
    needs_id = gateway.providers[name].needs_template_id
    return f"id in [templates.{template.name}.ids]" if needs_id else "text"


def _of_receipts(name: str, gateway: SmsGateway) -> Finding:
    if gateway.providers[name].acknowledgement is None:
        return Finding(name, "sends no delivery receipts")
    if (url := gateway.receipts_url(name)) is None:
        words = "is told no address for delivery receipts: set PUBLIC_URL"
        return Finding.note(name, words, "it is where vendors reach this service")
    return Finding(name, f"reports deliveries to {url}")
