"""Whose turn it is, by the records of both databases: nobody waits for ever."""

import random
import time
import uuid
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import CapacityExceeded
from app.storage.engine import Database
from app.storage.task_store import Admission, Room, TaskStore
from tests.racing import race_threads
from tests.unit.storage.rows import task_row

MANY = 1000

OWNERS = st.sampled_from(["ann", "bob", "cid", None])
# The most that may run of each command; None where nothing is said of that.
COMMANDS = {"free": None, "one": 1, "two": 2}
# The seed says which of those that run ends next.
SEEDS = st.integers(0, 2**32)
COMERS = st.lists(st.tuples(OWNERS, st.sampled_from(sorted(COMMANDS))), max_size=16)
ROOMS = st.integers(1, 4)

at_random = settings(
    # Each example is on a host of its own.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


class Host:
    """A host with room for some, on which tasks come, are let in and end."""

    def __init__(self, store: TaskStore, max_running: int, queued: int = MANY) -> None:
        self.store = store
        self.name = str(uuid.uuid4())
        self.room = Room(max_running, queued)
        self.tasks: dict[str, tuple[str | None, str]] = {}
        self.started: list[str] = []
        self.running: set[str] = set()

    def come(self, owner: str | None = "ann", command: str = "free") -> str:
        row = task_row(
            owner=owner,
            host=self.name,
            command=command,
            max_running=COMMANDS[command],
        )
        waits = self.store.add(row, Admission(self.room))
        self.tasks[row["task_id"]] = (owner, command)
        if not waits:
            self._start([row["task_id"]])
        return str(row["task_id"])

    def look(self, task_ids: Sequence[str] | None = None) -> list[str]:
        """Let in whose turn it is, of those that one worker asks for, or of all."""
        mine = self.tasks if task_ids is None else task_ids
        most = self.room.max_running
        claimed = self.store.claim(self.name, "exec", mine, max_running=most)
        new = [each for each in claimed if each not in self.running]
        self._start(new)
        return new

    def end(self, task_id: str) -> None:
        assert self.store.finish(task_id, state="SUCCESS", finished=time.time())
        self.running.discard(task_id)
        del self.tasks[task_id]

    def let_in(self) -> None:
        """Let in whose turn it is, of all."""
        most = self.room.max_running
        turns = self.store.let_in(self.name, "exec", max_running=most)
        assert {worker for _, worker in turns} <= {task_row()["worker"]}
        self._start([each for each, _ in turns])
        assert self.look() == []

    def waiting(self) -> list[str]:
        return list(self.store.queue(self.name, "exec"))

    def run_to_the_end(self, chance: random.Random) -> list[str]:
        """End one after the other in any order; return who was started, in order."""
        before = len(self.started)
        while self.running:
            self.end(chance.choice(sorted(self.running)))
            if chance.random() < 0.5:
                self.let_in()
            else:
                self.look()
        return self.started[before:]

    def _start(self, task_ids: Sequence[str]) -> None:
        self.started += task_ids
        self.running |= set(task_ids)
        of_command = Counter(self.tasks[each][1] for each in self.running)
        assert len(self.running) <= self.room.max_running
        assert of_command["one"] <= 1
        assert of_command["two"] <= 2


class TestAnyOrder:
    @at_random
    @given(comers=COMERS, room=ROOMS, seed=SEEDS)
    def test_all_come_to_their_turn_and_never_more_run_than_may(
        self, store: TaskStore, comers: list[tuple[str, str]], room: int, seed: int
    ) -> None:
        host, chance = Host(store, room), random.Random(seed)
        for owner, command in comers:
            host.come(owner, command)
            if host.running and chance.random() < 0.3:
                host.end(chance.choice(sorted(host.running)))
            if chance.random() < 0.5:
                host.look()
        host.look()
        host.run_to_the_end(chance)
        assert host.tasks == {}
        assert len(host.started) == len(set(host.started)) == len(comers)

    @at_random
    @given(owners=st.lists(OWNERS, max_size=14), room=ROOMS, seed=SEEDS)
    def test_the_line_is_the_order_in_which_they_start_whichever_end_first(
        self, store: TaskStore, owners: list[str], room: int, seed: int
    ) -> None:
        host, chance = Host(store, room), random.Random(seed)
        for owner in owners:
            host.come(owner)
            if chance.random() < 0.2:
                host.end(chance.choice(sorted(host.running)))
                host.look()
        line = host.waiting()
        assert host.run_to_the_end(chance) == line

    @at_random
    @given(owners=st.lists(OWNERS, max_size=14), room=ROOMS, seed=SEEDS)
    def test_of_one_owner_the_first_to_come_is_the_first_to_start(
        self, store: TaskStore, owners: list[str], room: int, seed: int
    ) -> None:
        host = Host(store, room)
        came = [(owner, host.come(owner)) for owner in owners]
        host.run_to_the_end(random.Random(seed))
        for name in set(owners):
            theirs = [task_id for owner, task_id in came if owner == name]
            assert [each for each in host.started if each in theirs] == theirs


class TestTurns:
    @pytest.mark.parametrize("room", [1, 2, 3])
    def test_sixty_of_one_caller_delay_another_s_by_a_turn_of_each_slot_at_most(
        self, store: TaskStore, room: int
    ) -> None:
        host = Host(store, room)
        flood = [host.come("ann") for _ in range(60)]
        for _ in range(5):  # it has been at it for some time
            host.end(min(host.running))
            host.look()
        late = host.come("bob")
        before = len(host.started)
        while late not in host.running:
            host.end(next(each for each in flood if each in host.running))
            host.look()
        assert len(host.started) - before - 1 <= room

    def test_who_comes_again_at_once_does_not_go_before_who_waits(
        self, store: TaskStore
    ) -> None:
        host = Host(store, 1)
        flood = [host.come("ann") for _ in range(20)]
        current = host.come("bob")
        ends = 0
        while any(each in host.tasks for each in flood):
            [running] = host.running
            host.end(running)
            ends += 1
            if running == current:  # before anybody has looked whose turn it is
                current = host.come("bob")
            host.look()
            assert ends <= 45

    def test_two_who_wait_take_turns_though_none_of_theirs_runs(
        self, store: TaskStore
    ) -> None:
        host = Host(store, 1)
        first = host.come("cid")
        anns = [host.come("ann") for _ in range(3)]
        bobs = [host.come("bob") for _ in range(3)]
        host.end(first)
        host.look()
        host.run_to_the_end(random.Random(0))
        taken = [each for pair in zip(anns, bobs, strict=True) for each in pair]
        assert host.started == [first, *taken]

    def test_who_leaves_the_line_leaves_no_gap(self, store: TaskStore) -> None:
        host = Host(store, 1)
        host.come("ann")
        anns = [host.come("ann") for _ in range(10)]
        for task_id in anns[:9]:
            host.end(task_id)
        bobs = [host.come("bob") for _ in range(3)]
        assert host.waiting() == [anns[9], *bobs]


class TestCommands:
    def test_one_that_is_full_does_not_hold_up_others(self, store: TaskStore) -> None:
        host = Host(store, 2)
        runs = host.come("ann", "one")
        held_back = [host.come("ann", "one") for _ in range(3)]
        free = host.come("ann")
        assert host.running == {runs, free}
        for _ in range(3):  # nor when they have to wait
            new_of_ann, new_of_bob = host.come("ann"), host.come("bob")
            for expected in (new_of_ann, new_of_bob):
                [other] = host.running - {runs}
                host.end(other)
                assert host.look() == [expected]
        host.end(runs)
        assert host.look()[0] == held_back[0]

    def test_one_that_is_full_is_full_on_its_own_host_only(
        self, store: TaskStore
    ) -> None:
        one, other = Host(store, 2), Host(store, 2)
        one.come("ann", "one")
        other.come("ann", "one")
        assert one.waiting() == other.waiting() == []
        assert one.come("ann", "one") in one.waiting()

    def test_what_waits_for_its_command_counts_as_waiting(
        self, store: TaskStore
    ) -> None:
        host = Host(store, 8, queued=1)
        host.come("ann", "one")
        host.come("bob", "one")
        with pytest.raises(CapacityExceeded):
            host.come("cid", "one")
        host.come("cid")


class TestRoom:
    def test_as_many_wait_as_may(self, store: TaskStore) -> None:
        host = Host(store, 2, queued=3)
        for _ in range(5):
            host.come()
        with pytest.raises(CapacityExceeded) as refused:
            host.come("bob")
        assert refused.value.retry_after_seconds >= 1
        assert len(host.waiting()) == 3

    def test_whose_turn_it_is_takes_no_place_from_others_though_nobody_has_looked(
        self, store: TaskStore
    ) -> None:
        host = Host(store, 1, queued=2)
        first, *_ = [host.come() for _ in range(3)]
        host.end(first)
        host.come()
        with pytest.raises(CapacityExceeded):
            host.come()

    def test_without_a_line_nobody_waits(self, store: TaskStore) -> None:
        host = Host(store, 1, queued=0)
        host.come()
        with pytest.raises(CapacityExceeded):
            host.come("bob")

    def test_who_comes_when_there_is_room_again_does_not_go_before_who_waits(
        self, store: TaskStore
    ) -> None:
        host = Host(store, 1)
        first, waits = host.come("ann"), host.come("ann")
        host.end(first)
        late = host.come("bob")
        assert host.waiting() == [waits, late]


class TestClaims:
    def test_room_is_kept_for_who_is_before_in_another_worker(
        self, store: TaskStore
    ) -> None:
        host = Host(store, 1)
        first = host.come("ann")
        theirs, mine = host.come("ann"), host.come("bob")
        host.end(first)
        assert host.look([mine]) == []
        assert host.look([theirs]) == [theirs]

    def test_one_whose_answer_was_lost_is_given_again(self, store: TaskStore) -> None:
        host = Host(store, 1)
        first, second = host.come(), host.come()
        host.end(first)
        for _ in range(2):
            claimed = store.claim(host.name, "exec", [second], max_running=1)
            assert list(claimed) == [second]

    def test_who_has_ended_is_not_given(self, store: TaskStore) -> None:
        host = Host(store, 1)
        first, second = host.come(), host.come()
        host.end(second)
        host.end(first)
        assert not store.claim(host.name, "exec", [first, second], max_running=1)

    def test_none_and_others_of_another_kind_or_host_are_left(
        self, store: TaskStore
    ) -> None:
        host = Host(store, 1)
        host.come()
        waits = host.come()
        assert not store.claim(host.name, "exec", [], max_running=9)
        assert not store.claim(host.name, "iostat", [waits], max_running=9)
        assert not store.claim("another", "exec", [waits], max_running=9)
        assert host.waiting() == [waits]

    def test_of_many_that_look_at_once_no_more_go_on_than_may(
        self, database: Database, other: Database
    ) -> None:
        stores = TaskStore(database), TaskStore(other)
        host = Host(stores[0], 3)
        came = [host.come(f"owner {number % 5}") for number in range(15)]
        for task_id in sorted(host.running):
            host.end(task_id)

        def look(number: int) -> Sequence[str]:
            mine = came[3 + number :: 4]
            claim = stores[number % 2].claim
            return claim(host.name, "exec", mine, max_running=3)

        claimed: set[str] = set()
        for _ in range(3):  # the room of the first may have been kept for others
            for found in race_threads(4, look):
                claimed |= set(found)
        assert len(claimed) == 3
        rows = stores[0].unfinished(host.name)
        assert {r["task_id"] for r in rows if not r["is_queued"]} == claimed
