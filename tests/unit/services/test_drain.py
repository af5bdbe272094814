"""Whether a host is being drained, and what of its tasks is still somebody's."""

import stat
import time
from contextlib import ExitStack

import pytest

from app.errors import Draining, StorageUnavailable
from app.services.drain import Drain
from app.storage.engine import Database
from app.storage.task_store import Admission, Room, TaskStore
from app.tasks.record import TaskRecord
from app.tasks.states import State
from app.tasks.worker import Worker
from app.turn import take_turn

HOST = "pelican"
GONE = "no-boot:1:1"


@pytest.fixture
def store(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/bellhop.db")
    yield TaskStore(database)
    database.close()


@pytest.fixture
def make(tmp_path, store):
    def make(folder="."):
        return Drain(
            tmp_path / folder / "draining",
            tasks=store,
            host=HOST,
            sweeper_lock=tmp_path / "sweeper.lock",
        )

    return make


@pytest.fixture
def drain(make):
    return make()


def task(task_id="a", worker=None, **more):
    worker = worker or str(Worker.current())
    now = time.time()
    facts = {"request_id": None, "created": now} | more
    return TaskRecord(task_id, "exec", State.STARTED, "bob", HOST, worker, **facts)


def test_all_who_share_the_folder_see_it_until_it_is_over(make):
    drain, other = make(), make()
    other.check()
    drain.begin()
    assert other.is_on()
    with pytest.raises(Draining):
        other.check()
    assert other.end()
    drain.check()


def test_twice_is_as_good_as_once(drain):
    drain.begin()
    drain.begin()
    assert drain.end()
    assert not drain.end()


def test_the_mark_is_its_owner_s(drain, tmp_path):
    drain.begin()
    assert stat.S_IMODE((tmp_path / "draining").stat().st_mode) == 0o600


def test_where_the_mark_cannot_be_made_it_is_said(make):
    with pytest.raises(StorageUnavailable, match="away/draining: No such file"):
        make("away").begin()


def test_the_unfinished_are_told_in_their_order(drain, store):
    for name in "cab":
        store.add(vars(task(name)), Admission(Room(5)))
    store.finish("a", state=State.SUCCESS, finished=time.time())
    assert [each.task_id for each in drain.unfinished()] == ["c", "b"]
    assert drain.find("a").state is State.SUCCESS
    assert drain.find("nothing") is None


def test_a_task_is_abandoned_where_its_worker_is_gone_and_nobody_is_up(drain, tmp_path):
    assert not drain.is_abandoned(task())
    assert drain.is_abandoned(task(worker=GONE))
    with ExitStack() as served:
        assert take_turn(tmp_path / "sweeper.lock", served)
        assert not drain.is_abandoned(task(worker=GONE))
    assert drain.is_abandoned(task(worker=GONE))
