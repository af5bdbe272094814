"""What the monitoring is told beside what was counted: read when it asks."""

import os
import platform
from collections.abc import Callable, Mapping, Sequence

from app.host.procfs import DiskStats, Procfs
from app.host.uptime import UptimeReader
from app.metrics.scrape import Found, Reading
from app.storage.task_store import Room, TaskStore
from app.tasks.hosts import Hosts
from app.version import VERSION

_SECTOR_BYTES = 512


class Readings:
    """Reads how the service and its host are now."""

    def __init__(
        self,
        *,
        check: Callable[[], Mapping[str, bool]],
        tasks: TaskStore,
        hosts: Hosts,
        host: str,
        room: Mapping[str, Room],
        instance: str,
        uptime: UptimeReader,
        procfs: Procfs,
        is_draining: Callable[[], bool],
    ) -> None:
        self._check = check
        self._tasks = tasks
        self._hosts = hosts
        self._host = host
        self._room = room
        self._instance = instance
        self._uptime = uptime
        self._procfs = procfs
        self._is_draining = is_draining

    def all(self) -> Sequence[Reading]:
        """Return them; of those that can fail one does not keep the others away."""
        return [self._build, self._service, self._space, self._uptimes, self._disks]

    def _build(self) -> Found:
        room = self._room.items()
        return {
            "build_info": {(VERSION, platform.python_version()): 1},
            "tasks_running_limit": {(kind,): each.max_running for kind, each in room},
            "tasks_queued_limit": {(kind,): each.max_queued for kind, each in room},
        }

    def _service(self) -> Found:
        checks = {"processes": True, **self._check()}  # named where it fails alone
        found: dict[str, Mapping[tuple[str, ...], float]] = {
            "check_passed": {(name,): float(ok) for name, ok in checks.items()},
            "draining": {(): float(self._is_draining())},
        }
        if checks["database"]:  # or it would be waited for once more
            alive = [host.alive for host in self._hosts.all()]
            states = {"alive": sum(alive), "away": len(alive) - sum(alive)}
            found["hosts"] = {(state,): number for state, number in states.items()}
            counts = self._tasks.counts(self._host)
            for state, is_queued in (("running", False), ("queued", True)):
                found[f"tasks_{state}"] = {
                    (kind,): counts.get((kind, is_queued), 0) for kind in self._room
                }
        return found

    def _space(self) -> Found:
        disk = os.statvfs(self._instance)
        return {
            "instance_free_bytes": {(): disk.f_bavail * disk.f_frsize},
            "instance_size_bytes": {(): disk.f_blocks * disk.f_frsize},
        }

    def _uptimes(self) -> Found:
        uptime = self._uptime.read()
        one, five, fifteen = uptime.load
        found: Found = {
            "host_uptime_seconds": {(): uptime.seconds},
            "host_load_average": {("1",): one, ("5",): five, ("15",): fifteen},
        }
        return (
            found
            if uptime.users is None
            else {**found, "host_users": {(): uptime.users}}
        )

    def _disks(self) -> Found:
        whole = self._procfs.whole_disks()
        disks = [
            disk
            for disk in self._procfs.diskstats()
            if disk.name in whole and disk.reads + disk.writes
        ]

        def each(
            value: Callable[[DiskStats], float],
        ) -> Mapping[tuple[str, ...], float]:
            return {(disk.name,): value(disk) for disk in disks}

        return {
            "host_disk_reads": each(lambda disk: disk.reads),
            "host_disk_writes": each(lambda disk: disk.writes),
            "host_disk_read_bytes": each(lambda d: d.sectors_read * _SECTOR_BYTES),
            "host_disk_written_bytes": each(
                lambda d: d.sectors_written * _SECTOR_BYTES
            ),
            "host_disk_busy_seconds": each(lambda disk: disk.busy_ticks_ms / 1000),
        }
