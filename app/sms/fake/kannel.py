"""Kannel's smsbox: sendsms in the words of version 1.4.5, and delivery reports."""

import re
import uuid
from collections.abc import Mapping, Sequence
from typing import ClassVar

from .vendor import Answer, Asked, FakeVendor, Push, Refused, Scenario, Sent

_PATH = "/cgi-bin/sendsms"

_REFUSAL_OF = {
    Scenario.NUMBER: (
        400,
        "Number(s) has/have been denied by white- and/or black-lists.",
    ),
    Scenario.AUTH: (403, "Authorization failed for sendsms"),
    Scenario.THROTTLE: (503, "Temporal failure, try again later."),
}


class FakeKannel(FakeVendor):
    """A Kannel with one user.

    It knows neither a balance nor a limit per number: BALANCE and PHONE_LIMIT succeed.
    """

    name: ClassVar[str] = "kannel"
    address: ClassVar[tuple[str, str]] = ("KANNEL_URL", "/cgi-bin/sendsms")
    settings: ClassVar[Mapping[str, str]] = {
        "KANNEL_USERNAME": "tester",
        "KANNEL_PASSWORD": "foobar",
        "KANNEL_FROM": "Bellhop",
    }

    def is_for(self, asked: Asked) -> bool:
        """Return whether it is for sendsms."""
        return asked.path == _PATH

    def answer(self, asked: Asked, scenario: Scenario) -> tuple[Answer, Sequence[Sent]]:
        """Answer sendsms; see FakeVendor."""
        try:
            query = _checked(asked.query, scenario)
        except Refused as refused:
            return refused.answer, []
        url = query.get("dlr-url", "")
        found = re.search(r"[?&]id=([^&]*)", url)
        sent = Sent(
            self.name,
            query["to"],
            found[1] if found else "",
            str(uuid.uuid4()),
            text=query.get("text", ""),
            receipts_url=url,
        )
        return _says(202, "0: Accepted for delivery"), [sent]

    def receipt(self, sent: Sent, *, delivered: bool, url: str) -> Push:
        """Return a call of the message's dlr-url, its escapes filled in."""
        values = {
            "d": "1" if delivered else "2",
            "F": sent.provider_id,
            "A": "",
            "%": "%",
        }
        target = re.sub(
            r"%(.)",
            lambda escape: values.get(escape[1], escape[0]),
            sent.receipts_url or url,
        )
        return Push("GET", target)


def _checked(query: Mapping[str, str], scenario: Scenario) -> Mapping[str, str]:
    """Return parameters that smsbox takes; it checks them in this order."""
    if scenario in _REFUSAL_OF:
        raise Refused(_says(*_REFUSAL_OF[scenario]))
    settings = FakeKannel.settings
    given = query.get("username"), query.get("password")
    if given != (settings["KANNEL_USERNAME"], settings["KANNEL_PASSWORD"]):
        raise Refused(_says(*_REFUSAL_OF[Scenario.AUTH]))
    if "to" not in query:
        raise Refused(_says(400, "Missing receiver number, rejected"))
    if not query["to"]:
        raise Refused(_says(400, "Empty receiver number not allowed, rejected"))
    if not re.fullmatch(r"[0-9 +-]+", query["to"]):
        raise Refused(_says(*_REFUSAL_OF[Scenario.NUMBER]))
    if not query.get("from"):
        raise Refused(_says(400, "Sender missing and no global set, rejected"))
    if not re.match(r"https?://", query.get("dlr-url", "http://")):
        raise Refused(_says(400, "DLR-URL field misformed, rejected"))
    if query.get("coding", "0") not in ("0", "1", "2"):
        raise Refused(_says(400, "Coding field misformed, rejected"))
    return query


def _says(status: int, words: str) -> Answer:
    return Answer(status, words, "text/html")
