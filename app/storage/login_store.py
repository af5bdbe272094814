"""What keeps guessed passwords out, known to every worker.

Nothing here is a password or a name: the digests are keyed ones.
"""

from dataclasses import dataclass
from math import ceil

import sqlalchemy as sa

from app.errors import TooManyAttempts

from .engine import Database
from .tables import known_credentials, password_attempts


@dataclass(frozen=True)
class Bounds:
    """How many wrong passwords for one name within `seconds` are borne."""

    seconds: float
    one_address: int
    all_addresses: int


class LoginStore:
    """Wrong passwords of late, and credentials that were right."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin_attempt(
        self, subject: str, address: str, *, now: float, bounds: Bounds
    ) -> int:
        """Count an attempt as a wrong one, and return its number.

        Raises TooManyAttempts where there were as many as may be before it.
        """
        attempts = password_attempts
        of_subject = attempts.c.subject == subject
        with self._database.write() as connection:
            self._database.lock(connection, f"attempts {subject}")
            old = attempts.c.at < now - bounds.seconds
            connection.execute(sa.delete(attempts).where(old))
            found = sa.select(attempts.c.address, attempts.c.at).where(of_subject)
            before = connection.execute(found.order_by(attempts.c.at)).all()
            here = [row.at for row in before if row.address == address]
            for times, limit in (
                (here, bounds.one_address),
                ([row.at for row in before], bounds.all_addresses),
            ):
                if len(times) >= limit:
                    # No more than now: the clock of another host may be ahead.
                    free = min(times[-limit], now) + bounds.seconds
                    raise TooManyAttempts(retry_after_seconds=ceil(free - now) or 1)
            row = {"subject": subject, "address": address, "at": now}
            added = sa.insert(attempts).values(**row).returning(attempts.c.number)
            return int(connection.execute(added).scalar_one())

    def forget_attempt(self, number: int) -> None:
        """Take back an attempt that was no wrong one, or was not made at all."""
        with self._database.write() as connection:
            of_number = password_attempts.c.number == number
            connection.execute(sa.delete(password_attempts).where(of_number))

    def is_known(self, digest: str, *, now: float) -> bool:
        """Return whether these credentials were right not long ago."""
        known = known_credentials.c.digest == digest, known_credentials.c.expires > now
        with self._database.read() as connection:
            query = sa.select(known_credentials.c.digest).where(*known)
            return connection.execute(query).first() is not None

    def remember(self, digest: str, *, now: float, expires: float) -> None:
        """Keep that these credentials were right."""
        known = known_credentials
        with self._database.write() as connection:
            self._database.lock(connection, f"known {digest}")
            old = sa.or_(known.c.expires <= now, known.c.digest == digest)
            connection.execute(sa.delete(known).where(old))
            row = {"digest": digest, "expires": expires}
            connection.execute(sa.insert(known).values(**row))
