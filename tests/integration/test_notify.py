"""Somebody waits for the end of a command, and the service dies before that."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from app.sms.fake.server import FakeServer
from app.sms.fake.vendors import all_vendors
from tests.sending import sending
from tests.servers import Server, wait_until
from tests.trees import ADMIN, PASSWORD, kill_server, task_of
from tests.vendors import FIRST

SETTINGS = {"ADMIN_PASSWORD": PASSWORD, "LOG_LEVEL": "WARNING", "WORKERS": "2"}


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer(all_vendors()) as started:
        yield started


def start(server: Server, cmd: str, *on: str) -> str:
    """Start a command whose end the first number is told; return its path."""
    sms = {"receivers": [FIRST], "template": "captcha", "params": {"code": "1"}}
    wish: dict[str, Any] = {"cmd": cmd, "notify": {"on": on, "sms": sms}}
    answer = requests.post(f"{server.url}/v3/exec/", json=wish, auth=ADMIN, timeout=60)
    assert answer.status_code == 201, answer.text
    return "/v3/task/" + str(answer.json()["task_id"])


def test_that_a_run_was_lost_is_told_once(tmp_path: Path, fake: FakeServer) -> None:
    with sending(tmp_path, fake, **SETTINGS) as server:
        task = start(server, "sleep 300", "lost")
        wait_until(lambda: task_of(server, task)["state"] == "STARTED")
        for pid in server.workers()[1:]:
            os.kill(pid, signal.SIGKILL)
        wait_until(fake.sent, seconds=20)
        assert task_of(server, task)["state"] == "LOST"
        message_id = task_of(server, task)["notify"]["message_id"]
    with sending(tmp_path, fake, **SETTINGS) as server:
        href = f"/v3/sms/{message_id}"
        assert server.get(href, auth=ADMIN).json()["message"] == "send"
    assert [sent.message_id for sent in fake.sent()] == [message_id]


def test_what_ended_with_the_service_is_told_by_the_next_one(
    tmp_path: Path, fake: FakeServer
) -> None:
    with sending(tmp_path, fake, **SETTINGS) as server:
        task = start(server, "sleep 300", "revoked", "lost")
        wait_until(lambda: task_of(server, task)["state"] == "STARTED")
        kill_server(server)
    assert fake.sent() == []
    with sending(tmp_path, fake, **SETTINGS) as server:
        wait_until(fake.sent, seconds=20)
        wait_until(lambda: "message_id" in task_of(server, task)["notify"])
    assert [sent.receiver for sent in fake.sent()] == [FIRST]
