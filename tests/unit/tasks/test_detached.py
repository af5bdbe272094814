"""Detached runs as their service has them: handed over, found again, ended once."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from app.errors import CapacityExceeded, StorageUnavailable
from app.processes.table import find_process
from app.tasks import detached as module
from app.tasks import run_process
from app.tasks.detached import DetachedRuns
from app.tasks.order import Order, Origin
from app.tasks.states import State
from app.tasks.sweeper import Retention, Sweeper
from app.tasks.worker import Worker
from tests.commands import OBEYS_TERM, shell
from tests.detached import HAS_GROUPS, supervisors
from tests.servers import PROJECT, alive_with, wait_until
from tests.unit.tasks.conftest import HOST

ORIGIN = Origin(owner="bob", slot=None, request_id=None)

# A worker of its own, that dies at a point of a hand-over, or else says its task's id.
WORKER = """
import logging, os, signal, sys
from pathlib import Path
import structlog
from app.storage.engine import Database
from app.storage.task_store import Room, TaskStore
from app.tasks.detached import DetachedRuns
from app.tasks.notices import Notices
from app.tasks.order import Order, Origin
from app.tasks.output import OutputFolder
from app.tasks.output_log import TaskOutput
from app.tasks.run_process import RunProcess
from app.tasks.thread_backend import ThreadBackend
from app.tasks.waiting_line import WaitingLine
from tests.commands import shell
from tests.unit.tasks.conftest import HEAD_BYTES, HOST, TAIL_BYTES

folder, point, script = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))

def dies(owner, name, *, before=False):
    real = getattr(owner, name)

    def method(*args, **options):
        if before:
            os._exit(7)
        real(*args, **options)
        os._exit(7)

    setattr(owner, name, method)

POINTS = {
    "before its process": lambda: dies(RunProcess, "__init__", before=True),
    "before its process is ready": lambda: dies(RunProcess, "__init__"),
    "before it is written down": lambda: dies(TaskStore, "start", before=True),
    "before it may begin": lambda: dies(TaskStore, "start"),
    "after it may begin": lambda: dies(DetachedRuns, "_let_begin"),
    "after it was left": lambda: dies(TaskOutput, "leave"),
    "never": lambda: None,
}
POINTS[point]()
store = TaskStore(Database(f"sqlite:///{folder}/bellhop.db"))
backend = ThreadBackend(
    store=store,
    outputs=OutputFolder(
        folder / "output", head_bytes=HEAD_BYTES, tail_bytes=TAIL_BYTES
    ),
    host=HOST, room={"exec": Room(int(sys.argv[4]), 50)}, grace_seconds=2,
    line=WaitingLine(folder / "queue", notices=Notices()),
    detached=DetachedRuns(folder / "detached", store=store, grace_seconds=1),
)
order = Order(shell(script), cmd="x", is_detached=True)
task = backend.submit(order, Origin(owner="bob", slot=None, request_id=None))
print(task.task_id, flush=True)
signal.pause()
"""


@pytest.fixture
def ended(detached):
    """Return the tasks whose ends have been told."""
    told = []
    detached.ended = told.append
    return told


@pytest.fixture
def settle(detached, record_of):
    """Write down the end of a run, once it has one; return its record."""

    def settle(run):
        run.end()
        return detached.settle(record_of(run.task_id))

    return settle


@pytest.fixture
def strangers():
    """Start a process that is nobody's; kill it in the end."""
    with subprocess.Popen(["sleep", "300"], start_new_session=True) as process:
        yield process
        process.kill()


@pytest.fixture
def away(monkeypatch, store):
    """Have the records away for one thing that is done with them."""

    def be_away(name):
        def fail(*_, **__):
            raise StorageUnavailable

        monkeypatch.setattr(store, name, fail)

    return be_away


def files(tmp_path):
    folder = tmp_path / "detached"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


