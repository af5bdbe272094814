"""Runs that outlive the service, through all that may become of that."""

import json
import os
import random
import re
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.commands import python_argv
from tests.detached import HAS_GROUPS, supervisors
from tests.postgres import Postgres
from tests.receiver import receiving
from tests.servers import PROJECT, Server, alive_with, running, wait_until
from tests.trees import ADMIN, PASSWORD, delete, end_of, kill_server, start, task_of

pytestmark = [
    pytest.mark.usefixtures("detached_runs_end"),
    pytest.mark.timeout(300),  # of the long doses
]

Serve = Callable[..., AbstractContextManager[Server]]

NEXT_REVISION = "9999"

# Writes a line every 100 ms until the file is there that its argument names.
SPEAKS = """
import os, sys, time
number, begun = 0, time.monotonic()
while not os.path.exists(sys.argv[1]):
    os.write(1, f"line {number}: é中\\n".encode())
    number += 1
    time.sleep(max(0, begun + number / 10 - time.monotonic()))
sys.exit(7)
"""


def lines(count: int) -> bytes:
    return b"".join(f"line {number}: é中\n".encode() for number in range(count))


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """Give a file for which commands wait."""
    return tmp_path / "gate"


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Return what starts services, one after the other, of the same instance."""

    def start_one(*arguments: str, **options: Any) -> AbstractContextManager[Server]:
        settings = {
            "ADMIN_PASSWORD": PASSWORD,
            "EXEC_GRACE_SECONDS": "1",
            "LOG_LEVEL": "WARNING",
        }
        return running(tmp_path, *(arguments or ("-w", "2")), **settings | options)

    return start_one


def holds(gate: Path, code: int = 0) -> str:
    """Return what waits for the gate."""
    return f"until [ -e {gate} ]; do sleep 0.05; done; exit {code}"


def output_of(server: Server, href: str, offset: int = 0) -> bytes:
    answer = server.get(
        f"{href}/output?offset={offset}", auth=ADMIN, headers={"Accept": "text/plain"}
    )
    assert answer.status_code == 200, answer.text
    return answer.content


def wait_for_lines(server: Server, href: str, count: int) -> None:
    """Wait until so many lines can be read by whoever asks this service."""
    wait_until(lambda: output_of(server, href).count(b"\n") >= count, seconds=60)


class TestEverything:
    def test_a_run_goes_on_through_all_that_becomes_of_its_service(
        self, serve: Serve, tmp_path: Path, gate: Path, soak: bool
    ) -> None:
        with receiving() as receiver:
            told = {"NOTIFY_URL_PREFIXES": receiver.url}
            wish = {"on": ["failure"], "webhook": {"url": receiver.url}}
            self.go_through_all(partial(serve, **told), wish, tmp_path, gate, soak=soak)
            [once] = receiver.got
            assert json.loads(once.body)["data"]["returncode"] == 7

    def go_through_all(
        self,
        serve: Serve,
        notify: dict[str, Any],
        tmp_path: Path,
        gate: Path,
        *,
        soak: bool,
    ) -> None:
        kills, reloads, apart = (2, 3, 5.0) if soak else (0, 1, 0.3)
        old, new = release(tmp_path / "old"), release(tmp_path / "new", newer=True)
        workers = ("-w", "4" if soak else "2")
        with serve(*workers, release=old) as server:
            argv = python_argv(SPEAKS, str(gate))
            href = start(server, argv=argv, detached=True, notify=notify)
            got = follow(server, href)
            for _ in range(reloads):
                reload(server)
                time.sleep(apart)
                check_goes_on(server, href)
            kill_server(server)
        for _ in range(kills):
            with serve(*workers, release=old) as server:
                check_goes_on(server, href)
                reload(server)
                time.sleep(apart)
                got += follow(server, href, offset=len(got))
                kill_server(server)
        shutil.rmtree(old)  # its process has all that it needs
        with serve(*workers, release=new) as server:
            check_goes_on(server, href)
            while output_of(server, href).count(b"\n") < (600 if soak else 30):
                reload(server)
                time.sleep(apart)
            gate.touch()
            end_of(server, href)
            wait_until(lambda: webhook_of(server, href)["state"] == "delivered")
            check_end(server, href, task_of(server, href))
            got += output_of(server, href, offset=len(got))
            assert got == output_of(server, href), "whoever followed has it all"
            wait_until(lambda: supervisors(tmp_path) == [])
        with closing(sqlite3.connect(tmp_path / "instance" / "bellhop.db")) as records:
            [(revision,)] = records.execute("SELECT * FROM alembic_version")
        assert revision == NEXT_REVISION


def webhook_of(server: Server, href: str) -> dict[str, Any]:
    found: dict[str, Any] = task_of(server, href)["notify"]["webhook"]
    return found


def release(folder: Path, *, newer: bool = False) -> Path:
    """Copy what is run; a newer one has one revision more of the database."""
    folder.mkdir()
    for name in ("app", "config", "migrations"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / name, folder / name, ignore=ignored)
    for path in PROJECT.glob("*.py"):
        shutil.copy(path, folder)
    if newer:
        tables = folder / "app" / "storage" / "tables.py"
        text = tables.read_text()
        [line] = [each for each in text.splitlines() if each.startswith("REVISION")]
        now = line.split('"')[1]
        tables.write_text(text.replace(line, f'REVISION = "{NEXT_REVISION}"'))
        (folder / "migrations" / "versions" / f"{NEXT_REVISION}_next.py").write_text(
            "import sqlalchemy as sa\n"
            "from alembic import op\n"
            f'revision, down_revision = "{NEXT_REVISION}", "{now}"\n'
            "def upgrade():\n"
            '    op.add_column("tasks", sa.Column("of_the_next", sa.Text))\n'
        )
    return folder


def reload(server: Server) -> None:
    """Have all workers replaced, and wait for that."""
    before = set(server.workers()[1:])
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: not before & set(server.workers()), seconds=60)


def check_goes_on(server: Server, href: str) -> None:
    """Check that a run is what it was, and that more and more of it can be read."""
    found = task_of(server, href)
    assert (found["state"], found["detached"]) == ("STARTED", True)
    known = output_of(server, href)
    assert known == lines(known.count(b"\n"))
    wait_for_lines(server, href, known.count(b"\n") + 1)
    assert output_of(server, href, offset=len(known)).startswith(b"line ")


def check_end(server: Server, href: str, end: dict[str, Any]) -> None:
    """Check that it is the one true end, and that the log is complete to the byte."""
    assert (end["state"], end["reason"], end["returncode"]) == ("FAILURE", "exit", 7)
    assert end["output"]["dropped_bytes"] == 0
    found = output_of(server, href)
    assert found == lines(found.count(b"\n"))
    assert len(found) == end["output"]["end_offset"]
    [listed] = server.get("/v3/task/", auth=ADMIN).json()["tasks"]
    assert listed["task_id"] == end["task_id"]
    assert task_of(server, href) == end, "an end is for good"


def follow(server: Server, href: str, offset: int = 0) -> bytes:
    """Follow a run for some lines; return what it has written from that offset."""
    got = b""
    with requests.get(
        f"{server.url}{href}/output?follow=1&offset={offset}",
        auth=ADMIN,
        headers={"Accept": "text/plain"},
        stream=True,
        timeout=60,
    ) as answer:
        for piece in answer.iter_content(chunk_size=None):
            got += piece
            if got.count(b"\n") >= 5:
                break
    return got


class TestDeath:
    def test_a_run_whose_process_is_killed_is_lost_and_nothing_of_it_is_left(
        self, serve: Serve, tmp_path: Path
    ) -> None:
        mark = f"{tmp_path}/left"
        hides = "env -i " if HAS_GROUPS else ""
        work = f"{hides}setsid sh -c 'sleep 300; : {mark}' & sleep 300; : {mark}"
        with serve() as server:
            hrefs = [start(server, cmd=work, detached=True) for _ in range(2)]
            wait_until(lambda: len(supervisors(tmp_path)) == 2)
            wait_until(lambda: len(alive_with(mark)) == 4)
            for pid in supervisors(tmp_path):
                os.kill(pid, signal.SIGKILL)
            for href in hrefs:
                end = end_of(server, href, seconds=10)
                assert (end["state"], end["reason"]) == ("LOST", "worker_lost")
            assert alive_with(mark) == []
            assert list((tmp_path / "instance" / "detached").iterdir()) == []

    def test_whenever_workers_are_killed_each_runs_once_at_most_and_has_an_end(
        self, serve: Serve, tmp_path: Path, soak: bool
    ) -> None:
        deaths, workers = (60, 4) if soak else (5, 2)
        dice = random.Random(7)
        over = threading.Event()
        folder = tmp_path / "runs"
        folder.mkdir()
        with serve("-w", str(workers), EXEC_MAX_RUNNING="3") as server:
            with ThreadPoolExecutor(1) as pool:
                asking = pool.submit(keep_starting, server, folder, over)
                for _ in range(deaths):
                    time.sleep(dice.random())
                    with suppress(ProcessLookupError):
                        os.kill(dice.choice(server.workers()[1:]), signal.SIGKILL)
                    wait_until(lambda: len(server.workers()) > workers, seconds=30)
                over.set()
                asking.result(60)
            tasks = all_ended(server)
            files = tmp_path / "instance" / "detached"
            # What a death leaves of a start or an end is a stray, and later removed.
            wait_until(lambda: len({each.stem for each in files.iterdir()}) <= deaths)
        assert tasks
        for task in tasks:
            ran = Path(re.findall(r">> (\S+);", task["cmd"])[0])
            count = len(ran.read_text()) if ran.exists() else 0
            # One that had begun goes on, whoever dies.
            assert count == (task["state"] == "SUCCESS"), task
            assert task["state"] in ("SUCCESS", "LOST"), task


def keep_starting(server: Server, folder: Path, over: threading.Event) -> None:
    """Start runs, one after the other, whatever is answered."""
    number = 0
    while not over.wait(0.1):
        number += 1
        with suppress(requests.RequestException):
            work = f"printf 1 >> {folder}/{number}; sleep 0.3"
            server.post("/v3/exec/", json={"cmd": work, "detached": True}, auth=ADMIN)


def all_ended(server: Server) -> list[dict[str, Any]]:
    """Return all tasks, once each has an end."""

    def ended() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        href = "/v3/task/?limit=100"
        while href:
            page = server.get(href, auth=ADMIN).json()
            found += page["tasks"]
            links = [link for link in page["links"] if link["rel"] == "next"]
            href = links[0]["href"] if links else ""
        return found if all("finished" in task for task in found) else []

    return wait_until(ended, seconds=90)


class TestStop:
    def test_it_leaves_what_runs_and_what_waits_and_the_next_has_both(
        self, serve: Serve, tmp_path: Path, gate: Path
    ) -> None:
        ran, meanwhile = tmp_path / "ran", tmp_path / "meanwhile"
        with serve(EXEC_MAX_RUNNING="2") as server:
            first = start(server, cmd=holds(gate, 3), detached=True)
            work = f"printf 1 >> {ran}; exit 4"
            ends = f"echo said; {holds(meanwhile, 7)}"
            second = start(server, cmd=ends, detached=True)
            waits = [start(server, cmd=work, detached=True) for _ in range(3)]
            attached = start(server, cmd="true")
            wait_until(lambda: len(supervisors(tmp_path)) == 2)
            theirs = {os.getpgid(pid) for pid in supervisors(tmp_path)}
            assert os.getpgid(server.process.pid) not in theirs
            assert server.stop() == 0
        assert len(supervisors(tmp_path)) == 2
        meanwhile.touch()
        wait_until(lambda: len(supervisors(tmp_path)) == 1)
        again = datetime.now(UTC).isoformat()
        with serve(EXEC_MAX_RUNNING="1") as server:
            found = task_of(server, second)
            assert (found["returncode"], found["state"]) == (7, "FAILURE")
            assert found["finished"] < again, "it is told as it was"
            assert output_of(server, second) == b"said\n"
            assert task_of(server, attached)["reason"] == "shutdown"
            for place, href in enumerate(waits, start=1):
                wait_until(lambda h=href: task_of(server, h).get("position"))
                assert task_of(server, href)["position"] == place
            delete(server, waits.pop())
            gate.touch()
            assert end_of(server, first)["returncode"] == 3
            ends = [end_of(server, href) for href in waits]
            assert [end["returncode"] for end in ends] == [4, 4]
            assert ends[0]["finished"] <= ends[1]["started"]
            assert ran.read_text() == "11"

    def test_on_postgresql_the_next_service_has_them_as_well(
        self, serve: Serve, postgres: Postgres, tmp_path: Path, gate: Path
    ) -> None:
        with postgres.new_database() as url:
            settings = {"DATABASE_URL": url, "EXEC_MAX_RUNNING": "2"}
            with serve(**settings) as server:
                held = start(server, cmd=holds(gate, 3), detached=True)
                ended = start(server, cmd=f"sleep 60; : {tmp_path}", detached=True)
                waits = start(server, cmd="exit 4", detached=True)
                wait_until(lambda: len(supervisors(tmp_path)) == 2)
                kill_server(server)
            with serve(**settings) as server:
                assert delete(server, ended) == 204
                assert task_of(server, ended)["reason"] == "cancelled"
                gate.touch()
                assert end_of(server, held)["returncode"] == 3
                assert end_of(server, waits)["returncode"] == 4


class TestGevent:
    @pytest.fixture
    def server(self, serve: Serve) -> Iterator[Server]:
        with serve("-k", "gevent", "-w", "2") as started:
            yield started

    def test_they_are_started_ended_and_left_alike(
        self, server: Server, tmp_path: Path, gate: Path
    ) -> None:
        hrefs = [
            start(server, cmd=f"echo said; {holds(gate, 7)}", detached=True)
            for _ in range(6)
        ]
        status = "grep ^SigBlk /proc/self/status"
        beside = [start(server, cmd=status) for _ in range(6)]
        for href in beside:
            end_of(server, href)
            [_, mask] = output_of(server, href).split()
            assert mask == b"0" * 16, "nothing is blocked meanwhile"
        wait_until(lambda: len(supervisors(tmp_path)) == 6)
        assert delete(server, hrefs[0]) == 204
        assert task_of(server, hrefs.pop(0))["reason"] == "cancelled"
        reload(server)
        gate.touch()
        for href in hrefs:
            assert end_of(server, href)["returncode"] == 7
            assert output_of(server, href) == b"said\n"
        with suppress(requests.RequestException):
            assert server.stop() == 0
