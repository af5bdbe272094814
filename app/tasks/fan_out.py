"""Runs on several hosts: one task that has a part on each of them.

No process drives one. Whoever sees a part end has the next ones begun, or ends the
parent, and who sweeps up looks at all of them: what to do next, the records say.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Protocol

import structlog

from app.errors import (
    BellhopError,
    CapacityExceeded,
    Draining,
    Fault,
    HostAway,
    InvalidInput,
    StorageUnavailable,
    Unavailable,
)
from app.storage.fan_out_store import FanOutStore, NotItsTurn
from app.storage.parts import Parts
from app.storage.task_store import Room, TaskStore

from .backend import TaskBackend
from .entrance import admission_of
from .order import Order, Origin, Place
from .outputs import Outputs
from .record import TaskRecord
from .spread import Spread, end_of_parent, parent_of, refused_part
from .states import State
from .written_order import read, write

# How many may go on at a time that were asked for at one host: each costs a look every
# two seconds, and nothing else.
ROOM = Room(max_running=100)

# What a host refuses a part for, and the reason that is kept; else it is "refused".
_REASONS: dict[type[BellhopError], str] = {
    HostAway: "host_away",
    CapacityExceeded: "capacity",
    Draining: "draining",
}

_FINAL = (State.SUCCESS, State.FAILURE, State.REVOKED, State.LOST)

log = structlog.get_logger(__name__)


class Named(Protocol):
    """A host."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...


class KnownHosts(Protocol):
    """Where hosts are looked for."""

    def matching(self, labels: Mapping[str, str], /) -> Sequence[Named]:
        """Return the hosts that have all these labels."""
        ...