class TestPrepare:
    def test_what_is_to_be_run_is_for_nobody_else_to_read(self, prepare, tmp_path):
        run, output = prepare(shell("true"))
        output.close()
        assert files(tmp_path) == [f"{run.task_id}.new", f"{run.task_id}.order"]
        modes = {
            path.stat().st_mode & 0o777 for path in run.file(".new").parent.glob("*")
        }
        assert modes == {0o600}
        assert (tmp_path / "detached").stat().st_mode & 0o777 == 0o700

    def test_where_that_cannot_be_written_nothing_is_left(
        self, backend, store, tmp_path, monkeypatch
    ):
        def full(path, *_, **__):
            path.write_bytes(b"")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(module, "_write", full)
        with pytest.raises(StorageUnavailable):
            backend.submit(Order(shell("true"), cmd="x", is_detached=True), ORIGIN)
        assert files(tmp_path) == []
        assert store.unfinished(HOST) == []

    def test_one_that_is_not_taken_on_leaves_nothing(self, make_backend, tmp_path):
        backend = make_backend(max_running=0)
        order = Order(shell("true"), cmd="x", is_detached=True)
        with pytest.raises(CapacityExceeded):
            backend.submit(order, ORIGIN)
        assert files(tmp_path) == []
        assert list((tmp_path / "output").iterdir()) == []


class TestHandOver:
    def test_the_records_say_which_process_runs_it_now(
        self, start, record_of, tmp_path
    ):
        run = start(shell(OBEYS_TERM)).wait_for(b"ready")
        record = record_of(run.task_id)
        [pid] = supervisors(tmp_path)
        assert Worker.parse(record.worker) == Worker.of(pid)
        assert (record.state, record.finished) == (State.STARTED, None)
        assert not run.file(".order").exists()

    @pytest.mark.parametrize("is_away", [True, False])
    def test_without_a_word_in_the_records_nothing_is_started(
        self, prepare, store, away, tmp_path, is_away
    ):
        run, output = prepare(shell(f"touch {tmp_path}/started"))
        if is_away:
            away("start")
        else:
            store.finish(run.task_id, state="REVOKED", finished=1.0)
        end = run.runs.hand_over(run.task_id, output)
        output.close()
        assert (end["state"], end["reason"]) == (State.FAILURE, "spawn_failed")
        assert supervisors(tmp_path) == []
        assert not run.runs.has_children
        assert not (tmp_path / "started").exists()

    def test_a_process_that_cannot_begin_is_told(self, prepare, detached, capfd):
        run, output = prepare(shell("true"))
        run.file(".order").unlink()
        end = detached.hand_over(run.task_id, output)
        output.close()
        assert end["detail"] == "The process of the run did not start."
        assert "FileNotFoundError" in capfd.readouterr().err

    def test_one_that_cannot_be_started_is_told(self, prepare, detached, monkeypatch):
        monkeypatch.setattr(run_process, "_PROGRAM", ("/nowhere",))
        run, output = prepare(shell("true"))
        end = detached.hand_over(run.task_id, output)
        output.close()
        assert "/nowhere" in end["detail"]

    def test_from_the_second_one_on_there_is_a_process_ahead(
        self, start, detached, settle, record_of
    ):
        settle(start(shell("exit 0")))
        spare = detached._spare
        again = start(shell("exit 3"))
        assert record_of(again.task_id).worker == str(Worker.of(spare.pid))
        assert detached._spare.pid != spare.pid
        assert settle(again).returncode == 3

    def test_one_ahead_that_was_killed_is_not_missed(self, start, detached, settle):
        settle(start(shell("exit 0")))
        os.kill(detached._spare.pid, signal.SIGKILL)
        assert settle(start(shell("exit 3"))).returncode == 3

    def test_one_ahead_ends_with_its_service(self, start, detached, settle):
        settle(start(shell("exit 0")))
        pid = detached._spare.pid
        detached.close()
        assert find_process(pid) is None
        settle(start(shell("exit 0")))
        assert detached._spare is None

    def test_records_that_go_away_once_it_has_begun_are_no_end_of_it(
        self, prepare, away, monkeypatch, settle
    ):
        run, output = prepare(shell("sleep 0.2; exit 3"))
        away("find")
        assert run.runs.hand_over(run.task_id, output) is None
        monkeypatch.undo()
        assert settle(run).returncode == 3


