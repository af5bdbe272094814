import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from app.errors import StorageUnavailable
from app.tasks import sweeper as module
from app.tasks.order import Order, Origin
from app.tasks.output_log import SLACK_BYTES
from app.tasks.states import State
from app.tasks.sweeper import Retention, Sweeper
from app.tasks.worker import Worker
from tests.commands import shell
from tests.servers import PROJECT, alive_with, children_of, wait_until
from tests.unit.tasks.conftest import HEAD_BYTES, HOST, TAIL_BYTES

# A worker of its own: runs the script in its second argument, says its task's id,
# and waits for its death.
WORKER = """
import logging, signal, sys
from pathlib import Path
import structlog
from app.storage.engine import Database
from app.storage.task_store import Room, TaskStore
from app.tasks.detached import DetachedRuns
from app.tasks.notices import Notices
from app.tasks.order import Order, Origin
from app.tasks.waiting_line import WaitingLine
from app.tasks.output import OutputFolder
from app.tasks.thread_backend import ThreadBackend
from tests.commands import shell
from tests.unit.tasks.conftest import HEAD_BYTES, HOST, TAIL_BYTES

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
folder = Path(sys.argv[1])
store = TaskStore(Database(f"sqlite:///{folder}/bellhop.db"))
backend = ThreadBackend(
    store=store,
    outputs=OutputFolder(
        folder / "output", head_bytes=HEAD_BYTES, tail_bytes=TAIL_BYTES
    ),
    host=HOST, room={"exec": Room(50)}, grace_seconds=2,
    line=WaitingLine(folder / "queue", notices=Notices()),
    detached=DetachedRuns(folder / "detached", store=store, grace_seconds=2),
)
origin = Origin(owner="bob", slot="bob", request_id=None)
task = backend.submit(Order(shell(sys.argv[2]), cmd="x"), origin)
print(task.task_id, flush=True)
signal.pause()
"""


@pytest.fixture
def make_sweeper(store, outputs, detached, tmp_path):
    """Make sweepers, and close them in the end."""
    sweepers = []

    def make(*, seconds=1000.0, count=1000):
        sweeper = Sweeper(
            store=store,
            outputs=outputs,
            host=HOST,
            lock_path=tmp_path / "sweeper.lock",
            retention=Retention(seconds=seconds, count=count),
            detached=detached,
            take_over=lambda _task: False,
        )
        sweepers.append(sweeper)
        return sweeper

    yield make
    for sweeper in sweepers:
        assert sweeper.close(seconds=10)


@pytest.fixture
def sweeper(make_sweeper):
    return make_sweeper()


class OtherWorker:
    """A worker in a process of its own, with one task."""

    def __init__(self, process, outputs):
        self.process = process
        self.outputs = outputs
        self.task_id = process.stdout.readline().decode().strip()

    def wait_for_output(self, count):
        with self.outputs.open(self.task_id) as reader:
            wait_until(lambda: reader.end_offset() == count)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def start_worker(tmp_path, database, outputs):
    """Start workers that run a script."""
    database.check()
    workers = []

    def start(script):
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path), script],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
        )
        workers.append(OtherWorker(process, outputs))
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()


@pytest.fixture
def dead_worker():
    """Return how a record names a worker that has ended."""
    worker = Worker.current()
    return str(replace(worker, start_ticks=worker.start_ticks - 1))


@pytest.fixture
def add_lost(add_task, dead_worker):
    return partial(add_task, worker=dead_worker)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(module, "INTERVAL_SECONDS", 0.05)
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.3)


@pytest.fixture
def files(tmp_path):
    """Return the names of the outputs that there are."""
    return lambda: {path.name for path in (tmp_path / "output").iterdir()}


