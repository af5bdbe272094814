"""Runs each task in a thread of the worker that accepted it.

That is the thread of the request that waits for its end, for as long as it waits, or
else one of its own.
"""

import json
import math
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import structlog

from app.errors import (
    CapacityExceeded,
    Draining,
    Fault,
    InvalidInput,
    ShuttingDown,
    StorageUnavailable,
)
from app.storage.task_store import Admission, Room, TaskStore

from .call_job import Call, CallJob
from .command_job import CommandJob
from .detached import DetachedRuns
from .detached_job import DetachedJob
from .job import Job, end_of_task, state_of_stop
from .order import ANYWHERE, Order, Origin, Place
from .output import STDERR, STDOUT, STREAMS, OutputFolder
from .output_log import TaskOutput
from .outputs import Outputs
from .patience import Patience
from .record import TaskRecord
from .report_job import Report, ReportJob
from .states import State
from .waiting_line import Claim, WaitingLine
from .worker import Worker

# Between tries to write a run's end down while the records are away.
RETRY_SECONDS = 0.5
# Between looks whether another worker was asked to cancel what runs here.
CANCEL_LOOK_SECONDS = 0.25

log = structlog.get_logger(__name__)


@dataclass
class _Task:
    """A task of this worker, from its admission to its written end."""

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


