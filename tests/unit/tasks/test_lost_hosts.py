"""Hosts that have died, by the clock of who looks, and the tasks that were on them."""

import pytest
from structlog.testing import capture_logs

from app.errors import StorageUnavailable
from app.storage.host_store import HostStore
from app.tasks.lost_hosts import LostHosts
from app.tasks.output_log import TaskOutput
from app.tasks.states import State
from tests.unit.tasks.test_announcer import TOLD

WORKER = "boot:1:2"


class Looker:
    """Looks once a second of a clock that stands still between."""

    def __init__(self, hosts, tasks, outputs):
        self.hosts = hosts
        self.time = 1000.0
        self.lost = []
        self.looks = LostHosts(
            hosts=hosts,
            tasks=tasks,
            outputs=outputs,
            own="here",
            observe=self.lost.append,
            now=lambda: self.time,
        )

    def look(self, seconds=1, *, beating=(), step=1.0):
        for _ in range(int(seconds / step)):
            self.time += step
            for name in beating:
                beat(self.hosts, name)
            self.looks.look()

    @property
    def dead(self):
        return sorted(self.looks.unswept() - {"here"})


def beat(hosts, name, worker=WORKER):
    return hosts.beat(name, worker=worker, **TOLD)


@pytest.fixture
def hosts(database):
    return HostStore(database)


@pytest.fixture
def looker(hosts, store, outputs):
    return Looker(hosts, store, outputs)


@pytest.fixture
def on_a(add_task):
    """Add tasks to the host "a", which its worker runs; return their ids."""

    def add(**changes):
        return add_task(**{"host": "a", "worker": WORKER} | changes)

    return add


def test_a_host_that_gives_signs_of_life_is_not_dead(hosts, looker, on_a, record_of):
    task_id = on_a()
    looker.look(20, beating=["a"])
    assert looker.dead == []
    assert record_of(task_id).finished is None


def test_one_that_gives_none_for_five_seconds_is(hosts, looker, on_a, record_of):
    task_id, elsewhere = on_a(), on_a(host="b")
    looker.look(3, beating=["a", "b"])
    looker.look(4, beating=["b"])
    assert looker.dead == []
    looker.look(1, beating=["b"])
    assert looker.dead == ["a"]
    task = record_of(task_id)
    assert (task.state, task.reason) == (State.LOST, "worker_lost")
    assert task.finished is not None
    assert record_of(elsewhere).finished is None
    assert [each.task_id for each in looker.lost] == [task_id]
    assert looker.lost[0].state is State.LOST


def test_who_has_just_come_waits_as_long_as_any_other(hosts, looker, on_a):
    on_a()
    beat(hosts, "a")
    looker.look(5)
    assert looker.lost == []
    looker.look(1)
    assert looker.lost != []


def test_what_nobody_has_begun_is_lost_unless_it_waits_for_its_host(
    hosts, looker, on_a, record_of
):
    begun, not_begun = on_a(waits_for_host=True), on_a(worker="", state=State.QUEUED)
    waits = on_a(worker="", state=State.QUEUED, waits_for_host=True)
    of_many = on_a(worker="", fan_out="{}")
    beat(hosts, "a")
    looker.look(6)
    assert [record_of(each).state for each in (begun, not_begun)] == [State.LOST] * 2
    assert record_of(waits).finished is record_of(of_many).finished is None


def test_what_comes_later_to_a_dead_host_is_lost_too(hosts, looker, on_a, record_of):
    beat(hosts, "a")
    looker.look(6)
    task_id = on_a()
    looker.look(1)
    assert record_of(task_id).state is State.LOST


def test_how_much_was_kept_of_the_output_is_written(
    hosts, looker, on_a, record_of, outputs
):
    task_id = on_a()
    output = TaskOutput(outputs.create(task_id))
    output.stdout.append(b"as far as it came")
    output.close()
    beat(hosts, "a")
    looker.look(6)
    assert record_of(task_id).end_offset == len(b"as far as it came")


def test_a_host_that_comes_back_is_told_and_is_not_dead(hosts, looker):
    beat(hosts, "a")
    with capture_logs() as logs:
        looker.look(8)
        looker.look(3, beating=["a"])
        assert looker.dead == []
        looker.look(6)
    told = [line["event"] for line in logs]
    assert told == ["host.lost", "host.back", "host.lost"]


class TestDoubt:
    """Nobody is judged by what was not seen."""

    def test_records_that_were_away_say_nothing(
        self, hosts, looker, on_a, record_of, monkeypatch
    ):
        task_id = on_a()
        beat(hosts, "a")
        looker.look(4)
        with monkeypatch.context() as patch:
            patch.setattr(hosts, "beats", _away)
            with pytest.raises(StorageUnavailable):
                looker.look(1)
        looker.look(5)
        assert record_of(task_id).finished is None
        looker.look(1)
        assert record_of(task_id).state is State.LOST

    def test_a_process_that_stood_still_begins_anew(
        self, hosts, looker, on_a, record_of
    ):
        task_id = on_a()
        beat(hosts, "a")
        looker.look(4)
        looker.time += 3600
        looker.look(5)
        assert record_of(task_id).finished is None

    def test_looks_that_take_longer_are_good_enough(
        self, hosts, looker, on_a, record_of
    ):
        task_id = on_a()
        beat(hosts, "a")
        looker.look(8, step=2.0)
        assert record_of(task_id).state is State.LOST

    def test_a_host_that_comes_back_at_that_moment_keeps_its_tasks(
        self, looker, on_a, record_of, store, monkeypatch
    ):
        hosts, task_id = looker.hosts, on_a()
        beat(hosts, "a")
        on_host = store.on_host

        def back(name):
            beat(hosts, "a")
            return on_host(name)

        monkeypatch.setattr(store, "on_host", back)
        looker.look(7)
        assert record_of(task_id).finished is None
        assert looker.lost == []


def test_hosts_that_were_not_seen_for_a_week_are_forgotten(hosts, looker):
    for name, days in (("old", 8), ("new", 6)):
        beat(hosts, name)
        hosts.leave(name, worker=WORKER, away_seconds=days * 86400)
    with capture_logs() as logs:
        looker.looks.forget_old()
    assert [(line["event"], line["host"]) for line in logs] == [
        ("host.forgotten", "old")
    ]
    assert hosts.beats().keys() == {"new"}
    looker.look(1)


def _away():
    raise StorageUnavailable
