"""Servers that send text messages by vendors that are stood in for."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from app.sms.fake.server import FakeServer
from tests.servers import Server, running

TEMPLATES = """
[templates.captcha]
params = ["code"]
text = "Your code is {code}."

[templates.captcha.ids]
aliyun = "SMS_1"
huawei = "8ff55eac"
tencent = "449739"
"""


def write_templates(folder: Path) -> str:
    """Write the templates; return the name of their file."""
    path = folder / "templates.toml"
    path.write_text(TEMPLATES)
    return str(path)


def known_to(fake: FakeServer) -> dict[str, str]:
    """Return the settings by which all vendors of `fake` are used."""
    settings: dict[str, str] = {}
    for vendor in fake.vendors.values():
        settings |= vendor.settings_at(fake.url)
    return settings


@contextmanager
def sending(
    folder: Path, fake: FakeServer, *arguments: str, **settings: str
) -> Iterator[Server]:
    """Start a server that knows all vendors of `fake`, and sends by Aliyun."""
    ours = {"SMS_TEMPLATES": write_templates(folder), "SMS_PROVIDER": "aliyun"}
    known = known_to(fake) | ours | settings
    with running(folder, *arguments, **known) as server:
        yield server


def send(
    server: Server,
    *receivers: str,
    key: str | None = None,
    query: str = "",
    code: str = "1234",
    auth: tuple[str, str] | None = None,
    **options: Any,
) -> requests.Response:
    """Send a code."""
    headers = {} if key is None else {"Idempotency-Key": key}
    body = {
        "receivers": list(receivers),
        "template": "captcha",
        "params": {"code": code},
    }
    path = f"/api/sms{query}"
    return server.post(path, json=body | options, headers=headers, auth=auth)


def message(server: Server, message_id: str) -> dict[str, Any]:
    """Return a message."""
    answer = server.get(f"/api/sms/{message_id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def states(found: dict[str, Any]) -> list[str]:
    """Return how far a message, or the answer to it, says that it got."""
    return [receiver["state"] for receiver in found["receivers"]]


def sends(fake: FakeServer) -> Counter[str]:
    """Return how often each receiver was sent to."""
    return Counter(sent.receiver for sent in fake.sent())
