"""Outputs that are watched through real servers: complete, once, and to an end."""

import hashlib
import json
import os
import random
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.callers import add_user, production
from tests.commands import python_argv
from tests.servers import GUNICORN, RUN, Server, children_of, running, wait_until

pytestmark = pytest.mark.timeout(600)  # of the long dose

PASSWORD = "the admin's password"
ADMIN = ("admin", PASSWORD)
TEXT = {"Accept": "text/plain"}
EVENTS = {"Accept": "text/event-stream"}

# As much as is written here, so that nothing is dropped.
KEPT_BYTES = 70_000_000

# Writes what it is told in pieces of any size, characters torn.
_IN_PIECES = """
import os, random, sys
kind, chosen, data = sys.argv[1], random.Random(sys.argv[2]), b""
exec(sys.argv[3])
at = 0
while at < len(data):
    count = chosen.choice([1, 2, 3, 5, 4096, 65536])
    at += os.write(1, data[at:at + count])
"""
_DATA = """
words = ["a", "中", "😀é", "\\x00", "\\u2028", "\\x85", "\\x1b[0m", '"\\\\']
text = "".join(random.Random(7).choices(words, k=60_000))
data = {
    "one long line": b"x" * 10_000_000,
    "lines": text.replace("a", "a\\n").encode() + b"\\n",
    "crlf": text.replace("a", "a\\r\\n\\r").encode(),
    "no newline at the end": text.encode() + b"\\nlast",
    "invalid": text.encode().replace(b"a", b"\\xff\\xe4\\xb8\\xf0\\x9f") + b"\\xf0",
    "nothing": b"",
}[kind]
"""
KINDS = [
    *("one long line", "lines", "crlf", "no newline at the end", "invalid", "nothing"),
]

_LINES = """
import sys
for n in range(int(sys.argv[1])):
    sys.stdout.buffer.write(b"%011d \\xe4\\xb8\\xad\\xe6\\x96\\x87\\r\\n" % n)
"""
LINE_BYTES = 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Give four workers that keep all that is written here."""
    with watched(tmp_path_factory.mktemp("watching"), "-w", "4") as started:
        yield started


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Give one worker with two places for those who wait, that keeps little."""
    kept = {"EXEC_OUTPUT_HEAD_BYTES": "1000", "EXEC_OUTPUT_TAIL_BYTES": "300000"}
    room = kept | {"THREADS": "4", "EXEC_MAX_RUNNING": "100"}
    with watched(tmp_path_factory.mktemp("places"), "-w", "1", **room) as started:
        yield started


@contextmanager
def watched(
    tmp_path: Path, *arguments: str, command: tuple[str, ...] = GUNICORN, **env: str
) -> Iterator[Server]:
    settings = {
        "ADMIN_PASSWORD": PASSWORD,
        "EXEC_OUTPUT_TAIL_BYTES": str(KEPT_BYTES),
        # Places for all that watch here, should one worker have to answer them all.
        "THREADS": "32",
    }
    with running(tmp_path, *arguments, command=command, **settings | env) as started:
        yield started


def start(server: Server, **wish: Any) -> str:
    """Start a command; return the path of its output."""
    made = server.post("/v3/exec/", json=wish, auth=ADMIN)
    assert made.status_code == 201, made.text
    return f"/v3/task/{made.json()['task_id']}/output"


def hold(server: Server, gate: Path, before: str = "", after: str = "") -> str:
    """Start a command that waits for the gate; return the path of its output."""
    waits = f"while [ ! -e '{gate}' ]; do sleep 0.02; done"
    return start(server, cmd=f"{before}\n{waits}\n{after}")


def get(server: Server, path: str, **options: Any) -> requests.Response:
    answer = server.get(path, **{"auth": ADMIN, **options})
    assert answer.status_code == 200, answer.text
    return answer


def delete(server: Server, path: str) -> requests.Response:
    return requests.delete(server.url + path, auth=ADMIN, timeout=20)


def task_of(server: Server, href: str) -> dict[str, Any]:
    task: dict[str, Any] = get(server, href.removesuffix("/output")).json()
    return task


