"""What pages of other sites have a browser send: it starts and changes nothing."""

import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.api.callers import ADMIN, ANN, JSON, with_users
from tests.api.checks import problem

HERE = "http://localhost"

FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": HERE},
    {"Sec-Fetch-Site": ""},
    {"Sec-Fetch-Site": "Same-Origin, cross-site"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "https://evil.example"},
    {"Origin": f"{HERE}:8080"},
    {"Origin": f"{HERE}.evil.example"},
    {"Origin": "http://evil.example/localhost"},
    {"Origin": "http://localhost@evil.example"},
    {"Origin": "http://user@localhost"},
    {"Origin": f"{HERE}, https://evil.example"},
    {"Origin": "http://["},
    {"Origin": "http://[evil]"},
    {"Origin": "localhost"},
    {"Origin": "\xe9"},
]
OWN: list[dict[str, str]] = [
    {},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "same-origin", "Origin": HERE},
    {"Origin": HERE},
]

PREVIEW = {"template": "captcha", "params": {"code": "1"}}
MESSAGE = PREVIEW | {"receivers": "+8613800000000"}

# Whatever is changed: a row for each, with what it answers to one who may.
WRITES: list[tuple[str, str, Any, int]] = [
    ("POST", "/v3/exec/", {"cmd": "true"}, 201),
    ("GET", "/v3/iostat/", None, 201),
    ("POST", "/v3/iostat/", None, 201),
    ("DELETE", "/v3/task/no-task", None, 404),
    (
        *("POST", "/v3/users/"),
        {"username": "eve", "password": "eve's own", "fullname": "Eve"},
        201,
    ),
    ("PUT", "/v3/users/eve", {"password": "eve's own", "fullname": "Eve"}, 200),
    ("PATCH", "/v3/users/eve", {"fullname": "E."}, 200),
    ("POST", "/v3/users/ann/tokens", None, 201),
    ("DELETE", "/v3/users/ann/tokens/none", None, 404),
    ("POST", "/v3/users/ann/signing-key", None, 201),
    ("DELETE", "/v3/users/eve", None, 204),
    ("GET", "/v3/hosts/elsewhere/iostat/", None, 404),
    ("POST", "/v3/hosts/elsewhere/iostat/", None, 404),
    ("GET", "/v2/iostat/", None, 201),
    ("POST", "/v2/iostat/", None, 201),
    ("DELETE", "/v2/task/no-task", None, 404),
    ("POST", "/v1/user", {"name": "Eve", "age": 7}, 201),
    ("PUT", "/v1/user/0", {"age": 8}, 200),
    ("DELETE", "/v1/user/0", None, 204),
    ("POST", "/api/sms", MESSAGE, 200),
    ("POST", "/api/sms/preview", PREVIEW, 200),
    ("POST", "/v3/sms/", MESSAGE, 200),
    ("POST", "/v3/sms/preview", PREVIEW, 200),
    ("GET", "/api/sms/receipts/memory/secret", None, 404),
    ("POST", "/api/sms/receipts/memory/secret", None, 404),
    ("POST", "/api/exec/bob", {"cmd": "true"}, 202),
    ("GET", "/api/poll/bob", None, 200),
    ("POST", "/api/poll/bob", None, 200),
]
READS = [
    *("/", "/v1/", "/v3/", "/v1/uptime/", "/v1/iostat/", "/v1/user", "/v2/uptime/"),
    *("/v3/uptime/", "/v3/task/", "/v3/commands/", "/v3/users/", "/v3/users/ann"),
    *("/v3/users/ann/tokens", "/v3/audit/", "/api/health", "/api/bob/1"),
    *("/v3/sms/", "/api/sms", "/v3/hosts/"),
]


def _send(
    client: FlaskClient, write: tuple[str, str, Any, int], headers: dict[str, str]
) -> Any:
    method, path, body, _ = write
    sent = {} if body is None else {"json": body}
    # By the environ: werkzeug would refuse to encode some of them.
    environ = {f"HTTP_{n.upper().replace('-', '_')}": v for n, v in headers.items()}
    return client.open(
        path, method=method, auth=ADMIN, environ_overrides=environ, **sent
    )


def _kept(client: FlaskClient) -> dict[str, Any]:
    """Return all that a write could have changed."""
    lists = ("/v3/task/", "/v3/users/?detail=1", "/v3/users/ann/tokens", "/v1/user")
    return {path: client.get(path, auth=ADMIN).json for path in lists}


def test_every_route_that_changes_something_is_in_the_list_above(
    v3: FlaskClient,
) -> None:
    app = v3.application
    listed = set()
    for method, path, _, _ in WRITES:
        endpoint, _ = app.url_map.bind("localhost").match(path, method=method)
        listed.add((method, endpoint))
    writes = {
        (method, rule.endpoint)
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if app.extensions["bellhop.policy"][rule.endpoint].changes(method)
        and not rule.endpoint.startswith("ui.")  # forms: see test_sessions.py
    }
    assert writes - {("POST", "api.echo")} == listed


