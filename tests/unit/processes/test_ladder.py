import os
import signal
import time

import pytest

from app.processes import ladder
from app.processes.ladder import KILL_SECONDS, end_processes
from app.processes.table import Process, find_process

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(300)
"""

NOBODY = [Process(pid=number, group=7, start_ticks=9) for number in (7, 8, 9)]


class Signals:
    """Keeps who was sent what instead of sending it."""

    def __init__(self):
        self.sent = []

    def send(self, process, number):
        self.sent.append((process.pid, number))


class Wait:
    """Looks a number of times at most and keeps how long it was told to."""

    def __init__(self, looks):
        self.looks = looks
        self.patience = []

    def __call__(self, done, seconds):
        self.patience.append(seconds)
        return any(done() for _ in range(self.looks))


@pytest.fixture
def signals(monkeypatch):
    signals = Signals()
    monkeypatch.setattr(ladder, "send_signal", signals.send)
    return signals


def looks_that_find(*results):
    """Return a `find` that gives one result after the other, the last for ever."""
    left = list(results)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def test_who_ends_when_asked_is_not_killed(signals):
    wait = Wait(looks=3)
    find = looks_that_find(NOBODY[:1], NOBODY[:1], [])
    assert end_processes(find, grace_seconds=4, wait=wait) == ()
    assert signals.sent == [(7, signal.SIGTERM)], "asked once, however often looked at"
    assert wait.patience == [4]


def test_who_stays_is_killed_after_the_grace(signals):
    wait = Wait(looks=2)
    find = looks_that_find(NOBODY[:1], NOBODY[:1], NOBODY[:1], [])
    assert end_processes(find, grace_seconds=4, wait=wait) == ()
    assert signals.sent == [(7, signal.SIGTERM), (7, signal.SIGKILL)]
    assert wait.patience == [4, KILL_SECONDS]


def test_who_was_forked_meanwhile_is_signalled_too(signals):
    find = looks_that_find(NOBODY[:1], NOBODY[:2], NOBODY[1:2], NOBODY[1:], [])
    end_processes(find, grace_seconds=4, wait=Wait(looks=2))
    assert signals.sent == [
        (7, signal.SIGTERM),
        (8, signal.SIGTERM),
        (8, signal.SIGKILL),
        (9, signal.SIGKILL),
    ]


def test_who_would_not_end_is_told(signals):
    find = looks_that_find(NOBODY)
    left = end_processes(find, grace_seconds=4, wait=Wait(looks=2))
    assert left == NOBODY


def test_where_nobody_is_nothing_is_waited_for(signals):
    assert end_processes(list, grace_seconds=4, wait=Wait(looks=1)) == ()
    assert signals.sent == []


def test_real_processes_are_asked_and_the_stubborn_killed(spawn, spawn_python):
    meek, stubborn = spawn("sleep", "300"), spawn_python(STUBBORN)

    def find():
        found = [find_process(process.pid) for process in (meek, stubborn)]
        return [process for process in found if process]

    def wait(done, seconds):
        deadline = time.monotonic() + seconds
        while not (ended := done()) and time.monotonic() < deadline:
            os.sched_yield()
        return ended

    assert end_processes(find, grace_seconds=0.3, wait=wait) == ()
    assert meek.wait() == -signal.SIGTERM
    assert stubborn.wait() == -signal.SIGKILL