def read_json(server: Server, href: str, seed: int) -> str:
    """Read part after part as JSON, with limits of any size; return the text."""
    chosen, texts, offset = random.Random(seed), [], 0
    while True:
        limit = chosen.choice([5, 1000, 65536, 1048576, 1048576, 1048576])
        query = f"offset={offset}&limit={limit}&wait_seconds=20"
        part = get(server, f"{href}?{query}").json()
        assert part["offset"] == offset
        assert part["dropped_bytes"] == 0
        offset = part["next_offset"]
        texts.append(part["text"])
        if part["eof"]:
            assert part["state"] == "SUCCESS"
            return "".join(texts)


def read_raw(server: Server, href: str, seed: int) -> bytes:
    """Read part after part as bytes, until the record says that it was all."""
    chosen, data = random.Random(seed), b""
    while True:
        limit = chosen.choice([7, 65536, 1048576, 1048576, 1048576])
        query = f"offset={len(data)}&limit={limit}&wait_seconds=20"
        part = get(server, f"{href}?{query}", headers=TEXT)
        assert part.headers["X-Dropped-Bytes"] == "0"
        data += part.content
        assert part.headers["X-Next-Offset"] == str(len(data))
        if not part.content and "finished" in (task := task_of(server, href)):
            assert task["output"]["end_offset"] == len(data)
            return data


def follow_raw(server: Server, href: str) -> bytes:
    """Follow the very bytes to the end."""
    with closing(get(server, f"{href}?follow=1", stream=True)) as answer:
        return b"".join(answer.iter_content(65536))


def follow_events(
    server: Server, href: str, *, cut: Callable[[], int] = lambda: 10**12
) -> tuple[str, dict[str, Any]]:
    """Follow events to the end, from a new connection after `cut()` bytes of each.

    Returns all text and the task that the end came with. Ids are where the text is.
    """
    texts, offset = list[str](), 0
    while True:
        headers = EVENTS | ({"Last-Event-ID": str(offset)} if offset else {})
        for event in events_of(server, href, headers, cut()):
            if event["event"] == "end":
                return "".join(texts), event["data"]
            texts.append(event["data"]["text"])
            assert "dropped_bytes" not in event["data"]
            assert int(event["id"]) > offset
            offset = int(event["id"])


def events_of(
    server: Server, href: str, headers: dict[str, str], count: int
) -> Iterator[dict[str, Any]]:
    """Give the events of one connection, of which `count` bytes are read at most."""
    left, rest = count, b""
    try:
        with closing(server.get(href, auth=ADMIN, headers=headers, stream=True)) as got:
            assert got.status_code in (200, 503), got.text
            if got.status_code == 503:  # no place here
                return
            for piece in got.iter_content(None):
                rest += piece[:left]
                left -= len(piece)
                *whole, rest = rest.split(b"\n\n")
                for block in whole:
                    if block.startswith(b"event"):
                        yield parsed(block)
                if left <= 0:
                    return
    except requests.RequestException:  # the server is away for a moment, or cut it
        return


def parsed(block: bytes) -> dict[str, Any]:
    fields = dict(line.split(": ", 1) for line in block.decode().split("\n"))
    return fields | {"data": json.loads(fields["data"])}


@pytest.mark.parametrize("kind", KINDS)
def test_every_way_to_read_gives_what_was_written(server: Server, kind: str) -> None:
    chosen = random.Random(kind)
    names: dict[str, Any] = {"kind": kind, "random": random}
    exec(_DATA, names)
    written: bytes = names["data"]
    text = written.decode(errors="replace")
    argv = python_argv(_IN_PIECES, kind, kind, _DATA)
    href = start(server, argv=argv)
    ways: dict[str, Callable[[], Any]] = {
        "json": lambda: read_json(server, href, 1),
        "raw": lambda: read_raw(server, href, 2),
        "follow": lambda: follow_raw(server, href),
        "events": lambda: follow_events(server, href)[0],
        "cut events": lambda: follow_events(
            server, href, cut=lambda: chosen.choice([50, 70_000, 10**6, 10**7])
        )[0],
    }
    expected = {"raw": written, "follow": written}
    for _ in ("while it is written", "afterwards"):
        with ThreadPoolExecutor(len(ways)) as pool:
            read = {name: pool.submit(way) for name, way in ways.items()}
        for name, got in read.items():
            assert got.result() == expected.get(name, text), name


