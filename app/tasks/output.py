"""The bounded logs of tasks' outputs: bytes with absolute offsets, in one file each.

How a log stands in its file is in :mod:`app.tasks.output_log`; lines and text are in
:mod:`app.tasks.lines`.
"""

import errno
import math
import os
import time
from contextlib import suppress
from pathlib import Path
from queue import Empty, Full, LifoQueue

import structlog

from app.errors import StorageUnavailable

from .output_log import (
    OutputLog,
    OutputReader,
    TaskOutput,
    is_log,
    link,
    space_bytes,
)

#: The outputs that a task can have; the first one it always has.
STREAMS = STDOUT, STDERR = ("stdout", "stderr")

# Files without a name that a worker keeps for the next ones, each with its space.
_SPARE_FILES = 4
# What a system says that has no such files.
_NO_UNNAMED = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)

log = structlog.get_logger(__name__)


class OutputFolder:
    """The folder with one output file for every task that is kept."""

    def __init__(self, path: Path, *, head_bytes: int, tail_bytes: int) -> None:
        self._path = path
        self._head_bytes = head_bytes
        self._tail_bytes = tail_bytes
        self._spare = LifoQueue[OutputLog](_SPARE_FILES)
        self._can_name: bool | None = None  # what had no name; not known yet

    @property
    def log_bytes(self) -> int:
        """How much space a log takes."""
        return space_bytes(self._head_bytes, self._tail_bytes)

    def path(self, task_id: str, stream: str = STDOUT) -> Path:
        """Return where an output is kept."""
        suffix = "" if stream == STDOUT else f".{stream}"
        return self._path / f"{task_id}{suffix}"

    def create(
        self, task_id: str, stream: str = STDOUT, *, takes_space: bool = True
    ) -> OutputLog:
        """Return a new log whose whole space is taken already, if it is to be used.

        So a disk that fills up later loses no output. Raises StorageUnavailable
        where there is no space, or no folder.
        """
        path = self.path(task_id, stream)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                if takes_space:
                    os.posix_fallocate(descriptor, 0, self.log_bytes)
                return self._begin(descriptor)
            except OSError:
                os.close(descriptor)
                path.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise StorageUnavailable from error

    def create_unnamed(self, task_id: str) -> OutputLog | None:  # noqa: ARG002 - any's
        """Return a log as `create` does, but without a name, or None.

        It can be given one, and be given back for another task: to make a file, give it
        its space and cut it to its length takes longer than all else about a command.
        None where the system has no files without names. Raises StorageUnavailable.
        """
        with suppress(Empty):
            return self._spare.get_nowait()
        try:
            if not self._names_later():
                return None
            descriptor = os.open(self._path, os.O_RDWR | os.O_TMPFILE, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self.log_bytes)
                return self._begin(descriptor, is_named=False)
            except OSError:
                os.close(descriptor)
                raise
        except OSError as error:
            raise StorageUnavailable from error

    def name(self, output: OutputLog, task_id: str) -> None:
        """Make a log without a name that of a task, for all to read."""
        try:
            output.link(self.path(task_id))
        except OSError:  # the command must not be stopped by that
            log.exception("output.not_named", task_id=task_id)

    def give_back(self, output: OutputLog) -> None:
        """Take a log back that has no name, empty, for another task."""
        try:
            if output.clear():
                self._spare.put_nowait(output)
                return
        except Full:
            pass
        output.close()

    def close(self) -> None:
        """Close what is kept for the next tasks."""
        with suppress(Empty):
            while True:
                self._spare.get_nowait().close()

    def reopen(self, task_id: str, stream: str = STDOUT) -> OutputLog | None:
        """Return the log that a dead writer left, None where none is kept."""
        descriptor = self._open(task_id, stream, os.O_RDWR)
        if descriptor is None:
            return None
        return OutputLog.resume(descriptor, report=log.exception)

    def reopen_all(self, task_id: str) -> TaskOutput | None:
        """Return the logs that a dead writer left, None where there are none."""
        stdout = self.reopen(task_id)
        if stdout is None:
            return None
        return TaskOutput(stdout, self.reopen(task_id, STDERR))

    def left_by(self, task_id: str) -> dict[str, int]:
        """Return what a record is to say of the logs that a dead writer left."""
        output = self.reopen_all(task_id)
        if output is None:
            return {}
        output.close()
        return output.facts()

    def open(
        self,
        task_id: str,
        stream: str = STDOUT,
        *,
        end_offset: int = 0,  # noqa: ARG002 - the file has it itself
    ) -> OutputReader | None:
        """Return a reader of a task's log, None where none is kept."""
        descriptor = self._open(task_id, stream, os.O_RDONLY)
        return None if descriptor is None else OutputReader(descriptor)

    def make_watched(self, task_id: str) -> None:
        """Let others wait for a task that writes nothing, by a file that stays empty.

        Raises StorageUnavailable.
        """
        self.create(task_id, takes_space=False).close()

    def watched(self, task_id: str, stream: str = STDOUT) -> str:
        """Return what to wait for with Notices."""
        return str(self.path(task_id, stream))

    def tell(self, task_id: str) -> None:
        """Have those look who wait for a task's output: its record has changed."""
        for stream in STREAMS:
            with suppress(OSError):  # which is not kept, or by no one waited for
                os.utime(self.path(task_id, stream))

    def remove(self, *task_ids: str) -> None:
        """Remove tasks' logs if there are any."""
        for task_id in task_ids:
            for stream in STREAMS:
                self.path(task_id, stream).unlink(missing_ok=True)

    def task_ids(self, *, older_than_seconds: float) -> list[str]:
        """Return the tasks that have had a file here for so long."""
        before = time.time() - older_than_seconds
        try:
            with os.scandir(self._path) as entries:
                old = [entry.name for entry in entries if _modified(entry) < before]
        except OSError as error:
            raise StorageUnavailable from error
        return list({name.removesuffix(f".{STDERR}") for name in old})

    def check(self) -> None:
        """Raise StorageUnavailable where the next run would find no space."""
        name = f".check-{os.getpid()}-{os.urandom(4).hex()}"
        self.create(name).close()
        self.remove(name)

    def _begin(self, descriptor: int, *, is_named: bool = True) -> OutputLog:
        sizes = self._head_bytes, self._tail_bytes
        options = {"is_named": is_named, "report": log.exception}
        return OutputLog.begin(descriptor, *sizes, **options)

    def _names_later(self) -> bool:
        """Return whether a file can be made without a name, and be given one."""
        if self._can_name is None:
            path = self._path / f".check-{os.getpid()}-{os.urandom(4).hex()}"
            try:
                descriptor = os.open(self._path, os.O_RDWR | os.O_TMPFILE, 0o600)
            except OSError as error:
                if error.errno not in _NO_UNNAMED:
                    raise
                self._can_name = False
                return False
            try:
                link(descriptor, path)
            except OSError:
                self._can_name = False
            else:
                path.unlink()
                self._can_name = True
            finally:
                os.close(descriptor)
        return self._can_name

    def _open(self, task_id: str, stream: str, flags: int) -> int | None:
        """Return a descriptor of a task's file, None where there is none of ours.

        A crash of the host can leave a file with a damaged header: its bytes are
        lost, and the task must come to its end without them.
        """
        try:
            descriptor = os.open(self.path(task_id, stream), flags)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageUnavailable from error
        if is_log(descriptor):
            return descriptor
        os.close(descriptor)
        log.error("output.damaged", task_id=task_id)
        return None


def _modified(entry: os.DirEntry[str]) -> float:
    """Return when a file was written to; just now if it has just been removed."""
    try:
        return entry.stat().st_mtime
    except FileNotFoundError:
        return math.inf
