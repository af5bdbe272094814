"""What can go wrong below the line, as one tree; codes and facts, no HTTP.

BellhopError
├── InvalidInput          the caller's data is at fault, with every fault named
├── NotAuthenticated      nobody is known to send this
│   └── UuidRefused          the uuid is not signed, not fresh or used already
├── TooManyAttempts       too many wrong passwords
├── NotPermitted          the caller is known, and may not
├── CommandNotAllowed     this command may not be run here
├── CommandNotFound       there is no such command, or none for this caller
├── SlotBusy              the caller's command is still running
├── CapacityExceeded      this host runs as many as it may
├── KeyReused             the same Idempotency-Key came with something else
├── KeyInFlight           the request of that Idempotency-Key is not answered yet
├── SmsLimitExceeded      more messages than may be sent
├── SmsRefused            no provider has sent a message, each has said why
│   ├── SmsRejected          for its receivers, its content or its form
│   ├── SmsReceiverLimited   for a limit of the vendor's on a receiver
│   ├── SmsFailed            for what is between the vendors and us
│   └── SmsUnreachable       there was none to be asked
├── MessageExists         the message was kept before
├── MessageNotFound       there is no such message, or none for this caller
├── ReceiptNotTaken       nobody is known to send this receipt
├── TaskNotFound          there is no such task, or none for this caller
├── AccountNotFound       there is no such user
├── AccountExists         the name of a user is taken
├── LastAdmin             without this user nobody would be an admin
├── TokenNotFound         there is no such token of that user
├── NotEndedYet           a task was asked to end, and has not in time
├── HostNotFound          there is no such host
├── HostReadingFailed     the kernel's figures cannot be read
├── WaitersExceeded       too many requests wait in this worker already
├── PasswordChecksExceeded   too many passwords are being checked
└── Unavailable           nothing can be taken on now
    ├── StorageUnavailable   a record or an output cannot be written or read
    ├── BrokerUnavailable    what brings tasks to their hosts cannot be reached
    ├── HostAway             the host gives no sign of life
    ├── Draining             this host takes no new runs
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
        told = [": ".join(filter(None, (f.path, f.message))) for f in self.faults]
        super().__init__("; ".join(told))


class NotAuthenticated(BellhopError):
    """This takes the password of a user, or a token that is still good."""

    def __init__(self, username: str | None = None) -> None:
        super().__init__()
        self.username = username  # whose password was guessed at, if there is one


class UuidRefused(NotAuthenticated):
    """The uuid is not one that a known caller has signed just now for one start."""


class TooManyAttempts(BellhopError):
    """Too many wrong passwords were given for this user; try again later."""

    def __init__(self, *, retry_after_seconds: int) -> None:
        super().__init__()
        self.retry_after_seconds = retry_after_seconds
        self.username: str | None = None  # as above


class NotPermitted(BellhopError):
    """The caller may not do this."""


class CommandNotAllowed(BellhopError):
    """This command may not be run here."""

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        names = ", ".join(allowed) or "no command"
        super().__init__(f"This command may not be run here; allowed: {names}.")
        self.allowed = tuple(allowed)


class CommandNotFound(BellhopError):
    """There is no command of that name."""


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


class KeyReused(BellhopError):
    """This Idempotency-Key came with another request before; use a new one."""


class KeyInFlight(BellhopError):
    """The first request with this Idempotency-Key is still being answered."""


class SmsLimitExceeded(BellhopError):
    """As many messages were sent as may be."""

    def __init__(self, limit: str, *, retry_after_seconds: int) -> None:
        super().__init__(f"As many messages were sent as may be: {limit}.")
        self.retry_after_seconds = retry_after_seconds


class SmsRefused(BellhopError):
    """No provider has sent the message; it has reached nobody."""


class SmsRejected(SmsRefused):
    """The provider has refused the receivers, the content or the form."""


class SmsReceiverLimited(SmsRefused):
    """The provider lets no more messages through to this receiver for now."""

    # Vendors count by the minute first; they do not say which limit it was.
    retry_after_seconds = 60


class SmsFailed(SmsRefused):
    """Every provider has refused to send for us."""


class SmsUnreachable(SmsRefused):
    """No provider could be reached; nothing was sent."""


class MessageExists(BellhopError):
    """There is a message of that id already."""


class MessageNotFound(BellhopError):
    """There is no message of that id."""


class ReceiptNotTaken(BellhopError):
    """There is nothing here."""


class TaskNotFound(BellhopError):
    """There is no task of that id."""


class AccountNotFound(BellhopError):
    """There is no user of that name."""


class AccountExists(BellhopError):
    """There is a user of that name already."""


class LastAdmin(BellhopError):
    """This is the only admin; make another one first."""


class TokenNotFound(BellhopError):
    """There is no token of that id."""


class NotEndedYet(BellhopError):
    """The task was asked to end and has not ended yet; ask again."""


class HostNotFound(BellhopError):
    """There is no host of that name."""


class HostReadingFailed(BellhopError):
    """The kernel's figures cannot be read on this host."""


class WaitersExceeded(BellhopError):
    """As many requests wait here as may; try again, or ask for less waiting."""


class PasswordChecksExceeded(BellhopError):
    """As many passwords are being checked as may; try again."""


class Unavailable(BellhopError):
    """Nothing can be taken on now; nothing was started, try again."""


class StorageUnavailable(Unavailable):
    """No record or output can be kept now; nothing was started, try again."""


class BrokerUnavailable(Unavailable):
    """What brings tasks to their hosts cannot be reached; nothing was started."""


class HostAway(Unavailable):
    """The host has given no sign of life for some seconds; nothing was started."""

    def __init__(self, host: str | None = None) -> None:
        who = "No host has" if host is None else f"The host {host!r} has not"
        told = "given a sign of life for some seconds; nothing was started."
        super().__init__(f"{who} {told}")
        self.host = host


class Draining(Unavailable):
    """This host is being drained and takes no new runs; nothing was started."""

    # A drain takes as long as what runs; the host is then back, or is asked no more.
    retry_after_seconds = 30


class ShuttingDown(Unavailable):
    """The service is shutting down; nothing was started, try again."""
