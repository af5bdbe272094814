"""Text messages: send them, see what became of them."""

import re
from functools import partial
from typing import Any, ClassVar

from flask import Response, request, url_for

from app.api.audit_log import note
from app.api.guard import caller, origin
from app.api.idempotency import once
from app.api.message_view import KEPT, answer, event, href_of, outline, show
from app.api.operation import IDEMPOTENCY_KEY, Answer, Operation
from app.api.pages import PAGE_HEADERS, cut, read_cursor
from app.api.rendering import render_json
from app.api.resource import BaseResource, services
from app.api.schemas.answer import a
from app.api.schemas.page import PAGE
from app.api.schemas.sms import MESSAGES_QUERY, PREVIEW_BODY, SEND_QUERY, SMS_BODY
from app.errors import (
    CapacityExceeded,
    Draining,
    Fault,
    MessageNotFound,
    SmsFailed,
    SmsLimitExceeded,
    SmsReceiverLimited,
    SmsRejected,
    SmsUnreachable,
)
from app.sms.outbox import Wish
from app.sms.segments import encoding_of, split

_RESPOND_ASYNC = re.compile(r"(?:^|[,;])\s*respond-async\s*(?:$|[,;])", re.IGNORECASE)


class Messages(BaseResource):
    """Sends messages; the ones that the caller may see."""

    operations: ClassVar = {
        "get": Operation(
            "The messages that were sent",
            {200: Answer("A page of them, newest first", a("Messages"), PAGE_HEADERS)},
            query=MESSAGES_QUERY,
        ),
        "post": Operation(
            "Send a text message",
            {
                200: Answer("A provider has accepted it for all", a("SentMessage")),
                202: Answer(
                    "A provider may have sent it, which a receipt settles; or it is "
                    "sent by a task, which was wished",
                    {"anyOf": [a("SentMessage"), a("AcceptedMessage")]},
                    ("Location", "Preference-Applied"),
                ),
                207: Answer("Some receivers were rejected", a("SentMessage")),
            },
            query=SEND_QUERY,
            body=SMS_BODY,
            problems=(
                SmsRejected,
                SmsReceiverLimited,
                SmsLimitExceeded,
                SmsFailed,
                SmsUnreachable,
                CapacityExceeded,
                Draining,
            ),
            headers=(IDEMPOTENCY_KEY, "Prefer"),
        ),
    }

    def get(self, query: dict[str, Any]) -> Response:
        """Return a page of them, newest first."""
        limit = query.pop("limit", PAGE)
        before = read_cursor(query.pop("cursor", None))
        viewer = services().viewer(caller())
        found = services().outbox.page(viewer, query, before=before, limit=limit + 1)
        page, links, headers = cut(found, limit, lambda each: each[0].number)
        messages = [outline(message, states) for message, states in page]
        return render_json({"messages": messages, "links": links}, 200, headers)

    def post(self, query: dict[str, str], body: dict[str, Any]) -> Response:
        """Send one; with `async` as a task, answered at once."""
        is_preferred = _RESPOND_ASYNC.search(request.headers.get("Prefer", ""))
        send = _send_later if query.get("async") == "1" or is_preferred else _send
        return once(
            body, partial(send, _wish(body)), _sent_before, keeps=KEPT.__contains__
        )


class Message(BaseResource):
    """One message that the caller may see."""

    operations: ClassVar = {
        "get": Operation(
            "A message, how far it got at each receiver, and what happened to it",
            {200: Answer("The message", a("Message"))},
            problems=(MessageNotFound,),
        )
    }

    def get(self, message_id: str) -> Response:
        """Return how far it got at each receiver, and what happened to it."""
        outbox = services().outbox
        message = outbox.get(message_id, services().viewer(caller()))
        events = [event(message, row) for row in outbox.events(message)]
        return render_json(show(message) | {"events": events})


class Preview(BaseResource):
    """What would be sent."""

    operations: ClassVar = {
        "post": Operation(
            "What would be sent, and in how many parts; sends nothing",
            {200: Answer("The text", a("Preview"))},
            body=PREVIEW_BODY,
        )
    }

    def body_faults(self, body: dict[str, Any]) -> list[Fault]:
        """Return what is wrong between the members."""
        if "text" not in body:
            return [] if "template" in body else [Fault("template", "is required")]
        return [Fault(n, "is given beside text") for n in body if n != "text"]

    def post(self, body: dict[str, Any]) -> Response:
        """Return the text, and in how many parts it is sent."""
        text = body.get("text")
        if text is None:
            text = services().outbox.text_of(body["template"], body.get("params", {}))
        if "receivers" in body:
            services().outbox.check(_wish(body))
        parts = split(text)
        facts = {"text": text, "encoding": encoding_of(text), "segments": len(parts)}
        return render_json(facts | {"parts": parts})


def _wish(body: dict[str, Any]) -> Wish:
    return Wish(**{"params": {}, **body})


def _send(wish: Wish) -> Response:
    message = services().messages.send(wish, origin())
    _note(message.message_id, wish, len(message.receivers))
    return answer(message)


def _send_later(wish: Wish) -> Response:
    letter, task = services().messages.send_later(wish, origin())
    _note(letter.message_id, wish, len(letter.receivers))
    note(task_id=task.task_id)
    response = _accepted(task.task_id, letter.message_id)
    response.headers["Preference-Applied"] = "respond-async"
    return response


def _sent_before(made: str) -> Response:
    """Answer with the message, or with the task that sends it."""
    viewer = services().viewer(caller())
    try:
        return answer(services().outbox.get(made, viewer))
    except MessageNotFound:
        task = services().lookup.get(made, viewer)
        return _accepted(task.task_id, services().outbox.of_task(task.task_id))


def _accepted(task_id: str, message_id: str) -> Response:
    href = url_for("v3.task", task_id=task_id)
    links = [
        {"rel": "task", "href": href},
        {"rel": "message", "href": href_of(message_id)},
    ]
    facts = {"message": "accepted", "id": message_id, "task_id": task_id}
    return render_json(facts | {"links": links}, 202, {"Location": href})


def _note(message_id: str, wish: Wish, receivers: int) -> None:
    note(target=message_id, detail=f"{wish.template} to {receivers}")