class TestSettle:
    def test_the_end_is_written_told_and_nothing_is_left(
        self, start, settle, ended, tmp_path, record_of
    ):
        run = start(shell("printf hello; exit 3"))
        record = settle(run)
        assert (record.state, record.reason) == (State.FAILURE, "exit")
        assert (record.returncode, record.end_offset) == (3, 5)
        assert record.created <= record.started <= record.finished
        assert [task.task_id for task in ended] == [run.task_id]
        assert replace(ended[0], worker=record.worker) == record
        assert record_of(run.task_id) == record
        assert files(tmp_path) == []

    def test_one_that_goes_on_is_left_as_it_is(self, start, detached, record_of):
        run = start(shell(OBEYS_TERM)).wait_for(b"ready")
        record = record_of(run.task_id)
        assert detached.settle(record) == record

    def test_of_many_at_once_one_tells_it(self, start, detached, ended, record_of):
        run = start(shell("exit 3"))
        record = record_of(run.task_id)
        run.end()
        together = threading.Barrier(8)

        def settle(_):
            together.wait()
            return detached.settle(record)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(settle, range(8)))
        assert [task.returncode for task in ended] == [3]
        assert record_of(run.task_id).returncode == 3

    def test_an_end_that_the_task_has_already_holds(
        self, start, store, settle, ended, tmp_path
    ):
        run = start(shell("exit 3"))
        store.finish(run.task_id, state="LOST", finished=1.0)
        assert settle(run).state is State.LOST
        assert ended == []
        assert files(tmp_path) == []

    def test_what_is_not_known_of_an_end_is_passed_over(
        self, start, detached, record_of
    ):
        run = start(shell("exit 3"))
        end = run.end() | {"of_another_version": 1}
        run.file(".end").write_text(module.json.dumps(end))
        assert detached.settle(record_of(run.task_id)).returncode == 3

    @pytest.mark.parametrize("damage", [b"", b"\0" * 300, b'{"reason": "ex', b"\xff"])
    def test_a_damaged_end_is_none(self, start, detached, record_of, damage):
        run = start(shell("exit 3"))
        run.end()
        run.file(".end").write_bytes(damage)
        with capture_logs() as logs:
            assert detached.settle(record_of(run.task_id)).finished is None
        assert [entry["event"] for entry in logs] == ["detached.end_damaged"]

    def test_its_parent_writes_the_end_without_being_asked(
        self, start, detached, ended
    ):
        run = start(shell("exit 3"))

        def reaped():
            detached.reap()
            return not detached.has_children

        wait_until(reaped)
        assert [task.task_id for task in ended] == [run.task_id]

    def test_another_service_does_as_well(
        self, start, detached, store, tmp_path, record_of
    ):
        run = start(shell("sleep 0.2; exit 3"))
        detached.close()
        other = DetachedRuns(tmp_path / "detached", store=store, grace_seconds=1)
        run.end()
        assert other.settle(record_of(run.task_id)).returncode == 3


