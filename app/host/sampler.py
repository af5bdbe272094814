"""Looks once a second how the host is, for all who want to see how it was.

Every worker has a sampler, one of them samples: whoever holds a lock on a file. It does
so whether anybody looks or not: that takes half a thousandth of a processor, and who
comes finds the last ten minutes.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from app.errors import HostReadingFailed
from app.turn import take_turn

from .iostat import DeviceUse, Snapshot, take_snapshot, uses_between
from .procfs import Procfs
from .samples import SampleWriter

INTERVAL_SECONDS = 1.0
# Over more than that nothing is told: the host, or the service, was suspended.
GAP_SECONDS = 5.0
# Of a host with hundreds of disks, the busiest in each second: a sample stays small.
DEVICES = 16

_FIGURES = (
    *("device", "tps", "kB_read_per_s", "kB_wrtn_per_s", "r_await_ms", "w_await_ms"),
    *("queue", "util_percent"),
)

log = structlog.get_logger(__name__)


class Sampler:
    """A thread that takes a sample every second, if it is this worker's turn."""

    def __init__(
        self,
        *,
        procfs: Procfs,
        writer: SampleWriter,
        lock_path: Path,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._procfs = procfs
        self._writer = writer
        self._lock_path = lock_path
        self._now = now
        self._previous: Snapshot | None = None
        self._fault = ""  # what was logged last, so that it is not every second
        self._closing = threading.Event()
        self._thread = threading.Thread(
            target=self._sample_on, name="sampler", daemon=True
        )

    def start(self) -> None:
        """Start sampling."""
        self._thread.start()

    def close(self, *, seconds: float) -> bool:
        """Stop sampling; return whether it has stopped within the time."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def sample(self) -> None:
        """Write down how the host was since the last call, unless that is long ago.

        Raises HostReadingFailed and OSError.
        """
        current, previous = take_snapshot(self._procfs), self._previous
        self._previous = current
        if previous is None:
            return
        seconds = (current.uptime_cs - previous.uptime_cs) / 100
        if 0 < seconds <= GAP_SECONDS:
            self._writer.append(self._members(previous, current))

    def _members(self, previous: Snapshot, current: Snapshot) -> Mapping[str, Any]:
        return {
            "time": moment(self._now()),
            "load": self._procfs.load_averages(),
            "uptime_seconds": current.uptime_cs / 100,
            "users": self._procfs.users(),
            "devices": [
                {name: getattr(use, name) for name in _FIGURES}
                for use in _busiest(uses_between(previous, current))
            ],
        }

    def _sample_on(self) -> None:
        with ExitStack() as held:
            while not self._take_turn(held):
                if self._closing.wait(INTERVAL_SECONDS):
                    return
            due = time.monotonic()
            while True:
                self._sample_once()
                due = next_due(due, time.monotonic())
                if self._closing.wait(due - time.monotonic()):
                    return

    def _take_turn(self, held: ExitStack) -> bool:
        try:
            return take_turn(self._lock_path, held)
        except OSError as error:
            self._tell(error)
            return False

    def _sample_once(self) -> None:
        try:
            self.sample()
        except (HostReadingFailed, OSError) as error:
            self._tell(error)
        except Exception:
            log.exception("sample.failed")
        else:
            self._fault = ""

    def _tell(self, error: Exception) -> None:
        if str(error) != self._fault:
            self._fault = str(error)
            log.warning("sample.postponed", error=self._fault)


def moment(time: datetime) -> str:
    """Return a time in UTC as samples have it: RFC 3339, to the millisecond."""
    text = time.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def next_due(due: float, now: float) -> float:
    """Return when to sample next: at the pace, and never within half an interval.

    What was missed is not caught up on: an interval of next to nothing would give
    rates that never were.
    """
    missed = max(0, math.floor((now - due) / INTERVAL_SECONDS + 0.5))
    return due + (1 + missed) * INTERVAL_SECONDS


def _busiest(uses: Iterable[DeviceUse]) -> list[DeviceUse]:
    """Return as many as are kept, in their order."""
    found = list(uses)
    if len(found) <= DEVICES:
        return found
    by_use = sorted(found, key=_use, reverse=True)[:DEVICES]
    return [use for use in found if use in by_use]


def _use(use: DeviceUse) -> tuple[float, float]:
    return use.util_percent, use.kB_read_per_s + use.kB_wrtn_per_s
