"""The database, on SQLite and on PostgreSQL alike."""

import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from app.errors import BellhopError, StorageUnavailable
from app.storage import engine
from app.storage.engine import Database
from app.storage.prepared import Prepared
from app.storage.tables import tasks
from app.storage.task_store import Admission, Room, TaskStore
from tests.postgres import Postgres
from tests.racing import race_threads, run_python
from tests.servers import free_port, wait_until
from tests.unit.storage.rows import task_row

# Of PostgreSQL's sessions, so that a test need not wait for long.
QUICK = (
    "SET lock_timeout = '100ms'",
    "SET idle_in_transaction_session_timeout = '500ms'",
)

COUNT = sa.select(sa.func.count()).select_from(tasks)

FORK = """
import os, sys, traceback
from app.storage.engine import Database
from app.storage.task_store import Admission, Room, TaskStore
from tests.unit.storage.rows import task_row

database = Database(sys.argv[1])
store = TaskStore(database)
if sys.argv[2] == "used":
    store.add(task_row(host="before"), Admission(Room(1)))

def add(host):
    for _ in range(20):
        store.add(task_row(host=host), Admission(Room(100)))
        store.unfinished("pelican")

children = []
for name in ("first child", "second child"):
    child = os.fork()
    if child == 0:
        try:
            add(name)
            database.close()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    children.append(child)
add("parent")
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
add("parent afterwards")
database.close()
sys.exit(max(codes))
"""


def count(database: Database) -> int:
    with database.read() as connection:
        return connection.execute(COUNT).scalar_one()


def whole_story(error: BaseException) -> str:
    """Return all that a log would have of an error, and its parts."""
    told = "".join(traceback.format_exception(error))
    while error.__cause__ is not None:
        error = error.__cause__
        told += f"{error} {error!r}"
    return told


def test_what_is_written_is_there_for_others(
    database: Database, other: Database
) -> None:
    other.check()
    with database.write() as connection:
        connection.execute(sa.insert(tasks).values(**task_row()))
        assert count(other) == 0, "not before the end"
    assert count(other) == 1


def test_an_error_undoes_what_was_written_and_goes_on_as_it_is(
    database: Database,
) -> None:
    error = KeyError("of the caller")

    def write_and_fail() -> None:
        with database.write() as connection:
            connection.execute(sa.insert(tasks).values(**task_row()))
            raise error

    with pytest.raises(KeyError) as raised:
        write_and_fail()

    assert raised.value is error
    assert count(database) == 0


def test_a_reader_sees_one_state_while_others_write(
    database: Database, other: Database
) -> None:
    TaskStore(database).add(task_row(), Admission(Room(9)))
    with database.read() as connection:
        before = connection.execute(COUNT).scalar_one()
        TaskStore(other).add(task_row(), Admission(Room(9)))
        assert connection.execute(COUNT).scalar_one() == before
    assert count(database) == before + 1


def test_a_reader_does_not_wait_for_a_writer(
    database: Database, other: Database
) -> None:
    other.check()
    with database.write() as connection:
        connection.execute(sa.insert(tasks).values(**task_row()))
        assert count(other) == 0


def test_many_threads_use_it_at_once(database: Database) -> None:
    store = TaskStore(database)

    def add_and_find(_: int) -> bool:
        row = task_row()
        store.add(row, Admission(Room(1000)))
        return store.find(row["task_id"]) is not None

    assert race_threads(32, add_and_find) == [True] * 32
    assert count(database) == 32


def test_of_writes_that_are_done_together_each_fails_alone(
    database: Database,
) -> None:
    def add(number: int) -> int:
        def write(connection: sa.Connection) -> int:
            connection.execute(sa.insert(tasks).values(**task_row(cmd=str(number))))
            if number % 3 == 0:
                raise BellhopError(number)
            if number % 3 == 1:
                connection.execute(sa.text("SELECT nothing FROM nowhere"))
            return number

        return database.write_together(write)

    results = race_threads(30, add)
    for number, result in enumerate(results):
        if number % 3 == 2:
            assert result == number
        elif number % 3 == 1:
            assert isinstance(result, StorageUnavailable)
        else:
            assert result.args == (number,)
    with database.read() as connection:
        kept = connection.scalars(sa.select(tasks.c.cmd)).all()
    assert sorted(map(int, kept)) == list(range(2, 30, 3))


