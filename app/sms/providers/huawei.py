"""Huawei Cloud's batchSendSms/v1, signed by WSSE, and its reports.

https://support.huaweicloud.com/api-msgsms/sms_05_0001.html (request, answer, codes),
https://support.huaweicloud.com/api-msgsms/sms_05_0046.html (signature) and
https://support.huaweicloud.com/api-msgsms/sms_05_0003.html (reports).
"""

import hashlib
import json
import uuid
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode

from app.sms.http_provider import HttpProvider, Reply, Request
from app.sms.message import Accepted, Category, Filled, Outcome, Receipt, State
from app.sms.provider import Acknowledgement, Call, OutcomeUnknown
from app.sms.reading import (
    Codes,
    by_number,
    read_count,
    read_json,
    read_objects,
    read_word,
    require_word,
)

AUTHORIZATION = 'WSSE realm="SDP",profile="UsernameToken",type="Appkey"'
_DIGESTS = ("hex", "raw")

_SUCCESS = "000000"
# Each number was refused: its status says why.
_SEE_STATUS = "E000510"

# The codes of requests, and from E200015 on the statuses of numbers.
_CODES = Codes(
    category_of={
        "E000045": Category.AUTH,
        "E000101": Category.AUTH,
        "E000102": Category.AUTH,
        "E000110": Category.AUTH,  # the clock
        "E000111": Category.AUTH,
        "E000112": Category.ACCOUNT,
        "E000503": Category.REQUEST,
        "E000620": Category.AUTH,
        "E200015": Category.REQUEST,
        "E200018": Category.SENDER,
        "E200020": Category.SENDER,
        "E200024": Category.ACCOUNT,
        "E200025": Category.RECIPIENT,
        "E200028": Category.REQUEST,
        "E200029": Category.REQUEST,
        "E200030": Category.REQUEST,
        "E200031": Category.REQUEST,
        "E200032": Category.REQUEST,
        "E200033": Category.REQUEST,
        "E200041": Category.RECIPIENT,
        "BLACK": Category.COMPLIANCE,
        "MBBLACK": Category.COMPLIANCE,
        "KEYWORD": Category.COMPLIANCE,
        "APIG.0308": Category.RATE_LIMITED,  # of the gateway before the service
        **{f"E00000{n}": Category.AUTH for n in range(1, 9)},
        **{f"E00002{n}": Category.AUTH for n in range(4)},
    },
    phone_limits=("MILIMIT", "LIMIT", "BEYONDN", "CTLIMIT"),
    internal=("E000000",),
)

# The statuses of reports; every other one is a reason for which it did not arrive.
_STATE_OF = {"DELIVRD": State.DELIVERED, "EXPIRED": State.EXPIRED}


