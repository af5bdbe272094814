"""The revisions of the tables: which there are, which a database has, the way up.

Alembic is known here only. Its folder is `migrations/`.
"""

import ast
import logging
from pathlib import Path

import sqlalchemy as sa
import structlog

_MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"

log = structlog.get_logger(__name__)


def history() -> dict[str, str]:
    """Return what each revision has brought, oldest first."""
    return {name: _brought(path) for name, path in _files()}


def known_revisions() -> list[str]:
    """Return the revisions that a database can be migrated from, oldest first."""
    return [name for name, _ in _files()]


def revision_of(connection: sa.Connection) -> str | None:
    """Return the revision that a database has, None where it has no tables yet."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(sa.text("SELECT * FROM alembic_version"))
    return found


def upgrade(connection: sa.Connection, to: str) -> None:
    """Run the migrations inside the transaction that holds the lock."""
    logging.getLogger("alembic").setLevel(logging.WARNING)  # a line per plugin
    from alembic import command, config  # noqa: PLC0415 - 0.1 s, needed once a release

    settings = config.Config()
    settings.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    settings.attributes["connection"] = connection
    command.upgrade(settings, to)
    log.info("database.migrated", revision=to)


def _files() -> list[tuple[str, Path]]:
    paths = (_MIGRATIONS / "versions").glob("[0-9]*_*.py")
    return sorted((path.name.partition("_")[0], path) for path in paths)


def _brought(path: Path) -> str:
    """Return the first line of a migration, which is not imported for that."""
    words = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return words.partition("\n")[0]