class TestCancel:
    def test_it_ends_the_run(self, start, detached, store, settle):
        run = start(shell(OBEYS_TERM)).wait_for(b"ready")
        store.request_cancel(run.task_id)
        detached.cancel(run.task_id)
        record = settle(run)
        assert (record.state, record.reason) == (State.REVOKED, "cancelled")
        assert run.output() == b"ready\nbye\n"

    def test_asked_for_before_anybody_could_be_told_it_is_told_then(
        self, prepare, detached, store, settle
    ):
        run, output = prepare(shell("sleep 60"))
        store.request_cancel(run.task_id)
        detached.cancel(run.task_id)  # nobody is there
        assert detached.hand_over(run.task_id, output) is None
        assert settle(run).reason == "cancelled"

    def test_one_that_nobody_asked_for_does_nothing(self, start, detached):
        run = start(shell("sleep 0.3; exit 3"))
        detached.cancel(run.task_id)
        assert run.end()["returncode"] == 3

    @pytest.mark.parametrize("change", [{"start_ticks": 1}, {"boot": "another"}])
    def test_a_stranger_with_the_pid_is_told_nothing(
        self, detached, add_task, record_of, strangers, change
    ):
        worker = str(replace(Worker.of(strangers.pid), **change))
        task_id = add_task(worker=worker, detached=True, cancel_requested=True)
        detached.tell_cancelled(record_of(task_id))
        detached.cancel(task_id)
        time.sleep(0.1)
        assert strangers.poll() is None

    def test_the_worker_of_an_attached_run_is_told_nothing(
        self, detached, add_task, record_of, strangers
    ):
        worker = str(Worker.of(strangers.pid))
        detached.tell_cancelled(
            record_of(add_task(worker=worker, cancel_requested=True))
        )
        task_id = add_task(
            worker=worker, cancel_requested=True, detached=True, state=State.QUEUED
        )
        detached.tell_cancelled(record_of(task_id))
        time.sleep(0.1)
        assert strangers.poll() is None


class TestForget:
    def test_a_second_time_there_is_nothing_to_do(self, prepare, detached, tmp_path):
        run, output = prepare(shell("true"))
        output.close()
        for _ in range(2):
            detached.forget(run.task_id)
        assert files(tmp_path) == []

    @pytest.mark.skipif(not HAS_GROUPS, reason="no group can be made here")
    def test_a_group_that_is_not_free_yet_is_kept_for_another_time(
        self, start, detached, monkeypatch, tmp_path
    ):
        run = start(shell(OBEYS_TERM)).wait_for(b"ready")
        monkeypatch.setattr("app.processes.cgroup._move", lambda *_: None)
        detached.forget(run.task_id)
        assert files(tmp_path) == [f"{run.task_id}.group"]
        monkeypatch.undo()
        path = Path(run.file(".group").read_text())
        detached.forget(run.task_id)
        assert files(tmp_path) == []
        assert not path.exists()
        os.kill(supervisors(tmp_path)[0], signal.SIGTERM)

    @pytest.mark.parametrize("damage", [b"", b"\0" * 50, b"\xff", b"/nowhere"])
    def test_a_damaged_path_of_a_group_is_none(
        self, prepare, store, swept, tmp_path, damage
    ):
        run, output = prepare(shell("true"))
        output.leave()
        run.file(".group").write_bytes(damage)
        gone = str(replace(Worker.current(), boot="another"))
        store.start(run.task_id, state="STARTED", worker=gone)
        assert swept(run.task_id).state is State.LOST
        assert files(tmp_path) == []

    def test_only_what_has_been_there_for_long_is_a_stray(self, prepare, detached):
        run, output = prepare(shell("true"))
        output.close()
        assert detached.task_ids(older_than_seconds=60) == set()
        assert detached.task_ids(older_than_seconds=-60) == {run.task_id}

    def test_where_there_never_was_one_there_is_no_folder(self, detached):
        assert detached.task_ids(older_than_seconds=0) == set()


@pytest.fixture
def sweeper(backend, store, outputs, detached, tmp_path):
    """Return what sweeps for a service that can take over."""
    return Sweeper(
        store=store,
        outputs=outputs,
        host=HOST,
        lock_path=tmp_path / "sweeper.lock",
        retention=Retention(seconds=1000, count=1000),
        detached=detached,
        take_over=backend.take_over,
    )


@pytest.fixture
def swept(sweeper, record_of):
    """Sweep until a task has an end; return its record."""

    def sweep(task_id):
        def has_ended():
            sweeper.sweep()
            return record_of(task_id).finished

        wait_until(has_ended, seconds=20)
        return record_of(task_id)

    return sweep


