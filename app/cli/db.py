"""`flask --app server db …`: the tables of the records, and how they become newer.

Nothing but the database has to be up for it.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import click
from flask import Flask

from app.errors import StorageUnavailable
from app.services import Services
from app.services.inspection.reasons import reason

from .door import Served

_NO_TABLES = "none"


def register(app: Flask, served: Served) -> None:
    """Give `app` the commands."""
    group = app.cli.group("db")(_db)
    to = click.option(
        "--to",
        metavar="REVISION",
        help="The revision to stop at. Without it: that of this release.",
    )
    group.command("upgrade")(to(served(_upgrade)))
    group.command("current")(served(_current))
    group.command("check")(served(_check))
    group.command("history")(served(_history))


def _db() -> None:
    """Look at the tables of the records, and make them newer."""


def _upgrade(services: Services, to: str | None) -> None:
    """Make the tables, or bring them to the revision of this release.

    All of it is one transaction, and who does the same at that moment waits. There is
    no way back but a backup.
    """
    steps = services.database.history()
    goal = to or max(steps)
    if goal not in steps:
        known = ", ".join(steps)
        raise click.BadParameter(f"{goal!r} is none of {known}", param_hint="--to")
    with _told():
        before = services.database.upgrade(goal) or ""
    if before > goal:
        words = f"The tables have revision {before}. There is no way back to {goal}."
        raise click.ClickException(words)
    _show({name: steps[name] for name in steps if before < name <= goal})
    already = " already" if before == goal else ""
    click.echo(f"The tables have revision {goal}{already}.")


def _current(services: Services) -> None:
    """Print the revision that the tables have, or that there are none."""
    with _told():
        click.echo(services.database.revision() or _NO_TABLES)


def _check(services: Services) -> None:
    """Say whether the tables are those of this release; the exit code is 1 if not."""
    with _told():
        found = services.database.revision() or _NO_TABLES
    wanted = max(services.database.history())
    click.echo(f"The tables have revision {found}, this release {wanted}.")
    if found != wanted:
        sys.exit(1)


def _history(services: Services) -> None:
    """List the revisions that this release knows, oldest first."""
    _show(services.database.history())


def _show(steps: Mapping[str, str]) -> None:
    for name, brought in steps.items():
        click.echo(f"{name} {brought}")


@contextmanager
def _told() -> Iterator[None]:
    """Say why the database cannot be used, not only that."""
    try:
        yield
    except StorageUnavailable as error:
        words = f"The database cannot be used: {reason(error)}"
        raise click.ClickException(words) from error
