"""The kernel's own figures: the only file of this room that knows /proc, /sys and utmp.

What is read here is parsed and nothing more: no rates, no text, no process started.
"""

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from app.errors import HostReadingFailed

# Fields after a device's name in /proc/diskstats: since 2.6, since 4.18 (discards),
# since 5.5 (flushes). Others are no whole device, or fields that nobody knows yet.
_FIELD_COUNTS = (17, 15, 11)

_USER_PROCESS = 7  # ut_type of a person's session, utmp(5)
_UTMP_USER_OFFSET = 44
# Everywhere else glibc keeps the 32-bit form of the record, also on 64 bits.
_WIDE_UTMP_MACHINES = ("aarch64", "aarch64_be", "loongarch64")

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class DiskStats:
    """One line of /proc/diskstats: counters since boot, sectors of 512 bytes.

    The counts and sectors are unsigned longs and the times 32-bit milliseconds, and
    all of them wrap; ``in_flight`` is no counter, and may be negative.
    """

    name: str
    reads: int
    reads_merged: int
    sectors_read: int
    read_ticks_ms: int
    writes: int
    writes_merged: int
    sectors_written: int
    write_ticks_ms: int
    in_flight: int
    busy_ticks_ms: int
    queue_ticks_ms: int
    discards: int = 0
    discards_merged: int = 0
    sectors_discarded: int = 0
    discard_ticks_ms: int = 0
    flushes: int = 0
    flush_ticks_ms: int = 0


class Procfs:
    """One host's kernel, as its files show it; the places are others in a test.

    Every reader opens its file anew, keeps nothing, and may be used by many threads.
    A file that cannot be read, or has not the form that it must have, is a
    :class:`~app.errors.HostReadingFailed` whose message names it.
    """

    def __init__(
        self,
        *,
        proc: Path = Path("/proc"),
        sys: Path = Path("/sys"),
        utmp: Path = Path("/var/run/utmp"),
        uname: Callable[[], os.uname_result] = os.uname,
    ) -> None:
        self.uname = uname
        self._uptime = proc / "uptime"
        self._loadavg = proc / "loadavg"
        self._diskstats = proc / "diskstats"
        self._stat = proc / "stat"
        self._block = sys / "block"
        self._cpus = sys / "devices/system/cpu"
        self._utmp = utmp
        self._utmp_record = _utmp_record(uname().machine)

    def __repr__(self) -> str:
        return f"<Procfs {self._uptime.parent} {self._block.parent} {self._utmp}>"

    def uptime_seconds(self) -> float:
        """Give the time since boot in seconds, to 1/100 s, suspend included."""
        return _parsed(self._uptime, lambda text: float(text.split()[0]))

    def load_averages(self) -> tuple[float, float, float]:
        """Give the load averages of the last 1, 5 and 15 minutes."""
        return _parsed(self._loadavg, _parse_loadavg)

    def users(self) -> int | None:
        """Count the sessions in utmp; None where there is no utmp to be read.

        Debian 13 has none, and a container rarely does: that is no fault of the host.
        """
        try:
            records = _read(self._utmp)
        except OSError:
            return None
        whole = len(records) - len(records) % self._utmp_record.size
        return sum(
            1
            for kind, user in self._utmp_record.iter_unpack(records[:whole])
            if kind == _USER_PROCESS and user != b"\0"
        )

    def diskstats(self) -> list[DiskStats]:
        """Give every device and partition that /proc/diskstats has, in its order.

        iostat 12.6 reads the same counters from /sys/block, a file for each device.
        """
        return _parsed(self._diskstats, _parse_diskstats)

    def whole_disks(self) -> frozenset[str]:
        """Name what iostat shows unasked: virtual devices also, no partitions."""
        # sysfs cannot have a slash in a name: cciss/c0d0 is the directory cciss!c0d0.
        try:
            names = os.listdir(self._block)  # noqa: PTH208 (names are wanted, no paths)
        except OSError as fault:
            raise _failed(self._block, fault) from fault
        return frozenset(name.replace("!", "/") for name in names)

    def cpu_count(self) -> int:
        """Count the processors as iostat's header does: the offline ones also."""
        in_sysfs = sum(1 for _ in self._cpus.glob("cpu[0-9]*"))
        return in_sysfs or _parsed(self._stat, _parse_cpu_count)


def _utmp_record(machine: str) -> struct.Struct:
    """Lay out what is wanted of one utmp record: its type, its user's first byte."""
    size = 400 if machine in _WIDE_UTMP_MACHINES else 384
    return struct.Struct(f"=h{_UTMP_USER_OFFSET - 2}xc{size - _UTMP_USER_OFFSET - 1}x")


def _parsed(path: Path, parse: Callable[[str], _T]) -> _T:
    try:
        return parse(_read(path).decode())
    except (OSError, ValueError, IndexError) as fault:
        raise _failed(path, fault) from fault


def _read(path: Path) -> bytes:
    with path.open("rb", buffering=0) as file:
        return file.readall()


def _failed(path: Path, fault: Exception) -> HostReadingFailed:
    return HostReadingFailed(f"{path} cannot be read: {fault}")


def _parse_loadavg(text: str) -> tuple[float, float, float]:
    one, five, fifteen, *_ = text.split()
    return float(one), float(five), float(fifteen)


def _parse_diskstats(text: str) -> list[DiskStats]:
    disks = (_parse_disk(line.split()) for line in text.splitlines())
    return [disk for disk in disks if disk]


def _parse_disk(words: list[str]) -> DiskStats | None:
    """Take the fields that this kernel has; None for a line that iostat ignores too."""
    for count in _FIELD_COUNTS:
        if len(words) >= 3 + count:
            return DiskStats(words[2], *map(int, words[3 : 3 + count]))
    return None


def _parse_cpu_count(text: str) -> int:
    numbers = [
        int(line.split()[0][3:])
        for line in text.splitlines()
        if line.startswith("cpu") and not line.startswith("cpu ")
    ]
    return max(numbers) + 1
