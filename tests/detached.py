"""The processes of detached runs: found, and ended, whoever has started them."""

import os
import signal
from contextlib import suppress
from pathlib import Path

from tests.servers import alive_with, children_of, wait_until

_MOUNTED = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]

#: Whether a run has a control group of its own here.
HAS_GROUPS = os.geteuid() == 0 and any(
    kind == "cgroup2" and "rw" in options.split(",")
    for _, _, kind, options, *_ in _MOUNTED
)


def supervisors(folder: Path) -> list[int]:
    """Return the processes that run detached runs whose files are below a folder."""
    return [pid for pid in _with_spares(folder) if not _waits(pid)]


def end_all(folder: Path) -> None:
    """End these processes with their runs; reap those that are our children."""
    for pid in _with_spares(folder):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not _with_spares(folder), seconds=20)
    for pid in filter(_is_ending, children_of(os.getpid())):
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _with_spares(folder: Path) -> list[int]:
    below = set(alive_with(f"{folder}/"))
    found = [pid for pid in alive_with("app.tasks.supervisor") if pid in below]
    # Until it is the command, what they have just forked is called as they are.
    forked = {child for pid in found for child in children_of(pid)}
    return [pid for pid in found if pid not in forked]


def _is_ending(pid: int) -> bool:
    """Return whether a process has no memory any more."""
    try:
        return not Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _waits(pid: int) -> bool:
    """Return whether a process has not begun: it is told what to do by a pipe."""
    try:
        return os.readlink(f"/proc/{pid}/fd/0").startswith("pipe:")  # noqa: PTH115
    except OSError:
        return True
