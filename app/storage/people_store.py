"""The directory of people: those whom a message can go to."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from .engine import Database
from .tables import people

Row = Mapping[str, Any]

# The number is the database's own and begins at 1, a uid at 0. Neither is used again.
_UID = (people.c.number - 1).label("uid")
_COLUMNS = (_UID, people.c.name, people.c.age, people.c.phone)


class PeopleStore:
    """People by uid, a number from 0 that is never used for another."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, person: Row) -> int:
        """Add a person; return the uid."""
        statement = sa.insert(people).values(**person).returning(_UID)
        with self._database.write() as connection:
            return int(connection.execute(statement).scalar_one())

    def find(self, uid: int) -> Row | None:
        """Return a person with the uid."""
        with self._database.read() as connection:
            return _one(connection, uid)

    def page(self, *, after_uid: int, limit: int) -> Sequence[Row]:
        """Return up to `limit` people with a uid above `after_uid`, in that order."""
        after = sa.literal(after_uid + 1, sa.BigInteger)  # may be beyond all numbers
        query = sa.select(*_COLUMNS).where(people.c.number > after)
        with self._database.read() as connection:
            found = connection.execute(query.order_by(people.c.number).limit(limit))
            return [dict(row) for row in found.mappings()]

    def count(self) -> int:
        """Return how many people there are."""
        with self._database.read() as connection:
            query = sa.select(sa.func.count()).select_from(people)
            return int(connection.execute(query).scalar_one())

    def update(self, uid: int, changes: Row) -> Row | None:
        """Change members of a person; return the person after that."""
        with self._database.write() as connection:
            if changes:
                statement = sa.update(people).where(people.c.number == uid + 1)
                connection.execute(statement.values(**changes))
            return _one(connection, uid)

    def remove(self, uid: int) -> bool:
        """Remove a person; return whether there was one."""
        statement = sa.delete(people).where(people.c.number == uid + 1)
        with self._database.write() as connection:
            return connection.execute(statement).rowcount == 1


def _one(connection: sa.Connection, uid: int) -> Row | None:
    query = sa.select(*_COLUMNS).where(people.c.number == uid + 1)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else dict(row)
