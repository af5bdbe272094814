"""A host is drained from its terminal: beside its server, without one, and for long."""

import os
import re
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from app.storage.engine import Database
from app.storage.task_store import Admission, Room, TaskStore
from app.tasks.record import TaskRecord
from app.tasks.states import State
from app.tasks.worker import Worker
from tests import terminal
from tests.callers import ADMIN, each_worker, production
from tests.servers import PROJECT, Server, running, wait_until

PROBLEM = "urn:bellhop:problem:draining"
BEGUN = "This host takes no new runs."
EMPTY = "Nothing runs that would be ended with the service."
AGAIN = ["This host takes new runs again."]
STARTED = "host.draining"
UNFINISHED = "SELECT state FROM tasks WHERE finished IS NULL"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the server that several tests drain in turn."""
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with running(folder, "-w", "2", EXEC_GRACE_SECONDS="1") as started:
        yield started


def flask(folder: Path, *arguments: str, env: str = "testing") -> tuple[int, list[str]]:
    """Do a command; return its exit code and what it has printed."""
    ran = terminal.do(terminal.environment(folder, env), *arguments)
    return ran.returncode, ran.stdout.splitlines()


class Draining:
    """A `drain` that goes on, and what it has printed."""

    def __init__(self, process: subprocess.Popen[str], output: Path) -> None:
        self.process = process
        self.output = output

    def lines(self) -> list[str]:
        return self.output.read_text().splitlines()

    def end(self) -> int:
        return self.process.wait(terminal.SECONDS)


@contextmanager
def draining(folder: Path, output: Path, env: str = "testing") -> Iterator[Draining]:
    with (
        output.open("wb") as file,
        subprocess.Popen(
            terminal.command("drain"),
            cwd=PROJECT,
            env=terminal.environment(folder, env),
            stdout=file,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process,
    ):
        try:
            yield Draining(process, output)
        finally:
            process.kill()


def hold(server: Server, gate: Path, caller: str = "bob") -> str:
    """Start a command that ends once there is a gate; return its task."""
    cmd = f"while [ ! -e {gate} ]; do sleep 0.02; done; echo through"
    return str(server.exec(caller, cmd).json()["task_id"])


def status_of(server: Server) -> int:
    return server.exec("ann", "true").status_code


def test_it_waits_for_what_runs_and_no_worker_takes_more(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    options = ("-w", "2", "--keep-alive", "120")
    with production(tmp_path, *options) as server, each_worker(server) as sessions:
        url = f"{server.url}/v3/exec/"
        wish = {"command": "hold", "params": {"gate": str(gate)}}
        task_id = server.post("/v3/exec/", json=wish, auth=ADMIN).json()["task_id"]
        wanted = {"command": "append", "params": {"file": str(tmp_path / "more")}}
        with draining(tmp_path, tmp_path / "out", "production") as drain:
            wait_until(lambda: len(drain.lines()) == 2, seconds=30)
            for session in sessions:
                answer = session.post(url, json=wanted, auth=ADMIN, timeout=60)
                assert answer.status_code == 503
                assert answer.json()["type"] == PROBLEM
                assert answer.headers["Retry-After"] == "30"
                ready = session.get(f"{server.url}/api/health/ready", timeout=60)
                assert ready.json()["checks"]["runs"] == "draining"
                alive = session.get(f"{server.url}/api/health", timeout=60)
                assert alive.status_code == 200
            assert drain.process.poll() is None
            gate.touch()
            assert drain.end() == 0
        first, shown, *ended = drain.lines()
        assert first == BEGUN
        assert re.fullmatch(rf"{task_id} STARTED hold admin since \S+Z", shown)
        assert ended == [f"{task_id} SUCCESS", EMPTY]
        assert flask(tmp_path, "undrain", env="production") == (0, AGAIN)
        for session in sessions:
            answer = session.post(url, json=wanted, auth=ADMIN, timeout=60)
            assert answer.status_code == 201
        audit = server.get("/v3/audit/", auth=ADMIN).json()["audit"]
        actions = [row["action"] for row in audit if row["via"] == "terminal"]
        assert actions == ["undrain", "drain"]


def test_at_the_deadline_it_says_what_is_left_and_the_mark_stays(
    server: Server, folder: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    task_id = hold(server, gate)
    for seconds in ("0", "0.3"):
        code, lines = flask(folder, "drain", "--seconds", seconds)
        assert code == 1
        assert lines[0] == BEGUN
        assert lines[1].startswith(f"{task_id} STARTED while [ ! -e /")
        assert lines[2:] == [f"1 still run or wait: {task_id}"]
    assert status_of(server) == 503
    gate.touch()
    assert server.poll_until_finished("bob")[-1]["returncode"] == 0
    assert flask(folder, "drain", "--seconds", "0") == (0, [BEGUN, EMPTY])
    assert flask(folder, "undrain") == (0, AGAIN)
    assert status_of(server) == 202
    assert flask(folder, "undrain") == (0, ["This host was not being drained."])


def test_an_interrupt_leaves_the_mark_and_says_so(
    server: Server, folder: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    hold(server, gate)
    with draining(folder, tmp_path / "out") as drain:
        wait_until(lambda: len(drain.lines()) == 2, seconds=30)
        drain.process.send_signal(signal.SIGINT)
        assert drain.end() == 130
    assert drain.lines()[-1].startswith("Interrupted.")
    assert status_of(server) == 503
    gate.touch()
    server.poll_until_finished("bob")
    (folder / "instance" / "draining").unlink()


def test_starts_that_race_the_drain_are_refused_or_waited_for(
    server: Server, folder: Path, tmp_path: Path
) -> None:
    def start_until_refused(who: str) -> int:
        for number in range(10_000):
            answer = server.exec(f"{who}-{number}", "sleep 0.1")
            if answer.status_code == 503:
                return number
            assert answer.status_code in (202, 429), answer.text
        raise AssertionError("it was never refused")

    with (
        draining(folder, tmp_path / "out") as drain,
        ThreadPoolExecutor(4) as threads,
    ):
        assert sum(threads.map(start_until_refused, "abcd")) > 0
        assert drain.end() == 0
    with closing(sqlite3.connect(folder / "instance" / "bellhop.db")) as records:
        assert records.execute(UNFINISHED).fetchall() == []
    (folder / "instance" / "draining").unlink()


def test_a_drained_host_stays_so_over_a_restart(tmp_path: Path) -> None:
    with running(tmp_path, "-w", "2"):
        assert flask(tmp_path, "drain") == (0, [BEGUN, EMPTY])
    with running(tmp_path, "-w", "2") as server:
        assert status_of(server) == 503
        wait_until(lambda: [e for e in server.log_lines() if e["event"] == STARTED])
        assert flask(tmp_path, "undrain") == (0, AGAIN)
        assert status_of(server) == 202


def test_what_a_server_has_left_is_not_waited_for_without_one(tmp_path: Path) -> None:
    with running(tmp_path, "-w", "1") as server:
        task_id = hold(server, tmp_path / "gate")
        assert server.poll("bob")["status"] == "running"
        for pid in server.workers():
            os.kill(pid, signal.SIGKILL)
        server.process.wait()
    code, lines = flask(tmp_path, "drain")
    assert code == 0
    assert lines[1].startswith(f"{task_id} ")
    assert lines[1].endswith(" (its worker is gone)")
    (tmp_path / "gate").touch()


def test_a_detached_run_is_shown_and_waited_for_only_where_that_is_wished(
    tmp_path: Path,
) -> None:
    gate = tmp_path / "gate"
    wait = f"until [ -e {gate} ]; do sleep 0.05; done #" + "x" * 200
    with production(tmp_path, "-w", "2", EXEC_ALLOW_SHELL="1") as server:
        wish = {"cmd": wait, "detached": True}
        task_id = server.post("/v3/exec/", json=wish, auth=ADMIN).json()["task_id"]
        code, [_, line, last] = flask(tmp_path, "drain", env="production")
        assert (code, last) == (0, EMPTY)
        assert line.startswith(f"{task_id} ")
        assert line.endswith(" (detached: goes on without the service)")
        code, lines = flask(
            tmp_path, "drain", "--all", "--seconds", "0", env="production"
        )
        assert (code, lines[-1]) == (1, f"1 still run or wait: {task_id}")
        gate.touch()
        code, lines = flask(tmp_path, "drain", "--all", env="production")
        assert (code, lines[-1]) == (0, EMPTY)


def test_what_is_shown_of_a_command_is_short_and_on_one_line(tmp_path: Path) -> None:
    (tmp_path / "instance").mkdir(mode=0o700)
    database = Database(f"sqlite:///{tmp_path}/instance/bellhop.db")
    worker, cmd = str(Worker.current()), "echo\n\x1b[31m" + "x" * 200
    task = TaskRecord("t", "exec", State.QUEUED, None, "h", worker, None, 0.0, cmd=cmd)
    TaskStore(database).add(vars(task), Admission(Room(1)))
    database.close()
    code, [_, line, _] = flask(tmp_path, "drain", "--seconds", "0")
    assert code == 1
    shown = r"echo\n\x1b[31m" + "x" * 66
    assert line == f"t QUEUED {shown} - since 1970-01-01T00:00:00Z"
