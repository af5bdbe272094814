"""A task is cancelled in whichever worker it runs."""

import threading
import time

import pytest
from structlog.testing import capture_logs

from app.errors import CapacityExceeded, StorageUnavailable
from app.storage.task_store import Room
from app.tasks import thread_backend
from app.tasks.notices import Notices
from app.tasks.order import Order, Origin
from app.tasks.report_job import Piece, Report
from app.tasks.states import State
from app.tasks.thread_backend import ThreadBackend
from app.tasks.waiting_line import WaitingLine
from tests.commands import IGNORES_TERM, shell
from tests.servers import alive_with, wait_until
from tests.unit.tasks.conftest import HOST

ROOM = {"exec": Room(2), "iostat": Room(2)}


def endless(wait):
    yield Piece("begun\n", {})
    wait(60)


ENDLESS = Report("iostat", total=2, pieces=endless)


def submit(backend):
    return backend.submit_report(ENDLESS, Origin(owner=None, request_id=None)).task_id


def submit_command(backend, script, caller="bob"):
    origin = Origin(owner=caller, slot=caller, request_id=None)
    return backend.submit(Order(shell(script), cmd=script), origin).task_id


def watchers():
    return [t for t in threading.enumerate() if t.name == "cancel-watch"]


@pytest.fixture
def make_worker(store, outputs, detached):
    """Make what each worker has of its own, over the records that all share."""
    made = []

    def make():
        backend = ThreadBackend(
            store=store,
            outputs=outputs,
            host=HOST,
            room=ROOM,
            line=WaitingLine(outputs.path("queue"), notices=Notices()),
            grace_seconds=0.2,
            detached=detached,
        )
        made.append(backend)
        return backend

    yield make
    for backend in made:
        backend.close(seconds=20)


@pytest.fixture
def worker(make_worker):
    return make_worker()


def check_cancelled(record):
    assert (record.state, record.reason) == (State.REVOKED, "cancelled")


class TestCancel:
    def test_here_it_is_seen_at_once(self, worker, end_of, monkeypatch):
        monkeypatch.setattr(thread_backend, "CANCEL_LOOK_SECONDS", 60)
        task_id = submit(worker)
        begun = time.monotonic()
        worker.cancel(task_id)
        check_cancelled(end_of(task_id))
        assert time.monotonic() - begun < 2

    def test_there_it_is_seen_soon(self, make_worker, end_of, record_of):
        one, other = make_worker(), make_worker()
        task_id = submit(one)
        wait_until(lambda: record_of(task_id).progress_done == 1)
        begun = time.monotonic()
        other.cancel(task_id)
        check_cancelled(end_of(task_id))
        assert time.monotonic() - begun < 2

    def test_no_other_task_is_ended(self, make_worker, end_of, record_of):
        one, other = make_worker(), make_worker()
        kept, cancelled = submit(one), submit(one)
        other.cancel(cancelled)
        check_cancelled(end_of(cancelled))
        assert record_of(kept).finished is None
        assert not record_of(kept).cancel_requested

    def test_a_command_is_ended_with_all_that_it_started(
        self, make_worker, end_of, record_of, token
    ):
        one, other = make_worker(), make_worker()
        script = f"setsid sleep {token} & {IGNORES_TERM}"
        task_id = submit_command(one, script)
        wait_until(lambda: alive_with(token))
        wait_until(lambda: record_of(task_id).state is State.STARTED)
        other.cancel(task_id)
        record = end_of(task_id)
        check_cancelled(record)
        assert record.signal == "SIGKILL"
        assert not alive_with(token)

    def test_twice_is_as_once(self, worker, end_of):
        task_id = submit(worker)
        worker.cancel(task_id)
        worker.cancel(task_id)
        check_cancelled(end_of(task_id))

    def test_a_finished_task_is_left_as_it_was(self, worker, end_of, record_of):
        before = end_of(submit_command(worker, "exit 7"))
        worker.cancel(before.task_id)
        assert record_of(before.task_id) == before

    def test_an_unknown_task_is_nothing(self, worker):
        worker.cancel("unknown")


class TestWatch:
    def test_nobody_looks_while_nothing_runs(self, worker, end_of):
        assert watchers() == []
        task_id = submit(worker)
        assert len(watchers()) == 1
        other_id = submit(worker)
        assert len(watchers()) == 1, "one for all tasks"
        for each in (task_id, other_id):
            worker.cancel(each)
            end_of(each)
        wait_until(lambda: watchers() == [])

    def test_it_is_there_again_for_the_next_task(self, make_worker, end_of):
        one, other = make_worker(), make_worker()
        for _ in range(2):
            task_id = submit(one)
            other.cancel(task_id)
            check_cancelled(end_of(task_id))
            wait_until(lambda: watchers() == [])

    @pytest.mark.parametrize(
        "fault", [StorageUnavailable(), ValueError("a fault of ours")]
    )
    def test_a_look_that_fails_is_logged_and_the_next_one_sees(
        self, worker, store, end_of, monkeypatch, fault
    ):
        def fail(task_ids):
            raise fault

        monkeypatch.setattr(thread_backend, "CANCEL_LOOK_SECONDS", 0.02)
        task_id = submit(worker)
        with capture_logs() as logs, monkeypatch.context() as patch:
            patch.setattr(store, "cancelled", fail)
            store.request_cancel(task_id)
            wait_until(lambda: len(logs) >= 2)
        assert {entry["event"] for entry in logs} == {"cancel.not_seen"}
        check_cancelled(end_of(task_id))

    def test_it_ends_when_the_worker_closes(self, worker):
        submit(worker)
        assert worker.close(seconds=10) == []
        assert watchers() == []


class TestStore:
    def test_those_that_were_asked_for_or_have_an_end_are_told(self, store, add_task):
        asked, not_asked, ended, elsewhere = (add_task() for _ in range(4))
        for task_id in (asked, ended, elsewhere):
            store.request_cancel(task_id)
        store.finish(ended, state="SUCCESS", finished=1.0)
        told = store.cancelled([asked, not_asked, ended, "unknown"])
        assert set(told) == {asked, ended}
        assert store.cancelled([]) == []

    def test_asking_for_a_finished_one_changes_nothing(self, store, add_task):
        task_id = add_task()
        store.finish(task_id, state="SUCCESS", finished=1.0)
        before = store.find(task_id)
        store.request_cancel(task_id)
        assert store.find(task_id) == before


class TestLimits:
    def test_a_kind_is_full_by_itself_across_workers(self, make_worker, token):
        one, other = make_worker(), make_worker()
        submit(one)
        submit(other)
        for worker in (one, other):
            with pytest.raises(CapacityExceeded):
                submit(worker)
        submit_command(one, f"sleep {token}", "a")
        submit_command(other, f"sleep {token}", "b")
        with pytest.raises(CapacityExceeded):
            submit_command(one, "true", "c")

    def test_a_cancelled_task_makes_room(self, worker, end_of):
        first, _ = submit(worker), submit(worker)
        worker.cancel(first)
        end_of(first)
        submit(worker)
