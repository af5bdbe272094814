"""Tencent's SMS of 2021-01-11: TC3, SendSms and its reports, pushed and pulled."""

import json
import re
import time
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from app.sms.number import country_code, national
from app.sms.providers.tencent import ALGORITHM, VERSION, scope_tc3, signature_tc3

from .vendor import Answer, Asked, FakeVendor, Push, Refused, Scenario, Sent

_ID, _KEY = "testSecretId", "testSecretKey"
_APP, _SIGN = "1400006666", "腾讯云"
_AUTHORIZATION = re.compile(
    ALGORITHM + r" Credential=([^/]+)/([^,]+), "
    r"SignedHeaders=([^,]+), Signature=([0-9a-f]{64})"
)
_CLOCK_SECONDS = 300
_NUMBERS_LIMIT = 200
_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")
_PULL_LIMIT = 100
# Messages that are remembered for who asks for them.
_REMEMBERED = 1000

# Those of which the first number has the code, and those of which all have.
_FIRST_CODE_OF = {
    Scenario.NUMBER: "InvalidParameterValue.IncorrectPhoneNumber",
    Scenario.PHONE_LIMIT: "LimitExceeded.PhoneNumberThirtySecondLimit",
}
_CODE_OF = {Scenario.BALANCE: "FailedOperation.InsufficientBalanceInSmsPackage"}
_ERROR_OF = {
    Scenario.AUTH: "UnauthorizedOperation.RequestIpNotInWhitelist",
    Scenario.THROTTLE: "RequestLimitExceeded",
}


class FakeTencent(FakeVendor):
    """Tencent, with one application; whatever it takes is delivered at once."""

    name: ClassVar[str] = "tencent"
    address: ClassVar[tuple[str, str]] = ("TENCENT_SMS_URL", "")
    settings: ClassVar[Mapping[str, str]] = {
        "TENCENT_SMS_SECRET_ID": _ID,
        "TENCENT_SMS_SECRET_KEY": _KEY,
        "TENCENT_SMS_APP_ID": _APP,
        "TENCENT_SMS_SIGN_NAME": _SIGN,
    }

    def __init__(self) -> None:
        self._taken: deque[Sent] = deque(maxlen=_REMEMBERED)

    def is_for(self, asked: Asked) -> bool:
        """Return whether it names an action as Tencent has it."""
        return "x-tc-action" in asked.headers

    def answer(self, asked: Asked, scenario: Scenario) -> tuple[Answer, Sequence[Sent]]:
        """Answer SendSms and PullSmsSendStatusByPhoneNumber; see FakeVendor."""
        try:
            _check_tc3(asked)
            document = _document(asked)
            if asked.headers["x-tc-action"] == "SendSms":
                return self._send(document, scenario)
            return self._pulled(document), []
        except Refused as refused:
            return refused.answer, []

    def receipt(self, sent: Sent, *, delivered: bool, url: str) -> Push:
        """Return the report of a message."""
        report = {
            "user_receive_time": "2026-01-02 11:04:09",
            "nationcode": country_code(sent.receiver).removeprefix("+"),
            "mobile": national(sent.receiver),
            "report_status": "SUCCESS" if delivered else "FAIL",
            "errmsg": "DELIVRD" if delivered else "UNDELIV",
            "description": "用户短信送达成功" if delivered else "用户短信接收失败",
            "sid": sent.provider_id,
        }
        headers = {"Content-Type": "application/json"}
        return Push("POST", url, headers, json.dumps([report]).encode())

    def _send(
        self, document: Mapping[str, Any], scenario: Scenario
    ) -> tuple[Answer, Sequence[Sent]]:
        numbers = _numbers(document)
        if scenario in _ERROR_OF:
            raise Refused(_error(_ERROR_OF[scenario]))
        results, sent = [], []
        for position, number in enumerate(numbers):
            code = _code(document, number, scenario, is_first=position == 0)
            result = _result(document, number, code)
            results.append(result)
            if code == "Ok":
                sent.append(self._sent(document, number, result["SerialNo"]))
        self._taken.extend(sent)
        # The last number comes first: no order is promised.
        return _response(SendStatusSet=results[::-1]), sent

    def _sent(self, document: Mapping[str, Any], number: str, serial: str) -> Sent:
        params = document.get("TemplateParamSet", [])
        return Sent(
            self.name,
            number,
            document.get("SessionContext", ""),
            serial,
            template=document["TemplateId"],
            params=json.dumps(params, ensure_ascii=False),
        )

    def _pulled(self, document: Mapping[str, Any]) -> Answer:
        """Return the reports of one number."""
        _check_pull(document)
        reports = [
            {
                "UserReceiveTime": int(time.time()),
                "CountryCode": country_code(sent.receiver).removeprefix("+"),
                "SubscriberNumber": national(sent.receiver),
                "PhoneNumber": sent.receiver,
                "SerialNo": sent.provider_id,
                "ReportStatus": "SUCCESS",
                "Description": "DELIVRD",
                "SessionContext": sent.message_id,
            }
            for sent in list(self._taken)
            if sent.receiver == document["PhoneNumber"]
        ]
        return _response(PullSmsSendStatusSet=reports[-document["Limit"] :])


