"""Who runs a task: a process, told from every other that has had its pid."""

import os
import signal
from dataclasses import dataclass
from functools import cache
from typing import Self

from app.processes.table import Process, boot_id, find_process, send_signal


@dataclass(frozen=True)
class Worker:
    """A process of this service, on one boot of one host."""

    boot: str
    pid: int
    start_ticks: int

    @classmethod
    def current(cls) -> Self:
        """Return this very process; not to be kept across a fork."""
        return cls(*_current())

    @classmethod
    def of(cls, pid: int) -> Self:
        """Return the process of that pid; raise ProcessLookupError if there is none."""
        return cls(*_known(pid))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the worker that `str()` of it names."""
        boot, pid, start_ticks = text.split(":")
        return cls(boot, int(pid), int(start_ticks))

    def __str__(self) -> str:
        return f"{self.boot}:{self.pid}:{self.start_ticks}"

    def is_alive(self) -> bool:
        """Return whether that very process still runs."""
        return self._process() is not None

    def send(self, number: signal.Signals) -> None:
        """Signal that very process, if it still runs."""
        process = self._process()
        if process is not None:
            send_signal(process, number)

    def _process(self) -> Process | None:
        if self.boot != boot_id():
            return None
        process = find_process(self.pid)
        is_same = process is not None and process.start_ticks == self.start_ticks
        return process if is_same else None


@cache
def _current() -> tuple[str, int, int]:
    """Return boot, pid and start of this process, which stay the same."""
    return _known(os.getpid())


def _known(pid: int) -> tuple[str, int, int]:
    process = find_process(pid)
    if process is None:
        raise ProcessLookupError(f"/proc does not show process {pid}")
    return boot_id(), pid, process.start_ticks


os.register_at_fork(after_in_child=_current.cache_clear)
