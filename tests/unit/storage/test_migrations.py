"""The tables are made on first use, and are what app/storage/tables.py says."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from app.errors import StorageUnavailable
from app.storage import engine
from app.storage.engine import Database
from app.storage.tables import REVISION, metadata, tasks
from app.storage.task_store import Admission, Room, TaskStore
from tests.racing import race_processes, race_threads
from tests.servers import PROJECT
from tests.unit.storage.conftest import NewDatabase
from tests.unit.storage.rows import task_row

OPEN = """
import sys, warnings
from app.storage.engine import Database
from app.storage.task_store import TaskStore
from tests.unit.storage.rows import task_row
"""

ADD = """
database = Database(sys.argv[1])
TaskStore(database).add(task_row(slot=sys.argv[2]), max_unfinished=100)
database.close()
"""


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


def test_the_indexes_of_unfinished_tasks_are_partial(database: Database) -> None:
    with database.read() as connection:
        indexes = what_there_is(connection)["tasks"]["indexes"]
    partial = {
        name for name, facts in indexes.items() if "finished IS NULL" in str(facts[2])
    }
    assert partial == {"tasks_slot_taken", "tasks_unfinished"}


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
    TaskStore(database).add(row, max_unfinished=1)
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
        patch.setattr(engine, "_MIGRATIONS", broken)
        with pytest.raises(StorageUnavailable):
            database.check()

    with database.write() as connection:
        assert differences(connection) == []


def test_migrations_are_found_in_a_folder_of_any_name(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "100% new; a:b, c %(here)s"
    shutil.copytree(PROJECT / "migrations", folder)
    monkeypatch.setattr(engine, "_MIGRATIONS", folder)
    database.check()


def test_many_processes_that_open_a_new_database_at_once_all_succeed(
    url: str, database: Database
) -> None:
    race_processes(8, OPEN, ADD, url)

    assert len(TaskStore(database).unfinished("pelican")) == 8
    with database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(tasks)) == 8
        versions = connection.scalars(sa.text("SELECT * FROM alembic_version")).all()
    assert versions == [REVISION]


def test_many_threads_that_open_a_new_database_at_once_all_succeed(
    database: Database, other: Database
) -> None:
    stores = TaskStore(database), TaskStore(other)
    results = race_threads(
        16, lambda number: stores[number % 2].add(task_row(), max_unfinished=100)
    )
    assert results == [None] * 16
    assert len(stores[0].unfinished("pelican")) == 16


@pytest.mark.parametrize("revision", ["0001", "0003"])
def test_tasks_of_an_earlier_release_are_kept_and_are_before_new_ones(
    url: str, database: Database, revision: str
) -> None:
    old, ended = task_row(), task_row(finished=2.0)
    with database.write() as connection:
        command.downgrade(alembic_config(connection), revision)
        for row in (old, ended):
            names = ", ".join(row)
            values = ", ".join(f":{name}" for name in row)
            insert = sa.text(f"INSERT INTO tasks ({names}) VALUES ({values})")
            connection.execute(insert, row)
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
