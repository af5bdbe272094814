"""The audit: rows are added and read, never changed."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from .engine import Database
from .prepared import Change
from .tables import audit

Row = Mapping[str, Any]


# Made once: to make a statement takes longer than to execute it.
_ADD = Change(sa.insert(audit))
_ALIKE = (
    sa.select(sa.func.count())
    .select_from(audit)
    .where(
        audit.c.actor.is_(None),
        audit.c.at >= sa.bindparam("since"),
        *(
            audit.c[name].is_not_distinct_from(
                sa.bindparam(f"of_{name}", type_=sa.Text)
            )
            for name in ("address", "detail")
        ),
    )
)


class AuditStore:
    """Who did what, in the order of its end."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, row: Row) -> None:
        """Add a row."""
        self._database.write_once(_ADD, row)

    def add_nobodys(self, row: Row, *, since: float, limit: int) -> bool:
        """Add a row of nobody's, unless there are `limit` like it since then.

        Those are alike that come from the same address with the same detail.
        """
        alike = {f"of_{name}": row.get(name) for name in ("address", "detail")}

        def write(connection: sa.Connection) -> bool:
            self._database.lock(connection, "audit of nobody")
            found = connection.execute(_ALIKE, {**alike, "since": since})
            if found.scalar_one() >= limit:
                return False
            _ADD.execute(connection, row)
            return True

        return self._database.write_together(write)

    def page(self, filters: Row, *, before: int | None, limit: int) -> Sequence[Row]:
        """Return up to `limit` rows with a number below `before`, newest first."""
        conditions = [audit.c[name] == value for name, value in filters.items()]
        if before is not None:
            conditions.append(audit.c.number < sa.literal(before, sa.BigInteger))
        query = sa.select(audit).where(*conditions)
        newest = query.order_by(audit.c.number.desc()).limit(limit)
        with self._database.read() as connection:
            return [dict(row) for row in connection.execute(newest).mappings()]

    def remove_before(self, moment: float) -> None:
        """Forget what is older than is kept."""
        with self._database.write() as connection:
            connection.execute(sa.delete(audit).where(audit.c.at < moment))
