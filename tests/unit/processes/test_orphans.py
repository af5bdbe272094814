import os
import signal

from app.processes import ladder, orphans
from app.processes.orphans import end_orphans
from app.processes.table import find_process
from tests.commands import DAEMON, python_argv
from tests.servers import alive_with, wait_until


def leave_orphan(spawn, token, mark, *argv):
    """Start a daemon with `mark` that runs on when its starter is gone."""
    environment = os.environ | dict([mark.split("=")])
    spawn(*python_argv(DAEMON, *argv), env=environment).wait()
    wait_until(lambda: alive_with(token))


def test_what_carries_a_mark_is_ended_wherever_it_went(spawn, token, mark):
    leave_orphan(spawn, token, mark, "sleep", token)
    leave_orphan(spawn, token, mark, "sleep", token)
    assert end_orphans([mark], grace_seconds=5) == 0
    assert not alive_with(token)


def test_what_ignores_term_is_killed_after_the_grace(spawn, token, mark):
    script = f"trap '' TERM; while :; do sleep 0.05; done # {token}"
    leave_orphan(spawn, token, mark, "/bin/sh", "-c", script)
    wait_until(lambda: len(alive_with(token)) == 1)
    assert end_orphans([mark], grace_seconds=0.2) == 0
    assert not alive_with(token)


def test_all_marks_are_looked_for_at_once(spawn, token, mark):
    marks = [f"{mark}-{number}" for number in range(3)]
    for each in marks:
        leave_orphan(spawn, token, each, "sleep", token)
    assert end_orphans(marks, grace_seconds=5) == 0
    assert not alive_with(token)


def test_what_carries_another_mark_is_left_alone(spawn, token, mark):
    other = spawn("sleep", "300", env=os.environ | {"BELLHOP_TASK_ID": token + "0"})
    unmarked = spawn("sleep", "300")
    assert end_orphans([mark], grace_seconds=5) == 0
    assert other.poll() is None
    assert unmarked.poll() is None


def test_no_marks_are_nobody(spawn):
    process = spawn("sleep", "300")
    assert end_orphans([], grace_seconds=5) == 0
    assert process.poll() is None


def test_who_would_not_end_is_counted(spawn, monkeypatch):
    process = spawn("sleep", "300")
    immortal = find_process(process.pid)
    sent = []
    monkeypatch.setattr(ladder, "KILL_SECONDS", 0.1)
    monkeypatch.setattr(ladder, "send_signal", lambda _, number: sent.append(number))
    monkeypatch.setattr(orphans, "processes_marked", lambda _: [immortal] * 2)
    assert end_orphans(["A=b"], grace_seconds=0.1) == 2
    assert sent == [signal.SIGTERM, signal.SIGKILL]
