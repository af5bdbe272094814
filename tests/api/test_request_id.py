"""The id of a request, wherever it is to be found; what the log has of a request."""

import io
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.api.checks import problem
from tests.servers import wait_until

Log = Callable[[], list[dict[str, Any]]]

SIGNATURE = "0123456789abcdef" * 4
TOKEN = f"bob.1700000000.{SIGNATURE}"


@pytest.mark.parametrize(
    "given", ["a", "A.b_c-9", "-", "...", "x" * 128, str(uuid.UUID(int=1))]
)
def test_an_id_that_fits_is_taken(anywhere: FlaskClient, given: str) -> None:
    headers = {"X-Request-ID": given}
    assert anywhere.get("/", headers=headers).headers["X-Request-ID"] == given
    refused = anywhere.get("/nothing", headers=headers)
    assert problem(refused, 404)["request_id"] == given


@pytest.mark.parametrize(
    "given",
    [
        "",
        " ",
        "x" * 129,
        "a b",
        "a,b",
        "a\tb",
        "é",
        "中文",
        "a/b",
        "a;b",
        '"a"',
        "a\x7f",
    ],
)
def test_an_id_that_does_not_fit_is_replaced(client: FlaskClient, given: str) -> None:
    sent = given.encode().decode("latin-1")
    asked = client.get("/", environ_overrides={"HTTP_X_REQUEST_ID": sent})
    made = asked.headers["X-Request-ID"]
    assert str(uuid.UUID(made)) == made
    again = client.get("/", environ_overrides={"HTTP_X_REQUEST_ID": sent})
    assert again.headers["X-Request-ID"] != made


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "BREW"])
@pytest.mark.parametrize("path", ["/", "/v1", "/nothing", "/v1/uptime/?a=1"])
def test_every_answer_has_an_id(client: FlaskClient, method: str, path: str) -> None:
    assert client.open(path, method=method).headers["X-Request-ID"]


def test_a_command_finds_the_id_in_its_environment(client: FlaskClient) -> None:
    headers = {"X-Request-ID": "the-id-of-it"}
    body = {"cmd": "echo $BELLHOP_REQUEST_ID"}
    client.post("/api/exec/bob", json=body, headers=headers)
    polls: list[dict[str, Any]] = []
    wait_until(lambda: polls.append(_poll(client)) or _has_ended(polls[-1]))
    assert "".join(poll["output"] for poll in polls) == "the-id-of-it"


def test_the_runs_log_lines_have_the_id_of_its_request(
    log_of: Log, client: FlaskClient
) -> None:
    headers = {"X-Request-ID": "the-id-of-it"}
    client.post("/api/exec/bob", json={"cmd": "true"}, headers=headers)
    wait_until(lambda: _has_ended(_poll(client)))
    found = {line["event"]: line.get("request_id") for line in log_of()}
    assert found["process.started"] == "the-id-of-it"
    assert found["process.ended"] == "the-id-of-it"


@pytest.mark.parametrize(
    ("request_line", "status", "route"),
    [
        ("GET /", 200, "/"),
        ("HEAD /api/health", 200, "/api/health"),
        ("OPTIONS /api/health", 200, "/api/health"),
        ("GET /v1", 308, None),
        ("GET /nothing", 404, None),
        ("PUT /", 405, None),
        ("POST /api/a/b", 415, "/api/<user>/<uuid>"),
        ("GET /v1/iostat/?count=0", 400, "/v1/iostat/"),
    ],
)
def test_a_request_has_exactly_one_line(
    log_of: Log,
    client: FlaskClient,
    request_line: str,
    status: int,
    route: str | None,
) -> None:
    method, path = request_line.split()
    answer = client.open(path, method=method)
    [line] = log_of()
    assert line["event"] == "request.answered"
    assert line["level"] == "info"
    assert line["method"] == method
    assert line["path"] == path.split("?", maxsplit=1)[0]
    assert line["route"] == route
    assert line["status"] == answer.status_code == status
    assert line["request_id"] == answer.headers["X-Request-ID"]
    assert line["seconds"] >= 0
    assert line["remote_addr"] == "127.0.0.1"
    assert {"timestamp", "logger"} <= line.keys()


FORGED = '\r\n\x0b\x85\u2028{"event": "forged", "level": "info"}\r\n\x1b[31m'


