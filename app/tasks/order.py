"""What a caller asks to be run, and what that was found to be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4, uuid5

from app.processes.command import Command


@dataclass(frozen=True)
class Wish:
    """What a caller asks for: a `command` of the catalogue, or a shell's, or a program.

    One of `command`, `cmd` and `argv` is given, the members of `params` belong to the
    first. The others are None where the caller leaves them to us.
    """

    command: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    cmd: str | None = None
    argv: Sequence[str] | None = None
    timeout_seconds: float | None = None
    stdin: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    stderr: str | None = None
    detached: bool | None = None
    notify: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Order:
    """A command that may be run.

    `name` is its name in the catalogue, of which `max_running` may run at a time, and
    `params` are its parameters, less what is secret; `cmd` is the text that was asked
    for, where it was a text. One that
    `ends_on_overflow` is ended where its output is longer than what is kept.
    `notify` are those who are told of its end, the caller's own first. One that
    `is_detached` outlives the service.
    """

    command: Command
    cmd: str | None = None
    name: str | None = None
    params: Mapping[str, Any] | None = None
    max_running: int | None = None
    ends_on_overflow: bool = False
    is_detached: bool = False
    notify: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Place:
    """Where a task is to run; without a `host` it does not matter.

    One that `waits` does so where that host is away; others are refused, or lost.
    """

    host: str | None = None
    waits: bool = False


#: Wherever there is room.
ANYWHERE = Place()


@dataclass(frozen=True)
class Origin:
    """By whom a task is started.

    `owner` is their name, `account` the number of their account where they have
    proved that it is theirs. `slot` holds one task at a time. `uuid` is the digest
    of a signed uuid, which starts one task, `request` that of a request that is kept
    with its answer. `parent` is the run on several hosts that the task is a part of.
    """

    owner: str | None
    request_id: str | None
    account: int | None = None
    slot: str | None = None
    uuid: str | None = None
    request: str | None = None
    parent: str | None = None

    def task_id_on(self, host: str) -> str:
        """Return the id of a new task; of a part on a host it is always the same."""
        if self.parent is None:
            return str(uuid4())
        return str(uuid5(UUID(self.parent), host))
