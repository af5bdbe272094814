"""The output of a task: read, waited for, followed as bytes and as events."""

import json
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import islice, product
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.api.resources import output
from app.storage.task_store import TaskStore
from tests.api.callers import (
    ADMIN,
    ANN,
    BOB,
    Auth,
    add_user,
    bearer,
    change_record,
    ended,
    start,
    task_of,
    token_of,
    with_users,
)
from tests.api.checks import paths, problem

TEXT = {"Accept": "text/plain"}
EVENTS = {"Accept": "text/event-stream"}
WAITS, RUNS = {"cmd": "true", "wait_seconds": 1}, {"cmd": "true"}
PREFERS = {"Prefer": "wait=1"}
LIVE = [{"query": "follow=1"}, {"headers": EVENTS}]

# Characters that end a line to somebody, torn and invalid ones, and none at the end.
ODD = "a\r\nb\rc\n\n\0\x1b\x0b\x0c\x1c\x85d\u2028e\u2029😀中".encode() + b"\xff\xe4\xb8"

OUT = Callable[..., str]


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """Give a file for which commands wait; it is made in the end."""
    path = tmp_path / "gate"
    yield path
    path.touch()


@pytest.fixture
def wrote(v3: FlaskClient) -> OUT:
    """Return what makes a finished task of Ann's with that output; gives its href."""

    def make(data: bytes, stderr: bytes | None = None) -> str:
        apart = {} if stderr is None else {"stderr": "separate"}
        task_id = start(v3, ANN, cmd="true", wait_seconds=20, **apart)["task_id"]
        services = v3.application.extensions["bellhop"]
        services.outputs.remove(task_id)
        facts: dict[str, Any] = {"output": None}  # but in a file
        facts |= _write(services, task_id, "stdout", data)
        if stderr is not None:
            of_stderr = _write(services, task_id, "stderr", stderr)
            facts |= {f"stderr_{name}": value for name, value in of_stderr.items()}
        change_record(v3, task_id, facts)
        return f"/v3/task/{task_id}/output"

    return make


def _write(services: Any, task_id: str, stream: str, data: bytes) -> dict[str, int]:
    log = services.outputs.create(task_id, stream)
    log.append(memoryview(data))
    log.close()
    return log.facts()


def _hold(
    client: FlaskClient, gate: Path, before: str = "true", who: Auth = ANN, **wish: Any
) -> str:
    """Start a command that waits for the gate after `before`; return its href."""
    script = f"{before}\nwhile [ ! -e '{gate}' ]; do sleep 0.02; done"
    return f"/v3/task/{start(client, who, cmd=script, **wish)['task_id']}/output"


def _watch(
    client: FlaskClient, href: str, who: Auth = ANN, query: str = "", **options: Any
) -> TestResponse:
    """Begin to follow; the answer has to be closed."""
    options = {"auth": who, **options}
    answer = client.get(f"{href}?{query}", **options)
    assert answer.status_code == 200, answer.data
    return answer


def _events(body: bytes) -> list[dict[str, Any]]:
    """Return the events of a stream, as the standard says that they are parsed."""
    events, fields = list[dict[str, Any]](), dict[str, list[str]]()
    for line in body.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        name, _, value = line.partition(":")
        if line and name:
            fields.setdefault(name, []).append(value.removeprefix(" "))
        elif not line and fields.keys() & {"data"}:
            events.append(
                {"event": fields["event"][-1], "id": fields.get("id", [None])[-1]}
                | {"data": json.loads("\n".join(fields["data"]))}
            )
            fields = {}
    return events


def _text(events: list[dict[str, Any]]) -> str:
    return "".join(e["data"]["text"] for e in events if e["event"] == "output")


@contextmanager
def _watching(client: FlaskClient, href: str, **options: Any) -> Iterator[None]:
    """Follow in a thread that reads nothing."""
    begun, over = threading.Event(), threading.Event()

    def watch() -> None:
        with closing(_watch(client, href, **options)):
            begun.set()
            over.wait(60)

    with ThreadPoolExecutor(1) as other:
        watched = other.submit(watch)
        try:
            assert begun.wait(20)
            yield
        finally:
            over.set()
        watched.result()


def _meanwhile(do: Callable[[], TestResponse]) -> TestResponse:
    """Send a request while an answer is open: a server would, in another thread."""
    with ThreadPoolExecutor(1) as other:
        return other.submit(do).result()


