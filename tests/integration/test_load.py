"""Much at once and much in a row: nothing fails, nothing grows, nothing stays."""

import itertools
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask

from app.storage.tables import tasks
from app.tasks.record import TaskRecord
from app.tasks.states import State
from app.tasks.worker import Worker
from tests.servers import Server, children_of, running, wait_until
from tests.trees import ADMIN, PASSWORD, kill_server

pytestmark = pytest.mark.timeout(600)  # of the long doses

MEBIBYTE = 2**20
CLIENTS = 5

# A worker whose descriptors its own user may count: a server hides them.
SHOWN = """
import ctypes
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
from server import app
"""


@contextmanager
def served(tmp_path: Path, *arguments: str, **settings: str) -> Iterator[Server]:
    """Start a server whose workers can be looked into; kill it in the end."""
    (tmp_path / "shown.py").write_text(SHOWN)
    command = ("-m", "gunicorn", "--pythonpath", str(tmp_path), "shown:app")
    known = {"ADMIN_PASSWORD": PASSWORD, "LOG_LEVEL": "WARNING"}
    with running(tmp_path, *arguments, command=command, **(known | settings)) as server:
        try:
            yield server
        finally:
            kill_server(server)


class Load:
    """Requests at a steady rate, of several kinds, from several clients."""

    def __init__(self, server: Server, *, per_second: float) -> None:
        self._server = server
        self._pause = CLIENTS / per_second
        self._over = threading.Event()
        self._numbers = itertools.count()
        self.answers: Counter[str] = Counter()

    def __enter__(self) -> "Load":
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._clients: list[Future[None]] = [
            self._pool.submit(self._ask_on) for _ in range(CLIENTS)
        ]
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        self._pool.shutdown()

    def check(self, *, kinds: int = 4) -> None:
        """Check that every request so far was answered as it is on a quiet day."""
        for client in self._clients:
            if client.done():
                client.result()  # which raises what has ended it
        assert len(self.answers) == kinds, self.answers

    def _ask_on(self) -> None:
        due = time.monotonic()
        while not self._over.wait(max(0.0, due - time.monotonic())):
            due += self._pause
            self._ask(next(self._numbers))

    def _ask(self, number: int) -> None:
        """Send one request on a connection of its own; fail where it does."""
        if number % 10 == 0:
            answer = self._server.exec(f"caller-{number}", "true")
        elif number % 10 == 5:
            body = {"cmd": "echo done", "wait_seconds": 5}
            answer = self._server.post("/v3/exec/", json=body, auth=ADMIN)
        elif number % 2:
            answer = self._server.get("/v3/task/?limit=5", auth=ADMIN)
        else:
            answer = self._server.get("/api/health")
        assert answer.ok, f"{answer.status_code}: {answer.text}"
        kind = f"{answer.request.method} {answer.status_code} {answer.url[-11:]}"
        self.answers["exec" if "caller" in kind else kind] += 1


def test_a_server_that_is_told_to_load_anew_fails_no_request(
    tmp_path: Path, soak: bool
) -> None:
    settings = {"EXEC_MAX_RUNNING": "64", "EXEC_MAX_QUEUED": "256"}
    with served(tmp_path, "-w", "2", **settings) as server:
        assert server.get("/v3/task/", auth=ADMIN).ok
        with Load(server, per_second=100) as load:
            for _ in range(12 if soak else 2):
                before = set(server.workers()[1:])
                server.process.send_signal(signal.SIGHUP)
                seen, begun = sum(load.answers.values()), time.monotonic()
                wait_until(lambda: not before & set(server.workers()[1:]), seconds=60)  # noqa: B023
                pause = 5 if soak else 2
                wait_until(lambda: time.monotonic() - begun > pause)  # noqa: B023
                wait_until(lambda: sum(load.answers.values()) > seen + 50)  # noqa: B023
                load.check()
        load.check()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with served(folder, "-w", "2", TASK_RETENTION_COUNT="10") as started:
        run_many(started, 40)  # what is opened and imported at first use is
        run(started, "head -c 5M /dev/zero")
        yield started


