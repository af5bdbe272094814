"""Tasks that nobody has begun: who begins them, on SQLite and on PostgreSQL alike."""

from typing import Any

import pytest
import sqlalchemy as sa

from app.errors import CapacityExceeded
from app.storage.engine import Database
from app.storage.order_store import NOBODY, OrderStore
from app.storage.tables import orders
from app.storage.task_store import Admission, Room, TaskStore
from tests.racing import race_threads
from tests.unit.storage.rows import task_row

ADMISSION = Admission(Room(1, 10))
DOCUMENT = b'{"command": "\xe4\xb8\xad"}'
HOST = "pelican"


@pytest.fixture
def order_store(database: Database) -> OrderStore:
    return OrderStore(database)


def add(store: TaskStore, **changes: Any) -> str:
    row = task_row(**changes) | {"worker": NOBODY}
    store.add(row, ADMISSION, order=DOCUMENT)
    return row["task_id"]


def kept(database: Database) -> int | None:
    with database.read() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(orders))


def test_one_of_those_who_race_for_a_task_gets_it(
    store: TaskStore, order_store: OrderStore, database: Database
) -> None:
    task_id = add(store)
    names = [f"boot:{number}:1" for number in range(8)]
    claimed = race_threads(
        len(names), lambda n: order_store.claim(task_id, worker=names[n])
    )
    [(row, document)] = filter(None, claimed)
    assert (row["task_id"], document) == (task_id, DOCUMENT)
    found = store.find(task_id)
    assert found is not None
    assert found["worker"] == row["worker"]
    assert row["worker"] in names
    assert kept(database) == 0


@pytest.mark.parametrize("most_of_command", [None, 2])
def test_of_many_that_come_at_once_as_many_run_as_may_and_each_is_written(
    store: TaskStore,
    order_store: OrderStore,
    database: Database,
    most_of_command: int | None,
) -> None:
    room = Room(2 if most_of_command is None else 5, 3)
    same = {"command": "sync", "max_running": most_of_command, "slot": None}

    def come(_number: int) -> bool | None:
        row = task_row(**same) | {"worker": NOBODY}
        try:
            return store.add(row, Admission(room), order=DOCUMENT)
        except CapacityExceeded:
            return None

    answers = race_threads(8, come)
    assert sorted(answers, key=str) == [False] * 2 + [None] * 3 + [True] * 3
    assert len(order_store.unclaimed(HOST)) == 2
    assert kept(database) == 5


def test_one_that_waits_in_line_is_nobody_s(
    store: TaskStore, order_store: OrderStore
) -> None:
    first, second = add(store), add(store)
    assert order_store.unclaimed(HOST) == [first]
    assert order_store.claim(second, worker="boot:1:1") is None
    assert order_store.claim(first, worker="boot:1:1")
    assert order_store.unclaimed(HOST) == []
    store.finish(first, state="SUCCESS", finished=1.0)
    assert store.let_in(HOST, "exec", max_running=1) == [(second, NOBODY)]
    assert order_store.unclaimed(HOST) == [second]


def test_one_that_was_begun_is_neither_ended_nor_taken_back(
    store: TaskStore, order_store: OrderStore
) -> None:
    task_id = add(store)
    assert order_store.claim(task_id, worker="boot:1:1")
    assert order_store.end(task_id, state="REVOKED", finished=1.0) is None
    assert not order_store.withdraw(task_id, ADMISSION)
    assert store.find(task_id)


def test_one_that_was_ended_is_not_begun(
    store: TaskStore, order_store: OrderStore, database: Database
) -> None:
    task_id = add(store)
    ended = order_store.end(task_id, state="REVOKED", reason="cancelled", finished=1.0)
    assert ended is not None
    assert ended[1] == DOCUMENT
    assert order_store.claim(task_id, worker="boot:1:1") is None
    assert order_store.end(task_id, state="LOST", finished=2.0) is None
    assert kept(database) == 0


def test_one_that_was_taken_back_leaves_nothing(
    store: TaskStore, order_store: OrderStore, database: Database
) -> None:
    task_id = add(store)
    assert order_store.withdraw(task_id, ADMISSION)
    assert store.find(task_id) is None
    assert kept(database) == 0
    assert not order_store.withdraw(task_id, ADMISSION)
