"""Kannel's smsbox: sendsms, and the delivery reports that it calls a URL for.

https://www.kannel.org/download/kannel-userguide-snapshot/userguide.html, chapters
"Setting up a SMS Gateway" (sendsms) and "Delivery reports".
"""

import re
from collections.abc import Sequence
from typing import ClassVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from app.sms.http_provider import HttpProvider, Reply, Request
from app.sms.message import (
    Accepted,
    Category,
    Filled,
    Outcome,
    Receipt,
    Rejected,
    State,
)
from app.sms.provider import Acknowledgement, Call, OutcomeUnknown
from app.sms.reading import read_word, require_word
from app.sms.segments import encoding_of

# "Sent." is what a gateway with immediate-sendsms-reply says.
_TAKEN = ("0:", "3:", "Sent.")
_NOT_TAKEN = "Temporal failure"

# By the words that a refusal has; the others are of the request.
_CATEGORY_OF = {
    "Authorization failed": Category.AUTH,
    "Not routable": Category.ACCOUNT,  # the gateway has no line that leads there
    "Sender missing": Category.SENDER,
    "denied by white- and/or black-lists": Category.RECIPIENT,
}

_CODING_OF = {"GSM-7": "0", "UCS-2": "2"}

_ALL_REPORTS = 31
_STATE_OF = {
    "1": State.DELIVERED,
    "2": State.UNDELIVERED,
    "4": State.SENT,  # buffered at the SMSC
    "8": State.SENT,  # accepted by the SMSC
    "16": State.REJECTED,
}
# What an SMSC says may have the text of the message in it: no more is kept than this.
_CODE = re.compile(r"\bstat:(\w+)|^NACK/(\w+)")


class KannelProvider(HttpProvider):
    """A Kannel of one's own; `url` is the whole one, of its sendsms.

    It gives no id. A text of several parts needs `max-messages` in its configuration.
    """

    acknowledgement: ClassVar[Acknowledgement | None] = Acknowledgement("OK")
    refusing_statuses: ClassVar[frozenset[int]] = frozenset((503,))

    def __init__(
        self,
        *,
        url: str,
        username: str,
        password: str,
        sender: str,
        timeout_seconds: float = 10.0,
    ) -> None:
        super().__init__(timeout_seconds=timeout_seconds)
        self._url = url
        self._account = {"username": username, "password": password, "from": sender}

    def build(
        self,
        template: Filled,
        receivers: Sequence[str],
        *,
        message_id: str,
        validity_seconds: int | None,
        receipts_url: str | None,
    ) -> Request:
        """Return a GET of sendsms: its POST takes neither a form nor JSON."""
        (number,) = receivers
        params = {
            **self._account,
            "to": number,
            "text": template.text,
            "charset": "UTF-8",
            "coding": _CODING_OF[encoding_of(template.text)],
        }
        if receipts_url is not None:
            params["dlr-mask"] = str(_ALL_REPORTS)
            params["dlr-url"] = _dlr_url(receipts_url, message_id, number)
        if validity_seconds is not None:
            params["validity"] = str(-(-validity_seconds // 60))
        query = urlencode(params, quote_via=quote, safe="")
        return Request("GET", f"{self._url}?{query}", {})

    def read(
        self,
        reply: Reply,
        receivers: Sequence[str],  # noqa: ARG002 - it is one
    ) -> Sequence[Outcome]:
        """Return what became of the one message."""
        words = reply.text.strip()
        if reply.status == 202 and words.startswith(_TAKEN):
            return [Accepted()]
        if reply.status == 503 and words.startswith(_NOT_TAKEN):
            return [Rejected(Category.RATE_LIMITED, "503", words)]
        if not 400 <= reply.status < 500:
            raise OutcomeUnknown(f"the answer is a {reply.status} of another form")
        found = (c for part, c in _CATEGORY_OF.items() if part in words)
        return [Rejected(next(found, Category.REQUEST), str(reply.status), words)]

    def receipts(self, call: Call) -> Sequence[Receipt]:
        """Return what a call of a message's dlr-url reports."""
        query = dict(parse_qsl(urlsplit(call.url).query))
        state = _STATE_OF.get(query.get("status", ""))
        if state is None:
            raise ValueError("has no status that is known")
        found = _CODE.search(query.get("reply", ""))
        return [
            Receipt(
                state,
                code=found[found.lastindex or 0] if found else "",
                message_id=require_word(query, "id"),
                provider_id=read_word(query, "smsc_id") or None,
                number=require_word(query, "to"),
            )
        ]


def _dlr_url(receipts_url: str, message_id: str, number: str) -> str:
    """Return the URL to call, with escapes that Kannel fills in.

    The number is ours, since what %p and %P are depends on the SMSC. Kannel takes any
    % for an escape of its own, and %% for a %.
    """
    ours = f"{receipts_url}?{urlencode({'id': message_id, 'to': number})}"
    return f"{ours.replace('%', '%%')}&status=%d&smsc_id=%F&reply=%A"
