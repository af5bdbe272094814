"""Aliyun's Dysmsapi of 2017-05-25: SendSms, its receipts, QuerySendDetails.

https://help.aliyun.com/document_detail/419273.html and, of the signatures,
https://help.aliyun.com/document_detail/2593177.html (V3) and
https://www.alibabacloud.com/help/en/sms/signature-method (V1).
"""

import hashlib
import hmac
import json
import uuid
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

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
    read_count,
    read_json,
    read_objects,
    read_word,
    require_word,
)

_ALGORITHM = "ACS3-HMAC-SHA256"
_BEIJING = timezone(timedelta(hours=8))

# https://help.aliyun.com/document_detail/101346.html
_CODES = Codes(
    category_of={
        "isv.DAY_LIMIT_CONTROL": Category.ACCOUNT,
        "isv.MONTH_LIMIT_CONTROL": Category.ACCOUNT,
        "isv.AMOUNT_NOT_ENOUGH": Category.ACCOUNT,
        "isv.OUT_OF_SERVICE": Category.ACCOUNT,
        "isv.ACCOUNT_ABNORMAL": Category.ACCOUNT,
        "isv.ACCOUNT_NOT_EXISTS": Category.ACCOUNT,
        "isv.PRODUCT_UN_SUBSCRIPT": Category.ACCOUNT,
        "isp.RAM_PERMISSION_DENY": Category.AUTH,
        "isv.DENY_IP_RANGE": Category.AUTH,
        "isv.SMS_SIGNATURE_ILLEGAL": Category.SENDER,
        "isv.SMS_SIGN_ILLEGAL": Category.SENDER,
        "isv.SIGN_STATE_ILLEGAL": Category.SENDER,
        "isv.SMS_SIGNATURE_SCENE_ILLEGAL": Category.SENDER,
        "isv.EXTEND_CODE_ERROR": Category.SENDER,
        "isv.SMS_TEMPLATE_ILLEGAL": Category.REQUEST,
        "isv.TEMPLATE_MISSING_PARAMETERS": Category.REQUEST,
        "isv.INVALID_PARAMETERS": Category.REQUEST,
        "isv.INVALID_JSON_PARAM": Category.REQUEST,
        "isv.PARAM_LENGTH_LIMIT": Category.REQUEST,
        "isv.PARAM_NOT_SUPPORT_URL": Category.REQUEST,
        "isv.MOBILE_NUMBER_ILLEGAL": Category.RECIPIENT,
        "isv.MOBILE_COUNT_OVER_LIMIT": Category.RECIPIENT,
        "isv.DOMESTIC_NUMBER_NOT_SUPPORTED": Category.RECIPIENT,
        "isv.BLACK_KEY_CONTROL_LIMIT": Category.COMPLIANCE,
        "isv.SMS_CONTENT_ILLEGAL": Category.COMPLIANCE,
        # The gateway's, before the request reaches the service.
        "SignatureDoesNotMatch": Category.AUTH,
        "IncompleteSignature": Category.AUTH,
        "SignatureNonceUsed": Category.AUTH,
        "Forbidden": Category.AUTH,
        "NoPermission": Category.AUTH,
    },
    category_of_prefix={
        "InvalidAccessKeyId": Category.AUTH,
        "InvalidTimeStamp": Category.AUTH,
        "Forbidden.": Category.AUTH,
        "Throttling": Category.RATE_LIMITED,
    },
    phone_limits=("isv.BUSINESS_LIMIT_CONTROL",),
    internal=("isp.",),
)

# SendStatus of QuerySendDetails.
_QUERIED = {1: State.SENT, 2: State.UNDELIVERED, 3: State.DELIVERED}


class AliyunProvider(HttpProvider):
    """Aliyun, which has the texts and is given a template's id and its parameters.

    One answer is for all numbers of a request.
    """

    batch_limit: ClassVar[int] = 1000
    needs_template_id: ClassVar[bool] = True
    acknowledgement: ClassVar[Acknowledgement | None] = Acknowledgement(
        '{"code":0,"msg":"接收成功"}', "application/json"
    )

    def __init__(
        self,
        *,
        app_key: str,
        app_secret: str,
        sign_name: str,
        region_id: str = "cn-hangzhou",
        version: str = "2017-05-25",
        url: str = "https://dysmsapi.aliyuncs.com",
        signature: str = "v3",
        timeout_seconds: float = 10.0,
    ) -> None:
        super().__init__(timeout_seconds=timeout_seconds)
        self._app_key = app_key
        self._app_secret = app_secret
        self._sign_name = sign_name
        self._region_id = region_id
        self._version = version
        self._url = url.rstrip("/") + "/"
        self._signature = signature

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
        params = {
            "PhoneNumbers": ",".join(map(_written, receivers)),
            "SignName": self._sign_name,
            "TemplateCode": template.id or "",
            "OutId": message_id,
        }
        if template.params:
            params["TemplateParam"] = json.dumps(
                dict(template.params), ensure_ascii=False, separators=(",", ":")
            )
        return self._signed("SendSms", params)

    def read(self, reply: Reply, receivers: Sequence[str]) -> Sequence[Outcome]:
        """Return the outcome of a SendSms, which is one for all."""
        return [_outcome(reply.json)] * len(receivers)

    def receipts(self, call: Call) -> Sequence[Receipt]:
        """Return what a push of SmsReport reports: an array of one or more."""
        return [_receipt(report) for report in read_objects(read_json(call.body))]

    def query(self, asked: Asked) -> Sequence[Receipt]:
        """Ask for a message of the last 30 days, by number and day."""
        sent = datetime.fromtimestamp(asked.sent, _BEIJING)
        params = {
            "PhoneNumber": _written(asked.number),
            "SendDate": f"{sent:%Y%m%d}",
            "PageSize": "50",
            "CurrentPage": "1",
        }
        if asked.provider_id:
            params["BizId"] = asked.provider_id
        document = self.ask(self._signed("QuerySendDetails", params)).json
        if document.get("Code") != "OK":
            raise OutcomeUnknown(str(document.get("Code")))
        try:
            return [
                _queried(detail, asked)
                for detail in _details(document)
                if detail.get("OutId") == asked.message_id
            ]
        except ValueError as error:
            raise OutcomeUnknown("the answer has no readable details") from error

    def _signed(self, action: str, params: Mapping[str, str]) -> Request:
        """Return a request with its parameters in the query and no body."""
        now, nonce = datetime.now(UTC), uuid.uuid4().hex
        common = {
            "app_key": self._app_key,
            "secret": self._app_secret,
            "action": action,
            "version": self._version,
            "moment": f"{now:%Y-%m-%dT%H:%M:%SZ}",
            "nonce": nonce,
        }
        if self._signature == "v1":
            params = {**params, "RegionId": self._region_id}
            query = signed_query_v1("POST", params, **common)
            return Request("POST", f"{self._url}?{query}", {})
        headers = signed_headers_v3(
            "POST", params, host=urlsplit(self._url).netloc, **common
        )
        return Request("POST", f"{self._url}?{canonical_query(params)}", headers)


