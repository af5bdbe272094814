"""`flask --app server drain` and `undrain`: empty this host before it is stopped."""

import math
import sys
import time
from collections.abc import Sequence

import click
from flask import Flask

from app.moment import moment
from app.services import Services
from app.services.drain import Drain
from app.tasks.record import TaskRecord

from .door import Served, keep, printable

# Between looks at what still runs.
_LOOK_SECONDS = 0.5
# So often in a row nothing may be there: between the end of a run and the message
# about that, there is nothing for a moment.
_EMPTY_LOOKS = 3
# A command may be as long as the system takes; so much of it tells which one it is.
_SHOWN_CHARACTERS = 80
# As a shell says that Ctrl-C has ended something.
_INTERRUPTED = 130


def register(app: Flask, served: Served) -> None:
    """Give `app` the commands."""
    seconds = click.option(
        "--seconds",
        type=click.FloatRange(min=0),
        help="How long to wait at most; 0 does not wait. Without it: until all ended.",
    )
    every = click.option(
        "--all",
        "waits_for_all",
        is_flag=True,
        help="Wait for detached runs too: a container would end them.",
    )
    app.cli.command("drain")(seconds(every(served(_drain))))
    app.cli.command("undrain")(served(_undrain))


def _drain(services: Services, seconds: float | None, *, waits_for_all: bool) -> None:
    """Take no new runs on this host, and wait until none runs or waits any more.

    It stays so, over restarts too, until `undrain`. The exit code is 1 where some are
    left when the time is over.
    """
    services.drain.begin()
    click.echo("This host takes no new runs.")
    keep(services, "drain", services.drain.host)
    try:
        waiting = _Waiting(services.drain, for_all=waits_for_all)
        left = waiting.wait(math.inf if seconds is None else seconds)
    except KeyboardInterrupt:
        click.echo("Interrupted. This host takes no new runs until it is undrained.")
        sys.exit(_INTERRUPTED)
    if left:
        ids = " ".join(task.task_id for task in left)
        click.echo(f"{len(left)} still run or wait: {ids}")
        sys.exit(1)
    click.echo("Nothing runs that would be ended with the service.")


def _undrain(services: Services) -> None:
    """Take new runs on this host again."""
    was_on = services.drain.end()
    words = "takes new runs again" if was_on else "was not being drained"
    click.echo(f"This host {words}.")
    if was_on:
        keep(services, "undrain", services.drain.host)


class _Waiting:
    """Waits for what runs, `for_all` for what is detached too, and shows it."""

    def __init__(self, drain: Drain, *, for_all: bool) -> None:
        self._drain = drain
        self._for_all = for_all
        self._shown: set[str] = set()

    def wait(self, seconds: float) -> Sequence[TaskRecord]:
        """Wait until nothing has to be waited for; return what is left then."""
        began = time.monotonic()
        deadline, told = began + seconds, began + self._drain.told_seconds
        empty_looks = 0
        while True:
            left = self._look()
            empty_looks = 0 if left else empty_looks + 1
            now = time.monotonic()
            remaining = deadline - now
            if remaining <= 0 or (empty_looks >= _EMPTY_LOOKS and now >= told):
                return left
            time.sleep(min(_LOOK_SECONDS, remaining))

    def _look(self) -> Sequence[TaskRecord]:
        """Show what was not, and what has ended; return what is waited for."""
        tasks = {task.task_id: task for task in self._drain.unfinished()}
        for task_id in sorted(self._shown - tasks.keys()):
            self._shown.remove(task_id)
            if ended := self._drain.find(task_id):
                click.echo(f"{task_id} {ended.state}")
        remarks = {task_id: self._remark(task) for task_id, task in tasks.items()}
        for task_id, task in tasks.items():
            if task_id not in self._shown:
                self._shown.add(task_id)
                click.echo(_line(task) + remarks[task_id])
        return [task for task_id, task in tasks.items() if not remarks[task_id]]

    def _remark(self, task: TaskRecord) -> str:
        """Return why a task is not waited for, if it is not."""
        if task.detached and not self._for_all:
            return " (detached: goes on without the service)"
        is_abandoned = self._drain.is_abandoned(task)
        return " (its worker is gone)" if is_abandoned else ""


def _line(task: TaskRecord) -> str:
    since = moment(task.started or task.created)
    what = printable(task.command or task.cmd or task.kind)[:_SHOWN_CHARACTERS]
    return f"{task.task_id} {task.state} {what} {task.owner or '-'} since {since}"