def test_where_a_writer_is_ended_those_it_writes_for_are_told(
    tmp_path: Path,
) -> None:
    def end(_: sa.Connection) -> None:
        raise SystemExit

    database = Database(f"sqlite:///{tmp_path}/bellhop.db")
    first = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        with database.write():
            ended = pool.submit(lambda: (first.set(), database.write_together(end)))
            first.wait(10)
            other = pool.submit(database.write_together, lambda _: None)
            wait_until(lambda: len(database._waiting) == 2)
        assert isinstance(ended.exception(10), SystemExit | StorageUnavailable)
        assert isinstance(other.exception(10), SystemExit | StorageUnavailable)
    assert database.write_together(lambda _: 7) == 7
    database.close()


def test_a_write_that_has_had_no_turn_in_time_is_not_done_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.05)
    database = Database(f"sqlite:///{tmp_path}/bellhop.db")
    done: list[str] = []
    with database.write():
        [late] = race_threads(
            1, lambda _: database.write_together(lambda _: done.append("late"))
        )
    assert isinstance(late, StorageUnavailable)
    database.write_together(lambda _: done.append("next"))
    assert done == ["next"]
    database.close()


def test_a_check_passes_where_it_can_be_written(database: Database) -> None:
    database.check()
    database.check()


def test_it_can_be_used_again_after_it_was_closed(database: Database) -> None:
    TaskStore(database).add(task_row(), Admission(Room(9)))
    database.close()
    database.close()
    assert count(database) == 1


def test_nothing_of_the_driver_leaves_the_room(database: Database) -> None:
    with (
        pytest.raises(StorageUnavailable) as raised,
        database.read() as connection,
    ):
        connection.execute(sa.text("SELECT * FROM nowhere"))
    assert isinstance(raised.value, BellhopError)
    assert "nowhere" in str(raised.value.__cause__), "the log can say why"
    database.check()


def test_an_error_does_not_show_the_parameters_of_a_statement(
    database: Database,
) -> None:
    row = task_row(cmd="login --password hunter2", slot="hunter2")
    with pytest.raises(StorageUnavailable) as raised, database.write() as connection:
        connection.execute(sa.insert(tasks).values(**row | {"state": None}))
    assert "tasks" in whole_story(raised.value)
    assert "hunter2" not in whole_story(raised.value)


def test_an_error_does_not_show_the_value_that_is_there_twice(
    database: Database,
) -> None:
    row = task_row(slot="hunter2", cmd="hunter2")
    TaskStore(database).add(row, Admission(Room(9)))
    with pytest.raises(StorageUnavailable) as raised, database.write() as connection:
        connection.execute(sa.insert(tasks).values(**row | {"task_id": "2"}))
    assert "UNIQUE" in whole_story(raised.value).upper()
    assert "hunter2" not in whole_story(raised.value)


@pytest.mark.parametrize("used", ["used", "unused"])
def test_one_made_before_a_fork_works_in_parent_and_children(
    url: str, database: Database, used: str
) -> None:
    done = run_python(FORK, url, used)

    assert (done.returncode, done.stderr) == (0, "")
    store = TaskStore(database)
    hosts = ("before", "first child", "second child", "parent", "parent afterwards")
    found = [
        sum(row["host"] == host for row in store.unfinished(host)) for host in hosts
    ]
    assert found == [int(used == "used"), 20, 20, 20, 20]


def test_nothing_is_opened_before_the_first_use(tmp_path: Path) -> None:
    Database(f"sqlite:///{tmp_path}/bellhop.db")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_connected_to_before_the_first_use(postgres: Postgres) -> None:
    with postgres.new_database() as url:
        name = sa.make_url(url).database
        connected = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'"
        database = Database(url)
        assert postgres.execute(connected) == [(0,)]
        database.check()
        assert postgres.execute(connected) == [(1,)], "it would be seen"
        database.close()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://bob:hunter2@db.example/bellhop",
        "postgresql+psycopg://bob@/bellhop?host=/tmp&password=hunter2",
    ],
)
def test_what_it_says_of_itself_does_not_show_the_password(url: str) -> None:
    database = Database(url)
    assert "hunter2" not in f"{database!r} {database}"
    assert "bellhop" in repr(database)


def test_a_server_that_is_not_there_is_told_without_the_password() -> None:
    url = f"postgresql+psycopg://bob:hunter2@127.0.0.1:{free_port()}/bellhop"
    database = Database(url)
    with pytest.raises(StorageUnavailable) as raised:
        database.check()
    assert "refused" in str(raised.value.__cause__)
    assert "hunter2" not in whole_story(raised.value)


