"""Whose something is: who may see it, and by which name and request it was made."""

from dataclasses import dataclass

import sqlalchemy as sa

from app.errors import KeyInFlight, NotAuthenticated

from .prepared import Change, Prepared
from .tables import accounts, idempotency

# Made once: to make a statement takes longer than to execute it.
_NAME = Prepared(
    sa.select(accounts.c.username)
    .where(accounts.c.number == sa.bindparam("of_account"))
    .with_for_update(read=True)
)
_TIE = Change(
    sa.update(idempotency).where(
        idempotency.c.digest == sa.bindparam("of_request"),
        idempotency.c.task_id.is_(None),
    )
)


@dataclass(frozen=True)
class Viewer:
    """Who looks: the owner of things, None for those of nobody, or one who sees all."""

    owner: str | None
    sees_all: bool = False

    def sees(self, owner: str | None) -> bool:
        """Return whether what is of `owner` may be seen, and with that ended."""
        return self.sees_all or owner == self.owner


#: Looks at everything: who owns the database does anyway.
ANYBODYS = Viewer(owner=None, sees_all=True)


def seen_by(viewer: Viewer, owner: sa.Column[str]) -> sa.ColumnElement[bool]:
    """Return of many rows which a viewer may see."""
    return sa.true() if viewer.sees_all else owner == viewer.owner


def owner_now(
    connection: sa.Connection, owner: str | None, account: int | None
) -> str | None:
    """Return by which name an account is known now: it may have been renamed.

    It keeps that name until what it makes is there, or that would stay behind when
    what is of that name goes along. Raises NotAuthenticated where it was removed.
    """
    if account is None:
        return owner
    found = _NAME.rows(connection, of_account=account)
    if not found:
        raise NotAuthenticated
    return str(found[0]["username"])


def tie(connection: sa.Connection, request: str | None, made: str) -> None:
    """Tie a request that is kept to the id of what it makes, the only one.

    Raises KeyInFlight where it has made another: its worker may have been thought
    dead, and the request have come again elsewhere.
    """
    if request is None:
        return
    if not _TIE.execute(connection, {"of_request": request, "task_id": made}):
        raise KeyInFlight
