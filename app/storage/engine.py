"""The database: SQLite or PostgreSQL, opened on first use, migrated by itself.

Nothing outside this room sees an error of SQLAlchemy: whatever keeps a record
from being read or written leaves as StorageUnavailable.
"""

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog

from app.errors import StorageUnavailable

from .tables import REVISION

# How long a statement waits for another worker's transaction, which takes
# milliseconds unless the database is stuck.
BUSY_SECONDS = 5
# A worker's requests and runs each need a connection for a moment at a time.
POOL_CONNECTIONS = 8
POOL_SECONDS = 10

_MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
# Any number, as long as nothing else on the server locks the same one.
_MIGRATION_LOCK = 0x62656C6C

# How a transaction begins on SQLite, and how it is isolated on PostgreSQL, where one
# that waits for a lock must see what the lock's holder wrote.
_READ = ("BEGIN", "REPEATABLE READ")
_WRITE = ("BEGIN IMMEDIATE", "READ COMMITTED")

log = structlog.get_logger(__name__)


class Database:
    """One database; safe to use from many threads, and to make before a fork."""

    def __init__(self, url: str) -> None:
        self._url = sa.make_url(url)
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        self._engine = _engine(self._url)
        # Guards _ready_for: who migrates, and which file the engine is open on.
        self._lock = threading.Lock()
        self._ready_for: tuple[int, int] | None = None

    def __repr__(self) -> str:
        return f"<Database {self._url.set(query={})!r}>"

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Give a connection that sees one state of the database and writes nothing."""
        with self._connection(_READ) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Give a connection in a transaction, committed unless an error leaves it.

        On SQLite the write lock is taken at once, so that what was read in the
        transaction still holds when it writes.
        """
        with self._connection(_WRITE) as connection:
            yield connection

    def lock(self, connection: sa.Connection, name: str) -> None:
        """Let one writer at a time go on from here, of those that name the same.

        The lock ends with the transaction. SQLite has one writer at a time anyway.
        """
        if not self.is_sqlite:
            key = sa.func.hashtextextended(name, 0)
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))

    def check(self) -> None:
        """Raise StorageUnavailable where nothing could be written now.

        A disk that is full tells that only to who writes.
        """
        same = "UPDATE alembic_version SET version_num = version_num"
        with self.write() as connection:
            connection.execute(sa.text(same))

    def close(self) -> None:
        """Close all connections; the next use opens new ones."""
        # No connection will keep the file: a later one may get its number.
        self._ready_for = None
        self._engine.dispose()

    @contextmanager
    def _connection(self, kind: tuple[str, str]) -> Iterator[sa.Connection]:
        try:
            self._make_ready()
            with self._transaction(kind) as connection:
                yield connection
        except (sa.exc.DBAPIError, sa.exc.TimeoutError, sqlite3.Error) as error:
            raise StorageUnavailable from error

    @contextmanager
    def _transaction(self, kind: tuple[str, str]) -> Iterator[sa.Connection]:
        with self._engine.connect() as connection:
            begin, isolation_level = kind
            if self.is_sqlite:
                connection.exec_driver_sql(begin)
            else:
                connection.execution_options(isolation_level=isolation_level)
            yield connection
            connection.commit()

    def _make_ready(self) -> None:
        """Open and migrate the database, at first and when its file was replaced.

        A connection to a file that was removed goes on writing to nowhere, so the
        file is looked at before every transaction.
        """
        identity = self._identity()
        if identity == self._ready_for and identity is not None:
            return
        with self._lock:
            if self._identity() == self._ready_for is not None:
                return
            # Without connections to the old file the new one may get its number, and
            # other threads would take it for migrated.
            self._ready_for = None
            self._engine.dispose()
            self._migrate()
            self._ready_for = self._identity()

    def _identity(self) -> tuple[int, int] | None:
        """Return what tells the database's file from a later one of its name."""
        if not self.is_sqlite:
            return (0, 0)
        try:
            stat = Path(str(self._url.database)).stat()
        except OSError:
            return None
        return (stat.st_dev, stat.st_ino)

    def _migrate(self) -> None:
        with self._transaction(_WRITE) as connection:
            if not self.is_sqlite:
                lock = sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK))
                connection.execute(lock)
            if _revision(connection) != REVISION:
                _upgrade(connection)


def _engine(url: sa.URL) -> sa.Engine:
    """Return an engine that has connected to nothing yet."""
    engine = sa.create_engine(
        url,
        pool_size=POOL_CONNECTIONS,
        max_overflow=POOL_CONNECTIONS,
        pool_timeout=POOL_SECONDS,
        pool_pre_ping=url.get_backend_name() != "sqlite",
        hide_parameters=True,  # an error's text goes to the log, commands do not
    )
    if url.get_backend_name() == "sqlite":
        sa.event.listen(engine, "connect", _set_up_sqlite)
    else:
        sa.event.listen(engine, "handle_error", _cut_detail)
    os.register_at_fork(after_in_child=lambda: engine.dispose(close=False))
    return engine


def _set_up_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # Transactions are begun by hand: the driver would begin one only at the first
    # write, when what was read before it may hold no more.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    _switch_to_wal(cursor)
    # Survives a crash of ours; a crash of the host may undo the last moments,
    # whose runs it has ended as well.
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _switch_to_wal(cursor: sqlite3.Cursor) -> None:
    """Set the journal's mode, which SQLite refuses while another does the same.

    Its own waiting, the busy_timeout, does not hold for this.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.005)
        else:
            return


def _cut_detail(context: sa.engine.ExceptionContext) -> None:
    """Keep the first line of an error's text: later ones show the row."""
    for error in (context.original_exception, context.sqlalchemy_exception):
        if error is not None and error.args:
            error.args = (str(error.args[0]).partition("\n")[0],)


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(sa.text("SELECT * FROM alembic_version"))
    return found


def _upgrade(connection: sa.Connection) -> None:
    """Run the migrations inside the transaction that holds the lock."""
    logging.getLogger("alembic").setLevel(logging.WARNING)  # a line per plugin
    from alembic import command, config  # noqa: PLC0415 - 0.1 s, needed once a release

    settings = config.Config()
    settings.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    settings.attributes["connection"] = connection
    command.upgrade(settings, "head")
    log.info("database.migrated", revision=REVISION)