class OtherService:
    """A worker in a process of its own."""

    def __init__(self, tmp_path, script, *, point="never", max_running=50):
        arguments = [tmp_path, point, script, str(max_running)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, *arguments],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
        )

    def task_id(self):
        return self.process.stdout.readline().decode().strip()

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def other_service(tmp_path, database, outputs):
    """Start services of their own; kill them in the end."""
    database.check()
    services = []

    def start(script, **options):
        services.append(OtherService(tmp_path, script, **options))
        return services[-1]

    yield start
    for service in services:
        service.kill()


class TestDeath:
    def test_wherever_its_worker_dies_it_runs_once_at_most_and_has_an_end(
        self, other_service, store, swept, tmp_path
    ):
        points = {
            "before its process": State.SUCCESS,
            "before its process is ready": State.SUCCESS,
            "before it is written down": State.SUCCESS,
            "before it may begin": State.LOST,
            "after it may begin": State.SUCCESS,
            "after it was left": State.SUCCESS,
        }
        script = "printf 1 >> {}; sleep 0.3; printf done"
        ran = {point: tmp_path / point.replace(" ", "-") for point in points}
        services = [
            other_service(script.format(ran[point]), point=point) for point in points
        ]
        assert [each.process.wait(30) for each in services] == [7] * len(points)
        task_ids = [row["task_id"] for row in store.unfinished(HOST)]
        assert len(task_ids) == len(points)
        ends = [swept(task_id) for task_id in task_ids]
        for point, state in points.items():
            runs = ran[point].read_text() if ran[point].exists() else ""
            assert runs == ("1" if state is State.SUCCESS else ""), point
        assert sorted(each.state for each in ends) == sorted(points.values())
        for end in ends:
            assert end.end_offset == (4 if end.state is State.SUCCESS else 0)
        wait_until(lambda: not supervisors(tmp_path))
        wait_until(lambda: files(tmp_path) == [])

    def test_a_run_goes_on_and_its_end_is_told_by_another(
        self, other_service, swept, record_of, tmp_path
    ):
        script = f"echo now; until [ -e {tmp_path}/gate ]; do sleep 0.02; done; exit 3"
        service = other_service(script)
        task_id = service.task_id()
        wait_until(lambda: record_of(task_id).state is State.STARTED)
        service.kill()
        (tmp_path / "gate").touch()
        record = swept(task_id)
        assert (record.reason, record.returncode) == ("exit", 3)

    def test_one_that_waits_is_taken_over_and_cancelled_as_any_other(
        self, other_service, swept, store, backend
    ):
        service = other_service("sleep 60", max_running=0)
        task_id = service.task_id()
        assert store.find(task_id)["is_queued"]
        service.kill()
        store.request_cancel(task_id)
        record = swept(task_id)
        assert (record.state, record.reason) == (State.REVOKED, "cancelled")
        assert backend.wait(task_id, seconds=0) is None

    def test_one_that_waits_is_left_to_who_comes_after_a_service_that_ends(
        self, make_backend, store, record_of
    ):
        backend = make_backend(max_running=0, max_queued=5)
        order = Order(shell("exit 3"), cmd="x", is_detached=True)
        task_id = backend.submit(order, ORIGIN).task_id
        backend.close(seconds=5)
        record = record_of(task_id)
        assert (record.state, record.finished) == (State.QUEUED, None)

        dead = str(replace(Worker.current(), start_ticks=1))
        store.take_over(task_id, record.worker, worker=dead)
        heir = make_backend()
        assert heir.take_over(record_of(task_id))
        wait_until(lambda: heir.refresh(record_of(task_id)).finished)
        assert record_of(task_id).returncode == 3

    def test_of_two_who_take_it_over_one_does(
        self, make_backend, prepare, store, record_of, tmp_path
    ):
        run, output = prepare(shell(f"printf 1 >> {tmp_path}/ran"))
        output.leave()
        dead = replace(Worker.current(), start_ticks=1)
        store.start(run.task_id, worker=str(dead))
        seen = record_of(run.task_id)
        heirs = [make_backend() for _ in range(4)]
        together = threading.Barrier(len(heirs))

        def take_over(heir):
            together.wait()
            return heir.take_over(seen)

        with ThreadPoolExecutor(len(heirs)) as pool:
            assert all(pool.map(take_over, heirs))
        wait_until(lambda: heirs[0].refresh(record_of(run.task_id)).finished)
        assert (tmp_path / "ran").read_text() == "1"

    def test_one_whose_output_is_gone_is_lost(self, prepare, store, swept):
        run, output = prepare(shell("true"))
        output.close()
        run.paths[0].unlink()
        store.start(run.task_id, worker=str(replace(Worker.current(), start_ticks=1)))
        assert swept(run.task_id).state is State.LOST

    def test_a_killed_process_is_lost_and_nothing_of_its_run_is_left(
        self, start, swept, tmp_path, token
    ):
        hides = "env -i " if HAS_GROUPS else ""
        script = f"{hides}setsid sleep {token} & printf 'hello\\nwor'; sleep {token}"
        run = start(shell(script)).wait_for(b"wor")
        wait_until(lambda: len(alive_with(f"sleep\0{token}")) == 2)
        group = run.file(".group")
        path = Path(group.read_text()) if group.exists() else None
        os.kill(supervisors(tmp_path)[0], signal.SIGKILL)
        record = swept(run.task_id)
        assert (record.state, record.reason) == (State.LOST, "worker_lost")
        assert (record.end_offset, record.dropped_bytes) == (9, 0)
        assert alive_with(token) == []
        assert files(tmp_path) == []
        assert path is None or not path.exists()

    @pytest.mark.parametrize("change", [{"start_ticks": 1}, {"boot": "another"}])
    def test_a_stranger_with_its_pid_is_not_it(
        self, prepare, store, swept, strangers, change
    ):
        run, output = prepare(shell("true"))
        output.leave()
        worker = str(replace(Worker.of(strangers.pid), **change))
        store.start(run.task_id, state="STARTED", worker=worker)
        assert swept(run.task_id).state is State.LOST
        assert find_process(strangers.pid)

    def test_an_end_that_was_left_before_the_host_went_down_is_told(
        self, start, store, swept
    ):
        run = start(shell("exit 3"))
        run.end()
        worker = replace(Worker.current(), boot="another")
        store.start(run.task_id, worker=str(worker))
        assert swept(run.task_id).returncode == 3

    def test_what_a_dead_worker_did_not_remove_is_removed_when_it_is_old(
        self, prepare, sweeper, store, tmp_path
    ):
        (kept, kept_output), (ended, ended_output) = (
            prepare(shell("true")) for _ in range(2)
        )
        kept_output.leave()
        ended_output.leave()
        store.finish(ended.task_id, state="LOST", finished=time.time())
        sweeper.sweep()
        assert ended.file(".order").exists(), "it may be about to be taken on"
        for run in (kept, ended):
            for suffix in (".order", ".new"):
                os.utime(run.file(suffix), (1, 1))
        sweeper._next_stray_look = 0.0
        sweeper.sweep()
        assert files(tmp_path) == [f"{kept.task_id}.new", f"{kept.task_id}.order"]

    def test_a_damaged_one_is_lost(self, start, store, swept, tmp_path):
        run = start(shell("exit 3"))
        run.end()
        run.file(".end").write_bytes(b"\0" * 300)
        worker = replace(Worker.current(), boot="another")
        store.start(run.task_id, worker=str(worker))
        assert swept(run.task_id).state is State.LOST
        assert files(tmp_path) == []

    def test_a_cancel_that_could_not_be_told_is_told_by_who_sweeps(
        self, start, store, swept
    ):
        run = start(shell("sleep 60"))
        store.request_cancel(run.task_id)
        assert swept(run.task_id).reason == "cancelled"

    def test_what_another_has_settled_meanwhile_is_not_told_as_lost(
        self, start, sweeper, store, settle, monkeypatch
    ):
        run = start(shell("exit 3"))
        stale = store.unfinished(HOST)
        settle(run)
        wait_until(lambda: not Worker.parse(stale[0]["worker"]).is_alive())
        monkeypatch.setattr(store, "unfinished", lambda _host: stale)
        with capture_logs() as logs:
            sweeper.sweep()
        assert [e["event"] for e in logs if e["event"] == "tasks.lost"] == []
        assert store.find(run.task_id)["returncode"] == 3


