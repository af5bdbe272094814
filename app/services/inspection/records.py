"""The records: where they are, how old their tables are, and who is an admin."""

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.errors import AccountNotFound, StorageUnavailable
from app.finding import Finding
from app.services import Services
from app.storage.engine import Database
from app.storage.ownership import Viewer
from app.storage.revisions import known_revisions
from app.storage.tables import REVISION

from .reasons import reason

_ADD_ADMIN = "set ADMIN_PASSWORD, or run: flask --app server user add NAME"


@dataclass(frozen=True)
class Seen:
    """What a look at the database has shown; `error` where it was away."""

    revision: str | None = None
    error: str | None = None

    @property
    def is_current(self) -> bool:
        """Whether its tables can be read without being migrated first."""
        return self.error is None and self.revision == REVISION


def see(database: Database) -> Seen:
    """Look at the database, without making or migrating it."""
    try:
        revision = database.revision()
        if revision == REVISION:
            database.check()
    except StorageUnavailable as error:
        return Seen(error=reason(error))
    return Seen(revision)


def findings(
    seen: Seen, services: Services, settings: Mapping[str, Any]
) -> Iterator[Finding]:
    """Give what there is to say of the database and of the admins in it."""
    if not services.database.is_sqlite:
        yield from _of_host(settings["BELLHOP_HOST"])
    yield _of_database(seen)
    if seen.is_current:
        yield from _of_admins(services, settings)
    elif seen.revision is None and seen.error is None:
        yield _of_first_admin(settings)


def newest(services: Services) -> float | None:
    """Return when the newest task or entry of the audit was made."""
    viewer = Viewer(owner=None, sees_all=True)
    tasks = services.lookup.page(viewer, {}, before=None, limit=1)
    audit = services.audit.page({}, before=None, limit=1)
    times = [*(task.created for _, task in tasks), *(row["at"] for row in audit)]
    return max(times, default=None)


def is_user(services: Services, name: str) -> bool:
    """Return whether there is a user of that name."""
    try:
        services.accounts.get(name)
    except AccountNotFound:
        return False
    return True


def _of_host(name: str) -> Iterator[Finding]:
    if name == socket.gethostname():
        yield Finding.note(
            "BELLHOP_HOST",
            f"is {name}, the name of this host, by which it finds its tasks",
            "set it to a name that stays, where that one changes (containers) or "
            "others have it too",
        )


def _of_database(seen: Seen) -> Finding:
    about, revision = "database", seen.revision
    if seen.error is not None:
        remedy = "look at DATABASE_URL, at its server, and at who may write the file"
        return Finding.fault(about, f"cannot be used: {seen.error}", remedy)
    if revision is None:
        return Finding(about, "has no tables yet; the first worker makes them")
    if revision == REVISION:
        return Finding(about, f"has revision {revision}, as this release")
    if revision in known_revisions():
        words = f"has revision {revision}; the first worker makes it {REVISION}"
        remedy = "back it up first (sqlite3 .backup, pg_dump): there is no way back"
        return Finding.note(about, words, remedy)
    words = f"has revision {revision}, which this release, of {REVISION}, does not know"
    remedy = "install the release that made it, or restore the backup before that"
    return Finding.fault(about, words, remedy)


def _of_admins(services: Services, settings: Mapping[str, Any]) -> Iterator[Finding]:
    if not services.accounts.knows_admin():
        yield _of_first_admin(settings, services)
    elif settings["ADMIN_PASSWORD"]:
        words = "is set, and used no more: there is an admin"
        remedy = "take it out of the environment"
        yield Finding.note("ADMIN_PASSWORD", words, remedy)
    else:
        yield Finding("admin", "there is one")


def _of_first_admin(
    settings: Mapping[str, Any], services: Services | None = None
) -> Finding:
    """Return what becomes of the first admin; without services there is no user."""
    name = settings["ADMIN_USERNAME"]
    if settings["ADMIN_PASSWORD"]:
        if services is None or not is_user(services, name):
            return Finding("admin", f"there is none yet; the first start makes {name}")
        words = f"there is none, and {name} is a user who is none"
        remedy = "set ADMIN_USERNAME to a name that nobody has"
        return Finding.fault("admin", words, remedy)
    if settings["OPEN_TO_ALL"]:
        return Finding.note("admin", "there is none: nobody can use /v3/", _ADD_ADMIN)
    words = "there is none: the service will not start"
    return Finding.fault("admin", words, _ADD_ADMIN)
