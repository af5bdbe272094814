"""Twilio's Messages: Basic authorization, its codes, its signed status callbacks."""

import json
import re
import uuid
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from app.sms.providers.twilio import VALIDITY_SECONDS, signature

from .vendor import Answer, Asked, FakeVendor, Push, Refused, Scenario, Sent

_SID, _TOKEN = "AC" + "0123456789abcdef" * 2, "12345"
_MESSAGES = f"/2010-04-01/Accounts/{_SID}/Messages"
_BODY_LIMIT = 1600

_ERROR_OF = {
    Scenario.NUMBER: (400, 21211),
    Scenario.AUTH: (401, 20003),
    Scenario.BALANCE: (403, 20005),
    Scenario.THROTTLE: (429, 20429),
    Scenario.PHONE_LIMIT: (429, 14107),
}


class FakeTwilio(FakeVendor):
    """Twilio, with one customer."""

    name: ClassVar[str] = "twilio"
    address: ClassVar[tuple[str, str]] = ("TWILIO_URL", "")
    settings: ClassVar[Mapping[str, str]] = {
        "TWILIO_ACCOUNT_SID": _SID,
        "TWILIO_AUTH_TOKEN": _TOKEN,
        "TWILIO_FROM": "+15005550006",
    }

    def __init__(self) -> None:
        self._number_of: dict[str, str] = {}  # by sid

    def is_for(self, asked: Asked) -> bool:
        """Return whether it is for a path of Twilio's."""
        return asked.path.startswith("/2010-04-01/Accounts/")

    def answer(self, asked: Asked, scenario: Scenario) -> tuple[Answer, Sequence[Sent]]:
        """Answer a POST of a message and a GET of one; see FakeVendor."""
        try:
            _check(asked)
            if asked.method == "GET":
                return self._found(asked.path), []
            return self._send(asked.form, scenario)
        except Refused as refused:
            return refused.answer, []

    def receipt(self, sent: Sent, *, delivered: bool, url: str) -> Push:
        """Return a status callback, to the URL that the message has, if it has one."""
        target = sent.receipts_url or url
        fields = {
            "AccountSid": _SID,
            "ApiVersion": "2010-04-01",
            "From": self.settings["TWILIO_FROM"],
            "MessageSid": sent.provider_id,
            "MessageStatus": "delivered" if delivered else "undelivered",
            "SmsSid": sent.provider_id,
            "SmsStatus": "delivered" if delivered else "undelivered",
            "To": sent.receiver,
        }
        if not delivered:
            fields["ErrorCode"] = "30003"
        headers = {
            "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
            "X-Twilio-Signature": signature(target, fields.items(), _TOKEN).decode(),
        }
        return Push("POST", target, headers, urlencode(fields).encode())

    def _send(
        self, form: Mapping[str, str], scenario: Scenario
    ) -> tuple[Answer, Sequence[Sent]]:
        if scenario in _ERROR_OF:
            raise Refused(_error(*_ERROR_OF[scenario]))
        _check_form(form)
        sid, callback = f"SM{uuid.uuid4().hex}", form.get("StatusCallback", "")
        self._number_of[sid] = form["To"]
        sent = Sent(
            self.name,
            form["To"],
            dict(parse_qsl(urlsplit(callback).query)).get("id", ""),
            sid,
            text=form["Body"],
            receipts_url=callback,
        )
        return Answer(201, _message(sid, form["To"], "queued")), [sent]

    def _found(self, path: str) -> Answer:
        sid = path.removeprefix(f"{_MESSAGES}/").removesuffix(".json")
        if sid not in self._number_of:
            raise Refused(_error(404, 20404))
        return Answer(200, _message(sid, self._number_of[sid], "delivered"))


def _check(asked: Asked) -> None:
    """Check who asks, and for what."""
    pair = b64encode(f"{_SID}:{_TOKEN}".encode()).decode()
    if asked.headers.get("authorization") != f"Basic {pair}":
        raise Refused(_error(401, 20003))
    is_message = asked.method == "POST" and asked.path == f"{_MESSAGES}.json"
    is_look = asked.method == "GET" and asked.path.startswith(f"{_MESSAGES}/")
    if not (is_message or is_look):
        raise Refused(_error(404, 20404))


def _check_form(form: Mapping[str, str]) -> None:
    """Check the parameters of a message as Twilio does."""
    service, validity = form.get("MessagingServiceSid", ""), form.get("ValidityPeriod")
    callback = urlsplit(form.get("StatusCallback", "https://none"))
    checks = {
        21604: bool(form.get("To")),
        21602: bool(form.get("Body")),
        21603: bool(form.get("From") or service),
        21606: form.get("From") in (None, FakeTwilio.settings["TWILIO_FROM"]),
        21211: bool(re.fullmatch(r"\+[1-9][0-9]{6,14}", form.get("To", ""))),
        21617: len(form.get("Body", "")) <= _BODY_LIMIT,
        21609: callback.scheme in ("http", "https") and bool(callback.netloc),
        20001: validity is None
        or (validity.isdecimal() and int(validity) in VALIDITY_SECONDS),
    }
    for code, is_right in checks.items():
        if not is_right:
            raise Refused(_error(400, code))


def _message(sid: str, number: str, status: str) -> str:
    document: dict[str, Any] = {
        "account_sid": _SID,
        "error_code": None,
        "error_message": None,
        "num_segments": "1",
        "price": None,
        "sid": sid,
        "status": status,
        "to": number,
        "uri": f"{_MESSAGES}/{sid}.json",
    }
    return json.dumps(document)


def _error(status: int, code: int) -> Answer:
    document = {
        "code": code,
        "message": f"refused: {code}",
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    return Answer(status, json.dumps(document))
