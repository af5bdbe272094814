"""What can go wrong below the line, as one tree; codes and facts, no HTTP.

BellhopError
├── InvalidInput          the caller's data is at fault, with every fault named
├── CommandNotAllowed     this command may not be run here
├── SlotBusy              the caller's command is still running
├── CapacityExceeded      this host runs as many as it may
├── TaskNotFound          there is no such task, or none for this caller
├── HostReadingFailed     the kernel's figures cannot be read
├── WaitersExceeded       too many requests wait in this worker already
└── Unavailable           nothing can be taken on now
    ├── StorageUnavailable   a record or an output cannot be written or read
    └── ShuttingDown         this worker is about to end

Errors of configuration are no part of the tree: they end the program
(:class:`config.config.SettingsError`).
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a caller's data, and where."""

    path: str
    message: str


class BellhopError(Exception):
    """Something went wrong; the docstring of the class is the message."""

    def __str__(self) -> str:
        return super().__str__() or self.__doc__ or ""


class InvalidInput(BellhopError):
    """The request does not have the form that it must have."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{f.path}: {f.message}" for f in self.faults))


class CommandNotAllowed(BellhopError):
    """This command may not be run here: no command is allowed."""


class SlotBusy(BellhopError):
    """The caller's command is still running; poll it, or wait for its end."""

    def __init__(self, task_id: str | None = None) -> None:
        super().__init__()
        self.task_id = task_id


class CapacityExceeded(BellhopError):
    """As many commands are running as may; try again when one has ended."""

    def __init__(self, *, retry_after_seconds: int) -> None:
        super().__init__()
        self.retry_after_seconds = retry_after_seconds


class TaskNotFound(BellhopError):
    """There is no task of that id."""


class HostReadingFailed(BellhopError):
    """The kernel's figures cannot be read on this host."""


class WaitersExceeded(BellhopError):
    """As many requests wait here as may; try again, or ask for less waiting."""


class Unavailable(BellhopError):
    """Nothing can be taken on now; nothing was started, try again."""


class StorageUnavailable(Unavailable):
    """No record or output can be kept now; nothing was started, try again."""


class ShuttingDown(Unavailable):
    """The service is shutting down; nothing was started, try again."""
