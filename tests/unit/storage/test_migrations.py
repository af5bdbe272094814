"""The tables are made on first use, and are what app/storage/tables.py says."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from app.errors import SlotBusy, StorageUnavailable
from app.storage import revisions
from app.storage.account_store import AccountStore
from app.storage.audit_store import AuditStore
from app.storage.engine import Database
from app.storage.message_store import MessageStore, Quota, Sender, Use
from app.storage.people_store import PeopleStore
from app.storage.revisions import history, known_revisions
from app.storage.session_store import SessionStore
from app.storage.tables import REVISION, metadata, tasks
from app.storage.task_store import Admission, Room, TaskStore
from tests.racing import race_processes, race_threads
from tests.servers import PROJECT
from tests.unit.storage.conftest import NewDatabase
from tests.unit.storage.rows import (
    account_row,
    audit_row,
    message_row,
    task_row,
    token_row,
)

# Before there were accounts.
OLDER = ("0001", "0002")
ADDED = {
    "accounts",
    "audit",
    "known_credentials",
    "password_attempts",
    "tokens",
    "used_uuids",
    "idempotency",
    "messages",
    "message_receivers",
    "message_events",
    "message_usage",
    "sessions",
    "orders",
    "hosts",
}
#: What tasks have since then, and what those have that were there before.
NEW_COLUMNS = {
    "command": None,
    "stderr_end_offset": None,
    "stderr_dropped_bytes": None,
    "max_running": None,
    "is_queued": False,
    "turn": 0,
    "notify": None,
    "notified": None,
    "params": None,
    "output": None,
    "detached": False,
    "tell_at": None,
    "waits_for_host": False,
    "fan_out": None,
    "parent": None,
}


@pytest.fixture
def migrations() -> None:
    """Have Alembic migrate each new database: that is what is tested here."""


OPEN = """
import sys, warnings
from app.storage.engine import Database
from app.storage.task_store import Admission, Room, TaskStore
from tests.unit.storage.rows import task_row
"""

ADD = """
database = Database(sys.argv[1])
TaskStore(database).add(task_row(slot=sys.argv[2]), Admission(Room(100)))
database.close()
"""

# Every second one migrates, as before a start; the others find what there is.
MIGRATE_OR_ADD = """
database = Database(sys.argv[1])
if int(sys.argv[2]) % 2:
    print("before:", database.upgrade())
else:
    TaskStore(database).add(task_row(), Admission(Room(100)))
