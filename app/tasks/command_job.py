"""A task that runs a command."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import structlog

from app.processes.child import Child, Ending
from app.processes.command import Command
from app.processes.limits import LIMIT_OF_SIGNAL

from .job import end_of_task, state_of_stop
from .output import OutputLog
from .record import TaskRecord
from .states import State

#: The name in a command's environment by which all that it started is found.
MARK = "BELLHOP_TASK_ID"

log = structlog.get_logger(__name__)


class CommandJob:
    """A Job: one child process and what it starts."""

    def __init__(
        self,
        command: Command,
        record: TaskRecord,
        *,
        grace_seconds: float,
        started: Callable[[], None],
    ) -> None:
        self._task_id = record.task_id
        self._started = started
        self._limits = command.limits
        self._child = Child(
            _told_its_task(command, record),
            mark=f"{MARK}={record.task_id}",
            grace_seconds=grace_seconds,
        )

    def run(self, output: OutputLog) -> dict[str, Any]:
        """Run the command to its end; see Job."""
        try:
            self._child.start()
        except OSError as error:
            log.warning("process.not_started", task_id=self._task_id, error=str(error))
            return end_of_task(State.FAILURE, "spawn_failed", detail=str(error))
        log.info("process.started", task_id=self._task_id, child=repr(self._child))
        self._started()
        ending = self._child.run(output.append)
        log.info("process.ended", task_id=self._task_id, **asdict(ending))
        return end_of_task(_state(ending), **asdict(ending) | self._limit(ending))

    def _limit(self, ending: Ending) -> dict[str, str]:
        """Return which of the command's own limits has ended it, if one did."""
        name = LIMIT_OF_SIGNAL.get(ending.signal or "", "")
        # One that goes on after SIGXCPU is killed a second later.
        most = self._limits.cpu_seconds
        if ending.signal == "SIGKILL" and most and (ending.cpu_seconds or 0) > most:
            name = "cpu_seconds"
        if ending.reason != "signal" or getattr(self._limits, name, None) is None:
            return {}
        return {"reason": "limit", "detail": f"the limit {name} was reached"}

    def stop(self, reason: str) -> None:
        """End the command and what it started; see Job."""
        self._child.stop(reason)


def _told_its_task(command: Command, record: TaskRecord) -> Command:
    names = {MARK: record.task_id}
    if record.request_id:
        names["BELLHOP_REQUEST_ID"] = record.request_id
    return command.with_environment(**names)


def _state(ending: Ending) -> State:
    if ending.reason == "exit" and ending.returncode == 0:
        return State.SUCCESS
    return state_of_stop(ending.reason)
