"""Runs each task in a thread of the worker that accepted it.

That is the thread of the request that waits for its end, for as long as it waits, or
else one of its own.
"""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
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
from app.storage.task_store import Room, TaskStore

from .call_job import Call
from .command_job import CommandJob
from .detached import DetachedRuns
from .detached_job import DetachedJob
from .entrance import admission_of, facts_of_order, facts_of_report, new_record
from .job import Job
from .order import ANYWHERE, Order, Origin, Place
from .output import STDOUT, STREAMS, OutputFolder
from .output_log import TaskOutput
from .patience import Patience
from .record import TaskRecord
from .report_job import Report
from .runner import Runner, Running
from .states import State
from .waiting_line import Claim, WaitingLine
from .worker import Worker

# Between looks whether another worker was asked to cancel what runs here.
CANCEL_LOOK_SECONDS = 0.25

log = structlog.get_logger(__name__)


class ThreadBackend(Runner):
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
        outputs: OutputFolder,
        host: str,
        room: Mapping[str, Room],
        grace_seconds: float,
        line: WaitingLine,
        detached: DetachedRuns,
        observe: Callable[[TaskRecord], None] = lambda _task: None,
        admits: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(
            store=store, outputs=outputs, grace_seconds=grace_seconds, observe=observe
        )
        self._folder = outputs  # where detached runs write, which know of no other
        self._host = host
        self._room = room
        self._line = line
        self._detached = detached
        self._detached.ended = self._note_end
        self._admits = admits
        #: Called with each task that somebody wants to be told the end of.
        self.tell_end: Callable[[TaskRecord], None] = lambda _task: None
        self._watcher: threading.Thread | None = None  # guarded by the lock

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
        record = self._new("exec", origin, **facts_of_order(order))
        if order.is_detached:
            return self._submit_detached(order, record, origin)
        job = self._command_job(order, record)
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
        record = self._new(report.kind, origin, **facts_of_report(report))
        job = self._report_job(report, record)
        return self._admit(record, job, origin, self._admits).record

    def submit_call(self, call: Call, origin: Origin, *, task_id: str) -> TaskRecord:
        """Have a call made; see TaskBackend."""
        record = self._new(call.kind, origin, task_id=task_id)
        return self._admit(record, self._call_job(call, record), origin).record

    def _check_place(self, place: Place) -> None:
        if place.host not in (None, self._host):
            fault = f"is not {self._host!r}, the only host that tasks run on here"
            raise InvalidInput([Fault("host", fault)])

    def _submit_detached(
        self, order: Order, record: TaskRecord, origin: Origin
    ) -> TaskRecord:
        """Have a run begin, or wait for that, which it does without this process."""
        streams = STREAMS if order.command.separate_stderr else (STDOUT,)
        paths = [self._folder.path(record.task_id, stream) for stream in streams]
        self._detached.prepare(order, record, paths)
        with ExitStack() as refused:
            refused.callback(self._detached.forget, record.task_id)
            job = self._detached_job(record)
            task = self._admit(record, job, origin, self._admits)
            refused.pop_all()
        return task.record

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
        output = self._folder.reopen_all(task.task_id)
        if output is None:
            return False
        taken = Running(replace(task, worker=worker), self._detached_job(task), output)
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

    def needs(self) -> Mapping[str, Callable[[], None]]:
        """Return nothing; see TaskBackend."""
        return {}

    def close(self, *, seconds: float) -> list[str]:
        """End what runs here, within the time; return the tasks that would not."""
        tasks = self._stop_all(seconds=seconds)
        for task_id in self._line.close():
            self._turn_away(tasks[task_id])
        left = self._wait_for_all(tasks)
        with self._lock:
            watcher = self._watcher
        if watcher is not None:
            watcher.join(max(0.0, self._deadline - time.monotonic()))
        self._detached.close()
        return left

    def _new(self, kind: str, origin: Origin, **facts: Any) -> TaskRecord:
        worker = str(Worker.current())
        return new_record(kind, origin, host=self._host, worker=worker, **facts)

    def _admit(
        self,
        record: TaskRecord,
        job: Job,
        origin: Origin,
        admits: Callable[[], None] = lambda: None,
        *,
        is_attended: bool = False,
    ) -> Running:
        """Write a task down if it may run, and have it run.

        Where there is no room now, it waits for that.
        """
        admits()
        admission = admission_of(self._room[record.kind], origin)
        output = self._output_of(record, job, may_be_short=is_attended)
        task = Running(record, job, output, is_attended=is_attended)
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

    def _begin(self, task: Running, claim: Claim | None) -> None:
        """Have a task run now, or once it is its turn, of which `claim` knows."""
        with self._lock:
            self._keep(task)
            try:
                self._start_watcher()
                if claim is None:
                    self._let_begin(task)
                else:
                    self._line.add(
                        task.task_id, partial(self._go_on, task), claim=claim
                    )
            except RuntimeError:
                del self._tasks[task.task_id]
                raise

    def _let_begin(self, task: Running) -> None:
        """Have a task run by who waits for it, or by a thread of its own."""
        if task.is_attended:
            task.may_begin.set()
        else:
            self._start_thread(task, partial(self._run, task, task.job.run))

    def _attend(self, task: Running, job: CommandJob, patience: Patience) -> None:
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

    def _claim(self, kind: str) -> Claim:
        most = self._room[kind].max_running
        return partial(self._store.claim, self._host, kind, max_running=most)

    def _go_on(self, task: Running) -> None:
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

    def _turn_away(self, task: Running) -> None:
        """Let a task wait no more; a detached one is left for others to take over."""
        if task.record.detached:
            task.output.leave()
            self._forget(task)
        elif time.monotonic() < self._deadline:
            self._end_unstarted(task, "shutdown")
        else:
            self._let_go(task)

    def _note_end(self, record: TaskRecord) -> TaskRecord:
        """See to what follows an end that is written; return the task after that."""
        self._let_next_in(record.kind)
        super()._note_end(record)
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

    def _start_watcher(self) -> None:
        if self._watcher is None:
            watcher = threading.Thread(
                target=self._watch, name="cancel-watch", daemon=True
            )
            watcher.start()
            self._watcher = watcher

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

    def _stop(self, task: Running, reason: str) -> None:
        if self._line.take_out(task.task_id):
            self._end_unstarted(task, reason)
        else:
            super()._stop(task, reason)

    def _let_next_in(self, kind: str) -> None:
        """Have those go on who have room now; where it fails, they look themselves."""
        most = self._room[kind].max_running
        try:
            turns = self._store.let_in(self._host, kind, max_running=most)
        except StorageUnavailable as error:
            log.warning("queue.not_seen", error=str(error.__cause__))
        else:
            self._line.let_in(turns)
