"""What keeps the outputs of tasks, wherever that is.

Files of this host do (:mod:`app.tasks.output`), and streams of Redis or Valkey, which
other hosts read as well (:mod:`app.tasks.streams`).
"""

from contextlib import AbstractContextManager
from typing import Any, Protocol

from .notices import Notice
from .output import STDOUT
from .output_log import LogReader, LogWriter, ShortOutput
from .record import TaskRecord


class Outputs(Protocol):
    """Makes outputs, finds them for readers and removes them.

    All but `tell` and `close` raise StorageUnavailable where they cannot be reached.
    """

    def create(
        self, task_id: str, stream: str = STDOUT, *, takes_space: bool = True
    ) -> LogWriter:
        """Return a new output, for which space is taken if it is to be used."""
        ...

    def create_unnamed(self, task_id: str) -> LogWriter | None:
        """Return an output that nobody can read before it is given a task's name.

        None where there are no such ones, or where nothing would be gained.
        """
        ...

    def name(self, output: Any, task_id: str) -> None:
        """Let everybody read an output that was created without a name."""
        ...

    def give_back(self, output: Any) -> None:
        """Be done with an output that nobody reads here: a record has it, or no task.

        Who follows it is told.
        """
        ...

    def open(
        self, task_id: str, stream: str = STDOUT, *, end_offset: int = 0
    ) -> LogReader | None:
        """Return a reader of a task's output, None where none is kept.

        `end_offset` is where it ends as the record has it, once the task has finished.
        """
        ...

    def make_watched(self, task_id: str) -> None:
        """Let others wait for a task that writes nothing itself."""
        ...

    def watched(self, task_id: str, stream: str = STDOUT) -> str:
        """Return what to wait for changes of with what watches these outputs."""
        ...

    def tell(self, task_id: str) -> None:
        """Have those look who wait for a task's output: its record has changed."""
        ...

    def left_by(self, task_id: str) -> dict[str, int]:
        """Return what a record is to say of the outputs that a dead writer left."""
        ...

    def remove(self, *task_ids: str) -> None:
        """Remove tasks' outputs if there are any."""
        ...

    def task_ids(self, *, older_than_seconds: float) -> list[str]:
        """Return tasks that have had an output for so long, of which to forget some."""
        ...

    def check(self) -> None:
        """Raise StorageUnavailable where the next run could not write."""
        ...

    def close(self) -> None:
        """Close what is kept for the next tasks, and end what works by itself."""
        ...


def reader_of(
    outputs: Outputs, task: TaskRecord, stream: str = STDOUT
) -> LogReader | None:
    """Return what reads a task's output, from its record or from where it is kept.

    None where none is kept. Raises StorageUnavailable.
    """
    if stream == STDOUT and task.output is not None:
        return ShortOutput(task.output)
    end = task.end_offset if stream == STDOUT else task.stderr_end_offset
    known = 0 if task.finished is None else end or 0
    return outputs.open(task.task_id, stream, end_offset=known)


class Watching(Protocol):
    """Tells those who wait for an output that it has changed."""

    def of(self, watched: str, /) -> AbstractContextManager[Notice]:
        """Give what waits for changes of it, from now on."""
        ...

    def close(self) -> None:
        """Tell nobody any more."""
        ...
