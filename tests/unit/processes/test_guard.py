"""What ends the commands of a worker that was killed, though nobody starts it again."""

import os
import signal
import subprocess
import sys
import time

import pytest
from structlog.testing import capture_logs

from app.processes.guard import Guard
from tests.commands import DAEMON, IGNORES_TERM, python_argv
from tests.servers import PROJECT, alive_with, children_of, wait_until

NAME = "BELLHOP_TASK_ID"
PROGRAM = "app.processes.guardian"

# A worker that runs its last arguments, marked as the first one says, tells its
# guardian what the second one says, and waits for its death.
WORKER = """
import json, os, signal, subprocess, sys
from app.processes.guard import Guard
guard = Guard("BELLHOP_TASK_ID")
guard.start()
for change, mark in json.loads(sys.argv[2]):
    (guard.add if change == "+" else guard.remove)(mark)
environment = os.environ | {"BELLHOP_TASK_ID": sys.argv[1]}
subprocess.Popen(sys.argv[3:], env=environment)
print("ready", flush=True)
signal.pause()
"""


@pytest.fixture
def start_worker(spawn, token):
    """Start workers; return each with its guardian's pid."""

    def start(told, *argv):
        argv = [sys.executable, "-c", WORKER, token, told, *argv]
        worker = spawn(*argv, stdout=subprocess.PIPE, cwd=PROJECT)
        assert worker.stdout.readline() == b"ready\n"
        return worker, guardian_of(worker.pid)

    return start


@pytest.fixture
def guard():
    made = Guard(NAME)
    made.start()
    yield made
    made.close()


def guardian_of(pid):
    [found] = wait_until(lambda: set(children_of(pid)) & set(alive_with(PROGRAM)))
    return found


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
            return ") Z " not in stat.read()
    except FileNotFoundError:
        return False


def kill(worker):
    worker.kill()
    worker.wait()


class TestDeath:
    """Of a worker: by KILL, in the midst of what it runs."""

    def test_what_has_left_its_session_and_its_parent_is_ended(
        self, start_worker, token
    ):
        tree = python_argv(DAEMON, *python_argv(DAEMON, "sleep", token))
        worker, guardian = start_worker(f'[["+", "{token}"]]', *tree)
        wait_until(lambda: alive_with(token))
        kill(worker)
        wait_until(lambda: not alive_with(token))
        wait_until(lambda: not is_alive(guardian))

    def test_what_ignores_term_is_killed(self, start_worker, token):
        script = f"{IGNORES_TERM} # {token}"
        worker, guardian = start_worker(f'[["+", "{token}"]]', "/bin/sh", "-c", script)
        wait_until(lambda: alive_with(token))
        kill(worker)
        wait_until(lambda: not is_alive(guardian))
        assert not alive_with(token)

    def test_what_was_not_told_of_or_has_ended_is_left_alone(self, start_worker, token):
        told = f'[["+", "other"], ["+", "{token}"], ["-", "{token}"]]'
        worker, guardian = start_worker(told, "sleep", token)
        wait_until(lambda: alive_with(token))
        kill(worker)
        wait_until(lambda: not is_alive(guardian))
        assert alive_with(token)

    def test_the_signals_that_end_a_worker_do_not_end_its_guardian(
        self, start_worker, token
    ):
        tree = python_argv(DAEMON, "sleep", token)
        worker, guardian = start_worker(f'[["+", "{token}"]]', *tree)
        wait_until(lambda: "SigIgn" in status_of(guardian) and ignores(guardian))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(guardian, number)
        kill(worker)
        wait_until(lambda: not alive_with(token))


def status_of(pid):
    with open(f"/proc/{pid}/status") as status:  # noqa: PTH123
        return dict(
            line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line
        )


def ignores(pid):
    return int(status_of(pid)["SigIgn"], 16) >> (signal.SIGTERM - 1) & 1


class TestGuard:
    def test_it_leaves_nothing_when_it_closes(self, guard):
        guard.add("one")
        guard.remove("one")
        guard.close()
        assert not set(alive_with(PROGRAM)) & set(children_of(os.getpid()))
        guard.close()

    def test_one_that_never_began_takes_it_all(self):
        guard = Guard(NAME)
        guard.add("one")
        guard.remove("one")
        guard.check()
        guard.close()

    def test_a_guardian_that_ends_has_a_successor_that_knows_the_same(
        self, guard, spawn, token
    ):
        left = spawn("sleep", token, env=os.environ | {NAME: token})
        guard.add(token)
        guard.add("other")
        guard.remove("other")
        with capture_logs() as logs:
            for notice in (guard.check, lambda: guard.add("third")):
                first = guardian_of(os.getpid())
                os.kill(first, signal.SIGKILL)
                wait_until(lambda pid=first: not is_alive(pid))
                notice()
                assert guardian_of(os.getpid()) != first
        assert [line["event"] for line in logs] == ["guardian.restarted"] * 2
        guard.close()
        assert left.wait(10) == -signal.SIGTERM

    def test_one_that_was_halted_halts_nobody(self, guard):
        first = guardian_of(os.getpid())
        os.kill(first, signal.SIGSTOP)
        began = time.monotonic()
        with capture_logs() as logs:
            while not logs:
                guard.add("x" * 1000)
                guard.remove("x" * 1000)
                assert time.monotonic() < began + 20
        assert logs[0]["event"] == "guardian.restarted"
        assert guardian_of(os.getpid()) != first