database.close()
"""


def older_row(**changes: Any) -> dict[str, Any]:
    """Return a row as a release wrote it that did not know commands by name."""
    row = task_row()
    return {
        k: v for k, v in row.items() if k not in ("command", "max_running")
    } | changes


def differences(connection: sa.Connection) -> list[Any]:
    # SQLite numbers rows by itself, and alembic misses the default that does it.
    defaults = connection.dialect.name != "sqlite"
    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "compare_server_default": defaults}
    )
    return compare_metadata(context, metadata)


def what_there_is(connection: sa.Connection) -> dict[str, Any]:
    """Return every table as the database tells it, conditions of indexes too."""
    inspector = sa.inspect(connection)
    tables = sorted(set(inspector.get_table_names()) - {"alembic_version"})
    return {table: _what_it_is(inspector, table) for table in tables}


def _what_it_is(inspector: sa.Inspector, table: str) -> dict[str, Any]:
    return {
        "columns": [
            (each["name"], repr(each["type"]), each["nullable"], each["default"])
            for each in inspector.get_columns(table)
        ],
        "indexes": {
            each["name"]: (
                each["column_names"],
                bool(each["unique"]),
                {
                    name: str(value)
                    for name, value in each.get("dialect_options", {}).items()
                },
            )
            for each in inspector.get_indexes(table)
        },
        "unique": inspector.get_unique_constraints(table),
        "key": inspector.get_pk_constraint(table),
        "foreign": inspector.get_foreign_keys(table),
    }


def alembic_config(connection: sa.Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(PROJECT / "migrations"))
    config.attributes["connection"] = connection
    return config


@contextmanager
def connected(url: str) -> Iterator[sa.Connection]:
    """Connect as a program that knows nothing of our tables."""
    plain = sa.create_engine(url)
    with plain.begin() as connection:
        yield connection
    plain.dispose()


def make_older(url: str, revision: str) -> dict[str, Any]:
    """Make the tables of an older version; return what there is."""
    with connected(url) as connection:
        command.upgrade(alembic_config(connection), revision)
        return what_there_is(connection)


def rows_of(connection: sa.Connection, table: str) -> list[dict[str, Any]]:
    reflected = sa.Table(table, sa.MetaData(), autoload_with=connection)
    found = connection.execute(sa.select(reflected).order_by(reflected.c.number))
    return [dict(row) for row in found.mappings()]


def insert(connection: sa.Connection, table: str, *rows: dict[str, Any]) -> None:
    reflected = sa.Table(table, sa.MetaData(), autoload_with=connection)
    for row in rows:
        connection.execute(sa.insert(reflected).values(**row))


def test_the_newest_migration_is_the_one_that_the_tables_name() -> None:
    config = Config()
    config.set_main_option("script_location", str(PROJECT / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [REVISION]


def test_the_first_use_makes_what_the_tables_say(database: Database) -> None:
    with database.write() as connection:
        assert differences(connection) == []


def test_a_table_that_is_not_as_said_would_be_seen(database: Database) -> None:
    with database.write() as connection:
        connection.execute(sa.text("DROP INDEX tasks_finished"))
        assert len(differences(connection)) == 1


def test_migrating_makes_what_sqlalchemy_would_make_of_the_tables(
    database: Database, new_database: NewDatabase
) -> None:
    with database.read() as connection:
        migrated = what_there_is(connection)
    with new_database() as url:
        plain = sa.create_engine(url)
        with plain.begin() as connection:
            metadata.create_all(connection)
            made = what_there_is(connection)
        plain.dispose()
    assert migrated == made
    assert set(made) == set(metadata.tables)


def test_the_indexes_of_what_is_unfinished_are_partial(database: Database) -> None:
    with database.read() as connection:
        indexes = what_there_is(connection)["tasks"]["indexes"]
    partial = {
        name for name, facts in indexes.items() if "finished IS NULL" in str(facts[2])
    }
    assert partial == {"tasks_slot_taken", "tasks_unfinished"}
    with database.read() as connection:
        of_messages = what_there_is(connection)["messages"]["indexes"]
    assert "finished IS NULL" in str(of_messages["messages_unsent"][2])


def test_the_way_down_and_up_again_ends_where_it_began(database: Database) -> None:
    with database.write() as connection:
        command.downgrade(alembic_config(connection), "base")
        assert sa.inspect(connection).get_table_names() == ["alembic_version"]
    with database.write() as connection:
        command.upgrade(alembic_config(connection), "head")
        assert differences(connection) == []
        revision = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    assert revision == REVISION


def test_what_is_kept_outlives_the_next_start(url: str, database: Database) -> None:
    row = task_row()
    TaskStore(database).add(row, Admission(Room(1)))
    database.close()

    later = Database(url)
    assert TaskStore(later).find(row["task_id"]) is not None
    later.close()


def test_a_migration_that_fails_leaves_nothing_and_can_be_tried_again(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "migrations"
    shutil.copytree(PROJECT / "migrations", broken)
    script = broken / "versions/0001_tasks.py"
    script.write_text(
        script.read_text().replace(
            "\n\ndef downgrade", '    op.execute("NONSENSE")\n\n\ndef downgrade'
        )
    )
    with monkeypatch.context() as patch:
        patch.setattr(revisions, "_MIGRATIONS", broken)
        with pytest.raises(StorageUnavailable):
            database.check()

    with database.write() as connection:
        assert differences(connection) == []


def test_migrations_are_found_in_a_folder_of_any_name(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "100% new; a:b, c %(here)s"
    shutil.copytree(PROJECT / "migrations", folder)
    monkeypatch.setattr(revisions, "_MIGRATIONS", folder)
    database.check()


def test_many_processes_that_open_a_new_database_at_once_all_succeed(
    url: str, database: Database, soak: bool
) -> None:
    count = 8 if soak else 4  # each takes a second to import what it needs
    race_processes(count, OPEN, ADD, url)

    assert len(TaskStore(database).unfinished("pelican")) == count
    with database.read() as connection:
        added = sa.select(sa.func.count()).select_from(tasks)
        assert connection.scalar(added) == count
        versions = connection.scalars(sa.text("SELECT * FROM alembic_version")).all()
    assert versions == [REVISION]


def test_processes_that_migrate_and_others_that_work_at_once_all_succeed(
    url: str, database: Database
) -> None:
    make_older(url, "0003")

    ended = race_processes(4, OPEN, MIGRATE_OR_ADD, url)

    before = re.findall(r"before: (\d+)", "".join(ended))
    assert len(before) == 2
    assert set(before) <= {"0003", REVISION}
    assert len(TaskStore(database).unfinished("pelican")) == 2
    with database.write() as connection:
        assert differences(connection) == []


@pytest.mark.parametrize("revision", known_revisions())
def test_each_revision_is_brought_to_each_later_one(
    url: str, new_database: NewDatabase, revision: str
) -> None:
    """Step by step from it, to what one leap makes."""
    made = Database(url)
    assert made.upgrade(revision) is None
    for later in known_revisions():
        before = made.revision()
        assert made.upgrade(later) == before
        assert made.revision() == max(later, before)
    made.close()
    with connected(url) as connection, new_database() as fresh:
        assert what_there_is(connection) == make_older(fresh, "head")


def test_a_migration_says_what_it_has_brought() -> None:
    assert all(brought.endswith(".") for brought in history().values())
    assert list(history()) == known_revisions()


def test_many_threads_that_open_a_new_database_at_once_all_succeed(
    database: Database, other: Database
) -> None:
    stores = TaskStore(database), TaskStore(other)
    results = race_threads(
        16,
        lambda number: stores[number % 2].add(task_row(), Admission(Room(100))),
    )
    assert results == [False] * 16
    assert len(stores[0].unfinished("pelican")) == 16


@pytest.fixture
def older_tasks() -> list[dict[str, Any]]:
    """Return what the older versions kept: what runs, and what has run."""
    ended = {"state": "SUCCESS", "finished": 1700000000.123456, "returncode": 0}
    facts = {"max_rss_bytes": 2**40, "end_offset": 2**41, "leftovers": False}
    return [
        older_row(slot="bob", cmd="echo '安'", **ended, **facts, result='{"a": 1}'),
        older_row(slot="bob", state="STARTED"),
        older_row(slot=None, owner=None, kind="iostat", progress_done=1),
    ]


class TestAnOlderVersion:
    @pytest.mark.parametrize("revision", OLDER)
    def test_becomes_the_newest_one_and_keeps_what_it_kept(
        self,
        url: str,
        database: Database,
        new_database: NewDatabase,
        revision: str,
        older_tasks: list[dict[str, Any]],
    ) -> None:
        assert not ADDED & set(make_older(url, revision))
        with connected(url) as connection:
            insert(connection, "tasks", *older_tasks)
            kept = rows_of(connection, "tasks")

        with database.write() as connection:
            migrated = what_there_is(connection)
            assert differences(connection) == []
            assert rows_of(connection, "tasks") == [row | NEW_COLUMNS for row in kept]
        with new_database() as fresh:
            assert migrated == make_older(fresh, "head")

    @pytest.mark.parametrize("revision", OLDER)
    def test_works_on_with_what_it_kept(
        self,
        url: str,
        database: Database,
        revision: str,
        older_tasks: list[dict[str, Any]],
    ) -> None:
        make_older(url, revision)
        with connected(url) as connection:
            insert(connection, "tasks", *older_tasks)
            if revision != "0001":
                insert(connection, "people", {"name": "Ann", "age": 1, "phone": None})
        store, admission = TaskStore(database), Admission(Room(9))
        _, running, report = (row["task_id"] for row in older_tasks)

        with pytest.raises(SlotBusy) as busy:
            store.add(task_row(slot="bob"), admission)
        assert busy.value.task_id == running
        assert store.finish(running, state="SUCCESS", finished=2.0)
        added = task_row(slot="bob", command="backup")
        store.add(added, admission)
        assert store.find_newest("bob")["task_id"] == added["task_id"]
        assert store.find(report)["owner"] is None
        assert PeopleStore(database).count() == int(revision != "0001")
        ann = AccountStore(database).add(account_row())
        AccountStore(database).add_token(token_row(ann["number"]))


class TestTheWayDown:
    @pytest.mark.parametrize("revision", OLDER)
    def test_ends_at_the_older_version_and_keeps_what_that_knew(
        self,
        database: Database,
        new_database: NewDatabase,
        revision: str,
        older_tasks: list[dict[str, Any]],
    ) -> None:
        accounts = AccountStore(database)
        ann = accounts.add(account_row())
        accounts.add_token(token_row(ann["number"]))
        AuditStore(database).add(audit_row())
        PeopleStore(database).add({"name": "Ann", "age": 1})
        with database.write() as connection:
            insert(connection, "tasks", *older_tasks, older_row(command="backup"))
            kept = rows_of(connection, "tasks")

        with database.write() as connection:
            command.downgrade(alembic_config(connection), revision)
        with database.read() as connection:
            down = what_there_is(connection)
            assert rows_of(connection, "tasks") == [
                {name: value for name, value in row.items() if name not in NEW_COLUMNS}
                for row in kept
            ]
            if revision != "0001":
                assert len(rows_of(connection, "people")) == 1

        with new_database() as fresh:
            assert down == make_older(fresh, revision)

    @pytest.mark.parametrize("revision", OLDER)
    def test_and_up_again_ends_where_it_began_without_who_was_there(
        self,
        database: Database,
        url: str,
        revision: str,
        older_tasks: list[dict[str, Any]],
    ) -> None:
        AccountStore(database).add(account_row())
        with database.write() as connection:
            insert(connection, "tasks", *older_tasks)
            before = what_there_is(connection)
            kept = rows_of(connection, "tasks")
        with database.write() as connection:
            command.downgrade(alembic_config(connection), revision)
        database.close()

        again = Database(url)
        with again.read() as connection:
            assert what_there_is(connection) == before
            assert rows_of(connection, "tasks") == kept
            assert rows_of(connection, "accounts") == []
        again.close()


@pytest.mark.parametrize("revision", ["0001", "0003"])
def test_tasks_of_an_earlier_release_are_kept_and_are_before_new_ones(
    url: str, database: Database, revision: str
) -> None:
    old, ended = older_row(), older_row(finished=2.0)
    with database.write() as connection:
        command.downgrade(alembic_config(connection), revision)
        for row in (old, ended):
            names = ", ".join(row)
            values = ", ".join(f":{name}" for name in row)
            added = sa.text(f"INSERT INTO tasks ({names}) VALUES ({values})")
            connection.execute(added, row)
    later = Database(url)
    store, alone = TaskStore(later), Admission(Room(1, max_queued=1))

    new_columns = {"is_queued": False, "turn": 0, "max_running": None}
    for row in (old, ended):
        found = store.find(row["task_id"])
        assert found is not None
        assert {name: found[name] for name in row} == row
        assert {name: found[name] for name in new_columns} == new_columns
    new = task_row()
    assert store.add(new, alone), "the old one still runs"
    store.finish(old["task_id"], state="SUCCESS", finished=3.0)
    claimed = store.claim("pelican", "exec", [new["task_id"]], max_running=1)
    assert claimed == [new["task_id"]]
    with later.write() as connection:
        assert differences(connection) == []
    later.close()


def test_messages_go_on_the_way_down_and_whatever_else_there_is_stays(
    url: str, database: Database, new_database: NewDatabase
) -> None:
    accounts, task = AccountStore(database), task_row()
    ann = accounts.add(account_row())
    TaskStore(database).add(task, Admission(Room(9)))
    send(database)
    with database.write() as connection:
        before = what_there_is(connection)
        command.downgrade(alembic_config(connection), "0004")
        down = what_there_is(connection)
    with new_database() as fresh:
        assert down == make_older(fresh, "0004")
    messages = {each for each in ADDED if "message" in each}
    assert set(before) - set(down) == messages | {"sessions", "orders", "hosts"}
    database.close()

    again = Database(url)
    with again.read() as connection:
        assert what_there_is(connection) == before
    assert AccountStore(again).find("ann") == ann
    assert TaskStore(again).find(task["task_id"]) is not None
    assert MessageStore(again).unsent() == []
    assert send(again) > 0, "nor does what was sent before count"
    again.close()


def test_sessions_go_on_the_way_down_and_their_users_stay(
    url: str, database: Database, new_database: NewDatabase
) -> None:
    accounts, task = AccountStore(database), task_row()
    ann = accounts.add(account_row())
    TaskStore(database).add(task, Admission(Room(9)))
    session = {"digest": "x", "account": ann["number"], "created": 1.0, "expires": 9.0}
    store = SessionStore(database)
    assert store.add(session, password_hash=ann["password_hash"])
    with database.write() as connection:
        before = what_there_is(connection)
        command.downgrade(alembic_config(connection), "0005")
        down = what_there_is(connection)
    with new_database() as fresh:
        assert down == make_older(fresh, "0005")
    assert set(before) - set(down) == {"sessions", "orders", "hosts"}
    database.close()

    again = Database(url)
    with again.read() as connection:
        assert what_there_is(connection) == before
    assert SessionStore(again).find_account("x", now=2.0) is None
    assert AccountStore(again).find("ann") == ann
    assert TaskStore(again).find(task["task_id"]) is not None
    again.close()


def send(database: Database) -> int:
    """Add a message, which is all that may be sent."""
    uses, quotas = [Use("all", 1)], [Quota("all", "", 1, 10**9)]
    return MessageStore(database).add(
        message_row(), ["+8613800000000"], Sender("ann"), uses=uses, quotas=quotas
    )


def test_tables_of_a_later_release_are_left_alone_and_told(
    database: Database, other: Database
) -> None:
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StorageUnavailable) as told:
        other.check()
    assert "9999 is of a later release" in str(told.value.__cause__)
    assert other.revision() == "9999"
