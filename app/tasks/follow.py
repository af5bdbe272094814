"""Waits for what a task writes, for the worker that runs it or for any other."""

import time
from collections.abc import Callable, Iterator

from app.errors import ShuttingDown
from app.storage.task_store import Viewer

from .lookup import Lookup, OutputPart
from .notices import Notices
from .output import OutputFolder
from .record import TaskRecord

# The most that is passed on at once.
PART_BYTES = 256 * 1024
# How often to look without being told: a worker that died tells nobody.
LOOK_SECONDS = 1.0


class Follower:
    """Reads outputs as they grow.

    The record is read again while waiting, as the viewer may see it: whoever may no
    longer is left with TaskNotFound.
    """

    def __init__(
        self, *, lookup: Lookup, outputs: OutputFolder, notices: Notices
    ) -> None:
        self._lookup = lookup
        self._outputs = outputs
        self._notices = notices
        #: Whether this worker is about to end, for which nobody is to be waited for.
        self.stopping: Callable[[], bool] = lambda: False

    def read(
        self,
        task: TaskRecord,
        viewer: Viewer,
        *,
        stream: str,
        offset: int,
        limit: int,
        whole_characters: bool,
        wait_seconds: float,
    ) -> tuple[TaskRecord, OutputPart]:
        """Return what Lookup.read does, once there is something or the time is over."""
        deadline = time.monotonic() + wait_seconds
        with self._notices.of(self._outputs.path(task.task_id, stream)) as notice:
            while True:
                part = self._lookup.read(
                    task,
                    stream=stream,
                    offset=offset,
                    limit=limit,
                    whole_characters=whole_characters,
                )
                left = deadline - time.monotonic()
                over = task.finished is not None or left <= 0 or self.stopping()
                if over or part.next_offset > offset:
                    return task, part
                notice.wait(min(left, LOOK_SECONDS))
                task = self._lookup.get(task.task_id, viewer)

    def follow(
        self,
        task: TaskRecord,
        viewer: Viewer,
        *,
        stream: str,
        offset: int,
        whole_characters: bool,
        idle_seconds: float,
    ) -> Iterator[OutputPart | None]:
        """Give the output from `offset` on as it comes, until the task has finished.

        None says that nothing came for `idle_seconds`. Raises ShuttingDown where this
        worker ends before the task does: another one goes on from the same offset.
        """
        with self._notices.of(self._outputs.path(task.task_id, stream)) as notice:
            spoken = time.monotonic()
            while True:
                part = self._lookup.read(
                    task,
                    stream=stream,
                    offset=offset,
                    limit=PART_BYTES,
                    whole_characters=whole_characters,
                )
                if part.next_offset > offset:
                    offset, spoken = part.next_offset, time.monotonic()
                    yield part
                    continue
                if task.finished is not None:
                    return
                task = self._lookup.get(task.task_id, viewer)
                if task.finished is not None:
                    continue  # what it wrote last may not have been read
                if self.stopping():
                    raise ShuttingDown
                silent = time.monotonic() - spoken
                if silent >= idle_seconds:
                    spoken = time.monotonic()
                    yield None
                notice.wait(min(LOOK_SECONDS, max(0.0, idle_seconds - silent)))
