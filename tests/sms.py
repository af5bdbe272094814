"""Messages that are sent over HTTP and reported back, for tests."""

from typing import Any

from flask.testing import FlaskClient

from app.sms.fake.vendor import Push
from tests.vendors import FIRST

PUBLIC_URL = "https://bellhop.example"
SECRET = "whoever-knows-this-may-report"
CODE = "736251"

TEMPLATES = """
[templates.captcha]
params = ["code"]
text = "您的验证码是{code}"
[templates.captcha.ids]
aliyun = "SMS_1"
huawei = "h-1"
tencent = "1110"

[templates.meeting]
params = ["who", "code"]
text = "{who} meets {code}"
[templates.meeting.ids]
aliyun = "SMS_2"
tencent = "1111"

[templates.plain]
text = "Good morning"

[templates.approved.ids]
aliyun = "SMS_3"
"""


def send(
    client: FlaskClient, *receivers: str, path: str = "/api/sms", **more: Any
) -> Any:
    """Ask for a message to the first number, if to no others; return the answer.

    `headers` and `auth` are the request's, the rest is the body's.
    """
    request = {name: more.pop(name) for name in ("headers", "auth") if name in more}
    params = {"code": CODE}
    body = {"receivers": receivers or [FIRST], "template": "captcha", "params": params}
    return client.post(path, json=body | more, **request)


def states(answer: Any) -> list[str]:
    """Return the states of an answer's receivers, in their order."""
    return [receiver["state"] for receiver in answer.json["receivers"]]


def failed(answer: Any, status: int) -> list[tuple[str, str]]:
    """Assert that a message has failed; return who was tried, and their categories."""
    found = answer.json
    assert answer.status_code == found["status"] == status, found
    assert answer.content_type == "application/problem+json"
    assert found["message"] == "failed"
    assert found["type"].startswith("urn:bellhop:problem:sms-")
    assert found["request_id"] == answer.headers["X-Request-ID"]
    assert ("Retry-After" in answer.headers) is (status in (429, 503))
    tried = found["attempts"]
    for each in tried:
        assert each["provider_code"] in found["detail"]
        assert each["provider_message"] in found["detail"]
    return [(each["provider"], each["category"]) for each in tried]


def kept(client: FlaskClient, answer: Any, **request: Any) -> dict[str, Any]:
    """Return a message as it is now, by the answer to the one who has sent it."""
    [href] = [
        x["href"] for x in answer.json["links"] if x["rel"] in ("self", "message")
    ]
    found = client.get(href, **request)
    assert found.status_code == 200, found.json
    return dict(found.json)


def receipts_url(provider: str, secret: str = SECRET) -> str:
    """Return where a vendor reports to."""
    return f"{PUBLIC_URL}/api/sms/receipts/{provider}/{secret}"


def report(client: FlaskClient, push: Push, **changes: Any) -> Any:
    """Send a vendor's receipt, some of it changed, as it comes through a proxy."""
    call = {
        "method": push.method,
        "headers": push.headers,
        "data": push.body,
        **changes,
    }
    url = call.pop("url", push.url)
    assert url.startswith(PUBLIC_URL)
    return client.open(url.removeprefix(PUBLIC_URL), **call)
