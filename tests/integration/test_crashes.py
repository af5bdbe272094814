"""Workers that are killed at the worst moments: what is told is true, all is ended."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask

from app.processes.table import find_process
from app.storage.task_store import Admission, Room, TaskStore
from app.tasks import sweeper as sweeper_module
from app.tasks.record import TaskRecord
from app.tasks.states import State
from app.tasks.worker import Worker
from tests.servers import Server, running, wait_until
from tests.trees import (
    ADMIN,
    PASSWORD,
    alive_in,
    end_of,
    kill_all,
    kill_server,
    task_of,
)

pytestmark = pytest.mark.timeout(600)  # of the long doses

# A worker that kills itself at the point that a file names, once.
CRASHING = """
import os, signal, threading
from pathlib import Path

from app.processes.child import Child
from app.storage.engine import Database
from app.storage.task_store import TaskStore
from app.tasks.output import OutputFolder
from app.tasks.output_log import OutputLog
from application import create_app

here = threading.local()
armed = Path(os.environ["INSTANCE_PATH"]).with_name("crash")

def reach(point):
    try:
        if armed.read_text() != point:
            return
        armed.unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)

def around(owner, name, *, before=None, after=None, of_interest=lambda *a, **k: True):
    real = getattr(owner, name)

    def method(self, *args, **options):
        if not of_interest(*args, **options):
            return real(self, *args, **options)
        if before:
            reach(before)
        here.inside = name
        try:
            result = real(self, *args, **options)
        finally:
            here.inside = None
        if after:
            reach(after)
        return result

    setattr(owner, name, method)

def is_task(task_id, *args, **options):
    return not task_id.startswith(".")  # as a check's is

def is_own(task_id, *, state, **values):
    return state != "LOST"  # which is another's end

def is_end(*args, **options):
    return getattr(here, "inside", None) == "finish"

