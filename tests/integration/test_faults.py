"""Disk, database and processes that are away for a while: refused, kept, recovered."""

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.servers import Server, running, wait_until
from tests.trees import ADMIN, PASSWORD, end_of, kill_server, start, task_of

# Of the service when what was away is back.
RECOVERY_SECONDS = 6

# A server whose system gives no more processes, or no more space, while a file says so.
FAULTY = """
import errno, os, subprocess
from pathlib import Path

from application import create_app

folder = Path(os.environ["INSTANCE_PATH"]).parent
real_popen, real_allocate = subprocess.Popen, os.posix_fallocate

class Popen(real_popen):
    def __init__(self, *args, **options):
        if (folder / "no-fork").exists():
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        super().__init__(*args, **options)

def allocate(*args):
    if (folder / "no-space").exists():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return real_allocate(*args)

subprocess.Popen, os.posix_fallocate = Popen, allocate
app = create_app()
"""

# Holds the lock of a database's writers until it is told to let it go.
HOLD = """
import sqlite3, sys
records = sqlite3.connect(sys.argv[1], isolation_level=None)
records.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "faulty.py").write_text(FAULTY)
    command = ("-m", "gunicorn", "--pythonpath", str(tmp_path), "faulty:app")
    settings = {"ADMIN_PASSWORD": PASSWORD, "LOG_LEVEL": "WARNING"}
    with running(tmp_path, "-w", "2", command=command, **settings) as started:
        wait_until(lambda: started.get("/v3/task/", auth=ADMIN).ok)
        try:
            yield started
        finally:
            kill_server(started)


@contextmanager
def there_is(path: Path) -> Iterator[None]:
    path.touch()
    try:
        yield
    finally:
        path.unlink()


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Have another process hold the lock of a database's writers."""
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", HOLD, str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield
        assert holder.poll() is None, "it has held it all the time"
        holder.communicate()


def ready(server: Server) -> requests.Response:
    return server.get("/api/health/ready")


def check_recovered(server: Server) -> None:
    """Check that work is taken on and done again, by each worker, without a restart."""
    wait_until(lambda: ready(server).ok, seconds=RECOVERY_SECONDS)
    for _ in range(4):
        assert ready(server).ok
        found = end_of(server, start(server, cmd="echo well", wait_seconds=10))
        assert (found["state"], found["result"]["output"]) == ("SUCCESS", "well\n")


def tasks_of(server: Server) -> list[dict[str, Any]]:
    """Return all tasks that there are."""
    answer = server.get("/v3/task/?limit=1000", auth=ADMIN)
    assert answer.status_code == 200, answer.text
    listed: list[dict[str, Any]] = answer.json()["tasks"]
    return listed


def _outputs(folder: Path) -> list[str]:
    """Return what is kept, without what a worker tries the folder with at its start."""
    names = (path.name for path in (folder / "instance" / "output").iterdir())
    return sorted(name for name in names if not name.startswith(".check-"))


class TestDisk:
    def test_without_space_nothing_is_started_and_what_runs_goes_on(
        self, server: Server, tmp_path: Path
    ) -> None:
        go = tmp_path / "go"
        wait = f"echo begun; while [ ! -e {go} ]; do sleep 0.05; done; echo done"
        running_one = start(server, cmd=wait)
        with there_is(tmp_path / "no-space"):
            before = _outputs(tmp_path)
            for _ in range(4):
                answer = ready(server)
                assert answer.status_code == 503
                assert answer.json()["checks"]["output"] == "failed"
                refused = post(server, f"touch {tmp_path}/started")
                assert refused.status_code == 503
                assert int(refused.headers["Retry-After"]) >= 1
            assert _outputs(tmp_path) == before
            go.touch()
            found = end_of(server, running_one)
            assert found["state"] == "SUCCESS"
            assert found["result"]["output"] == "begun\ndone\n"
        check_recovered(server)
        assert not (tmp_path / "started").exists()

    def test_a_full_disk_loses_nothing_that_was_accepted(self, tmp_path: Path) -> None:
        limit = 1_000_000  # of each file
        command = ("-c", _LIMITED, str(limit), "-m", "gunicorn", "server:app")
        settings = {
            "ADMIN_PASSWORD": PASSWORD,
            "EXEC_OUTPUT_HEAD_BYTES": "1000",
            "EXEC_OUTPUT_TAIL_BYTES": "4096",
            "LOG_LEVEL": "CRITICAL",
        }
        with running(tmp_path, "-w", "1", command=command, **settings) as server:
            try:
                answers = fill(server)
                refused = answers[-1]
                assert refused.json()["type"].endswith("storage-unavailable")
                assert int(refused.headers["Retry-After"]) >= 1
                accepted = [a.json()["task_id"] for a in answers if a.ok]
                assert len(accepted) >= 5
                # A small write may fit in where the refused one did not, until the ends
                # of runs, which are tried again and again, have filled that up too.
                wait_until(lambda: ready(server).status_code == 503)
                assert ready(server).json()["checks"]["database"] == "failed"
                assert server.get("/api/health").ok
                subprocess.run(
                    ["prlimit", "--pid", str(server.workers()[1]), "--fsize=unlimited"],
                    check=True,
                )
                for task_id in accepted:
                    found = end_of(server, f"/v3/task/{task_id}")
                    assert (found["state"], found["returncode"]) == ("SUCCESS", 0)
                check_recovered(server)
                known = {task["task_id"] for task in tasks_of(server)}
                assert known >= set(accepted)
            finally:
                kill_server(server)


