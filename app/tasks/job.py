"""What a task does: something that is run in a thread and can be stopped."""

import time
from typing import Any, ClassVar, Protocol

from .output_log import TaskOutput
from .states import State


class Job(Protocol):
    """Run once, by one thread; stopped from any other, before, while or after."""

    #: Whether it writes anything.
    has_output: ClassVar[bool]

    def run(self, output: TaskOutput) -> dict[str, Any] | None:
        """Do it, writing to `output`; return what the record says of its end.

        None: it goes on in a process of its own, which writes to `output` from now on.
        """
        ...

    def stop(self, reason: str) -> None:
        """Have it ended for that reason; the first reason holds."""
        ...


def end_of_task(state: State, reason: str, **facts: Any) -> dict[str, Any]:
    """Return what a record says of an end that is now."""
    return {"state": state, "reason": reason, "finished": time.time(), **facts}


def state_of_end(reason: str, returncode: int | None) -> State:
    """Return the state of a task whose command has ended for that reason."""
    if reason == "exit" and returncode == 0:
        return State.SUCCESS
    return state_of_stop(reason)


def state_of_stop(reason: str) -> State:
    """Return the state of a task that was stopped for that reason."""
    return State.REVOKED if reason in ("cancelled", "shutdown") else State.FAILURE
