"""Runs with a process of their own: handed over, found again, their ends read.

That process, :mod:`app.tasks.supervisor`, has these files in a folder, by its task:

    TASK_ID.order   what is to be run; removed by the process before it starts that
    TASK_ID.new     space for the end
    TASK_ID.group   the path of the run's control group, where it has one
    TASK_ID.end     what became of the run
"""

import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import structlog

from app.errors import StorageUnavailable
from app.processes.cgroup import ControlGroup
from app.processes.command import Command
from app.storage.task_store import TaskStore

from .command_job import MARK, told_its_task
from .job import end_of_task, state_of_end
from .order import Order
from .output_log import TaskOutput
from .record import TaskRecord
from .run_process import RunProcess
from .states import State
from .worker import Worker
from .written_command import written_command

# More than an end is ever long.
_END_BYTES = 8192
# What is read of an end; the process may be of another version than this.
_KNOWN = {field.name for field in fields(TaskRecord)}
_GROUP = ".group"
_SUFFIXES = (".order", ".new", _GROUP, ".end")

log = structlog.get_logger(__name__)


class DetachedRuns:
    """What this service knows of them. `ended` is told each whose end it has written.

    The processes that were started here are children of this one: of these it sees the
    ends at once, of others when somebody looks.
    """

    def __init__(self, folder: Path, *, store: TaskStore, grace_seconds: float) -> None:
        self._folder = folder
        self._store = store
        self._grace_seconds = grace_seconds
        self.ended: Callable[[TaskRecord], object] = lambda _task: None
        self._lock = threading.Lock()  # guards all below
        self._children: dict[str, RunProcess] = {}
        self._spare: RunProcess | None = None  # has no task yet
        self._closed = False

    @property
    def has_children(self) -> bool:
        """Whether there are any that were started here."""
        return bool(self._children)

    def prepare(self, order: Order, task: TaskRecord, paths: Sequence[Path]) -> None:
        """Write down what is to be run, and where its output goes.

        Raises StorageUnavailable where there is no space for that, or for its end.
        """
        document = {
            "command": written_command(
                _in_its_folder(told_its_task(order.command, task))
            ),
            "outputs": [str(path.absolute()) for path in paths],
            "mark": f"{MARK}={task.task_id}",
            "grace_seconds": self._grace_seconds,
            "ends_on_overflow": order.ends_on_overflow,
        }
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            _write(self._file(task.task_id, ".new"), b"", space=_END_BYTES)
            _write(self._file(task.task_id, ".order"), json.dumps(document).encode())
        except OSError as error:
            self.forget(task.task_id)
            raise StorageUnavailable from error

    def hand_over(self, task_id: str, output: TaskOutput) -> dict[str, Any] | None:
        """Start the process of a run and leave the run to it; return its end otherwise.

        It begins once the records say that it is the one that runs the task.
        """
        try:
            process = self._ready_for(task_id)
            self._let_begin(task_id, process)
        except (StorageUnavailable, OSError) as error:
            return _not_started(str(error.__cause__ or error))
        with self._lock:
            self._children[task_id] = process
        output.leave()
        self._keep_spare()
        # Whatever goes wrong here, the run is not ours; who sweeps up looks as well.
        with suppress(StorageUnavailable, OSError):
            self.cancel(task_id)  # where that was asked for before it could be told
        return None

    def cancel(self, task_id: str) -> None:
        """Tell the process of a run to end that, if there is one and it is to."""
        if row := self._store.find(task_id):
            self.tell_cancelled(TaskRecord.from_row(row))

    def tell_cancelled(self, task: TaskRecord) -> None:
        """Tell the process of a run that this was cancelled, if so it is.

        A service that died, or lost sight of the records, could not say it.
        """
        if task.detached and task.cancel_requested and task.state == State.STARTED:
            Worker.parse(task.worker).send(signal.SIGUSR1)

    def settle(self, task: TaskRecord) -> TaskRecord:
        """Write down the end of a run if there is one; return the task as it is now."""
        end = self._end(task.task_id)
        if end is None:
            return task
        state = state_of_end(end["reason"], end.get("returncode"))
        if self._store.finish(task.task_id, state=state, **end):
            self.ended(replace(task, state=state, **end))
        self.forget(task.task_id)
        row = self._store.find(task.task_id)
        return task if row is None else TaskRecord.from_row(row)

    def reap(self) -> None:
        """Settle the runs whose processes, started here, have ended."""
        with self._lock:
            gone = [name for name, child in self._children.items() if child.has_ended]
            for task_id in gone:
                del self._children[task_id]
        for task_id in gone:
            if row := self._store.find(task_id):
                self.settle(TaskRecord.from_row(row))

    def kill(self, task_id: str) -> None:
        """Kill what is in the control group of a run whose process is no more."""
        if group := self._group(task_id):
            group.kill()

    def forget(self, task_id: str) -> None:
        """Remove the files of a run, and its control group.

        Where somebody is still about to leave that, its path is kept for another time.
        """
        group = self._group(task_id)
        is_gone = group is None or group.dissolve()
        for suffix in _SUFFIXES:
            if is_gone or suffix != _GROUP:
                self._file(task_id, suffix).unlink(missing_ok=True)

    def task_ids(self, *, older_than_seconds: float) -> set[str]:
        """Return the tasks that have had files here for so long."""
        before = time.time() - older_than_seconds
        with suppress(FileNotFoundError):
            paths = self._folder.iterdir()
            return {path.stem for path in paths if _modified(path) < before}
        return set()

    def close(self) -> None:
        """Let them go on without this process."""
        with self._lock:
            self._closed = True
            spare, self._spare = self._spare, None
            for child in self._children.values():
                child.leave()
            self._children.clear()
        if spare is not None:
            spare.end()

    def _ready_for(self, task_id: str) -> RunProcess:
        """Return a process that is ready to run a task; raise OSError.

        A spare is: to start Python takes longer than all else.
        """
        with self._lock:
            spare, self._spare = self._spare, None
        if spare is not None:
            with suppress(OSError):  # somebody has killed it
                return _taking(spare, task_id)
        return _taking(RunProcess(self._folder), task_id)

    def _let_begin(self, task_id: str, process: RunProcess) -> None:
        """Have a run begin, once the records say so.

        Raises StorageUnavailable, or OSError where the task has ended meanwhile.
        """
        with ExitStack() as failed:
            failed.callback(process.end)
            if not self._store.start(task_id, **_begun(process)):
                raise ChildProcessError("The task has ended already.")
            process.begin()
            failed.pop_all()

    def _keep_spare(self) -> None:
        """Have a process ready for the next run, once there has been one."""
        with self._lock, suppress(OSError):
            if self._spare is None and not self._closed:
                self._spare = RunProcess(self._folder)

    def _end(self, task_id: str) -> dict[str, Any] | None:
        """Return what became of a run, None where it goes on."""
        try:
            end = json.loads(self._file(task_id, ".end").read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:  # the host has crashed meanwhile
            log.error("detached.end_damaged", task_id=task_id)  # noqa: TRY400
            return None
        return {name: value for name, value in end.items() if name in _KNOWN}

    def _group(self, task_id: str) -> ControlGroup | None:
        with suppress(FileNotFoundError, UnicodeDecodeError):  # or the host has crashed
            return ControlGroup.find(self._file(task_id, _GROUP).read_text())
        return None

    def _file(self, task_id: str, suffix: str) -> Path:
        return self._folder / f"{task_id}{suffix}"


def _in_its_folder(command: Command) -> Command:
    """Return a command that names its folder: its process leaves the service's."""
    return replace(command, cwd=str(Path(command.cwd or ".").absolute()))


def _taking(process: RunProcess, task_id: str) -> RunProcess:
    """Return a process that is ready to run a task, or end it and raise OSError."""
    with ExitStack() as failed:
        failed.callback(process.end)
        process.take(task_id)
        failed.pop_all()
    return process


def _begun(process: RunProcess) -> dict[str, Any]:
    """Return what the records say of a run that is left to a process."""
    worker = str(Worker.of(process.pid))
    return {"worker": worker, "state": State.STARTED, "started": time.time()}


def _not_started(detail: str) -> dict[str, Any]:
    return end_of_task(State.FAILURE, "spawn_failed", detail=detail)


def _modified(path: Path) -> float:
    """Return when a file was written to; just now if it has just been removed."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return math.inf


def _write(path: Path, data: bytes, *, space: int = 0) -> None:
    """Write a new file, for which at least `space` bytes are taken."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with open(path, "wb", opener=lambda name, _: os.open(name, flags, 0o600)) as file:
        if space:
            os.posix_fallocate(file.fileno(), 0, space)
        file.write(data)
