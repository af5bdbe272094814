"""Tasks by their id: the record, the output by offset, the end on demand."""

import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from app.errors import (
    Fault,
    InvalidInput,
    NotEndedYet,
    StorageUnavailable,
    TaskNotFound,
)
from app.storage.ownership import Viewer
from app.storage.task_store import TaskStore

from .backend import TaskBackend
from .output import STDOUT
from .output_log import Chunk
from .outputs import Outputs, reader_of
from .record import TaskRecord
from .text import CHARACTER_BYTES, character_bytes, continuation_bytes, torn_bytes

# Of an output that is shown with its task: the rest is read by offset.
NEWEST_BYTES = 64 * 1024

# Of how many tasks the newest of each command is found: that takes milliseconds.
_LATELY = 5_000

# Between looks whether a task that is being cancelled has ended.
LOOK_SECONDS = 0.02

# The rest of a character in front of a chunk, and of one at its end.
_MARGIN_BYTES = 2 * (CHARACTER_BYTES - 1)

# Anything else has never been given out; a database may refuse to look for it.
_TASK_ID = re.compile(r"[0-9a-f-]{36}")


@dataclass(frozen=True)
class OutputPart:
    """What a read of an output gave; `next_offset` is where the next one begins."""

    offset: int
    data: bytes
    dropped_bytes: int
    eof: bool

    @property
    def next_offset(self) -> int:
        """The offset asked for, and all that was given or passed over."""
        return self.offset + self.dropped_bytes + len(self.data)


