"""Sessions of browsers, by a digest of what they send."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from .engine import Database
from .prepared import Prepared
from .tables import accounts, sessions

Row = Mapping[str, Any]

_BY_DIGEST = Prepared(
    sa.select(accounts)
    .join(sessions, sessions.c.account == accounts.c.number)
    .where(
        sessions.c.digest == sa.bindparam("of_digest"),
        sessions.c.expires > sa.bindparam("now"),
    )
)


class SessionStore:
    """Whose session it is; a new password of the account ends all that it has."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, row: Row, *, password_hash: str) -> bool:
        """Add a session of an account if that is still its password's hash.

        Return whether it is. The password cannot change meanwhile: what would be
        added after the others were ended, would stay.
        """
        is_same = accounts.c.number == row["account"]
        is_same &= accounts.c.password_hash == password_hash
        with self._database.write() as connection:
            self._database.lock(connection, "accounts")
            if connection.execute(sa.select(accounts).where(is_same)).first() is None:
                return False
            connection.execute(sa.insert(sessions).values(**row))
            return True

    def find_account(self, digest: str, *, now: float) -> Row | None:
        """Return the account of a session that has not expired."""
        return self._database.first(_BY_DIGEST, of_digest=digest, now=now)

    def remove(self, digest: str) -> None:
        """Remove a session, if it is there."""
        with self._database.write() as connection:
            connection.execute(sa.delete(sessions).where(sessions.c.digest == digest))

    def remove_expired(self, *, now: float) -> None:
        """Remove the sessions that are no longer good."""
        with self._database.write() as connection:
            connection.execute(sa.delete(sessions).where(sessions.c.expires <= now))
