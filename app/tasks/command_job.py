"""A task that runs a command."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import structlog

from app.processes.child import Child, Ending
from app.processes.command import Command

from .job import end_of_task, state_of_stop
from .order import Order
from .output import OutputLog, TaskOutput
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
        self._limits = order.command.limits
        self._ends_on_overflow = order.ends_on_overflow
        self._child = Child(
            _told_its_task(order.command, record),
            mark=f"{MARK}={record.task_id}",
            grace_seconds=grace_seconds,
        )
        self._fault: OSError | None = None

    @property
    def is_gone(self) -> bool:
        """Whether nothing runs any more, so that its end takes no time."""
        return self._fault is not None or self._child.is_gone

    def attend(self, output: TaskOutput, seconds: float) -> bool:
        """Run the command for so long; return False once its end is to be made."""
        if self._child.is_started:
            return self._child.attend(seconds)
        stderr = partial(self._append, output.stderr) if output.stderr else None
        try:
            self._child.start(partial(self._append, output.stdout), stderr)
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
        return end_of_task(_state(ending), **vars(ending), **self._detail(ending))

    def stop(self, reason: str) -> None:
        """End the command and what it started; see Job."""
        self._child.stop(reason)

    def _append(self, log: OutputLog, data: memoryview) -> None:
        log.append(data)
        if self._ends_on_overflow and log.dropped_bytes:
            self._child.stop("overflow")

    def _detail(self, ending: Ending) -> dict[str, str]:
        """Return what there is to say of an end beside its reason."""
        if ending.reason != "limit":
            return {}
        name = self._limits.reached(ending.signal, ending.cpu_seconds)
        return {"detail": f"the limit {name} was reached"}


def _told_its_task(command: Command, record: TaskRecord) -> Command:
    names = {MARK: record.task_id}
    if record.request_id:
        names["BELLHOP_REQUEST_ID"] = record.request_id
    return command.with_environment(**names)


def _state(ending: Ending) -> State:
    if ending.reason == "exit" and ending.returncode == 0:
        return State.SUCCESS
    return state_of_stop(ending.reason)
