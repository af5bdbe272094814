"""Twilio's Programmable Messaging: Messages, their status callbacks and states.

https://www.twilio.com/docs/messaging/api/message-resource and, of the signatures,
https://www.twilio.com/docs/usage/webhooks/webhooks-security.
"""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import SplitResult, parse_qs, parse_qsl, quote, urlencode, urlsplit

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
from app.sms.provider import Acknowledgement, Asked, Call, OutcomeUnknown
from app.sms.reading import read_count, read_json, read_word, require_word

VALIDITY_SECONDS = range(1, 36001)

# https://www.twilio.com/docs/api/errors; what is not here is a fault of the request.
_CATEGORY_OF = {
    20003: Category.AUTH,
    10001: Category.ACCOUNT,
    20005: Category.ACCOUNT,
    21408: Category.ACCOUNT,
    21608: Category.ACCOUNT,
    21212: Category.SENDER,
    21606: Category.SENDER,
    21612: Category.SENDER,
    21659: Category.SENDER,
    21660: Category.SENDER,
    21703: Category.SENDER,
    14107: Category.RATE_LIMITED,
    20429: Category.RATE_LIMITED,
    21611: Category.RATE_LIMITED,  # the queue of the number that it is sent by
    21211: Category.RECIPIENT,
    21614: Category.RECIPIENT,
    21610: Category.COMPLIANCE,
}
_CATEGORY_OF_STATUS = {401: Category.AUTH, 429: Category.RATE_LIMITED}
_PHONE_LIMIT = 14107

_STATE_OF = {
    "accepted": State.SENT,
    "scheduled": State.SENT,
    "queued": State.SENT,
    "sending": State.SENT,
    "sent": State.SENT,
    "delivered": State.DELIVERED,
    "read": State.DELIVERED,
    "undelivered": State.UNDELIVERED,
    "failed": State.UNDELIVERED,
    "canceled": State.EXPIRED,
}
_VALIDITY_EXPIRED = "30036"

_HASHES = {"HMAC_SHA1": hashlib.sha1, "HMAC_SHA256": hashlib.sha256}
_PORTS = {"http": 80, "https": 443}

Fields = Iterable[tuple[str, str]]


class TwilioProvider(HttpProvider):
    """Twilio, which is sent a text to one number at a time.

    `sender` is a number, or the id of a messaging service (MG…). `webhook_secrets` are
    those of the shared keys that receipts may be signed with, by their ids; others are
    signed with the auth token.
    """

    acknowledgement: ClassVar[Acknowledgement | None] = Acknowledgement(
        "", "text/xml; charset=utf-8"
    )

    def __init__(
        self,
        *,
        account_sid: str,
        auth_token: str,
        sender: str,
        url: str = "https://api.twilio.com",
        webhook_secrets: Mapping[str, str] | None = None,
        timeout_seconds: float = 10.0,
    ) -> None:
        super().__init__(timeout_seconds=timeout_seconds)
        self._auth_token = auth_token
        self._sender = sender
        self._webhook_secrets = dict(webhook_secrets or {})
        account = quote(account_sid, safe="")
        self._messages = f"{url.rstrip('/')}/2010-04-01/Accounts/{account}/Messages"
        pair = b64encode(f"{account_sid}:{auth_token}".encode()).decode()
        self._headers = {"Authorization": f"Basic {pair}"}

    def build(
        self,
        template: Filled,
        receivers: Sequence[str],
        *,
        message_id: str,
        validity_seconds: int | None,
        receipts_url: str | None,
    ) -> Request:
        """Return a POST of a message, whose callback names it by our id."""
        (number,) = receivers
        is_service = self._sender.startswith("MG")
        form = {
            "To": number,
            "MessagingServiceSid" if is_service else "From": self._sender,
            "Body": template.text,
        }
        if receipts_url is not None:
            # So a receipt names a message whose sid was never read.
            form["StatusCallback"] = f"{receipts_url}?{urlencode({'id': message_id})}"
        if validity_seconds is not None:
            form["ValidityPeriod"] = str(_bounded(validity_seconds))
        headers = {**self._headers, "Content-Type": "application/x-www-form-urlencoded"}
        body = urlencode(form).encode()
        return Request("POST", f"{self._messages}.json", headers, body)

    def read(
        self,
        reply: Reply,
        receivers: Sequence[str],  # noqa: ARG002 - it is one
    ) -> Sequence[Outcome]:
        """Return what became of the one message."""
        document = reply.json
        if reply.status >= 400:
            return [_refusal(reply.status, document)]
        if not document.get("sid"):
            raise OutcomeUnknown("the answer has no sid")
        return [Accepted(str(document["sid"]), _segments(document))]

    def receipts(self, call: Call) -> Sequence[Receipt]:
        """Return what a status callback reports of a message."""
        report = self._checked(call)
        code = read_word(report, "ErrorCode")
        ours = parse_qs(urlsplit(call.url).query).get("id", [None])
        return [
            Receipt(
                _state(require_word(report, "MessageStatus"), code),
                code=code,
                message_id=ours[0],
                provider_id=require_word(report, "MessageSid"),
                number=read_word(report, "To") or None,
            )
        ]

    def query(self, asked: Asked) -> Sequence[Receipt]:
        """Ask for a message by its sid; without that it cannot be found."""
        if asked.provider_id is None:
            raise NotImplementedError
        sid = quote(asked.provider_id, safe="")
        reply = self.ask(Request("GET", f"{self._messages}/{sid}.json", self._headers))
        document = reply.json
        if reply.status != 200 or not document.get("status"):
            raise OutcomeUnknown(f"the answer is a {reply.status}")
        code = str(document.get("error_code") or "")
        return [
            Receipt(
                _state(str(document["status"]), code),
                code=code,
                message_id=asked.message_id,
                provider_id=asked.provider_id,
                number=asked.number,
                segments=_segments(document),
            )
        ]

    def _checked(self, call: Call) -> Mapping[str, Any]:
        """Return the parameters of a call whose signature is right."""
        secret, algorithm = self._key_of(call)
        given = call.headers.get("x-twilio-signature", "").encode()
        # A form is signed field by field, JSON by its hash, which is in the URL.
        signed = () if _is_json(call) else _form(call)
        is_right = [
            hmac.compare_digest(given, signature(url, signed, secret, algorithm))
            for url in _spellings(call.url)
        ]
        if not any(is_right) or (_is_json(call) and not _has_its_hash(call)):
            raise PermissionError("the signature is wrong")
        return _members(call) if _is_json(call) else dict(signed)

    def _key_of(self, call: Call) -> tuple[str, str]:
        """Return the secret and the algorithm that a call says it is signed with."""
        told = call.headers.get("x-twilio-webhooks-signature-settings", "")
        settings = dict(map(_pair, told.split(",")))
        algorithm = (settings.get("algorithm") or "HMAC_SHA1").upper()
        if algorithm not in _HASHES:
            raise PermissionError("signed in a way that is not known")
        if algorithm == "HMAC_SHA1":
            return self._auth_token, algorithm
        secret = self._webhook_secrets.get(settings.get("key", ""))
        if not secret:
            raise PermissionError("signed with a key that is not known")
        return secret, algorithm


