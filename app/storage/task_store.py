"""The records of tasks. Rows go in and out as mappings of column to value."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from app.errors import CapacityExceeded, SlotBusy

from .engine import Database
from .tables import UNFINISHED, tasks

Row = Mapping[str, Any]

# Advisory locks of PostgreSQL are numbers; the second one is the host's hash.
_ADMISSION_LOCK = 1


class TaskStore:
    """What every worker knows of every task."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, row: Row, *, max_unfinished: int) -> None:
        """Add a task that has not finished.

        Raises SlotBusy where its slot holds another, CapacityExceeded where its
        host has `max_unfinished` of its kind already; across all workers.
        """
        with self._database.write() as connection:
            self._lock_admission(connection, row["host"])
            holder = tasks.c.slot == sa.bindparam("slot", row["slot"]), UNFINISHED
            if task_id := connection.scalar(sa.select(tasks.c.task_id).where(*holder)):
                raise SlotBusy(task_id)
            on_host = tasks.c.host == row["host"], tasks.c.kind == row["kind"]
            count = sa.select(sa.func.count()).where(*on_host, UNFINISHED)
            if connection.execute(count).scalar_one() >= max_unfinished:
                raise CapacityExceeded(retry_after_seconds=1)
            try:
                connection.execute(sa.insert(tasks).values(**row))
            except sa.exc.IntegrityError as error:  # taken on another host just now
                raise SlotBusy from error

    def find(self, task_id: str) -> Row | None:
        """Return a task's row."""
        return self._one(sa.select(tasks).where(tasks.c.task_id == task_id))

    def find_newest(self, slot: str) -> Row | None:
        """Return the newest task of a slot."""
        of_slot = sa.select(tasks).where(tasks.c.slot == slot)
        return self._one(of_slot.order_by(tasks.c.number.desc()).limit(1))

    def start(self, task_id: str, **values: Any) -> None:
        """Write how far a task has come, unless it has finished already."""
        self._update([tasks.c.task_id == task_id, UNFINISHED], values)

    def request_cancel(self, task_id: str) -> None:
        """Write that a task is to be ended, unless it has finished already."""
        self.start(task_id, cancel_requested=True)

    def cancelled(self, task_ids: Collection[str]) -> Sequence[str]:
        """Return those of `task_ids` that are to be ended."""
        wanted = tasks.c.task_id.in_(task_ids), tasks.c.cancel_requested
        with self._database.read() as connection:
            query = sa.select(tasks.c.task_id).where(*wanted, UNFINISHED)
            return connection.scalars(query).all()

    def finish(self, task_id: str, **values: Any) -> bool:
        """Write a task's end; return False where it had one, which then holds."""
        return self._update([tasks.c.task_id == task_id, UNFINISHED], values)

    def take_output(
        self, task_id: str, *, from_offset: int, to_offset: int, is_end: bool
    ) -> bool:
        """Mark output as given; return False where another poll was first."""
        as_seen = [
            tasks.c.task_id == task_id,
            tasks.c.polled_offset == from_offset,
            tasks.c.polled_end.is_(False),
        ]
        given = {"polled_offset": to_offset, "polled_end": is_end}
        return self._update(as_seen, given)

    def unfinished(self, host: str) -> Sequence[Row]:
        """Return the tasks of a host that have not finished."""
        query = sa.select(tasks).where(self._of_host(host), UNFINISHED)
        with self._database.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def expired(
        self, host: str, *, finished_before: float, keep: int, limit: int
    ) -> Sequence[str]:
        """Return up to `limit` tasks past their age, or with `keep` newer ones."""
        of_host = self._of_host(host)
        age = tasks.c.finished, tasks.c.number  # the number where times are equal
        newest = sa.select(*age).where(of_host, tasks.c.finished.is_not(None))
        cut = newest.order_by(*(column.desc() for column in age)).offset(keep).limit(1)
        old = tasks.c.finished < finished_before
        over = sa.tuple_(*age) <= cut.scalar_subquery()
        query = (
            sa.select(tasks.c.task_id).where(of_host, sa.or_(old, over)).limit(limit)
        )
        with self._database.read() as connection:
            return connection.scalars(query).all()

    def remove(self, task_ids: Collection[str]) -> None:
        """Forget tasks."""
        with self._database.write() as connection:
            connection.execute(sa.delete(tasks).where(tasks.c.task_id.in_(task_ids)))

    def known(self, task_ids: Collection[str]) -> set[str]:
        """Return those of `task_ids` that there are."""
        query = sa.select(tasks.c.task_id).where(tasks.c.task_id.in_(task_ids))
        with self._database.read() as connection:
            return set(connection.scalars(query))

    def _of_host(self, host: str) -> sa.ColumnElement[bool]:
        """Return which tasks are that host's to sweep up.

        A file of SQLite is one host's, whatever it was called when a task was made: a
        container has another name after every start.
        """
        return sa.true() if self._database.is_sqlite else tasks.c.host == host

    def _one(self, query: sa.Select[Any]) -> Row | None:
        with self._database.read() as connection:
            row = connection.execute(query).mappings().one_or_none()
            return None if row is None else dict(row)

    def _update(
        self, conditions: Sequence[sa.ColumnElement[bool]], values: Mapping[str, Any]
    ) -> bool:
        statement = sa.update(tasks).where(*conditions).values(**values)
        with self._database.write() as connection:
            return connection.execute(statement).rowcount == 1

    def _lock_admission(self, connection: sa.Connection, host: str) -> None:
        """Let one worker at a time count what runs on a host and add to it."""
        if not self._database.is_sqlite:
            key = sa.func.hashtext(host)
            lock = sa.func.pg_advisory_xact_lock(_ADMISSION_LOCK, key)
            connection.execute(sa.select(lock))
