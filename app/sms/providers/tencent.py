"""Tencent Cloud's SMS of 2021-01-11: SendSms, its reports, the pull of one number's.

https://cloud.tencent.com/document/api/382/55981 (SendSms), .../382/59177 (codes),
https://cloud.tencent.com/document/api/382/52071 (signature TC3) and
https://cloud.tencent.com/document/api/382/55976 (PullSmsSendStatusByPhoneNumber).
"""

import hashlib
import hmac
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import urlsplit

from app.sms.http_provider import HttpProvider, Reply, Request
from app.sms.message import (
    Accepted,
    Category,
    Filled,
    Outcome,
    Receipt,
    State,
)
from app.sms.provider import Acknowledgement, Asked, Call, OutcomeUnknown
from app.sms.reading import (
    Codes,
    by_number,
    read_count,
    read_json,
    read_objects,
    read_word,
    require_word,
)

VERSION = "2021-01-11"
ALGORITHM = "TC3-HMAC-SHA256"
_CONTENT_TYPE = "application/json; charset=utf-8"
_SIGNED = ("content-type", "host")
_MAINLAND = "+86"

# How far our clock and theirs may be apart, and how many reports one pull gives.
_SKEW_SECONDS = 300
_PULL_LIMIT = 100

_CODES = Codes(
    category_of={
        "InternalError.RequestTimeException": Category.AUTH,  # the clock
        "IpNotInWhitelist": Category.AUTH,
        "InvalidParameterValue.SdkAppIdNotExist": Category.AUTH,
        "UnauthorizedOperation.ServiceSuspendDueToArrears": Category.ACCOUNT,
        "FailedOperation.InsufficientBalanceInSmsPackage": Category.ACCOUNT,
        "FailedOperation.SignatureIncorrectOrUnapproved": Category.SENDER,
        "LimitExceeded.GlobalSmsSendingRateLimit": Category.RATE_LIMITED,
        "LimitExceeded.PhoneNumberCountLimit": Category.REQUEST,
        "InvalidParameterValue.IncorrectPhoneNumber": Category.RECIPIENT,
        "FailedOperation.PhoneNumberParseFail": Category.RECIPIENT,
        "UnsupportedOperation.UnsupportedRegion": Category.RECIPIENT,
        "FailedOperation.PhoneNumberInBlacklist": Category.COMPLIANCE,
        "FailedOperation.ContainSensitiveWord": Category.COMPLIANCE,
        "InvalidParameter.DirtyWordFound": Category.COMPLIANCE,
        "FailedOperation.MarketingSendTimeConstraint": Category.REQUEST,
        "FailedOperation.FailResolvePacket": Category.REQUEST,
        "FailedOperation.JsonParseFail": Category.REQUEST,
    },
    category_of_prefix={
        "AuthFailure": Category.AUTH,
        "UnauthorizedOperation": Category.AUTH,
        "RequestLimitExceeded": Category.RATE_LIMITED,
        "LimitExceeded": Category.ACCOUNT,
        "FailedOperation.Template": Category.REQUEST,
        "InvalidParameter": Category.REQUEST,
        "MissingParameter": Category.REQUEST,
        "UnsupportedOperation": Category.REQUEST,
    },
    phone_limits=("LimitExceeded.PhoneNumber", "LimitExceeded.DeliveryFrequencyLimit"),
    internal=("InternalError", "ServiceUnavailable"),
)


