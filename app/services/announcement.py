"""What a host says of itself: to the others, and where there are no others."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple
from typing import Any

from app.errors import HostReadingFailed
from app.host.uptime import UptimeReader
from app.storage.task_store import Room
from app.tasks.worker import Worker
from app.version import VERSION


class Announcement:
    """Tells how this host is, by the names that the store has for it."""

    def __init__(
        self,
        *,
        labels: Mapping[str, str],
        room: Mapping[str, Room],
        uptime: UptimeReader,
        is_draining: Callable[[], bool],
    ) -> None:
        self._labels = json.dumps(dict(labels))
        self._room = json.dumps({kind: astuple(each) for kind, each in room.items()})
        self._uptime = uptime
        self._is_draining = is_draining

    def tell(self) -> Mapping[str, Any]:
        """Return it as it is now; readings that fail are left out."""
        return {
            "version": VERSION,
            "labels": self._labels,
            "room": self._room,
            "readings": json.dumps(self._readings()),
            "draining": self._is_draining(),
        }

    def _readings(self) -> Mapping[str, Any]:
        try:
            uptime = self._uptime.read()
        except HostReadingFailed:
            return {}
        return {
            "uptime_seconds": uptime.seconds,
            "load": uptime.load,
            "users": uptime.users,
        }


class OwnHost:
    """The only host that there is, where this service runs the tasks itself."""

    def __init__(self, name: str, announcement: Announcement) -> None:
        self._name = name
        self._announcement = announcement
        self._started = time.time()

    def all(self) -> Sequence[Mapping[str, Any]]:
        """Return it, as a store of hosts would."""
        row = {
            "name": self._name,
            "worker": str(Worker.current()),
            "started": self._started,
            "seen": time.time(),
            "seconds_since_seen": 0.0,
        }
        return [{**row, **self._announcement.tell()}]

    def find(self, name: str) -> Mapping[str, Any] | None:
        """Return it if that is its name."""
        return self.all()[0] if name == self._name else None
