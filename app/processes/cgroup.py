"""A control group of a run's own, where the system lets us make one (cgroups(7), v2).

What it holds cannot leave it, whatever session or environment it takes on. It is made
below the group that this process is in: whoever ends that (systemd's
KillMode=control-group, a container's engine) ends this one too.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from .ladder import end_processes, wait_looking
from .table import Process, find_process

_PROC = Path("/proc/self")


class ControlGroup:
    """A group by its folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def make(cls, name: str) -> Self | None:
        """Return a new group that this process has entered; None where none can be."""
        parent = _own_group()
        if parent is None:
            return None
        group = cls(parent / name)
        try:
            group.path.mkdir()
            _move(os.getpid(), group.path)
        except OSError:  # not ours to change, or to be read alone
            group.dissolve()
            return None
        return group

    @classmethod
    def find(cls, path: str) -> Self | None:
        """Return the group of that path, None where that is the path of none."""
        group = cls(Path(path))
        return group if _procs(group.path).exists() else None

    def others(self) -> Sequence[Process]:
        """Return the live processes in it, but this one."""
        found = (find_process(pid) for pid in self._pids() if pid != os.getpid())
        return [process for process in found if process is not None]

    def kill(self) -> None:
        """Kill all that is in it, at one word where the kernel knows that (5.14).

        Wait for their ends: a group that somebody is about to leave cannot be removed.
        """
        with suppress(OSError):
            (self.path / "cgroup.kill").write_text("1")
        end_processes(self.others, grace_seconds=0, wait=wait_looking)

    def dissolve(self) -> bool:
        """Leave what is in it to the group above; return whether it is removed."""
        for pid in self._pids():
            with suppress(OSError):
                _move(pid, self.path.parent)
        with suppress(OSError):
            self.path.rmdir()
        return not self.path.exists()

    def _pids(self) -> Sequence[int]:
        try:
            return [int(pid) for pid in _procs(self.path).read_text().split()]
        except OSError:
            return []


def _own_group() -> Path | None:
    """Return the folder of the group that this process is in, None without v2."""
    try:
        mounts = (_PROC / "mounts").read_text().splitlines()
        groups = (_PROC / "cgroup").read_text().splitlines()
    except OSError:
        return None
    roots = [Path(fields[1]) for m in mounts if (fields := m.split())[2] == "cgroup2"]
    paths = [line[3:] for line in groups if line.startswith("0::")]
    return roots[0] / paths[0].lstrip("/") if roots and paths else None


def _procs(path: Path) -> Path:
    return path / "cgroup.procs"


def _move(pid: int, path: Path) -> None:
    _procs(path).write_text(str(pid))
