"""Sweeps up: tasks whose worker died, and what has been kept long enough.

Every worker has a sweeper, one of them on a host sweeps at a time: whoever holds
a lock on a file, which the kernel gives back when its holder dies.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from app.errors import StorageUnavailable
from app.processes.orphans import end_orphans
from app.storage.task_store import TaskStore
from app.turn import take_turn

from .command_job import MARK
from .detached import DetachedRuns
from .lost_hosts import LostHosts
from .outputs import Outputs
from .record import TaskRecord
from .states import State
from .worker import Worker

# A task is unfinished for at most 10 s after its worker's death: this, the grace
# and the time to kill together.
INTERVAL_SECONDS = 2.0
GRACE_SECONDS = 2.0
# For hosts it is looked more often: they are silent for five seconds before that.
LOOK_SECONDS = 1.0
# How often what is old elsewhere is forgotten: tokens, the audit.
HOUSEKEEPING_SECONDS = 60.0
# Records removed in one transaction: others wait for it a few milliseconds.
BATCH = 500
# Younger outputs may belong to a task that is being admitted.
STRAY_SECONDS = 60.0
# How often they are looked for: they come of a crash, and all files are looked at.
STRAY_LOOK_SECONDS = 600.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Retention:
    """How long finished tasks are kept, and how many at most."""

    seconds: float
    count: int


class Sweeper:
    """A thread that sweeps every two seconds, if it is this worker's turn.

    Without a `host` it sweeps up after none, and does the rest alone.
    `take_over` sees to a task whose process is no more, if it is not lost by that;
    `observe` is told every task that is. `lost_hosts` judges other hosts, where this is
    to.
    """

    def __init__(
        self,
        *,
        store: TaskStore,
        outputs: Outputs,
        host: str | None,
        lock_path: Path,
        retention: Retention,
        detached: DetachedRuns,
        take_over: Callable[[TaskRecord], bool],
        housekeeping: Sequence[Callable[[], None]] = (),
        tell_missed: Callable[[], None] = lambda: None,
        observe: Callable[[TaskRecord], None] = lambda _task: None,
        lost_hosts: LostHosts | None = None,
    ) -> None:
        self._store = store
        self._outputs = outputs
        self._host = host
        self._lock_path = lock_path
        self._retention = retention
        self._detached = detached
        self._take_over = take_over
        self._housekeeping = housekeeping
        self._tell_missed = tell_missed
        self._observe = observe
        self._lost_hosts = lost_hosts
        self._interval_seconds = LOOK_SECONDS if lost_hosts else INTERVAL_SECONDS
        self._next_housekeeping = 0.0
        self._next_stray_look = 0.0
        self._closing = threading.Event()
        self._thread = threading.Thread(
            target=self._sweep_on, name="sweeper", daemon=True
        )

    def start(self) -> None:
        """Start sweeping."""
        self._thread.start()

    def close(self, *, seconds: float) -> bool:
        """Stop sweeping; return whether it has stopped within the time."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def sweep(self) -> None:
        """Do one round, whoever's turn it is."""
        if self._lost_hosts is not None:
            self._lost_hosts.look()
        if self._host is not None:
            self._end_lost(self._host)
        self._tell_missed()
        if self._host is not None:
            self._expire(self._host)
        self._keep_house()
        if self._host is not None and time.monotonic() >= self._next_stray_look:
            self._remove_strays(self._host)
            self._next_stray_look = time.monotonic() + STRAY_LOOK_SECONDS

    def _sweep_on(self) -> None:
        with ExitStack() as held:
            while not (turn := self._take_turn(held)):
                if self._closing.wait(self._interval_seconds):
                    return
            while turn:
                self._sweep_once()
                turn = not self._closing.wait(self._interval_seconds)

    def _take_turn(self, held: ExitStack) -> bool:
        """Take the lock, to be kept for as long as `held` is; False: another's turn."""
        try:
            return take_turn(self._lock_path, held)
        except OSError as error:
            log.warning("sweep.postponed", error=str(error))
            return False

    def _sweep_once(self) -> None:
        try:
            self.sweep()
        except StorageUnavailable as error:
            log.warning("sweep.postponed", error=str(error.__cause__))
        except Exception:
            log.exception("sweep.failed")

    def _end_lost(self, host: str) -> None:
        """End what dead workers' runs left, and say in their records that they are."""
        dead = []
        for task in map(TaskRecord.from_row, self._store.unfinished(host)):
            if not task.worker:  # nobody has begun it
                continue
            if Worker.parse(task.worker).is_alive():
                self._detached.tell_cancelled(task)
            else:
                dead.append(task)
        lost = [task for task in dead if not self._take_over(task)]
        if not lost:
            return
        marks = [f"{MARK}={task.task_id}" for task in lost]
        survivors = end_orphans(marks, grace_seconds=GRACE_SECONDS)
        for task in lost:
            self._detached.kill(task.task_id)
            self._write_lost(task)
        log.warning("tasks.lost", count=len(lost), survivors=survivors)

    def _write_lost(self, task: TaskRecord) -> None:
        task_id = task.task_id
        facts: dict[str, Any] = {"state": State.LOST, "reason": "worker_lost"}
        facts |= self._outputs.left_by(task_id)
        if self._store.finish(task_id, finished=time.time(), **facts):
            self._observe(replace(task, **facts))
        self._detached.forget(task_id)
        self._outputs.tell(task_id)

    def _expire(self, host: str) -> None:
        """Forget what is past its age, or past the number that is kept."""
        while task_ids := self._store.expired(
            host,
            finished_before=time.time() - self._retention.seconds,
            keep=self._retention.count,
            limit=BATCH,
        ):
            # Outputs first: a record without one is removed the next time, an
            # output without a record would stay.
            self._outputs.remove(*task_ids)
            self._store.remove(task_ids)
            if self._closing.wait(0):
                return

    def _keep_house(self) -> None:
        """Have others forget what they need no more, now and then."""
        if time.monotonic() >= self._next_housekeeping:
            self._next_housekeeping = time.monotonic() + HOUSEKEEPING_SECONDS
            for forget in self._housekeeping:
                forget()
            if self._lost_hosts is not None:
                self._lost_hosts.forget_old()
                for host in self._lost_hosts.unswept():
                    self._expire(host)

    def _remove_strays(self, host: str) -> None:
        """Remove outputs whose task was never admitted: its worker died before."""
        task_ids = self._outputs.task_ids(older_than_seconds=STRAY_SECONDS)
        for first in range(0, len(task_ids), BATCH):
            batch = task_ids[first : first + BATCH]
            self._outputs.remove(*set(batch) - self._store.known(batch))
        unfinished = {row["task_id"] for row in self._store.unfinished(host)}
        left = self._detached.task_ids(older_than_seconds=STRAY_SECONDS)
        for task_id in left - unfinished:
            self._detached.forget(task_id)
