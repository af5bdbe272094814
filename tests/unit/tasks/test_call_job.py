import json
import threading

import pytest
from structlog.testing import capture_logs

from app.errors import ShuttingDown, StorageUnavailable
from app.storage.task_store import Room
from app.tasks.call_job import Call, CallJob
from app.tasks.order import Origin
from app.tasks.states import State
from app.tasks.thread_backend import ThreadBackend
from app.tasks.waiting_line import WaitingLine
from tests.racing import race_threads
from tests.servers import wait_until
from tests.unit.tasks.conftest import HOST

NO_OUTPUT = None


class Caller:
    """What is called; it waits to be stopped where `waits` says so."""

    def __init__(self, result=None, failure=None, *, waits=False, fault=None):
        self.made = threading.Event()
        self.given_up = []
        self.starts = 0
        self._answer = {"n": 1} if result is None else result, failure
        self._waits = waits
        self._fault = fault

    def make(self, is_stopped):
        self.made.set()
        if self._waits:
            wait_until(is_stopped)
        if self._fault:
            raise self._fault
        return self._answer

    def give_up(self, reason):
        self.given_up.append(reason)
        if self._fault:
            raise self._fault

    def started(self):
        self.starts += 1

    @property
    def call(self):
        return Call("sms", self.make, self.give_up)

    @property
    def job(self):
        return CallJob(self.call, started=self.started)


class TestRun:
    @pytest.mark.parametrize(
        ("failure", "state", "reason"),
        [(None, State.SUCCESS, "exit"), ("rejected", State.FAILURE, "rejected")],
    )
    def test_what_the_call_returned_is_the_result(self, failure, state, reason):
        caller = Caller({"word": "中"}, failure)
        end = caller.job.run(NO_OUTPUT)
        assert (end["state"], end["reason"]) == (state, reason)
        assert json.loads(end["result"]) == {"word": "中"}
        assert (caller.starts, caller.given_up) == (1, [])

    @pytest.mark.parametrize(
        ("reason", "state"),
        [
            ("cancelled", State.REVOKED),
            ("shutdown", State.REVOKED),
            ("spawn_failed", State.FAILURE),
        ],
    )
    def test_stopped_before_it_is_given_up_once_and_not_made(self, reason, state):
        caller = Caller()
        job = caller.job
        job.stop(reason)
        job.stop("shutdown")
        end = job.run(NO_OUTPUT)
        assert (end["state"], end["reason"]) == (state, reason)
        assert "result" not in end
        assert (caller.given_up, caller.starts) == ([reason], 0)
        assert not caller.made.is_set()

    def test_stopped_meanwhile_it_comes_to_its_own_end(self):
        caller, ends = Caller(waits=True), []
        job = caller.job
        thread = threading.Thread(target=lambda: ends.append(job.run(NO_OUTPUT)))
        thread.start()
        caller.made.wait(20)
        job.stop("cancelled")
        thread.join()
        [end] = ends
        assert (end["state"], end["result"]) == (State.SUCCESS, '{"n": 1}')
        assert caller.given_up == []

    def test_it_is_made_or_given_up_and_never_both(self):
        for _ in range(50):
            caller = Caller()
            job = caller.job
            race_threads(
                3, lambda n, job=job: job.stop("cancelled") if n else job.run(NO_OUTPUT)
            )
            assert caller.given_up == ([] if caller.made.is_set() else ["cancelled"])

    def test_without_the_records_it_is_stopped_all_the_same(self):
        fault = StorageUnavailable()
        fault.__cause__ = OSError("away")
        caller = Caller(fault=fault)
        job = caller.job
        with capture_logs() as logs:
            job.stop("shutdown")
        assert job.run(NO_OUTPUT)["state"] is State.REVOKED
        assert [(e["event"], e["error"]) for e in logs] == [
            ("call.not_given_up", "away")
        ]


@pytest.fixture
def backend(store, outputs, notices, detached, tmp_path):
    made = ThreadBackend(
        store=store,
        outputs=outputs,
        host=HOST,
        room={"sms": Room(1, 5)},
        line=WaitingLine(tmp_path / "queue", notices=notices),
        grace_seconds=1,
        detached=detached,
    )
    yield made
    made.close(seconds=20)


def submit(backend, caller, task_id="t-1"):
    origin = Origin(owner="ann", request_id="r-1")
    return backend.submit_call(caller.call, origin, task_id=task_id)


class TestThroughTheBackend:
    def test_the_record_tells_all_of_it_by_the_id_that_was_given(self, backend, end_of):
        assert submit(backend, Caller(failure="partial")).task_id == "t-1"
        record = end_of("t-1")
        assert (record.kind, record.owner, record.slot) == ("sms", "ann", None)
        assert (record.state, record.reason) == (State.FAILURE, "partial")
        assert (record.result, record.request_id) == ('{"n": 1}', "r-1")
        assert record.created <= record.started <= record.finished
        assert (record.cmd, record.end_offset) == (None, 0)

    def test_a_fault_of_the_call_s_is_a_failure_without_its_words(
        self, backend, end_of
    ):
        submit(backend, Caller(fault=ValueError("a fault")))
        record = end_of("t-1")
        assert (record.state, record.reason) == (State.FAILURE, "internal_error")
        assert record.result is None

    def test_one_that_waits_for_room_is_given_up_where_it_is_cancelled(
        self, backend, end_of
    ):
        running, waiting = Caller(waits=True), Caller()
        submit(backend, running)
        running.made.wait(20)
        assert submit(backend, waiting, "t-2").is_queued
        backend.cancel("t-2")
        record = end_of("t-2")
        assert (record.state, record.reason) == (State.REVOKED, "cancelled")
        assert waiting.given_up == ["cancelled"]
        assert not waiting.made.is_set()
        assert not running.given_up

    def test_a_shutdown_lets_one_end_and_gives_the_waiting_up(self, backend, record_of):
        fault = StorageUnavailable()
        running, waiting = Caller(waits=True), [Caller(), Caller(fault=fault), Caller()]
        submit(backend, running)
        running.made.wait(20)
        for number, each in enumerate(waiting):
            submit(backend, each, f"w-{number}")
        assert backend.close(seconds=20) == []
        assert record_of("t-1").state is State.SUCCESS
        assert [each.given_up for each in waiting] == [["shutdown"]] * 3
        for number in range(3):
            record = record_of(f"w-{number}")
            assert (record.state, record.reason) == (State.REVOKED, "shutdown")
        late = Caller()
        with pytest.raises(ShuttingDown):
            submit(backend, late, "late")
        assert (late.given_up, late.made.is_set()) == ([], False)
