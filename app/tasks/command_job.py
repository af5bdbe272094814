"""A task that runs a command."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import structlog

from app.processes.child import Child
from app.processes.command import Command

from .job import end_of_task, state_of_end
from .order import Order
from .output_log import TaskOutput
from .record import TaskRecord
from .states import State

#: The name in a command's environment by which all that it started is found.
MARK = "BELLHOP_TASK_ID"

# That it has started is written once it has gone on for so long: the record of a
# command that is faster is written once, with its end.
QUICK_SECONDS = 0.02

log = structlog.get_logger(__name__)


class CommandJob:
    """A Job: one child process and what it starts."""

    has_output: ClassVar[bool] = True

    def __init__(
        self,
        order: Order,
        record: TaskRecord,
        *,
        grace_seconds: float,
        began: Callable[[], None],
        started: Callable[[], None],
    ) -> None:
        self._task_id = record.task_id
        self._began = began
        self._started = started
        self._child = Child(
            told_its_task(order.command, record),
            mark=f"{MARK}={record.task_id}",
            grace_seconds=grace_seconds,
        )
        stop = partial(self._child.stop, "overflow")
        self._on_overflow = stop if order.ends_on_overflow else None
        self._fault: OSError | None = None

    @property
    def is_gone(self) -> bool:
        """Whether nothing runs any more, so that its end takes no time."""
        return self._fault is not None or self._child.is_gone

    def attend(self, output: TaskOutput, seconds: float) -> bool:
        """Run the command for so long; return False once its end is to be made."""
        if self._child.is_started:
            return self._child.attend(seconds)
        try:
            self._child.start(*output.sinks(self._on_overflow))
        except OSError as error:
            log.warning("process.not_started", task_id=self._task_id, error=str(error))
            self._fault = error
            return False
        log.info("process.started", task_id=self._task_id, child=repr(self._child))
        self._began()
        goes_on = self._child.attend(QUICK_SECONDS)
        if goes_on:
            self._started()
        return goes_on

    def run(self, output: TaskOutput) -> dict[str, Any]:
        """Run the command to its end; see Job."""
        if not self._child.is_started:
            self.attend(output, 0)
        if self._fault:
            detail = str(self._fault)
            return end_of_task(State.FAILURE, "spawn_failed", detail=detail)
        ending = self._child.run()
        log.info("process.ended", task_id=self._task_id, **vars(ending))
        state = state_of_end(ending.reason, ending.returncode)
        return end_of_task(state, **vars(ending))

    def stop(self, reason: str) -> None:
        """End the command and what it started; see Job."""
        self._child.stop(reason)


def told_its_task(command: Command, record: TaskRecord) -> Command:
    """Return a command in whose environment it says which task it is."""
    names = {MARK: record.task_id}
    if record.request_id:
        names["BELLHOP_REQUEST_ID"] = record.request_id
    return command.with_environment(**names)
