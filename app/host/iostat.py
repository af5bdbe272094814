"""What ``iostat -d WAIT COUNT`` reports, as values and as its very text.

The arithmetic and the columns are those of sysstat 12.6.1 in the C locale. The files
are procfs.py's business, and when to stop is the caller's.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from .procfs import DiskStats, Procfs

_UNSIGNED_LONG = 2**64  # counts and sectors wrap here; so does iostat's subtraction
_UNSIGNED_INT = 2**32  # the kernel's milliseconds wrap here, after 49.7 days of I/O
_SECTORS_PER_KB = 2

_COLUMNS = (
    "Device             tps    kB_read/s    kB_wrtn/s    kB_dscd/s"
    "    kB_read    kB_wrtn    kB_dscd\n"
)


@dataclass(frozen=True, slots=True)
class DeviceUse:
    """What one device did in an interval; the names are those of the JSON.

    Rates are per second, waits in milliseconds, ``queue`` the mean number of requests
    in the device and its queue; floats have the two decimals that iostat prints.
    """

    device: str
    tps: float
    kB_read_per_s: float  # noqa: N815
    kB_wrtn_per_s: float  # noqa: N815
    kB_dscd_per_s: float  # noqa: N815
    kB_read: int  # noqa: N815
    kB_wrtn: int  # noqa: N815
    kB_dscd: int  # noqa: N815
    r_await_ms: float
    w_await_ms: float
    queue: float
    util_percent: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One report of iostat: when it was made (UTC), and the devices by name."""

    time: datetime
    devices: tuple[DeviceUse, ...]

    def members(self) -> dict[str, Any]:
        """Return it as JSON has it, the time as RFC 3339 with a `Z`."""
        time = self.time.isoformat().replace("+00:00", "Z")
        return {"time": time, "devices": [asdict(device) for device in self.devices]}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The counters at one moment of /proc/uptime, in 1/100 s."""

    uptime_cs: int
    disks: Mapping[str, DiskStats]


_BOOT = Snapshot(uptime_cs=0, disks={})


def iostat_samples(
    procfs: Procfs,
    *,
    count: int,
    wait_seconds: float,
    sleep: Callable[[float], object],
    monotonic: Callable[[], float] = time.monotonic,
) -> Iterator[Sample]:
    """Give ``count`` samples, the first at once and since boot, then one per wait.

    ``sleep`` is called with the seconds until the next sample is due. When it returns
    something true the samples end there, so that ``Event.wait`` makes them end with
    the event; ``time.sleep`` will do as well. Raises HostReadingFailed, on taking a
    sample and not before.
    """
    previous = _BOOT
    due = monotonic()
    for number in range(count):
        if number:
            # Deadlines do not drift, but one that was missed is not caught up on: an
            # interval of next to nothing would give rates that never were.
            now = monotonic()
            due = max(due + wait_seconds, now)
            if sleep(due - now):
                return
        current = take_snapshot(procfs)
        yield Sample(time=datetime.now(UTC), devices=uses_between(previous, current))
        previous = current


def render_header(procfs: Procfs, *, now: float | None = None) -> str:
    """Render what iostat prints before its first sample, an empty line included.

    ``now`` is in seconds since the epoch; the date is the local one, as in the C locale
    and whatever S_TIME_FORMAT says. Raises HostReadingFailed.
    """
    host = procfs.uname()
    date = time.strftime("%m/%d/%y", time.localtime(now))
    return (
        f"{host.sysname} {host.release} ({host.nodename}) \t{date}"
        f" \t_{host.machine}_\t({procfs.cpu_count()} CPU)\n\n"
    )


def render_sample(sample: Sample) -> str:
    """Render one sample, the empty lines after it included.

    The header and the samples in their order are together what iostat prints.
    """
    return _COLUMNS + "".join(map(_row, sample.devices)) + "\n\n"


def _row(use: DeviceUse) -> str:
    # A name of more than 13 letters moves the columns, in iostat as well.
    return (
        f"{use.device:<13} {use.tps:8.2f} {use.kB_read_per_s:12.2f}"
        f" {use.kB_wrtn_per_s:12.2f} {use.kB_dscd_per_s:12.2f}"
        f" {use.kB_read:10d} {use.kB_wrtn:10d} {use.kB_dscd:10d}\n"
    )


def take_snapshot(procfs: Procfs) -> Snapshot:
    """Read the counters of this moment. Raises HostReadingFailed."""
    uptime_cs = round(procfs.uptime_seconds() * 100)
    whole = procfs.whole_disks()
    disks = {disk.name: disk for disk in procfs.diskstats() if disk.name in whole}
    return Snapshot(uptime_cs, disks)


def uses_between(previous: Snapshot, current: Snapshot) -> tuple[DeviceUse, ...]:
    """Return what the devices did between two moments, by name."""
    interval_cs = max(current.uptime_cs - previous.uptime_cs, 1)
    return tuple(
        _use(disk, _base(disk, previous.disks.get(name)), interval_cs)
        for name, disk in sorted(current.disks.items(), key=_sysfs_order)
        if _total(disk)
    )


def _sysfs_order(item: tuple[str, DiskStats]) -> str:
    # iostat sorts the names of /sys/block, where a slash is an exclamation mark.
    return item[0].replace("/", "!")


def _total(disk: DiskStats) -> int:
    return disk.reads + disk.writes + disk.discards + disk.flushes


def _base(disk: DiskStats, before: DiskStats | None) -> DiskStats:
    """Choose what to count from: nothing for a device that came, or came back."""
    if before is None or _is_another(disk, before):
        return DiskStats(disk.name, *(0,) * 11)
    return before


def _is_another(disk: DiskStats, before: DiskStats) -> bool:
    """Tell a device that was removed and added again from one whose counters wrapped.

    As iostat does: fewer requests in all, and fewer sectors wherever there were any.
    """
    sectors = (
        (disk.sectors_read, before.sectors_read),
        (disk.sectors_written, before.sectors_written),
        (disk.sectors_discarded, before.sectors_discarded),
    )
    fewer = _total(disk) % _UNSIGNED_LONG < _total(before) % _UNSIGNED_LONG
    return fewer and all(not then or now < then for now, then in sectors)


def _use(disk: DiskStats, before: DiskStats, interval_cs: int) -> DeviceUse:
    def rate(delta: int) -> float:
        # A double first, as in C: above 2**53 the quotient of integers is another.
        return float(delta) / interval_cs * 100

    requests = _grown(_transfers(disk), _transfers(before))
    read = _grown(disk.sectors_read, before.sectors_read)
    written = _grown(disk.sectors_written, before.sectors_written)
    discarded = _grown(disk.sectors_discarded, before.sectors_discarded)
    queued_ms = _elapsed_ms(disk.queue_ticks_ms, before.queue_ticks_ms)
    busy_ms = _elapsed_ms(disk.busy_ticks_ms, before.busy_ticks_ms)
    return DeviceUse(
        device=disk.name,
        tps=round(rate(requests), 2),
        kB_read_per_s=round(rate(read) / _SECTORS_PER_KB, 2),
        kB_wrtn_per_s=round(rate(written) / _SECTORS_PER_KB, 2),
        kB_dscd_per_s=round(rate(discarded) / _SECTORS_PER_KB, 2),
        kB_read=_kilobytes(disk.sectors_read, before.sectors_read),
        kB_wrtn=_kilobytes(disk.sectors_written, before.sectors_written),
        kB_dscd=_kilobytes(disk.sectors_discarded, before.sectors_discarded),
        r_await_ms=_await_ms(
            _elapsed_ms(disk.read_ticks_ms, before.read_ticks_ms),
            _grown(disk.reads, before.reads),
        ),
        w_await_ms=_await_ms(
            _elapsed_ms(disk.write_ticks_ms, before.write_ticks_ms),
            _grown(disk.writes, before.writes),
        ),
        queue=round(rate(queued_ms) / 1000, 2),
        util_percent=round(rate(busy_ms) / 10, 2),
    )


def _transfers(disk: DiskStats) -> int:
    # Flushes are no transfers of their own: the kernel counts them as writes also.
    return disk.reads + disk.writes + disk.discards


def _grown(now: int, before: int) -> int:
    return (now - before) % _UNSIGNED_LONG


def _elapsed_ms(now: int, before: int) -> int:
    return (now - before) % _UNSIGNED_INT


def _kilobytes(now: int, before: int) -> int:
    """Give the amount as iostat does: a counter of 32 bits may have wrapped."""
    sectors = _grown(now, before)
    if now < before < _UNSIGNED_INT:
        sectors %= _UNSIGNED_INT
    return sectors // _SECTORS_PER_KB


def _await_ms(ticks_ms: int, requests: int) -> float:
    return round(ticks_ms / requests, 2) if requests else 0.0
