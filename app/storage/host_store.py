"""The hosts that run tasks, and their signs of life, by the database's own clock."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from .engine import Database
from .tables import hosts, tasks

Row = Mapping[str, Any]

_OF_NAME = hosts.c.name == sa.bindparam("of_name")


class HostStore:
    """What every process knows of every host.

    Nobody's clock is compared with another's: when a host was seen, and how long ago
    that is, the database says.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._now = _clock(is_sqlite=database.is_sqlite)
        insert = sqlite.insert if database.is_sqlite else postgresql.insert
        new = insert(hosts).values(started=self._now, seen=self._now, beat=1)
        told = ("worker", "version", "labels", "room", "readings", "draining")
        is_same = hosts.c.worker == new.excluded.worker
        self._beat = new.on_conflict_do_update(
            index_elements=[hosts.c.name],
            set_={
                **{name: new.excluded[name] for name in told},
                "started": sa.case(
                    (is_same, hosts.c.started), else_=new.excluded.started
                ),
                "seen": new.excluded.seen,
                "beat": hosts.c.beat + 1,
            },
        ).returning(hosts.c.beat)
        age = (self._now - hosts.c.seen).label("seconds_since_seen")
        self._all = sa.select(hosts, age).order_by(hosts.c.name)

    def beat(
        self,
        name: str,
        *,
        worker: str,
        version: str,
        labels: str,
        room: str,
        readings: str,
        draining: bool,
    ) -> int:
        """Write a sign of life of a host's worker; return how many there were."""
        row = {
            "name": name,
            "worker": worker,
            "version": version,
            "labels": labels,
            "room": room,
            "readings": readings,
            "draining": draining,
        }
        with self._database.write() as connection:
            return int(connection.execute(self._beat, row).scalar_one())

    def leave(self, name: str, *, worker: str, away_seconds: float) -> None:
        """Write that a host's worker has ended: it was last seen so long ago."""
        left = sa.update(hosts).where(_OF_NAME, hosts.c.worker == worker)
        left = left.values(seen=self._now - away_seconds)
        with self._database.write() as connection:
            connection.execute(left, {"of_name": name})

    def all(self) -> Sequence[Row]:
        """Return the hosts by name, each with its `seconds_since_seen`."""
        with self._database.read() as connection:
            return [dict(row) for row in connection.execute(self._all).mappings()]

    def find(self, name: str) -> Row | None:
        """Return a host as :meth:`all` does."""
        query = self._all.where(_OF_NAME)
        with self._database.read() as connection:
            row = connection.execute(query, {"of_name": name}).mappings().first()
            return None if row is None else dict(row)

    def beats(self) -> Mapping[str, int]:
        """Return of each host how many signs of life there were.

        Raises StorageUnavailable also where only reading works: then no host can give
        any.
        """
        self._database.check()
        with self._database.read() as connection:
            rows = connection.execute(sa.select(hosts.c.name, hosts.c.beat))
            return {row.name: row.beat for row in rows}

    def forget(self, *, unseen_seconds: float) -> Sequence[str]:
        """Forget hosts that were not seen for so long, and of which no task is kept.

        Return their names.
        """
        old = hosts.c.seen < self._now - unseen_seconds
        is_empty = ~sa.exists().where(tasks.c.host == hosts.c.name)
        gone = sa.delete(hosts).where(old, is_empty).returning(hosts.c.name)
        with self._database.write() as connection:
            return list(connection.scalars(gone))


def _clock(*, is_sqlite: bool) -> sa.ColumnElement[float]:
    """Return the time of this moment, not of the transaction's beginning."""
    if is_sqlite:  # unixepoch('subsec') came with 3.42
        days = sa.func.julianday("now") - sa.literal_column("2440587.5")
        return sa.cast(days * sa.literal_column("86400.0"), sa.Double)
    return sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Double)
