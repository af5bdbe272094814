"""Commands that wait for room: real children, real records, in order and once."""

import random
import threading
import time

import pytest
from structlog.testing import capture_logs

from app.errors import CapacityExceeded, ShuttingDown, StorageUnavailable
from app.storage.idempotency_store import IdempotencyStore
from app.tasks import runner, waiting_line
from app.tasks.kept_requests import KeptRequests
from app.tasks.order import Order, Origin
from app.tasks.states import State
from app.tasks.waiting_line import WaitingLine
from tests.commands import shell
from tests.servers import wait_until


class Place:
    """Workers of one host, and commands that each note their start in a file."""

    def __init__(self, folder, make_backend, record_of, end_of):
        self.make, self.record_of, self.end_of = make_backend, record_of, end_of
        self._ran, self._gate = folder / "ran", folder / "gate"

    def submit(self, backend, name, owner="ann", *, seconds=60, **of):
        """Submit what notes its name and waits for the gate; return its id."""
        script = (
            f"echo {name} >> {self._ran};"
            f"while [ ! -e {self._gate} ]; do sleep 0.02; done; echo {name}"
        )
        ran = shell(script, timeout_seconds=seconds)
        room = {"name": of.pop("command", None), "max_running": of.pop("most", None)}
        origin = Origin(owner=owner, request_id=None, **of)
        return backend.submit(Order(ran, cmd=script, **room), origin).task_id

    def running(self, backend, name="first", owner="ann"):
        """Submit one that fills the room; return its id when it runs."""
        task_id = self.submit(backend, name, owner)
        wait_until(lambda: self.record_of(task_id).state is State.STARTED)
        return task_id

    def open(self):
        """Let all go on to their end."""
        self._gate.touch()

    def effects(self):
        """Return the names of those that ran, in the order of their starts."""
        return self._ran.read_text().split()


@pytest.fixture
def place(tmp_path, make_backend, record_of, end_of):
    return Place(tmp_path, make_backend, record_of, end_of)


def threads():
    names = ("waiting-line", "run-", "cancel-watch")
    return [t.name for t in threading.enumerate() if t.name.startswith(names)]


class TestOrder:
    def test_they_run_in_the_order_of_their_turns(self, place, store):
        backend = place.make(max_running=1, max_queued=20)
        task_ids = {"first": place.running(backend)}
        owners = random.Random(4).choices("abc", k=12)
        for number, owner in enumerate(owners):
            name = f"{owner}{number}"
            task_ids[name] = place.submit(backend, name, owner)
        line = store.queue("pelican", "exec")
        names = {task_id: name for name, task_id in task_ids.items()}
        place.open()
        for task_id in task_ids.values():
            assert place.end_of(task_id).state is State.SUCCESS
        assert place.effects() == ["first", *(names[task_id] for task_id in line)]

    def test_over_two_workers_no_more_run_than_may(self, place):
        backends = [place.make(max_running=2, max_queued=20) for _ in range(2)]
        task_ids = [
            place.submit(backends[n % 2], str(n), f"o{n % 3}") for n in range(8)
        ]

        def states() -> list[State]:
            return [place.record_of(task_id).state for task_id in task_ids]

        wait_until(lambda: len(place.effects()) == 2)
        wait_until(lambda: states().count(State.STARTED) == 2)
        assert states().count(State.QUEUED) == 6
        place.open()
        for task_id in task_ids:
            assert place.end_of(task_id).state is State.SUCCESS
        assert sorted(place.effects()) == [str(n) for n in range(8)]
        ends = [place.record_of(task_id) for task_id in task_ids]
        for each in ends:
            beside = [o for o in ends if o.started <= each.started < o.finished]
            assert len(beside) <= 2

    def test_a_command_has_room_of_its_own_over_two_workers(self, place):
        one, other = (place.make(max_running=9, max_queued=9) for _ in range(2))
        alone = {"command": "alone", "most": 1}
        task_ids = [place.submit(one, "a", **alone), place.submit(other, "b", **alone)]
        task_ids += [place.submit(other, "c", "bob"), place.submit(one, "d")]
        wait_until(lambda: set(place.effects()) == {"a", "c", "d"})
        place.open()
        for task_id in task_ids:
            place.end_of(task_id)
        assert place.effects()[-1] == "b"

    def test_an_end_is_told_to_who_waits_in_any_worker(self, place, monkeypatch):
        monkeypatch.setattr(waiting_line, "LOOK_SECONDS", 60)
        one, other = (place.make(max_running=1, max_queued=9) for _ in range(2))
        first = place.running(one)
        task_ids = [place.submit(worker, "next") for worker in (one, other)]
        # Both have looked once, and look again when they are told.
        wait_until(lambda: all(each._line._thread for each in (one, other)))
        one.cancel(first)
        place.open()
        for task_id in task_ids:
            assert place.end_of(task_id).state is State.SUCCESS

    def test_as_many_wait_as_may_over_two_workers(self, place):
        backends = [place.make(max_running=1, max_queued=2) for _ in range(2)]
        for number in range(3):
            place.submit(backends[number % 2], str(number))
        for backend in backends:
            with pytest.raises(CapacityExceeded):
                place.submit(backend, "too many")


