"""Sends messages: at once, by tasks, and about the ends of tasks."""

import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from app.errors import (
    BellhopError,
    CapacityExceeded,
    Fault,
    InvalidInput,
    MessageExists,
    SmsUnreachable,
    Unavailable,
)
from app.sms.gateway import Letter
from app.sms.outbox import Outbox, Wish
from app.sms.record import Message, Verdict
from app.storage.message_store import Sender
from app.storage.task_store import TaskStore
from app.tasks.backend import TaskBackend
from app.tasks.call_job import Call, IsStopped
from app.tasks.order import Origin
from app.tasks.record import TaskRecord

from .places import place

#: What a message about the end of a task may say of it, by names of parameters, and
#: what that is like.
_FACTS = {
    "task_id": str(uuid.UUID(int=0)),
    "command": "backup",
    "state": "SUCCESS",
    "reason": "exit",
    "returncode": "0",
    "host": "localhost",
}

# Of a task it is always the same one, so that it is sent once.
_NAMESPACE = uuid.UUID("0d3a1f5e-5a3c-4f0e-9d55-0c6a2f1b7e11")

log = structlog.get_logger(__name__)


class Messages:
    """Sends messages; `places` are for those who wait for that.

    `admits` raises Draining where no new task is taken on, but for the ends of others.
    """

    def __init__(
        self,
        *,
        outbox: Outbox,
        backend: TaskBackend,
        tasks: TaskStore,
        host: str,
        places: threading.BoundedSemaphore,
        admits: Callable[[], None],
    ) -> None:
        self._outbox = outbox
        self._backend = backend
        self._tasks = tasks
        self._host = host
        self._places = places
        self._admits = admits

    def send(self, wish: Wish, origin: Origin) -> Message:
        """Send a message; see Outbox. Raises WaitersExceeded where too many do."""
        letter = self._outbox.check(wish)
        with place(self._places):
            number = self._outbox.keep(letter, _sender(origin, origin.request))
            return self._outbox.deliver(number, letter)

    def send_later(self, wish: Wish, origin: Origin) -> tuple[Letter, TaskRecord]:
        """Start a task that sends a message; see Outbox and TaskBackend."""
        letter = self._outbox.check(wish)
        self._admits()
        return letter, self._start(letter, origin)

    def notice_faults(self, notice: Mapping[str, Any]) -> list[Fault]:
        """Return what would keep the end of a task from being told."""
        try:
            self._outbox.check(_wish(notice), facts=_FACTS)
        except InvalidInput as error:
            return [replace(f, path=f"notify.sms.{f.path}") for f in error.faults]
        except SmsUnreachable as error:
            return [Fault("notify.sms", str(error))]
        return []

    def tell_end(self, task: TaskRecord) -> None:
        """Send what is to be told of the end of a task, once.

        What cannot be sent now is left for :meth:`tell_missed`.
        """
        if task.notify is None or task.notified is not None:
            return
        notice = json.loads(task.notify)
        told: dict[str, Any] = {"on": notice["on"]}
        if task.state.lower() in notice["on"]:
            try:
                told["message_id"] = self._tell(task, notice)
            except (Unavailable, CapacityExceeded) as error:
                log.warning("notice.postponed", task_id=task.task_id, error=str(error))
                return
            except BellhopError as error:
                kind = type(error).__name__
                log.error("notice.not_sent", task_id=task.task_id, error=kind)  # noqa: TRY400
        # Numbers and texts are kept with the message alone.
        self._tasks.keep_told(task.task_id, notify=json.dumps(told), at=time.time())

    def tell_missed(self) -> None:
        """Send what was to be told when the service was not able to."""
        for row in self._tasks.untold(self._host):
            self.tell_end(TaskRecord.from_row(row))

    def _tell(self, task: TaskRecord, notice: Mapping[str, Any]) -> str:
        values = {name: getattr(task, name) for name in _FACTS}
        values["command"] = task.command or task.cmd
        facts = {name: "" if v is None else str(v) for name, v in values.items()}
        message_id = str(uuid.uuid5(_NAMESPACE, task.task_id))
        letter = self._outbox.check(_wish(notice), facts=facts, message_id=message_id)
        try:
            self._start(letter, Origin(task.owner, task.request_id))
        except MessageExists:  # it was told, and that was not written down
            pass
        return message_id

    def _start(self, letter: Letter, origin: Origin) -> TaskRecord:
        """Write a message down and start the task that sends it."""
        task_id = str(uuid.uuid4())
        # The request that is kept is tied to the task.
        sender = _sender(origin, None)
        number = self._outbox.keep(letter, sender, task_id=task_id)

        def deliver(is_stopped: IsStopped) -> tuple[Mapping[str, Any], str | None]:
            message = self._outbox.deliver(number, letter, is_stopped=is_stopped)
            is_sent = message.verdict is Verdict.SENT
            # Numbers are kept with the message alone.
            told = {"id": message.message_id}
            return told, None if is_sent else message.verdict

        call = Call("sms", deliver, partial(self._outbox.give_up, number, letter))
        try:
            return self._backend.submit_call(call, origin, task_id=task_id)
        except BaseException:
            self._outbox.withdraw(letter.message_id)
            raise


def _sender(origin: Origin, request: str | None) -> Sender:
    return Sender(origin.owner, origin.request_id, origin.account, request)


def _wish(notice: Mapping[str, Any]) -> Wish:
    sms: Mapping[str, Any] = notice["sms"]
    receivers: str | Sequence[str] = sms["receivers"]
    return Wish(receivers, sms["template"], sms.get("params", {}))
