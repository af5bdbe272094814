"""The end of a command, told by a text message or a webhook, if that is wanted."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from standardwebhooks import WebhookVerificationError

from app.sms.providers.memory import Kept
from app.storage.task_store import TaskStore
from app.tasks.record import TaskRecord
from app.webhooks.signature import make_secret
from tests.api.callers import (
    ADMIN,
    ANN,
    bearer,
    ended,
    start,
    task_of,
    token_of,
    with_users,
)
from tests.api.checks import paths, problem
from tests.receiver import Receiver, receiving
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


SECRET = make_secret(bytes(range(24)))
SHORT, LONG = make_secret(bytes(23)), make_secret(bytes(65))
SECRET_PATH = {"notify.webhook.secret"}


def webhook(url: str, **more: str) -> dict[str, Any]:
    return {"webhook": {"url": url, **more}}


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
        ({"on": ["never"]}, {"notify.on.0", "notify"}),
        (notice("lost", receivers="12"), {"notify.sms.receivers.0"}),
        (notice("lost", template="none"), {"notify.sms.template"}),
        (notice("lost", params={}), {"notify.sms.params.who"}),
        (notice("lost") | {"webhook": {}}, {"notify.webhook.url"}),
        (notice("lost") | {"by": "catalogue"}, {"notify.by"}),
        (notice("lost") | webhook("http://127.0.0.1:1/"), {"notify.webhook.url"}),
        (notice("lost") | webhook("https://x.test/", secret="x"), SECRET_PATH),
        (notice("lost") | webhook("https://x.test/", secret=SHORT), SECRET_PATH),
        (notice("lost") | webhook("https://x.test/", secret=LONG), SECRET_PATH),
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


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as started:
        yield started


@pytest.fixture
def telling(make_app: Callable[..., Flask], receiver: Receiver) -> FlaskClient:
    """Return a client of an app that may tell the receiver."""
    return with_users(make_app(NOTIFY_URL_PREFIXES=receiver.url))


def told_of(client: FlaskClient, task_id: str) -> dict[str, Any]:
    """Return a task once its webhooks were told."""

    def found() -> dict[str, Any] | None:
        task = task_of(client, ANN, task_id)
        notices = task.get("notifies", [task["notify"]])
        waits = any(each["webhook"]["state"] == "waiting" for each in notices)
        return None if waits else task

    return wait_until(found) or {}


def test_a_webhook_is_told_with_what_there_is_to_say(
    telling: FlaskClient, receiver: Receiver
) -> None:
    url = f"{receiver.url}hook?token=query-word"
    wish = {"on": ["failure"], **webhook(url, secret=SECRET)}
    headers = bearer(token_of(telling, ANN, scopes=["exec", "read"]))
    body = {"cmd": "echo x; exit 3", "notify": wish, "wait_seconds": 10}
    task = telling.post("/v3/exec/", json=body, headers=headers).json
    after = told_of(telling, task["task_id"])
    [told] = receiver.got
    assert told.path == "/hook?token=query-word"
    assert told.headers["content-type"] == "application/json"
    said = told.verified(SECRET)
    assert said["type"] == "task.failure"
    assert said["timestamp"] == after["finished"]
    same = ("task_id", "kind", "cmd", "state", "reason", "returncode", "owner", "host")
    same += ("request_id", "created", "started", "finished", "output")
    assert {n: said["data"][n] for n in same} == {n: after[n] for n in same}
    shown = after["notify"]["webhook"]
    assert shown.pop("delivered") >= after["finished"]
    assert shown == {
        "url": f"{receiver.url}hook",
        "id": told.id,
        "state": "delivered",
        "attempts": 1,
        "status": 204,
    }
    for each in (task, after):
        assert SECRET not in json.dumps(each)
        assert "query-word" not in json.dumps(each)


def test_without_a_secret_the_services_own_signs(
    telling: FlaskClient, receiver: Receiver
) -> None:
    task = run(telling, "true", {"on": ["success"], **webhook(receiver.url)})
    told_of(telling, task["task_id"])
    secret = telling.application.extensions["bellhop"].endings.secret
    receiver.got[0].verified(secret)
    with pytest.raises(WebhookVerificationError):
        receiver.got[0].verified(SECRET)


def test_the_catalogue_has_somebody_told_beside_whom_the_caller_names(
    make_app: Callable[..., Flask], receiver: Receiver, tmp_path: Path
) -> None:
    (tmp_path / "commands.toml").write_text(f"""
[commands.true]
argv = ["true"]
[commands.true.notify]
on = ["success"]
webhook.url = "{receiver.url}path-word"
webhook.secret = "{SECRET}"
""")
    commands = str(tmp_path / "commands.toml")
    settings = {"EXEC_COMMANDS": commands, "NOTIFY_URL_PREFIXES": receiver.url}
    client = with_users(make_app(**settings))
    alone = start(client, ANN, command="true")
    alone = told_of(client, alone["task_id"])
    assert alone["notify"]["by"] == "catalogue"
    assert alone["notify"]["webhook"]["url"] == receiver.url
    mine = {"on": ["success"], **webhook(f"{receiver.url}mine")}
    both = start(client, ANN, command="true", notify=mine)
    both = told_of(client, both["task_id"])
    assert "by" not in both["notify"]
    assert both["notifies"] == [both["notify"], {**both["notifies"][1]}]
    assert both["notifies"][1]["by"] == "catalogue"
    assert "notifies" not in alone
    assert [told.path for told in receiver.got] == ["/path-word", "/mine", "/path-word"]
    assert len({told.id for told in receiver.got}) == 3
    for each in (alone, both):
        assert "path-word" not in json.dumps(each)


def test_without_prefixes_no_webhook_is_taken(client: FlaskClient) -> None:
    wish = {"cmd": "true", "notify": {"on": ["lost"], **webhook("https://x.test/")}}
    found = problem(client.post("/v3/exec/", json=wish, auth=ANN), 400)
    [fault] = found["errors"]
    assert fault["path"] == "notify.webhook.url"
    assert "NOTIFY_URL_PREFIXES" in fault["message"]


def test_a_secret_that_is_refused_is_not_shown(client: FlaskClient) -> None:
    notify = {"on": ["lost"], **webhook("https://x.test/", secret="canary")}
    wish = {"cmd": "true", "notify": notify}
    assert b"canary" not in client.post("/v3/exec/", json=wish, auth=ANN).data