class FanOut:
    """Starts runs on several hosts, and brings them to their end.

    `base` is the environment of this service's commands, which each host puts its own
    in the place of. `is_everybodys` says that each host can have others begin parts.
    `observe` is told each that has started, and that has ended.
    """

    def __init__(
        self,
        *,
        tasks: TaskStore,
        store: FanOutStore,
        outputs: Outputs,
        hosts: KnownHosts,
        host: str,
        base: Mapping[str, str],
        is_everybodys: bool,
        observe: Callable[[TaskRecord], None] = lambda _task: None,
        admits: Callable[[], None] = lambda: None,
    ) -> None:
        self._tasks = tasks
        self._store = store
        self._outputs = outputs
        self._hosts = hosts
        self._host = host
        self._of_host = None if is_everybodys else host
        self._base = base
        self._observe = observe
        self._admits = admits
        #: What runs the parts; it tells :meth:`note` of their ends.
        self.backend: TaskBackend
        #: Called with each parent that somebody wants to be told the end of.
        self.tell_end: Callable[[TaskRecord], None] = lambda _task: None

    def matching(
        self, labels: Mapping[str, str] | None, names: Sequence[str] | None
    ) -> list[str]:
        """Return the names of the hosts that have all `labels`, of `names` if given.

        Raises InvalidInput where one is not known, or none is left.
        """
        found = [host.name for host in self._hosts.matching(labels or {})]
        if names is not None:
            self._check_names(names)
            found = [name for name in names if name in found]
        if not found:
            raise InvalidInput([Fault("hosts", "no host is like that")])
        return found

    def start(self, order: Order, origin: Origin, spread: Spread) -> TaskRecord:
        """Start a command on several hosts; raises as TaskBackend.submit.

        Once its parent is in the records, all else comes by itself.
        """
        if order.is_detached:
            raise InvalidInput([Fault("detached", "is for runs on one host")])
        self._admits()
        record = parent_of(order, origin, spread, host=self._host)
        admission, written = admission_of(ROOM, origin), write(order, base=self._base)
        self._outputs.make_watched(record.task_id)
        with ExitStack() as refused:
            refused.callback(self._outputs.remove, record.task_id)
            self._tasks.add(vars(record), admission, order=written)
            refused.pop_all()
        log.info("fan_out.started", task_id=record.task_id, hosts=len(spread.hosts))
        self._observe(record)
        self._try_to_advance(record.task_id)
        return TaskRecord.from_row(self._tasks.find(record.task_id) or vars(record))

    def note(self, task: TaskRecord) -> None:
        """See to what follows the end of a task, where it is a part of something."""
        if task.parent is not None and task.state in _FINAL:
            self._try_to_advance(task.parent)

    def advance_all(self) -> None:
        """Bring all further that have not ended, whoever has left them.

        Where each host runs its own tasks, those of this one.
        """
        for parent_id in self._store.unfinished(self._of_host):
            self._try_to_advance(parent_id)

    def advance(self, parent_id: str) -> None:
        """Begin the parts whose turn it is, or end the parent.

        Raises Unavailable where that has to wait; nothing is lost by it.
        """
        while found := self._store.find(parent_id):
            parent, parts = found
            if parts.is_over:
                self._end(parent_id)
                return
            if parts.is_cancelled:
                if not self._cancel_parts(parent_id):
                    return
            elif not self._begin_parts(TaskRecord.from_row(parent), parts):
                return

    def cancel(self, parent_id: str) -> None:
        """Have a run ended on all hosts; it returns at once, as TaskBackend.cancel."""
        self._tasks.request_cancel(parent_id)
        self._try_to_advance(parent_id)

    def counts(self, parent: TaskRecord) -> Mapping[str, int]:
        """Return how many parts of a run are in which state, and in all."""
        row: Mapping[str, Any] = vars(parent)
        if parent.finished is None:
            if found := self._store.find(parent.task_id):
                return found[1].counts()
            # It has ended just now, and may even be forgotten.
            row = self._tasks.find(parent.task_id) or row
        plan = json.loads(row["fan_out"])
        counts: Mapping[str, int] | None = plan.get("counts")
        return counts or Parts(plan, {}, is_cancelled=True).counts()

    def _check_names(self, names: Sequence[str]) -> None:
        known = [host.name for host in self._hosts.matching({})]
        faults = [
            Fault(f"hosts.names.{number}", f"there is no host {name!r}")
            for number, name in enumerate(names)
            if name not in known
        ]
        if faults:
            raise InvalidInput(faults)

    def _try_to_advance(self, parent_id: str) -> None:
        """Bring a run further, or leave that to who sweeps up."""
        try:
            self.advance(parent_id)
        except Unavailable as error:
            cause = str(error.__cause__ or error)
            log.warning("fan_out.postponed", task_id=parent_id, error=cause)
        except Exception:  # whoever has told of an end goes on
            log.exception("fan_out.failed", task_id=parent_id)

    def _begin_parts(self, parent: TaskRecord, parts: Parts) -> bool:
        """Begin parts; return whether some came to nothing, and others have room."""
        hosts = self._store.next_hosts(parent.task_id, parts)
        document = self._store.order(parent.task_id) if hosts else None
        if document is None:
            return False
        # Who wants to know is told once, of the parent's end.
        order = replace(read(document, base=self._base), notify=())
        account = json.loads(parent.fan_out or "{}")["account"]
        origin = Origin(
            parent.owner, parent.request_id, account=account, parent=parent.task_id
        )
        refused = [host for host in hosts if not self._begin(order, origin, host)]
        return bool(refused)

    def _begin(self, order: Order, origin: Origin, host: str) -> bool:
        """Begin a part; return whether it was, or is for others to see to."""
        try:
            self.backend.submit(order, origin, place=Place(host))
        except NotItsTurn:
            return True
        except BellhopError as error:
            reason = _REASONS.get(type(error))
            if reason is None and isinstance(error, Unavailable):
                raise  # it is not the host that refuses
            self._write_refused(order, origin, host, reason or "refused", str(error))
        except Exception:  # or it would be tried again for ever
            log.exception("fan_out.failed", task_id=origin.parent)
            detail = "a fault of the service, which its log has"
            self._write_refused(order, origin, host, "internal_error", detail)
        else:
            return True
        return False

    def _write_refused(
        self, order: Order, origin: Origin, host: str, reason: str, detail: str
    ) -> None:
        part = refused_part(order, origin, host, reason=reason, detail=detail)
        try:
            self._store.add_ended(vars(part))
        except NotItsTurn:
            return
        self._observe(part)

    def _cancel_parts(self, parent_id: str) -> bool:
        """Have parts ended; return whether any was still to be told."""
        # All at once: what follows the end of one finds that the others are told.
        task_ids = self._store.request_cancel(parent_id)
        for task_id in task_ids:
            try:
                self.backend.cancel(task_id)
            except Unavailable as error:  # who runs it looks by itself
                cause = str(error.__cause__ or error)
                log.warning("fan_out.postponed", task_id=task_id, error=cause)
        return bool(task_ids)

    def _end(self, parent_id: str) -> None:
        row = self._store.end(parent_id, end_of_parent)
        if row is None:
            return
        parent = TaskRecord.from_row(row)
        log.info("fan_out.ended", task_id=parent_id, state=parent.state)
        self._outputs.tell(parent_id)
        self._observe(parent)
        if parent.notify is not None:
            self._tell_end(parent)

    def _tell_end(self, parent: TaskRecord) -> None:
        try:
            self.tell_end(parent)
        except StorageUnavailable as error:  # who sweeps up does it
            log.warning("notice.postponed", error=str(error.__cause__))
