"""JSON in and out: what is taken, what is refused, and the very bytes of it."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.api.checks import problem

JSON = "application/json"


def post(client: FlaskClient, data: bytes, content_type: str = JSON) -> TestResponse:
    return client.post("/api/bob/1", data=data, content_type=content_type)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"\n",
        b"{",
        b"{}{}",
        b"{},",
        b"[1,]",
        b'{"a": 1,}',
        b"{'a': 1}",
        b"{a: 1}",
        b"// x\n{}",
        b"True",
        b"undefined",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b'{"a": [NaN]}',
        b"1e999",
        b'{"a": [-1e999]}',
        b"1.0e400",
        b"01",
        b"+1",
        b".5",
        b"1.",
        b"0x10",
        b'"a\nb"',
        b'"\x00"',
        b'"\\x"',
        b'{"a": 1, "a": 1}',
        b'{"x": [{"a": 1, "b": 2, "a": 3}]}',
        b'{"a": 1, "\\u0061": 2}',
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000,
        b"9" * 100_000,
        b'"\xff"',
        b'"\xc3"',
        b'"\xed\xa0\x80"',
        b'"\xc0\xaf"',
        b"\xef\xbb\xbf{}",
        '{"a": 1}'.encode("utf-16"),
        '{"a": 1}'.encode("utf-32-le"),
        b"{}\x00",
        b"\x1f\x8b\x08",
    ],
)
def test_what_is_not_json_is_refused(client: FlaskClient, body: bytes) -> None:
    problem(post(client, body), 400)


@pytest.mark.parametrize(
    ("body", "content"),
    [
        (b"null", None),
        (b"true", True),
        (b"[]", []),
        (b"{}", {}),
        (b'""', ""),
        (b'"a"', "a"),
        (b" \r\n\t[1, 2.5, -3e2] \n", [1, 2.5, -300.0]),
        (b'{"": {"": ""}}', {"": {"": ""}}),
        (b"1" * 4000, int("1" * 4000)),
        (b"1e-999", 0.0),
        (b"-0", 0),
        (b'{"uuid": 1, "user": 2}', {"uuid": 1, "user": 2}),
        (b'"\\u0000\\u001b"', "\0\x1b"),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
    ],
)
def test_any_json_comes_back_as_it_was(
    client: FlaskClient, body: bytes, content: Any
) -> None:
    answer = post(client, body)
    assert answer.status_code == 200, answer.data
    assert answer.headers["Content-Type"] == JSON
    assert json.loads(answer.data) == {"user": "bob", "uuid": "1", "content": content}


@pytest.mark.parametrize("lone", ["\udfff", "a\udc80b", "\\\ud800", "\udc00\ud800"])
@pytest.mark.parametrize("place", ["value", "member"])
def test_a_lone_surrogate_comes_back_as_its_escape(
    client: FlaskClient, lone: str, place: str
) -> None:
    sent = [lone] if place == "value" else {lone: 1}
    answer = post(client, json.dumps(sent).encode())
    assert answer.status_code == 200
    assert json.loads(answer.data.decode())["content"] == sent


def test_a_lone_surrogate_is_no_command_and_no_member(client: FlaskClient) -> None:
    for body in (b'{"cmd": "echo \\ud800"}', b'{"cmd": "true", "\\ud800": 1}'):
        answer = client.post("/api/exec/bob", data=body, content_type=JSON)
        problem(answer, 400)


def test_text_is_not_escaped_and_a_newline_ends_the_body(client: FlaskClient) -> None:
    answer = post(client, '{"中文": "é😀"}'.encode())
    assert '"content": {"中文": "é😀"}'.encode() in answer.data
    assert answer.data.endswith(b"}\n")
    assert int(answer.headers["Content-Length"]) == len(answer.data)
    asked = client.get("/?中文=1")
    assert "中文".encode() in asked.data, "in a problem neither"
    assert problem(asked, 400)["errors"][0]["path"] == "中文"


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_no_depth_of_nesting_is_a_fault_of_ours(
    client: FlaskClient, opening: str
) -> None:
    closing = "]" if opening == "[" else "}"
    statuses = {}
    for depth in (1, 400, 499, 500, 501, *range(900, 1000)):
        body = f"{opening * depth}1{closing * depth}"
        statuses[depth] = post(client, body.encode()).status_code
    assert set(statuses.values()) == {200, 400}
    assert statuses[400] == 200
    assert statuses[500] == 200
    assert statuses[501] == 400


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
        "APPLICATION/JSON",
        "application/merge-patch+json",
    ],
)
def test_a_media_type_of_json_is_taken(client: FlaskClient, content_type: str) -> None:
    assert post(client, b"{}", content_type).status_code == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "json",
        "text/json",
        "text/plain",
        "application/jsonp",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain; application/json",
        "application/json+xml",
    ],
)
def test_another_media_type_is_refused(client: FlaskClient, content_type: str) -> None:
    answer = post(client, b"{}", content_type)
    assert "application/json" in problem(answer, 415)["detail"], "it says what to send"
    assert answer.headers["Accept"] == "application/json"


def padded(size: int, body: bytes = b'{"a": 1}') -> bytes:
    return body + b" " * (size - len(body))


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (padded(999), 200),
        (padded(1000), 200),
        (padded(1001), 413),
        (padded(1000) + b"garbage", 413),
        (padded(100_000), 413),
        (padded(995) + b"{}", 400),
    ],
)
def test_the_limit_holds_to_the_byte(
    make_app: Callable[..., Any], body: bytes, status: int, chunked: bool
) -> None:
    client = make_app(MAX_CONTENT_LENGTH="1000").test_client()
    environ = {"wsgi.input": io.BytesIO(body), "wsgi.input_terminated": True}
    sent = {"environ_overrides": environ} if chunked else {"data": body}
    answer = client.post("/api/bob/1", content_type=JSON, **sent)
    assert answer.status_code == status
    if status != 200:
        problem(answer, status)


class FaultyStream(io.RawIOBase):
    """Gives some JSON, then what a server raises at a faulty chunk."""

    def __init__(self, error: Exception) -> None:
        self._parts: list[bytes | Exception] = [b"{}", error]

    def read(self, _size: int = -1) -> bytes:
        part = self._parts.pop(0)
        if isinstance(part, Exception):
            raise part
        return part


class ServersOwnError(Exception):
    """Gunicorn's ParseException is no OSError either."""


@pytest.mark.parametrize("error", [OSError("reset"), ServersOwnError("no hex")])
def test_a_body_that_breaks_off_is_refused_and_ends_the_connection(
    client: FlaskClient, error: Exception
) -> None:
    environ = {"wsgi.input": FaultyStream(error), "wsgi.input_terminated": True}
    answer = client.post("/api/b/1", content_type=JSON, environ_overrides=environ)
    problem(answer, 400)
    assert answer.headers["Connection"] == "close", "what follows is no request"


def test_a_body_shorter_than_its_length_is_refused(client: FlaskClient) -> None:
    for terminated in (False, True):
        environ = {
            "wsgi.input": io.BytesIO(b"{}"),
            "wsgi.input_terminated": terminated,
            "CONTENT_LENGTH": "10",
        }
        answer = client.post("/api/b/1", content_type=JSON, environ_overrides=environ)
        problem(answer, 400)
