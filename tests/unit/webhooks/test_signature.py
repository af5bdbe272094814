import base64
import json

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from app.webhooks import signature

KEY = bytes(range(32))
SECRET = signature.make_secret(KEY)
BODY = json.dumps({"type": "task.failure", "data": {"command": "备份"}}).encode()


def test_it_is_what_the_published_library_verifies():
    from datetime import UTC, datetime  # noqa: PLC0415

    now = int(datetime.now(UTC).timestamp())
    headers = signature.headers(KEY, notice_id="msg_1", timestamp=now, body=BODY)
    assert Webhook(SECRET).verify(BODY, headers) == json.loads(BODY)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(BODY + b" ", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(signature.make_secret(KEY[::-1])).verify(BODY, headers)


def test_it_is_the_example_of_the_specification():
    key = signature.read_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signature.headers(
        key,
        notice_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize("size", [24, 64])
def test_a_secret_is_read(size):
    assert signature.read_secret(signature.make_secret(bytes(size))) == bytes(size)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        "secret",
        base64.b64encode(bytes(32)).decode(),
        signature.make_secret(bytes(23)),
        signature.make_secret(bytes(65)),
        SECRET + "\n",
        SECRET[:-1],
        "whsec_ü" + "A" * 40,
    ],
)
def test_anything_else_is_no_secret(text):
    with pytest.raises(ValueError, match="whsec_ and the base64 of 24 to 64 bytes"):
        signature.read_secret(text)
