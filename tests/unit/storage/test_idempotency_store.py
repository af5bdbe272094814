"""Requests that are kept, and the task that each of them may start, once."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from app.errors import CapacityExceeded, KeyInFlight, SlotBusy, UuidRefused
from app.storage.engine import Database
from app.storage.idempotency_store import NOBODY, IdempotencyStore
from app.storage.task_store import Admission, Room, TaskStore
from tests.racing import race_threads
from tests.unit.storage.rows import task_row

DIGEST = "a digest"
ROOMY = Room(100)


@pytest.fixture
def requests(database: Database) -> IdempotencyStore:
    return IdempotencyStore(database)


def row(**changes: Any) -> dict[str, Any]:
    kept = {"digest": DIGEST, "fingerprint": "asked", "worker": "w", "created": 5.0}
    return kept | changes


def says(answer: bool) -> Callable[[Mapping[str, Any]], bool]:
    return lambda _: answer


def never_asked(kept: Mapping[str, Any]) -> bool:
    raise AssertionError("what it started is known")


def begin(
    requests: IdempotencyStore, *, in_flight: bool = True, **changes: Any
) -> Mapping[str, Any] | None:
    return requests.begin(row(**changes), in_flight=says(in_flight))


def add(store: TaskStore, *, room: Room = ROOMY, **admission: Any) -> str:
    """Add a task for the request; return its id."""
    new = task_row(slot=None)
    store.add(new, Admission(room, **({"request": DIGEST} | admission)))
    return str(new["task_id"])


class TestBegin:
    def test_what_comes_first_is_kept(self, requests: IdempotencyStore) -> None:
        assert begin(requests) is None
        again = begin(requests, worker="another", created=6.0)
        assert again is not None
        nothing = dict.fromkeys(("task_id", "status", "headers", "body"))
        assert dict(again) == row() | nothing

    def test_another_request_is_another(self, requests: IdempotencyStore) -> None:
        assert begin(requests) is None
        assert begin(requests, digest="another digest") is None

    def test_one_that_has_started_nothing_comes_first_again_once_nobody_is_at_it(
        self, requests: IdempotencyStore
    ) -> None:
        begin(requests)
        assert begin(requests, in_flight=False, worker="v", created=9.0) is None
        again = begin(requests)
        assert again is not None
        assert (again["worker"], again["created"]) == ("v", 9.0)

    def test_nobody_else_takes_its_place_with_something_else(
        self, requests: IdempotencyStore
    ) -> None:
        begin(requests)
        found = begin(requests, in_flight=False, fingerprint="something else")
        assert found is not None
        assert found["fingerprint"] == "asked"

    def test_one_that_has_started_something_never_comes_first_again(
        self, requests: IdempotencyStore, store: TaskStore
    ) -> None:
        begin(requests)
        task_id = add(store)
        found = requests.begin(row(), in_flight=never_asked)
        assert found is not None
        assert found["task_id"] == task_id

    def test_one_that_was_answered_never_comes_first_again(
        self, requests: IdempotencyStore
    ) -> None:
        begin(requests)
        requests.answer(DIGEST, status=201, headers="{}", body=b"\xff\0")
        found = requests.begin(row(), in_flight=never_asked)
        assert found is not None
        kept = found["status"], found["headers"], found["body"]
        assert kept == (201, "{}", b"\xff\0")

    def test_of_many_at_once_one_comes_first(
        self, database: Database, other: Database
    ) -> None:
        stores = IdempotencyStore(database), IdempotencyStore(other)
        results = race_threads(8, lambda n: begin(stores[n % 2], worker=str(n)))
        assert results.count(None) == 1
        winner = str(results.index(None))
        assert {kept["worker"] for kept in results if kept} == {winner}

    def test_of_many_that_take_a_dead_one_s_place_one_does(
        self, database: Database, other: Database
    ) -> None:
        stores = IdempotencyStore(database), IdempotencyStore(other)
        begin(stores[0], worker="dead")

        def come(number: int) -> Mapping[str, Any] | None:
            mine = row(worker=str(number))
            is_dead = lambda kept: kept["worker"] != "dead"  # noqa: E731
            return stores[number % 2].begin(mine, in_flight=is_dead)

        assert race_threads(8, come).count(None) == 1


class TestForget:
    def test_what_has_started_nothing_can_come_again(
        self, requests: IdempotencyStore
    ) -> None:
        begin(requests)
        requests.forget(DIGEST)
        assert begin(requests, fingerprint="something else") is None

    def test_what_has_started_a_task_stays_and_nobody_is_to_answer_it(
        self, requests: IdempotencyStore, store: TaskStore
    ) -> None:
        begin(requests)
        task_id = add(store)
        requests.forget(DIGEST)
        found = begin(requests)
        assert found is not None
        assert (found["task_id"], found["worker"]) == (task_id, NOBODY)

    def test_what_is_unknown_is_nothing(self, requests: IdempotencyStore) -> None:
        requests.forget("unknown")
        requests.answer("unknown", status=200, headers="{}", body=b"")
        assert begin(requests, digest="unknown") is None

    def test_what_came_before_a_moment_is_removed(
        self, requests: IdempotencyStore
    ) -> None:
        begin(requests, digest="old", created=4.0)
        begin(requests, created=5.0)
        requests.remove_before(5.0)
        assert begin(requests, digest="old") is None
        assert begin(requests) is not None


class TestTask:
    def test_a_request_starts_one_task_though_it_is_thought_to_come_first_twice(
        self, requests: IdempotencyStore, store: TaskStore
    ) -> None:
        begin(requests)
        assert begin(requests, in_flight=False) is None
        task_id = add(store)
        with pytest.raises(KeyInFlight):
            add(store)
        assert [each["task_id"] for each in store.unfinished("pelican")] == [task_id]

    def test_a_request_that_is_kept_no_more_starts_nothing(
        self, requests: IdempotencyStore, store: TaskStore
    ) -> None:
        begin(requests)
        requests.forget(DIGEST)
        with pytest.raises(KeyInFlight):
            add(store)
        assert store.unfinished("pelican") == []

    def test_of_many_starts_of_a_request_one_is_made(
        self, database: Database, other: Database
    ) -> None:
        stores = TaskStore(database), TaskStore(other)
        begin(IdempotencyStore(database))
        results = race_threads(8, lambda number: add(stores[number % 2]))
        assert [type(each) for each in results].count(KeyInFlight) == 7
        assert len(stores[0].unfinished("pelican")) == 1

    def test_of_a_start_and_one_who_takes_its_place_only_one_starts_something(
        self, database: Database, other: Database
    ) -> None:
        requests, stores = IdempotencyStore(other), (TaskStore(database),)
        for number in range(10):
            digest = f"digest {number}"
            begin(requests, digest=digest)

            def go_on(racer: int, digest: str = digest) -> str | None:
                if racer and begin(requests, digest=digest, in_flight=False):
                    return None
                return add(stores[0], request=digest)

            results = race_threads(2, go_on)
            started = [each for each in results if isinstance(each, str)]
            assert len(started) == 1, results
            assert len(stores[0].unfinished("pelican")) == number + 1

    @pytest.mark.parametrize(
        ("room", "slot", "refusal"),
        [(Room(1), None, CapacityExceeded), (Room(9), "taken", SlotBusy)],
    )
    def test_a_refused_start_is_not_tied(
        self,
        requests: IdempotencyStore,
        store: TaskStore,
        room: Room,
        slot: str | None,
        refusal: type[Exception],
    ) -> None:
        store.add(task_row(slot="taken"), Admission(Room(9)))
        begin(requests)
        with pytest.raises(refusal):
            store.add(task_row(slot=slot), Admission(room, request=DIGEST))
        assert begin(requests, in_flight=False) is None


class TestWithdraw:
    def test_a_task_that_could_not_be_begun_has_used_nothing_up(
        self, requests: IdempotencyStore, store: TaskStore
    ) -> None:
        begin(requests)
        admission = Admission(Room(1), request=DIGEST, uuid="a uuid's digest")
        for _ in range(2):
            row_ = task_row()
            store.add(row_, admission)
            store.withdraw(row_["task_id"], admission)
            assert store.find(row_["task_id"]) is None
        assert not store.is_used("a uuid's digest")
        requests.forget(DIGEST)
        assert begin(requests, fingerprint="something else") is None

    def test_what_others_have_used_up_stays(
        self, requests: IdempotencyStore, store: TaskStore
    ) -> None:
        begin(requests)
        kept = add(store, uuid="another uuid's digest")
        store.add(row := task_row(slot=None), Admission(Room(9), uuid="digest"))
        store.withdraw(row["task_id"], Admission(Room(9), uuid="digest"))
        assert [each["task_id"] for each in store.unfinished("pelican")] == [kept]
        with pytest.raises(UuidRefused):
            add(store, uuid="another uuid's digest")
        found = begin(requests, created=time.time())
        assert found is not None
        assert found["task_id"] == kept