class TestRecord:
    def test_who_waits_is_queued_and_has_no_start(self, place):
        backend = place.make(max_running=1, max_queued=1)
        place.running(backend)
        record = place.record_of(place.submit(backend, "second"))
        assert (record.state, record.is_queued) == (State.QUEUED, True)
        assert (record.started, record.finished) == (None, None)

    def test_the_time_that_it_may_take_begins_with_its_start(self, place):
        backend = place.make(max_running=1, max_queued=1)
        first = place.running(backend)
        task_id = place.submit(backend, "second", seconds=0.4)
        before = time.monotonic()
        wait_until(lambda: time.monotonic() - before > 0.5)
        assert place.record_of(task_id).is_queued
        backend.cancel(first)
        record = place.end_of(task_id)
        assert (record.state, record.reason) == (State.FAILURE, "timeout")
        assert record.started >= place.record_of(first).finished

    def test_its_end_can_be_waited_for(self, place):
        backend = place.make(max_running=1, max_queued=1)
        place.running(backend)
        task_id = place.submit(backend, "second")
        waited = backend.wait(task_id, seconds=0.05)
        assert waited is not None
        assert waited.finished is None
        place.open()
        ended = backend.wait(task_id, seconds=20)
        assert ended is None or ended.finished is not None


class TestCancel:
    def test_one_that_waits_is_ended_at_once_and_never_starts(self, place):
        backend = place.make(max_running=1, max_queued=2)
        first, cancelled, last = (
            place.running(backend),
            place.submit(backend, "cancelled"),
            place.submit(backend, "last"),
        )
        backend.cancel(cancelled)
        record = place.record_of(cancelled)
        assert (record.state, record.reason) == (State.REVOKED, "cancelled")
        assert (record.started, record.returncode) == (None, None)
        assert backend.wait(cancelled, seconds=0) is None
        place.open()
        place.end_of(first)
        place.end_of(last)
        assert place.effects() == ["first", "last"]

    def test_also_by_another_worker(self, place):
        one, other = (place.make(max_running=1, max_queued=2) for _ in range(2))
        first = place.running(one)
        cancelled = place.submit(one, "cancelled")
        other.cancel(cancelled)
        assert place.end_of(cancelled).reason == "cancelled"
        place.open()
        place.end_of(first)
        assert place.effects() == ["first"]

    def test_between_its_turn_and_its_start_it_never_starts_or_is_ended(self, place):
        backend = place.make(max_running=1, max_queued=9)
        for number in range(8):
            first = place.running(backend)
            waits = place.submit(backend, f"second-{number}")
            canceller = threading.Thread(target=backend.cancel, args=(waits,))
            backend.cancel(first)
            canceller.start()
            canceller.join()
            record = place.end_of(waits)
            assert (record.state, record.reason) == (State.REVOKED, "cancelled")
            assert place.end_of(first).reason == "cancelled"
        wait_until(lambda: threads() == [])

    def test_its_place_is_another_s(self, place):
        backend = place.make(max_running=1, max_queued=1)
        place.running(backend)
        cancelled = place.submit(backend, "cancelled")
        with pytest.raises(CapacityExceeded):
            place.submit(backend, "refused")
        backend.cancel(cancelled)
        place.end_of(cancelled)
        place.submit(backend, "admitted")


class TestClosing:
    def test_who_waits_is_ended_for_that_reason_and_never_starts(self, place):
        backend = place.make(max_running=1, max_queued=9, grace_seconds=0.2)
        first = place.running(backend)
        waiting = [place.submit(backend, f"w{number}") for number in range(5)]
        assert backend.close(seconds=20) == []
        for task_id in (first, *waiting):
            record = place.record_of(task_id)
            assert (record.state, record.reason) == (State.REVOKED, "shutdown")
        assert {place.record_of(each).started for each in waiting} == {None}
        assert place.effects() == ["first"]
        assert threads() == []

    def test_other_workers_go_on(self, place):
        one, other = (place.make(max_running=1, max_queued=9) for _ in range(2))
        place.running(one)
        place.submit(one, "never")
        goes_on = place.submit(other, "goes on")
        place.open()
        one.close(seconds=20)
        assert place.end_of(goes_on).state is State.SUCCESS

    def test_without_the_records_it_takes_no_longer_than_told(
        self, place, store, monkeypatch
    ):
        def fail(*args, **values):
            raise StorageUnavailable from OSError("away")

        backend = place.make(max_running=1, max_queued=9, grace_seconds=0.2)
        task_ids = [place.running(backend)]
        task_ids += [place.submit(backend, f"w{number}") for number in range(3)]
        with monkeypatch.context() as patch:
            patch.setattr(store, "finish", fail)
            begun = time.monotonic()
            assert sorted(backend.close(seconds=1)) == sorted(task_ids)
            assert time.monotonic() - begun < 10
        wait_until(lambda: threads() == [])