def test_a_connection_that_the_server_closed_is_made_anew(postgres: Postgres) -> None:
    with postgres.new_database() as url:
        database = Database(url)
        store = TaskStore(database)
        store.add(task_row(), Admission(Room(9)))
        ended = postgres.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE datname = '{sa.make_url(url).database}'"
        )
        assert ended == [(True,)]
        store.add(task_row(), Admission(Room(9)))
        assert count(database) == 2
        database.close()


def test_a_connection_lost_in_a_transaction_is_told_and_the_next_one_works(
    postgres: Postgres,
) -> None:
    with postgres.new_database() as url:
        database = Database(url)

        def lose_it() -> None:
            with database.write() as connection:
                pid = connection.scalar(sa.text("SELECT pg_backend_pid()"))
                postgres.execute(f"SELECT pg_terminate_backend({pid})")
                connection.execute(sa.insert(tasks).values(**task_row()))

        with pytest.raises(StorageUnavailable):
            lose_it()
        assert count(database) == 0
        database.close()


def test_a_connection_that_was_idle_for_long_is_asked_whether_it_is_good(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a firewall has forgotten it, of which nobody is told."""
    asked: list[bool] = []
    ping = PGDialect_psycopg.do_ping

    def do_ping(dialect: PGDialect_psycopg, connection: Any) -> bool:
        asked.append(ping(dialect, connection))
        return asked[-1]

    monkeypatch.setattr(PGDialect_psycopg, "do_ping", do_ping)
    with postgres.new_database() as url:
        database = Database(url)
        database.check()
        database.check()
        assert asked == []
        monkeypatch.setattr("app.storage.postgres.IDLE_SECONDS", 0)
        database.check()
        assert asked == [True]
        database.close()


def test_who_holds_a_lock_and_says_nothing_loses_it(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that was stopped, or whose host is gone, keeps no other from work."""
    monkeypatch.setattr("app.storage.postgres._SESSION", QUICK)
    with postgres.new_database() as url:
        silent, other = Database(url), Database(url)

        def hold_it() -> None:
            with silent.write() as connection:
                silent.lock(connection, "admission pelican")
                assert not is_admitted(other)
                wait_until(lambda: is_admitted(other))

        with pytest.raises(StorageUnavailable):
            hold_it()
        assert count(silent) == 1
        silent.close()
        other.close()


def is_admitted(database: Database) -> bool:
    try:
        TaskStore(database).add(task_row(), Admission(Room(9)))
    except StorageUnavailable:
        return False
    return True


def test_no_more_are_admitted_where_the_server_isolates_more_by_default(
    postgres: Postgres,
) -> None:
    """A snapshot from before the wait for the lock would not show its holder's row."""
    with postgres.new_database() as url:
        name = sa.make_url(url).database
        postgres.execute(
            f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'"
        )
        database = Database(url)
        store = TaskStore(database)
        results = race_threads(12, lambda _: store.add(task_row(), Admission(Room(3))))
        assert results.count(False) == 3, results
        assert count(database) == 3
        database.close()


def test_one_host_does_not_wait_for_the_admission_to_another(
    postgres: Postgres,
) -> None:
    with postgres.new_database() as url:
        database = Database(url)
        store = TaskStore(database)
        store.add(task_row(host="pelican"), Admission(Room(9)))
        with database.write() as connection:
            database.lock(connection, "admission pelican")
            added = threading.Event()

            def add() -> None:
                store.add(task_row(host="heron"), Admission(Room(9)))
                added.set()

            thread = threading.Thread(target=add)
            thread.start()
            assert added.wait(10)
            thread.join()
        database.close()


def test_a_prepared_query_finds_what_sqlalchemy_finds(database: Database) -> None:
    query = sa.select(tasks).where(tasks.c.task_id == sa.bindparam("of_id")).limit(1)
    prepared = Prepared(query)
    row = task_row(leftovers=False, polled_end=True)
    TaskStore(database).add(row, Admission(Room(9)))
    with database.read() as connection:
        found = connection.execute(query, {"of_id": row["task_id"]}).mappings().one()
    first = database.first(prepared, of_id=row["task_id"])
    assert first == dict(found)
    assert {name: type(value) for name, value in first.items()} == {
        name: type(value) for name, value in found.items()
    }
    assert database.first(prepared, of_id="another") is None