class HuaweiProvider(HttpProvider):
    """Huawei, which has the texts and is given a template's id and its parameters.

    `url` is the whole one, of the application's access address. Both digests are in
    use: of the hash in hex, as its Python sample has it, and of the raw hash.
    """

    batch_limit: ClassVar[int] = 500
    needs_template_id: ClassVar[bool] = True
    acknowledgement: ClassVar[Acknowledgement | None] = Acknowledgement()

    def __init__(
        self,
        *,
        url: str,
        app_key: str,
        app_secret: str,
        sender_id: str,
        signature: str = "",
        digest: str = "hex",
        timeout_seconds: float = 10.0,
    ) -> None:
        super().__init__(timeout_seconds=timeout_seconds)
        if digest not in _DIGESTS:
            raise ValueError(f"digest is none of {', '.join(_DIGESTS)}")
        self._url = url
        self._app_key = app_key
        self._app_secret = app_secret
        self._sender_id = sender_id
        self._signature = signature
        self._digest = digest

    def build(
        self,
        template: Filled,
        receivers: Sequence[str],
        *,
        message_id: str,
        validity_seconds: int | None,  # noqa: ARG002 - it has none
        receipts_url: str | None,
    ) -> Request:
        """Return a batchSendSms."""
        form = {
            "from": self._sender_id,
            "to": ",".join(receivers),
            "templateId": template.id or "",
            "templateParas": _positional(template.params),
            "statusCallback": receipts_url or "",
            "extend": message_id,
            "signature": self._signature,
        }
        given = {name: value for name, value in form.items() if value}
        return Request("POST", self._url, self._headers(), urlencode(given).encode())

    def read(self, reply: Reply, receivers: Sequence[str]) -> Sequence[Outcome]:
        """Return the outcomes, of each number in an answer that has them."""
        document = reply.json
        code, results = document.get("code"), document.get("result")
        if code in (_SUCCESS, _SEE_STATUS) and isinstance(results, list):
            return by_number(_told(results), receivers)
        if code == _SUCCESS:
            raise OutcomeUnknown("the answer has no result")
        refusal = _CODES.rejection(
            code or document.get("error_code"),
            document.get("description") or document.get("error_msg"),
        )
        return [refusal] * len(receivers)

    def receipts(self, call: Call) -> Sequence[Receipt]:
        """Return what a report has, or the batch that an application can have set."""
        if call.body.lstrip().startswith(b"{"):
            reports = read_json(call.body).get("statusReportList")
            return [_receipt(report) for report in read_objects(reports)]
        return [_receipt(dict(parse_qsl(call.body.decode())))]

    def _headers(self) -> Mapping[str, str]:
        nonce, created = uuid.uuid4().hex, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        digest = password_digest(nonce, created, self._app_secret, self._digest)
        return {
            "Content-Type": "application/x-www-form-urlencoded",
            "Authorization": AUTHORIZATION,
            "X-WSSE": (
                f'UsernameToken Username="{self._app_key}",PasswordDigest="{digest}",'
                f'Nonce="{nonce}",Created="{created}"'
            ),
        }


def password_digest(nonce: str, created: str, secret: str, digest: str) -> str:
    """Return the PasswordDigest of WSSE: of the hash in "hex", or of the "raw" one."""
    hashed = hashlib.sha256(f"{nonce}{created}{secret}".encode())
    is_hex = digest == "hex"
    return b64encode(
        hashed.hexdigest().encode() if is_hex else hashed.digest()
    ).decode()


def _positional(params: Mapping[str, str]) -> str:
    """Return the values as an array of strings, or "" for a template without any."""
    if not params:
        return ""
    return json.dumps(list(params.values()), ensure_ascii=False, separators=(",", ":"))


def _told(results: Sequence[Any]) -> Iterator[tuple[str, Outcome]]:
    """Give what an answer says of each number."""
    for result in results:
        if isinstance(result, dict):
            yield str(result.get("originTo")), _outcome(result)


def _outcome(result: Mapping[str, Any]) -> Outcome:
    if result.get("status") == _SUCCESS:
        segments = read_count(result.get("total"))
        return Accepted(str(result.get("smsMsgId") or "") or None, segments)
    return _CODES.outcome(result.get("status"), "")


def _receipt(report: Mapping[str, Any]) -> Receipt:
    """Return what is reported of one part of a message."""
    status = require_word(report, "status")
    parts = read_count(report.get("total")) or 1
    part = read_count(report.get("sequence")) or 1
    if part > parts:
        raise ValueError("has a part beyond the last")
    return Receipt(
        _STATE_OF.get(status.upper(), State.UNDELIVERED),
        code=status,
        message_id=read_word(report, "extend") or None,
        provider_id=require_word(report, "smsMsgId"),
        number=_e164(read_word(report, "to")),
        segments=parts,
        part=part,
        parts=parts,
    )


def _e164(number: str) -> str | None:
    """Return a number with its plus, which a form that is not encoded has lost."""
    return f"+{number.strip().lstrip('+')}" if number else None