class TestTrouble:
    def test_a_claim_that_fails_before_or_after_it_is_written_is_made_again(
        self, place, store, monkeypatch
    ):
        claim, lost = store.claim, []

        def fail(*args, **values):
            if len(lost) % 2:  # before it is written
                lost.append(None)
                raise StorageUnavailable from OSError("away")
            claimed = claim(*args, **values)
            if claimed and claimed not in lost:
                lost.append(claimed)  # after it
                raise StorageUnavailable from OSError("away")
            return claimed

        monkeypatch.setattr(waiting_line, "LOOK_SECONDS", 0.05)
        monkeypatch.setattr(store, "claim", fail)
        # Who has let them in dies before it tells them.
        monkeypatch.setattr(WaitingLine, "let_in", lambda *_: None)
        backend = place.make(max_running=1, max_queued=3)
        task_ids = [place.running(backend)]
        task_ids += [place.submit(backend, f"w{number}") for number in range(3)]
        place.open()
        for task_id in task_ids:
            assert place.end_of(task_id).state is State.SUCCESS
        assert place.effects() == ["first", "w0", "w1", "w2"]
        assert lost == [x for each in task_ids[1:] for x in ([each], None)]

    def test_where_no_thread_can_be_had_for_its_turn_that_is_its_end(
        self, place, monkeypatch
    ):
        begin = threading.Thread.start

        def refuse(thread):
            if thread.name == f"run-{waits}":
                raise RuntimeError("can't start new thread")
            begin(thread)

        backend = place.make(max_running=1, max_queued=2)
        place.running(backend)
        waits, last = place.submit(backend, "waits"), place.submit(backend, "last")
        monkeypatch.setattr(threading.Thread, "start", refuse)
        place.open()
        record = place.end_of(waits)
        assert (record.state, record.reason) == (State.FAILURE, "spawn_failed")
        assert place.end_of(last).state is State.SUCCESS
        assert place.effects() == ["first", "last"]

    def test_where_no_thread_can_be_had_to_wait_nothing_was_asked(
        self, place, store, database, monkeypatch
    ):
        def refuse(thread):
            raise RuntimeError("can't start new thread")

        requests = KeptRequests(IdempotencyStore(database))
        once = {"uuid": "a uuid's digest", "request": "a request's digest"}
        backend = place.make(max_running=1, max_queued=2)
        first = place.running(backend)
        for _ in range(2):
            assert requests.begin("a request's digest", asked=1) is None
            with monkeypatch.context() as patch:
                patch.setattr(threading.Thread, "start", refuse)
                with pytest.raises(CapacityExceeded):
                    place.submit(backend, "waits", **once)
            requests.forget("a request's digest")
        assert [row["task_id"] for row in store.unfinished("pelican")] == [first]
        assert not store.is_used("a uuid's digest")

        requests.begin("a request's digest", asked=1)
        waits = place.submit(backend, "waits", **once)
        place.open()
        assert place.end_of(waits).state is State.SUCCESS

    def test_one_that_comes_while_the_worker_closes_has_asked_nothing(
        self, place, store, database
    ):
        requests = KeptRequests(IdempotencyStore(database))
        once = {"uuid": "a uuid's digest", "request": "a request's digest"}
        backend = place.make(max_running=1, max_queued=2)
        backend.close(seconds=1)
        requests.begin("a request's digest", asked=1)
        with pytest.raises(ShuttingDown):
            place.submit(backend, "refused", **once)
        requests.forget("a request's digest")
        assert store.unfinished("pelican") == []
        assert not store.is_used("a uuid's digest")
        assert requests.begin("a request's digest", asked=2) is None

    def test_without_the_records_they_go_on_when_they_are_back(
        self, place, store, monkeypatch
    ):
        away = threading.Event()

        def may_fail(method):
            def call(*args, **values):
                if away.is_set():
                    raise StorageUnavailable from OSError("away")
                return method(*args, **values)

            return call

        monkeypatch.setattr(waiting_line, "LOOK_SECONDS", 0.05)
        monkeypatch.setattr(runner, "RETRY_SECONDS", 0.05)
        for name in ("claim", "finish", "start"):
            monkeypatch.setattr(store, name, may_fail(getattr(store, name)))
        backend = place.make(max_running=1, max_queued=2)
        task_ids = [place.running(backend), place.submit(backend, "waits")]
        with capture_logs() as logs:
            away.set()
            place.open()
            wait_until(lambda: "task.end_not_written" in {e["event"] for e in logs})
            wait_until(lambda: "queue.not_seen" in {e["event"] for e in logs})
        away.clear()
        for task_id in task_ids:
            assert place.end_of(task_id).state is State.SUCCESS


def test_two_hundred_that_wait_leave_nothing_behind(place, tmp_path):
    place.open()
    backends = [place.make(max_running=4, max_queued=300) for _ in range(2)]
    task_ids = [place.submit(backends[n % 2], n, f"o{n % 7}") for n in range(200)]
    for task_id in task_ids:
        assert place.end_of(task_id).state is State.SUCCESS
    assert sorted(map(int, place.effects())) == list(range(200))
    wait_until(lambda: threads() == [])
    assert [repr(each) for each in backends] == ["<ThreadBackend tasks=0>"] * 2
    assert list((tmp_path / "queue").iterdir()) == []