class TestLostTasks:
    def test_a_killed_workers_task_is_lost_and_what_it_left_is_ended(
        self, sweeper, start_worker, record_of, token
    ):
        script = f"setsid sleep {token} & sleep {token} & printf 'hello\\nwor'; wait"
        worker = start_worker(script)
        worker.wait_for_output(9)
        wait_until(lambda: len(alive_with(f"sleep\0{token}")) == 2)
        wait_until(lambda: record_of(worker.task_id).started)
        worker.kill()
        assert alive_with(token), "they outlive their worker"

        with capture_logs() as logs:
            sweeper.sweep()
        record = record_of(worker.task_id)
        assert (record.state, record.reason) == (State.LOST, "worker_lost")
        assert record.started <= record.finished <= time.time()
        assert (record.returncode, record.signal) == (None, None)
        assert (record.end_offset, record.dropped_bytes) == (9, 0)
        assert not alive_with(token)
        [told] = [entry for entry in logs if entry["event"] == "tasks.lost"]
        assert (told["count"], told["survivors"]) == (1, 0)

    def test_its_output_can_be_read_and_takes_no_more_space_than_it_needs(
        self, sweeper, start_worker, outputs, tmp_path
    ):
        worker = start_worker("printf 'hello\\nwor'; sleep 300")
        worker.wait_for_output(9)
        worker.kill()
        sweeper.sweep()
        assert (tmp_path / "output" / worker.task_id).stat().st_size < SLACK_BYTES
        with outputs.open(worker.task_id) as reader:
            assert reader.read(0, 100).data == b"hello\nwor"

    @pytest.mark.usefixtures("quick")
    def test_what_ignores_term_is_killed(self, sweeper, start_worker, record_of, token):
        stubborn = f"trap '' TERM; echo ready; while :; do sleep 0.05; done # {token}"
        worker = start_worker(stubborn)
        worker.wait_for_output(6)
        worker.kill()
        sweeper.sweep()
        assert record_of(worker.task_id).state is State.LOST
        assert not alive_with(token)

    def test_a_worker_that_is_still_a_zombie_is_dead(
        self, sweeper, start_worker, record_of, token
    ):
        worker = start_worker(f"sleep {token}")
        wait_until(lambda: record_of(worker.task_id).state is State.STARTED)
        worker.process.kill()
        os.waitid(os.P_PID, worker.process.pid, os.WEXITED | os.WNOWAIT)
        sweeper.sweep()
        assert record_of(worker.task_id).state is State.LOST
        assert not alive_with(token)

    def test_a_live_workers_task_is_left_alone(
        self, sweeper, start_worker, record_of, token
    ):
        worker = start_worker(f"sleep {token}")
        wait_until(lambda: record_of(worker.task_id).state is State.STARTED)
        sweeper.sweep()
        assert record_of(worker.task_id).state is State.STARTED
        [command] = children_of(worker.process.pid)
        assert command in alive_with(token)
        worker.kill()
        sweeper.sweep()  # now it is dead, and its command must not stay
        assert not alive_with(token)

    def test_a_task_of_this_very_worker_is_left_alone(
        self, sweeper, backend, record_of, token
    ):
        origin = Origin(owner="bob", slot="bob", request_id=None)
        order = Order(shell(f"sleep {token}"), cmd="x")
        task_id = backend.submit(order, origin).task_id
        wait_until(lambda: record_of(task_id).state is State.STARTED)
        sweeper.sweep()
        assert record_of(task_id).finished is None

    def test_a_pid_that_was_given_to_another_is_no_life(
        self, sweeper, add_task, record_of, dead_worker
    ):
        task_id = add_task(worker=dead_worker)
        sweeper.sweep()
        assert record_of(task_id).state is State.LOST

    def test_one_that_was_never_started_is_lost_too(
        self, sweeper, add_task, record_of, dead_worker
    ):
        task_id = add_task(worker=dead_worker, state=State.QUEUED)
        sweeper.sweep()
        record = record_of(task_id)
        assert (record.state, record.started) == (State.LOST, None)

    def test_one_from_before_the_host_was_renamed_is_lost_too(
        self, sweeper, add_task, record_of, dead_worker
    ):
        task_id = add_task(worker=dead_worker, host="heron")
        sweeper.sweep()
        assert record_of(task_id).state is State.LOST

    def test_many_are_lost_in_one_round(self, sweeper, add_lost, outputs, record_of):
        task_ids = [add_lost() for _ in range(20)]
        for number, task_id in enumerate(task_ids):
            log = outputs.create(task_id)
            log.append(memoryview(b"x" * (HEAD_BYTES + TAIL_BYTES + number)))
            os.close(log._descriptor)
        sweeper.sweep()
        records = [record_of(task_id) for task_id in task_ids]
        assert {record.state for record in records} == {State.LOST}
        assert [record.dropped_bytes for record in records] == list(range(20))

    def test_a_slot_is_free_again(self, sweeper, add_task, dead_worker):
        add_task(worker=dead_worker, slot="bob")
        sweeper.sweep()
        add_task(slot="bob")

    @pytest.mark.parametrize("damage", [b"", b"\0" * 100, b"bellhop1" + b"\1" * 50])
    def test_a_damaged_output_does_not_keep_a_task_from_its_end(
        self, sweeper, add_lost, record_of, tmp_path, damage
    ):
        task_ids = [add_lost() for _ in range(2)]
        (tmp_path / "output" / task_ids[0]).write_bytes(damage)
        sweeper.sweep()
        assert {record_of(task_id).state for task_id in task_ids} == {State.LOST}
        assert record_of(task_ids[0]).end_offset == 0

    def test_survivors_are_told(
        self, sweeper, add_task, record_of, dead_worker, monkeypatch
    ):
        marks = []

        def end_none(given, *, grace_seconds):
            marks.extend(given)
            return 3

        monkeypatch.setattr(module, "end_orphans", end_none)
        task_id = add_task(worker=dead_worker)
        with capture_logs() as logs:
            sweeper.sweep()
        assert marks == [f"BELLHOP_TASK_ID={task_id}"]
        assert [e["survivors"] for e in logs if e["event"] == "tasks.lost"] == [3]
        assert record_of(task_id).state is State.LOST


