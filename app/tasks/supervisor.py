"""The process of a detached run: started by the service, and not ended with it.

It knows its run and that run's files, no records and no settings, so that the service
may be restarted, upgraded or gone meanwhile. What became of the run it leaves in a
file, which the service reads into the record. For the files see
:mod:`app.tasks.detached`.

    python -m app.tasks.supervisor FOLDER

It is told its task by a line on stdin, for which it may wait as a spare. It says
"ready" on stdout once signals mean to it what they are to mean, and begins at the line
"go" on stdin. Where that ends without it, the service died before it had written down
who runs the task: nothing is started. USR1 cancels the run, TERM ends it as a service's
shutdown does.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from app.processes.cgroup import ControlGroup
from app.processes.child import Child
from app.processes.table import Process

from .output_log import OutputLog, TaskOutput
from .written_command import read_command

READY = b"ready\n"
GO = b"go\n"

# What ends a run, and the reason that is kept.
_REASONS = {signal.SIGUSR1: "cancelled", signal.SIGTERM: "shutdown"}

# More than the name of a task takes.
_LINE_BYTES = 256
# What an error may say of itself there.
_DETAIL_CHARACTERS = 500


def main() -> None:
    """Run the task that is named, as its order in the folder in `sys.argv` says."""
    task_id = os.read(0, _LINE_BYTES).decode().strip()
    if not task_id:  # the service has ended
        return
    files = Path(sys.argv[1], task_id)
    order = json.loads(files.with_suffix(".order").read_bytes())
    supervisor = _Supervisor(files, order)
    os.write(1, READY)
    if os.read(0, len(GO)) != GO:
        return
    # From here on nobody else can run it.
    files.with_suffix(".order").unlink()
    _let_go_of_the_service()
    supervisor.run()


def _let_go_of_the_service() -> None:
    """Keep nothing that this process was started with: it may be gone."""
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nothing, descriptor)
    os.close(nothing)


class _Supervisor:
    """Runs a command to its end, and keeps what became of it."""

    def __init__(self, files: Path, order: Mapping[str, Any]) -> None:
        self._files = files
        stdout, *stderr = map(_resumed, order["outputs"])
        self._output = TaskOutput(stdout, *stderr)
        self._group: ControlGroup | None = None
        self._child = Child(
            read_command(order["command"]),
            mark=order["mark"],
            grace_seconds=order["grace_seconds"],
            of_group=self._of_group,
        )
        overflow = partial(self._child.stop, "overflow")
        self._on_overflow = overflow if order["ends_on_overflow"] else None
        self._mind_signals()

    def run(self) -> None:
        """Run the command; whatever happens, an end is kept."""
        end: dict[str, Any] = {"reason": "internal_error"}
        try:
            self._enter_group()
            end = self._run()
        except Exception as error:  # noqa: BLE001 - there is no log of our own
            end["detail"] = _words(error)
        finally:
            self._leave_group()
            self._keep({**end, "finished": time.time(), **self._output.facts()})
            self._output.close()  # of which the kernel tells those who follow it

    def _run(self) -> dict[str, Any]:
        started = time.time()
        try:
            self._child.start(*self._output.sinks(self._on_overflow))
        except OSError as error:
            return {"reason": "spawn_failed", "started": None, "detail": _words(error)}
        return {"started": started, **vars(self._child.run())}

    def _keep(self, end: Mapping[str, Any]) -> None:
        """Write what became of the run, as a whole or not at all.

        That is where space was taken for it: the disk may have filled up by now.
        """
        new = self._files.with_suffix(".new")
        document = json.dumps(end).encode()
        with open(new, "r+b", buffering=0) as file:  # noqa: PTH123
            file.write(document)
            file.truncate()
        new.replace(self._files.with_suffix(".end"))

    def _enter_group(self) -> None:
        """Have a group for all that is run, if that can be, and be written down."""
        group = ControlGroup.make(f"bellhop-{self._files.name}")
        if group is None:
            return
        try:
            self._files.with_suffix(".group").write_text(str(group.path))
        except OSError:  # the disk has filled up
            group.dissolve()
        else:
            self._group = group

    def _leave_group(self) -> None:
        """Be in it no more once there is an end: as long as anything is, it stays."""
        if self._group is not None:
            self._group.dissolve()

    def _of_group(self) -> Sequence[Process]:
        return () if self._group is None else self._group.others()

    def _mind_signals(self) -> None:
        for number, reason in _REASONS.items():
            signal.signal(number, _stop(self._child, reason))
        for number in (signal.SIGHUP, signal.SIGINT):
            # What is ignored here would be ignored by the command as well.
            signal.signal(number, lambda *_: None)


def _resumed(path: str) -> OutputLog:
    return OutputLog.resume(os.open(path, os.O_RDWR | os.O_CLOEXEC))


def _stop(child: Child, reason: str) -> Callable[..., None]:
    return lambda *_: child.stop(reason)


def _words(error: Exception) -> str:
    return str(error)[:_DETAIL_CHARACTERS] or type(error).__name__


if __name__ == "__main__":
    main()