def signature(
    url: str, fields: Fields, secret: str, algorithm: str = "HMAC_SHA1"
) -> bytes:
    """Return the signature of a call: of its URL and the fields of its form."""
    text = url + "".join(name + value for name, value in sorted(set(fields)))
    digest = hmac.new(secret.encode(), text.encode(), _HASHES[algorithm]).digest()
    return b64encode(digest)


def _bounded(seconds: int) -> int:
    return min(max(seconds, VALIDITY_SECONDS[0]), VALIDITY_SECONDS[-1])


def _refusal(status: int, document: Mapping[str, Any]) -> Rejected:
    code = document.get("code")
    of_status = _CATEGORY_OF_STATUS.get(status, Category.REQUEST)
    return Rejected(
        _CATEGORY_OF.get(code, of_status) if isinstance(code, int) else of_status,
        str(code or status),
        str(document.get("message") or ""),
        per_number=code == _PHONE_LIMIT,
    )


def _segments(document: Mapping[str, Any]) -> int | None:
    """Return the number of segments; 0 says that they are not counted yet."""
    return read_count(document.get("num_segments")) or None


def _state(status: str, code: str) -> State:
    if code == _VALIDITY_EXPIRED:
        return State.EXPIRED
    return _STATE_OF.get(status.lower(), State.UNKNOWN)


def _form(call: Call) -> list[tuple[str, str]]:
    return parse_qsl(call.body.decode(), keep_blank_values=True)


def _members(call: Call) -> dict[str, Any]:
    document = read_json(call.body)
    if not isinstance(document, dict):
        raise ValueError("is not an object")
    return document


def _is_json(call: Call) -> bool:
    return call.headers.get("content-type", "").startswith("application/json")


def _has_its_hash(call: Call) -> bool:
    told = parse_qs(urlsplit(call.url).query).get("bodySHA256", [""])[0]
    return hmac.compare_digest(
        hashlib.sha256(call.body).hexdigest().encode(), told.encode()
    )


def _spellings(url: str) -> tuple[str, str]:
    """Return a URL without and with its port: Twilio signs now one, now the other."""
    parts = urlsplit(url)
    bare = parts.netloc
    if parts.port is not None:
        bare = bare.removesuffix(f":{parts.port}")
    port = parts.port or _PORTS.get(parts.scheme)
    return _at(parts, bare), _at(parts, f"{bare}:{port}")


def _at(parts: SplitResult, netloc: str) -> str:
    return parts._replace(netloc=netloc).geturl()


def _pair(part: str) -> tuple[str, str]:
    name, _, value = part.partition("=")
    return name.strip(), value.strip()
