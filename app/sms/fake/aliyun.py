"""Aliyun's Dysmsapi: signatures V1 and V3, SendSms and QuerySendDetails, SmsReport."""

import json
import re
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from app.sms.providers.aliyun import canonical_query, signature_v1, signature_v3

from .vendor import Answer, Asked, FakeVendor, Push, Refused, Scenario, Sent

_KEY, _SECRET = "testId", "testSecret"
_AUTHORIZATION = re.compile(
    r"ACS3-HMAC-SHA256 Credential=([^,]+),SignedHeaders=([^,]+),"
    r"Signature=([0-9a-f]{64})"
)
_NUMBERS_LIMIT = 1000
# Messages that are remembered for who asks for them.
_REMEMBERED = 1000
_PAGE_LIMIT = 50
_DELIVERED = {"SendStatus": 3, "ErrCode": "DELIVERED"}

_CODE_OF = {
    Scenario.NUMBER: "isv.MOBILE_NUMBER_ILLEGAL",
    Scenario.AUTH: "isp.RAM_PERMISSION_DENY",
    Scenario.BALANCE: "isv.AMOUNT_NOT_ENOUGH",
    Scenario.PHONE_LIMIT: "isv.BUSINESS_LIMIT_CONTROL",
}


class FakeAliyun(FakeVendor):
    """Aliyun, with one customer; whatever it takes is delivered at once."""

    name: ClassVar[str] = "aliyun"
    address: ClassVar[tuple[str, str]] = ("ALIYUN_SMS_URL", "")
    settings: ClassVar[Mapping[str, str]] = {
        "ALIYUN_SMS_APP_KEY": _KEY,
        "ALIYUN_SMS_APP_SECRET": _SECRET,
        "ALIYUN_SMS_SIGN_NAME": "阿里云",
    }

    def __init__(self) -> None:
        self._taken: deque[Sent] = deque(maxlen=_REMEMBERED)

    def is_for(self, asked: Asked) -> bool:
        """Return whether it is signed in one of Aliyun's ways."""
        return "x-acs-action" in asked.headers or "SignatureNonce" in asked.query

    def answer(self, asked: Asked, scenario: Scenario) -> tuple[Answer, Sequence[Sent]]:
        """Answer SendSms and QuerySendDetails; see FakeVendor."""
        try:
            params = _checked(asked)
            if _action(asked, params) == "QuerySendDetails":
                return self._details(params), []
            return self._send(params, scenario)
        except Refused as refused:
            return refused.answer, []

    def receipt(self, sent: Sent, *, delivered: bool, url: str) -> Push:
        """Return a push of SmsReport."""
        report = {
            "phone_number": _written(sent.receiver),
            "send_time": "2026-01-02 11:04:05",
            "report_time": "2026-01-02 11:04:09",
            "success": delivered,
            "err_code": "DELIVERED" if delivered else "UNDELIV",
            "err_msg": "用户接收成功" if delivered else "状态报告为失败",
            "sms_size": "1",
            "biz_id": sent.provider_id,
            "out_id": sent.message_id,
        }
        headers = {"Content-Type": "application/json;charset=utf-8"}
        return Push("POST", url, headers, json.dumps([report]).encode())

    def _send(
        self, params: Mapping[str, str], scenario: Scenario
    ) -> tuple[Answer, Sequence[Sent]]:
        if scenario is Scenario.THROTTLE:
            raise Refused(_gateway_error(400, "Throttling.User"))
        if scenario in _CODE_OF:
            raise Refused(_refusal(_CODE_OF[scenario]))
        numbers = _valid(params)
        biz_id = f"{uuid.uuid4().int % 10**18}^0"
        sent = [
            Sent(
                self.name,
                number,
                params.get("OutId", ""),
                biz_id,
                template=params["TemplateCode"],
                params=params.get("TemplateParam", ""),
            )
            for number in numbers
        ]
        self._taken.extend(sent)
        return _ok(BizId=biz_id), sent

    def _details(self, params: Mapping[str, str]) -> Answer:
        """Return what was sent to one number on one day."""
        for name in ("PhoneNumber", "SendDate", "PageSize", "CurrentPage"):
            if not re.fullmatch(r"[0-9]+", params.get(name, "")):
                raise Refused(_gateway_error(400, f"Missing{name}"))
        if len(params["SendDate"]) != 8 or int(params["PageSize"]) > _PAGE_LIMIT:
            raise Refused(_refusal("isv.INVALID_PARAMETERS"))
        details = [
            {"PhoneNum": params["PhoneNumber"], "OutId": each, **_DELIVERED}
            for each in self._remembered(params)
        ]
        return _ok(SmsSendDetailDTOs={"SmsSendDetailDTO": details})

    def _remembered(self, params: Mapping[str, str]) -> list[str]:
        """Return our ids of the messages that are asked for."""
        return [
            sent.message_id
            for sent in list(self._taken)
            if _written(sent.receiver) == params["PhoneNumber"]
            and params.get("BizId") in (None, sent.provider_id)
        ]


