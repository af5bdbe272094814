"""What is SQLite's own: its file, which can go away, and its one writer."""

import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.errors import StorageUnavailable
from app.storage import engine
from app.storage.engine import Database
from app.storage.task_store import Admission, Room, TaskStore
from tests.racing import race_threads
from tests.unit.storage.rows import task_row

BUSY_SECONDS = 0.2


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "instance").mkdir()
    return tmp_path / "instance" / "bellhop.db"


@pytest.fixture
def database(file: Path) -> Iterator[Database]:
    made = Database(f"sqlite:///{file}")
    yield made
    made.close()


@pytest.fixture
def other(file: Path) -> Iterator[Database]:
    made = Database(f"sqlite:///{file}")
    yield made
    made.close()


def add(database: Database) -> str:
    row = task_row()
    TaskStore(database).add(row, Admission(Room(1000)))
    return row["task_id"]


def kept(file: Path) -> set[str]:
    """Return the tasks in a file, as a program that knows nothing of us sees them."""
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return {
            task_id for (task_id,) in connection.execute("SELECT task_id FROM tasks")
        }


def remove(file: Path) -> None:
    for path in file.parent.glob(f"{file.name}*"):
        path.unlink()


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the write lock, as a program that is stuck does."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")


@pytest.mark.parametrize(
    ("pragma", "value"),
    [
        ("journal_mode", "wal"),
        ("synchronous", 1),
        ("foreign_keys", 1),
        ("busy_timeout", engine.BUSY_SECONDS * 1000),
    ],
)
def test_every_connection_is_set_up(
    database: Database, pragma: str, value: str | int
) -> None:
    ask = sa.text(f"PRAGMA {pragma}")
    with database.read() as first, database.read() as second:
        assert [first.scalar(ask), second.scalar(ask)] == [value, value]


def test_a_folder_that_is_not_there_is_told_until_it_is(
    database: Database, file: Path
) -> None:
    file.parent.rmdir()
    for _ in range(2):
        with pytest.raises(StorageUnavailable) as raised:
            database.check()
        assert "unable to open" in str(raised.value.__cause__)
    file.parent.mkdir()
    assert kept_after_adding(database, file)


def test_a_folder_that_goes_away_is_noticed_and_so_is_its_return(
    database: Database, file: Path
) -> None:
    add(database)
    shutil.rmtree(file.parent)
    with pytest.raises(StorageUnavailable):
        database.check()
    with pytest.raises(StorageUnavailable):
        add(database)
    file.parent.mkdir()
    database.check()
    assert kept_after_adding(database, file)


def test_a_file_that_is_removed_is_made_anew(database: Database, file: Path) -> None:
    add(database)
    remove(file)
    assert kept_after_adding(database, file)


def test_a_file_that_is_removed_without_its_log_is_made_anew(
    database: Database, file: Path
) -> None:
    """The log of the old file must not be played into the new one."""
    add(database)
    file.unlink()
    assert kept_after_adding(database, file)


def test_every_worker_notices_that_the_file_was_removed(
    database: Database, other: Database, file: Path
) -> None:
    add(database), add(other)
    remove(file)
    mine, yours = add(database), add(other)
    again = add(database)
    assert kept(file) == {mine, yours, again}


def test_a_file_that_is_replaced_is_the_one_that_is_used(
    database: Database, other: Database, file: Path, tmp_path: Path
) -> None:
    backup = tmp_path / "backup.db"
    saved = add(database)
    with closing(sqlite3.connect(file)) as now, closing(sqlite3.connect(backup)) as to:
        now.backup(to)
    add(database), add(other)

    remove(file)
    backup.rename(file)

    assert TaskStore(other).known([saved]) == {saved}
    later = add(database)
    assert kept(file) == {saved, later}


def test_a_file_that_is_replaced_by_an_empty_one_is_migrated(
    database: Database, file: Path, tmp_path: Path
) -> None:
    add(database)
    remove(file)
    file.touch()
    assert kept_after_adding(database, file)


def test_a_file_emptied_while_it_was_closed_is_migrated(
    database: Database, file: Path
) -> None:
    """Its inode number is the old one, as that of a new file may be."""
    add(database)
    database.close()
    file.write_bytes(b"")
    assert kept_after_adding(database, file)


def test_a_file_that_is_no_database_is_told(database: Database, file: Path) -> None:
    file.write_bytes(b"The quick brown fox jumps over the lazy dog. " * 100)
    with pytest.raises(StorageUnavailable) as raised:
        database.check()
    assert "not a database" in str(raised.value.__cause__)
    file.unlink()
    database.check()


def test_many_threads_notice_at_once_that_the_file_was_removed(
    database: Database, other: Database, file: Path
) -> None:
    add(database), add(other)
    remove(file)
    results = race_threads(16, lambda number: add((database, other)[number % 2]))
    assert kept(file) == set(results)


def test_a_new_file_is_not_taken_for_the_removed_one_before_it_is_migrated(
    database: Database, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(database)
    remove(file)
    migrate, known = database._migrate, []
    monkeypatch.setattr(
        database, "_migrate", lambda: (known.append(database._ready_for), migrate())
    )
    add(database)
    # Whose number the new file may have been given: then none must be known.
    assert known == [None]


def test_a_locked_database_is_told_after_the_busy_time_and_works_afterwards(
    database: Database, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", BUSY_SECONDS)
    add(database)
    with locked(file):
        started = time.monotonic()
        with pytest.raises(StorageUnavailable) as raised:
            add(database)
        assert time.monotonic() - started >= BUSY_SECONDS, "it waited"
        with pytest.raises(StorageUnavailable):
            database.check()
        TaskStore(database).unfinished("pelican")  # reading goes on
    assert "locked" in str(raised.value.__cause__)
    add(database)
    assert len(kept(file)) == 2


def test_a_database_that_is_locked_at_first_use_works_afterwards(
    database: Database, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", BUSY_SECONDS)
    with locked(file), pytest.raises(StorageUnavailable):
        database.check()
    assert kept_after_adding(database, file)


def test_a_file_that_another_program_just_writes_is_waited_for_at_first_use(
    database: Database, file: Path
) -> None:
    """SQLite itself refuses at once to change the journal's mode then."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE other (number INTEGER)")
        connection.execute("BEGIN IMMEDIATE")
        thread = threading.Thread(target=add, args=(database,))
        thread.start()
        thread.join(0.1)
        assert thread.is_alive()
        connection.execute("ROLLBACK")
    thread.join()
    assert len(kept(file)) == 1


def test_a_writer_waits_for_another_one_that_is_quick(
    database: Database, other: Database, file: Path
) -> None:
    add(other)
    with database.write() as connection:
        connection.execute(sa.text("UPDATE tasks SET detail = 'seen'"))
        thread = threading.Thread(target=add, args=(other,))
        thread.start()
        thread.join(0.1)
        assert thread.is_alive()
    thread.join()
    assert len(kept(file)) == 2


def test_what_was_read_in_a_writing_transaction_still_holds_in_it(
    database: Database, other: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", BUSY_SECONDS)
    add(database)
    with database.write() as connection:
        connection.scalar(sa.text("SELECT count(*) FROM tasks"))
        with pytest.raises(StorageUnavailable):
            add(other)


def kept_after_adding(database: Database, file: Path) -> bool:
    """Add a task and look for it in the file that is there."""
    task_id = add(database)
    return kept(file) == {task_id}