class ThreadBackend:
    """A TaskBackend with threads of this process.

    While any runs, one thread more looks for tasks that another worker was asked to
    cancel; while any waits for room, another one looks whose turn it is. `observe` is
    told every task that has started, and that has ended. `admits` raises Draining where
    no new command or report is taken on.
    """

    def __init__(
        self,
        *,
        store: TaskStore,
        outputs: Outputs,
        host: str,
        room: Mapping[str, Room],
        grace_seconds: float,
        line: WaitingLine,
        detached: DetachedRuns,
        observe: Callable[[TaskRecord], None] = lambda _task: None,
        admits: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._outputs = outputs
        self._host = host
        self._room = room
        self._grace_seconds = grace_seconds
        self._line = line
        self._detached = detached
        self._detached.ended = self._note_end
        self._observe = observe
        self._admits = admits
        #: Called with each task that somebody wants to be told the end of.
        self.tell_end: Callable[[TaskRecord], None] = lambda _task: None
        self._given_up = threading.Event()
        # Guards _closing, _tasks, _watcher, and who runs a task.
        self._lock = threading.Lock()
        self._closing = False
        self._deadline = math.inf  # of the monotonic clock, once it closes
        self._tasks: dict[str, _Task] = {}
        self._watcher: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"<ThreadBackend tasks={len(self._tasks)}>"

    def submit(
        self,
        order: Order,
        origin: Origin,
        *,
        place: Place = ANYWHERE,
        patience: Patience | None = None,
    ) -> TaskRecord:
        """Start a command, in its slot if it has one; see TaskBackend."""
        self._check_place(place)
        record = self._new(
            "exec",
            origin,
            cmd=order.cmd,
            command=order.name,
            params=_json(order.params),
            max_running=order.max_running,
            notify=_json(order.notify or None),
            stderr_end_offset=0 if order.command.separate_stderr else None,
            detached=order.is_detached,
        )
        if order.is_detached:
            return self._submit_detached(order, record, origin)
        job = CommandJob(
            order,
            record,
            grace_seconds=self._grace_seconds,
            began=partial(self._note_start, record.task_id),
            started=partial(self._write_start, record.task_id),
        )
        task = self._admit(
            record, job, origin, self._admits, is_attended=patience is not None
        )
        if patience is not None:
            self._attend(task, job, patience)
        return task.record

    def submit_report(
        self, report: Report, origin: Origin, *, place: Place = ANYWHERE
    ) -> TaskRecord:
        """Start making a report; see TaskBackend."""
        self._check_place(place)
        record = self._new(
            report.kind, origin, progress_done=0, progress_total=report.total
        )
        job = ReportJob(
            report,
            started=partial(self._write_start, record.task_id),
            progressed=partial(self._write_progress, record.task_id),
        )
        return self._admit(record, job, origin, self._admits).record

    def submit_call(self, call: Call, origin: Origin, *, task_id: str) -> TaskRecord:
        """Have a call made; see TaskBackend."""
        record = self._new(call.kind, origin, task_id=task_id)
        job = CallJob(call, started=partial(self._write_start, task_id))
        return self._admit(record, job, origin).record

    def _check_place(self, place: Place) -> None:
        if place.host not in (None, self._host):
            fault = f"is not {self._host!r}, the only host that tasks run on here"
            raise InvalidInput([Fault("host", fault)])

    def _submit_detached(
        self, order: Order, record: TaskRecord, origin: Origin
    ) -> TaskRecord:
        """Have a run begin, or wait for that, which it does without this process."""
        streams = STREAMS if order.command.separate_stderr else (STDOUT,)
        paths = [self._folder().path(record.task_id, stream) for stream in streams]
        self._detached.prepare(order, record, paths)
        with ExitStack() as refused:
            refused.callback(self._detached.forget, record.task_id)
            job = self._detached_job(record)
            task = self._admit(record, job, origin, self._admits)
            refused.pop_all()
        return task.record

    def _folder(self) -> OutputFolder:
        """Return where detached runs write, which know of nothing else."""
        if isinstance(self._outputs, OutputFolder):
            return self._outputs
        raise InvalidInput([Fault("detached", "is possible with TASK_BACKEND=threads")])

    def _detached_job(self, record: TaskRecord) -> DetachedJob:
        began = partial(self._note_start, record.task_id)
        return DetachedJob(self._detached, record.task_id, began=began)

    def refresh(self, task: TaskRecord) -> TaskRecord:
        """Return a task with its end, if its own process has left one."""
        goes_on = task.detached and task.finished is None
        return self._detached.settle(task) if goes_on else task

    def take_over(self, task: TaskRecord) -> bool:
        """See to a task whose process is no more; return False where it is lost.

        A detached one has left its end, or waits for its start, which is made here now.
        """
        self._detached.settle(task)
        row = self._store.find(task.task_id)
        # Somebody else may have settled it, or taken it over, since it was looked up.
        if row is None or row["finished"] or row["worker"] != task.worker:
            return True
        task = TaskRecord.from_row(row)
        if not task.detached or task.state != State.QUEUED:
            return False
        worker = str(Worker.current())
        if not self._store.take_over(task.task_id, task.worker, worker=worker):
            return True  # by another one
        output = self._folder().reopen_all(task.task_id)
        if output is None:
            return False
        taken = _Task(replace(task, worker=worker), self._detached_job(task), output)
        try:
            self._begin(taken, self._claim(task.kind) if task.is_queued else None)
        except (RuntimeError, ShuttingDown):  # then it is taken over again
            output.leave()
            self._store.take_over(task.task_id, worker, worker=task.worker)
        return True

    def wait(self, task_id: str, *, seconds: float) -> TaskRecord | None:
        """Wait for the end of a task of this worker; see TaskBackend."""
        with self._lock:
            task = self._tasks.get(task_id)
        if task is None:
            return None
        task.ended.wait(seconds)
        return task.record

    def cancel(self, task_id: str) -> None:
        """Have a task ended, whichever worker runs it; see TaskBackend."""
        self._store.request_cancel(task_id)
        self._stop_cancelled()
        self._detached.cancel(task_id)

    def close(self, *, seconds: float) -> list[str]:
        """End what runs here, within the time; return the tasks that would not."""
        deadline = time.monotonic() + seconds
        with self._lock:
            self._closing = True
            self._deadline = deadline
            tasks, watcher = dict(self._tasks), self._watcher
        for task in tasks.values():
            task.job.stop("shutdown")
        for task_id in self._line.close():
            self._turn_away(tasks[task_id])
        left = []
        for task in tasks.values():
            if not task.ended.wait(max(0.0, deadline - time.monotonic())):
                left.append(task.task_id)
                continue
            if task.thread is not None:
                task.thread.join()
            if not task.is_written and not task.record.detached:
                left.append(task.task_id)
        self._given_up.set()
        if watcher is not None:
            watcher.join(max(0.0, deadline - time.monotonic()))
        self._detached.close()
        return left

    def _new(self, kind: str, origin: Origin, **facts: Any) -> TaskRecord:
        every: dict[str, Any] = {
            "task_id": str(uuid.uuid4()),
            "kind": kind,
            "state": State.QUEUED,
            "owner": origin.owner,
            "slot": origin.slot,
            "host": self._host,
            "worker": str(Worker.current()),
            "request_id": origin.request_id,
            "created": time.time(),
        }
        return TaskRecord(**every | facts)

    def _admit(
        self,
        record: TaskRecord,
        job: Job,
        origin: Origin,
        admits: Callable[[], None] = lambda: None,
        *,
        is_attended: bool = False,
    ) -> _Task:
        """Write a task down if it may run, and have it run.

        Where there is no room now, it waits for that.
        """
        admits()
        room = self._room[record.kind]
        admission = Admission(
            room, account=origin.account, uuid=origin.uuid, request=origin.request
        )
        output = self._output_of(record, job, may_be_short=is_attended)
        task = _Task(record, job, output, is_attended=is_attended)
        try:
            waits = self._store.add(vars(record), admission)
        except BaseException:
            self._discard(task)
            raise
        if waits:
            task.record = replace(record, is_queued=True)
            self._name_output(task)
        try:
            admits()  # who drains the host may have looked just before it was there
            self._begin(task, self._claim(record.kind) if waits else None)
        except (RuntimeError, Draining, ShuttingDown) as error:
            self._discard(task)
            self._store.withdraw(record.task_id, admission)
            if isinstance(error, RuntimeError):  # the system gives no more threads
                raise CapacityExceeded(retry_after_seconds=1) from error
            raise
        return task

    def _output_of(
        self, record: TaskRecord, job: Job, *, may_be_short: bool
    ) -> TaskOutput:
        """Return the output of a new task, for which its space is taken.

        One that may be short has no name until it is known that it is not: while who
        waits for it has not been told its task, nobody else looks for it.
        """
        task_id = record.task_id
        if may_be_short and record.stderr_end_offset is None:
            unnamed = self._outputs.create_unnamed()
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

    def _begin(self, task: _Task, claim: Claim | None) -> None:
        """Have a task run now, or once it is its turn, of which `claim` knows."""
        with self._lock:
            if self._closing:
                raise ShuttingDown
            if self._watcher is None:
                watcher = threading.Thread(
                    target=self._watch, name="cancel-watch", daemon=True
                )
                watcher.start()
                self._watcher = watcher
            self._tasks[task.task_id] = task
            try:
                if claim is None:
                    self._let_begin(task)
                else:
                    self._line.add(
                        task.task_id, partial(self._go_on, task), claim=claim
                    )
            except RuntimeError:
                del self._tasks[task.task_id]
                raise

    def _let_begin(self, task: _Task) -> None:
        """Have a task run by who waits for it, or by a thread of its own."""
        if task.is_attended:
            task.may_begin.set()
        else:
            self._start_thread(task, partial(self._run, task, task.job.run))

    def _start_thread(self, task: _Task, work: Callable[[], object]) -> None:
        run = partial(task.context.run, work)
        name = f"run-{task.task_id}"
        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        task.thread = thread

    def _attend(self, task: _Task, job: CommandJob, patience: Patience) -> None:
        """Run a task in this thread for as long as that waits for it."""

        def attend(output: TaskOutput) -> dict[str, Any] | None:
            while seconds := patience.seconds():
                if not job.attend(output, seconds):
                    break
            return job.run(output) if job.is_gone else None

        while seconds := patience.seconds():
            if task.may_begin.wait(seconds):
                break
        with self._lock:
            task.is_attended = False
        # Now nobody else is to have it begin where nobody has by now.
        if task.may_begin.is_set() and not self._run(task, attend, patience):
            self._leave(task, partial(self._run, task, job.run))

    def _leave(self, task: _Task, work: Callable[[], object]) -> None:
        """Leave the rest of a task's work to a thread of its own, if there is one."""
        self._name_output(task)
        try:
            self._start_thread(task, work)
        except RuntimeError:  # the system gives no more threads
            work()

    def _claim(self, kind: str) -> Claim:
        most = self._room[kind].max_running
        return partial(self._store.claim, self._host, kind, max_running=most)

    def _go_on(self, task: _Task) -> None:
        """Run a task that has waited for room."""
        with self._lock:
            is_closing = self._closing
            with suppress(RuntimeError):  # the system gives no more threads
                if not is_closing:
                    self._let_begin(task)
                    return
        if is_closing:
            self._turn_away(task)
        else:
            self._end_unstarted(task, "spawn_failed")

    def _run(
        self,
        task: _Task,
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

    def _turn_away(self, task: _Task) -> None:
        """Let a task wait no more; a detached one is left for others to take over."""
        if task.record.detached:
            task.output.leave()
            self._forget(task)
        elif time.monotonic() < self._deadline:
            self._end_unstarted(task, "shutdown")
        else:
            self._let_go(task)

    def _end_unstarted(self, task: _Task, reason: str) -> None:
        """End a task that was waiting and waits no more."""
        task.job.stop(reason)
        self._end(task, end_of_task(state_of_stop(reason), reason))

    def _end(
        self, task: _Task, end: Mapping[str, Any], patience: Patience | None = None
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
        self._let_next_in(record.kind)
        self._observe(record)
        return record if record.notify is None else self._tell_end(record)

    def _tell_end(self, record: TaskRecord) -> TaskRecord:
        """Have the end of a task told; who sweeps up does it where this fails."""
        try:
            if row := self._store.find(record.task_id):
                self.tell_end(TaskRecord.from_row(row))
                return TaskRecord.from_row(self._store.find(record.task_id) or row)
        except Exception:
            log.exception("notice.failed", task_id=record.task_id)
        return record

    def _let_go(self, task: _Task) -> None:
        """Forget a task; who waits for its end is to look.

        The kernel tells of the closing of its output those who follow that.
        """
        if task.record.output is None:
            self._name_output(task)
            task.output.close()
        else:
            self._outputs.give_back(task.output.stdout)
        self._forget(task)

    def _forget(self, task: _Task) -> None:
        with self._lock:
            del self._tasks[task.task_id]
        task.ended.set()
        task.may_begin.set()

    def _watch(self) -> None:
        """Look for cancelled tasks, and ended processes, while there are any here."""
        while not self._given_up.wait(CANCEL_LOOK_SECONDS):
            with self._lock:
                if not self._tasks and not self._detached.has_children:
                    self._watcher = None
                    return
            try:
                self._stop_cancelled()
                self._detached.reap()
            except Exception:  # the next look may see it
                log.exception("cancel.not_seen")

    def _stop_cancelled(self) -> None:
        with self._lock:
            tasks = dict(self._tasks)
        if not tasks:
            return
        for task_id in self._store.cancelled(list(tasks)):
            if self._line.take_out(task_id):
                self._end_unstarted(tasks[task_id], "cancelled")
            else:
                tasks[task_id].job.stop("cancelled")

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

    def _let_next_in(self, kind: str) -> None:
        """Have those go on who have room now; where it fails, they look themselves."""
        most = self._room[kind].max_running
        try:
            turns = self._store.let_in(self._host, kind, max_running=most)
        except StorageUnavailable as error:
            log.warning("queue.not_seen", error=str(error.__cause__))
        else:
            self._line.let_in(turns)

    def _name_output(self, task: _Task) -> None:
        """Let everybody read a task's output, as it is written from now on."""
        if not task.output.stdout.is_named:
            self._outputs.name(task.output.stdout, task.task_id)

    def _discard(self, task: _Task) -> None:
        if task.output.stdout.is_named:
            task.output.close()
            self._outputs.remove(task.task_id)
        else:
            self._outputs.give_back(task.output.stdout)


def _json(document: Mapping[str, Any] | Sequence[Any] | None) -> str | None:
    return None if document is None else json.dumps(document)
