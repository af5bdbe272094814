"""The hosts that tasks can run on, and which of them one is to run on."""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from app.errors import Draining, Fault, HostAway, HostNotFound, InvalidInput
from app.storage.task_store import Room

from .order import Place

# Without a sign of life for so long a host is away: its worker gives one each second.
AWAY_SECONDS = 5.0
# For how long a host that was alive and took tasks is believed to be still.
BELIEVED_SECONDS = 0.5

#: The tasks that run and wait, by kind and whether they wait.
Counts = Mapping[tuple[str, bool], int]


@dataclass(frozen=True)
class Host:
    """A host as it was last heard of.

    Times are seconds since the epoch by the database's clock; `seconds_since_seen` was
    so when it was looked up. `room` is by kind. `readings` are what its worker says of
    how the host is.
    """

    name: str
    worker: str
    version: str
    started: float
    seen: float
    seconds_since_seen: float
    labels: Mapping[str, str]
    room: Mapping[str, Room]
    readings: Mapping[str, Any]
    draining: bool

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Return the host that a row of the store describes."""
        room = json.loads(row["room"])
        told: dict[str, Any] = {
            "labels": json.loads(row["labels"]),
            "room": {kind: Room(*most) for kind, most in room.items()},
            "readings": json.loads(row["readings"]),
        }
        names = ("name", "worker", "version", "started", "seen", "draining")
        same = {name: row[name] for name in names}
        # A clock that was set back makes nobody be seen in the future.
        age = max(0.0, row["seconds_since_seen"])
        return cls(**same, **told, seconds_since_seen=age)

    @property
    def alive(self) -> bool:
        """Whether its worker has given a sign of life of late."""
        return self.seconds_since_seen < AWAY_SECONDS

    @property
    def takes_tasks(self) -> bool:
        """Whether it is alive, and not being drained."""
        return self.alive and not self.draining

    def has(self, labels: Mapping[str, str]) -> bool:
        """Return whether it has all these labels."""
        return labels.items() <= self.labels.items()


class KnownHosts(Protocol):
    """Where hosts are looked up; a store's rows of them."""

    def all(self) -> Sequence[Mapping[str, Any]]:
        """Return all, by name."""
        ...

    def find(self, name: str) -> Mapping[str, Any] | None:
        """Return the one of that name."""
        ...


class Hosts:
    """Looks hosts up, and chooses one for a task.

    `own` is the name of the host that this service is on.
    """

    def __init__(
        self,
        known: KnownHosts,
        *,
        own: str,
        counts: Callable[[], Mapping[str, Counts]],
    ) -> None:
        self._known = known
        self._own = own
        #: Returns what runs and waits on every host where anything does.
        self.counts = counts
        #: All, and until when of the monotonic clock those that took tasks then are
        #: believed to.
        self._seen: tuple[Mapping[str, Host], float] = {}, 0.0

    def all(self) -> Sequence[Host]:
        """Return all hosts by name, those that are away among them."""
        return [Host.from_row(row) for row in self._known.all()]

    def find(self, name: str) -> Host | None:
        """Return the host of that name."""
        row = self._known.find(name)
        return None if row is None else Host.from_row(row)

    def get(self, name: str) -> Host:
        """Return the host of that name; raise HostNotFound."""
        host = self.find(name)
        if host is None:
            raise HostNotFound
        return host

    def matching(self, labels: Mapping[str, str]) -> Sequence[Host]:
        """Return the hosts that have all these labels; none are all hosts."""
        return [host for host in self.all() if host.has(labels)]

    def choose(self, place: Place) -> str:
        """Return the name of the host that a task is to run on.

        Raises InvalidInput where the place names a host that is not known, HostAway
        where that is away and is not waited for, or where no host is there, Draining
        where it takes no new tasks.
        """
        if place.host is not None:
            return self._named(place.host, waits=place.waits)
        free = _free(self._lately()) or _free(self._now())
        if self._own in free:
            return self._own
        if not free:
            raise Draining if any(host.alive for host in self.all()) else HostAway
        return self._roomiest(free.values())

    def room(self, name: str, kind: str) -> Room:
        """Return how many tasks of a kind may run and wait on a host."""
        host = self._known_host(name)
        return Room(0) if host is None else host.room.get(kind, Room(0))

    def _named(self, name: str, *, waits: bool) -> str:
        host = self._known_host(name)
        if host is None:
            raise InvalidInput([Fault("host", f"there is no host {name!r}")])
        if not host.alive and not waits:
            raise HostAway(name)
        if host.alive and host.draining:
            raise Draining
        return name

    def _known_host(self, name: str) -> Host | None:
        """Return a host, as it was a moment ago if it took tasks then."""
        host = self._lately().get(name)
        return host if host and host.takes_tasks else self.find(name)

    def _lately(self) -> Mapping[str, Host]:
        """Return all as they were a moment ago: they are not read for every task."""
        hosts, until = self._seen
        return hosts if time.monotonic() < until else self._now()

    def _now(self) -> Mapping[str, Host]:
        hosts = {host.name: host for host in self.all()}
        self._seen = hosts, time.monotonic() + BELIEVED_SECONDS
        return hosts

    def _roomiest(self, hosts: Iterable[Host]) -> str:
        """Return which of some hosts has the most room for another command."""
        counts = self.counts()

        def room(host: Host) -> int:
            taken = counts.get(host.name, {})
            most = host.room.get("exec", Room(0)).max_running
            return most - sum(taken.get(("exec", waits), 0) for waits in (False, True))

        return max(hosts, key=room).name


def _free(hosts: Mapping[str, Host]) -> dict[str, Host]:
    """Return those that take tasks."""
    return {name: host for name, host in hosts.items() if host.takes_tasks}
