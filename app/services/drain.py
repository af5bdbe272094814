"""Whether this host is being drained: it takes no new runs, and those it has go on."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from app.errors import Draining, StorageUnavailable
from app.storage.task_store import TaskStore
from app.tasks.record import TaskRecord
from app.tasks.worker import Worker
from app.turn import take_turn


class Drain:
    """A file says so: all workers see it at once, and it outlasts a restart.

    `sweeper_lock` is held by one of them for as long as the service is up. Other hosts
    know of it after `told_seconds`.
    """

    def __init__(
        self,
        path: Path,
        *,
        tasks: TaskStore,
        host: str,
        sweeper_lock: Path,
        told_seconds: float = 0.0,
    ) -> None:
        self.host = host
        self.told_seconds = told_seconds
        self._path = path
        self._tasks = tasks
        self._sweeper_lock = sweeper_lock
        #: Returns a task as it is now, where its end is not in the records yet.
        self.refresh: Callable[[TaskRecord], TaskRecord] = lambda task: task

    def begin(self) -> None:
        """Take no new runs from now on; raise StorageUnavailable where that fails."""
        try:
            self._path.touch(mode=0o600)
        except OSError as error:
            raise StorageUnavailable(f"{self._path}: {error.strerror}") from error

    def end(self) -> bool:
        """Take new runs again; return whether there was anything to end."""
        try:
            self._path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StorageUnavailable(f"{self._path}: {error.strerror}") from error
        return True

    def is_on(self) -> bool:
        """Return whether new runs are refused."""
        return self._path.exists()

    def check(self) -> None:
        """Raise Draining where new runs are refused."""
        if self.is_on():
            raise Draining

    def unfinished(self) -> Sequence[TaskRecord]:
        """Return the tasks of this host that run or wait, the oldest first."""
        rows = sorted(self._tasks.unfinished(self.host), key=lambda row: row["number"])
        tasks = [self.refresh(TaskRecord.from_row(row)) for row in rows]
        return [task for task in tasks if task.finished is None]

    def find(self, task_id: str) -> TaskRecord | None:
        """Return a task as it is now; None: it could not be begun, or is forgotten."""
        row = self._tasks.find(task_id)
        return None if row is None else TaskRecord.from_row(row)

    def is_abandoned(self, task: TaskRecord) -> bool:
        """Return whether nobody runs a task, and no service is up to say that.

        Its worker is looked for last: it may be in a container of its own.
        """
        if self._is_served() or not task.worker:  # or nobody has begun it yet
            return False
        return not Worker.parse(task.worker).is_alive()

    def _is_served(self) -> bool:
        with ExitStack() as held:
            return not take_turn(self._sweeper_lock, held)
