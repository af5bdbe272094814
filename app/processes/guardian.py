"""Waits for the death of a worker, and ends what its commands leave behind.

It runs beside the worker, in a process and a session of its own, and knows nothing of
the service:

    python -m app.processes.guardian NAME

On stdin it is told which values of the environment variable NAME mark what runs: a line
"+value" when something begins, "-value" when it has ended. When stdin ends, the worker
has; whatever carries a mark that is left is ended then, and so is this.
"""

import signal
import sys
import time

from .orphans import end_orphans

# Between TERM and KILL, as for all whose worker has died.
GRACE_SECONDS = 2.0
# What was being started at the worker's death shows its mark after a moment.
AGAIN_SECONDS = 0.5


def main() -> None:
    """Wait, and end what is left."""
    # The worker is told to end by the same signals, and has to end its commands itself.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    marks = _marks_left(sys.argv[1])
    if marks:
        end_orphans(marks, grace_seconds=GRACE_SECONDS)
        time.sleep(AGAIN_SECONDS)
        end_orphans(marks, grace_seconds=GRACE_SECONDS)


def _marks_left(name: str) -> set[str]:
    """Return the marks of what runs when stdin ends."""
    marks: set[str] = set()
    for line in sys.stdin:
        change, mark = line[0], f"{name}={line[1:].rstrip()}"
        (marks.add if change == "+" else marks.discard)(mark)
    return marks


if __name__ == "__main__":
    main()
