"""A task that calls something of another room, once: no process, no output."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import structlog

from app.errors import StorageUnavailable

from .job import end_of_task, state_of_stop
from .output_log import TaskOutput
from .states import State

#: Returns whether a call is to come to its end early.
IsStopped = Callable[[], bool]

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Call:
    """What is called: `make` returns what came of it and why it failed, if it did.

    `give_up` is called in its place, with the reason, where it is stopped before it
    began. `asked` is what it is made of, so that another process can.
    """

    kind: str
    make: Callable[[IsStopped], tuple[Mapping[str, Any], str | None]]
    give_up: Callable[[str], object]
    asked: Mapping[str, Any] = field(default_factory=dict)


class CallJob:
    """A Job: its result is what the call returned."""

    has_output: ClassVar[bool] = False

    def __init__(self, call: Call, *, started: Callable[[], None]) -> None:
        self._call = call
        self._started = started
        self._stop = threading.Event()
        self._lock = threading.Lock()  # guards _has_begun and _stop_reason
        self._has_begun = False
        self._stop_reason = ""

    def run(self, output: TaskOutput) -> dict[str, Any]:  # noqa: ARG002 - it has none
        """Make the call; see Job."""
        with self._lock:
            if reason := self._stop_reason:
                return end_of_task(state_of_stop(reason), reason)
            self._has_begun = True
        self._started()
        result, failure = self._call.make(self._stop.is_set)
        state = State.FAILURE if failure else State.SUCCESS
        return end_of_task(state, failure or "exit", result=json.dumps(result))

    def stop(self, reason: str) -> None:
        """End the call where it is, or see that it is not made; see Job."""
        with self._lock:
            is_first = not self._stop_reason
            self._stop_reason = self._stop_reason or reason
            gives_up = is_first and not self._has_begun
        self._stop.set()
        if gives_up:
            self._give_up(reason)

    def _give_up(self, reason: str) -> None:
        try:
            self._call.give_up(reason)
        except StorageUnavailable as error:  # the task ends, and others do
            log.warning("call.not_given_up", error=str(error.__cause__))