def canonical_query(params: Mapping[str, str]) -> str:
    """Return parameters in the order of their names, percent-encoded (RFC 3986)."""
    pairs = sorted(params.items())
    return "&".join(f"{_encoded(name)}={_encoded(value)}" for name, value in pairs)


def signed_query_v1(
    method: str,
    params: Mapping[str, str],
    *,
    app_key: str,
    secret: str,
    action: str,
    version: str,
    moment: str,
    nonce: str,
) -> str:
    """Return the query with the common parameters and a signature of V1."""
    whole = {
        "AccessKeyId": app_key,
        "Action": action,
        "Format": "JSON",
        "SignatureMethod": "HMAC-SHA1",
        "SignatureNonce": nonce,
        "SignatureVersion": "1.0",
        "Timestamp": moment,
        "Version": version,
        **params,
    }
    signature = signature_v1(method, whole, secret)
    return f"{canonical_query(whole)}&Signature={_encoded(signature)}"


def signature_v1(method: str, params: Mapping[str, str], secret: str) -> str:
    """Return the signature of all parameters, the common ones included."""
    to_sign = f"{method}&{_encoded('/')}&{_encoded(canonical_query(params))}"
    digest = hmac.new(f"{secret}&".encode(), to_sign.encode(), hashlib.sha1).digest()
    return b64encode(digest).decode()


def signed_headers_v3(
    method: str,
    params: Mapping[str, str],
    *,
    host: str,
    app_key: str,
    secret: str,
    action: str,
    version: str,
    moment: str,
    nonce: str,
) -> dict[str, str]:
    """Return the headers of a request without a body, with a signature of V3."""
    headers = {
        "host": host,
        "x-acs-action": action,
        "x-acs-content-sha256": hashlib.sha256(b"").hexdigest(),
        "x-acs-date": moment,
        "x-acs-signature-nonce": nonce,
        "x-acs-version": version,
    }
    signature = signature_v3(method, canonical_query(params), headers, secret)
    signed = ";".join(sorted(headers))
    headers["Authorization"] = (
        f"{_ALGORITHM} Credential={app_key},SignedHeaders={signed},"
        f"Signature={signature}"
    )
    return headers


def signature_v3(
    method: str, query: str, headers: Mapping[str, str], secret: str
) -> str:
    """Return the signature of a request to /, of all the headers given."""
    names = sorted(headers)
    canonical = "".join(f"{name}:{headers[name].strip()}\n" for name in names)
    request = "\n".join(
        [
            method,
            "/",
            query,
            canonical,
            ";".join(names),
            headers["x-acs-content-sha256"],
        ]
    )
    to_sign = f"{_ALGORITHM}\n{hashlib.sha256(request.encode()).hexdigest()}"
    return hmac.new(secret.encode(), to_sign.encode(), hashlib.sha256).hexdigest()


def _encoded(text: str) -> str:
    return quote(text, safe="-_.~")


def _written(number: str) -> str:
    """Return a number as Aliyun takes it: mainland numbers bare, others without +."""
    return number.removeprefix("+86").removeprefix("+")


def _outcome(document: Mapping[str, Any]) -> Outcome:
    if document.get("Code") != "OK":
        return _CODES.rejection(document.get("Code"), document.get("Message"))
    if not document.get("BizId"):
        raise OutcomeUnknown("the answer has no BizId")
    return Accepted(str(document["BizId"]))


def _details(document: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return what QuerySendDetails lists; raises ValueError."""
    listed = document.get("SmsSendDetailDTOs")
    return read_objects(
        listed.get("SmsSendDetailDTO") if isinstance(listed, dict) else None
    )


def _queried(detail: Mapping[str, Any], asked: Asked) -> Receipt:
    return Receipt(
        _QUERIED.get(read_count(detail.get("SendStatus")) or 0, State.UNKNOWN),
        code=read_word(detail, "ErrCode"),
        message_id=asked.message_id,
        number=asked.number,
    )


def _receipt(report: Mapping[str, Any]) -> Receipt:
    if not isinstance(report.get("success"), bool):
        raise ValueError("does not say whether it was a success")
    return Receipt(
        State.DELIVERED if report["success"] else State.UNDELIVERED,
        code=read_word(report, "err_code"),
        message_id=read_word(report, "out_id") or None,
        provider_id=read_word(report, "biz_id") or None,
        number=require_word(report, "phone_number"),
        segments=read_count(report.get("sms_size")),
    )