def test_nothing_in_a_request_forges_a_line(
    log_stream: io.StringIO, client: FlaskClient
) -> None:
    sent = FORGED.encode().decode("latin-1")
    for path in ("/", "/api/exec/", "/api/poll/", "/api/bob/", "/v1"):
        environ = {
            "PATH_INFO": path + sent,
            "QUERY_STRING": "a=" + sent,
            "HTTP_X_REQUEST_ID": sent,
            "HTTP_USER_AGENT": sent,
            "HTTP_HOST": sent,
        }
        client.get("/", environ_overrides=environ)
    out = log_stream.getvalue()
    assert out.count("\n") == 5, "a line each"
    assert out.isascii(), "nothing that a terminal or an editor takes for more"
    assert "\x1b" not in out
    assert '"event": "forged"' not in out


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS"])
@pytest.mark.parametrize(
    "path",
    [
        f"/api/exec/{TOKEN}",
        f"/api/poll/{TOKEN}",
        f"/api/poll/{TOKEN}%0a",
        f"/api/poll/{TOKEN.upper()}",
        f"/api/poll/bob%2e1700000000%2E{SIGNATURE}",
        f"/api/bob/{TOKEN}",
        f"/api/{TOKEN}/x",
        f"/api//poll//{TOKEN}",
        f"/api/poll/{TOKEN}/x",
        f"/{TOKEN}",
        f"/?token={TOKEN}",
        f"/v1?token={TOKEN}",
    ],
)
@pytest.mark.parametrize("env", ["testing", "production"])
def test_a_signature_never_reaches_the_log(
    log_of: Log,
    client_in: Callable[..., FlaskClient],
    method: str,
    path: str,
    env: str,
) -> None:
    client_in(env).open(path, method=method, json={"cmd": "true"})
    client_in(env).open(path, method=method, data=b"{")
    lines = log_of()
    assert len([x for x in lines if x["event"] == "request.answered"]) == 2
    told = str(lines).lower()
    assert SIGNATURE not in told
    assert SIGNATURE[:16] not in told
    if TOKEN in path and "?" not in path:
        assert "bob" in told, "the caller is told"


def test_with_response_uuid_every_object_has_the_id(
    make_app: Callable[..., Any],
) -> None:
    client = make_app(RESPONSE_UUID="1").test_client()
    headers = {"X-Request-ID": "the-id"}
    for path in ("/", "/v1", "/v1/uptime/", "/v1/iostat/", "/api/health", "/nothing"):
        answer = client.get(path, headers=headers)
        assert answer.json["uuid"] == "the-id", path
    for path in ("/api/poll/bob", "/api/poll/b!", "/v1/?a=1", "/api/health/ready"):
        assert client.get(path, headers=headers).json["uuid"] == "the-id", path
    started = client.post("/api/exec/bob", json={"cmd": "sleep 9"}, headers=headers)
    assert started.json["uuid"] == "the-id"
    busy = client.post("/api/exec/bob", json={"cmd": "true"}, headers=headers)
    assert problem(busy, 409, shown="busy")["uuid"] == "the-id"
    put = client.put("/api/health", headers=headers)
    assert problem(put, 405)["uuid"] == "the-id"


def test_with_response_uuid_a_member_of_that_name_stays(
    make_app: Callable[..., Any],
) -> None:
    client = make_app(RESPONSE_UUID="1").test_client()
    assert client.get("/api/bob/1").json == {"user": "bob", "uuid": "1"}
    posted = client.post("/api/bob/1", json={"a": 1}).json
    assert posted == {"user": "bob", "uuid": "1", "content": {"a": 1}}
    text = client.get("/v1/uptime/", headers={"Accept": "text/plain"})
    assert text.headers["X-Request-ID"] not in text.text
    assert client.head("/v1/uptime/").data == b""


def test_without_response_uuid_nothing_has_it(client: FlaskClient) -> None:
    for path in ("/", "/v1/uptime/", "/nothing", "/api/poll/bob"):
        assert "uuid" not in client.get(path).json


def _poll(client: FlaskClient) -> dict[str, Any]:
    return dict(client.get("/api/poll/bob").json)


def _has_ended(poll: dict[str, Any]) -> bool:
    return poll["status"] == "finished"