class TestRetention:
    @pytest.fixture
    def add_finished(self, add_task, outputs):
        def add(age, **changes):
            changes = {"state": State.SUCCESS, "finished": time.time() - age} | changes
            task_id = add_task(**changes)
            outputs.create(task_id).close()
            return task_id

        return add

    def test_what_is_past_its_age_is_forgotten(
        self, make_sweeper, add_finished, store, files
    ):
        old, young = add_finished(age=200), add_finished(age=50)
        make_sweeper(seconds=100).sweep()
        assert store.find(old) is None
        assert store.find(young) is not None
        assert files() == {young}

    def test_the_newest_are_kept_up_to_their_number(
        self, make_sweeper, add_finished, store, files
    ):
        task_ids = [add_finished(age=100 - number) for number in range(10)]
        make_sweeper(count=3).sweep()
        assert files() == set(task_ids[-3:])
        assert [task_id for task_id in task_ids if store.find(task_id)] == task_ids[-3:]

    def test_as_many_as_may_be_are_all_kept(self, make_sweeper, add_finished, files):
        task_ids = {add_finished(age=number) for number in range(3)}
        make_sweeper(count=3).sweep()
        assert files() == task_ids

    def test_what_has_not_finished_is_kept_however_old(
        self, make_sweeper, add_finished, store, files
    ):
        running = add_finished(10_000, state=State.STARTED, finished=None)
        for number in range(5):
            add_finished(age=number)
        make_sweeper(seconds=0.0, count=1).sweep()
        assert files() == {running}
        assert store.find(running) is not None

    def test_those_from_before_the_host_was_renamed_go_too(
        self, make_sweeper, add_finished, store
    ):
        renamed = add_finished(age=500, host="heron")
        make_sweeper(seconds=100, count=1).sweep()
        assert store.find(renamed) is None

    def test_more_than_a_batch_go_in_one_round(
        self, make_sweeper, add_finished, files, monkeypatch
    ):
        monkeypatch.setattr(module, "BATCH", 3)
        for _ in range(10):
            add_finished(age=200)
        make_sweeper(seconds=100).sweep()
        assert files() == set()

    def test_one_whose_output_is_gone_already_is_forgotten(
        self, make_sweeper, add_finished, outputs, store
    ):
        task_id = add_finished(age=200)
        outputs.remove(task_id)
        make_sweeper(seconds=100).sweep()
        assert store.find(task_id) is None


class TestStrays:
    @pytest.fixture
    def add_output(self, outputs, tmp_path):
        def add(name, *, age):
            outputs.create(name).close()
            os.utime(tmp_path / "output" / name, (time.time() - age,) * 2)
            return name

        return add

    def test_outputs_without_a_task_are_removed_if_they_are_old(
        self, sweeper, add_output, files
    ):
        add_output("old", age=100)
        add_output("young", age=10)
        sweeper.sweep()
        assert files() == {"young"}

    def test_those_of_a_task_are_kept_however_old(
        self, sweeper, add_output, add_task, files
    ):
        task_ids = {add_output(add_task(), age=10_000) for _ in range(3)}
        sweeper.sweep()
        assert files() == task_ids

    def test_more_than_a_batch_are_removed(
        self, sweeper, add_output, add_task, files, monkeypatch
    ):
        monkeypatch.setattr(module, "BATCH", 3)
        kept = add_output(add_task(), age=100)
        for number in range(10):
            add_output(f"stray-{number}", age=100)
        sweeper.sweep()
        assert files() == {kept}

    def test_they_are_looked_for_once(self, sweeper, add_output, files):
        sweeper.sweep()
        add_output("old", age=100)
        sweeper.sweep()
        assert files() == {"old"}


def descriptors_of(path):
    """Return how many descriptors of that file this process has."""
    opened = (link for link in Path("/proc/self/fd").iterdir() if link.exists())
    return sum(link.readlink() == path for link in opened)