def _check_tc3(asked: Asked) -> None:
    """Check a signature of the exact body and of just those headers that it names."""
    found = _AUTHORIZATION.fullmatch(asked.headers.get("authorization", ""))
    if found is None:
        raise Refused(_error("AuthFailure.InvalidAuthorization"))
    who, scope, names, given = found.groups()
    if who != _ID:
        raise Refused(_error("AuthFailure.SecretIdNotFound"))
    moment = _moment(asked)
    signed = {name: asked.headers.get(name, "") for name in names.split(";")}
    if scope != scope_tc3(moment) or not {"content-type", "host"} <= set(signed):
        raise Refused(_error("AuthFailure.SignatureFailure"))
    if given != signature_tc3(asked.body, signed, moment=moment, secret=_KEY):
        raise Refused(_error("AuthFailure.SignatureFailure"))


def _moment(asked: Asked) -> int:
    text = asked.headers.get("x-tc-timestamp", "")
    if not re.fullmatch(r"[0-9]{1,12}", text):
        raise Refused(_error("MissingParameter"))
    if abs(time.time() - int(text)) > _CLOCK_SECONDS:
        raise Refused(_error("AuthFailure.SignatureExpire"))
    return int(text)


def _document(asked: Asked) -> Mapping[str, Any]:
    """Return the parameters of an action that there is."""
    if asked.headers.get("x-tc-version") != VERSION:
        raise Refused(_error("NoSuchVersion"))
    if not asked.headers.get("x-tc-region"):
        raise Refused(_error("MissingParameter"))
    if asked.headers["x-tc-action"] not in (
        "SendSms",
        "PullSmsSendStatusByPhoneNumber",
    ):
        raise Refused(_error("InvalidAction"))
    try:
        document = json.loads(asked.body)
    except ValueError:
        raise Refused(_error("InvalidParameter")) from None
    if not isinstance(document, dict):
        raise Refused(_error("InvalidParameter"))
    if document.get("SmsSdkAppId") != _APP:
        raise Refused(_error("UnauthorizedOperation.SmsSdkAppIdVerifyFail"))
    return document


def _numbers(document: Mapping[str, Any]) -> list[str]:
    """Return the numbers of a SendSms that is not refused as a whole."""
    if not isinstance(document.get("TemplateId"), str):
        raise Refused(_error("MissingParameter"))
    for name in ("PhoneNumberSet", "TemplateParamSet"):
        values = document.get(name, [])
        if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
            raise Refused(_error("InvalidParameter"))
    numbers: list[str] = document.get("PhoneNumberSet", [])
    if not numbers:
        raise Refused(_error("MissingParameter.EmptyPhoneNumberSet"))
    if len(numbers) > _NUMBERS_LIMIT:
        raise Refused(_error("LimitExceeded.PhoneNumberCountLimit"))
    if len({number.startswith("+86") for number in numbers}) > 1:
        mixed = "UnsupportedOperation.ContainDomesticAndInternationalPhoneNumber"
        raise Refused(_error(mixed))
    return numbers


def _code(
    document: Mapping[str, Any], number: str, scenario: Scenario, *, is_first: bool
) -> str:
    """Return what becomes of one number."""
    if not _NUMBER.fullmatch(number):
        return "InvalidParameterValue.IncorrectPhoneNumber"
    if document.get("SignName") != _SIGN:
        return "FailedOperation.SignatureIncorrectOrUnapproved"
    if is_first and scenario in _FIRST_CODE_OF:
        return _FIRST_CODE_OF[scenario]
    return _CODE_OF.get(scenario, "Ok")


def _result(document: Mapping[str, Any], number: str, code: str) -> dict[str, Any]:
    is_sent = code == "Ok"
    return {
        "SerialNo": f"5000:{uuid.uuid4().int % 10**28}" if is_sent else "",
        "PhoneNumber": number,
        "Fee": 1 if is_sent else 0,
        "SessionContext": document.get("SessionContext", ""),
        "Code": code,
        "Message": "send success" if is_sent else f"refused: {code}",
        "IsoCode": "CN" if number.startswith("+86") else "DEF",
    }


def _check_pull(document: Mapping[str, Any]) -> None:
    if not isinstance(document.get("BeginTime"), int):
        raise Refused(_error("InvalidParameterValue.BeginTimeVerifyFail"))
    if document.get("Offset") != 0:
        raise Refused(_error("InvalidParameterValue.OffsetVerifyFail"))
    if document.get("Limit") not in range(1, _PULL_LIMIT + 1):
        raise Refused(_error("InvalidParameterValue.LimitVerifyFail"))
    if not isinstance(document.get("PhoneNumber"), str):
        raise Refused(_error("MissingParameter"))


def _response(**members: Any) -> Answer:
    """Return a 200, as everything is that this vendor answers.

    Of another type than just this, its own SDK sees no error.
    """
    document = {"Response": {**members, "RequestId": str(uuid.uuid4())}}
    return Answer(200, json.dumps(document), "application/json")


def _error(code: str) -> Answer:
    return _response(Error={"Code": code, "Message": f"refused: {code}"})