def _checked(asked: Asked) -> dict[str, str]:
    """Return the parameters of a request whose signature is right."""
    if "x-acs-action" in asked.headers:
        _check_v3(asked)
        return asked.query
    params = {**asked.query, **asked.form}
    given = params.pop("Signature", "")
    if params.get("AccessKeyId") != _KEY:
        raise Refused(_gateway_error(404, "InvalidAccessKeyId.NotFound"))
    if given != signature_v1(asked.method, params, _SECRET):
        raise Refused(_gateway_error(400, "SignatureDoesNotMatch"))
    return params


def _check_v3(asked: Asked) -> None:
    """Check a signature of just those headers that it names; SDKs sign more."""
    found = _AUTHORIZATION.fullmatch(asked.headers.get("authorization", ""))
    if found is None:
        raise Refused(_gateway_error(400, "IncompleteSignature"))
    key, names, given = found.groups()
    if key != _KEY:
        raise Refused(_gateway_error(404, "InvalidAccessKeyId.NotFound"))
    signed = {name: asked.headers.get(name, "") for name in names.split(";")}
    needed = {"host", "x-acs-date", "x-acs-signature-nonce", "x-acs-content-sha256"}
    if not needed <= set(signed):
        raise Refused(_gateway_error(400, "IncompleteSignature"))
    query = canonical_query(asked.query)
    if given != signature_v3(asked.method, query, signed, _SECRET):
        raise Refused(_gateway_error(400, "SignatureDoesNotMatch"))


def _action(asked: Asked, params: Mapping[str, str]) -> str:
    return asked.headers.get("x-acs-action") or params.get("Action", "")


def _valid(params: Mapping[str, str]) -> list[str]:
    """Return the numbers of a SendSms that the vendor would take."""
    for name in ("PhoneNumbers", "SignName", "TemplateCode"):
        if not params.get(name):
            raise Refused(_gateway_error(400, f"Missing{name}"))
    _check_template_param(params.get("TemplateParam"))
    if params["SignName"] != FakeAliyun.settings["ALIYUN_SMS_SIGN_NAME"]:
        raise Refused(_refusal("isv.SMS_SIGNATURE_ILLEGAL"))
    numbers = params["PhoneNumbers"].split(",")
    if len(numbers) > _NUMBERS_LIMIT:
        raise Refused(_refusal("isv.MOBILE_COUNT_OVER_LIMIT"))
    if not all(re.fullmatch(r"\+?[0-9]{6,18}", number) for number in numbers):
        raise Refused(_refusal("isv.MOBILE_NUMBER_ILLEGAL"))
    return [_e164(number) for number in numbers]


def _check_template_param(text: str | None) -> None:
    if text is None:
        return
    try:
        values = json.loads(text).values()
    except (ValueError, AttributeError):
        raise Refused(_refusal("isv.INVALID_JSON_PARAM")) from None
    if not all(isinstance(value, str) for value in values):
        raise Refused(_refusal("isv.INVALID_JSON_PARAM"))


def _written(number: str) -> str:
    return number.removeprefix("+86").removeprefix("+")


def _e164(number: str) -> str:
    digits = number.lstrip("+").removeprefix("00")
    is_mainland = len(digits) == 11 and digits.startswith("1")
    return f"+86{digits}" if is_mainland else f"+{digits}"


def _ok(**members: Any) -> Answer:
    document = {"Code": "OK", "Message": "OK", "RequestId": _request_id(), **members}
    return Answer(200, json.dumps(document))


def _refusal(code: str) -> Answer:
    """Return what the service refuses: inside a 200."""
    document = {"Code": code, "Message": f"refused: {code}", "RequestId": _request_id()}
    return Answer(200, json.dumps(document, ensure_ascii=False))


def _gateway_error(status: int, code: str) -> Answer:
    """Return what the gateway before the service refuses."""
    document = {
        "Code": code,
        "Message": f"refused: {code}",
        "RequestId": _request_id(),
        "HostId": "dysmsapi.aliyuncs.com",
    }
    return Answer(status, json.dumps(document))


def _request_id() -> str:
    return str(uuid.uuid4()).upper()
