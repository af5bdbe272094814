"""The kernel's table of processes: who is alive, whose they are, a sure signal.

Of /proc only the files of processes are known here; the host's figures are read
by :mod:`app.host.procfs`.
"""

import os
import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PROC = Path("/proc")
# Gone, or another user's. Any other error (no descriptor is free) must not pass for
# the end of a process.
_NOT_SEEN = (FileNotFoundError, ProcessLookupError, PermissionError)


@dataclass(frozen=True)
class Process:
    """One live process; `start_ticks` tells it from a later one of the same pid."""

    pid: int
    group: int
    start_ticks: int


def find_process(pid: int) -> Process | None:
    """Return the live process of that pid, None where there is none or a zombie."""
    try:
        stat = (_PROC / str(pid) / "stat").read_bytes()
    except _NOT_SEEN:
        return None
    # The name, in brackets, may hold spaces and brackets itself: cut after the last.
    fields = stat[stat.rindex(b")") + 2 :].split()
    # With more than one thread it is only the main thread that has ended.
    if fields[0] in (b"Z", b"X") and int(fields[17]) < 2:
        return None
    return Process(pid, group=int(fields[2]), start_ticks=int(fields[19]))


def processes_of_group(group: int) -> list[Process]:
    """Return the live processes of a process group."""
    return [process for process in _processes() if process.group == group]


def processes_of_run(group: int, mark: bytes) -> list[Process]:
    """Return the live processes of a group, and those that carry `mark`."""
    return [
        process
        for process in _processes()
        if process.group == group or mark in _environment(process.pid)
    ]


def processes_marked(marks: Collection[bytes]) -> list[Process]:
    """Return the live processes whose environment holds one of `marks`.

    A mark is "NAME=value". It is inherited through `setsid` and a double fork;
    another user's processes are not seen.
    """
    return [
        process
        for process in _processes()
        if not _environment(process.pid).isdisjoint(marks)
    ]


def send_signal(process: Process, number: signal.Signals) -> None:
    """Signal that very process, never a later one that was given its pid."""
    with _pidfd(process) as descriptor:
        if descriptor is not None:
            signal.pidfd_send_signal(descriptor, number)


@cache
def boot_id() -> str:
    """Return what names this boot of the kernel: pids repeat after the next."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def _processes() -> Iterator[Process]:
    for name in os.listdir(_PROC):  # noqa: PTH208 - a scan of /proc, kept cheap
        if name.isdigit() and (process := find_process(int(name))):
            yield process


def _environment(pid: int) -> set[bytes]:
    try:
        return set((_PROC / str(pid) / "environ").read_bytes().split(b"\0"))
    except _NOT_SEEN:
        return set()


@contextmanager
def _pidfd(process: Process) -> Iterator[int | None]:
    """Give a descriptor of the process, None if it is gone.

    The start time is compared after opening: from then on the descriptor cannot
    come to mean another process.
    """
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        yield None
        return
    try:
        now = find_process(process.pid)
        same = now is not None and now.start_ticks == process.start_ticks
        yield descriptor if same else None
    except (ProcessLookupError, PermissionError):
        pass
    finally:
        os.close(descriptor)
