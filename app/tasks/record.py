"""The record of a task, as it is kept."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from .states import State


@dataclass(frozen=True)
class TaskRecord:
    """One task; its fields are the columns that the store keeps.

    Times are seconds since the epoch, UTC. `owner` is the caller, None where nobody
    had to say who they are; `host` and `worker` are where it runs. `slot` names what
    one task at a time may hold; `command` is a name of the catalogue, `params` are its
    parameters as JSON, `cmd` is the text that was asked for. `polled_offset` and
    `polled_end` say what polls have given. `stderr_…` are None where stderr goes into
    the output; `is_queued` says that the task waits for room. `result` is JSON, as is
    `notify`: who are told of its end, which was done with at `notified` and is gone on
    with at `tell_at`. One that is `detached` has a process of its own as its `worker`.
    `fan_out` is JSON: the hosts of a run on several of them, whose parts name it as
    their `parent`. One that `waits_for_host` does so where that is away.
    """

    task_id: str
    kind: str
    state: State
    owner: str | None
    host: str
    worker: str
    request_id: str | None
    created: float
    slot: str | None = None
    cmd: str | None = None
    command: str | None = None
    params: str | None = None
    started: float | None = None
    finished: float | None = None
    reason: str | None = None
    detail: str | None = None
    returncode: int | None = None
    signal: str | None = None
    leftovers: bool | None = None
    cpu_seconds: float | None = None
    max_rss_bytes: int | None = None
    end_offset: int = 0
    dropped_bytes: int = 0
    stderr_end_offset: int | None = None
    stderr_dropped_bytes: int | None = None
    polled_offset: int = 0
    polled_end: bool = False
    progress_done: int | None = None
    progress_total: int | None = None
    cancel_requested: bool = False
    is_queued: bool = False
    max_running: int | None = None
    result: str | None = None
    notify: str | None = None
    notified: float | None = None
    output: bytes | None = None
    detached: bool = False
    tell_at: float | None = None
    waits_for_host: bool = False
    fan_out: str | None = None
    parent: str | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Return the record that a row of the store holds."""
        known = {field.name: row[field.name] for field in fields(cls)}
        return cls(**known | {"state": State(row["state"])})
