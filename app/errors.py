"""What can go wrong below the line, as one tree; codes and facts, no HTTP.

BellhopError
├── InvalidInput          the caller's data is at fault, with every fault named
├── CommandNotAllowed     this command may not be run here
├── SlotBusy              the caller's command is still running
├── CapacityExceeded      this host runs as many as it may
├── TaskNotFound          no task of that id is kept
├── HostReadingFailed     the kernel's figures cannot be read
└── StorageUnavailable    a record or an output cannot be written or read now

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
    """Something went wrong; see the subclass."""


class InvalidInput(BellhopError):
    """The request does not have the form that it must have."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{f.path}: {f.message}" for f in self.faults))


class CommandNotAllowed(BellhopError):
    """The command is not on the list of those that may be run here."""

    def __init__(self, message: str, *, allowed: Sequence[str] = ()) -> None:
        self.allowed = tuple(allowed)
        super().__init__(message)


class SlotBusy(BellhopError):
    """The caller's command is still running; poll it, or wait for its end."""

    def __init__(self, task_id: str | None = None) -> None:
        self.task_id = task_id
        super().__init__(self.__doc__)


class CapacityExceeded(BellhopError):
    """As many commands are running as may; try again when one has ended."""

    def __init__(self, *, retry_after_seconds: int) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(self.__doc__)


class TaskNotFound(BellhopError):
    """No task of that id is kept."""

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        super().__init__(self.__doc__)


class HostReadingFailed(BellhopError):
    """The kernel's figures cannot be read on this host."""


class StorageUnavailable(BellhopError):
    """The service cannot keep records now; nothing was started, try again."""