def _follow(client: FlaskClient, href: str, **options: Any) -> list[dict[str, Any]]:
    """Follow to the end; return the events."""
    with closing(_watch(client, href, headers=EVENTS, **options)) as answer:
        return _events(answer.data)


class TestEvents:
    def test_a_finished_task_gives_all_and_its_end(
        self, v3: FlaskClient, wrote: OUT
    ) -> None:
        href = wrote(b"one\ntwo")
        with closing(_watch(v3, href, headers=EVENTS)) as answer:
            assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["X-Accel-Buffering"] == "no"
            body = answer.data
        assert body.startswith(b"retry: 1000\n\n")
        output_of, end = _events(body)
        assert output_of == {"event": "output", "id": "7", "data": {"text": "one\ntwo"}}
        task = task_of(v3, ANN, href.split("/")[3])
        assert end == {"event": "end", "id": None, "data": task}
        assert end["data"]["result"] == {"returncode": 0, "output": "one\ntwo"}

    def test_whatever_stands_in_it_is_one_line_of_data(
        self, v3: FlaskClient, wrote: OUT
    ) -> None:
        href = wrote(ODD)
        with closing(_watch(v3, href, headers=EVENTS)) as answer:
            body = answer.data
        *given, end = _events(body)
        assert _text(given) == ODD.decode(errors="replace")
        assert end["data"]["result"]["output"] == ODD.decode(errors="replace")
        lines = body.decode().splitlines()
        assert lines == body.decode().split("\n")[:-1], "for who splits by Unicode too"
        assert [line.split(":")[0] for line in lines if line] == [
            *("retry", *["event", "id", "data"] * len(given), "event", "data"),
        ]
        assert "😀中" in body.decode(), "and is not escaped otherwise"

    def test_ids_are_the_offsets_to_go_on_from(
        self, v3: FlaskClient, wrote: OUT
    ) -> None:
        data = "中".encode() * 300_000
        events = _follow(v3, wrote(data))[:-1]
        assert len(events) > 2
        at = 0
        for event in events:
            at += len(event["data"]["text"].encode())
            at += event["data"].get("dropped_bytes", 0)
            assert event["id"] == str(at)
        assert at == len(data)

    def test_what_is_not_kept_is_told(self, v3: FlaskClient, wrote: OUT) -> None:
        data = bytes(range(97, 123)) * 60_000
        events = _follow(v3, wrote(data))
        dropped = [event["data"].get("dropped_bytes") for event in events[:-1]]
        gap = len(data) - 64 * 1024 - 1024 * 1024
        assert [count for count in dropped if count is not None] == [gap]
        assert int(events[-2]["id"]) == len(data) == len(_text(events)) + gap
        assert events[-1]["data"]["output"]["dropped_bytes"] == gap

    @pytest.mark.parametrize("seed", range(3))
    def test_a_resumed_stream_is_exact_wherever_it_was_cut(
        self, v3: FlaskClient, wrote: OUT, seed: int
    ) -> None:
        data = ODD * 20_000
        href, chosen = wrote(data), random.Random(seed)
        text, last = "", None
        for _ in range(10_000):
            headers = EVENTS | ({"Last-Event-ID": last} if last else {})
            with closing(_watch(v3, href, headers=headers)) as answer:
                pieces = answer.iter_encoded()
                body = b"".join(islice(pieces, chosen.randrange(1, 4)))
            if chosen.random() < 0.7:  # not all of it has come
                body = body[: chosen.randrange(len(body) + 1)]
            whole = _events(body[: body.rfind(b"\n\n") + 2])
            text += _text(whole)
            last = next((e["id"] for e in reversed(whole) if e["id"]), last)
            if whole and whole[-1]["event"] == "end":
                break
        assert text == data.decode(errors="replace")

    def test_the_header_goes_before_the_query(
        self, v3: FlaskClient, wrote: OUT
    ) -> None:
        headers = EVENTS | {"Last-Event-ID": "2"}
        href = wrote(b"abcdef")
        with closing(_watch(v3, href, query="offset=5", headers=headers)) as answer:
            assert _text(_events(answer.data)) == "cdef"
        assert _text(_follow(v3, href, query="offset=5")) == "f"

    def test_who_has_had_all_gets_the_end(self, v3: FlaskClient, wrote: OUT) -> None:
        headers = EVENTS | {"Last-Event-ID": "3"}
        with closing(_watch(v3, wrote(b"abc"), headers=headers)) as answer:
            [end] = _events(answer.data)
        assert end["event"] == "end"

    def test_an_id_that_was_never_given_is_refused(
        self, v3: FlaskClient, wrote: OUT
    ) -> None:
        href = wrote(b"abc")
        faulty = ["x", "-1", "1.5", "", "1 2", "9" * 19, "٣", "0x1", "+1", "1_0", "²"]
        for last in faulty:
            headers = EVENTS | {"Last-Event-ID": last.encode().decode("latin-1")}
            refused = v3.get(href, headers=headers, auth=ANN)
            assert paths(refused) == ["Last-Event-ID"], last
            assert v3.head(href, headers=headers, auth=ANN).status_code == 400

    def test_one_beyond_the_end_is_refused_before_anything_is_sent(
        self, v3: FlaskClient, wrote: OUT, gate: Path
    ) -> None:
        finished, running = wrote(b"abc"), _hold(v3, gate)
        for href, beyond in product((finished, running), ("4", "9" * 18)):
            headers = EVENTS | {"Last-Event-ID": beyond}
            assert paths(v3.get(href, headers=headers, auth=ANN)) == ["offset"]
            for options in LIVE:
                query = f"offset={beyond}&{options.get('query', '')}"
                headers = options.get("headers", {})
                answer = v3.get(f"{href}?{query}", headers=headers, auth=ANN)
                assert paths(answer) == ["offset"]

    def test_signs_of_life_come_while_nothing_else_does(
        self, v3: FlaskClient, gate: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(output, "TICK_SECONDS", 0.01)
        monkeypatch.setattr(output, "HEARTBEAT_TICKS", 3)
        href = _hold(v3, gate)
        with closing(_watch(v3, href, headers=EVENTS)) as answer:
            pieces = answer.iter_encoded()
            first = [next(pieces) for _ in range(4)]
            assert first == [b"retry: 1000\n\n"] + [b": still there\n\n"] * 3
            gate.touch()
            [end] = _events(b"".join(pieces))
        assert end["data"]["state"] == "SUCCESS"

    def test_they_are_given_to_who_prefers_them_only(
        self, v3: FlaskClient, wrote: OUT
    ) -> None:
        href = wrote(b"abc")
        for accept, expected in (
            ("*/*", "application/json"),
            ("application/json, text/event-stream;q=0.9", "application/json"),
            ("text/event-stream, application/json;q=0.9", "text/event-stream"),
            ("text/event-stream;q=0.1", "text/event-stream"),
            ("text/html", "application/json"),
        ):
            with closing(_watch(v3, href, headers={"Accept": accept})) as answer:
                assert answer.mimetype == expected, accept


class TestFollow:
    def test_the_very_bytes_come_as_they_are_written(
        self, v3: FlaskClient, gate: Path
    ) -> None:
        href = _hold(v3, gate, r"printf 'a\344\270'")
        with closing(_watch(v3, href, query="follow=1")) as answer:
            assert answer.mimetype == "text/plain"
            assert answer.headers["Cache-Control"] == "no-store"
            pieces = answer.iter_encoded()
            assert next(pieces) == b"", "the head is sent"
            assert next(pieces) == b"a\xe4\xb8"
            gate.touch()
            assert b"".join(pieces) == b""

    @pytest.mark.parametrize("headers", [{}, TEXT])
    def test_of_a_finished_task_all_comes_to_the_byte(
        self, v3: FlaskClient, wrote: OUT, headers: dict[str, str]
    ) -> None:
        href = wrote(ODD * 10_000)
        for offset in (0, 1, 12_345, len(ODD) * 10_000):
            query = f"follow=1&offset={offset}"
            with closing(_watch(v3, href, query=query, headers=headers)) as answer:
                assert answer.data == (ODD * 10_000)[offset:]

    def test_zero_is_as_good_as_not(self, v3: FlaskClient, wrote: OUT) -> None:
        href = wrote(b"abc")
        assert v3.get(f"{href}?follow=0", auth=ANN).json["text"] == "abc"
        answer = v3.get(f"{href}?follow=0", auth=ANN, headers=TEXT)
        assert answer.headers["X-Next-Offset"] == "3"

    @pytest.mark.parametrize("options", LIVE)
    def test_a_queued_task_is_followed_from_before_its_start(
        self, make_app: Callable[..., Flask], gate: Path, options: dict[str, Any]
    ) -> None:
        client = with_users(make_app(EXEC_MAX_RUNNING="1"))
        _hold(client, gate)
        queued = start(client, ANN, cmd="echo at last")
        assert (queued["state"], queued["position"]) == ("QUEUED", 1)
        href = f"/v3/task/{queued['task_id']}/output"
        with closing(_watch(client, href, **options)) as answer:
            gate.touch()
            assert b"at last" in answer.data
        assert task_of(client, ANN, queued["task_id"])["state"] == "SUCCESS"

    @pytest.mark.parametrize("options", LIVE)
    @pytest.mark.parametrize("running", ["1", "2"])
    def test_a_task_that_is_cancelled_ends_its_followers(
        self,
        make_app: Callable[..., Flask],
        gate: Path,
        options: dict[str, Any],
        running: str,
    ) -> None:
        client = with_users(make_app(EXEC_MAX_RUNNING=running))
        _hold(client, gate)
        href = _hold(client, gate)
        with closing(_watch(client, href, **options)) as answer:
            gone = _meanwhile(lambda: client.delete(href[:-7], auth=ANN))
            assert gone.status_code == 204
            body = answer.data
        if options.get("headers"):
            [end] = _events(body)
            assert (end["data"]["state"], end["data"]["reason"]) == (
                *("REVOKED", "cancelled"),
            )
        else:
            assert body == b""

    @pytest.mark.parametrize("options", LIVE)
    def test_a_task_whose_program_is_not_there_ends_them_too(
        self, v3: FlaskClient, options: dict[str, Any]
    ) -> None:
        task = start(v3, ANN, argv=["/nonexistent/program"])
        href = f"/v3/task/{task['task_id']}/output"
        with closing(_watch(v3, href, **options)) as answer:
            body = answer.data
        assert (b'"spawn_failed"' in body) == ("headers" in options)

    def test_a_report_can_be_followed_in_v2_and_in_v3(self, v3: FlaskClient) -> None:
        for version, auth in (("v2", None), ("v3", ANN)):
            made = v3.post(f"/{version}/iostat/?count=2", auth=auth)
            href = made.headers["Location"]
            events = _follow(v3, f"{href}/output", auth=auth)
            task = v3.get(href, auth=auth).json
            assert events[-1] == {"event": "end", "id": None, "data": task}
            assert len(events) > 2, "it came piece by piece"
            assert _text(events) == task["result"]["iostat"]
            raw = v3.get(f"{href}/output?follow=1", auth=auth)
            assert raw.text == task["result"]["iostat"]

    def test_an_output_that_is_removed_meanwhile_was_dropped(
        self, v3: FlaskClient, wrote: OUT
    ) -> None:
        href = wrote(b"x" * 900_000)
        outputs = v3.application.extensions["bellhop"].outputs
        with closing(_watch(v3, href, headers=EVENTS)) as answer:
            pieces = answer.iter_encoded()
            first = next(pieces) + next(pieces)
            outputs.remove(href.split("/")[3])
            events = _events(first + b"".join(pieces))
        given = len(_text(events))
        assert events[-2]["data"] == {"text": "", "dropped_bytes": 900_000 - given}
        assert events[-2]["id"] == "900000"
        assert events[-1]["event"] == "end"

    def test_a_record_that_is_forgotten_meanwhile_breaks_events_off(
        self, v3: FlaskClient, wrote: OUT
    ) -> None:
        href = wrote(b"abc")
        with closing(_watch(v3, href, headers=EVENTS)) as answer:
            _forget(v3, href.split("/")[3])
            with pytest.raises(ConnectionResetError):
                list(answer.iter_encoded())


def _forget(client: FlaskClient, task_id: str) -> None:
    services = client.application.extensions["bellhop"]
    services.outputs.remove(task_id)
    TaskStore(services.database).remove([task_id])


class TestWait:
    def test_what_is_there_is_given_at_once(self, v3: FlaskClient, gate: Path) -> None:
        href = _hold(v3, gate, "echo abc")
        part = v3.get(f"{href}?wait_seconds=60", auth=ANN).json
        assert (part["text"], part["eof"], part["next_offset"]) == ("abc\n", False, 4)

    def test_the_end_is_told_at_once(self, v3: FlaskClient, gate: Path) -> None:
        href = _hold(v3, gate)
        opener = threading.Timer(0.1, gate.touch)
        opener.start()
        part = v3.get(f"{href}?wait_seconds=60", auth=ANN).json
        opener.join()
        assert (part["text"], part["eof"], part["state"]) == ("", True, "SUCCESS")

    def test_when_the_time_is_over_nothing_is_said(
        self, v3: FlaskClient, gate: Path
    ) -> None:
        href = _hold(v3, gate)
        for seconds in ("0", "0.05", "0.001"):
            part = v3.get(f"{href}?wait_seconds={seconds}", auth=ANN).json
            assert (part["text"], part["eof"], part["next_offset"]) == ("", False, 0)
            assert part["dropped_bytes"] == 0

    def test_bare_bytes_are_waited_for_likewise(
        self, v3: FlaskClient, gate: Path
    ) -> None:
        href = _hold(v3, gate, r"printf '\344'")
        answer = v3.get(f"{href}?wait_seconds=60", auth=ANN, headers=TEXT)
        assert (answer.data, answer.headers["X-Next-Offset"]) == (b"\xe4", "1")

    def test_a_torn_character_is_waited_for_to_its_end(
        self, v3: FlaskClient, gate: Path
    ) -> None:
        script = rf"printf '\344\270'; while [ ! -e '{gate}' ]; do sleep 0.02; done"
        task = start(v3, ANN, cmd=script + r"; printf '\255'")
        href = f"/v3/task/{task['task_id']}/output"
        assert v3.get(f"{href}?wait_seconds=0.2", auth=ANN).json["text"] == ""
        gate.touch()
        assert v3.get(f"{href}?wait_seconds=60", auth=ANN).json["text"] == "中"

    def test_wait_after_wait_gives_all_of_it(self, v3: FlaskClient) -> None:
        task = start(v3, ANN, cmd="for i in $(seq 30); do echo $i; sleep 0.01; done")
        href = f"/v3/task/{task['task_id']}/output"
        text, offset, part = "", 0, {"eof": False}
        while not part["eof"]:
            query = f"offset={offset}&wait_seconds=60&limit=7"
            part = v3.get(f"{href}?{query}", auth=ANN).json
            assert part["next_offset"] > offset or part["eof"]
            text, offset = text + part["text"], part["next_offset"]
        assert text == "".join(f"{n}\n" for n in range(1, 31))

    def test_a_faulty_time_is_refused(self, v3: FlaskClient, wrote: OUT) -> None:
        href = wrote(b"abc")
        for seconds in ("-1", "60.5", "x", "", "1s", "nan", "inf"):
            for headers in ({}, TEXT, EVENTS):
                path = f"{href}?wait_seconds={seconds}"
                refused = v3.get(path, headers=headers, auth=ANN)
                assert paths(refused) == ["wait_seconds"], seconds


class TestHead:
    @pytest.mark.parametrize(
        ("query", "headers"),
        [
            ("wait_seconds=60", {}),
            ("wait_seconds=60", TEXT),
            ("follow=1", {}),
            ("follow=1", TEXT),
            ("", EVENTS),
            ("wait_seconds=60&follow=1", EVENTS),
        ],
    )
    def test_it_waits_for_nothing_and_takes_no_place(
        self,
        make_app: Callable[..., Flask],
        gate: Path,
        query: str,
        headers: dict[str, str],
    ) -> None:
        client = with_users(make_app(THREADS="1"))
        href = _hold(client, gate)
        with closing(_watch(client, href, query="follow=1")):
            path = f"{href}?{query}"
            told = _meanwhile(lambda: client.head(path, headers=headers, auth=ANN))
        assert (told.status_code, told.data) == (200, b"")
        if headers == EVENTS:
            assert told.mimetype == "text/event-stream"
        elif headers == TEXT or "follow" in query:
            assert told.mimetype == "text/plain"

    @pytest.mark.parametrize("options", LIVE)
    def test_it_is_refused_where_get_is(
        self, v3: FlaskClient, wrote: OUT, options: dict[str, Any]
    ) -> None:
        href, headers = wrote(b"abc"), options.get("headers", {})
        query = f"offset=4&{options.get('query', '')}"
        assert v3.head(f"{href}?{query}", headers=headers, auth=ANN).status_code == 400
        assert v3.head(href, headers=headers, auth=BOB).status_code == 404
        assert v3.head(href, headers=headers).status_code == 401


class TestPlaces:
    """Half of the threads at most wait, so that the others answer."""

    @pytest.fixture
    def four(self, make_app: Callable[..., Flask]) -> FlaskClient:
        return with_users(make_app(THREADS="4"))

    @pytest.mark.parametrize("options", LIVE)
    def test_beyond_them_is_told_to_come_again(
        self, four: FlaskClient, gate: Path, options: dict[str, Any]
    ) -> None:
        href = _hold(four, gate, "echo abc")
        refused = [
            lambda: four.get(f"{href}?follow=1", auth=ANN),
            lambda: four.get(href, auth=ANN, headers=EVENTS),
            lambda: four.get(f"{href}?wait_seconds=1", auth=ANN),
            lambda: four.get(f"{href}?wait_seconds=1", auth=ANN, headers=TEXT),
            lambda: four.post("/v3/exec/", json=WAITS, auth=ANN),
            lambda: four.post("/v3/exec/", json=RUNS, auth=ANN, headers=PREFERS),
        ]
        answered = [
            lambda: four.get(href, auth=ANN),
            lambda: four.get(f"{href}?wait_seconds=0", auth=ANN),
            lambda: four.get("/api/health"),
            lambda: four.get("/api/poll/ann"),
            lambda: four.head(f"{href}?follow=1", auth=ANN),
            lambda: four.post("/v3/exec/", json=RUNS, auth=ANN),
            lambda: four.delete(href[:-7], auth=ANN),
        ]
        with _watching(four, href, **options):
            with _watching(four, href, headers=EVENTS):
                for ask in refused:
                    found = problem(ask(), 503)
                    assert found["type"].endswith("waiters-exceeded")
                tasks = four.get("/v3/task/", auth=ANN).json
                assert len(tasks["tasks"]) == 1, "what was refused was not started"
                codes = {ask().status_code for ask in answered}
                assert codes == {200, 201, 204}
            with closing(_watch(four, href, **options)) as answer:
                assert b"abc" in answer.data, "there is room again"

    def test_one_is_given_back_at_the_end(self, four: FlaskClient) -> None:
        task = start(four, ANN, cmd="echo abc", wait_seconds=20)
        href = f"/v3/task/{task['task_id']}/output"
        for _ in range(5):
            for options in LIVE:
                with closing(_watch(four, href, **options)) as answer:
                    assert b"abc" in answer.data
            query = f"{href}?wait_seconds=0.01&offset=4"
            assert four.get(query, auth=ANN).status_code == 200

    def test_one_is_given_back_by_who_is_refused(
        self, four: FlaskClient, gate: Path
    ) -> None:
        href = _hold(four, gate)
        for _ in range(5):
            for query, headers in (
                ("follow=1&offset=9", {}),
                ("offset=9", EVENTS),
                ("wait_seconds=9&offset=9", {}),
            ):
                path = f"{href}?{query}"
                refused = four.get(path, auth=ANN, headers=headers)
                assert refused.status_code == 400

    @pytest.mark.parametrize("options", LIVE)
    def test_one_is_given_back_by_who_leaves_before_the_first_byte(
        self, four: FlaskClient, gate: Path, options: dict[str, Any]
    ) -> None:
        href = _hold(four, gate)
        for _ in range(5):
            _watch(four, href, **options).close()

    def test_one_is_given_back_by_who_is_cut_off(
        self, four: FlaskClient, gate: Path
    ) -> None:
        for _ in range(5):
            href = _hold(four, gate, who=BOB)
            with closing(_watch(four, href, BOB, headers=EVENTS)) as answer:
                _forget(four, href.split("/")[3])
                with pytest.raises(ConnectionResetError):
                    list(answer.iter_encoded())


class TestRights:
    """Whoever may not see a task any more is cut off, within about a second."""

    @pytest.fixture(autouse=True)
    def looks_often(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(output, "TICK_SECONDS", 0.01)
        monkeypatch.setattr("app.tasks.follow.LOOK_SECONDS", 0.01)

    def cut_off(self, answer: TestResponse) -> None:
        given = []
        with pytest.raises(ConnectionResetError):
            given.extend(answer.iter_encoded())
        assert not any(b"event: end" in piece for piece in given)

    @pytest.mark.parametrize("options", LIVE)
    @pytest.mark.parametrize("command", ["true", "yes &"])
    def test_a_user_who_is_removed(
        self, v3: FlaskClient, gate: Path, options: dict[str, Any], command: str
    ) -> None:
        href = _hold(v3, gate, command)
        with closing(_watch(v3, href, **options)) as answer:
            next(answer.iter_encoded())
            gone = _meanwhile(lambda: v3.delete("/v3/users/ann", auth=ADMIN))
            assert gone.status_code == 204
            self.cut_off(answer)
        v3.delete(href[:-7], auth=ADMIN)

    @pytest.mark.parametrize("change", [{"admin": False}, {"password": "another"}])
    @pytest.mark.parametrize("options", LIVE)
    def test_an_admin_who_is_none_any_more_or_has_another_password(
        self,
        v3: FlaskClient,
        gate: Path,
        options: dict[str, Any],
        change: dict[str, Any],
    ) -> None:
        root = ("root", "root's own")
        add_user(v3.application, *root, admin=True)
        href = _hold(v3, gate)
        with closing(_watch(v3, href, root, **options)) as answer:
            next(answer.iter_encoded())
            changed = _meanwhile(
                lambda: v3.patch("/v3/users/root", json=change, auth=ADMIN)
            )
            assert changed.status_code == 200
            self.cut_off(answer)

    def test_one_whose_token_is_revoked(self, v3: FlaskClient, gate: Path) -> None:
        headers = bearer(token_of(v3, ANN))
        [token] = v3.get("/v3/users/ann/tokens", auth=ANN).json["tokens"]
        href = _hold(v3, gate)
        live = EVENTS | headers
        with closing(_watch(v3, href, headers=live, auth=None)) as answer:
            next(answer.iter_encoded())
            path = f"/v3/users/ann/tokens/{token['id']}"
            gone = _meanwhile(lambda: v3.delete(path, auth=ANN))
            assert gone.status_code == 204
            self.cut_off(answer)

    def test_a_user_who_waits_is_refused(self, v3: FlaskClient, gate: Path) -> None:
        href = _hold(v3, gate)
        remover = threading.Timer(
            0.1,
            lambda: v3.application.test_client().delete("/v3/users/ann", auth=ADMIN),
        )
        remover.start()
        answer = v3.get(f"{href}?wait_seconds=60", auth=ANN)
        remover.join()
        problem(answer, 401)

    def test_who_may_on_is_left_alone(
        self, v3: FlaskClient, gate: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(output, "HEARTBEAT_TICKS", 1)
        href, token = _hold(v3, gate), bearer(token_of(v3, ANN))
        for live, auth in ((EVENTS, ANN), (EVENTS | token, None)):
            with closing(_watch(v3, href, headers=live, auth=auth)) as answer:
                beats = list(islice(answer.iter_encoded(), 20))
            assert beats[1:] == [b": still there\n\n"] * 19

    @pytest.mark.parametrize("options", LIVE)
    def test_another_s_task_is_none_from_the_start(
        self, v3: FlaskClient, wrote: OUT, options: dict[str, Any]
    ) -> None:
        href = wrote(b"abc")
        query, headers = options.get("query", ""), options.get("headers", {})
        answer = v3.get(f"{href}?{query}", headers=headers, auth=BOB)
        problem(answer, 404)
        problem(v3.get(f"{href}?{query}", headers=headers), 401)
        with closing(_watch(v3, href, ADMIN, **options)) as answer:
            assert b"abc" in answer.data


class TestStderr:
    def test_kept_apart_each_is_exact_and_told(self, v3: FlaskClient) -> None:
        script = r"printf 'out\377'; printf 'err\344\270' >&2; exit 3"
        wish = {"cmd": script, "stderr": "separate", "wait_seconds": 20}
        task = start(v3, ANN, **wish)
        assert task["output"] == {"end_offset": 4, "dropped_bytes": 0}
        assert task["stderr"] == {"end_offset": 5, "dropped_bytes": 0}
        assert task["result"] == {"returncode": 3, "output": "out\ufffd"}
        links = {link["rel"]: link["href"] for link in task["links"]}
        assert links["stderr"] == f"{links['output']}?stream=stderr"
        part = v3.get(f"{links['stderr']}&offset=3", auth=ANN).json
        assert (part["stream"], part["text"]) == ("stderr", "\ufffd")
        assert (part["next_offset"], part["eof"]) == (5, True)
        raw = v3.get(links["stderr"], auth=ANN, headers=TEXT)
        assert raw.data == b"err\xe4\xb8"
        assert v3.get(f"{links['stderr']}&follow=1", auth=ANN).data == raw.data
        events = _follow(v3, links["output"], query="stream=stderr")
        assert _text(events) == "err\ufffd"
        assert events[-1]["data"] == task_of(v3, ANN, task["task_id"])

    @pytest.mark.parametrize("wish", [{}, {"stderr": "merge"}])
    def test_merged_it_is_in_the_output_and_there_is_no_other(
        self, v3: FlaskClient, wish: dict[str, str]
    ) -> None:
        script = "echo 1; echo 2 >&2; echo 3"
        task = start(v3, ANN, cmd=script, wait_seconds=20, **wish)
        assert "stderr" not in task
        assert "stderr" not in [link["rel"] for link in task["links"]]
        assert task["result"]["output"] == "1\n2\n3\n"
        href = f"/v3/task/{task['task_id']}/output?stream=stderr"
        part = v3.get(href, auth=ANN).json
        assert (part["text"], part["eof"], part["next_offset"]) == ("", True, 0)
        assert v3.get(f"{href}&follow=1", auth=ANN).data == b""

    def test_offsets_of_one_are_none_of_the_other(
        self, v3: FlaskClient, wrote: OUT
    ) -> None:
        href = wrote(b"abc", b"defghi")
        part = v3.get(f"{href}?stream=stderr&offset=5", auth=ANN).json
        assert (part["text"], part["next_offset"]) == ("i", 6)
        assert paths(v3.get(f"{href}?offset=5", auth=ANN)) == ["offset"]

    def test_an_overflow_of_one_drops_nothing_of_the_other(
        self, v3: FlaskClient
    ) -> None:
        script = "echo begin; head -c 3000000 /dev/zero | tr '\\0' x >&2; echo end"
        task = start(v3, ANN, cmd=script, stderr="separate", wait_seconds=60)
        assert task["output"] == {"end_offset": 10, "dropped_bytes": 0}
        kept = (64 + 1024) * 1024
        assert task["stderr"] == {
            "end_offset": 3_000_000,
            "dropped_bytes": 3_000_000 - kept,
        }
        href = f"/v3/task/{task['task_id']}/output?stream=stderr"
        assert v3.get(f"{href}&follow=1", auth=ANN).data == b"x" * kept

    def test_one_is_followed_while_the_other_is_silent(
        self, v3: FlaskClient, gate: Path
    ) -> None:
        href = _hold(v3, gate, "echo err >&2", stderr="separate")
        query = "stream=stderr&wait_seconds=60"
        assert v3.get(f"{href}?{query}", auth=ANN).json["text"] == "err\n"
        assert v3.get(f"{href}?wait_seconds=0.05", auth=ANN).json["text"] == ""
        running = task_of(v3, ANN, href.split("/")[3])
        assert running["stderr"] == {"end_offset": 4, "dropped_bytes": 0}
        assert running["output"] == {"end_offset": 0, "dropped_bytes": 0}

    def test_what_holds_only_it_does_not_hold_the_end(self, v3: FlaskClient) -> None:
        wish = {"cmd": "sleep 300 >/dev/null & echo done", "stderr": "separate"}
        task = start(v3, ANN, **wish)
        done = ended(v3, ANN, task["task_id"])
        assert (done["state"], done["leftovers"]) == ("SUCCESS", True)
        assert done["result"]["output"] == "done\n"

    @pytest.mark.threads_only("streams are forgotten as well: see test_streams.py")
    def test_both_are_forgotten_with_their_task(
        self, v3: FlaskClient, tmp_path: Path
    ) -> None:
        task = start(v3, ANN, cmd="echo a >&2", stderr="separate", wait_seconds=20)
        folder = tmp_path / "instance" / "output"
        names = {task["task_id"], f"{task['task_id']}.stderr"}
        assert names <= {path.name for path in folder.iterdir()}
        _forget(v3, task["task_id"])
        assert not names & {path.name for path in folder.iterdir()}
