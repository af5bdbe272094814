"""Requests that came with an Idempotency-Key, and their answers."""

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from .engine import Database
from .tables import idempotency

Row = Mapping[str, Any]

#: In the place of a worker that is to answer a request.
NOBODY = ""


class IdempotencyStore:
    """Requests by a digest of caller, route and key."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, row: Row, *, in_flight: Callable[[Row], bool]) -> Row | None:
        """Keep a request that comes for the first time; else return what is kept.

        One that has started nothing comes for the first time again when it is not
        `in_flight` any more.
        """
        of_digest = idempotency.c.digest == row["digest"]
        with self._database.write() as connection:
            self._database.lock(connection, f"request {row['digest']}")
            # Where it is tied to a task just now, whoever takes its place starts none.
            query = sa.select(idempotency).where(of_digest)
            row_found = connection.execute(query).mappings().one_or_none()
            if row_found is None:
                connection.execute(sa.insert(idempotency).values(**row))
                return None
            found = dict(row_found)
            is_same = found["fingerprint"] == row["fingerprint"]
            started = found["task_id"] is not None or found["status"] is not None
            if started or not is_same or in_flight(found):
                return found
            connection.execute(sa.update(idempotency).where(of_digest).values(**row))
            return None

    def find(self, digest: str) -> Row | None:
        """Return a request that is kept."""
        query = sa.select(idempotency).where(idempotency.c.digest == digest)
        with self._database.read() as connection:
            row = connection.execute(query).mappings().one_or_none()
            return None if row is None else dict(row)

    def answer(self, digest: str, **answer: Any) -> None:
        """Keep what was answered."""
        of_digest = idempotency.c.digest == digest
        with self._database.write() as connection:
            connection.execute(sa.update(idempotency).where(of_digest).values(**answer))

    def forget(self, digest: str) -> None:
        """Forget a request if it has started nothing; else nobody is to answer it."""
        of_digest = idempotency.c.digest == digest
        nothing = of_digest, idempotency.c.task_id.is_(None)
        with self._database.write() as connection:
            connection.execute(sa.delete(idempotency).where(*nothing))
            left = sa.update(idempotency).where(of_digest)
            connection.execute(left.values(worker=NOBODY))

    def remove_before(self, moment: float) -> None:
        """Forget requests that came before that."""
        old = idempotency.c.created < moment
        with self._database.write() as connection:
            connection.execute(sa.delete(idempotency).where(old))
