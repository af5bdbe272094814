"""A worker's signs of life."""

import pytest
from structlog.testing import capture_logs

from app.errors import StorageUnavailable
from app.storage.host_store import HostStore
from app.tasks import announcer as module
from app.tasks.announcer import Announcer
from app.tasks.hosts import Host
from app.tasks.worker import Worker
from tests.servers import wait_until
from tests.unit.tasks.conftest import HOST

TOLD = {
    "version": "1.0",
    "labels": '{"role": "web"}',
    "room": '{"exec": [1, 2]}',
    "readings": "{}",
    "draining": False,
}


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(module, "INTERVAL_SECONDS", 0.02)


@pytest.fixture
def hosts(database):
    return HostStore(database)


@pytest.fixture
def make_announcer(hosts):
    """Make announcers, and close them in the end."""
    made = []

    def make(store=hosts, **more):
        made.append(Announcer(store, host=HOST, announcement=lambda: TOLD, **more))
        return made[-1]

    yield make
    for each in made:
        assert each.close(seconds=10)


class Fickle:
    """A store of hosts that is away when a test wants it to be."""

    def __init__(self, store):
        self._store = store
        self.is_away = False

    def __getattr__(self, name):
        if self.is_away:
            raise StorageUnavailable from OSError("away")
        return getattr(self._store, name)


def beats(hosts):
    return hosts.beats().get(HOST, 0)


def test_one_sign_says_all_that_is_told_and_by_which_worker(hosts, make_announcer):
    make_announcer().announce()
    host = Host.from_row(hosts.find(HOST))
    assert host.worker == str(Worker.current())
    assert host.labels == {"role": "web"}
    assert host.alive


@pytest.mark.usefixtures("quick")
def test_they_go_on_until_it_closes_and_then_the_host_is_away(hosts, make_announcer):
    announcer = make_announcer()
    announcer.start()
    wait_until(lambda: beats(hosts) > 3)
    assert announcer.close(seconds=10)
    last = beats(hosts)
    assert not Host.from_row(hosts.find(HOST)).alive
    assert beats(hosts) == last


def test_one_that_never_began_says_nothing_when_it_closes(hosts, make_announcer):
    assert make_announcer().close(seconds=1)
    assert hosts.all() == []


@pytest.mark.usefixtures("quick")
def test_records_that_are_away_are_told_once_and_it_goes_on(hosts, make_announcer):
    store = Fickle(hosts)
    announcer = make_announcer(store)
    with capture_logs() as logs:
        announcer.start()
        wait_until(lambda: beats(hosts) > 1)
        store.is_away = True
        wait_until(lambda: logs)
        before = beats(hosts)
        store.is_away = False
        wait_until(lambda: beats(hosts) > before + 2)
    told = [line["event"] for line in logs]
    assert told == ["host.not_announced", "host.announced"]
    assert logs[0]["error"] == "away"


@pytest.mark.usefixtures("quick")
def test_what_else_is_looked_after_cannot_keep_it_from_that(hosts, make_announcer):
    def fail():
        raise RuntimeError

    with capture_logs() as logs:
        make_announcer(also=fail).start()
        wait_until(lambda: beats(hosts) > 3)
    assert {line["event"] for line in logs} == {"host.announcing_failed"}


def test_a_second_one_of_the_same_name_is_told_of_once(hosts, make_announcer):
    first, second = make_announcer(), make_announcer()
    with capture_logs() as logs:
        for _ in range(3):
            first.announce()
            second.announce()
        for _ in range(2):
            second.announce()
    told = [line["event"] for line in logs]
    assert told == ["host.name_taken", "host.name_taken", "host.announced"]


def test_who_comes_after_one_that_died_takes_nobody_s_name(hosts, make_announcer):
    with capture_logs() as logs:
        for announcer in (make_announcer(), make_announcer()):
            announcer.announce()
            announcer.announce()
    assert logs == []