def test_lines_without_end_reach_all_who_follow_them_whole(
    server: Server, tmp_path: Path, soak: bool
) -> None:
    count = (10**9 if soak else 12_000_000) // LINE_BYTES
    with ExitStack() as opened:
        if soak:
            kept = {"EXEC_OUTPUT_TAIL_BYTES": str(10**9)}
            server = opened.enter_context(watched(tmp_path, **kept))
        href = start(server, argv=python_argv(_LINES, str(count)))
        with ThreadPoolExecutor(3) as pool:
            raw = [pool.submit(digest_followed, server, href) for _ in range(2)]
            text = pool.submit(digest_of_events, server, href)
        found = {got.result() for got in (*raw, text)}
        assert found == {digest_of_lines(count)}
        kept_all = {"end_offset": count * LINE_BYTES, "dropped_bytes": 0}
        assert task_of(server, href)["output"] == kept_all


def digest_of_events(server: Server, href: str) -> str:
    digest = hashlib.sha256()
    for event in events_of(server, href, EVENTS, 10**12):
        if event["event"] == "end":
            return digest.hexdigest()
        digest.update(event["data"]["text"].encode())
    raise AssertionError("it had no end")


def digest_followed(server: Server, href: str) -> str:
    digest = hashlib.sha256()
    with closing(get(server, f"{href}?follow=1", stream=True)) as answer:
        for piece in answer.iter_content(65536):
            digest.update(piece)
    return digest.hexdigest()


def digest_of_lines(count: int) -> str:
    digest = hashlib.sha256()
    for first in range(0, count, 10_000):
        lines = range(first, min(first + 10_000, count))
        digest.update("".join(f"{n:011} 中文\r\n" for n in lines).encode())
    return digest.hexdigest()


def test_what_flies_by_is_counted_to_the_byte(one: Server) -> None:
    count = 100_000
    href = start(one, argv=python_argv(_LINES, str(count)))
    offset = given = dropped = 0
    eof = False
    while not eof:
        query = f"offset={offset}&limit=1048576&wait_seconds=20"
        part = get(one, f"{href}?{query}").json()
        data = part["text"].encode()
        assert part["next_offset"] == offset + part["dropped_bytes"] + len(data)
        assert data == lines_at(part["next_offset"] - len(data), len(data))
        given, dropped = given + len(data), dropped + part["dropped_bytes"]
        offset, eof = part["next_offset"], part["eof"]
    assert offset == given + dropped == count * LINE_BYTES
    first = get(one, f"{href}?offset=1000&limit=4096").json()
    assert first["dropped_bytes"] >= count * LINE_BYTES - 301_000
    assert get(one, f"{href}?offset=1000&limit=4096").json() == first


