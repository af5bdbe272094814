"""What runs tasks, whichever engine does it."""

from typing import Protocol

from .order import Order, Origin
from .record import TaskRecord
from .report_job import Report


class TaskBackend(Protocol):
    """Takes tasks, runs them, and ends what still runs when it closes."""

    def submit(self, order: Order, origin: Origin) -> TaskRecord:
        """Start a command, in its slot if it has one.

        Raises SlotBusy, CapacityExceeded, NotAuthenticated where the account was just
        removed, UuidRefused where the uuid was used, or StorageUnavailable; then
        nothing was started.
        """
        ...

    def submit_report(self, report: Report, origin: Origin) -> TaskRecord:
        """Start making a report; raises as submit, but for SlotBusy."""
        ...

    def wait(self, task_id: str, *, seconds: float) -> bool:
        """Wait for a task that was submitted here; return whether it has ended."""
        ...

    def cancel(self, task_id: str) -> None:
        """Have a task ended with the reason "cancelled", whichever worker runs it.

        It returns at once; the task ends soon after, if it has not already.
        """
        ...

    def close(self, *, seconds: float) -> list[str]:
        """End what runs here, within the time; return the tasks that would not."""
        ...
