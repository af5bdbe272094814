"""Statements for what nearly every request asks, made once.

SQLAlchemy writes them for either database. To have SQLite execute one takes it five
times as long as SQLite itself, so that its driver is given the text.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

# By names, as the driver takes them from a mapping.
_SQLITE = sqlite.dialect(paramstyle="named")


class Conflict(Exception):
    """What would be written has to be unique, or to refer to something, and does not.

    Its transaction is of no more use.
    """


class Prepared:
    """A query whose values are given by the names of its parameters."""

    def __init__(self, query: sa.Select[Any]) -> None:
        self.query = query
        compiled = query.compile(dialect=_SQLITE)
        #: For SQLite's driver, with the values that stand in the query itself.
        self.text = str(compiled)
        self.constants = _constants(compiled)
        columns = query.selected_columns
        self._names = [column.name for column in columns]
        self._booleans = [c.name for c in columns if isinstance(c.type, sa.Boolean)]

    def rows(self, connection: sa.Connection, **values: Any) -> list[dict[str, Any]]:
        """Return the rows that are found in a transaction, by the names of columns."""
        if connection.dialect.name != "sqlite":
            found = connection.execute(self.query, values)
            return [dict(row) for row in found.mappings()]
        with closing(connection.connection.cursor()) as cursor:
            cursor.execute(self.text, self.constants | values)
            return [self.row(each) for each in cursor.fetchall()]

    def row(self, values: Sequence[Any]) -> dict[str, Any]:
        """Return what SQLite's driver has found by the names of columns."""
        found = dict(zip(self._names, values, strict=True))
        for name in self._booleans:
            if found[name] is not None:
                found[name] = bool(found[name])
        return found


class Change:
    """A statement that writes the columns that are named, and has other parameters."""

    def __init__(self, statement: sa.Insert | sa.Update) -> None:
        self._statement = statement
        self._texts: dict[tuple[str, ...], tuple[str, dict[str, Any]]] = {}

    def execute(self, connection: sa.Connection, values: Mapping[str, Any]) -> int:
        """Execute it in a transaction; return how many rows it has changed.

        Raises Conflict.
        """
        if connection.dialect.name == "sqlite":
            return self.execute_raw(connection.connection, values)
        try:
            return connection.execute(self._statement, values).rowcount
        except sa.exc.IntegrityError as error:
            raise Conflict from error

    def execute_raw(
        self, connection: sa.PoolProxiedConnection, values: Mapping[str, Any]
    ) -> int:
        """Execute it by a connection of SQLite's driver, as execute does."""
        text, constants = self._text(tuple(values))
        with closing(connection.cursor()) as cursor:
            try:
                cursor.execute(text, {**constants, **values})
            except sqlite3.IntegrityError as error:
                raise Conflict from error
            return cursor.rowcount

    def _text(self, names: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
        """Return it for SQLite's driver; those who write name the same every time."""
        if names not in self._texts:
            compiled = self._statement.compile(dialect=_SQLITE, column_keys=names)
            self._texts[names] = str(compiled), _constants(compiled)
        return self._texts[names]


def _constants(compiled: sa.Compiled) -> dict[str, Any]:
    """Return the values that stand in a statement itself."""
    return {name: v for name, v in compiled.params.items() if v is not None}
