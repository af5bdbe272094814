"""What is to be run by tasks that nobody has begun; see :mod:`app.storage.task_store`.

Such a task has no worker. Its document was written in the transaction that has let the
task in, and goes in the one in which somebody begins it, ends it or takes it back.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from .engine import Database
from .prepared import Prepared
from .tables import UNFINISHED, orders, tasks
from .task_store import Admission, Row, take_back

#: The worker of a task that nobody has begun.
NOBODY = ""

_OF_ID = tasks.c.task_id == sa.bindparam("of_id")
_OPEN = sa.and_(
    tasks.c.worker == NOBODY, tasks.c.state == sa.literal("QUEUED"), UNFINISHED
)
_CLAIM = (
    sa.update(tasks)
    .where(_OF_ID, _OPEN, tasks.c.is_queued.is_(False))
    .values(worker=sa.bindparam("by_worker"))
    .returning(tasks)
)
_END = sa.update(tasks).where(_OF_ID, _OPEN).returning(tasks)
_TAKE_ORDER = (
    sa.delete(orders)
    .where(orders.c.task_id == sa.bindparam("of_id"))
    .returning(orders.c.document)
)
# The same by one statement, which SQLite has not.
_CLAIMED = _CLAIM.cte("claimed")
_TAKEN = (
    sa.delete(orders)
    .where(orders.c.task_id == _CLAIMED.c.task_id)
    .returning(orders.c.document)
    .cte("taken")
)
_CLAIM_AT_ONCE = sa.select(_CLAIMED, _TAKEN.c.document).select_from(
    _CLAIMED.outerjoin(_TAKEN, sa.true())
)
_UNCLAIMED = Prepared(
    sa.select(tasks.c.task_id)
    .where(tasks.c.host == sa.bindparam("of_host"), _OPEN, tasks.c.is_queued.is_(False))
    .order_by(tasks.c.number)
)


class OrderStore:
    """Who begins a task, or sees that nobody does: one of them all."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, task_id: str, *, worker: str) -> tuple[Row, bytes] | None:
        """Make a task whose turn it is a worker's; return it and what is to be run.

        None: somebody was first, or it is not its turn, or there is no such task.
        """
        values = {"of_id": task_id, "by_worker": worker}
        if self._database.is_sqlite:
            return self._take(_CLAIM, task_id, values)
        with self._database.single() as connection:
            row = connection.execute(_CLAIM_AT_ONCE, values).mappings().first()
        return None if row is None else (dict(row), row["document"] or b"")

    def end(self, task_id: str, **end: Any) -> tuple[Row, bytes] | None:
        """Write the end of a task that nobody has begun; None: somebody has."""
        return self._take(_END.values(**end), task_id, {"of_id": task_id})

    def withdraw(self, task_id: str, admission: Admission) -> bool:
        """Forget a task as TaskStore.withdraw does; False: somebody has begun it."""
        with self._database.write() as connection:
            if not take_back(connection, task_id, admission, tasks.c.worker == NOBODY):
                return False
            connection.execute(_TAKE_ORDER, {"of_id": task_id})
            return True

    def unclaimed(self, host: str) -> Sequence[str]:
        """Return the tasks of a host whose turn it is, and that nobody has begun."""
        with self._database.read() as connection:
            rows = _UNCLAIMED.rows(connection, of_host=host)
        return [row["task_id"] for row in rows]

    def _take(
        self, change: sa.UpdateBase, task_id: str, values: Row
    ) -> tuple[Row, bytes] | None:
        """Change a task and take its document, both or neither."""
        with self._database.write() as connection:
            row = connection.execute(change, values).mappings().first()
            if row is None:
                return None
            document = connection.scalar(_TAKE_ORDER, {"of_id": task_id})
            return dict(row), document or b""
