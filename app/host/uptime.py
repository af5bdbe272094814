"""How long the host is up, and the line that uptime(1) prints of it.

The line is that of procps 4.0.2 in the C locale; the files are procfs.py's business.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from .procfs import Procfs

_TICK_SECONDS = 0.01
_MINUTE_SECONDS = 60
_HOUR_SECONDS = 60 * _MINUTE_SECONDS
_DAY_SECONDS = 24 * _HOUR_SECONDS


@dataclass(frozen=True, slots=True)
class Uptime:
    """The host's uptime, as figures and as a line.

    ``line`` is that of uptime(1) without its leading space and its newline; it counts
    0 where ``users`` is None, that is, where the host keeps no utmp.
    """

    line: str
    seconds: float
    boot_time: datetime
    users: int | None
    load: tuple[float, float, float]


class UptimeReader:
    """Reads the uptime, at most once in the 10 ms that the kernel counts it in."""

    def __init__(self, procfs: Procfs) -> None:
        self._procfs = procfs
        self._kept: tuple[float, Uptime] | None = None

    def read(self) -> Uptime:
        """Return the uptime of this moment; see read_uptime."""
        now, kept = time.monotonic(), self._kept
        if kept is not None and now < kept[0]:
            return kept[1]
        uptime = read_uptime(self._procfs)
        self._kept = (now + _TICK_SECONDS, uptime)
        return uptime


def read_uptime(procfs: Procfs, *, now: float | None = None) -> Uptime:
    """Read the uptime, the users and the load; ``now`` is in seconds since the epoch.

    The line has the local time. The boot time is now less the uptime, in UTC and
    rounded to the second, since the kernel's own (btime) is wrong once a clock has
    been set. Raises HostReadingFailed.
    """
    now = time.time() if now is None else now
    seconds = procfs.uptime_seconds()
    users = procfs.users()
    load = procfs.load_averages()
    return Uptime(
        line=_line(now, seconds, users or 0, load),
        seconds=seconds,
        boot_time=datetime.fromtimestamp(round(now - seconds), UTC),
        users=users,
        load=load,
    )


def _line(
    now: float, seconds: float, users: int, load: tuple[float, float, float]
) -> str:
    clock = time.localtime(now)
    return (
        f"{clock.tm_hour:02d}:{clock.tm_min:02d}:{clock.tm_sec:02d}"
        f" up {_duration(int(seconds))}, {users:2d} {'users' if users > 1 else 'user'},"
        f"  load average: {load[0]:.2f}, {load[1]:.2f}, {load[2]:.2f}"
    )


def _duration(seconds: int) -> str:
    days, rest = divmod(seconds, _DAY_SECONDS)
    hours, rest = divmod(rest, _HOUR_SECONDS)
    minutes = rest // _MINUTE_SECONDS
    clock = f"{hours:2d}:{minutes:02d}" if hours else f"{minutes} min"
    if not days:
        return clock
    return f"{days} {'days' if days > 1 else 'day'}, {clock}"
