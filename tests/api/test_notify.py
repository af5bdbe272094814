"""The end of a command, told by a text message: once, and only if it is wanted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.sms.providers.memory import Kept
from app.storage.task_store import TaskStore
from app.tasks.record import TaskRecord
from tests.api.callers import ADMIN, ANN, bearer, ended, start, token_of, with_users
from tests.api.checks import paths, problem
from tests.servers import wait_until

FIRST, SECOND = "+8613800000001", "+8613800000002"

TEMPLATES = """
[templates.ended]
params = ["command", "state", "returncode", "who"]
text = "{who}: {command} ended as {state} with {returncode}"
"""


@pytest.fixture
def client(make_app: Callable[..., Flask], tmp_path: Path) -> FlaskClient:
    (tmp_path / "templates.toml").write_text(TEMPLATES)
    return with_users(make_app(SMS_TEMPLATES=str(tmp_path / "templates.toml")))


def notice(*on: str, **changes: Any) -> dict[str, Any]:
    sms = {"receivers": [FIRST], "template": "ended", "params": {"who": "bob"}}
    return {"on": list(on), "sms": sms | changes}


def told(client: FlaskClient) -> list[Kept]:
    provider: Any = client.application.extensions["bellhop"].gateway.providers["memory"]
    return list(provider.sent)


def run(client: FlaskClient, cmd: str, notify: dict[str, Any]) -> dict[str, Any]:
    """Run a command to its end, and to the end of what is told of it."""
    task_id = start(client, ANN, cmd=cmd, notify=notify)["task_id"]
    return ended(client, ANN, task_id)


def test_an_end_that_is_waited_for_is_told_with_what_there_is_to_say(
    client: FlaskClient,
) -> None:
    task = run(client, "exit 3", notice("failure", "lost", receivers=[FIRST, SECOND]))
    wait_until(lambda: len(told(client)) == 2)
    assert [each.receiver for each in told(client)] == [FIRST, SECOND]
    assert {each.template.text for each in told(client)} == {
        "bob: exit 3 ended as FAILURE with 3"
    }
    after = client.get(task["links"][0]["href"], auth=ANN).json
    assert after["notify"]["on"] == ["failure", "lost"]
    [href] = [link["href"] for link in after["links"] if link["rel"] == "message"]
    wait_until(lambda: client.get(href, auth=ANN).json["message"] != "queued")
    message = client.get(href, auth=ANN).json
    assert (message["owner"], message["message"]) == ("ann", "send")
    assert message["id"] == after["notify"]["message_id"]


@pytest.mark.parametrize(
    ("cmd", "on"), [("true", ["failure", "revoked", "lost"]), ("false", ["success"])]
)
def test_an_end_of_another_kind_is_not_told(
    client: FlaskClient, cmd: str, on: list[str]
) -> None:
    task = run(client, cmd, notice(*on))
    services = client.application.extensions["bellhop"]
    services.endings.tell_missed()
    assert told(client) == []
    assert task["notify"] == {"on": on}
    assert client.get("/v3/sms/", auth=ADMIN).json["messages"] == []


def test_an_end_is_told_once_however_often_it_is_seen(client: FlaskClient) -> None:
    task = run(client, "true", notice("success"))
    wait_until(lambda: told(client))
    services = client.application.extensions["bellhop"]
    row = TaskStore(services.database).find(task["task_id"])
    # As if the service had died before it kept that it was told.
    again = {"notify": json.dumps(notice("success")), "notified": None}
    for _ in range(3):
        services.endings.tell_end(TaskRecord.from_row({**row, **again}))
    wait_until(lambda: client.get("/v3/task/?kind=sms", auth=ADMIN).json["tasks"])
    assert len(told(client)) == 1
    assert len(client.get("/v3/sms/", auth=ADMIN).json["messages"]) == 1


def test_nothing_of_whom_is_told_stays_with_the_task(
    client: FlaskClient, tmp_path: Path
) -> None:
    task = run(client, "true", notice("success", params={"who": "secret-word"}))
    wait_until(lambda: told(client))
    shown = json.dumps(client.get(task["links"][0]["href"], auth=ANN).json)
    assert FIRST not in shown
    assert "secret-word" not in shown


@pytest.mark.parametrize(
    ("notify", "faults"),
    [
        ({"on": [], "sms": {}}, {"notify.on", "notify.sms.receivers"}),
        ({"on": ["never"]}, {"notify.on.0", "notify.sms"}),
        (notice("lost", receivers="12"), {"notify.sms.receivers.0"}),
        (notice("lost", template="none"), {"notify.sms.template"}),
        (notice("lost", params={}), {"notify.sms.params.who"}),
        (notice("lost") | {"webhook": {}}, {"notify.webhook"}),
    ],
)
def test_what_could_not_be_told_is_refused_and_nothing_runs(
    client: FlaskClient, notify: dict[str, Any], faults: set[str]
) -> None:
    answer = client.post("/v3/exec/", json={"cmd": "x", "notify": notify}, auth=ANN)
    assert faults <= set(paths(answer))
    assert client.get("/v3/task/", auth=ADMIN).json["tasks"] == []


def test_it_takes_a_scope_of_its_own(client: FlaskClient) -> None:
    headers = bearer(token_of(client, ANN, scopes=["exec", "read"]))
    wish = {"cmd": "true", "notify": notice("success")}
    problem(client.post("/v3/exec/", json=wish, headers=headers), 403)
    answer = client.post("/v3/exec/", json={"cmd": "true"}, headers=headers)
    assert answer.status_code == 201