def keep_rounds(monkeypatch):
    """Have sweepers only say that they swept; return the list of who did."""
    rounds = []

    def sweep(sweeper):
        rounds.append(sweeper)

    monkeypatch.setattr(Sweeper, "sweep", sweep)
    return rounds


def count_tries(monkeypatch, sweeper):
    """Return a list that grows with each try of a sweeper to take its turn."""
    tries, take_turn = [], sweeper._take_turn

    def try_it(held):
        taken = take_turn(held)
        tries.append(taken)
        return taken

    monkeypatch.setattr(sweeper, "_take_turn", try_it)
    return tries


@pytest.mark.usefixtures("quick")
class TestTurns:
    def test_it_sweeps_again_and_again(self, sweeper, add_lost, record_of):
        sweeper.start()
        for _ in range(2):
            task_id = add_lost()
            wait_until(lambda: record_of(task_id).state is State.LOST)  # noqa: B023

    def test_of_two_one_has_the_turn_and_the_other_takes_over(
        self, make_sweeper, monkeypatch
    ):
        rounds = keep_rounds(monkeypatch)
        first, second = make_sweeper(), make_sweeper()
        first.start()
        wait_until(lambda: len(rounds) >= 2)
        second.start()
        begun = len(rounds)
        wait_until(lambda: len(rounds) >= begun + 5)
        assert set(rounds) == {first}
        assert first.close(seconds=10)
        wait_until(lambda: rounds[-1] is second)

    def test_a_dead_workers_turn_is_taken_over(self, sweeper, tmp_path, monkeypatch):
        rounds = keep_rounds(monkeypatch)
        hold = (
            "import fcntl, signal, sys; held = open(sys.argv[1], 'w');"
            "fcntl.flock(held, fcntl.LOCK_EX); print(flush=True); signal.pause()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", hold, tmp_path / "sweeper.lock"],
            stdout=subprocess.PIPE,
        ) as holder:
            holder.stdout.readline()
            tries = count_tries(monkeypatch, sweeper)
            sweeper.start()
            wait_until(lambda: len(tries) >= 3)
            assert rounds == []
            holder.kill()
        wait_until(lambda: rounds)

    @pytest.mark.parametrize(
        ("fault", "event"),
        [
            (RuntimeError("a fault of ours"), "sweep.failed"),
            (StorageUnavailable("the database is away"), "sweep.postponed"),
        ],
    )
    def test_a_round_that_fails_is_logged_and_not_the_last(
        self, sweeper, monkeypatch, fault, event
    ):
        rounds = []

        def sweep(sweeper):
            rounds.append(sweeper)
            if len(rounds) == 1:
                raise fault

        monkeypatch.setattr(Sweeper, "sweep", sweep)
        with capture_logs() as logs:
            sweeper.start()
            wait_until(lambda: len(rounds) >= 3)
            assert sweeper.close(seconds=10)
        assert [entry["event"] for entry in logs] == [event]

    def test_to_close_one_that_was_not_started_is_nothing(self, sweeper):
        assert sweeper.close(seconds=1)
        assert sweeper.close(seconds=1)

    def test_to_close_twice_is_safe(self, sweeper):
        sweeper.start()
        assert sweeper.close(seconds=10)
        assert sweeper.close(seconds=10)

    def test_one_that_waits_for_its_turn_holds_nothing(
        self, make_sweeper, tmp_path, monkeypatch
    ):
        first, second = make_sweeper(), make_sweeper()
        first.start()
        lock = tmp_path / "sweeper.lock"
        wait_until(lambda: descriptors_of(lock) == 1)
        tries = count_tries(monkeypatch, second)
        second.start()
        wait_until(lambda: len(tries) >= 5)
        assert second.close(seconds=10)
        assert descriptors_of(lock) == 1
        assert not any(tries)

    def test_one_that_waits_for_its_turn_is_closed_at_once(self, make_sweeper):
        first, second = make_sweeper(), make_sweeper()
        first.start()
        second.start()
        begun = time.monotonic()
        assert second.close(seconds=10)
        assert time.monotonic() - begun < 5

    def test_one_that_does_not_stop_in_time_is_told(self, sweeper, monkeypatch):
        go, busy = threading.Event(), threading.Event()

        def sweep_long(_):
            busy.set()
            go.wait(20)

        monkeypatch.setattr(Sweeper, "sweep", sweep_long)
        sweeper.start()
        assert busy.wait(10)
        assert sweeper.close(seconds=0.05) is False
        go.set()
        assert sweeper.close(seconds=10) is True