class TestDatabase:
    def test_while_it_is_locked_nothing_is_lost_and_nothing_wrong_is_told(
        self, server: Server, tmp_path: Path, soak: bool
    ) -> None:
        database = tmp_path / "instance" / "bellhop.db"
        ends = tmp_path / "ends"
        wait = f"while [ ! -e {ends} ]; do sleep 0.05; done; echo done; exit 7"
        running_ones = [start(server, cmd=wait) for _ in range(3)]
        wait_until(
            lambda: all(
                task_of(server, href)["state"] == "STARTED" for href in running_ones
            )
        )
        mark = tmp_path / "started"
        with locked(database), ThreadPoolExecutor(8) as pool:
            begun = time.monotonic()
            ends.touch()
            asked = [pool.submit(ready, server) for _ in range(2)]
            posted = [pool.submit(post, server, f"echo >> {mark}") for _ in range(4)]
            assert server.get("/api/health").ok
            for answer in [each.result() for each in asked]:
                assert answer.status_code == 503
                assert answer.json()["checks"]["database"] == "failed"
            refused = [each.result() for each in posted]
            assert [answer.status_code for answer in refused] == [503] * 4
            # What has ended meanwhile cannot be told, so that it is not.
            while time.monotonic() - begun < (30 if soak else 7):
                for href in running_ones:
                    assert task_of(server, href)["state"] == "STARTED"
        for href in running_ones:
            found = end_of(server, href, seconds=RECOVERY_SECONDS)
            assert (found["state"], found["returncode"]) == ("FAILURE", 7)
            assert found["result"]["output"] == "done\n"
        check_recovered(server)
        assert not mark.exists(), "what was refused was not started"
        assert {task["state"] for task in tasks_of(server)} == {"FAILURE", "SUCCESS"}


class TestProcesses:
    def test_while_none_can_be_started_a_command_says_so_and_readiness_too(
        self, server: Server, tmp_path: Path
    ) -> None:
        mark = tmp_path / "started"
        with there_is(tmp_path / "no-fork"):
            for _ in range(4):
                answer = ready(server)
                assert answer.status_code == 503
                assert answer.json()["checks"]["processes"] == "failed"
                found = end_of(server, start(server, cmd=f"touch {mark}"))
                assert (found["state"], found["reason"]) == ("FAILURE", "spawn_failed")
                assert "returncode" not in found
                assert isinstance(found["result"], str)
            assert server.get("/api/health").ok
        check_recovered(server)
        assert not mark.exists()


def post(server: Server, cmd: str) -> requests.Response:
    return server.post("/v3/exec/", json={"cmd": cmd}, auth=ADMIN)


def fill(server: Server) -> list[requests.Response]:
    """Start commands until one is refused; return all answers."""
    answers: list[requests.Response] = []

    def is_full() -> bool:
        answers.append(post(server, "echo " + "x" * 2000))
        assert answers[-1].status_code in (201, 429, 503), answers[-1].text
        return answers[-1].status_code == 503

    wait_until(is_full, seconds=60)
    return answers


# Runs a program whose files, the log apart, cannot grow beyond a size.
_LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
