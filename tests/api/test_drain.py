"""A host that is being drained: what it refuses, and all that it still does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.api.callers import ADMIN, ANN, ended, start, with_users
from tests.api.checks import paths, problem
from tests.api.test_command_pages import page
from tests.api.test_notify import TEMPLATES, notice, told
from tests.callers import signed
from tests.servers import wait_until

RUNS: dict[str, tuple[str, str, Any]] = {
    "exec": ("POST", "/api/exec/bob", {"cmd": "true"}),
    "v3 exec": ("POST", "/v3/exec/", {"cmd": "true"}),
    "v3 exec, waited for": ("POST", "/v3/exec/", {"cmd": "true", "wait_seconds": 20}),
    "v2 iostat": ("POST", "/v2/iostat/", None),
    "v2 iostat by GET": ("GET", "/v2/iostat/", None),
    "v3 iostat": ("POST", "/v3/iostat/", None),
    "v3 iostat by GET": ("GET", "/v3/iostat/", None),
}
SMS = {"receivers": ["+8613800000001"], "template": "plain"}
PLAIN = '[templates.plain]\ntext = "Good morning"\n'

WORKS: list[tuple[str, str, Any, int]] = [
    ("GET", "/api/health", None, 200),
    ("GET", "/", None, 200),
    ("GET", "/v1/uptime/", None, 200),
    ("GET", "/v1/iostat/", None, 200),
    ("HEAD", "/v2/iostat/", None, 201),
    ("GET", "/metrics", None, 200),
    ("GET", "/v3/task/", None, 200),
    ("GET", "/v3/commands/", None, 200),
    ("GET", "/api/poll/bob", None, 200),
    ("POST", "/api/sms", SMS, 200),
    ("POST", "/v3/sms/preview", {"text": "Good morning"}, 200),
    ("GET", "/v3/sms/", None, 200),
    ("POST", "/v1/user", {"name": "bob", "age": 3}, 201),
    ("POST", "/v3/users/ann/tokens", {}, 201),
    ("PATCH", "/v3/users/ann", {"password": "another one"}, 200),
]


@pytest.fixture
def client(make_app: Callable[..., Flask], tmp_path: Path) -> FlaskClient:
    (tmp_path / "templates.toml").write_text(TEMPLATES + PLAIN)
    return with_users(make_app(SMS_TEMPLATES=str(tmp_path / "templates.toml")))


def drain_of(client: FlaskClient) -> Any:
    return client.application.extensions["bellhop"].drain


def send(
    client: FlaskClient, method: str, path: str, body: Any = None, **more: Any
) -> Any:
    auth = ADMIN if path.startswith("/v3/") else None
    sent = {} if body is None else {"json": body}
    return client.open(path, method=method, auth=auth, **sent, **more)


def tasks(client: FlaskClient) -> list[Any]:
    return list(send(client, "GET", "/v3/task/").json["tasks"])


def refused(answer: Any) -> dict[str, Any]:
    found = problem(answer, 503)
    assert found["type"] == "urn:bellhop:problem:draining"
    assert answer.headers["Retry-After"] == "30"
    return found


@pytest.mark.parametrize("name", RUNS)
def test_no_new_run_is_taken_on_until_it_is_over(
    client: FlaskClient, name: str, tmp_path: Path
) -> None:
    drain_of(client).begin()
    refused(send(client, *RUNS[name]))
    assert tasks(client) == []
    assert list((tmp_path / "instance" / "output").iterdir()) == []
    drain_of(client).end()
    assert send(client, *RUNS[name]).status_code in (201, 202)


@pytest.mark.parametrize("path", ["/api/sms", "/v3/sms/"])
@pytest.mark.parametrize("headers", [{}, {"Prefer": "respond-async"}])
def test_no_message_is_put_off(
    client: FlaskClient, path: str, headers: dict[str, str]
) -> None:
    path += "" if headers else "?async=1"
    drain_of(client).begin()
    refused(send(client, "POST", path, SMS, headers=headers))
    assert send(client, "GET", "/v3/sms/").json["messages"] == []
    assert tasks(client) == []
    drain_of(client).end()
    assert send(client, "POST", path, SMS, headers=headers).status_code == 202


@pytest.mark.parametrize(("method", "path", "body", "status"), WORKS)
def test_all_else_goes_on(
    client: FlaskClient, method: str, path: str, body: Any, status: int
) -> None:
    drain_of(client).begin()
    answer = send(client, method, path, body)
    assert answer.status_code == status, answer.text


def test_a_run_is_polled_read_cancelled_and_told_of(client: FlaskClient) -> None:
    gone = start(client, ANN, cmd="echo hello; sleep 100")
    wanted = start(client, ANN, cmd="sleep 0.5", notify=notice("success"))
    drain_of(client).begin()
    href = gone["links"][0]["href"]
    output = f"{href}/output?wait_seconds=20"
    assert client.get(output, auth=ANN).json["text"] == "hello\n"
    assert client.delete(href, auth=ANN).status_code == 204
    assert ended(client, ANN, wanted["task_id"])["state"] == "SUCCESS"
    wait_until(lambda: told(client))


@pytest.mark.parametrize("name", [name for name in RUNS if "GET" not in name])
def test_what_was_started_before_is_answered_again(
    client: FlaskClient, name: str
) -> None:
    key = {"Idempotency-Key": "k"}
    first = send(client, *RUNS[name], headers=key)
    assert first.status_code < 300
    drain_of(client).begin()
    again = send(client, *RUNS[name], headers=key)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json == first.json
    refused(send(client, *RUNS[name], headers={"Idempotency-Key": "another"}))


def test_a_refusal_is_not_kept_for_its_key(client: FlaskClient) -> None:
    key = {"Idempotency-Key": "k"}
    drain_of(client).begin()
    for name in ("exec", "v3 exec"):
        refused(send(client, *RUNS[name], headers=key))
    drain_of(client).end()
    for name in ("exec", "v3 exec"):
        answer = send(client, *RUNS[name], headers=key)
        assert answer.status_code < 300
        assert "Idempotent-Replayed" not in answer.headers


def test_who_may_not_or_asks_wrongly_is_told_that_first(client: FlaskClient) -> None:
    drain_of(client).begin()
    assert client.post("/v3/exec/", json={"cmd": "true"}).status_code == 401
    assert paths(send(client, "POST", "/v3/exec/", {"cmd": 3})) == ["cmd"]
    problem(send(client, "POST", "/v3/exec/", {"command": "none"}), 403)
    answer = send(client, "POST", "/v3/sms/?async=1", SMS | {"template": "none"})
    assert paths(answer) == ["template"]


def test_a_signed_uuid_is_not_used_up(make_app: Callable[..., Flask]) -> None:
    client = with_users(make_app(EXEC_TOKEN_REQUIRED="1"))
    key = client.post("/v3/users/ann/signing-key", auth=ANN).json["signing_key"]
    path = f"/api/exec/{signed('ann', key)}"
    drain_of(client).begin()
    refused(send(client, "POST", path, {"cmd": "true"}))
    drain_of(client).end()
    assert send(client, "POST", path, {"cmd": "true"}).status_code == 202
    problem(send(client, "POST", path, {"cmd": "true"}), 401)


@pytest.mark.threads_only(
    "with Celery other checks are made, and outputs lie elsewhere"
)
def test_the_host_is_alive_and_not_ready(client: FlaskClient, tmp_path: Path) -> None:
    drain_of(client).begin()
    works = {"database": "ok", "output": "ok", "sms": "ok"}
    found = refused(client.get("/api/health/ready"))
    assert found["checks"] == works | {"runs": "draining"}
    (tmp_path / "instance" / "output").rename(tmp_path / "away")
    found = problem(client.get("/api/health/ready"), 503)
    assert found["type"] == "urn:bellhop:problem:unavailable"
    assert found["checks"] == works | {"output": "failed"}
    (tmp_path / "away").rename(tmp_path / "instance" / "output")
    drain_of(client).end()
    assert client.get("/api/health/ready").json == {"message": "ok", "checks": works}


def test_the_figures_tell_it(client: FlaskClient) -> None:
    assert "\nbellhop_draining 0.0\n" in client.get("/metrics").text
    drain_of(client).begin()
    assert "\nbellhop_draining 1.0\n" in client.get("/metrics").text


def test_the_pages_tell_it_to_who_has_signed_in(client: FlaskClient) -> None:
    told = "This host takes no new runs: it is being drained."
    assert told not in page(client, "/ui/tasks/", ANN)
    drain_of(client).begin()
    assert told in page(client, "/ui/tasks/", ANN)
    client.set_cookie("bellhop_language", "zh")
    assert "本机正在排空" in page(client, "/ui/tasks/", ANN)
    client.delete_cookie("bellhop_session")
    assert "本机正在排空" not in client.get("/ui/sign-in").text


def test_a_planned_refusal_is_no_error_of_the_log(
    log_of: Callable[[], list[dict[str, Any]]], make_app: Callable[..., Flask]
) -> None:
    client = make_app().test_client()
    drain_of(client).begin()
    refused(send(client, *RUNS["exec"]))
    refused(client.get("/api/health/ready"))
    levels = {(line["event"], line["level"]) for line in log_of()}
    assert ("request.failed", "error") not in levels
    assert ("request.answered", "info") in levels
