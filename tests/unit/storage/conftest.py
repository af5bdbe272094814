"""Both databases: a new one for each test, on SQLite and on a real PostgreSQL."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from app.storage.engine import Database
from app.storage.task_store import TaskStore

NewDatabase = Callable[[], AbstractContextManager[str]]


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def new_database(request: pytest.FixtureRequest) -> NewDatabase:
    """Return what gives URLs of new databases, on SQLite and on PostgreSQL.

    For the session, so that the server is up before a test's leaks are counted.
    """
    if request.param == "sqlite":
        return _new_sqlite
    return request.getfixturevalue("postgres").new_schema


@pytest.fixture
def url(new_database: NewDatabase) -> Iterator[str]:
    with new_database() as made:
        yield made


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    made = Database(url)
    yield made
    made.close()


@pytest.fixture
def other(url: str) -> Iterator[Database]:
    """Open the same database, as another worker does."""
    made = Database(url)
    yield made
    made.close()


@pytest.fixture
def store(database: Database) -> TaskStore:
    return TaskStore(database)


@contextmanager
def _new_sqlite() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:///{folder}/bellhop.db"
