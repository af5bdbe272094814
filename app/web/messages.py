"""Messages: a form that sends one, those that were sent, what became of one."""

from collections.abc import Mapping
from typing import Any

from flask import Response, request, url_for

from app.api import message_view
from app.api.pages import cut
from app.api.resource import services
from app.api.schemas.sms import MESSAGES_QUERY, VALIDITY_SECONDS
from app.sms.message import TERMINAL
from app.sms.record import Message

from .frame import render
from .listing import asked, place
from .session import me
from .words import t

# Of a directory that is longer the first ones can be picked, the others written.
PEOPLE_SHOWN = 500
# The page of a message has the numbers of all, and the rows of so many.
RECEIVERS_SHOWN = 200

# A text that may be longer gets several lines.
_LINE_CHARACTERS = 100
# What old numbers were replaced by.
_DIGEST = "hmac-sha256:"


def show_all() -> Response:
    """Show the form, and a page of the messages that the reader may see."""
    query = asked(MESSAGES_QUERY, beside=("to",))
    limit, before = place(query)
    viewer = services().viewer(me())
    found = services().outbox.page(viewer, query, before=before, limit=limit + 1)
    page, links, _ = cut(found, limit, lambda each: each[0].number)
    return render(
        "messages.html",
        title=t("Messages"),
        script="messages",
        styles=("messages",),
        messages=[message_view.outline(*each) for each in page],
        links=links,
        wanted=query,
        is_newest=before is None,
        providers=services().gateway.order,
        templates=[_template(name) for name in services().templates.names()],
        people=_people(),
        to=request.args.get("to", ""),
        validity_seconds=VALIDITY_SECONDS,
    )


def show(message_id: str) -> Response:
    """Show how far a message got at each receiver, and what happened to it."""
    outbox = services().outbox
    message = outbox.get(message_id, services().viewer(me()))
    return render(
        "message.html",
        title=t("Message"),
        script="message",
        styles=("messages",),
        message=message_view.show(message),
        events=[message_view.event(message, row) for row in outbox.events(message)],
        shown=RECEIVERS_SHOWN,
        digest=_DIGEST,
        following={
            "href": url_for("v3.message", message_id=message_id),
            "shown": RECEIVERS_SHOWN,
            "digest": _DIGEST,
            "ends": sorted(TERMINAL),
            "reports": _is_reported(message),
        },
    )


def _template(name: str) -> dict[str, Any]:
    """Return a template with a field for each parameter."""
    template = services().templates.get(name)
    return {
        "name": name,
        "description": template.description,
        "has_text": template.has_text,
        "fields": [_field(*each) for each in template.schemas.items()],
    }


def _field(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a parameter is asked by: a choice, a number or a text."""
    types = schema.get("type", "string")
    is_number = "string" not in types and "enum" not in schema
    is_long = schema.get("maxLength", 0) > _LINE_CHARACTERS
    kind = "number" if is_number else "lines" if is_long else "line"
    return {
        "name": name,
        "kind": "choice" if "enum" in schema else kind,
        "schema": schema,
        "is_required": "default" not in schema,
    }


def _people() -> list[dict[str, Any]]:
    """Return those who can be picked: people with a phone."""
    found = services().people.page(after_uid=-1, limit=PEOPLE_SHOWN)
    return [dict(row) for row in found if row["phone"]]


def _is_reported(message: Message) -> bool:
    """Return whether more may be told by one who was asked to send it."""
    names = {message.provider, *(each.provider for each in message.receivers)}
    return any(map(_sends_receipts, filter(None, names)))


def _sends_receipts(name: str) -> bool:
    gateway = services().gateway
    provider = gateway.providers.get(name)
    is_able = provider is not None and provider.acknowledgement is not None
    return is_able and gateway.receipts_url(name) is not None
