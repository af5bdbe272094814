"""Amazon's SNS: signature version 4, Publish to a number, answers in XML."""

import hashlib
import hmac
import re
import uuid
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import ClassVar
from xml.sax.saxutils import escape

from .vendor import Answer, Asked, FakeVendor, Refused, Scenario, Sent

_KEY, _SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
_ALGORITHM = "AWS4-HMAC-SHA256"
_AUTHORIZATION = re.compile(
    _ALGORITHM + r" Credential=([^/]+)/([0-9]{8}/[^/]+/sns/aws4_request), "
    r"SignedHeaders=([^,]+), Signature=([0-9a-f]{64})"
)
_NAMESPACE = "http://sns.amazonaws.com/doc/2010-03-31/"
_TEXT_BYTES = 1600

_ERROR_OF = {
    Scenario.NUMBER: (400, "InvalidParameter", "Invalid parameter: PhoneNumber"),
    Scenario.AUTH: (403, "AuthorizationError", "is not authorized: SNS:Publish"),
    Scenario.THROTTLE: (400, "Throttling", "Rate exceeded"),
}


class FakeSns(FakeVendor):
    """Amazon's SNS, with one customer.

    It answers a Publish before it looks at a budget or at how often a number has been
    sent to: BALANCE and PHONE_LIMIT succeed.
    """

    name: ClassVar[str] = "sns"
    address: ClassVar[tuple[str, str]] = ("SNS_URL", "")
    settings: ClassVar[Mapping[str, str]] = {
        "SNS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": _KEY,
        "AWS_SECRET_ACCESS_KEY": _SECRET,
    }

    def is_for(self, asked: Asked) -> bool:
        """Return whether it is signed for SNS."""
        return "/sns/aws4_request" in asked.headers.get("authorization", "")

    def answer(self, asked: Asked, scenario: Scenario) -> tuple[Answer, Sequence[Sent]]:
        """Answer a Publish; see FakeVendor."""
        try:
            _check_signature(asked)
            number, text = _checked(asked.form, scenario)
        except Refused as refused:
            return refused.answer, []
        message_id = str(uuid.uuid4())
        result = f"<PublishResult><MessageId>{message_id}</MessageId></PublishResult>"
        sent = Sent(self.name, number, "", message_id, text=text)
        return _answer(200, "PublishResponse", result), [sent]


def _check_signature(asked: Asked) -> None:
    found = _AUTHORIZATION.fullmatch(asked.headers["authorization"])
    if found is None:
        raise Refused(_error(400, "IncompleteSignature", "is not of its form"))
    key, scope, names, given = found.groups()
    if key != _KEY:
        raise Refused(_error(403, "InvalidClientTokenId", "The token is invalid."))
    if not {"host", "x-amz-date"} <= set(names.split(";")):
        raise Refused(_error(400, "IncompleteSignature", "headers are not signed"))
    if not hmac.compare_digest(given, _signature(asked, names, scope)):
        raise Refused(_error(403, "SignatureDoesNotMatch", "does not match"))


def _signature(asked: Asked, names: str, scope: str) -> str:
    """Return the signature of a request: of the headers named, and of its body."""
    headers = "".join(
        f"{name}:{' '.join(asked.headers.get(name, '').split())}\n"
        for name in names.split(";")
    )
    body = hashlib.sha256(asked.body).hexdigest()
    request = f"{asked.method}\n{asked.path}\n\n{headers}\n{names}\n{body}"
    digest = hashlib.sha256(request.encode()).hexdigest()
    to_sign = "\n".join([_ALGORITHM, asked.headers["x-amz-date"], scope, digest])
    key = reduce(_hmac, scope.split("/"), f"AWS4{_SECRET}".encode())
    return _hmac(key, to_sign).hex()


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _checked(form: Mapping[str, str], scenario: Scenario) -> tuple[str, str]:
    """Return number and text of a Publish that the vendor would take."""
    if scenario in _ERROR_OF:
        raise Refused(_error(*_ERROR_OF[scenario]))
    number, text = form.get("PhoneNumber", ""), form.get("Message", "")
    if form.get("Action") != "Publish":
        raise Refused(_error(400, "InvalidAction", "is not valid here"))
    if not text or len(text.encode()) > _TEXT_BYTES:
        raise Refused(_error(400, "InvalidParameter", "Invalid parameter: Message"))
    if not re.fullmatch(r"\+[1-9][0-9]{6,14}", number):
        raise Refused(_error(*_ERROR_OF[Scenario.NUMBER]))
    return number, text


def _error(status: int, code: str, words: str) -> Answer:
    kind = "<Type>Sender</Type>"
    error = (
        f"<Error>{kind}<Code>{code}</Code><Message>{escape(words)}</Message></Error>"
    )
    return _answer(status, "ErrorResponse", error)


def _answer(status: int, name: str, inner: str) -> Answer:
    request_id = f"<RequestId>{uuid.uuid4()}</RequestId>"
    if name != "ErrorResponse":
        request_id = f"<ResponseMetadata>{request_id}</ResponseMetadata>"
    body = f'<{name} xmlns="{_NAMESPACE}">{inner}{request_id}</{name}>'
    return Answer(status, body, "text/xml")
