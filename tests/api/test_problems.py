"""Errors leave as problem details, the same in every environment."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.api.resources.index import Index
from app.errors import HostReadingFailed
from app.host.procfs import Procfs
from app.schema import Schema
from tests.api.checks import paths, problem
from tests.servers import wait_until

JSON = "application/json"
OVER = b'{"a": 1}' + b" " * (1024 * 1024)


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", "/nothing", {}, 404),
        ("GET", "/api", {}, 404),
        ("GET", "/api/bob", {}, 404),
        ("GET", "/api/bob/", {}, 404),
        ("GET", "/api/a/b/c", {}, 404),
        ("GET", "/v1/uptime/x", {}, 404),
        ("GET", "/api/health/", {}, 404),
        ("GET", "/favicon.ico", {}, 404),
        ("GET", "/static/x", {}, 404),
        ("POST", "/nothing", {}, 404),
        ("DELETE", "/nothing", {}, 404),
        ("POST", "/", {}, 405),
        ("DELETE", "/v1/uptime/", {}, 405),
        ("PUT", "/api/a/b", {}, 405),
        ("TRACE", "/api/health", {}, 405),
        ("BREW", "/api/health", {}, 405),
        ("POST", "/api/a/b", {"data": b"{}"}, 415),
        ("POST", "/api/a/b", {"data": b"{}", "content_type": "text/plain"}, 415),
        ("POST", "/api/a/b", {"data": {"a": "b"}}, 415),
        ("POST", "/api/a/b", {}, 415),
        ("POST", "/api/a/b", {"data": OVER, "content_type": JSON}, 413),
        ("POST", "/api/a/b", {"data": b"{", "content_type": JSON}, 400),
        ("GET", "/?a=1", {}, 400),
        ("GET", "/", {"headers": {"Host": "a..b"}}, 400),
    ],
)
def test_every_error_is_a_problem_in_every_environment(
    anywhere: FlaskClient,
    method: str,
    path: str,
    options: dict[str, Any],
    status: int,
) -> None:
    problem(anywhere.open(path, method=method, **options), status)


def test_a_fault_of_ours_is_a_problem_that_tells_nothing(
    anywhere: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_self: Index) -> None:
        raise ZeroDivisionError("the secret of the house")

    monkeypatch.setattr(Index, "get", fail)
    answer = anywhere.get("/")
    problem(answer, 500)
    assert b"secret" not in answer.data
    assert b"ZeroDivision" not in answer.data
    problem(anywhere.get("/nothing"), 404)


def test_a_fault_of_ours_is_in_the_log_with_its_trace(
    log_of: Callable[[], list[dict]],
    client: FlaskClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Index, "get", lambda _self: 1 / 0)
    answer = client.get("/")
    failed, answered = log_of()
    assert failed["event"] == "request.failed"
    assert failed["level"] == "error"
    assert "ZeroDivisionError" in failed["exception"]
    assert answered["event"] == "request.answered"
    assert answered["status"] == 500
    ids = {failed["request_id"], answered["request_id"]}
    assert ids == {answer.headers["X-Request-ID"]}


def test_a_host_that_cannot_be_read_is_a_503(
    anywhere: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_self: Procfs) -> None:
        raise HostReadingFailed("/proc/uptime cannot be read")

    monkeypatch.setattr(Procfs, "uptime_seconds", fail)
    problem(anywhere.get("/v1/uptime/"), 503)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/exec/bob"),
        ("POST", "/api/exec/b%0a"),
        ("GET", "/api/exec/bob"),
        ("DELETE", "/api/exec/bob"),
        ("GET", "/api/poll/bob"),
        ("POST", "/api/poll/bob"),
        ("PUT", "/api/poll/bob"),
        ("GET", "/api/poll/bob?x=1"),
        ("GET", f"/api/poll/bob.1700000000.{'0' * 64}"),
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"json": {"cmd": "true"}},
        {"data": b"{", "content_type": JSON},
        {"data": b"x", "content_type": "text/plain"},
        {"data": OVER, "content_type": JSON},
    ],
)
def test_who_may_not_is_told_nothing_else_in_production(
    client_in: Callable[..., FlaskClient], method: str, path: str, body: dict[str, Any]
) -> None:
    client = client_in("production")
    problem(client.open(path, method=method, **body), 401)


def test_a_signed_uuid_can_be_wanted_in_testing_too(
    client_in: Callable[..., FlaskClient],
) -> None:
    client = client_in("testing", EXEC_TOKEN_REQUIRED="1")
    problem(client.post("/api/exec/bob", json={"cmd": "true"}), 401)
    assert client.head("/api/poll/bob").status_code == 401


def test_open_routes_are_open_in_production(
    client_in: Callable[..., FlaskClient],
) -> None:
    client = client_in("production")
    for path in ("/", "/v1/", "/v2/", "/v1/uptime/", "/v2/uptime/", "/v1/iostat/"):
        assert client.get(path).status_code == 200, path
    for path in ("/api/health", "/api/health/ready", "/api/bob/1"):
        assert client.get(path).status_code == 200, path
    assert client.post("/api/bob/1", json=[]).status_code == 200


def test_no_shell_is_a_403(client_in: Callable[..., FlaskClient]) -> None:
    client = client_in("testing", EXEC_ALLOW_SHELL="0")
    found = problem(client.post("/api/exec/bob", json={"cmd": "true"}), 403)
    assert "allowed" in found["detail"]
    assert client.get("/api/poll/bob").json == {"mode": "poll", "status": "finished"}


WRONG_TYPE = {"data": b"{", "content_type": "text/plain"}
WRONG_TYPE_AND_SIZE = {"data": b"{" + OVER, "content_type": "text/plain"}
WRONG_SIZE = {"data": b"{" + OVER, "content_type": JSON}
MALFORMED = {"data": b"{", "content_type": JSON}


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("POST", "/nothing?a=1&a=2", WRONG_TYPE_AND_SIZE, 404),
        ("PUT", "/nothing", WRONG_SIZE, 404),
        ("PUT", "/api/a/b?a=1&a=2", WRONG_TYPE_AND_SIZE, 405),
        ("PUT", "/api/exec/b!", WRONG_SIZE, 405),
        ("POST", "/api/a/b", WRONG_TYPE_AND_SIZE, 415),
        ("POST", "/api/a/b?a=1&a=2", WRONG_TYPE, 415),
        ("POST", "/api/exec/b!", WRONG_TYPE, 415),
        ("POST", "/api/exec/b!?a=1", {}, 415),
        ("POST", "/api/a/b?a=1", WRONG_SIZE, 413),
        ("POST", "/api/exec/b!", WRONG_SIZE, 413),
        ("POST", "/api/poll/b!", WRONG_SIZE, 413),
        ("POST", "/api/exec/b!?a=1", MALFORMED, 400),
    ],
)
def test_of_several_faults_the_first_in_the_contracts_order_is_told(
    anywhere: FlaskClient,
    method: str,
    path: str,
    options: dict[str, Any],
    status: int,
) -> None:
    answer = anywhere.open(path, method=method, **options)
    if anywhere.application.config["EXEC_TOKEN_REQUIRED"] and (
        path.startswith(("/api/exec", "/api/poll"))
    ):
        status = 401
    problem(answer, status)


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/api/exec/bob", {}, ["cmd"]),
        ("/api/exec/bob", {"cmd": 1}, ["cmd"]),
        ("/api/exec/bob", {"b": 1, "a": 2}, ["a", "b", "cmd"]),
        ("/api/exec/bob", [], [""]),
        ("/api/exec/bob", None, [""]),
        ("/api/exec/bob", "cmd", [""]),
        ("/api/exec/b!?x=1&x=2&y=3", {"z": 1}, ["cmd", "uuid", "x", "x", "y", "z"]),
    ],
)
def test_all_faults_are_told_at_once(
    client: FlaskClient, path: str, body: Any, expected: list[str]
) -> None:
    answer = client.post(path, data=json.dumps(body), content_type=JSON)
    assert paths(answer) == expected


def test_a_fault_is_told_once_by_its_dotted_path() -> None:
    inner = {"type": "object", "required": ["a", "b"], "additionalProperties": False}
    items = {"type": "array", "items": {"properties": {"in": inner}}}
    schema = Schema({"type": "object", "properties": {"list": items}})
    found = schema.faults({"list": [{"in": {"x": 1, "y": 1}}, {"in": 1}]})
    expected = ["list.0.in.a", "list.0.in.b", "list.0.in.x", "list.0.in.y", "list.1.in"]
    assert sorted(fault.path for fault in found) == expected


def test_a_pattern_matches_the_whole_value() -> None:
    schema = Schema({"type": "string", "pattern": "^[a-z]+$"})
    assert schema.faults("abc") == []
    assert [fault.path for fault in schema.faults("abc\n")] == [""]
    assert schema.faults("xabc1") != []


def test_too_many_waiters_are_a_503_and_others_are_answered(
    make_app: Callable[..., Any],
) -> None:
    app = make_app(THREADS="2")
    with app.extensions["bellhop"].waiting():
        problem(app.test_client().get("/v1/iostat/?count=2"), 503)
        assert app.test_client().get("/v1/iostat/").status_code == 200
        assert app.test_client().head("/v1/iostat/?count=2").status_code == 200
    assert app.test_client().get("/v1/iostat/?count=2").status_code == 200


def test_a_busy_caller_is_told_in_the_words_of_the_contract(
    client: FlaskClient,
) -> None:
    assert client.post("/api/exec/bob", json={"cmd": "sleep 60"}).status_code == 202
    answer = client.post("/api/exec/bob", json={"cmd": "true"})
    assert problem(answer, 409, shown="busy")["mode"] == "exec"


def test_a_full_host_is_told_in_the_words_of_the_contract(
    make_app: Callable[..., Any],
) -> None:
    client = make_app(EXEC_MAX_RUNNING="1", EXEC_MAX_QUEUED="0").test_client()
    assert client.post("/api/exec/a", json={"cmd": "sleep 0.3"}).status_code == 202
    answer = client.post("/api/exec/b", json={"cmd": "true"})
    assert problem(answer, 429, shown="busy")["mode"] == "exec"
    assert client.get("/api/poll/b").json == {"mode": "poll", "status": "finished"}
    wait_until(lambda: _accepts(client))


def _accepts(client: FlaskClient) -> bool:
    return client.post("/api/exec/b", json={"cmd": "true"}).status_code == 202
