"""A message as it is answered: what became of it, and how that is said in HTTP."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from flask import Response, request, url_for

from app.api.errors import problem
from app.api.rendering import render_json
from app.errors import (
    SmsFailed,
    SmsReceiverLimited,
    SmsRefused,
    SmsRejected,
    SmsUnreachable,
)
from app.moment import moment
from app.sms.record import Message, Verdict

_STATUS_OF = {
    Verdict.SENT: 200,
    Verdict.PARTIAL: 207,
    Verdict.UNKNOWN: 202,
}

_REFUSAL_OF: dict[Verdict, type[SmsRefused]] = {
    Verdict.REJECTED: SmsRejected,
    Verdict.RECEIVER_LIMITED: SmsReceiverLimited,
    Verdict.FAILED: SmsFailed,
    Verdict.UNREACHABLE: SmsUnreachable,
}

#: Answers that a key is answered with again.
KEPT = frozenset((200, 202, 207, 422))


def answer(message: Message) -> Response:
    """Return the answer to the one who has sent it."""
    links = {"links": _links(message)}
    verdict = message.verdict or Verdict.UNKNOWN  # who asks too early
    if verdict in _STATUS_OF:
        facts = message.facts() | {"message": verdict} | links
        return render_json(facts, _STATUS_OF[verdict])
    # The vendors' words stay out of the log: they may quote numbers.
    refusal = _REFUSAL_OF[verdict]()
    return problem(refusal, detail=_detail(message), **message.facts(), **links)


def show(message: Message) -> dict[str, Any]:
    """Return a message with how far it got at each receiver."""
    states = Counter(receiver.state for receiver in message.receivers)
    return outline(message, states) | message.facts()


def outline(message: Message, states: Mapping[str, int]) -> dict[str, Any]:
    """Return a message as lists have it: `states` has the number of receivers."""
    known = {
        "finished": moment(message.finished),
        "validity_seconds": message.validity_seconds,
        "task_id": message.task_id,
    }
    return {
        "id": message.message_id,
        "message": message.word,
        "template": message.template,
        "provider": message.provider,
        "owner": message.owner,
        "request_id": message.request_id,
        "created": moment(message.created),
        **{name: value for name, value in known.items() if value is not None},
        "states": dict(states),
        "links": _links(message),
    }


def event(message: Message, row: Any) -> dict[str, Any]:
    """Return a step of a message's way; what it does not have is left out."""
    position = row.get("position")
    about = None if position is None else message.receivers[position].receiver
    names = ("event", "provider", "state", "detail")
    facts = {
        "time": moment(row["at"]),
        **{n: row.get(n) for n in names},
        "receiver": about,
    }
    return {name: value for name, value in facts.items() if value is not None}


def href_of(message_id: str) -> str:
    """Return the path of a message, in the version of the route that is asked."""
    version = (request.endpoint or "").partition(".")[0]
    endpoint = "v3.message" if version == "v3" else "api.message"
    return url_for(endpoint, message_id=message_id)


def _links(message: Message) -> list[dict[str, str]]:
    links = [{"rel": "self", "href": href_of(message.message_id)}]
    if message.task_id is not None:
        href = url_for("v3.task", task_id=message.task_id)
        links.append({"rel": "task", "href": href})
    return links


def _detail(message: Message) -> str:
    """Return what each provider that was tried said, in one line."""
    said = [
        f"{tried['provider']}: {tried['provider_code']} ({tried['category']}) "
        f"{tried['provider_message']}".strip()
        for tried in message.attempts
    ]
    return "; ".join(said) or "It was not sent."
