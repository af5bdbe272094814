"""Where a line or a log is what one wants, it comes as plain text, if that is asked."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.api.callers import BOB
from tests.servers import wait_until

PLAIN = {"Accept": "text/plain"}


def polled(client: FlaskClient, caller: str = "bob") -> Any:
    answer = client.get(f"/api/poll/{caller}", headers=PLAIN)
    assert (answer.status_code, answer.mimetype) == (200, "text/plain")
    return answer


def test_health_is_a_word(client: FlaskClient) -> None:
    answer = client.get("/api/health", headers=PLAIN)
    assert (answer.mimetype, answer.data) == ("text/plain", b"ok\n")


def test_a_poll_is_the_lines_and_headers_say_how_it_has_ended(
    client: FlaskClient,
) -> None:
    client.post("/api/exec/bob", json={"cmd": "printf 'one\\ntwo'; exit 3"})
    answers = []

    def ended() -> bool:
        answers.append(polled(client))
        return "X-Returncode" in answers[-1].headers

    wait_until(ended)
    assert b"".join(answer.data for answer in answers) == b"one\ntwo\n"
    told = answers[-1].headers
    assert (told["X-Task-State"], told["X-Returncode"]) == ("FAILURE", "3")
    again = polled(client)
    assert (again.data, again.headers["X-Task-State"]) == (b"", "FAILURE")


def test_a_poll_of_who_has_started_nothing_is_empty(client: FlaskClient) -> None:
    answer = polled(client, "nobody")
    assert answer.data == b""
    assert "X-Task-State" not in answer.headers


def test_a_command_that_is_waited_for_is_its_output(v3: FlaskClient) -> None:
    wish = {"cmd": "printf '中\\nfoot'; exit 7", "wait_seconds": 20}
    answer = v3.post("/v3/exec/", json=wish, headers=PLAIN, auth=BOB)
    assert (answer.status_code, answer.mimetype) == (201, "text/plain")
    assert answer.get_data(as_text=True) == "中\nfoot"
    assert answer.headers["X-Returncode"] == "7"
    task = v3.get(answer.headers["Location"], auth=BOB).json
    assert task["state"] == answer.headers["X-Task-State"] == "FAILURE"


def test_the_same_request_again_gets_the_same_text_with_its_headers(
    v3: FlaskClient,
) -> None:
    wish = {"cmd": "echo once; exit 7", "wait_seconds": 20}
    headers = PLAIN | {"Idempotency-Key": "k"}
    first = v3.post("/v3/exec/", json=wish, headers=headers, auth=BOB)
    again = v3.post("/v3/exec/", json=wish, headers=headers, auth=BOB)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (again.data, again.mimetype) == (first.data, "text/plain")
    for name in ("X-Task-State", "X-Returncode", "Location"):
        assert again.headers[name] == first.headers[name]


def test_of_one_that_still_runs_there_is_no_return_code(v3: FlaskClient) -> None:
    answer = v3.post("/v3/exec/", json={"cmd": "sleep 60"}, headers=PLAIN, auth=BOB)
    assert answer.headers["X-Task-State"] in ("QUEUED", "STARTED")
    assert "X-Returncode" not in answer.headers


@pytest.mark.parametrize("accept", ["*/*", "application/json, text/plain, */*", ""])
def test_who_does_not_ask_for_it_gets_json(client: FlaskClient, accept: str) -> None:
    for path in ("/api/health", "/api/poll/bob", "/v1/uptime/"):
        answer = client.get(path, headers={"Accept": accept})
        assert answer.mimetype == "application/json"
        assert answer.data.endswith(b"}\n")


@pytest.mark.parametrize(
    "path", ["/api/health", "/api/poll/bob", "/v1/uptime/", "/v1/iostat/"]
)
def test_head_says_that_it_would_be_text(client: FlaskClient, path: str) -> None:
    assert client.head(path, headers=PLAIN).mimetype == "text/plain"


def test_no_answer_is_taken_for_a_page(client: FlaskClient) -> None:
    for path in ("/api/health", "/api/poll/bob", "/none"):
        answer = client.get(path, headers=PLAIN)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