around(OutputFolder, "create", after="after the output is made", of_interest=is_task)
around(TaskStore, "add", before="before the record", after="after the record")
around(Child, "start", after="after the spawn")
around(OutputLog, "append", after="while it runs")
around(
    TaskStore, "finish", before="after the exit", after="after the end is written",
    of_interest=is_own,
)
around(
    Database, "write_once", before="while the end is written", of_interest=is_end
)
app = create_app()
"""

# Where there was no record yet, or the end was written, all is as without a crash.
UNTOUCHED = (
    "after the output is made",
    "before the record",
    "after the end is written",
)
LOST = (
    "after the record",
    "after the spawn",
    "while it runs",
    "after the exit",
    "while the end is written",
)

WORKERS = 3

LEAVES = "setsid /bin/sh -c 'trap \"\" TERM; while :; do sleep 0.1; done' >&- 2>&- &"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "crashing.py").write_text(CRASHING)
    command = ("-m", "gunicorn", "--pythonpath", str(tmp_path), "crashing:app")
    settings = {
        "ADMIN_PASSWORD": PASSWORD,
        "EXEC_MAX_RUNNING": str(len(LOST + UNTOUCHED)),
        "EXEC_MAX_QUEUED": "0",
        "LOG_LEVEL": "WARNING",
    }
    with running(tmp_path, "-w", str(WORKERS), command=command, **settings) as started:
        try:
            yield started
        finally:
            kill_server(started)


class Crash:
    """A command whose worker is killed at a point."""

    def __init__(self, server: Server, folder: Path, point: str) -> None:
        self.server = server
        self.point = point
        self.caller = point.replace(" ", "-")
        self.folder = folder
        self._key = os.urandom(8).hex()
        folder.mkdir()

    def happen(self) -> None:
        """Start the command; return when its worker is dead."""
        # The one that was killed before has been replaced: it may be the next.
        wait_until(lambda: len(self.server.workers()) == 1 + WORKERS)
        workers = self.server.workers()
        armed = self.server.log_path.parent / "crash"
        armed.with_suffix(".new").write_text(self.point)
        armed.with_suffix(".new").rename(armed)
        with suppress(requests.RequestException):
            assert self._ask().status_code == 202
        wait_until(lambda: not armed.exists())
        wait_until(lambda: not set(workers) <= set(self.server.workers()))

    def check(self) -> None:
        """Check what is told of it, within ten seconds."""
        asked = wait_until(self._asked_again)
        assert asked.status_code == 202, asked.text
        href = f"/v3/task/{asked.json()['task_id']}"
        found = end_of(self.server, href, seconds=10)
        ran = len((self.folder / "ran").read_text()) if self._has_run() else 0
        if self.point in UNTOUCHED:
            assert (found["state"], found["reason"]) == ("FAILURE", "exit"), self.point
            assert (found["returncode"], ran) == (7, 1), self.point
        else:
            assert (found["state"], found["reason"]) == ("LOST", "worker_lost")
            assert "returncode" not in found, self.point
            assert ran == (self.point != "after the record"), self.point
            assert alive_in(self.folder) == set(), self.point
        assert task_of(self.server, href) == found, "an end is for good"

    def _ask(self) -> requests.Response:
        goes_on = self.point in ("after the spawn", "while it runs")
        hold = "sleep 300" if goes_on else "sleep 0.2"
        work = f"printf 1 >> ran; {LEAVES} echo said; {hold}; exit 7"
        return self.server.post(
            f"/api/exec/{self.caller}",
            json={"cmd": f"cd {self.folder}; {work}"},
            headers={"Idempotency-Key": self._key},
        )

    def _asked_again(self) -> requests.Response | None:
        with suppress(requests.RequestException):
            answer = self._ask()
            return answer if answer.status_code != 409 else None
        return None

    def _has_run(self) -> bool:
        return (self.folder / "ran").exists()


def test_whenever_a_worker_is_killed_each_command_has_one_true_end(
    server: Server, tmp_path: Path, soak: bool
) -> None:
    for round_number in range(5 if soak else 1):
        folder = tmp_path / str(round_number)
        folder.mkdir()
        crashes = [
            Crash(server, folder / str(number), point)
            for number, point in enumerate(LOST + UNTOUCHED)
        ]
        try:
            for crash in crashes:
                crash.happen()
            for crash in crashes:
                crash.check()
            check_all_is_free(server, crashes)
        finally:
            for crash in crashes:
                kill_all(crash.folder)


def check_all_is_free(server: Server, crashes: list[Crash]) -> None:
    """Check that the slot of each caller, and the room of each command, is free."""
    gate = crashes[0].folder / "gate"
    hold = f"while [ ! -e {gate} ]; do sleep 0.05; done"
    answers = [server.exec(crash.caller, hold) for crash in crashes]
    assert [answer.status_code for answer in answers] == [202] * len(crashes)
    gate.touch()
    for answer in answers:
        found = end_of(server, f"/v3/task/{answer.json()['task_id']}")
        assert found["state"] == "SUCCESS"


def test_a_request_that_died_with_its_worker_is_answered_once(
    server: Server, tmp_path: Path
) -> None:
    crash = Crash(server, tmp_path / "commands", "after the spawn")
    crash.happen()
    answers = [wait_until(crash._asked_again) for _ in range(6)]
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["task_id"] for answer in answers}) == 1
    assert all(answer.headers["Idempotent-Replayed"] == "true" for answer in answers)
    crash.check()
    listed = server.get("/v3/task/", auth=ADMIN).json()["tasks"]
    assert len(listed) == 1


class TestStrangers:
    """A pid, or a number of a group, that somebody else has been given."""

    @pytest.fixture
    def stranger(self) -> Iterator[subprocess.Popen[bytes]]:
        with subprocess.Popen(["sleep", "300"], start_new_session=True) as process:
            yield process
            process.kill()

    @pytest.fixture
    def services(self, make_app: Callable[..., Flask]) -> Any:
        return make_app().extensions["bellhop"]

    def test_one_with_a_dead_worker_s_pid_is_neither_it_nor_touched(
        self, services: Any, stranger: subprocess.Popen[bytes]
    ) -> None:
        now = find_process(stranger.pid)
        assert now is not None
        boot = Worker.current().boot
        dead = [
            Worker(boot, stranger.pid, now.start_ticks - 1),
            Worker("another boot", stranger.pid, now.start_ticks),
        ]
        alive = Worker(boot, stranger.pid, now.start_ticks)
        lost = [add(services, worker) for worker in dead]
        kept = add(services, alive)
        services.sweeper.sweep()
        assert [state_of(services, task_id) for task_id in lost] == [State.LOST] * 2
        assert state_of(services, kept) is State.STARTED
        assert stranger.poll() is None

    def test_one_that_has_taken_the_number_of_a_lost_task_s_group_is_not_touched(
        self, services: Any, stranger: subprocess.Popen[bytes]
    ) -> None:
        # What a lost task has started is known by its mark alone.
        task_id = add(services, Worker("another boot", 1, 1))
        mark = {"BELLHOP_TASK_ID": task_id}
        with subprocess.Popen(
            ["sleep", "300"], env=os.environ | mark, start_new_session=True
        ) as left:
            services.sweeper.sweep()
            assert left.wait(10) == -signal.SIGTERM
        assert stranger.poll() is None


def test_an_output_that_a_crash_left_is_removed_by_workers_that_live_on(
    make_app: Callable[..., Flask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper_module, "STRAY_LOOK_SECONDS", 0)
    sweeper = make_app().extensions["bellhop"].sweeper
    sweeper.sweep()
    output = tmp_path / "instance" / "output" / "of-nobody"
    output.touch()
    long_ago = time.time() - 2 * sweeper_module.STRAY_SECONDS
    sweeper.sweep()
    assert output.exists(), "it may be that of a task which is being admitted"
    os.utime(output, (long_ago, long_ago))
    sweeper.sweep()
    assert not output.exists()


def add(services: Any, worker: Worker) -> str:
    """Add a task that runs, in that worker; return its id."""
    task_id = os.urandom(18).hex()
    record = TaskRecord(
        task_id=task_id,
        kind="exec",
        state=State.STARTED,
        owner=None,
        host="pelican",
        worker=str(worker),
        request_id=None,
        created=time.time(),
    )
    record = replace(record, started=record.created)
    TaskStore(services.database).add(asdict(record), Admission(Room(100)))
    return task_id


def state_of(services: Any, task_id: str) -> State:
    row = TaskStore(services.database).find(task_id)
    assert row is not None
    return TaskRecord.from_row(row).state
