"""The one way in which processes are ended: TERM, a time of grace, KILL."""

import signal
import time
from collections.abc import Callable, Sequence

from .table import Process, send_signal

# A killed process is gone at once unless the kernel holds it in a system call.
KILL_SECONDS = 5.0
# How often to look for the ends of processes that are not our children.
LOOK_SECONDS = 0.05

Find = Callable[[], Sequence[Process]]
#: ``wait(done, seconds)`` returns whether ``done()`` came true within the time.
Wait = Callable[[Callable[[], bool], float], bool]


def end_processes(find: Find, *, grace_seconds: float, wait: Wait) -> Sequence[Process]:
    """End all that `find` returns, now or while waiting; return who would not.

    Each look may find a process that was just forked, so every look signals whom
    it has not signalled yet.
    """
    for number, patience in (
        (signal.SIGTERM, grace_seconds),
        (signal.SIGKILL, KILL_SECONDS),
    ):
        signalled: set[Process] = set()

        def gone(
            number: signal.Signals = number, told: set[Process] = signalled
        ) -> bool:
            alive = find()
            for process in alive:
                if process not in told:
                    send_signal(process, number)
                    told.add(process)
            return not alive

        if wait(gone, patience):
            return ()
    return find()


def wait_looking(done: Callable[[], bool], seconds: float) -> bool:
    """Look until `done`, a Wait for those whose ends nothing tells of."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() >= deadline:
            return False
        time.sleep(LOOK_SECONDS)
    return True