class TestBackend:
    """What a backend does with the runs that it has left."""

    def submit(self, backend, script, **options):
        order = Order(shell(script), cmd="x", is_detached=True, **options)
        return backend.submit(order, ORIGIN).task_id

    def test_it_writes_the_end_by_itself(self, backend, end_of):
        record = end_of(self.submit(backend, "exit 3"))
        assert (record.detached, record.returncode) == (True, 3)

    def test_its_end_leaves_them_running_and_takes_no_time(
        self, make_backend, record_of, tmp_path
    ):
        backend = make_backend()
        task_ids = [self.submit(backend, "sleep 60") for _ in range(3)]
        wait_until(
            lambda: {record_of(each).state for each in task_ids} == {State.STARTED}
        )
        assert backend.close(seconds=0.5) == []
        assert len(supervisors(tmp_path)) == 3
        assert {record_of(each).finished for each in task_ids} == {None}

    def test_its_end_in_the_midst_of_starts_forgets_none(
        self, make_backend, store, tmp_path, sweeper, record_of
    ):
        backend = make_backend(max_running=3, max_queued=50)
        task_ids = [
            self.submit(backend, f"printf 1 >> {tmp_path}/{n}") for n in range(6)
        ]
        assert backend.close(seconds=10) == []
        dead = str(replace(Worker.current(), start_ticks=1))
        for task_id in task_ids:
            store.take_over(task_id, str(Worker.current()), worker=dead)

        def all_have_ended():
            sweeper.sweep()
            return all(record_of(each).finished for each in task_ids)

        wait_until(all_have_ended, seconds=20)
        assert {record_of(each).state for each in task_ids} == {State.SUCCESS}
        assert [(tmp_path / str(n)).read_text() for n in range(6)] == ["1"] * 6

    def test_who_waits_for_room_gets_it_at_an_end(self, make_backend, end_of):
        backend = make_backend(max_running=1, max_queued=5)
        task_ids = [self.submit(backend, "exit 3") for _ in range(3)]
        assert [end_of(each).returncode for each in task_ids] == [3] * 3

    def test_cancelled_while_it_waits_it_is_never_run(
        self, make_backend, end_of, tmp_path
    ):
        backend = make_backend(max_running=0, max_queued=5)
        task_id = self.submit(backend, f"touch {tmp_path}/started")
        backend.cancel(task_id)
        assert end_of(task_id).reason == "cancelled"
        assert files(tmp_path) == []
        assert not (tmp_path / "started").exists()

    def test_cancelled_at_any_moment_it_ends(self, backend, end_of):
        for delay in (0, 0.02, 0.1, 0.2):
            task_id = self.submit(backend, "sleep 60")
            time.sleep(delay)
            backend.cancel(task_id)
            assert end_of(task_id).reason == "cancelled"

    def test_what_starts_and_ends_is_told_once(self, backend, end_of, monkeypatch):
        seen = []
        monkeypatch.setattr(backend, "_observe", seen.append)
        record = end_of(self.submit(backend, "exit 3"))
        wait_until(lambda: len(seen) == 2)
        assert sorted(task.state for task in seen) == [State.FAILURE, State.STARTED]
        assert {task.task_id for task in seen} == {record.task_id}
