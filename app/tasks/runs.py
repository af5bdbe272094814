"""Runs by their callers: one command at a time for each, started and polled."""

from dataclasses import dataclass, replace

from app.storage.task_store import TaskStore

from .backend import TaskBackend
from .catalogue import Catalogue
from .lines import Lines, newest_lines
from .order import ANYWHERE, Origin, Place, Wish
from .outputs import Outputs, reader_of
from .patience import Patience
from .record import TaskRecord


@dataclass(frozen=True)
class Poll:
    """What a poll found: no task, or one with the lines not given before.

    `lines` is None once the end has been told.
    """

    task: TaskRecord | None
    lines: Lines | None

    @property
    def finished(self) -> bool:
        """Whether nothing runs: the newest run has ended, or there never was one."""
        return self.task is None or self.task.finished is not None


class Runs:
    """Starts a caller's command and tells the caller what came of it."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        backend: TaskBackend,
        store: TaskStore,
        outputs: Outputs,
        line_count: int,
    ) -> None:
        self._catalogue = catalogue
        self._backend = backend
        self._store = store
        self._outputs = outputs
        self._line_count = line_count

    def start(self, cmd: str, origin: Origin) -> TaskRecord:
        """Start what `cmd` stands for; see TaskBackend.submit.

        Also raises CommandNotAllowed and InvalidInput.
        """
        order = self._catalogue.order_of_cmd(cmd, user=origin.owner)
        return self._backend.submit(order, origin)

    def grant(
        self,
        wish: Wish,
        origin: Origin,
        *,
        place: Place = ANYWHERE,
        patience: Patience | None = None,
    ) -> TaskRecord:
        """Start what a wish asks for; raises as :meth:`start`."""
        order = self._catalogue.order(wish, user=origin.owner)
        if wish.notify is not None:
            order = replace(order, notify=(wish.notify, *order.notify))
        return self._backend.submit(order, origin, place=place, patience=patience)

    def is_used(self, uuid: str) -> bool:
        """Return whether a signed uuid, by its digest, has started a command."""
        return self._store.is_used(uuid)

    def poll(self, slot: str, *, take: bool = True) -> Poll:
        """Return the newest lines of a slot's newest run that no poll has been given.

        With `take` they count as given from now on, for polls in every worker.
        """
        while True:
            row = self._store.find_newest(slot)
            if row is None:
                return Poll(None, None)
            task = self._backend.refresh(TaskRecord.from_row(row))
            if task.polled_end:
                return Poll(task, None)
            lines = self._new_lines(task)
            if not take or self._take(task, lines):
                return Poll(task, lines)
            # Another poll was first: what it was given, this one is not.

    def _new_lines(self, task: TaskRecord) -> Lines:
        reader = reader_of(self._outputs, task)
        if reader is None:
            return Lines("", 0, task.polled_offset)
        with reader:
            return newest_lines(
                reader,
                task.polled_offset,
                count=self._line_count,
                # The record was read first: if it has an end, the log has all.
                finished=task.finished is not None,
            )

    def _take(self, task: TaskRecord, lines: Lines) -> bool:
        is_end = task.finished is not None
        if lines.next_offset == task.polled_offset and not is_end:
            return True
        return self._store.take_output(
            task.task_id,
            from_offset=task.polled_offset,
            to_offset=lines.next_offset,
            is_end=is_end,
        )
