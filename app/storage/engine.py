"""The database: SQLite or PostgreSQL, opened on first use, migrated by itself.

Nothing outside this room sees an error of SQLAlchemy: whatever keeps a record
from being read or written leaves as StorageUnavailable.
"""

import os
import random
import sqlite3
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from app.errors import StorageUnavailable

from . import postgres, revisions
from .prepared import Change, Prepared
from .tables import REVISION

# How long a statement waits for another worker's transaction, which takes
# milliseconds unless the database is stuck.
BUSY_SECONDS = 5
# Between looks whether another worker's is over; not the same for all who wait.
BUSY_LOOK_SECONDS = (0.00005, 0.0003)
# A worker's requests and runs each need a connection for a moment at a time.
POOL_CONNECTIONS = 8
POOL_SECONDS = 10

# Any number, as long as nothing else on the server locks the same one.
_MIGRATION_LOCK = 0x62656C6C

# How a transaction begins on SQLite, and how it is isolated on PostgreSQL, where one
# that waits for a lock must see what the lock's holder wrote.
_BEGIN_TO_WRITE = "BEGIN IMMEDIATE"
_READ = ("BEGIN", "REPEATABLE READ")
_WRITE = (_BEGIN_TO_WRITE, "READ COMMITTED")
# One statement to PostgreSQL, which is a transaction of its own: without what begins
# and ends one, the server is asked a third of the times.
_ALONE = ("", "AUTOCOMMIT")

# What keeps a record from being read or written.
_FAILURES = (sa.exc.DBAPIError, sa.exc.TimeoutError, sqlite3.Error)

# All that are in use, and no longer than that.
_ENGINES: weakref.WeakSet[sa.Engine] = weakref.WeakSet()

T = TypeVar("T")