def lines_at(offset: int, count: int) -> bytes:
    first = offset // LINE_BYTES
    lines = range(first, (offset + count) // LINE_BYTES + 1)
    text = "".join(f"{n:011} 中文\r\n" for n in lines).encode()
    return text[offset - first * LINE_BYTES :][:count]


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_a_report_is_followed_from_any_worker(server: Server, version: str) -> None:
    auth = None if version == "v2" else ADMIN
    made = server.post(f"/{version}/iostat/?count=2", auth=auth)
    href = made.headers["Location"]
    with ThreadPoolExecutor(8) as pool:
        raw = [pool.submit(follow_raw, server, f"{href}/output") for _ in range(4)]
        text = [pool.submit(follow_events, server, f"{href}/output") for _ in range(4)]
        parts = pool.submit(read_json, server, f"{href}/output", 3)
    report = server.get(href, auth=auth).json()["result"]["iostat"]
    assert {got.result().decode() for got in raw} == {report}
    assert {got.result()[0] for got in text} == {report}
    assert parts.result() == report


def test_both_streams_are_followed_apart_from_any_worker(server: Server) -> None:
    script = "for i in $(seq 200); do echo out $i; echo err $i >&2; done"
    href = start(server, cmd=script, stderr="separate")
    with ThreadPoolExecutor(8) as pool:
        out = [pool.submit(follow_raw, server, href) for _ in range(4)]
        path = f"{href}?stream=stderr&follow=1"
        err = [pool.submit(lambda: get(server, path).text) for _ in range(4)]
    lines = "".join(f"%s {n}\n" for n in range(1, 201))
    assert {got.result().decode() for got in out} == {lines.replace("%s", "out")}
    assert {got.result() for got in err} == {lines.replace("%s", "err")}


def test_a_killed_worker_s_task_ends_for_followers_on_the_others(
    tmp_path: Path,
) -> None:
    with watched(tmp_path) as server, ThreadPoolExecutor(12) as pool:
        href = hold(server, tmp_path / "never", "echo begun")
        watching = [pool.submit(follow_events, server, href) for _ in range(8)]
        waiting = [
            pool.submit(get_or_none, server, f"{href}?offset=6&wait_seconds=60")
            for _ in range(4)
        ]
        wait_until(lambda: owners(server))
        [owner] = owners(server)
        os.kill(owner, signal.SIGKILL)
        for got in watching:
            text, task = got.result(timeout=20)
            assert text == "begun\n"
            assert (task["state"], task["reason"]) == ("LOST", "worker_lost")
        parts = [got.result(timeout=20) for got in waiting]
        assert all(part["state"] == "LOST" for part in parts if part is not None)


def get_or_none(server: Server, path: str) -> dict[str, Any] | None:
    """GET; None where the worker went away meanwhile."""
    try:
        part: dict[str, Any] = get(server, path).json()
    except requests.ConnectionError:
        return None
    return part


def owners(server: Server) -> list[int]:
    return [pid for pid in server.workers()[1:] if children_of(pid)]


class TestPlaces:
    """A worker of four threads has two places for those who wait."""

    @pytest.fixture(autouse=True)
    def nobody_waits(self, one: Server) -> None:
        """Wait until those of the test before are known to have left."""
        silent = start(one, cmd="sleep 300")
        wait_until(lambda: free_places(one, silent) == 2)

    @pytest.mark.parametrize("query", ["follow=1", "wait_seconds=60", ""])
    def test_those_who_watch_cannot_take_the_others_threads(
        self, one: Server, tmp_path: Path, query: str
    ) -> None:
        href = hold(one, tmp_path / "gate")
        one.exec("bob", "echo abc")
        path, headers = f"{href}?{query}", {} if query else EVENTS
        with ExitStack() as opened:
            if query == "wait_seconds=60":
                pool = opened.enter_context(ThreadPoolExecutor(2))
                waiting = [pool.submit(when_free, one.get, path) for _ in range(2)]
                opened.callback(lambda: [got.result() for got in waiting])
                opened.callback((tmp_path / "gate").touch)
            else:
                for _ in range(2):
                    watch = get(one, path, headers=headers, stream=True)
                    opened.enter_context(closing(watch))
            wait_until(lambda: free_places(one, href) == 0)
            refused = one.get(path, auth=ADMIN, headers=headers)
            assert int(refused.headers["Retry-After"]) >= 1
            wish = {"cmd": "true", "wait_seconds": 5}
            assert one.post("/v3/exec/", json=wish, auth=ADMIN).status_code == 503
            for _ in range(20):
                assert one.get("/api/health").ok
                assert one.get("/api/health/ready").ok
            assert one.poll_until_finished("bob")[0]["status"] in (
                "running",
                "finished",
            )
            assert get(one, href).json()["text"] == ""
            other = start(one, cmd="sleep 300").removesuffix("/output")
            assert delete(one, other).status_code == 204
            assert task_of(one, other)["state"] == "REVOKED"

    @pytest.mark.parametrize("headers", [EVENTS, TEXT])
    def test_who_hangs_up_silently_gives_the_place_back(
        self, one: Server, tmp_path: Path, headers: dict[str, str]
    ) -> None:
        href = hold(one, tmp_path / "gate")
        for _ in range(2):
            leavers = [
                get(one, f"{href}?follow=1", headers=headers, stream=True)
                for _ in range(2)
            ]
            assert free_places(one, href) == 0
            for leaver in leavers:
                leaver.close()
            wait_until(lambda: free_places(one, href) == 2)

    def test_who_waits_for_the_end_of_a_command_has_a_place_too(
        self, one: Server, tmp_path: Path
    ) -> None:
        gate = tmp_path / "gate"
        script = f"while [ ! -e '{gate}' ]; do sleep 0.02; done"
        wish = {"cmd": script, "wait_seconds": 60}
        with ThreadPoolExecutor(2) as pool:
            waiting = [
                pool.submit(when_free, one.post, "/v3/exec/", json=wish)
                for _ in range(2)
            ]
            href = start(one, cmd="sleep 300")
            wait_until(lambda: free_places(one, href) == 0)
            gate.touch()
            ended = [got.result().json() for got in waiting]
        assert [task["state"] for task in ended] == ["SUCCESS"] * 2
        wait_until(lambda: free_places(one, href) == 2)

    def test_who_breaks_off_in_the_middle_of_a_flood_gives_it_back(
        self, one: Server
    ) -> None:
        silent, href = start(one, cmd="sleep 300"), f"{start(one, cmd='yes')}?follow=1"
        for _ in range(6):
            with closing(wait_until(lambda: watch_or_none(one, href))) as watch:
                next(watch.iter_content(1000))
        wait_until(lambda: free_places(one, silent) == 2)
        assert errors_of(one) == []


def free_places(server: Server, href: str) -> int:
    """Return how many of two that ask at once can wait for what does not come."""
    path = f"{href}?wait_seconds=0.3"
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(server.get, path, auth=ADMIN) for _ in range(2)]
    codes = [got.result().status_code for got in asked]
    assert set(codes) <= {200, 503}
    return codes.count(200)


