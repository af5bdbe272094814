"""Tasks of v2: started, followed, ended, over HTTP."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.api.callers import change_record
from tests.api.checks import paths, problem
from tests.servers import wait_until

LONG = "/v2/iostat/?count=100&wait=1"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
TEXT = {"Accept": "text/plain"}
ALWAYS = {
    "task_id",
    "kind",
    "state",
    "owner",
    "host",
    "request_id",
    "created",
    "output",
    "links",
}
REPORT = re.compile(
    r"Linux \S+ \(\S+\) \t\d\d/\d\d/\d\d \t_\w+_\t\(\d+ CPU\)\n\n"
    r"(Device             tps    kB_read/s    kB_wrtn/s    kB_dscd/s"
    r"    kB_read    kB_wrtn    kB_dscd\n"
    r"(\S+ +(\d+\.\d\d +){4}\d+ +\d+ +\d+\n)*\n\n)+"
)


def _start(client: FlaskClient, path: str = "/v2/iostat/") -> str:
    answer = client.post(path)
    assert answer.status_code == 201, answer.json
    return answer.headers["Location"]


def _finished(client: FlaskClient, href: str) -> dict[str, Any]:
    wait_until(lambda: "finished" in client.get(href).json)
    return client.get(href).json


def _started(client: FlaskClient, href: str) -> dict[str, Any]:
    """Return a task that has its first sample and waits for the next."""
    wait_until(lambda: client.get(href).json["progress"]["done"] >= 1)
    return client.get(href).json


def _outputs(tmp_path: Path) -> set[str]:
    folder = tmp_path / "instance" / "output"
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


@pytest.fixture
def with_output(client: FlaskClient) -> Callable[[bytes], str]:
    """Return what makes a finished task with that for its output; gives its href."""

    def make(data: bytes) -> str:
        href = _start(client)
        task_id = _finished(client, href)["task_id"]
        services = client.application.extensions["bellhop"]
        services.outputs.remove(task_id)
        log = services.outputs.create(task_id)
        log.append(memoryview(data))
        log.close()
        change_record(client, task_id, {"output": None, **log.facts()})
        return f"{href}/output"

    return make


class TestStart:
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_it_is_open_everywhere_and_says_where_the_task_is(
        self, anywhere: FlaskClient, method: str
    ) -> None:
        answer = anywhere.open("/v2/iostat/", method=method)
        assert answer.status_code == 201
        task_id = answer.json["task_id"]
        assert UUID.fullmatch(task_id)
        href = f"/v2/task/{task_id}"
        assert answer.headers["Location"] == href
        assert answer.json == {
            "task_id": task_id,
            "links": [{"rel": "task", "href": href}],
        }
        assert _finished(anywhere, href)["state"] == "SUCCESS"
        assert anywhere.get(f"{href}/output").status_code == 200
        assert anywhere.delete(href).status_code == 204

    @pytest.mark.parametrize("query", ["", "?count=3", "?count=3&wait=2"])
    def test_head_starts_nothing(
        self, client: FlaskClient, tmp_path: Path, query: str
    ) -> None:
        answer = client.head(f"/v2/iostat/{query}")
        assert (answer.status_code, answer.data) == (201, b"")
        assert _outputs(tmp_path) == set()

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("count=0&wait=0", ["count", "wait"]),
            ("count=x&wait=&z=1", ["count", "wait", "z"]),
            ("count=1&count=1", ["count"]),
            ("wait=2", ["wait"]),
            ("count=1&wait=2", ["wait"]),
            ("count=1.0", ["count"]),
            ("count=3602&wait=1", ["count"]),
            ("count=2&wait=3601", ["count"]),
            (f"count={'9' * 18}&wait={'9' * 18}", ["count"]),
            (f"count={'9' * 5000}", ["count"]),
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
    def test_faulty_times_start_nothing(
        self,
        client: FlaskClient,
        tmp_path: Path,
        method: str,
        query: str,
        expected: list[str],
    ) -> None:
        answer = client.open(f"/v2/iostat/?{query}", method=method)
        assert answer.status_code == 400
        if method != "HEAD":
            assert paths(answer) == expected
        assert _outputs(tmp_path) == set()

    def test_a_body_has_no_members_to_give(self, client: FlaskClient) -> None:
        assert paths(client.post("/v2/iostat/", json={"count": 2})) == ["count"]
        assert client.post("/v2/iostat/", json={}).status_code == 201

    def test_it_may_take_as_long_as_a_command(
        self, make_app: Callable[..., Flask]
    ) -> None:
        client = make_app(EXEC_TIMEOUT_SECONDS="40").test_client()
        for query in ("count=42", "count=2&wait=41", "count=4&wait=14"):
            answer = client.post(f"/v2/iostat/?{query}")
            assert paths(answer) == ["count"]
            assert "40 s" in answer.json["detail"]
        client.delete(_start(client, "/v2/iostat/?count=41"))

    def test_a_full_host_refuses_more_of_this_kind_only(
        self, make_app: Callable[..., Flask], tmp_path: Path
    ) -> None:
        limits = {"IOSTAT_MAX_RUNNING": "2", "EXEC_MAX_RUNNING": "1"}
        client = make_app(**limits, EXEC_MAX_QUEUED="0").test_client()
        hrefs = [_start(client, LONG) for _ in range(2)]
        before = _outputs(tmp_path)
        for method in ("GET", "POST"):
            found = problem(client.open(LONG, method=method), 429)
            assert found["type"] == "urn:bellhop:problem:capacity-exceeded"
        assert _outputs(tmp_path) == before
        sleep = {"cmd": "sleep 300"}
        assert client.post("/api/exec/bob", json=sleep).status_code == 202
        assert client.post("/api/exec/eve", json=sleep).status_code == 429
        assert client.delete(hrefs[0]).status_code == 204
        _start(client, LONG)


class TestTask:
    def test_while_it_runs_it_tells_how_far_it_is(self, client: FlaskClient) -> None:
        answer = client.post(LONG, headers={"X-Request-ID": "r-7"})
        href = answer.headers["Location"]
        task = _started(client, href)
        assert set(task) == ALWAYS | {"started", "progress"}
        assert task["task_id"] == answer.json["task_id"]
        assert (task["kind"], task["state"]) == ("iostat", "STARTED")
        assert (task["owner"], task["request_id"]) == (None, "r-7")
        assert task["host"]
        assert task["progress"] == {"done": 1, "total": 100}
        assert task["created"] <= task["started"]
        assert task["output"]["end_offset"] > 0
        assert task["output"]["dropped_bytes"] == 0
        assert task["links"] == [
            {"rel": "self", "href": href},
            {"rel": "output", "href": f"{href}/output"},
            {"rel": "cancel", "href": href, "method": "DELETE"},
        ]

    def test_its_result_is_the_report_and_its_text_the_output(
        self, client: FlaskClient
    ) -> None:
        href = _start(client, "/v2/iostat/?count=2")
        task = _finished(client, href)
        assert set(task) == ALWAYS | {
            *("started", "finished", "progress", "reason", "result")
        }
        assert (task["state"], task["reason"]) == ("SUCCESS", "exit")
        assert task["progress"] == {"done": 2, "total": 2}
        times = [task[name] for name in ("created", "started", "finished")]
        assert times == sorted(times)
        assert all(map(RFC3339.fullmatch, times))
        assert [link["rel"] for link in task["links"]] == ["self", "output"]
        text = task["result"]["iostat"]
        assert REPORT.fullmatch(text)
        assert text.count("Device ") == len(task["result"]["samples"]) == 2
        assert task["output"] == {"end_offset": len(text), "dropped_bytes": 0}
        assert client.get(f"{href}/output", headers=TEXT).text == text
        [of_v1] = client.get("/v1/iostat/").json["samples"]
        assert [set(sample) for sample in task["result"]["samples"]] == [set(of_v1)] * 2

    def test_its_output_can_be_followed_live_by_offset(
        self, client: FlaskClient
    ) -> None:
        href = _start(client, "/v2/iostat/?count=3")
        parts: list[dict[str, Any]] = []

        def at_end() -> bool:
            offset = parts[-1]["next_offset"] if parts else 0
            part = client.get(f"{href}/output?offset={offset}").json
            assert part["offset"] == offset
            assert part["next_offset"] == offset + len(part["text"])
            parts.append(part)
            return part["eof"]

        wait_until(at_end)
        seen_running = [part for part in parts if part["text"] and not part["eof"]]
        assert len(seen_running) >= 2
        assert {part["state"] for part in parts[:2]} <= {"QUEUED", "STARTED"}
        text = "".join(part["text"] for part in parts)
        assert text == client.get(href).json["result"]["iostat"]
        assert parts[-1]["state"] == "SUCCESS"

    @pytest.mark.parametrize(
        "task_id",
        [
            "00000000-0000-4000-8000-000000000000",
            "x",
            "..%2f..%2fbellhop.db",
            "%2e%2e",
            "%00",
            "%ff",
            "%E4%B8%AD",
            "a" * 10_000,
            "'; DROP TABLE tasks; --",
            ".check-1",
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "DELETE", "HEAD"])
    def test_an_id_of_no_task_is_not_found(
        self, client: FlaskClient, task_id: str, method: str
    ) -> None:
        for path in (f"/v2/task/{task_id}", f"/v2/task/{task_id}/output"):
            if path.endswith("output") and method == "DELETE":
                continue
            answer = client.open(path, method=method)
            assert answer.status_code == 404
            if method != "HEAD":
                problem(answer, 404)

    def test_a_command_s_task_is_none_of_v2(self, client: FlaskClient) -> None:
        answer = client.post("/api/exec/bob", json={"cmd": "echo secret; sleep 300"})
        href = f"/v2/task/{answer.json['task_id']}"
        for refused in (
            client.get(href),
            client.delete(href),
            client.get(f"{href}/output"),
            client.get(f"{href}/output?offset=10000"),
        ):
            found = problem(refused, 404)
            assert found["type"] == "urn:bellhop:problem:task-not-found"
        assert client.post("/api/poll/bob").json["status"] == "running"

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
    def test_nothing_else_can_be_done_with_it(
        self, client: FlaskClient, method: str
    ) -> None:
        answer = client.open(_start(client), method=method)
        problem(answer, 405)
        assert {"GET", "DELETE"} <= set(answer.headers["Allow"].split(", "))

    @pytest.mark.parametrize("method", ["GET", "DELETE"])
    def test_it_takes_no_query(self, client: FlaskClient, method: str) -> None:
        href = _start(client, LONG)
        assert paths(client.open(f"{href}?x=1", method=method)) == ["x"]
        assert "finished" not in client.get(href).json


class TestDelete:
    def test_a_running_task_has_ended_when_it_answers(
        self, client: FlaskClient
    ) -> None:
        href = _start(client, LONG)
        _started(client, href)
        answer = client.delete(href)
        assert (answer.status_code, answer.data) == (204, b"")
        task = client.get(href).json
        assert (task["state"], task["reason"]) == ("REVOKED", "cancelled")
        assert isinstance(task["result"], str)
        assert "cancelled" in task["result"]
        assert task["progress"] == {"done": 1, "total": 100}
        assert [link["rel"] for link in task["links"]] == ["self", "output"]
        part = client.get(f"{href}/output").json
        assert part["eof"]
        assert REPORT.fullmatch(part["text"])

    def test_one_that_has_just_been_started_ends_as_well(
        self, client: FlaskClient
    ) -> None:
        for _ in range(10):
            href = _start(client, LONG)
            assert client.delete(href).status_code == 204
            assert client.get(href).json["state"] == "REVOKED"

    def test_a_second_time_changes_nothing(self, client: FlaskClient) -> None:
        href = _start(client, LONG)
        assert client.delete(href).status_code == 204
        ended = client.get(href).json
        assert client.delete(href).status_code == 204
        assert client.get(href).json == ended

    def test_a_finished_task_is_left_as_it_was(self, client: FlaskClient) -> None:
        href = _start(client)
        before = _finished(client, href)
        assert client.delete(href).status_code == 204
        assert client.get(href).json == before


class TestOutput:
    def test_it_has_these_members(
        self, client: FlaskClient, with_output: Callable[[bytes], str]
    ) -> None:
        href = with_output("a中".encode() + b"\xff\r\n")
        found = client.get(f"{href}?offset=1&limit=4&stream=stdout").json
        assert found == {
            "task_id": href.split("/")[3],
            "stream": "stdout",
            "offset": 1,
            "next_offset": 5,
            "dropped_bytes": 0,
            "text": "中\ufffd",
            "eof": False,
            "state": "SUCCESS",
        }
        last = client.get(f"{href}?offset=5").json
        assert (last["text"], last["eof"]) == ("\r\n", True)
        assert client.get(f"{href}?offset=1&limit=4&stream=stdout").json == found

    def test_as_text_it_is_the_very_bytes(
        self, client: FlaskClient, with_output: Callable[[bytes], str]
    ) -> None:
        data = "a中".encode() + b"\xff\r\n\0b"
        href = with_output(data)
        answer = client.get(href, headers=TEXT)
        assert (answer.status_code, answer.data) == (200, data)
        assert answer.mimetype == "text/plain"
        assert answer.headers["X-Next-Offset"] == str(len(data))
        assert answer.headers["X-Dropped-Bytes"] == "0"
        part = client.get(f"{href}?offset=2&limit=1", headers=TEXT)
        assert part.data == data[2:3]
        assert part.headers["X-Next-Offset"] == "3"
        at_end = client.get(f"{href}?offset={len(data)}", headers=TEXT)
        assert (at_end.status_code, at_end.data) == (200, b"")

    def test_what_is_not_kept_is_told_by_the_read_that_passes_it_over(
        self, client: FlaskClient, with_output: Callable[[bytes], str]
    ) -> None:
        data = bytes(range(97, 123)) * 60_000
        href = with_output(data)
        head, tail = 64 * 1024, 1024 * 1024
        gap = len(data) - head - tail
        part = client.get(f"{href}?limit=1048576").json
        assert (part["next_offset"], part["dropped_bytes"]) == (head, 0)
        for headers in ({}, TEXT):
            answer = client.get(f"{href}?offset={head}&limit=10", headers=headers)
            if headers:
                assert answer.data == data[head + gap :][:10]
                assert answer.headers["X-Dropped-Bytes"] == str(gap)
                assert answer.headers["X-Next-Offset"] == str(head + gap + 10)
            else:
                assert answer.json["text"].encode() == data[head + gap :][:10]
                assert answer.json["dropped_bytes"] == gap
                assert answer.json["next_offset"] == head + gap + 10

    def test_by_default_a_read_gives_64_kib(
        self, client: FlaskClient, with_output: Callable[[bytes], str]
    ) -> None:
        href = with_output(b"x" * 200_000)
        assert client.get(href).json["next_offset"] == 65536
        assert len(client.get(href, headers=TEXT).data) == 65536

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("offset=4", ["offset"]),
            (f"offset={'9' * 18}", ["offset"]),
            (f"offset={'9' * 40}", ["offset"]),
            ("offset=-1", ["offset"]),
            ("offset=", ["offset"]),
            ("offset=1.5", ["offset"]),
            ("limit=0", ["limit"]),
            ("limit=1048577", ["limit"]),
            ("limit=x&offset=x", ["limit", "offset"]),
            ("offset=1&offset=2", ["offset"]),
            ("stream=both", ["stream"]),
            ("wait_seconds=61", ["wait_seconds"]),
            ("wait_seconds=-1", ["wait_seconds"]),
            ("wait_seconds=x", ["wait_seconds"]),
            ("follow=2", ["follow"]),
            ("stream=", ["stream"]),
            ("wait=1", ["wait"]),
        ],
    )
    @pytest.mark.parametrize("headers", [{}, TEXT])
    def test_a_faulty_query_is_refused(
        self,
        client: FlaskClient,
        with_output: Callable[[bytes], str],
        query: str,
        expected: list[str],
        headers: dict[str, str],
    ) -> None:
        href = with_output(b"abc")
        assert paths(client.get(f"{href}?{query}", headers=headers)) == expected

    @pytest.mark.parametrize("headers", [{}, TEXT])
    def test_head_tells_the_same_without_a_body(
        self,
        client: FlaskClient,
        with_output: Callable[[bytes], str],
        headers: dict[str, str],
    ) -> None:
        href = with_output(b"abc")
        told, got = (
            client.head(href, headers=headers),
            client.get(href, headers=headers),
        )
        assert (told.status_code, told.data) == (200, b"")
        for name in ("Content-Type", "X-Next-Offset", "X-Dropped-Bytes"):
            assert told.headers.get(name) == got.headers.get(name)