class Database:
    """One database; safe to use from many threads, and to make before a fork."""

    def __init__(self, url: str) -> None:
        self._url = sa.make_url(url)
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        self._path = str(self._url.database)  # of SQLite's file
        self._engine = _engine(self._url)
        # Guards _ready_for: who migrates, and which file the engine is open on.
        self._lock = threading.Lock()
        self._ready_for: tuple[int, int] | None = None
        self._writing = threading.Lock()  # held by the thread that writes to SQLite
        self._waiting: deque[_Work[Any]] = deque()

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
        with self._turn(), self._connection(_WRITE) as connection:
            yield connection

    @contextmanager
    def single(self) -> Iterator[sa.Connection]:
        """Give a connection of PostgreSQL for one statement, which commits by itself.

        To begin and to end a transaction is a question more each.
        """
        with self._connection(_ALONE) as connection:
            yield connection

    def write_together(self, work: Callable[[sa.Connection], T]) -> T:
        """Do `work` in a transaction, and return what it returns.

        Threads that wait for SQLite's only writer do theirs in one transaction, each
        undone by itself where it fails. On PostgreSQL they need not wait.
        """
        if not self.is_sqlite:
            with self.write() as connection:
                return work(connection)
        mine = _Work(work)
        self._waiting.append(mine)
        try:
            with self._turn():
                if not mine.is_done:
                    self._do_all()
        except StorageUnavailable:
            # It must not be done after it was said not to be.
            if self._take_back(mine):
                raise
        return mine.outcome()

    def write_once(self, change: Change, values: Mapping[str, Any]) -> int:
        """Execute one statement in a transaction of its own; see Change.execute.

        SQLite holds its lock for no longer than it takes itself: between statements,
        threads of this process would come in between.
        """
        if not self.is_sqlite:
            with self.single() as connection:
                return change.execute(connection, values)
        try:
            self._make_ready()
            with closing(self._engine.raw_connection()) as raw:
                return change.execute_raw(raw, values)
        except _FAILURES as error:
            raise StorageUnavailable from error

    def first(self, prepared: Prepared, **values: Any) -> dict[str, Any] | None:
        """Return the first row that a prepared query finds, None without one."""
        if not self.is_sqlite:
            with self.single() as connection:
                row = connection.execute(prepared.query, values).mappings().first()
                return None if row is None else dict(row)
        try:
            self._make_ready()
            with closing(self._engine.raw_connection()) as raw:
                given = prepared.constants | values
                rows = raw.cursor().execute(prepared.text, given).fetchall()
        except _FAILURES as error:
            raise StorageUnavailable from error
        return prepared.row(rows[0]) if rows else None

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

    def revision(self) -> str | None:
        """Return the revision that the tables have, and make or migrate none.

        None: there are no tables yet. Raises StorageUnavailable.
        """
        try:
            if self.is_sqlite and self._is_unmade():
                return None
            with self._transaction(_READ) as connection:
                return revisions.revision_of(connection)
        except (OSError, *_FAILURES) as error:
            raise StorageUnavailable from error

    def history(self) -> dict[str, str]:
        """Return what each revision of the tables has brought, oldest first."""
        return revisions.history()

    def upgrade(self, to: str = REVISION) -> str | None:
        """Bring the tables to a revision, unless they have that or a later one.

        Return the one that they had, None where there were no tables. Others that do
        the same at that moment wait. Raises StorageUnavailable.
        """
        try:
            return self._migrate(to)
        except _FAILURES as error:
            raise StorageUnavailable from error

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
        except _FAILURES as error:
            raise StorageUnavailable from error

    def _do_all(self) -> None:
        """Do what threads wait for, by the one that has the turn."""
        works = [self._waiting.popleft() for _ in range(len(self._waiting))]
        failure: Exception | None = StorageUnavailable()  # if this thread is ended
        try:
            with self._connection(_WRITE) as connection:
                if len(works) == 1:
                    works[0].do(connection)
                else:
                    for work in works:
                        work.do_alone(connection)
            failure = None
        except Exception as error:  # noqa: BLE001 - raised where each was asked for
            failure = error
        finally:
            for work in works:
                work.end(failure)

    def _take_back(self, work: "_Work[Any]") -> bool:
        """Return whether what waits is not done, and will not be."""
        try:
            self._waiting.remove(work)
        except ValueError:
            return False
        return True

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Let one thread of this process write at a time, where only one can.

        SQLite would have them sleep and look, longer and longer.
        """
        if not self.is_sqlite:
            yield
        elif not self._writing.acquire(timeout=BUSY_SECONDS):
            raise StorageUnavailable from TimeoutError("others write all the time")
        else:
            try:
                yield
            finally:
                self._writing.release()

    @contextmanager
    def _transaction(self, kind: tuple[str, str]) -> Iterator[sa.Connection]:
        with self._engine.connect() as connection:
            begin, isolation_level = kind
            if not self.is_sqlite:
                connection.execution_options(isolation_level=isolation_level)
            elif begin == _BEGIN_TO_WRITE:
                _begin_to_write(connection)
            else:
                connection.exec_driver_sql(begin)
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
            stat = os.stat(self._path)  # noqa: PTH116 - before every transaction
        except OSError:
            return None
        return (stat.st_dev, stat.st_ino)

    def _is_unmade(self) -> bool:
        """Return whether SQLite's file is still to be made; raise OSError if it cannot.

        To open it would make it.
        """
        path = Path(self._path)
        if path.exists():
            return path.stat().st_size == 0
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise NotADirectoryError(f"{path.parent} is no folder to write in")
        return True

    def _migrate(self, to: str = REVISION) -> str | None:
        with self._transaction(_WRITE) as connection:
            if not self.is_sqlite:
                # For as long as another one's migration takes.
                connection.execute(sa.text("SET LOCAL lock_timeout = 0"))
                lock = sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK))
                connection.execute(lock)
            found = revisions.revision_of(connection)
            if found is not None and found not in revisions.known_revisions():
                words = f"revision {found} is of a later release than this one"
                raise StorageUnavailable from ValueError(words)
            if found is None or found < to:
                revisions.upgrade(connection, to)
            return found


class _Work(Generic[T]):
    """What a thread wants to be done in a transaction, and what came of it."""

    def __init__(self, work: Callable[[sa.Connection], T]) -> None:
        self._work = work
        self._result: T
        self._error: Exception | None = None
        self._done = threading.Event()

    @property
    def is_done(self) -> bool:
        """Whether somebody has done it, or has failed to."""
        return self._done.is_set()

    def do(self, connection: sa.Connection) -> None:
        """Do it; an error undoes the whole transaction."""
        self._result = self._work(connection)

    def do_alone(self, connection: sa.Connection) -> None:
        """Do it, or undo it alone where it fails."""
        connection.exec_driver_sql("SAVEPOINT alone")
        try:
            self.do(connection)
        except Exception as error:  # noqa: BLE001 - raised where it was asked for
            self._error = error
            connection.exec_driver_sql("ROLLBACK TO alone")
        connection.exec_driver_sql("RELEASE alone")

    def end(self, failure: Exception | None) -> None:
        """Have who waits for it go on; `failure` is of the whole transaction."""
        self._error = failure or self._error
        self._done.set()

    def outcome(self) -> T:
        """Return what came of it, or raise what it failed for."""
        self._done.wait()
        if isinstance(self._error, StorageUnavailable):  # others have the same one
            raise StorageUnavailable from self._error.__cause__
        if isinstance(self._error, sa.exc.DBAPIError):
            raise StorageUnavailable from self._error
        if self._error is not None:
            raise self._error
        return self._result


def _engine(url: sa.URL) -> sa.Engine:
    """Return an engine that has connected to nothing yet."""
    is_sqlite = url.get_backend_name() == "sqlite"
    engine = sa.create_engine(
        url,
        pool_size=POOL_CONNECTIONS,
        max_overflow=POOL_CONNECTIONS,
        pool_timeout=POOL_SECONDS,
        connect_args={} if is_sqlite else postgres.network_of(url),
        hide_parameters=True,  # an error's text goes to the log, commands do not
    )
    if is_sqlite:
        sa.event.listen(engine, "connect", _set_up_sqlite)
    else:
        postgres.set_up(engine)
    _ENGINES.add(engine)
    return engine


def _leave_connections() -> None:
    """Leave a parent's connections to it, in a child that was just forked."""
    for engine in _ENGINES:
        engine.dispose(close=False)


os.register_at_fork(after_in_child=_leave_connections)


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


def _begin_to_write(connection: sa.Connection) -> None:
    """Take SQLite's write lock, which another process may hold for a millisecond.

    Its own waiting looks again after 1, 2, 5, 10, … ms: under load most of them would
    sleep while nobody writes.
    """
    connection.begin()  # to SQLAlchemy
    cursor = connection.connection.cursor()
    deadline = time.monotonic() + BUSY_SECONDS
    cursor.execute("PRAGMA busy_timeout = 0")
    try:
        while True:
            try:
                cursor.execute(_BEGIN_TO_WRITE)
            except sqlite3.OperationalError as error:
                is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not is_busy or time.monotonic() >= deadline:
                    raise
                time.sleep(random.uniform(*BUSY_LOOK_SECONDS))  # noqa: S311
            else:
                return
    finally:
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
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
