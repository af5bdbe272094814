"""Signs what is told, as Standard Webhooks has it (standardwebhooks.com, v1)."""

import base64
import binascii
import hashlib
import hmac

#: What a secret's text begins with.
PREFIX = "whsec_"
_SECRET_BYTES = range(24, 64 + 1)


def read_secret(text: str) -> bytes:
    """Return the key that a secret's text stands for; raise ValueError."""
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if not text.startswith(PREFIX) or len(key) not in _SECRET_BYTES:
        raise ValueError(f"is not {PREFIX} and the base64 of 24 to 64 bytes")
    return key


def make_secret(key: bytes) -> str:
    """Return the text by which a receiver is given a key."""
    return PREFIX + base64.b64encode(key).decode()


def headers(
    key: bytes, *, notice_id: str, timestamp: int, body: bytes
) -> dict[str, str]:
    """Return what proves to a receiver who sends a body, and when (Unix seconds)."""
    signed = f"{notice_id}.{timestamp}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return {
        "webhook-id": notice_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
