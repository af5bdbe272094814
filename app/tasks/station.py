"""Where a host's tasks are run that came in elsewhere: the worker's side.

A message says which task to look at; whoever claims it in the records runs it, in the
thread that looks. What no message has told of, the station finds by itself.
"""

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import structlog

from app.errors import BellhopError, BrokerUnavailable, ShuttingDown, StorageUnavailable
from app.processes.guard import Guard
from app.storage.order_store import OrderStore
from app.storage.task_store import Room, TaskStore

from .call_job import Call
from .command_job import MARK
from .job import Job, end_of_task
from .order import Order
from .outputs import Outputs
from .record import TaskRecord
from .report_job import Report
from .runner import Runner, Running
from .states import State
from .worker import Worker
from .written_command import read_command

# Between looks whether somebody was asked to end what runs here.
CANCEL_LOOK_SECONDS = 1.0
# Of which every so manieth is for tasks that nobody has begun.
LOOKS = 2

log = structlog.get_logger(__name__)


class Publisher(Protocol):
    """What brings a message to a host's worker."""

    def publish(self, host: str, task_id: str) -> None:
        """Tell the worker to look at a task; raise BrokerUnavailable."""
        ...


class Station(Runner):
    """Runs the tasks of a host, each in the thread that was told of it.

    `base` is the environment that every command has here.
    """

    def __init__(
        self,
        *,
        store: TaskStore,
        orders: OrderStore,
        outputs: Outputs,
        broker: Publisher,
        host: str,
        room: Mapping[str, Room],
        base: Mapping[str, str],
        grace_seconds: float,
        observe: Callable[[TaskRecord], None] = lambda _task: None,
    ) -> None:
        super().__init__(
            store=store, outputs=outputs, grace_seconds=grace_seconds, observe=observe
        )
        self._orders = orders
        self._broker = broker
        self._host = host
        self._room = room
        self._base = base
        #: Return the report, or the call, of a kind that was asked for.
        self.reports: Mapping[str, Callable[[Mapping[str, Any]], Report]] = {}
        self.calls: Mapping[str, Callable[[Mapping[str, Any]], Call]] = {}
        #: Ends what runs here should this process be killed, once it was started.
        self.guard = Guard(MARK)
        self._quiet = threading.Condition(self._lock)
        self._looking = 0  # threads that run a task, or look whether it is theirs
        self._left_lying: frozenset[str] = frozenset()  # as the last look saw them
        self._thread = threading.Thread(
            target=self._look_on, name="station", daemon=True
        )

    @property
    def concurrency(self) -> int:
        """How many tasks may run here at a time."""
        return sum(room.max_running for room in self._room.values())

    @property
    def is_closing(self) -> bool:
        """Whether nothing more is begun here."""
        return self._closing

    def start(self) -> None:
        """Start looking after what no message tells of."""
        self._thread.start()

    def run(self, task_id: str) -> None:
        """Run a task to its end, if it is its turn and nobody else does."""
        with self._lock:
            if self._closing:  # who comes next here finds it
                return
            self._looking += 1
        try:
            self._run_claimed(task_id)
        finally:
            with self._quiet:
                self._looking -= 1
                self._quiet.notify_all()

    def _run_claimed(self, task_id: str) -> None:
        try:
            claimed = self._orders.claim(task_id, worker=str(Worker.current()))
        except StorageUnavailable as error:  # a later look finds it
            log.warning("task.not_claimed", error=str(error.__cause__))
            return
        if claimed is None:
            return
        row, document = claimed
        record = TaskRecord.from_row(row)
        with structlog.contextvars.bound_contextvars(request_id=record.request_id):
            if task := self._begun(record, document):
                self.guard.add(task_id)
                try:
                    self._run(task, task.job.run)
                finally:
                    self.guard.remove(task_id)
            self.let_next_in(record.kind)

    def stop(self, task_id: str) -> None:
        """End a task as cancelled, whether it runs here or has not been begun."""
        with self._lock:
            task = self._tasks.get(task_id)
        if task is not None:
            self._stop(task, "cancelled")
        elif ended := self._orders.end(
            task_id, **end_of_task(State.REVOKED, "cancelled")
        ):
            row, document = ended
            if row["kind"] in self.calls:
                self._job_of(TaskRecord.from_row(row), document).stop("cancelled")
            self.let_next_in(row["kind"])

    def close(self, *, seconds: float) -> list[str]:
        """End what runs here, within the time; return the tasks that would not."""
        tasks = self._stop_all(seconds=seconds)
        left = self._wait_for_all(tasks)
        with self._quiet:  # who has just come may still have something to write
            self._quiet.wait_for(lambda: not self._looking, max(0.1, seconds))
        if self._thread.ident is not None:
            self._thread.join(max(0.1, seconds))
        self.guard.close()
        return left

    def let_next_in(self, kind: str) -> None:
        """Have those run who have room now; where it fails, a later look does."""
        most = self._room[kind].max_running
        try:
            for task_id, _ in self._store.let_in(self._host, kind, max_running=most):
                self._broker.publish(self._host, task_id)
        except (StorageUnavailable, BrokerUnavailable) as error:
            log.warning("queue.not_seen", error=str(error.__cause__))

    def _begun(self, record: TaskRecord, document: bytes) -> Running | None:
        """Return a claimed task, ready to be run; None: it has ended by that."""
        try:
            job = self._job_of(record, document)
            task = Running(record, job, self._output_of(record, job, may_be_short=True))
            with self._lock:
                self._keep(task)
        except ShuttingDown:
            self._discard(task)
            self._refuse(record, end_of_task(State.REVOKED, "shutdown"))
        except (BellhopError, ValueError, LookupError, TypeError) as error:
            log.exception("task.not_begun", task_id=record.task_id)
            end = end_of_task(State.FAILURE, "spawn_failed", detail=str(error))
            self._refuse(record, end)
        else:
            if record.cancel_requested:
                job.stop("cancelled")
            return task
        return None

    def _job_of(self, record: TaskRecord, document: bytes) -> Job:
        """Return what does a task, of what came with it."""
        asked = json.loads(document)
        if record.kind in self.reports:
            return self._report_job(self.reports[record.kind](asked), record)
        if record.kind in self.calls:
            return self._call_job(self.calls[record.kind](asked), record)
        command = read_command(asked["command"], base=self._base)
        order = Order(command, ends_on_overflow=asked["ends_on_overflow"])
        return self._command_job(order, record)

    def _refuse(self, record: TaskRecord, end: Mapping[str, Any]) -> None:
        """Write the end of a task that could not be begun."""
        if self._write_end(record.task_id, end, None):
            self._note_end(record)

    def _look_on(self) -> None:
        count = 0
        while not self._given_up.wait(CANCEL_LOOK_SECONDS):
            count += 1
            try:
                self._stop_cancelled()
                if count % LOOKS == 0 and not self._closing:
                    self._look_after()
            except (StorageUnavailable, BrokerUnavailable) as error:
                log.warning("queue.not_seen", error=str(error.__cause__))
            except Exception:  # the next look may see it
                log.exception("queue.not_seen")

    def _look_after(self) -> None:
        """Let in who has room, and tell again of those who were not begun for a look.

        What has been told of them was lost, or is still on its way: both are harmless.
        """
        for kind in self._room:
            self.let_next_in(kind)
        lying = frozenset(self._orders.unclaimed(self._host))
        again, self._left_lying = self._left_lying & lying, lying
        for task_id in again:
            self._broker.publish(self._host, task_id)
        if again:
            log.warning("tasks.told_again", count=len(again))