def test_another_site_is_refused_and_nothing_changes(v3: FlaskClient) -> None:
    before = _kept(v3)
    for headers in FOREIGN:
        for write in WRITES:
            assert _send(v3, write, headers).status_code == 403, (headers, write)
        problem(_send(v3, WRITES[0], headers), 403)
    assert _kept(v3) == before
    assert "bob" not in str(v3.get("/v3/task/", auth=ADMIN).json)


@pytest.mark.parametrize("headers", OWN, ids=str)
def test_our_own_pages_and_programs_are_served(
    v3: FlaskClient, headers: dict[str, str]
) -> None:
    for write in WRITES:
        assert _send(v3, write, headers).status_code == write[-1], write


def test_another_port_or_host_is_another_site_also_behind_a_name(
    v3: FlaskClient,
) -> None:
    for host, origin, status in (
        ("bellhop.example:8080", "http://bellhop.example:8080", 201),
        ("bellhop.example", "https://bellhop.example", 201),
        ("bellhop.example:8080", "http://bellhop.example", 403),
        ("bellhop.example", "http://bellhop.example:8080", 403),
        ("[::1]:5000", "http://[::1]:5000", 201),
        ("[::1]:5000", "http://[::1]:5001", 403),
    ):
        headers = {"Host": host, "Origin": origin}
        answer = v3.post("/v3/iostat/", auth=ADMIN, headers=headers)
        assert answer.status_code == status, headers


def test_a_name_that_another_site_may_own_is_none_of_ours_where_all_is_open(
    make_app: Callable[..., Flask],
) -> None:
    client = make_app(BELLHOP_HOST="pelican").test_client()
    for host, status in (
        ("rebound.example:5000", 403),
        ("rebound.example", 403),
        ("127.0.0.1:5000", 202),
        ("[::1]:5000", 202),
        ("localhost:5000", 202),
        ("app.localhost", 202),
        ("Pelican:5000", 202),
    ):
        for name, value in (("Origin", f"http://{host}"), ("Sec-Fetch-Site", "none")):
            answer = client.post(
                f"/api/exec/{uuid4()}",
                json={"cmd": "true"},
                headers={"Host": host, name: value},
            )
            assert answer.status_code == status, (host, name)
    plain = client.post("/api/exec/x", json={"cmd": "true"}, headers={"Host": "a.b"})
    assert plain.status_code == 202, "who is no browser names the host as they like"


def test_reading_and_asking_is_not_concerned(v3: FlaskClient) -> None:
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
        for path in READS:
            answer = v3.get(path, auth=ADMIN, headers=headers)
            assert answer.status_code == 200, path
        for method, path, _, status in WRITES:
            answer = v3.options(path, auth=ADMIN, headers=headers)
            assert answer.status_code == 200, path
            assert "Access-Control-Allow-Origin" not in answer.headers
            if method == "GET":
                answer = v3.head(path, auth=ADMIN, headers=headers)
                assert answer.status_code in (200, status)
    assert v3.get("/v3/task/", auth=ADMIN).json["tasks"] == []


def test_who_is_not_known_is_told_that_first(v3: FlaskClient) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": "null"}
    for method, path, body, _ in WRITES:
        if not path.startswith("/v3/"):
            continue
        problem(v3.open(path, method=method, headers=headers), 401)
        wrong = {"auth": (f"nobody{len(path)}", "wrong"), "headers": headers}
        problem(v3.open(path, method=method, json=body, **wrong), 401)


def test_what_comes_with_a_page_of_ours_is_not_enough_without_a_scope(
    v3: FlaskClient,
) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}
    for write in WRITES:
        if write[1].startswith("/v3/users/"):
            sent = {"json": write[2]} if write[2] is not None else {}
            answer = v3.open(
                write[1], method=write[0], auth=ANN, headers=headers, **sent
            )
            problem(answer, 403)


def test_no_page_of_another_site_may_read_what_we_answer(v3: FlaskClient) -> None:
    for path in READS:
        answer = v3.get(path, auth=ADMIN, headers={"Origin": "https://evil.example"})
        names = [name.lower() for name in answer.headers.keys()]  # noqa: SIM118
        assert not [name for name in names if name.startswith("access-control-")]


def test_no_cookie_is_ever_set(v3: FlaskClient) -> None:
    for path in READS:
        assert "Set-Cookie" not in v3.get(path, auth=ADMIN).headers


def test_a_form_of_another_site_is_refused_whatever_its_type(
    make_app: Callable[..., Flask],
) -> None:
    client = with_users(make_app())
    for content_type in (JSON, "text/plain", "application/x-www-form-urlencoded"):
        answer = client.post(
            "/v3/exec/",
            data=b'{"cmd": "true"}',
            content_type=content_type,
            headers={"Origin": "https://evil.example"},
            auth=ADMIN,
        )
        assert not re.search("evil", problem(answer, 403)["detail"])
