"""Commands that are run by the thread that waits for them, for as long as it does."""

import threading
import time

import pytest

from app.errors import StorageUnavailable
from app.tasks import command_job, thread_backend
from app.tasks.order import Order, Origin
from app.tasks.patience import Patience
from app.tasks.states import State
from tests.commands import shell
from tests.servers import wait_until

ORIGIN = Origin(owner="ann", request_id="r")


@pytest.fixture
def attend(backend):
    """Submit a script and wait for its end; return its record and how long it took."""

    def submit(script, patience, *, to=backend, **options):
        begun = time.monotonic()
        order = Order(shell(script, **options), cmd=script)
        record = to.submit(order, ORIGIN, patience=patience)
        return record, time.monotonic() - begun

    return submit


def run_threads():
    return [t for t in threading.enumerate() if t.name.startswith("run-")]


def test_one_that_ends_in_time_has_no_thread_of_its_own(attend, record_of, monkeypatch):
    monkeypatch.setattr(thread_backend.ThreadBackend, "_start_thread", None)
    for script, code in (("echo a", 0), ("exit 3", 3), ("sleep 0.3", 0)):
        record, _ = attend(script, Patience(20))
        assert record.returncode == code
        assert record == record_of(record.task_id)
        assert record.created <= record.started <= record.finished


def test_one_that_ends_at_once_is_written_twice(attend, store, monkeypatch):
    monkeypatch.setattr(command_job, "QUICK_SECONDS", 20)
    monkeypatch.setattr(store, "start", None)
    record, _ = attend("echo a; sleep 0.1", Patience(20))
    assert (record.state, record.end_offset) == (State.SUCCESS, 2)


def test_one_that_takes_longer_gets_a_thread_of_its_own(attend, end_of):
    record, seconds = attend("echo a; sleep 2", Patience(0.5))
    assert seconds < 1.9
    assert (record.state, record.finished) == (State.STARTED, None)
    ended = end_of(record.task_id)
    assert (ended.state, ended.end_offset) == (State.SUCCESS, 2)
    assert ended.started == record.started


def test_who_has_to_go_waits_no_longer(attend, end_of):
    goes = threading.Event()
    timer = threading.Timer(0.2, goes.set)
    timer.start()
    record, seconds = attend("sleep 1.5", Patience(20, has_to_go=goes.is_set))
    assert seconds < 1.4
    assert end_of(record.task_id).state is State.SUCCESS
    timer.join()


def test_a_time_that_is_over_is_its_end(attend, end_of):
    record, seconds = attend("sleep 300", Patience(20), timeout_seconds=0.3)
    assert seconds < 10
    assert end_of(record.task_id).reason == "timeout"


def test_who_waits_is_not_kept_by_one_that_will_not_end(attend, end_of, backend):
    stubborn = "trap '' TERM; echo a; while :; do sleep 0.1; done"
    record, seconds = attend(stubborn, Patience(0.6), timeout_seconds=0.3)
    assert seconds < 1.5, "its grace is two seconds"
    assert record.finished is None
    assert end_of(record.task_id).signal == "SIGKILL"


def test_a_cancel_reaches_it(attend, backend, store, end_of):
    def cancel():
        backend.cancel(wait_until(lambda: store.unfinished("pelican"))[0]["task_id"])

    thread = threading.Thread(target=cancel)
    thread.start()
    record, _ = attend("sleep 300", Patience(20))
    thread.join()
    assert end_of(record.task_id).reason == "cancelled"


class TestQueue:
    def test_it_is_run_when_it_is_its_turn(self, attend, make_backend):
        backend = make_backend(max_running=1, max_queued=1)
        attend("sleep 0.6", Patience(0.05), to=backend)
        record, seconds = attend("echo a", Patience(20), to=backend)
        assert (record.state, seconds > 0.2) == (State.SUCCESS, True)

    def test_after_the_patience_it_is_run_by_another(
        self, attend, make_backend, end_of
    ):
        backend = make_backend(max_running=1, max_queued=1)
        attend("sleep 0.6", Patience(0.05), to=backend)
        record, seconds = attend("echo a", Patience(0.1), to=backend)
        assert (record.state, record.is_queued) == (State.QUEUED, True)
        assert seconds < 0.5
        assert end_of(record.task_id).state is State.SUCCESS

    def test_a_cancel_reaches_it_there(self, attend, make_backend, store):
        backend = make_backend(max_running=1, max_queued=1)
        first, _ = attend("sleep 300", Patience(0.05), to=backend)

        def cancel():
            [waits] = wait_until(lambda: store.queue("pelican", "exec"))
            backend.cancel(waits)

        thread = threading.Thread(target=cancel)
        thread.start()
        record, seconds = attend("echo a", Patience(20), to=backend)
        thread.join()
        assert (record.state, seconds < 10) == (State.REVOKED, True)
        backend.cancel(first.task_id)


class TestTrouble:
    def test_without_the_records_the_end_is_written_later(
        self, attend, store, end_of, monkeypatch
    ):
        def fail(*args, **values):
            raise StorageUnavailable from OSError("away")

        monkeypatch.setattr(thread_backend, "RETRY_SECONDS", 0.05)
        with monkeypatch.context() as patch:
            patch.setattr(store, "finish", fail)
            record, seconds = attend("echo a", Patience(0.3))
            assert (record.state, seconds < 5) == (State.STARTED, True)
        assert end_of(record.task_id).returncode == 0
        wait_until(lambda: run_threads() == [])

    def test_where_no_thread_can_be_had_it_is_run_to_its_end(self, attend, monkeypatch):
        attend("true", Patience(20))  # what looks for cancelled ones is there

        def fail(self):
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", fail)
            record, _ = attend("sleep 0.5", Patience(0.1))
        assert record.state is State.SUCCESS

    def test_a_fault_of_ours_is_its_end(self, attend, record_of, monkeypatch):
        def fail(*args):
            raise ValueError("a fault of ours")

        monkeypatch.setattr(command_job.CommandJob, "_append", fail)
        record, _ = attend("echo a; sleep 300", Patience(20))
        assert (record.state, record.reason) == (State.FAILURE, "internal_error")
        assert record == record_of(record.task_id)

    def test_the_end_of_the_service_reaches_it(self, attend, backend, end_of):
        closing = threading.Timer(0.3, backend.close, kwargs={"seconds": 10})
        closing.start()
        record, _ = attend("sleep 300", Patience(20))
        closing.join()
        assert end_of(record.task_id).reason == "shutdown"