def when_free(ask: Callable[..., requests.Response], path: str, **options: Any) -> Any:
    """Ask until there is a place, and wait there; return the answer."""
    while (answer := ask(path, auth=ADMIN, **options)).status_code == 503:
        pass
    return answer


def watch_or_none(server: Server, href: str) -> requests.Response | None:
    answer = server.get(href, auth=ADMIN, stream=True)
    if answer.status_code == 200:
        return answer
    answer.close()
    return None


def errors_of(server: Server) -> list[str]:
    """Return what was logged as wrong, but that somebody was refused."""
    lines = [line for line in server.log_lines() if line["level"] == "error"]
    return [line["event"] for line in lines if "WaitersExceeded" not in str(line)]


class TestEndOfWorkers:
    """Who watches does not keep a worker from its end, and misses nothing by it."""

    COUNTS = "i=0; while [ ! -e '%s' ]; do echo $i; i=$((i+1)); sleep 0.02; done"

    @pytest.mark.parametrize("command", ["sleep 300", "yes"])
    def test_a_server_with_watchers_ends_soon(
        self, tmp_path: Path, command: str
    ) -> None:
        # In place of the time that is given to workers: it must not be needed.
        options = ("-w", "2", "--graceful-timeout", "300")
        with watched(tmp_path, *options, EXEC_GRACE_SECONDS="1") as server:
            href = start(server, cmd=command)
            with ThreadPoolExecutor(8) as pool:
                watching = [
                    *(pool.submit(broken_off, server, href) for _ in range(3)),
                    *(pool.submit(until_gone, server, href) for _ in range(3)),
                    pool.submit(get_or_none, server, f"{href}?wait_seconds=60"),
                ]
                wait_until(lambda: len(answered(server, href)) >= 6)
                assert server.stop() == 0
                for watch in watching:
                    watch.result(timeout=10)
            assert errors_of(server) == []

    def test_who_watches_through_reloads_gets_all_once(self, tmp_path: Path) -> None:
        gate = tmp_path / "gate"
        with watched(tmp_path, "-w", "2") as server:
            href = start(server, cmd=self.COUNTS % gate)
            with ThreadPoolExecutor(8) as pool:
                watching = [pool.submit(follow_events, server, href) for _ in range(4)]
                cut = [pool.submit(broken_off, server, href) for _ in range(2)]
                wait_until(lambda: len(answered(server, href)) >= 6)
                wait_until(lambda: get(server, href).json()["next_offset"] > 300)
                before = set(server.workers()[1:])
                os.kill(server.process.pid, signal.SIGHUP)
                wait_until(lambda: not before & set(server.workers()), seconds=20)
                gate.touch()
                got = [watch.result(timeout=20) for watch in watching]
                pieces = [watch.result(timeout=20) for watch in cut]
            whole = follow_raw(server, href)
            task = task_of(server, href)
        assert [text.encode() for text, _ in got] == [whole] * 4
        assert [end for _, end in got] == [task] * 4
        for piece, was_broken in pieces:
            assert was_broken, "half must not look like all"
            assert whole.startswith(piece)
            assert piece


def answered(server: Server, href: str) -> list[dict[str, Any]]:
    """Return the answers that were given, or begun, about an output."""
    return [
        line
        for line in server.log_lines()
        if line["event"] == "request.answered" and line["path"] == href
    ]


