"""The hosts and their signs of life, on both databases."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from app.errors import StorageUnavailable
from app.storage.engine import Database
from app.storage.host_store import HostStore
from app.storage.task_store import Admission, Room, TaskStore
from tests.racing import race_threads
from tests.unit.storage.rows import task_row

TOLD: dict[str, Any] = {
    "worker": "boot:1:2",
    "version": "1.0",
    "labels": '{"role": "web"}',
    "room": '{"exec": [4, 8]}',
    "readings": '{"load": [0.1, 0.2, 0.3]}',
    "draining": False,
}


@pytest.fixture
def hosts(database: Database) -> HostStore:
    return HostStore(database)


def beat(hosts: HostStore, name: str = "pelican", **changes: Any) -> int:
    return hosts.beat(name, **TOLD | changes)


def found(hosts: HostStore, name: str = "pelican") -> dict[str, Any]:
    row = hosts.find(name)
    assert row is not None
    return dict(row)


def test_at_first_there_are_none(hosts: HostStore) -> None:
    assert hosts.all() == []
    assert hosts.find("pelican") is None
    assert hosts.beats() == {}


def test_a_host_is_found_as_it_was_announced(hosts: HostStore) -> None:
    beat(hosts)
    row = found(hosts)
    assert {name: row[name] for name in TOLD} == TOLD
    assert abs(row["seen"] - time.time()) < 5  # its server is on this machine
    assert row["started"] == pytest.approx(row["seen"], abs=0.1)
    assert -0.01 <= row["seconds_since_seen"] < 5


def test_each_sign_of_life_is_counted_and_tells_the_newest(hosts: HostStore) -> None:
    assert [beat(hosts), beat(hosts, draining=True), beat(hosts, room="{}")] == [
        *(1, 2, 3)
    ]
    assert hosts.beats() == {"pelican": 3}
    row = found(hosts)
    assert (row["draining"], row["room"]) == (False, "{}")
    assert len(hosts.all()) == 1


def test_a_worker_began_when_it_was_first_seen(hosts: HostStore) -> None:
    beat(hosts)
    began = found(hosts)["started"]
    beat(hosts)
    assert found(hosts)["started"] == began
    beat(hosts, worker="boot:3:4")
    assert found(hosts)["started"] > began


def test_hosts_are_listed_by_name(hosts: HostStore) -> None:
    for name in ("b", "a", "c"):
        beat(hosts, name)
    assert [row["name"] for row in hosts.all()] == ["a", "b", "c"]


def test_a_worker_that_ends_is_away_at_once(hosts: HostStore) -> None:
    beat(hosts)
    hosts.leave("pelican", worker="boot:1:2", away_seconds=5)
    assert 5 <= found(hosts)["seconds_since_seen"] < 10
    assert hosts.beats() == {"pelican": 1}


def test_it_says_nothing_of_the_one_that_came_after_it(hosts: HostStore) -> None:
    beat(hosts)
    beat(hosts, worker="boot:3:4")
    hosts.leave("pelican", worker="boot:1:2", away_seconds=5)
    assert found(hosts)["seconds_since_seen"] < 5


def test_many_announce_themselves_at_once(hosts: HostStore) -> None:
    counts = race_threads(8, lambda n: [beat(hosts, f"host-{n % 4}") for _ in "abc"])
    told = [count for each in counts for count in each]
    assert sorted(told) == sorted([1, 2, 3, 4, 5, 6] * 4)
    assert set(hosts.beats().values()) == {6}


@pytest.fixture
def old_hosts(hosts: HostStore, store: TaskStore) -> Iterator[None]:
    """Announce hosts that were last seen long ago, one of them with a task."""
    for name in ("gone", "has-task"):
        beat(hosts, name)
        hosts.leave(name, worker=TOLD["worker"], away_seconds=100)
    store.add(task_row(host="has-task"), Admission(Room(9)))
    beat(hosts, "here")
    return


@pytest.mark.usefixtures("old_hosts")
def test_old_hosts_are_forgotten_once_no_task_is_kept_of_them(
    hosts: HostStore, store: TaskStore
) -> None:
    assert hosts.forget(unseen_seconds=200) == []
    assert hosts.forget(unseen_seconds=50) == ["gone"]
    store.remove([row["task_id"] for row in store.on_host("has-task")])
    assert hosts.forget(unseen_seconds=50) == ["has-task"]
    assert hosts.beats().keys() == {"here"}


def test_who_looks_is_told_where_nothing_can_be_written(
    hosts: HostStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat(hosts)

    def full() -> None:
        raise StorageUnavailable

    monkeypatch.setattr(database, "check", full)
    with pytest.raises(StorageUnavailable):
        hosts.beats()


class TestTasks:
    """The tasks of hosts, which the store of tasks knows."""

    def add(self, store: TaskStore, **changes: Any) -> str:
        row = task_row(**changes)
        store.add(row, Admission(Room(100)))
        return str(row["task_id"])

    def test_they_are_counted_by_host_kind_and_whether_they_wait(
        self, store: TaskStore
    ) -> None:
        for host in ("a", "a", "b"):
            self.add(store, host=host, slot=None)
        self.add(store, host="b", kind="sms", slot=None)
        ended = self.add(store, host="c", slot=None)
        store.finish(ended, state="SUCCESS", finished=1.0)
        assert store.counts_of_hosts() == {
            "a": {("exec", False): 2},
            "b": {("exec", False): 1, ("sms", False): 1},
        }

    def test_those_of_one_very_host_are_found(self, store: TaskStore) -> None:
        first = self.add(store, host="a")
        self.add(store, host="b")
        second = self.add(store, host="a")
        self.add(store, host="a", fan_out="{}")
        store.finish(self.add(store, host="a"), state="SUCCESS", finished=1.0)
        found = [row["task_id"] for row in store.on_host("a")]
        assert found == [first, second]

    def test_one_is_lost_with_its_host(
        self, store: TaskStore, hosts: HostStore
    ) -> None:
        task_id = self.add(store, worker="w")
        seen = beat(hosts)
        assert store.lose(task_id, "w", seen_beat=seen, state="LOST", finished=2.0)
        row = store.find(task_id)
        assert row is not None
        assert (row["state"], row["finished"]) == ("LOST", 2.0)
        assert not store.lose(task_id, "w", seen_beat=seen, state="LOST", finished=3.0)

    def test_it_is_not_where_the_host_has_come_back(
        self, store: TaskStore, hosts: HostStore
    ) -> None:
        task_id = self.add(store, worker="w")
        seen = beat(hosts)
        beat(hosts)
        assert not store.lose(task_id, "w", seen_beat=seen, state="LOST", finished=2.0)

    def test_it_is_not_where_a_worker_has_begun_it(
        self, store: TaskStore, hosts: HostStore
    ) -> None:
        task_id = self.add(store, worker="")
        seen = beat(hosts)
        store.start(task_id, worker="w")
        assert not store.lose(task_id, "", seen_beat=seen, state="LOST", finished=2.0)

    def test_one_of_many_who_look_loses_it(
        self, store: TaskStore, hosts: HostStore
    ) -> None:
        task_id = self.add(store, worker="w")
        seen = beat(hosts)

        def lose(number: int) -> bool:
            return store.lose(
                task_id, "w", seen_beat=seen, state="LOST", finished=float(number)
            )

        assert sorted(race_threads(6, lose)) == [False] * 5 + [True]

    def test_who_runs_one_is_told_that_it_was_lost(
        self, store: TaskStore, hosts: HostStore
    ) -> None:
        lost, cancelled, running = (self.add(store, worker="w") for _ in range(3))
        seen = beat(hosts)
        store.lose(lost, "w", seen_beat=seen, state="LOST", finished=2.0)
        store.request_cancel(cancelled)
        every = [lost, cancelled, running]
        assert set(store.cancelled(every)) == {lost, cancelled}
