"""A task that leaves its command to a process of its own."""

import threading
from collections.abc import Callable
from typing import Any, ClassVar

from .detached import DetachedRuns
from .job import end_of_task, state_of_stop
from .output_log import TaskOutput


class DetachedJob:
    """A Job: leaves a run to a process of its own."""

    has_output: ClassVar[bool] = True

    def __init__(
        self, runs: DetachedRuns, task_id: str, *, began: Callable[[], None]
    ) -> None:
        self._runs = runs
        self._task_id = task_id
        self._began = began
        self._lock = threading.Lock()  # guards both below
        self._reason: str | None = None
        self._is_left = False

    def run(self, output: TaskOutput) -> dict[str, Any] | None:
        """Start that process; see Job."""
        with self._lock:
            reason, self._is_left = self._reason, self._reason is None
        if reason is not None:
            return end_of_task(state_of_stop(reason), reason)
        end = self._runs.hand_over(self._task_id, output)
        if end is None:
            self._began()
        else:
            self._runs.forget(self._task_id)
        return end

    def stop(self, reason: str) -> None:
        """Keep it from being started; this service's end is no reason for that."""
        with self._lock:
            if reason == "shutdown" or self._is_left:
                return
            self._reason = self._reason or reason
        self._runs.forget(self._task_id)