def broken_off(server: Server, href: str) -> tuple[bytes, bool]:
    """Follow the bytes; return what came, and whether it was broken off."""
    data = bytearray()
    with closing(get(server, f"{href}?follow=1", stream=True)) as answer:
        try:
            for piece in answer.iter_content(65536):
                if len(data) < 10**6:
                    data += piece
        except requests.exceptions.ChunkedEncodingError:
            return bytes(data), True
    return bytes(data), False


def until_gone(server: Server, href: str) -> int:
    """Follow events to the end of the connection; return how many came."""
    return sum(1 for _ in events_of(server, href, EVENTS, 10**12))


@pytest.mark.parametrize("kind", ["gevent", "run.py"])
def test_other_servers_pass_on_what_comes_after_a_silence_too(
    tmp_path: Path, kind: str
) -> None:
    arguments = ("-k", "gevent", "-w", "1") if kind == "gevent" else ()
    command = RUN if kind == "run.py" else GUNICORN
    # Longer than is waited between looks whether the followers are still there.
    script = "echo one; sleep 2.5; echo two; echo three >&2; sleep 300"
    with watched(tmp_path, *arguments, command=command, THREADS="10") as server:
        href = start(server, cmd=script)
        assert get(server, f"{href}?wait_seconds=20").json()["text"] == "one\n"
        with ThreadPoolExecutor(5) as pool:
            raw = [pool.submit(follow_raw, server, href) for _ in range(2)]
            text = [pool.submit(follow_events, server, href) for _ in range(2)]
            part = pool.submit(get, server, f"{href}?offset=4&wait_seconds=60")
            assert part.result(20).json()["text"].startswith("two\n")
            assert get(server, "/api/health").ok
            assert delete(server, href.removesuffix("/output")).status_code == 204
            assert {got.result(20) for got in raw} == {b"one\ntwo\nthree\n"}
            assert {got.result(20)[0] for got in text} == {"one\ntwo\nthree\n"}
        silent = start(server, cmd="sleep 300")
        path = f"{silent}?follow=1"
        leavers = [get(server, path, stream=True) for _ in range(5)]
        assert free_places(server, silent) == 0
        for leaver in leavers:
            leaver.close()
        wait_until(lambda: free_places(server, silent) == 2)
        assert errors_of(server) == []


def test_a_user_who_is_removed_is_cut_off_in_every_worker(tmp_path: Path) -> None:
    with production(tmp_path, "-w", "2", EXEC_ALLOW_SHELL="1") as server:
        ann, root = add_user(server, "ann"), add_user(server, "root", admin=True)
        made = server.post(
            "/v3/exec/", json={"cmd": "echo abc; sleep 300"}, auth=ann
        ).json()
        path = f"/v3/task/{made['task_id']}/output?follow=1"
        with ExitStack() as opened:
            watches = [
                opened.enter_context(
                    closing(get(server, path, auth=who, headers=headers, stream=True))
                )
                for who in (ann, root)
                for headers in (EVENTS, TEXT, EVENTS)
            ]
            pool = opened.enter_context(ThreadPoolExecutor(6))
            read = [pool.submit(is_broken, watch) for watch in watches]
            for name in ("ann", "root"):
                assert delete(server, f"/v3/users/{name}").status_code == 204
            assert [got.result(timeout=20) for got in read] == [True] * 6
        assert errors_of(server) == []
        assert delete(server, f"/v3/task/{made['task_id']}").status_code == 204


def is_broken(answer: requests.Response) -> bool:
    try:
        data = b"".join(answer.iter_content(65536))
    except requests.exceptions.ChunkedEncodingError:
        return True
    raise AssertionError(f"it came to an end: {data!r}")


def test_a_client_of_http_1_0_gets_all_until_the_connection_closes(
    server: Server, tmp_path: Path
) -> None:
    href = hold(server, tmp_path / "gate", "echo one", "echo two")
    (tmp_path / "gate").touch()
    port = int(server.url.rpartition(":")[2])
    credentials = requests.auth._basic_auth_str(*ADMIN)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        head = f"GET {href}?follow=1 HTTP/1.0\r\nAuthorization: {credentials}\r\n\r\n"
        connection.sendall(head.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.split(b"\r\n\r\n", 1)[1] == b"one\ntwo\n"
