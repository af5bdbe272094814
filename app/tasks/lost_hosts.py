"""Ends what was to run on hosts that have died: nobody there will."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import structlog

from app.errors import StorageUnavailable
from app.storage.host_store import HostStore
from app.storage.task_store import TaskStore

from .hosts import AWAY_SECONDS, Host
from .outputs import Outputs
from .record import TaskRecord
from .states import State

# Between looks there may be so much: less than a host needs to be thought dead, and to
# give a sign of life again where the database was away meanwhile.
GAP_SECONDS = 3.0
# How long a host is remembered that is seen no more, and has no tasks.
REMEMBERED_SECONDS = 7 * 86400.0

log = structlog.get_logger(__name__)


class LostHosts:
    """Looks whether hosts give signs of life, by this process's own clock.

    One that has given none for some seconds has died, if the records could be read and
    written all that time. `observe` is told every task that is lost by that; `own` is
    the name of the host that this service is on.
    """

    def __init__(
        self,
        *,
        hosts: HostStore,
        tasks: TaskStore,
        outputs: Outputs,
        own: str,
        observe: Callable[[TaskRecord], None] = lambda _task: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hosts = hosts
        self._tasks = tasks
        self._outputs = outputs
        self._own = own
        self._observe = observe
        self._now = now
        self._looked = 0.0
        #: Of each host how many signs of life there were, and when that was new.
        self._seen: dict[str, tuple[int, float]] = {}
        self._dead: set[str] = set()  # which were logged

    def unswept(self) -> set[str]:
        """Return the hosts on which no worker may forget old tasks."""
        return {self._own, *self._dead}

    def look(self) -> None:
        """Look once, and end what was on hosts that are dead.

        To be called every second; raises StorageUnavailable.
        """
        beats = self._look()
        silent = {name: beat for name, beat in beats.items() if self._is_silent(name)}
        self._note(set(silent))
        for name, beat in silent.items():
            self._end_tasks(name, beat)

    def forget_old(self) -> None:
        """Forget hosts that were not seen for days."""
        for name in self._hosts.forget(unseen_seconds=REMEMBERED_SECONDS):
            log.info("host.forgotten", host=name)

    def _look(self) -> Mapping[str, int]:
        try:
            beats = self._hosts.beats()
        except StorageUnavailable:
            self._seen.clear()  # they could not tell us
            raise
        now = self._now()
        if now - self._looked > GAP_SECONDS:
            self._seen.clear()
        self._looked = now
        before, self._seen = self._seen, {}
        for name, beat in beats.items():
            known = before.get(name)
            is_same = known is not None and known[0] == beat
            self._seen[name] = known if known and is_same else (beat, now)
        return beats

    def _is_silent(self, name: str) -> bool:
        return self._looked - self._seen[name][1] >= AWAY_SECONDS

    def _note(self, silent: set[str]) -> None:
        for name in sorted(silent - self._dead):
            log.warning("host.lost", host=name)
        heard = {name for name in self._dead - silent if self._is_heard(name)}
        for name in sorted(heard):
            log.info("host.back", host=name)
        self._dead = (self._dead | silent) - heard

    def _is_heard(self, name: str) -> bool:
        """Return whether a host that was dead is no more so; it may be forgotten."""
        host = self._hosts.find(name)
        return host is None or Host.from_row(host).alive

    def _end_tasks(self, name: str, beat: int) -> None:
        tasks = [TaskRecord.from_row(row) for row in self._tasks.on_host(name)]
        lost = [task for task in tasks if task.worker or not task.waits_for_host]
        count = sum(self._end(task, beat) for task in lost)
        if count:
            log.warning("tasks.lost", count=count, host=name)

    def _end(self, task: TaskRecord, beat: int) -> bool:
        """Write that a task is lost, unless its host is there again."""
        facts: dict[str, Any] = {"state": State.LOST, "reason": "worker_lost"}
        facts |= self._outputs.left_by(task.task_id)
        finished = time.time()
        if not self._tasks.lose(
            task.task_id, task.worker, seen_beat=beat, finished=finished, **facts
        ):
            return False
        self._observe(replace(task, finished=finished, **facts))
        self._outputs.tell(task.task_id)
        return True
