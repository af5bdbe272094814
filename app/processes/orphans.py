"""What a dead worker's runs left behind: found by their mark, and ended."""

from collections.abc import Collection
from functools import partial

from .ladder import end_processes, wait_looking
from .table import processes_marked


def end_orphans(marks: Collection[str], *, grace_seconds: float) -> int:
    """End every process that carries one of `marks`; return how many would not."""
    find = partial(processes_marked, {mark.encode() for mark in marks})
    return len(end_processes(find, grace_seconds=grace_seconds, wait=wait_looking))
