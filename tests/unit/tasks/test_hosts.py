"""Which host a task is to run on, and what is said of hosts."""

from typing import Any

import pytest

from app.errors import Draining, HostAway, HostNotFound, InvalidInput
from app.storage.task_store import Room
from app.tasks import hosts as module
from app.tasks.hosts import Host, Hosts
from app.tasks.order import ANYWHERE, Place

OWN = "own"


def a_host(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "worker": "boot:1:2",
        "version": "1.0",
        "started": 1.0,
        "seen": 2.0,
        "beat": 3,
        "seconds_since_seen": 0.5,
        "labels": "{}",
        "room": '{"exec": [4, 8]}',
        "readings": "{}",
        "draining": False,
    } | changes


class Known:
    """Hosts that are as a test says, and how often they were asked for."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        self.rows = {row["name"]: row for row in rows}
        self.asked = 0

    def all(self) -> list[dict[str, Any]]:
        self.asked += 1
        return list(self.rows.values())

    def find(self, name: str) -> dict[str, Any] | None:
        self.asked += 1
        return self.rows.get(name)


def choose(*rows: dict[str, Any], place: Place = ANYWHERE, **counts: Any) -> str:
    return Hosts(Known(*rows), own=OWN, counts=lambda: counts).choose(place)


AWAY = {"seconds_since_seen": 5.0}
DRAINING = {"draining": True}


class TestChoosing:
    def test_a_task_runs_on_its_service_s_own_host(self) -> None:
        assert choose(a_host("a"), a_host(OWN), a_host("z")) == OWN

    @pytest.mark.parametrize("state", [AWAY, DRAINING])
    def test_it_runs_elsewhere_where_that_takes_nothing(
        self, state: dict[str, Any]
    ) -> None:
        assert choose(a_host("a"), a_host(OWN, **state)) == "a"

    def test_it_runs_where_there_is_the_most_room(self) -> None:
        running = {("exec", False): 2, ("exec", True): 1}
        rows = [a_host("a"), a_host("b"), a_host("c", room='{"exec": [2, 8]}')]
        assert choose(*rows, a=running, b={("sms", False): 9}) == "b"
        assert choose(*rows, a=running, b={("exec", False): 3}) == "c"

    def test_it_runs_on_none_that_is_away_or_drained(self) -> None:
        roomy = {"room": '{"exec": [9, 9]}'}
        rows = [a_host("a", **AWAY, **roomy), a_host("b", **DRAINING, **roomy)]
        assert choose(*rows, a_host("c")) == "c"

    def test_nothing_runs_where_no_host_is_alive(self) -> None:
        for rows in ((), (a_host("a", **AWAY), a_host(OWN, **AWAY))):
            with pytest.raises(HostAway, match="No host has given"):
                choose(*rows)

    def test_nothing_runs_where_those_that_are_alive_are_drained(self) -> None:
        with pytest.raises(Draining):
            choose(a_host("a", **AWAY), a_host("b", **DRAINING))


class TestANamedHost:
    def test_a_task_runs_there_and_nowhere_else(self) -> None:
        assert choose(a_host("a"), a_host(OWN), place=Place("a")) == "a"

    def test_one_that_is_not_known_is_refused(self) -> None:
        for place in (Place("b"), Place("b", waits=True)):
            with pytest.raises(InvalidInput) as refused:
                choose(a_host("a"), place=place)
            assert [fault.path for fault in refused.value.faults] == ["host"]

    def test_one_that_is_away_is_refused_by_its_name(self) -> None:
        with pytest.raises(HostAway, match="'a'"):
            choose(a_host("a", **AWAY), a_host(OWN), place=Place("a"))

    def test_one_that_is_away_can_be_waited_for(self) -> None:
        for state in (AWAY, AWAY | DRAINING, {}):
            place = Place("a", waits=True)
            assert choose(a_host("a", **state), place=place) == "a"

    def test_one_that_is_drained_is_refused(self) -> None:
        for place in (Place("a"), Place("a", waits=True)):
            with pytest.raises(Draining):
                choose(a_host("a", **DRAINING), a_host(OWN), place=place)


class TestBelieving:
    def test_a_host_that_takes_tasks_is_not_asked_for_each(self) -> None:
        known = Known(a_host(OWN))
        hosts = Hosts(known, own=OWN, counts=dict)
        assert [hosts.choose(ANYWHERE) for _ in range(9)] == [OWN] * 9
        assert known.asked == 1

    def test_nor_is_it_believed_for_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "BELIEVED_SECONDS", -1.0)
        known = Known(a_host(OWN))
        hosts = Hosts(known, own=OWN, counts=dict)
        hosts.choose(ANYWHERE)
        known.rows[OWN] |= AWAY
        with pytest.raises(HostAway):
            hosts.choose(ANYWHERE)

    def test_one_that_is_away_is_looked_for_each_time(self) -> None:
        known = Known(a_host("a", **AWAY))
        hosts = Hosts(known, own=OWN, counts=dict)
        for place in (Place("a"), ANYWHERE):
            known.rows["a"] |= AWAY
            with pytest.raises(HostAway):
                hosts.choose(place)
            known.rows["a"] |= {"seconds_since_seen": 0.1}
            assert hosts.choose(place) == "a"
            hosts = Hosts(known, own=OWN, counts=dict)

    def test_its_room_is_its_own(self) -> None:
        known = Known(a_host("a"), a_host("b", room='{"sms": [1, 2]}', **AWAY))
        hosts = Hosts(known, own=OWN, counts=dict)
        assert hosts.room("a", "exec").max_running == 4
        assert hosts.room("b", "sms").max_queued == 2
        assert hosts.room("a", "sms") == hosts.room("c", "exec") == Room(0)


class TestLooking:
    def test_a_row_is_read_as_what_it_says(self) -> None:
        row = a_host("a", labels='{"role": "web"}', readings='{"users": 1}')
        host = Host.from_row(row)
        assert host.labels == {"role": "web"}
        assert host.readings == {"users": 1}
        assert (host.room["exec"].max_running, host.room["exec"].max_queued) == (4, 8)
        assert (host.alive, host.takes_tasks) == (True, True)

    def test_nobody_was_seen_in_the_future(self) -> None:
        host = Host.from_row(a_host("a", seconds_since_seen=-3600.0))
        assert (host.seconds_since_seen, host.alive) == (0, True)

    def test_hosts_are_found_by_all_the_labels_they_are_to_have(self) -> None:
        rows = [
            a_host("a", labels='{"role": "web", "rack": "1"}'),
            a_host("b", labels='{"role": "web"}', **AWAY),
            a_host("c", labels='{"role": "db"}'),
        ]
        hosts = Hosts(Known(*rows), own=OWN, counts=dict)

        def names(**labels: str) -> list[str]:
            return [host.name for host in hosts.matching(labels)]

        assert names() == ["a", "b", "c"]
        assert names(role="web") == ["a", "b"]
        assert names(role="web", rack="1") == ["a"]
        assert names(role="Web") == names(rack="2") == names(other="") == []

    def test_one_that_is_not_there_is_not_found(self) -> None:
        hosts = Hosts(Known(a_host("a")), own=OWN, counts=dict)
        assert hosts.find("b") is None
        with pytest.raises(HostNotFound):
            hosts.get("b")
