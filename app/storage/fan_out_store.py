"""The records of runs on several hosts: a parent, and a task for each host.

Whoever makes a part or ends a parent holds a lock of that parent's, so that no part is
made twice, out of turn, or after the end. No process need be there for all of it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from .engine import Database
from .parts import Parts
from .prepared import Change, Prepared
from .tables import UNFINISHED, orders, tasks

Row = Mapping[str, Any]

# Made once: to make a statement takes longer than to execute it.
_FIND = Prepared(sa.select(tasks).where(tasks.c.task_id == sa.bindparam("of_id")))
# As its index has them.
_OF_PARENT = sa.and_(
    tasks.c.parent.is_not(None), tasks.c.parent == sa.bindparam("of_parent")
)
_COUNTS = Prepared(
    sa.select(tasks.c.state, sa.func.count().label("number"))
    .where(_OF_PARENT)
    .group_by(tasks.c.state)
)
_HOSTS = Prepared(sa.select(tasks.c.host).where(_OF_PARENT))
_ENDS = Prepared(
    sa.select(tasks.c.host, tasks.c.state, tasks.c.reason, tasks.c.returncode).where(
        _OF_PARENT
    )
)
_TO_CANCEL = Prepared(
    sa.select(tasks.c.task_id).where(
        _OF_PARENT, UNFINISHED, tasks.c.cancel_requested.is_(False)
    )
)
_ADD = Change(sa.insert(tasks))
_END = Change(
    sa.update(tasks).where(tasks.c.task_id == sa.bindparam("of_id"), UNFINISHED)
)


class NotItsTurn(Exception):
    """A part was there already, or is not to be made now, or no more."""


class FanOutStore:
    """What every process knows of every run on several hosts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def unfinished(self, host: str | None) -> Sequence[str]:
        """Return the parents that have not ended; None: whichever host was asked.

        A file of SQLite is one host's, whatever it is called now.
        """
        is_any = host is None or self._database.is_sqlite
        of_host = sa.true() if is_any else tasks.c.host == host
        of_kind = tasks.c.fan_out.is_not(None), UNFINISHED
        query = sa.select(tasks.c.task_id).where(of_host, *of_kind)
        with self._database.read() as connection:
            return connection.scalars(query).all()

    def find(self, parent_id: str) -> tuple[Row, Parts] | None:
        """Return a parent that has not ended, and its parts."""
        with self._database.read() as connection:
            return _find(connection, parent_id)

    def next_hosts(self, parent_id: str, parts: Parts) -> Sequence[str]:
        """Return the hosts whose turn it is."""
        if not parts.room:
            return []
        with self._database.read() as connection:
            rows = _HOSTS.rows(connection, of_parent=parent_id)
        made = {row["host"] for row in rows}
        return [host for host in parts.hosts if host not in made][: parts.room]

    def order(self, parent_id: str) -> bytes | None:
        """Return what is to be run of a parent that has not ended, as it was kept."""
        query = sa.select(orders.c.document).where(orders.c.task_id == parent_id)
        with self._database.read() as connection:
            found: bytes | None = connection.scalar(query)
            return found

    def add_ended(self, part: Row) -> None:
        """Add a part that came to nothing; raise NotItsTurn."""
        with self._database.write() as connection:
            parent = check_turn(self._database, connection, part)
            _ADD.execute(connection, {**part, "owner": parent["owner"]})

    def request_cancel(self, parent_id: str) -> Sequence[str]:
        """Write that all parts are to be ended; return those of which it was new."""
        with self._database.write() as connection:
            found = _TO_CANCEL.rows(connection, of_parent=parent_id)
            cancelled = sa.update(tasks).where(_OF_PARENT, UNFINISHED)
            values = cancelled.values(cancel_requested=True)
            connection.execute(values, {"of_parent": parent_id})
        return [row["task_id"] for row in found]

    def end(
        self, parent_id: str, end: Callable[[Row, Parts, Sequence[Row]], Row]
    ) -> Row | None:
        """Write the end of a parent whose parts are over, and forget what was run.

        `end` makes it, of the plan, the parts and how each has ended. Return the parent
        as it is then; None: it goes on, or another was first.
        """
        with self._database.write() as connection:
            _lock(self._database, connection, parent_id)
            found = _find(connection, parent_id)
            if found is None or not found[1].is_over:
                return None
            ends = _ENDS.rows(connection, of_parent=parent_id)
            facts = end(json.loads(found[0]["fan_out"]), found[1], ends)
            _END.execute(connection, {"of_id": parent_id, **facts})
            of_parent = orders.c.task_id == parent_id
            connection.execute(sa.delete(orders).where(of_parent))
            return {**found[0], **facts}


def check_turn(database: Database, connection: sa.Connection, part: Row) -> Row:
    """Return the parent of a part that may be added in this transaction.

    Raises NotItsTurn.
    """
    parent_id = part["parent"]
    _lock(database, connection, parent_id)
    found = _find(connection, parent_id)
    is_there = bool(_FIND.rows(connection, of_id=part["task_id"]))
    if found is None or is_there or not found[1].room:
        raise NotItsTurn
    return found[0]


def _lock(database: Database, connection: sa.Connection, parent_id: str) -> None:
    database.lock(connection, f"fan_out {parent_id}")


def _find(connection: sa.Connection, parent_id: str) -> tuple[Row, Parts] | None:
    found = _FIND.rows(connection, of_id=parent_id)
    if not found or found[0]["finished"] is not None:
        return None
    plan, is_cancelled = json.loads(found[0]["fan_out"]), found[0]["cancel_requested"]
    rows = _COUNTS.rows(connection, of_parent=parent_id)
    of_state = {row["state"]: row["number"] for row in rows}
    return found[0], Parts(plan, of_state, is_cancelled=is_cancelled)
