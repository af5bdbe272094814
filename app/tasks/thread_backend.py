"""Runs each command in a thread of the worker that accepted it."""

import threading
import time
import uuid
from collections.abc import Mapping
from contextvars import copy_context
from dataclasses import asdict
from typing import Any

import structlog

from app.errors import CapacityExceeded, ShuttingDown, StorageUnavailable
from app.processes.child import Child, Ending
from app.processes.command import Command
from app.storage.task_store import TaskStore

from .output import OutputFolder, OutputLog
from .record import TaskRecord
from .states import State
from .worker import Worker

#: The name in a command's environment by which all that it started is found.
MARK = "BELLHOP_TASK_ID"

# Between tries to write a run's end down while the records are away.
RETRY_SECONDS = 0.5

log = structlog.get_logger(__name__)


class ThreadBackend:
    """A TaskBackend with one thread for each command that runs, and no other."""

    def __init__(
        self,
        *,
        store: TaskStore,
        outputs: OutputFolder,
        host: str,
        max_running: int,
        grace_seconds: float,
    ) -> None:
        self._store = store
        self._outputs = outputs
        self._host = host
        self._max_running = max_running
        self._grace_seconds = grace_seconds
        self._given_up = threading.Event()
        self._lock = threading.Lock()  # guards _closing and _runs
        self._closing = False
        self._runs: dict[threading.Thread, Child] = {}

    def __repr__(self) -> str:
        return f"<ThreadBackend running={len(self._runs)}>"

    def submit(
        self, command: Command, *, cmd: str, caller: str, request_id: str | None
    ) -> TaskRecord:
        """Start a command in its caller's slot; see TaskBackend."""
        record = TaskRecord(
            task_id=str(uuid.uuid4()),
            kind="exec",
            state=State.QUEUED,
            owner=caller,
            slot=caller,
            host=self._host,
            worker=str(Worker.current()),
            cmd=cmd,
            request_id=request_id,
            created=time.time(),
        )
        output = self._outputs.create(record.task_id)
        try:
            self._store.add(asdict(record), max_unfinished=self._max_running)
        except BaseException:
            self._discard(record.task_id, output)
            raise
        self._launch(record.task_id, _told_its_task(command, record), output)
        return record

    def close(self, *, seconds: float) -> list[str]:
        """End what runs here, within the time; return the runs that would not."""
        deadline = time.monotonic() + seconds
        with self._lock:
            self._closing = True
            runs = dict(self._runs)
        for child in runs.values():
            child.stop("shutdown")
        for thread in runs:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._given_up.set()
        return [thread.name for thread in runs if thread.is_alive()]

    def _launch(self, task_id: str, command: Command, output: OutputLog) -> None:
        """Run an admitted task in a thread of its own."""
        child = Child(
            command, mark=f"{MARK}={task_id}", grace_seconds=self._grace_seconds
        )
        thread = threading.Thread(
            # In a copy of the context, so that its log lines tell the request.
            target=copy_context().run,
            args=(self._run, task_id, child, output),
            name=f"run-{task_id}",
            daemon=True,
        )
        try:
            self._begin(thread, child)
        except (RuntimeError, ShuttingDown) as error:
            self._discard(task_id, output)
            self._store.remove([task_id])
            if isinstance(error, RuntimeError):  # the system gives no more threads
                raise CapacityExceeded(retry_after_seconds=1) from error
            raise

    def _begin(self, thread: threading.Thread, child: Child) -> None:
        with self._lock:
            if self._closing:
                raise ShuttingDown
            thread.start()
            self._runs[thread] = child

    def _run(self, task_id: str, child: Child, output: OutputLog) -> None:
        end = _end(State.FAILURE, "internal_error")
        try:
            end = self._follow(task_id, child, output)
        except Exception:
            log.exception("run.failed", task_id=task_id)
        output.close()
        self._write_end(task_id, end | output.facts())
        with self._lock:
            del self._runs[threading.current_thread()]

    def _follow(self, task_id: str, child: Child, output: OutputLog) -> dict[str, Any]:
        """Run the command to its end; return what the record says of that."""
        try:
            child.start()
        except OSError as error:
            log.warning("process.not_started", task_id=task_id, error=str(error))
            return _end(State.FAILURE, "spawn_failed", detail=str(error))
        log.info("process.started", task_id=task_id, child=repr(child))
        try:
            self._store.start(task_id, state=State.STARTED, started=time.time())
        except StorageUnavailable:
            log.exception("task.start_not_written", task_id=task_id)
        ending = child.run(output.append)
        log.info("process.ended", task_id=task_id, **asdict(ending))
        return _end(_state(ending), **asdict(ending))

    def _write_end(self, task_id: str, end: Mapping[str, Any]) -> None:
        """Write a task's end, again and again until it is written."""
        while True:
            try:
                self._store.finish(task_id, **end)
            except StorageUnavailable as error:
                cause = str(error.__cause__)
                log.warning("task.end_not_written", task_id=task_id, error=cause, **end)
            else:
                return
            if self._given_up.wait(RETRY_SECONDS):
                return

    def _discard(self, task_id: str, output: OutputLog) -> None:
        output.close()
        self._outputs.remove(task_id)


def _told_its_task(command: Command, record: TaskRecord) -> Command:
    names = {MARK: record.task_id}
    if record.request_id:
        names["BELLHOP_REQUEST_ID"] = record.request_id
    return command.with_environment(**names)


def _state(ending: Ending) -> State:
    if ending.reason in ("cancelled", "shutdown"):
        return State.REVOKED
    succeeded = ending.reason == "exit" and ending.returncode == 0
    return State.SUCCESS if succeeded else State.FAILURE


def _end(state: State, reason: str, **facts: Any) -> dict[str, Any]:
    return {"state": state, "reason": reason, "finished": time.time(), **facts}