class TestNothingGrows:
    def test_by_short_runs(self, server: Server, soak: bool) -> None:
        settle(server)
        before, memory_before = held(server), memory_bytes(server)
        run_many(server, 3000 if soak else 200)
        # A worker's pools open a connection, of three files, or a thread, more now and
        # then; of each run it would be a hundred.
        wait_until(lambda: all(held(server)[n] <= before[n] + 48 for n in before))
        assert memory_bytes(server) - memory_before < 16 * MEBIBYTE
        assert zombies(server) == []
        output = server.log_path.parent / "instance" / "output"
        wait_until(lambda: len(list(output.iterdir())) <= 10)
        queue = server.log_path.parent / "instance" / "queue"
        assert not queue.exists() or list(queue.iterdir()) == []

    def test_by_output_without_a_newline(self, server: Server, soak: bool) -> None:
        settle(server)
        before = memory_bytes(server)
        size = 2**30 if soak else 50 * MEBIBYTE
        for _ in range(10 if soak else 1):
            with ThreadPoolExecutor(2) as pool:
                cmd = f"head -c {size} /dev/zero | tr '\\0' x"
                runs = [pool.submit(run, server, cmd) for _ in range(2)]

                def over(runs: list[Future[dict]] = runs) -> bool:
                    assert memory_bytes(server) - before < 32 * MEBIBYTE
                    return all(each.done() for each in runs)

                wait_until(over, seconds=60)
                for each in runs:
                    assert each.result()["output"]["end_offset"] == size
        assert memory_bytes(server) - before < 32 * MEBIBYTE


def test_old_tasks_expire_while_requests_are_answered(
    tmp_path: Path, make_app: Callable[..., Flask], soak: bool
) -> None:
    count = 50_000 if soak else 4_000
    services = make_app().extensions["bellhop"]
    add_old_tasks(services.database, tmp_path / "instance" / "output", count)
    with served(tmp_path, "-w", "2") as server:
        with Load(server, per_second=50) as load:
            query = sa.select(sa.func.count()).where(tasks.c.request_id == "old")

            def left() -> int:
                with services.database.read() as connection:
                    return int(connection.scalar(query))

            wait_until(lambda: left() == 0, seconds=100)
            wait_until(lambda: len(load.answers) == 4)
            load.check()
        assert list((tmp_path / "instance" / "output").glob("old-*")) == []
        failed = {"request.failed", "sweep.failed", "sweep.postponed"}
        assert not [line for line in server.log_lines() if line["event"] in failed]


def add_old_tasks(database: object, output: Path, count: int) -> None:
    """Add tasks that ended eight days ago, each with its output."""
    ended = time.time() - 8 * 86400
    record = TaskRecord(
        task_id="",
        kind="exec",
        state=State.SUCCESS,
        owner="bob",
        host="pelican",
        worker=str(Worker.current()),
        request_id="old",
        created=ended,
        started=ended,
        finished=ended,
    )
    rows = [asdict(record) | {"task_id": f"old-{number}"} for number in range(count)]
    with database.write() as connection:  # type: ignore[attr-defined]
        connection.execute(sa.insert(tasks), rows)
    for row in rows:
        (output / row["task_id"]).touch()


def run(server: Server, cmd: str) -> dict:
    """Run a command to its end; return its task."""
    body = {"cmd": cmd, "wait_seconds": 60}
    answer = server.post("/v3/exec/", json=body, auth=ADMIN)
    assert answer.status_code == 201, answer.text
    found = answer.json()
    assert found["state"] == "SUCCESS", found
    return found


def run_many(server: Server, count: int) -> None:
    """Run many short commands, a few at a time."""
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda n: run(server, f"echo {n}"), range(count)):
            assert found["returncode"] == 0


def settle(server: Server) -> None:
    """Wait until requests alone make the workers no larger."""

    def settled() -> bool:
        before = memory_bytes(server)
        for _ in range(20):
            assert server.get("/v3/task/?limit=1", auth=ADMIN).ok
        return memory_bytes(server) - before < MEBIBYTE

    wait_until(settled, seconds=30)


def entries(folder: Path) -> int:
    """Return how many there are; of descriptors, workers tell root alone."""
    try:
        return len(list(folder.iterdir()))
    except PermissionError:
        return 0


def held(server: Server) -> dict[str, int]:
    """Return how many descriptors, threads and children the workers have."""
    workers = server.workers()[1:]
    counted = {"descriptors": "fd", "threads": "task"}
    return {
        name: sum(entries(Path(f"/proc/{pid}/{folder}")) for pid in workers)
        for name, folder in counted.items()
    } | {"children": sum(len(children_of(pid)) for pid in workers)}


def memory_bytes(server: Server) -> int:
    pages = sum(
        int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        for pid in server.workers()[1:]
    )
    return pages * os.sysconf("SC_PAGE_SIZE")


def zombies(server: Server) -> list[int]:
    """Return the children of workers that nobody has reaped."""
    children = itertools.chain(*map(children_of, server.workers()[1:]))
    return [
        pid
        for pid in children
        if ") Z " in Path(f"/proc/{pid}/stat").read_text(errors="replace")
    ]
