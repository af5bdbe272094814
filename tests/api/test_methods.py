"""HEAD, OPTIONS, methods that are not there, unknown members, redirects."""

import json
import re
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient

from tests.api.checks import paths, problem

GETTABLE = [
    "/",
    "/v1/",
    "/v2/",
    "/v1/uptime/",
    "/v2/uptime/",
    "/v1/iostat/",
    "/api/health",
    "/api/health/ready",
    "/api/poll/bob",
    "/api/bob/1",
]
POSTABLE = ["/api/poll/bob", "/api/bob/1"]


def test_every_route_that_has_get_has_head_and_options(client: FlaskClient) -> None:
    rules = {
        rule.rule: rule.methods for rule in client.application.url_map.iter_rules()
    }
    named = {path.replace("/bob/1", "/bob/bob") for path in GETTABLE}
    known = {re.sub("<.*?(?:user|uuid)>", "bob", rule) for rule in rules}
    assert named <= known, "none of the list above has gone"
    for rule, methods in rules.items():
        assert "OPTIONS" in methods, rule
        assert ("GET" in methods) == ("HEAD" in methods), rule


@pytest.mark.parametrize("path", GETTABLE)
def test_head_is_answered_where_get_is_without_a_body(
    client: FlaskClient, path: str
) -> None:
    got, asked = client.get(path), client.head(path)
    assert asked.status_code == got.status_code == 200
    assert asked.data == b""
    assert asked.headers["Content-Type"] == got.headers["Content-Type"]
    assert asked.headers["X-Request-ID"]


@pytest.mark.parametrize("path", GETTABLE)
def test_head_takes_the_same_query_as_get(client: FlaskClient, path: str) -> None:
    assert client.head(f"{path}?nonsense=1").status_code == 400


@pytest.mark.parametrize("path", [*GETTABLE, "/api/exec/bob"])
def test_options_names_the_methods(anywhere: FlaskClient, path: str) -> None:
    answer = anywhere.options(path)
    if anywhere.application.config["EXEC_TOKEN_REQUIRED"] and (
        path.startswith(("/api/exec", "/api/poll"))
    ):
        problem(answer, 401)
        return
    assert answer.status_code in (200, 204)
    allowed = set(answer.headers["Allow"].split(", "))
    expected = {"OPTIONS"}
    if path in GETTABLE:
        expected |= {"GET", "HEAD"}
    if path in POSTABLE or path not in GETTABLE:
        expected |= {"POST"}
    assert allowed == expected
    assert answer.data == b""


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
def test_exec_is_for_post_only(client: FlaskClient, method: str) -> None:
    answer = client.open("/api/exec/bob", method=method)
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}
    if method != "HEAD":
        problem(answer, 405)


@pytest.mark.parametrize("path", [p for p in GETTABLE if p not in POSTABLE])
def test_post_is_refused_where_nothing_is_taken(client: FlaskClient, path: str) -> None:
    answer = client.post(path, json={})
    problem(answer, 405)
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


@pytest.mark.parametrize("path", GETTABLE)
def test_an_unknown_member_of_the_query_is_refused_everywhere(
    client: FlaskClient, path: str
) -> None:
    assert paths(client.get(f"{path}?b=1&a.b=2")) == ["a.b", "b"]
    assert paths(client.get(f"{path}?x")) == ["x"]
    assert paths(client.get(f"{path}?=1")) == [""]
    assert paths(client.get(f"{path}?Count=1")) == ["Count"]
    assert client.get(f"{path}?").status_code == 200


@pytest.mark.parametrize("path", POSTABLE)
def test_an_unknown_member_of_the_query_is_refused_by_post(
    client: FlaskClient, path: str
) -> None:
    assert paths(client.post(f"{path}?a=1", json={})) == ["a"]


def test_an_unknown_member_of_the_body_is_refused(client: FlaskClient) -> None:
    body = {"cmd": "true", "Cmd": "x", "timeout": 1}
    assert paths(client.post("/api/exec/bob", json=body)) == ["Cmd", "timeout"]
    assert paths(client.post("/api/poll/bob", json={"x": 1})) == ["x"]
    assert paths(client.post("/api/poll/bob", json=[])) == [""]
    assert client.post("/api/poll/bob", json={}).status_code == 200
    problem(client.post("/api/poll/bob", data=b"x=1"), 415)


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/v1", "/v1/"),
        ("/v2", "/v2/"),
        ("/v1/uptime", "/v1/uptime/"),
        ("/v2/uptime", "/v2/uptime/"),
        ("/v1/iostat?count=1&wait=1", "/v1/iostat/?count=1&wait=1"),
        ("/v1?a=%0d%0aSet-Cookie:x", "/v1/?a=%0d%0aSet-Cookie:x"),
        ("/v1?next=//evil.example", "/v1/?next=//evil.example"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_path_without_its_slash_is_sent_to_the_one_with_it(
    anywhere: FlaskClient, method: str, path: str, location: str
) -> None:
    answer = anywhere.open(path, method=method, headers={"Host": "evil.example"})
    assert answer.status_code == 308
    assert answer.headers["Location"] == location
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Request-ID"]
    if method == "GET":
        assert json.loads(answer.data)["links"][0]["href"] == location


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example",
        "//evil.example/",
        "//evil.example/..",
        "//evil.example/../v1",
        "//evil.example/%2e%2e/v1",
        "//v1",
        "///v1",
        "//v1//uptime",
        "/v1//",
        "//evil.example//v1/uptime",
        "/\\evil.example/v1",
        "/api//evil.example/x",
        "//api//evil.example//x",
        "//api/\\evil.example/x",
        "//api/\t/evil.example",
        "//@evil.example/v1",
        "/%2fevil.example/v1",
    ],
)
@pytest.mark.parametrize("host", ["localhost", "evil.example", "[", "a@b"])
def test_no_path_is_sent_to_another_site(
    client: FlaskClient, path: str, host: str
) -> None:
    environ = {"PATH_INFO": path, "HTTP_HOST": host, "RAW_URI": path}
    answer = client.get("/", environ_overrides=environ)
    assert answer.status_code in (200, 308, 400, 404)
    location = answer.headers.get("Location", "/")
    assert urlsplit(location).netloc == ""
    assert location.startswith("/")
    assert location[1:2] not in ("/", "\\")
    assert "\t" not in location


def test_indexes_link_to_what_is_there(client: FlaskClient) -> None:
    seen = set()
    for path in ("/", "/v1/", "/v2/"):
        answer = client.get(path)
        assert answer.headers["Content-Type"] == "application/json"
        for link in answer.json["links"]:
            assert link["href"].startswith("/")
            # HEAD: it starts nothing, as GET of /v2/iostat/ would.
            there = (200, 201, 303)  # the pages lead who has no session to sign in
            assert client.head(link["href"]).status_code in there, link
            seen.add(link["rel"])
    assert seen >= {"v1", "v2", "uptime", "iostat"}
