"""What runs tasks, whichever engine does it."""

from collections.abc import Callable, Mapping
from typing import Protocol

from .call_job import Call
from .order import ANYWHERE, Order, Origin, Place
from .patience import Patience
from .record import TaskRecord
from .report_job import Report


class TaskBackend(Protocol):
    """Takes tasks, runs them, and ends what still runs when it closes."""

    def submit(
        self,
        order: Order,
        origin: Origin,
        *,
        place: Place = ANYWHERE,
        patience: Patience | None = None,
    ) -> TaskRecord:
        """Start a command, in its slot if it has one.

        With `patience` it may return only when the task has ended or the patience has.
        Raises InvalidInput where its host is not known, HostAway where that is away.
        Raises SlotBusy, CapacityExceeded, NotAuthenticated where the account was just
        removed, UuidRefused where the uuid was used, Draining where nothing new is
        taken on, or StorageUnavailable; then nothing was started.
        """
        ...

    def submit_report(
        self, report: Report, origin: Origin, *, place: Place = ANYWHERE
    ) -> TaskRecord:
        """Start making a report; raises as submit, but for SlotBusy."""
        ...

    def submit_call(self, call: Call, origin: Origin, *, task_id: str) -> TaskRecord:
        """Have a call made, by a task of that id; raises as submit_report.

        It never raises Draining: what has ended is told of until the last.
        """
        ...

    def wait(self, task_id: str, *, seconds: float) -> TaskRecord | None:
        """Wait for the end of a task, or for the time; return it as it is then.

        None: it is no task of this worker, or no more.
        """
        ...

    def cancel(self, task_id: str) -> None:
        """Have a task ended with the reason "cancelled", whichever worker runs it.

        It returns at once; the task ends soon after, if it has not already.
        """
        ...

    def refresh(self, task: TaskRecord) -> TaskRecord:
        """Return a task as it is now, where its end was not in the records yet."""
        ...

    def needs(self) -> Mapping[str, Callable[[], None]]:
        """Return what else has to work for tasks to run, by name.

        Each raises an Unavailable where it does not.
        """
        ...

    def close(self, *, seconds: float) -> list[str]:
        """End what runs here, within the time; return the tasks that would not."""
        ...