class TencentProvider(HttpProvider):
    """Tencent, which has the texts and is given a template's id and its parameters."""

    batch_limit: ClassVar[int] = 200
    needs_template_id: ClassVar[bool] = True
    acknowledgement: ClassVar[Acknowledgement | None] = Acknowledgement(
        '{"result":0,"errmsg":"OK"}', "application/json"
    )

    def __init__(
        self,
        *,
        secret_id: str,
        secret_key: str,
        app_id: str,
        sign_name: str,
        region: str = "ap-guangzhou",
        url: str = "https://sms.tencentcloudapi.com",
        timeout_seconds: float = 10.0,
    ) -> None:
        super().__init__(timeout_seconds=timeout_seconds)
        self._secret_id = secret_id
        self._secret_key = secret_key
        self._app_id = app_id
        self._sign_name = sign_name
        self._region = region
        self._url = url.rstrip("/") + "/"

    def batches(self, receivers: Sequence[str]) -> Iterator[Sequence[str]]:
        """Give the mainland's receivers, then all others: never both in one request."""
        mainland = [number for number in receivers if number.startswith(_MAINLAND)]
        others = [number for number in receivers if not number.startswith(_MAINLAND)]
        yield from super().batches(mainland)
        yield from super().batches(others)

    def build(
        self,
        template: Filled,
        receivers: Sequence[str],
        *,
        message_id: str,
        validity_seconds: int | None,  # noqa: ARG002 - it has none
        receipts_url: str | None,  # noqa: ARG002 - set in its console
    ) -> Request:
        """Return a SendSms."""
        document = {
            "PhoneNumberSet": list(receivers),
            "SmsSdkAppId": self._app_id,
            "TemplateId": template.id or "",
            "SignName": self._sign_name,
            "TemplateParamSet": list(template.params.values()),
            "SessionContext": message_id,
        }
        return self._signed("SendSms", document)

    def read(self, reply: Reply, receivers: Sequence[str]) -> Sequence[Outcome]:
        """Return the outcomes, which an answer has for each number."""
        response = _response(reply)
        error = response.get("Error")
        if isinstance(error, dict):
            refusal = _CODES.rejection(error.get("Code"), error.get("Message"))
            return [refusal] * len(receivers)
        results = response.get("SendStatusSet")
        if not isinstance(results, list):
            raise OutcomeUnknown("the answer has no SendStatusSet")
        return by_number(_told(results), receivers)

    def receipts(self, call: Call) -> Sequence[Receipt]:
        """Return what a push reports: an array of one or more."""
        return [_receipt(report) for report in read_objects(read_json(call.body))]

    def query(self, asked: Asked) -> Sequence[Receipt]:
        """Ask for a message of the last seven days, by number.

        Its own id is in the answer only where Tencent has been asked for that: else
        a message is found by theirs.
        """
        document = {
            "BeginTime": int(asked.sent) - _SKEW_SECONDS,
            "Offset": 0,
            "Limit": _PULL_LIMIT,
            "PhoneNumber": asked.number,
            "SmsSdkAppId": self._app_id,
        }
        reply = self.ask(self._signed("PullSmsSendStatusByPhoneNumber", document))
        response = _response(reply)
        try:
            reports = read_objects(response.get("PullSmsSendStatusSet"))
            return [_pulled(report, asked) for report in reports if _is(report, asked)]
        except ValueError as error:
            raise OutcomeUnknown("the answer has no readable reports") from error

    def _signed(self, action: str, document: Mapping[str, Any]) -> Request:
        """Return a request whose exact body is signed."""
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        body, moment = text.encode(), int(time.time())
        headers = {"content-type": _CONTENT_TYPE, "host": urlsplit(self._url).netloc}
        signature = signature_tc3(body, headers, moment=moment, secret=self._secret_key)
        headers |= {
            "X-TC-Action": action,
            "X-TC-Version": VERSION,
            "X-TC-Timestamp": str(moment),
            "X-TC-Region": self._region,
            "Authorization": (
                f"{ALGORITHM} Credential={self._secret_id}/{scope_tc3(moment)}, "
                f"SignedHeaders={';'.join(_SIGNED)}, Signature={signature}"
            ),
        }
        return Request("POST", self._url, headers, body)


def scope_tc3(moment: int) -> str:
    """Return what a signature is good for: a day of UTC, and the service."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d}/sms/tc3_request"


def signature_tc3(
    body: bytes, headers: Mapping[str, str], *, moment: int, secret: str
) -> str:
    """Return the signature of a POST to /, of all the headers given."""
    names = sorted(headers)
    canonical = "".join(f"{name}:{headers[name].strip().lower()}\n" for name in names)
    request = "\n".join(
        ["POST", "/", "", canonical, ";".join(names), hashlib.sha256(body).hexdigest()]
    )
    scope = scope_tc3(moment)
    hashed = hashlib.sha256(request.encode()).hexdigest()
    key = f"TC3{secret}".encode()
    for word in scope.split("/"):
        key = _hmac(key, word)
    return _hmac(key, f"{ALGORITHM}\n{moment}\n{scope}\n{hashed}").hex()


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _response(reply: Reply) -> Mapping[str, Any]:
    response = reply.json.get("Response")
    if not isinstance(response, dict):
        raise OutcomeUnknown("the answer has no Response")
    return response


def _told(results: Sequence[Any]) -> Iterator[tuple[str, Outcome]]:
    """Give what an answer says of each number."""
    for result in results:
        if isinstance(result, dict):
            yield str(result.get("PhoneNumber")), _outcome(result)


def _outcome(result: Mapping[str, Any]) -> Outcome:
    if result.get("Code") == "Ok":
        segments = read_count(result.get("Fee"))
        return Accepted(str(result.get("SerialNo") or "") or None, segments)
    return _CODES.outcome(result.get("Code"), result.get("Message"))


def _receipt(report: Mapping[str, Any]) -> Receipt:
    nation, mobile = require_word(report, "nationcode"), require_word(report, "mobile")
    code = read_word(report, "errmsg")
    return Receipt(
        _state(require_word(report, "report_status"), code),
        code=code,
        provider_id=require_word(report, "sid"),
        number=f"+{nation.lstrip('+')}{mobile}",
    )


def _is(report: Mapping[str, Any], asked: Asked) -> bool:
    """Return whether a report is of the message that was asked for."""
    if asked.provider_id and report.get("SerialNo") == asked.provider_id:
        return True
    return report.get("SessionContext") == asked.message_id


def _pulled(report: Mapping[str, Any], asked: Asked) -> Receipt:
    code = read_word(report, "Description")
    return Receipt(
        _state(require_word(report, "ReportStatus"), code),
        code=code,
        message_id=asked.message_id,
        provider_id=read_word(report, "SerialNo") or None,
        number=asked.number,
    )


def _state(status: str, code: str) -> State:
    """Return the state; what has failed says in its code how."""
    if status == "SUCCESS":
        return State.DELIVERED
    if status != "FAIL":
        raise ValueError("has a status that there is not")
    return State.EXPIRED if code == "EXPIRED" else State.UNDELIVERED
