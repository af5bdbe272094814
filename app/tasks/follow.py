"""Waits for what a task writes, for the worker that runs it or for any other."""

import time
from collections.abc import Callable, Iterator

from app.errors import InvalidInput, ShuttingDown, StorageUnavailable
from app.storage.ownership import Viewer

from .lookup import Lookup, OutputPart
from .notices import Notice
from .output import STDERR, STDOUT
from .outputs import Outputs, Watching
from .patience import Patience
from .record import TaskRecord

# The most that is passed on at once.
PART_BYTES = 256 * 1024
# How often to look without being told: a worker that died tells nobody. As often the
# record is looked at while more and more comes.
LOOK_SECONDS = 1.0
# How long who follows waits for outputs that cannot be read: a server of them is
# restarted in less, and who follows need not know.
AWAY_SECONDS = 10.0

#: Tells as whom somebody may see a task, anew each time: it may change while waiting.
Viewing = Callable[[], Viewer]


class Follower:
    """Reads outputs as they grow.

    The record is read again while waiting, as the viewer may see it then: whoever may
    no longer is left with TaskNotFound, or with what `viewer` raises.
    """

    def __init__(self, *, lookup: Lookup, outputs: Outputs, notices: Watching) -> None:
        self._lookup = lookup
        self._outputs = outputs
        self._notices = notices
        #: Whether this worker is about to end, for which nobody is to be waited for.
        self.stopping: Callable[[], bool] = lambda: False

    def wait_for_end(
        self, task: TaskRecord, viewer: Viewing, patience: Patience
    ) -> TaskRecord:
        """Return a task as it is at its end, or once nobody waits for that any more."""
        with self._notices.of(self._watched(task, STDOUT)) as notice:
            if task.finished is None:
                notice.wait_to_be_heard(min(patience.seconds(), LOOK_SECONDS))
            while True:
                task = self._lookup.get(task.task_id, viewer())
                left = patience.seconds()
                if task.finished is not None or not left:
                    return task
                notice.wait(min(left, LOOK_SECONDS))

    def read(
        self,
        task: TaskRecord,
        viewer: Viewing,
        *,
        stream: str,
        offset: int,
        limit: int,
        whole_characters: bool,
        wait_seconds: float,
    ) -> tuple[TaskRecord, OutputPart]:
        """Return what Lookup.read does, once there is something or the time is over."""
        deadline = time.monotonic() + wait_seconds
        with self._notices.of(self._watched(task, stream)) as notice:
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
                # It may have ended before the notice was there.
                task = self._lookup.get(task.task_id, viewer())
                if task.finished is None:
                    notice.wait(min(left, LOOK_SECONDS))

    def follow(
        self,
        task: TaskRecord,
        viewer: Viewing,
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
        with self._notices.of(self._watched(task, stream)) as notice:
            spoken = looked = time.monotonic()
            while True:
                part = self._read_on(notice, task, stream, offset, whole_characters)
                came = part.next_offset > offset
                if came:
                    offset, spoken = part.next_offset, time.monotonic()
                    yield part
                    if time.monotonic() - looked < LOOK_SECONDS:
                        continue
                elif task.finished is not None:
                    return
                task = self._lookup.get(task.task_id, viewer())
                looked = time.monotonic()
                if self.stopping() and (came or task.finished is None):
                    raise ShuttingDown
                if came or task.finished is not None:
                    continue  # what it wrote last may not have been read
                if time.monotonic() - spoken >= idle_seconds:
                    spoken = time.monotonic()
                    yield None
                silent = time.monotonic() - spoken
                notice.wait(min(LOOK_SECONDS, max(0.0, idle_seconds - silent)))

    def _read_on(
        self,
        notice: Notice,
        task: TaskRecord,
        stream: str,
        offset: int,
        whole_characters: bool,
    ) -> OutputPart:
        """Return what there is now; where outputs are away, wait a while for them."""
        over = time.monotonic() + AWAY_SECONDS
        while True:
            try:
                return self._lookup.read(
                    task,
                    stream=stream,
                    offset=offset,
                    limit=PART_BYTES,
                    whole_characters=whole_characters,
                )
            except InvalidInput:  # it was there: both output and record have lost it
                return OutputPart(offset, b"", 0, eof=task.finished is not None)
            except StorageUnavailable:
                if self.stopping() or time.monotonic() >= over:
                    raise
            notice.wait(LOOK_SECONDS)

    def _watched(self, task: TaskRecord, stream: str) -> str:
        """Return what is told of: an output that is not there would never be."""
        is_apart = stream == STDERR and task.stderr_end_offset is not None
        return self._outputs.watched(task.task_id, STDERR if is_apart else STDOUT)
