"""Outputs on their way from a worker through Redis to who follows them elsewhere."""

import json
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.commands import python_argv
from tests.servers import Server, running, wait_until
from tests.valkey import Valkey, running_valkey
from tests.worker_process import running_worker

pytestmark = pytest.mark.timeout(600)  # of the long dose

PASSWORD = "the admin's password"
ADMIN = ("admin", PASSWORD)
EVENTS = {"Accept": "text/event-stream"}
HEAD_BYTES, TAIL_BYTES = 2000, 4_000_000

# Writes lines that tell where they stand, in pieces of any size, characters torn; then
# waits at the gate, if there is one, and writes as many again.
_LINES = """
import os, random, sys, time
count, gate, chosen = int(sys.argv[1]), sys.argv[2], random.Random(sys.argv[3])
lines = ["%011d \\u4e2d\\u6587\\r\\n" % n for n in range(2 * count)]
def write(lines):
    data = "".join(lines).encode()
    while data:
        size = chosen.choice([1, 3, 700, 4096, 65536])
        data = data[os.write(1, data[:size]):]
        if chosen.random() < 0.1:
            time.sleep(0.001)
write(lines[:count])
if gate:
    while not os.path.exists(gate):
        time.sleep(0.02)
    write(lines[count:])
"""
LINE_BYTES = 20


class Engines:
    """A web tier of two workers, a Celery worker, and what they have in common."""

    def __init__(self, web: Server, redis: Valkey, folder: Path) -> None:
        self.web, self.redis, self.folder = web, redis, folder

    def start(self, **wish: Any) -> str:
        """Start a command; return the path of its task."""
        made = self.web.post("/v3/exec/", json=wish, auth=ADMIN)
        assert made.status_code == 201, made.text
        return f"/v3/task/{made.json()['task_id']}"

    def write(self, count: int, gate: Path | str = "", seed: int = 0) -> str:
        """Start a command that writes lines; return the path of its task."""
        return self.start(argv=python_argv(_LINES, str(count), str(gate), str(seed)))

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.web.get(path, auth=ADMIN, **options)

    def task(self, href: str) -> dict[str, Any]:
        answer = self.get(href)
        assert answer.status_code == 200, answer.text
        task: dict[str, Any] = answer.json()
        return task

    def ended(self, href: str) -> dict[str, Any]:
        """Return a task once it has ended."""
        wait_until(lambda: "finished" in self.task(href), seconds=60)
        return self.task(href)

    def is_ready(self) -> bool:
        checks: dict[str, str] = self.web.get("/api/health/ready").json()["checks"]
        return checks["output"] == "ok"

    def keys(self, href: str) -> list[bytes]:
        """Return what Redis has of a task."""
        with self.redis.client() as client:
            found: list[bytes] = client.keys(f"*{href.rpartition('/')[2]}*")
            return found


@contextmanager
def engines(folder: Path, *redis: str, **env: str) -> Iterator[Engines]:
    """Start a web tier and a worker; the broker is another server than the outputs'."""
    (folder / "broker").mkdir()
    with (
        running_valkey(folder / "broker") as broker,
        running_valkey(folder, *redis) as outputs,
    ):
        settings = {
            "ADMIN_PASSWORD": PASSWORD,
            "TASK_BACKEND": "celery",
            "CELERY_BROKER_URL": broker.url,
            "REDIS_URL": outputs.url,
            "EXEC_OUTPUT_HEAD_BYTES": str(HEAD_BYTES),
            "EXEC_OUTPUT_TAIL_BYTES": str(TAIL_BYTES),
            "THREADS": "32",
            **env,
        }
        with running(folder, **settings) as web, running_worker(folder, **settings):
            yield Engines(web, outputs, folder)


