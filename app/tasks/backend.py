"""What runs tasks, whichever engine does it."""

from typing import Protocol

from app.processes.command import Command

from .record import TaskRecord


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

    def close(self, *, seconds: float) -> list[str]:
        """End what runs here, within the time; return the tasks that would not."""
        ...
