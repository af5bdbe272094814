"""Statements for what nearly every request asks, made once.

SQLAlchemy writes them for either database. To have SQLite execute one takes it five
times as long as SQLite itself, so that its driver is given the text.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

# By names, as the driver takes them from a mapping.
_SQLITE = sqlite.dialect(paramstyle="named")


class Prepared:
    """A query whose values are given by the names of its parameters."""

    def __init__(self, query: sa.Select[Any]) -> None:
        self.query = query
        compiled = query.compile(dialect=_SQLITE)
        #: For SQLite's driver, with the values that stand in the query itself.
        self.text = str(compiled)
        self.constants = {n: v for n, v in compiled.params.items() if v is not None}
        columns = query.selected_columns
        self._names = [column.name for column in columns]
        self._booleans = [c.name for c in columns if isinstance(c.type, sa.Boolean)]

    def row(self, values: Sequence[Any]) -> dict[str, Any]:
        """Return what SQLite's driver has found by the names of columns."""
        found = dict(zip(self._names, values, strict=True))
        for name in self._booleans:
            if found[name] is not None:
                found[name] = bool(found[name])
        return found
