"""Huawei's batchSendSms/v1: WSSE with either digest, results by number, reports."""

import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import ClassVar
from urllib.parse import urlencode

from app.sms.providers.huawei import AUTHORIZATION, password_digest

from .vendor import Answer, Asked, FakeVendor, Push, Refused, Scenario, Sent

_KEY, _SECRET = "testAppKey", "testAppSecret"
_SENDER, _SIGNATURE = "csms12345678", "华为云短信测试"
_USERNAME_TOKEN = re.compile(
    r'UsernameToken Username="([^"]*)",PasswordDigest="([^"]*)",'
    r'Nonce="([^"]*)",Created="([^"]*)"'
)
_CREATED = "%Y-%m-%dT%H:%M:%SZ"
_CREATED_TOLERANCE = timedelta(hours=24)
_NUMBERS_LIMIT = 500
_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")
# What is required, and how much of everything there may be.
_REQUIRED = ("from", "to", "templateId")
_LENGTH_OF = {"templateId": 32, "extend": 128, "statusCallback": 1024}

_SUCCESS, _ALL_FAILED = "000000", "E000510"
# Those of which the first number has the status. The limits of a number are documented
# for reports; in an answer they make the difference that a test needs.
_STATUS_OF = {Scenario.NUMBER: "E200025", Scenario.PHONE_LIMIT: "MILIMIT"}