def lines_at(offset: int, count: int) -> bytes:
    """Return what such a command has written at an offset."""
    first = offset // LINE_BYTES
    lines = range(first, (offset + count) // LINE_BYTES + 1)
    text = "".join(f"{n:011} 中文\r\n" for n in lines).encode()
    return text[offset - first * LINE_BYTES :][:count]


class Follower:
    """Follows the events of an output, anew where it is cut off or turned away."""

    def __init__(self, web: Server, href: str, cut: Callable[[], int]) -> None:
        self._web, self._href, self._cut = web, f"{href}/output", cut
        self.offset = 0
        self.dropped = 0
        self.given = 0
        self.connections = 0

    def to_the_end(self) -> "Follower":
        """Follow it to its end; all that is given is checked to be what was written."""
        while not self._is_over():
            time.sleep(0.01)
        assert self.offset == self.given + self.dropped
        return self

    def _is_over(self) -> bool:
        self.connections += 1
        last = {"Last-Event-ID": str(self.offset)} if self.offset else {}
        options = {"auth": ADMIN, "headers": EVENTS | last, "stream": True}
        try:
            with closing(self._web.get(self._href, **options)) as answer:
                assert answer.status_code in (200, 503), answer.text
                return answer.ok and self._take(answer)
        except requests.RequestException:
            return False

    def _take(self, answer: requests.Response) -> bool:
        left, rest = self._cut(), b""
        for piece in answer.iter_content(None):
            rest += piece[:left]
            left -= len(piece)
            *whole, rest = rest.split(b"\n\n")
            for block in whole:
                if block.startswith(b"event: end"):
                    return True
                if block.startswith(b"event: output"):
                    self._add(block)
            if left <= 0:
                break
        return False

    def _add(self, block: bytes) -> None:
        fields = dict(line.split(": ", 1) for line in block.decode().split("\n"))
        part, at = json.loads(fields["data"]), int(fields["id"])
        data, dropped = part["text"].encode(), part.get("dropped_bytes", 0)
        assert at == self.offset + dropped + len(data)
        assert data == lines_at(at - len(data), len(data))
        self.offset, self.given = at, self.given + len(data)
        self.dropped += dropped


def follow(web: Server, href: str, cut: Callable[[], int] = lambda: 10**12) -> Follower:
    return Follower(web, href, cut).to_the_end()


def read_all(given: Engines, href: str) -> tuple[int, int]:
    """Read what is kept, part after part; return how much is, and how much is not."""
    offset = kept = dropped = 0
    while True:
        part = given.get(f"{href}/output?offset={offset}&limit=60000").json()
        data = part["text"].encode()
        assert part["next_offset"] == offset + part["dropped_bytes"] + len(data)
        assert data == lines_at(part["next_offset"] - len(data), len(data))
        kept, dropped = kept + len(data), dropped + part["dropped_bytes"]
        offset = part["next_offset"]
        if part["eof"]:
            assert offset == kept + dropped
            return kept, dropped


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    """Give one for all tests that leave it as it is."""
    with engines(tmp_path_factory.mktemp("streams")) as given:
        yield given


def test_all_who_follow_get_all_of_it_however_often_they_are_cut_off(
    shared: Engines, soak: bool
) -> None:
    count = 400_000 if soak else 30_000
    for seed in random.sample(range(10**9), 20 if soak else 2):
        chosen = random.Random(seed)
        href = shared.write(count, seed=seed)
        often = partial(chosen.choice, [50, 3000, 70_000, 10**6])
        cuts = [lambda: 10**12, often]
        with ThreadPoolExecutor(4) as pool:
            found = [pool.submit(follow, shared.web, href, cut) for cut in cuts * 2]
            followed = [each.result() for each in found]
        # A flood may be faster than who comes again and again: then that is counted.
        size = count * LINE_BYTES
        assert {each.offset for each in followed} == {size}, f"seed {seed}"
        if size <= HEAD_BYTES + TAIL_BYTES:
            assert {each.dropped for each in followed} == {0}
        assert max(each.connections for each in followed) > 1
        task = shared.ended(href)
        assert task["state"] == "SUCCESS"
        assert read_all(shared, href) == (
            size - task["output"]["dropped_bytes"],
            task["output"]["dropped_bytes"],
        )


def test_a_short_output_is_in_the_record_alone(shared: Engines) -> None:
    href = shared.start(cmd="echo short", wait_seconds=20)
    assert shared.ended(href)["result"]["output"] == "short\n"
    wait_until(lambda: shared.keys(href) == [])
    assert shared.get(f"{href}/output").json()["text"] == "short\n"


def test_both_streams_are_followed_apart(shared: Engines) -> None:
    script = "for i in $(seq 900); do echo out $i; echo err $i >&2; done"
    href = shared.start(cmd=script, stderr="separate")
    query = f"{href}/output?follow=1&stream="
    with ThreadPoolExecutor(2) as pool:
        out, err = pool.map(
            lambda name: shared.get(query + name).text, ("stdout", "stderr")
        )
    assert out == "".join(f"out {n}\n" for n in range(1, 901))
    assert err == "".join(f"err {n}\n" for n in range(1, 901))


def test_what_redis_has_of_a_task_goes_with_its_record(tmp_path: Path) -> None:
    with engines(tmp_path, TASK_RETENTION_SECONDS="2") as given:
        href = given.write(1000)
        given.ended(href)
        assert len(given.keys(href)) == 3
        wait_until(lambda: given.get(href).status_code == 404, seconds=20)
        assert given.keys(href) == []


@pytest.mark.parametrize("lasting", [True, False])
def test_a_server_that_is_killed_and_started_again_ends_nothing(
    tmp_path: Path, *, lasting: bool
) -> None:
    options = ("--appendonly", "yes", "--appendfsync", "always") if lasting else ()
    count = 10_000
    with engines(tmp_path, *options) as given, ThreadPoolExecutor(2) as pool:
        gate = tmp_path / "gate"
        href = given.write(count, gate)
        follower = Follower(given.web, href, lambda: 10**12)
        followed = pool.submit(follower.to_the_end)
        wait_until(lambda: follower.offset == count * LINE_BYTES, seconds=30)
        given.redis.kill()
        answer = given.get(f"{href}/output")
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert not given.is_ready()
        given.redis.start()
        wait_until(given.is_ready, seconds=6)
        gate.touch()
        followed.result()
        size = 2 * count * LINE_BYTES
        assert (follower.offset, follower.dropped) == (size, 0)
        assert follower.connections == 1
        task = given.ended(href)
        assert task["state"] == "SUCCESS"
        lost = 0 if lasting else count * LINE_BYTES
        assert task["output"] == {"end_offset": size, "dropped_bytes": lost}
        assert read_all(given, href) == (size - lost, lost)


def test_a_run_that_begins_without_redis_is_run_all_the_same(tmp_path: Path) -> None:
    count = 10_000
    with engines(tmp_path) as given:
        given.redis.kill()
        gate, done = tmp_path / "gate", tmp_path / "done"
        href = given.write(count, gate)
        touches = given.start(cmd=f"touch {done}")
        wait_until(done.exists, seconds=30)
        assert given.ended(touches)["state"] == "SUCCESS"
        given.redis.start()
        wait_until(given.is_ready, seconds=6)
        gate.touch()
        followed = follow(given.web, href)
        size = 2 * count * LINE_BYTES
        assert (followed.offset, followed.dropped) == (size, 0)
        assert given.ended(href)["output"] == {"end_offset": size, "dropped_bytes": 0}
