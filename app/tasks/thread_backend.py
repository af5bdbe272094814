"""Runs each task in a thread of the worker that accepted it."""

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextvars import copy_context
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import structlog

from app.errors import CapacityExceeded, ShuttingDown, StorageUnavailable
from app.storage.task_store import Admission, TaskStore

from .command_job import CommandJob
from .job import Job, end_of_task
from .order import Order, Origin
from .output import OutputFolder, OutputLog
from .record import TaskRecord
from .report_job import Report, ReportJob
from .states import State
from .worker import Worker

# Between tries to write a run's end down while the records are away.
RETRY_SECONDS = 0.5
# Between looks whether another worker was asked to cancel what runs here.
CANCEL_LOOK_SECONDS = 0.25

log = structlog.get_logger(__name__)


class ThreadBackend:
    """A TaskBackend with a thread for each task that runs.

    While any runs, one thread more looks for tasks that another worker was asked to
    cancel.
    """

    def __init__(
        self,
        *,
        store: TaskStore,
        outputs: OutputFolder,
        host: str,
        max_running: Mapping[str, int],
        grace_seconds: float,
    ) -> None:
        self._store = store
        self._outputs = outputs
        self._host = host
        self._max_running = max_running
        self._grace_seconds = grace_seconds
        self._given_up = threading.Event()
        self._lock = threading.Lock()  # guards _closing, _runs and _watcher
        self._closing = False
        self._runs: dict[str, tuple[threading.Thread, Job]] = {}
        self._watcher: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"<ThreadBackend running={len(self._runs)}>"

    def submit(self, order: Order, origin: Origin) -> TaskRecord:
        """Start a command, in its slot if it has one; see TaskBackend."""
        record = self._new("exec", origin)
        record = replace(record, cmd=order.cmd, command=order.name)
        job = CommandJob(
            order.command,
            record,
            grace_seconds=self._grace_seconds,
            started=partial(self._write_start, record.task_id),
        )
        return self._admit(record, job, origin, max_of_command=order.max_running)

    def submit_report(self, report: Report, origin: Origin) -> TaskRecord:
        """Start making a report; see TaskBackend."""
        record = self._new(report.kind, origin)
        record = replace(record, progress_done=0, progress_total=report.total)
        job = ReportJob(
            report,
            started=partial(self._write_start, record.task_id),
            progressed=partial(self._write_progress, record.task_id),
        )
        return self._admit(record, job, origin)

    def wait(self, task_id: str, *, seconds: float) -> None:
        """Wait for the end of a task of this worker; see TaskBackend."""
        with self._lock:
            running = self._runs.get(task_id)
        if running is not None:
            running[0].join(seconds)

    def cancel(self, task_id: str) -> None:
        """Have a task ended, whichever worker runs it; see TaskBackend."""
        self._store.request_cancel(task_id)
        self._stop_cancelled()

    def close(self, *, seconds: float) -> list[str]:
        """End what runs here, within the time; return the tasks that would not."""
        deadline = time.monotonic() + seconds
        with self._lock:
            self._closing = True
            runs, watcher = dict(self._runs), self._watcher
        for _, job in runs.values():
            job.stop("shutdown")
        for thread, _ in runs.values():
            thread.join(max(0.0, deadline - time.monotonic()))
        left = [task_id for task_id, (thread, _) in runs.items() if thread.is_alive()]
        self._given_up.set()
        if watcher is not None:
            watcher.join(max(0.0, deadline - time.monotonic()))
        return left

    def _new(self, kind: str, origin: Origin) -> TaskRecord:
        return TaskRecord(
            task_id=str(uuid.uuid4()),
            kind=kind,
            state=State.QUEUED,
            owner=origin.owner,
            slot=origin.slot,
            host=self._host,
            worker=str(Worker.current()),
            request_id=origin.request_id,
            created=time.time(),
        )

    def _admit(
        self,
        record: TaskRecord,
        job: Job,
        origin: Origin,
        *,
        max_of_command: int | None = None,
    ) -> TaskRecord:
        """Write a task down if it may run, and run it in a thread of its own."""
        admission = Admission(
            max_unfinished=self._max_running[record.kind],
            max_of_command=max_of_command,
            account=origin.account,
            uuid=origin.uuid,
        )
        output = self._outputs.create(record.task_id)
        try:
            self._store.add(asdict(record), admission)
        except BaseException:
            self._discard(record.task_id, output)
            raise
        try:
            self._begin(record.task_id, job, output)
        except (RuntimeError, ShuttingDown) as error:
            self._discard(record.task_id, output)
            self._store.remove([record.task_id])
            if isinstance(error, RuntimeError):  # the system gives no more threads
                raise CapacityExceeded(retry_after_seconds=1) from error
            raise
        return record

    def _begin(self, task_id: str, job: Job, output: OutputLog) -> None:
        thread = _thread(f"run-{task_id}", partial(self._run, task_id, job, output))
        with self._lock:
            if self._closing:
                raise ShuttingDown
            if self._watcher is None:
                watcher = threading.Thread(
                    target=self._watch, name="cancel-watch", daemon=True
                )
                watcher.start()
                self._watcher = watcher
            thread.start()
            self._runs[task_id] = (thread, job)

    def _run(self, task_id: str, job: Job, output: OutputLog) -> None:
        end = end_of_task(State.FAILURE, "internal_error")
        try:
            end = job.run(output)
        except Exception:
            log.exception("run.failed", task_id=task_id)
        output.close()
        try:
            self._write_end(task_id, end | output.facts())
        finally:
            with self._lock:
                del self._runs[task_id]

    def _watch(self) -> None:
        """Look for cancelled tasks for as long as any runs here."""
        while not self._given_up.wait(CANCEL_LOOK_SECONDS):
            with self._lock:
                if not self._runs:
                    self._watcher = None
                    return
            try:
                self._stop_cancelled()
            except Exception:  # the next look may see it
                log.exception("cancel.not_seen")

    def _stop_cancelled(self) -> None:
        with self._lock:
            runs = dict(self._runs)
        for task_id in self._store.cancelled(list(runs)):
            _, job = runs[task_id]
            job.stop("cancelled")

    def _write_start(self, task_id: str) -> None:
        try:
            self._store.start(task_id, state=State.STARTED, started=time.time())
        except Exception:  # whatever it is: the task runs, and must be followed
            log.exception("task.start_not_written", task_id=task_id)

    def _write_progress(self, task_id: str, done: int) -> None:
        try:
            self._store.start(task_id, progress_done=done)
        except StorageUnavailable as error:
            cause = str(error.__cause__)
            log.warning("task.progress_not_written", task_id=task_id, error=cause)

    def _write_end(self, task_id: str, end: Mapping[str, Any]) -> None:
        """Write a task's end, again and again until it is written."""
        while True:
            try:
                self._store.finish(task_id, **end)
            except StorageUnavailable as error:
                cause = str(error.__cause__)
                log.warning("task.end_not_written", task_id=task_id, error=cause)
            else:
                return
            if self._given_up.wait(RETRY_SECONDS):
                return

    def _discard(self, task_id: str, output: OutputLog) -> None:
        output.close()
        self._outputs.remove(task_id)


def _thread(name: str, work: Callable[[], None]) -> threading.Thread:
    """Return a thread whose log lines tell the request that this one serves."""
    run = partial(copy_context().run, work)
    return threading.Thread(target=run, name=name, daemon=True)
