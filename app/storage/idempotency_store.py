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

    def begin(self, row: Row, *, is_alive: Callable[[str], bool]) -> Row | None:
        """Keep a request that comes for the first time; else return what is kept.

        One whose worker died before it had started anything comes for the first time
        again. `is_alive` says so of a worker.
        """
        of_digest = idempotency.c.digest == row["digest"]
        with self._database.write() as connection:
            self._database.lock(connection, f"request {row['digest']}")
            query = sa.select(idempotency).where(of_digest)
            found = connection.execute(query).mappings().one_or_none()
            if found is not None:
                has_task = found["task_id"] is not None
                if has_task or found["status"] or is_alive(found["worker"]):
                    return dict(found)
                connection.execute(sa.delete(idempotency).where(of_digest))
            connection.execute(sa.insert(idempotency).values(**row))
            return None

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
