"""The kernel's table of processes: who is alive, whose they are, a sure signal.

Of /proc only the files of processes are known here; the host's figures are read
by :mod:`app.host.procfs`.
"""

import os
import signal
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PROC = Path("/proc")
# Gone, or another user's. Any other error (no descriptor is free) must not pass for
# the end of a process.
_NOT_SEEN = (FileNotFoundError, ProcessLookupError, PermissionError)
# How often the table is listed in one look: as long as processes are started faster
# than they can be read, and that is not a matter of more than a few.
_LISTINGS = 50
# Looks for the environment of a process that is being replaced, and between them.
_EXEC_LOOKS = 100
_EXEC_SECONDS = 0.001


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
    fields = _fields(stat)
    # With more than one thread it is only the main thread that has ended.
    if fields[0] in (b"Z", b"X") and int(fields[17]) < 2:
        return None
    return Process(pid, group=int(fields[2]), start_ticks=int(fields[19]))


def processes_of_group(group: int) -> list[Process]:
    """Return the live processes of a process group, as all here the oldest first.

    So who has started others is the first to be told to end, and can see to them.
    """
    return sorted((p for p in _processes() if p.group == group), key=_age)


def processes_of_run(group: int, mark: bytes) -> list[Process]:
    """Return the live processes of a group, and those that carry `mark`."""
    return [
        process
        for process, environment in _SHARED.look()
        if process.group == group or mark in environment
    ]


def processes_marked(marks: Collection[bytes]) -> list[Process]:
    """Return the live processes whose environment holds one of `marks`.

    A mark is "NAME=value". It is inherited through `setsid` and a double fork;
    another user's processes are not seen.
    """
    return [
        process
        for process, environment in _SHARED.look()
        if not environment.isdisjoint(marks)
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


class _SharedLook:
    """A look at all processes and their environments, for all who ask meanwhile.

    Many commands that are ended at once would each read the whole table, again and
    again. Who asks gets a look that began after that, by whichever thread took it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # held by the thread that looks
        self._begun = self._ended = 0  # looks; one that failed has not ended
        self._seen: list[tuple[Process, set[bytes]]] = []

    def look(self) -> list[tuple[Process, set[bytes]]]:
        """Return all live processes with their environments."""
        before = self._begun
        with self._lock:
            if self._ended <= before:
                self._begun += 1
                # Each at once: it may soon have moved on to a child of its own.
                seen = [(each, _environment(each.pid)) for each in _processes()]
                self._seen = sorted(seen, key=lambda pair: _age(pair[0]))
                self._ended = self._begun
            return self._seen


_SHARED = _SharedLook()


def _age(process: Process) -> tuple[int, int]:
    """Return what sorts the oldest first."""
    return process.start_ticks, process.pid


def _processes() -> Iterator[Process]:
    """Give all live processes, also those that are started meanwhile.

    One that forks and exits between the listing and its turn would else go unseen,
    and its child as well. The newest come first: they may not be there for long.
    """
    seen: set[str] = set()
    for _ in range(_LISTINGS):
        names = os.listdir(_PROC)  # noqa: PTH208 - a scan of /proc, kept cheap
        new = [name for name in names if name.isdigit() and name not in seen]
        if not new:
            return
        seen.update(new)
        for name in reversed(new):
            if process := find_process(int(name)):
                yield process


def _environment(pid: int) -> set[bytes]:
    folder = _PROC / str(pid)
    try:
        for _ in range(_EXEC_LOOKS):
            if environment := _read_environment(folder):
                return environment
            has_memory, has_environment = _memory_of(folder)
            if not has_memory:
                return _environment_of_threads(folder)
            if has_environment:
                break  # and it is empty
            time.sleep(_EXEC_SECONDS)
    except _NOT_SEEN:
        pass
    return set()


def _read_environment(folder: Path) -> set[bytes]:
    """Return the environment of a process or thread, nothing where it has no memory."""
    with suppress(ProcessLookupError):
        if environment := (folder / "environ").read_bytes():
            return set(environment.split(b"\0"))
    return set()


def _memory_of(folder: Path) -> tuple[bool, bool]:
    """Return whether a process has memory, and whether that has an environment yet.

    In the midst of an exec it has none: what it was is gone, the new one is not there.
    """
    fields = _fields((folder / "stat").read_bytes())
    return fields[20] != b"0", fields[48] != b"0"


def _environment_of_threads(folder: Path) -> set[bytes]:
    """Return the environment of a process whose main thread has ended."""
    found = map(_read_environment, (folder / "task").iterdir())
    return next(filter(None, found), set())


def _fields(stat: bytes) -> list[bytes]:
    """Return what follows the name, from the state on.

    The name, in brackets, may hold spaces and brackets itself: cut after the last.
    """
    return stat[stat.rindex(b")") + 2 :].split()


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
