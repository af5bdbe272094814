"""The tasks that run in this process: their starts, ends and outputs written down."""

import math
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from contextvars import Context, copy_context
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import structlog

from app.errors import ShuttingDown, StorageUnavailable
from app.storage.task_store import TaskStore

from .call_job import Call, CallJob
from .command_job import CommandJob
from .job import Job, end_of_task, state_of_stop
from .order import Order
from .output import STDERR
from .output_log import TaskOutput
from .outputs import Outputs
from .patience import Patience
from .record import TaskRecord
from .report_job import Report, ReportJob
from .states import State

# Between tries to write a run's end down while the records are away.
RETRY_SECONDS = 0.5

log = structlog.get_logger(__name__)


@dataclass
class Running:
    """A task of this process, from when it is taken on to its written end."""

    record: TaskRecord  # as it is here: without what is written elsewhere
    job: Job
    output: TaskOutput
    #: Its log lines tell the request that it serves.
    context: Context = field(default_factory=copy_context)
    is_attended: bool = False  # by a thread that runs it, once it may begin
    may_begin: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None  # its own
    ended: threading.Event = field(default_factory=threading.Event)
    is_written: bool = False  # its end

    @property
    def task_id(self) -> str:
        """Its id."""
        return self.record.task_id


class Runner:
    """Runs tasks in threads; what follows an end, each backend adds.

    `observe` is told every task that has started, and that has ended.
    """

    def __init__(
        self,
        *,
        store: TaskStore,
        outputs: Outputs,
        grace_seconds: float,
        observe: Callable[[TaskRecord], None] = lambda _task: None,
    ) -> None:
        self._store = store
        self._outputs = outputs
        self._grace_seconds = grace_seconds
        self._observe = observe
        self._given_up = threading.Event()
        # Guards _closing, _tasks, and who runs a task.
        self._lock = threading.Lock()
        self._closing = False
        self._deadline = math.inf  # of the monotonic clock, once it closes
        self._tasks: dict[str, Running] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} tasks={len(self._tasks)}>"

    def _command_job(self, order: Order, record: TaskRecord) -> CommandJob:
        return CommandJob(
            order,
            record,
            grace_seconds=self._grace_seconds,
            began=partial(self._note_start, record.task_id),
            started=partial(self._write_start, record.task_id),
        )

    def _report_job(self, report: Report, record: TaskRecord) -> ReportJob:
        return ReportJob(
            report,
            started=partial(self._write_start, record.task_id),
            progressed=partial(self._write_progress, record.task_id),
        )

    def _call_job(self, call: Call, record: TaskRecord) -> CallJob:
        return CallJob(call, started=partial(self._write_start, record.task_id))

    def _output_of(
        self, record: TaskRecord, job: Job, *, may_be_short: bool = False
    ) -> TaskOutput:
        """Return the output of a new task, for which its space is taken.

        One that may be short has no name until it is known that it is not: while who
        waits for it has not been told its task, nobody else looks for it.
        """
        task_id = record.task_id
        if may_be_short and record.stderr_end_offset is None:
            unnamed = self._outputs.create_unnamed(task_id)
            if unnamed is not None:
                return TaskOutput(unnamed)
        output = TaskOutput(self._outputs.create(task_id, takes_space=job.has_output))
        if record.stderr_end_offset is not None:
            try:
                output = replace(output, stderr=self._outputs.create(task_id, STDERR))
            except StorageUnavailable:
                output.close()
                self._outputs.remove(task_id)
                raise
        return output

    def _keep(self, task: Running) -> None:
        """Have a task be one of this process; raise ShuttingDown. The lock is held."""
        if self._closing:
            raise ShuttingDown
        self._tasks[task.task_id] = task

    def _start_thread(self, task: Running, work: Callable[[], object]) -> None:
        run = partial(task.context.run, work)
        name = f"run-{task.task_id}"
        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        task.thread = thread

    def _leave(self, task: Running, work: Callable[[], object]) -> None:
        """Leave the rest of a task's work to a thread of its own, if there is one."""
        self._name_output(task)
        try:
            self._start_thread(task, work)
        except RuntimeError:  # the system gives no more threads
            work()

    def _run(
        self,
        task: Running,
        work: Callable[[TaskOutput], dict[str, Any] | None],
        patience: Patience | None = None,
    ) -> bool:
        """Do a task's work; return whether that has come to its end."""
        if task.ended.is_set():  # while it waited
            return True
        end: dict[str, Any] | None = end_of_task(State.FAILURE, "internal_error")
        try:
            end = work(task.output)
        except Exception:
            log.exception("run.failed", task_id=task.task_id)
        if end is not None:
            self._end(task, end, patience)
        elif task.record.detached:
            self._forget(task)
        return end is not None

    def _end_unstarted(self, task: Running, reason: str) -> None:
        """End a task that was waiting and waits no more."""
        task.job.stop(reason)
        self._end(task, end_of_task(state_of_stop(reason), reason))

    def _end(
        self, task: Running, end: Mapping[str, Any], patience: Patience | None = None
    ) -> None:
        """Write a task's end and let it go; when patience is over, a thread does."""
        facts = {**end, "started": task.record.started, **task.output.ended()}
        if facts["output"] is None:
            self._name_output(task)
        with ExitStack() as at_last:
            at_last.callback(self._let_go, task)
            task.is_written = self._write_end(task.task_id, facts, patience)
            if task.is_written:
                task.record = self._note_end(replace(task.record, **facts))
            elif patience is not None:
                at_last.pop_all()
                self._leave(task, partial(self._end, task, end))

    def _note_end(self, record: TaskRecord) -> TaskRecord:
        """See to what follows an end that is written; return the task after that."""
        self._observe(record)
        return record

    def _let_go(self, task: Running) -> None:
        """Forget a task; who waits for its end is to look.

        The kernel tells of the closing of its output those who follow that.
        """
        if task.record.output is None:
            self._name_output(task)
            task.output.close()
        else:
            self._outputs.give_back(task.output.stdout)
        self._forget(task)

    def _forget(self, task: Running) -> None:
        with self._lock:
            del self._tasks[task.task_id]
        task.ended.set()
        task.may_begin.set()

    def _stop_cancelled(self) -> None:
        """Stop those that somebody wants to be ended."""
        with self._lock:
            tasks = dict(self._tasks)
        if not tasks:
            return
        for task_id in self._store.cancelled(list(tasks)):
            self._stop(tasks[task_id], "cancelled")

    def _stop(self, task: Running, reason: str) -> None:
        task.job.stop(reason)

    def _stop_all(self, *, seconds: float) -> dict[str, Running]:
        """Have all tasks ended, and take on none; return those that there were."""
        with self._lock:
            self._closing = True
            self._deadline = time.monotonic() + seconds
            tasks = dict(self._tasks)
        for task in tasks.values():
            task.job.stop("shutdown")
        return tasks

    def _wait_for_all(self, tasks: Mapping[str, Running]) -> list[str]:
        """Wait for their ends until the deadline; return those that had none."""
        left = []
        for task in tasks.values():
            if not task.ended.wait(max(0.0, self._deadline - time.monotonic())):
                left.append(task.task_id)
                continue
            if task.thread is not None:
                task.thread.join()
            if not task.is_written and not task.record.detached:
                left.append(task.task_id)
        self._given_up.set()
        return left

    def _note_start(self, task_id: str) -> None:
        with self._lock:
            task = self._tasks[task_id]
        start: dict[str, Any] = {"state": State.STARTED, "started": time.time()}
        task.record = replace(task.record, **start, is_queued=False)
        self._observe(task.record)

    def _write_start(self, task_id: str) -> None:
        with self._lock:
            task = self._tasks[task_id]
        self._name_output(task)
        if task.record.started is None:
            self._note_start(task_id)
        start = {"state": task.record.state, "started": task.record.started}
        try:
            self._store.start(task_id, **start)
        except Exception:  # whatever it is: the task runs, and must be followed
            log.exception("task.start_not_written", task_id=task_id)

    def _write_progress(self, task_id: str, done: int) -> None:
        try:
            self._store.start(task_id, progress_done=done)
        except StorageUnavailable as error:
            cause = str(error.__cause__)
            log.warning("task.progress_not_written", task_id=task_id, error=cause)

    def _write_end(
        self, task_id: str, end: Mapping[str, Any], patience: Patience | None
    ) -> bool:
        """Write a task's end, again and again until it is written.

        Return False where it is not before the patience, or the time to close, is over.
        """
        while True:
            try:
                self._store.finish(task_id, **end)
            except StorageUnavailable as error:
                cause = str(error.__cause__)
                log.warning("task.end_not_written", task_id=task_id, error=cause)
            else:
                return True
            given_up = self._given_up.wait(RETRY_SECONDS)
            if given_up or time.monotonic() >= self._deadline:
                return False
            if patience is not None and not patience.seconds():
                return False

    def _name_output(self, task: Running) -> None:
        """Let everybody read a task's output, as it is written from now on."""
        if not task.output.stdout.is_named:
            self._outputs.name(task.output.stdout, task.task_id)

    def _discard(self, task: Running) -> None:
        """Forget the output of a task that was not begun."""
        if task.output.stdout.is_named:
            task.output.close()
            self._outputs.remove(task.task_id)
        else:
            self._outputs.give_back(task.output.stdout)