class Lookup:
    """What may be done with a task by whoever may see it."""

    def __init__(
        self,
        *,
        store: TaskStore,
        outputs: Outputs,
        backend: TaskBackend,
        cancel_seconds: float,
    ) -> None:
        self._store = store
        self._outputs = outputs
        self._backend = backend
        self._cancel_seconds = cancel_seconds

    def get(self, task_id: str, viewer: Viewer) -> TaskRecord:
        """Return a task; raise TaskNotFound, also where it is not for the viewer."""
        is_id = _TASK_ID.fullmatch(task_id)
        row = self._store.find_seen(task_id, viewer) if is_id else None
        if row is None:
            raise TaskNotFound
        return self._backend.refresh(TaskRecord.from_row(row))

    def page(
        self,
        viewer: Viewer,
        filters: Mapping[str, Any],
        *,
        before: int | None,
        limit: int,
    ) -> Sequence[tuple[int, TaskRecord]]:
        """Return up to `limit` tasks for the viewer to see, newest first.

        Each comes with a number, of which `before` is the last one of the page before.
        """
        rows = self._store.page(viewer, filters, before=before, limit=limit)
        refresh = self._backend.refresh
        return [(row["number"], refresh(TaskRecord.from_row(row))) for row in rows]

    def newest_of_commands(self, viewer: Viewer) -> Mapping[str, TaskRecord]:
        """Return by the names of commands the newest task of each that has ended.

        One whose tasks are all older than the newest 5,000 is left out.
        """
        rows = self._store.newest_of_commands(viewer, among=_LATELY)
        return {row["command"]: TaskRecord.from_row(row) for row in rows}

    def running_of_commands(self, viewer: Viewer) -> Mapping[str, int]:
        """Return by the names of commands how many tasks of each run now."""
        return self._store.running_of_commands(viewer)

    def newest_text(self, task: TaskRecord) -> str:
        """Return the end of what a task has written, as text."""
        output = reader_of(self._outputs, task)
        if output is None:
            return ""
        with output:
            end = output.end_offset()
            chunk = output.read_until(max(0, end - NEWEST_BYTES), end)
        begins_torn = chunk.start > 0
        torn = continuation_bytes(chunk.data) if begins_torn else 0
        return chunk.data[torn:].decode(errors="replace")

    def position(self, task: TaskRecord) -> int | None:
        """Return how many tasks are to start before this one, and one; None: it has."""
        if not task.is_queued or task.finished is not None:
            return None
        line = self._store.queue(task.host, task.kind)
        return line.index(task.task_id) + 1 if task.task_id in line else None

    def output_facts(self, task: TaskRecord, stream: str = STDOUT) -> dict[str, int]:
        """Return how much a task has written so far, and how much is not kept.

        Where its output is away, what the record has: all else of it can be told.
        """
        if task.finished is None:
            with suppress(StorageUnavailable):
                if output := self._outputs.open(task.task_id, stream):
                    with output:
                        return output.facts()
        return _facts(task, stream)

    def cancel(self, task: TaskRecord) -> None:
        """Have a task ended and wait for that; one that has ended is left as it is.

        Raises NotEndedYet where that takes longer than it may.
        """
        if task.finished is not None:
            return
        self._backend.cancel(task.task_id)
        deadline = time.monotonic() + self._cancel_seconds
        while time.monotonic() < deadline:
            row = self._store.find(task.task_id)
            if row is None or self._backend.refresh(TaskRecord.from_row(row)).finished:
                self._outputs.tell(task.task_id)  # one that never ran told nobody
                return
            time.sleep(LOOK_SECONDS)
        raise NotEndedYet

    def read(
        self,
        task: TaskRecord,
        *,
        stream: str = STDOUT,
        offset: int,
        limit: int,
        whole_characters: bool,
    ) -> OutputPart:
        """Return up to `limit` bytes of a task's output from `offset` on.

        With `whole_characters` no UTF-8 character is torn at the end, also if that
        takes a few bytes more than `limit`; one that is not written to its end yet is
        left for the next read. Raises InvalidInput for an offset beyond the end.
        """
        # The record was read before the log is: finished means that all is written.
        finished = task.finished is not None
        reader = reader_of(self._outputs, task, stream)
        if reader is None:
            if not finished and _has(task, stream):
                # It was removed or damaged; how much was written, the end will tell.
                return OutputPart(offset, b"", 0, eof=False)
            end = _facts(task, stream)["end_offset"]
            _check_offset(offset, end)
            return OutputPart(offset, b"", end - offset, eof=finished)
        with reader:
            end = reader.end_offset()  # read first: the output may grow meanwhile
            if offset > end and not finished and not reader.knows_end():
                return OutputPart(offset, b"", 0, eof=False)
            _check_offset(offset, end)
            margin_bytes = _MARGIN_BYTES if whole_characters else 0
            chunk = reader.read_until_gap(offset, limit + margin_bytes)
            if not chunk.data and offset < end:  # the file was cut
                return OutputPart(offset, b"", end - offset, eof=finished)
            if whole_characters:
                chunk = _whole(chunk, offset, limit, end=None if finished else end)
            at_end = chunk.start + len(chunk.data) == end
            dropped_bytes = chunk.start - offset
            return OutputPart(
                offset, chunk.data, dropped_bytes, eof=finished and at_end
            )


def _has(task: TaskRecord, stream: str) -> bool:
    return stream == STDOUT or task.stderr_end_offset is not None


def _facts(task: TaskRecord, stream: str) -> dict[str, int]:
    if stream == STDOUT:
        return {"end_offset": task.end_offset, "dropped_bytes": task.dropped_bytes}
    return {
        "end_offset": task.stderr_end_offset or 0,
        "dropped_bytes": task.stderr_dropped_bytes or 0,
    }


def _check_offset(offset: int, end: int) -> None:
    if offset > end:
        fault = f"is beyond the end of the output, which is at {end}"
        raise InvalidInput([Fault("offset", fault)])


def _whole(chunk: Chunk, asked_offset: int, limit: int, *, end: int | None) -> Chunk:
    """Return up to `limit` bytes of a chunk without a character torn at either end.

    `end` is where the output ended before the chunk was read, None where it is whole.
    """
    start, data = chunk.start, chunk.data
    if start > asked_offset:  # a gap ends anywhere
        torn = continuation_bytes(data)
        start, data = start + torn, data[torn:]
    part = data[:limit]
    if whole := part[: len(part) - torn_bytes(part)]:
        return Chunk(start, whole)
    # All of it is the front of one character, which is given whole, or held back
    # while it may still be written to its end.
    first = data[: character_bytes(data)]
    more_may_come = end is not None and start + len(first) >= end
    return Chunk(start, b"" if torn_bytes(first) and more_may_come else first)
