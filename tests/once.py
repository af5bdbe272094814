"""What each app of the tests needs alike is made once: its tables, its routes."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from werkzeug.routing import Rule

from app.storage import revisions
from app.storage.tables import REVISION

Upgrade = Callable[[sa.Connection, str], None]
Statement = tuple[str, Any]
Build = Callable[..., tuple[str, str]]


class Remembered:
    """Migrates the first new database of each kind, and does the same to later ones.

    To have Alembic read all migrations takes most of the time of a small test.
    """

    def __init__(self, upgrade: Upgrade) -> None:
        self._upgrade = upgrade
        self._statements: dict[str, list[Statement]] = {}

    def __call__(self, connection: sa.Connection, to: str) -> None:
        """Make the tables that are wanted now, inside of the transaction."""
        kind = connection.dialect.name
        if to != REVISION or revisions.revision_of(connection) is not None:
            self._upgrade(connection, to)
        elif kind not in self._statements:
            self._statements[kind] = self._recorded(connection)
        else:
            for statement, values in self._statements[kind]:
                connection.exec_driver_sql(statement, values or None)

    def _recorded(self, connection: sa.Connection) -> list[Statement]:
        made: list[Statement] = []

        def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any):
            if not statement.lstrip().startswith(("SELECT", "PRAGMA")):
                made.append((statement, values))

        sa.event.listen(connection, "before_cursor_execute", note)
        try:
            self._upgrade(connection, REVISION)
        finally:
            sa.event.remove(connection, "before_cursor_execute", note)
        return made


class Compiled:
    """Compiles what builds a route's URLs once, and gives it to later routes alike.

    That is half of the time that an app takes. It has the names of what is filled in,
    not the route: that comes when it is bound.
    """

    def __init__(self, compile_builder: Callable[[Rule, bool], Build]) -> None:
        self._compile = compile_builder
        self._builds: dict[tuple[Any, ...], Build] = {}

    def __call__(self, rule: Rule, append_unknown: bool = True) -> Build:
        """Return the function, not bound yet."""
        key = (rule.rule, repr(rule.defaults), append_unknown, *rule._trace)
        if key not in self._builds:
            self._builds[key] = self._compile(rule, append_unknown)
        return self._builds[key]
