"""What a dead worker's runs left behind: found by their mark, and ended."""

import time
from collections.abc import Callable, Collection
from functools import partial

from .ladder import end_processes
from .table import processes_marked

LOOK_SECONDS = 0.05


def end_orphans(marks: Collection[str], *, grace_seconds: float) -> int:
    """End every process that carries one of `marks`; return how many would not."""
    find = partial(processes_marked, {mark.encode() for mark in marks})
    return len(end_processes(find, grace_seconds=grace_seconds, wait=_wait))


def _wait(done: Callable[[], bool], seconds: float) -> bool:
    """Look until `done`: these are not our children, nothing tells of their end."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() >= deadline:
            return False
        time.sleep(LOOK_SECONDS)
    return True
