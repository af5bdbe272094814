"""Makes what knows of hosts, and what tells of this one."""

from collections.abc import Callable, Mapping
from typing import Any

from app.host.uptime import UptimeReader
from app.storage.engine import Database
from app.storage.host_store import HostStore
from app.storage.task_store import TaskStore
from app.tasks.announcer import Announcer
from app.tasks.hosts import Hosts, KnownHosts
from app.tasks.lost_hosts import LostHosts
from app.tasks.station import Station

from .announcement import Announcement, OwnHost
from .counting import Counting
from .drain import Drain
from .room import room_of


def build_hosts(
    settings: Mapping[str, Any], database: Database, uptime: UptimeReader, drain: Drain
) -> Hosts:
    """Return what knows the hosts: those of the records, or this one."""
    own = settings["BELLHOP_HOST"]
    known: KnownHosts = HostStore(database)
    if settings["TASK_BACKEND"] == "threads":
        known = OwnHost(own, _announcement(settings, uptime, drain.is_on))
    return Hosts(known, own=own, counts=TaskStore(database).counts_of_hosts)


def build_announcer(
    settings: Mapping[str, Any],
    database: Database,
    station: Station | None,
    *,
    uptime: UptimeReader,
    drain: Drain,
) -> Announcer | None:
    """Return what says that this host's worker lives, in that worker."""
    if station is None:
        return None

    def takes_nothing() -> bool:
        return drain.is_on() or station.is_closing

    return Announcer(
        HostStore(database),
        host=settings["BELLHOP_HOST"],
        announcement=_announcement(settings, uptime, takes_nothing).tell,
        also=station.guard.check,
    )


def _announcement(
    settings: Mapping[str, Any], uptime: UptimeReader, is_draining: Callable[[], bool]
) -> Announcement:
    return Announcement(
        labels=settings["BELLHOP_LABELS"],
        room=room_of(settings),
        uptime=uptime,
        is_draining=is_draining,
    )


def build_lost_hosts(
    settings: Mapping[str, Any],
    database: Database,
    work: Mapping[str, Any],
    counting: Counting,
) -> LostHosts:
    """Return what judges hosts, in a web tier whose tasks workers run."""
    return LostHosts(
        hosts=HostStore(database),
        tasks=TaskStore(database),
        outputs=work["outputs"],
        own=settings["BELLHOP_HOST"],
        observe=counting.task,
    )