class FakeHuawei(FakeVendor):
    """Huawei, with one application."""

    name: ClassVar[str] = "huawei"
    #: Below the server's address, it makes the whole URL.
    path: ClassVar[str] = "/sms/batchSendSms/v1"
    address: ClassVar[tuple[str, str]] = ("HUAWEI_URL", "/sms/batchSendSms/v1")
    settings: ClassVar[Mapping[str, str]] = {
        "HUAWEI_SMS_APP_KEY": _KEY,
        "HUAWEI_SMS_APP_SECRET": _SECRET,
        "HUAWEI_SMS_SENDER_ID": _SENDER,
        "HUAWEI_SMS_SIGNATURE": _SIGNATURE,
    }

    def is_for(self, asked: Asked) -> bool:
        """Return whether it is for Huawei's path."""
        return asked.path == self.path

    def answer(self, asked: Asked, scenario: Scenario) -> tuple[Answer, Sequence[Sent]]:
        """Answer batchSendSms; see FakeVendor."""
        try:
            _check_wsse(asked)
            _play(scenario)
            form = asked.form
            _check(form)
        except Refused as refused:
            return refused.answer, []
        statuses = list(_statuses(form, scenario))
        ids = [f"{uuid.uuid4()}_{n}" for n in range(1, len(statuses) + 1)]
        sent = [
            self._taken(form, number, provider_id)
            for (number, status), provider_id in zip(statuses, ids, strict=True)
            if status == _SUCCESS
        ]
        return _results(statuses, ids), sent

    def receipt(self, sent: Sent, *, delivered: bool, url: str) -> Push:
        """Return the report of a message of one part."""
        form = {
            "sequence": "1",
            "total": "1",
            "orgCode": "000" if delivered else "027",
            "updateTime": "2026-01-02T03:04:09Z",
            "source": "2",
            "smsMsgId": sent.provider_id,
            "status": "DELIVRD" if delivered else "UNDELIV",
            "extend": sent.message_id,
            "to": sent.receiver,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return Push("POST", url, headers, urlencode(form).encode())

    def _taken(self, form: Mapping[str, str], number: str, provider_id: str) -> Sent:
        return Sent(
            self.name,
            number,
            form.get("extend", ""),
            provider_id,
            template=form["templateId"],
            params=form.get("templateParas", ""),
            receipts_url=form.get("statusCallback", ""),
        )


def _check_wsse(asked: Asked) -> None:
    """Check who asks; the digest may be of the hash in hex or of the raw one."""
    if "authorization" not in asked.headers:
        raise Refused(_refusal(400, "E000001"))
    if asked.headers["authorization"] != AUTHORIZATION:
        raise Refused(_refusal(400, "E000008"))
    if "x-wsse" not in asked.headers:
        raise Refused(_refusal(400, "E000020"))
    found = _USERNAME_TOKEN.fullmatch(asked.headers["x-wsse"])
    if found is None:
        raise Refused(_refusal(400, "E000021"))
    key, given, nonce, created = found.groups()
    if not re.fullmatch(r"[0-9A-Za-z]{1,128}", nonce):
        raise Refused(_refusal(400, "E000022"))
    _check_created(created)
    if key != _KEY:
        raise Refused(_refusal(401, "E000111"))
    digests = [password_digest(nonce, created, _SECRET, d) for d in ("hex", "raw")]
    if given not in digests:
        raise Refused(_refusal(401, "E000101"))


def _check_created(created: str) -> None:
    try:
        moment = datetime.strptime(created, _CREATED).replace(tzinfo=UTC)
    except ValueError:
        raise Refused(_refusal(400, "E000023")) from None
    if abs(datetime.now(UTC) - moment) > _CREATED_TOLERANCE:
        raise Refused(_refusal(401, "E000110"))


def _play(scenario: Scenario) -> None:
    """Refuse what is refused as a whole."""
    if scenario is Scenario.AUTH:
        raise Refused(_refusal(403, "E000620"))
    if scenario is Scenario.BALANCE:
        raise Refused(_refusal(403, "E000112"))
    if scenario is Scenario.THROTTLE:
        document = {"error_code": "APIG.0308", "error_msg": "refused: APIG.0308"}
        raise Refused(Answer(429, json.dumps(document)))


def _check(form: Mapping[str, str]) -> None:
    """Refuse a form that fails for all of its numbers."""
    if not all(form.get(name) for name in _REQUIRED):
        raise Refused(_refusal(400, "E000503"))
    if any(len(form.get(name, "")) > most for name, most in _LENGTH_OF.items()):
        raise Refused(_refusal(400, "E000503"))
    numbers = form["to"].split(",")
    if len(numbers) > _NUMBERS_LIMIT or re.search(r"[^0-9+]", "".join(numbers)):
        raise Refused(_refusal(400, "E000503"))
    if "templateParas" in form and not _is_strings(form["templateParas"]):
        raise Refused(_refusal(400, "E000000"))


def _is_strings(text: str) -> bool:
    try:
        values = json.loads(text)
    except ValueError:
        return False
    return isinstance(values, list) and all(isinstance(v, str) for v in values)


def _statuses(form: Mapping[str, str], scenario: Scenario) -> Iterator[tuple[str, str]]:
    """Give each number with its status."""
    seen: set[str] = set()
    for position, number in enumerate(form["to"].split(",")):
        status = _sender_status(form)
        if position == 0:
            status = _STATUS_OF.get(scenario, status)
        if not _NUMBER.fullmatch(number):
            status = "E200025"
        if number in seen:
            status = "E200041"
        seen.add(number)
        yield number, status


def _sender_status(form: Mapping[str, str]) -> str:
    if form["from"] != _SENDER:
        return "E200018"
    return _SUCCESS if form.get("signature", _SIGNATURE) == _SIGNATURE else "E200020"


def _results(statuses: Sequence[tuple[str, str]], ids: Sequence[str]) -> Answer:
    """Return a 200, in which the last number comes first: no order is promised."""
    results = [
        {
            "originTo": number,
            "createTime": f"{datetime.now(UTC):{_CREATED}}",
            "from": _SENDER,
            "smsMsgId": provider_id,
            "countryId": "CN",
            "status": status,
            "total": 1,
        }
        for (number, status), provider_id in zip(statuses, ids, strict=True)
    ]
    is_success = any(status == _SUCCESS for _, status in statuses)
    document = {
        "code": _SUCCESS if is_success else _ALL_FAILED,
        "description": "Success" if is_success else "The SMS fails to be sent.",
        "result": results[::-1],
    }
    return Answer(200, json.dumps(document))


def _refusal(status: int, code: str) -> Answer:
    document = {"code": code, "description": f"refused: {code}"}
    return Answer(status, json.dumps(document))
