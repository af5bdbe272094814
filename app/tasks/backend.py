"""What runs tasks, whichever engine does it."""

from typing import Protocol

from app.processes.command import Command

from .record import TaskRecord
from .report_job import Report


class TaskBackend(Protocol):
    """Takes tasks, runs them, and ends what still runs when it closes."""

    def submit(
        self, command: Command, *, cmd: str, caller: str, request_id: str | None
    ) -> TaskRecord:
        """Start a command in its caller's slot.

        Raises SlotBusy, CapacityExceeded or StorageUnavailable; then nothing was
        started.
        """
        ...

    def submit_report(
        self, report: Report, *, owner: str | None, request_id: str | None
    ) -> TaskRecord:
        """Start making a report; raises as submit, but for SlotBusy."""
        ...

    def cancel(self, task_id: str) -> None:
        """Have a task ended with the reason "cancelled", whichever worker runs it.

        It returns at once; the task ends soon after, if it has not already.
        """
        ...

    def close(self, *, seconds: float) -> list[str]:
        """End what runs here, within the time; return the tasks that would not."""
        ...
