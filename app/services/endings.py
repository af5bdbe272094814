"""Tells who wants to know that a task has ended: by text message, and by webhook.

The worker that has written an end tells it at once; what is left over then, whoever
sweeps up goes on with. While one tells an end, nobody else does: it holds a lease on
that, which ends by itself where it dies.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from app.errors import (
    BellhopError,
    CapacityExceeded,
    Fault,
    StorageUnavailable,
    Unavailable,
)
from app.sms.outbox import Wish
from app.storage.task_store import TaskStore
from app.tasks.notice import read_notices
from app.tasks.order import Origin
from app.tasks.record import TaskRecord
from app.webhooks.couriers import Couriers

from .event import message_id
from .messages import Messages
from .webhooks import Notice, Webhooks, due_hosts, due_times

# Longer than to tell two receivers takes; after a crash an end is told again then.
LEASE_SECONDS = 60.0
# Until a message is tried again that could not be kept.
SMS_AGAIN_SECONDS = 60.0
# For which who sweeps up waits for couriers, so that many are told in a round.
ROUND_SECONDS = 1.0
# What slow receivers may hold up the end of the service.
CLOSE_SECONDS = 1.0

#: What a message about the end of a task may say of it, by names of parameters, and
#: what that is like.
_FACTS = {
    "task_id": "00000000-0000-0000-0000-000000000000",
    "command": "backup",
    "state": "SUCCESS",
    "reason": "exit",
    "returncode": "0",
    "host": "localhost",
}

log = structlog.get_logger(__name__)


class Endings:
    """Tells the ends of the tasks of a host; None: of all hosts."""

    def __init__(
        self,
        *,
        tasks: TaskStore,
        host: str | None,
        messages: Messages,
        webhooks: Webhooks,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._tasks = tasks
        self._host = host
        self._messages = messages
        self._webhooks = webhooks
        self._lease_seconds = lease_seconds
        self._couriers = Couriers()

    @property
    def secret(self) -> str:
        """What webhooks are signed by that were given no secret of their own."""
        return self._webhooks.secret

    def faults(self, notice: Mapping[str, Any]) -> list[Fault]:
        """Return what would keep a notice from being told; no name is looked up."""
        found: list[Fault] = []
        url = notice.get("webhook", {}).get("url")
        if url is not None and (why := self._webhooks.fault(url)):
            found.append(Fault("notify.webhook.url", why))
        if "sms" in notice:
            wrong = self._messages.faults(_wish(notice), facts=_FACTS)
            found += [
                replace(f, path=f"notify.sms.{f.path}".rstrip(".")) for f in wrong
            ]
        return found

    def tell_end(self, task: TaskRecord) -> None:
        """Tell the end of a task, unless somebody does; waits for no receiver.

        What cannot be told now is left for :meth:`tell_missed`.
        """
        if task.notify is None or task.notified is not None:
            return
        until = time.time() + self._lease_seconds
        if self._tasks.tell(task.task_id, seen=task.tell_at, tell_at=until):
            self._tell(replace(task, tell_at=until))

    def tell_missed(self) -> None:
        """Tell what is due of what was not told before."""
        deadline = time.monotonic() + ROUND_SECONDS
        for row in self._tasks.untold(self._host, now=time.time()):
            try:
                self._tell_if_free(row, seconds=deadline - time.monotonic())
            except StorageUnavailable:
                raise
            except Exception:  # the others are to be told all the same
                log.exception("notice.failed", task_id=row["task_id"])

    def close(self) -> bool:
        """Cut what takes long; return whether nobody is on the way any more."""
        return self._couriers.close(seconds=CLOSE_SECONDS, cut=self._webhooks.close)

    def _tell_if_free(self, row: Mapping[str, Any], *, seconds: float) -> None:
        """Tell an end, unless that is for a courier and none is free in time."""
        hosts = due_hosts(read_notices(row["notify"]))
        if hosts and not self._couriers.wait_until_free(hosts, seconds=seconds):
            return
        if found := self._tasks.find(row["task_id"]):
            self.tell_end(TaskRecord.from_row(found))

    def _tell(self, task: TaskRecord) -> None:
        """Tell what is held: have messages sent from here, webhooks by a courier."""
        notices = read_notices(task.notify)
        for number, notice in enumerate(notices):
            if task.state.lower() not in notice["on"]:
                notice.pop("webhook", None)
                notice.pop("sms", None)
            elif "sms" in notice:
                self._send(task, number, notice)
        self._send_courier(task, notices)

    def _send_courier(self, task: TaskRecord, notices: list[Notice]) -> None:
        """Have due webhooks told, once what was told from here is written down."""
        hosts = due_hosts(notices)
        is_news = hosts and notices != read_notices(task.notify)
        if is_news and not self._keep(task, notices, tell_at=task.tell_at):
            return
        bring = partial(self._bring, task, notices)
        if not hosts or not self._couriers.send(hosts, bring):
            self._keep(task, notices)

    def _send(self, task: TaskRecord, number: int, notice: Notice) -> None:
        """Have a text message sent, once, and note which."""
        values = {name: getattr(task, name) for name in _FACTS}
        values["command"] = task.command or task.cmd
        facts = {name: "" if v is None else str(v) for name, v in values.items()}
        told_by = message_id(task.task_id, number)
        origin = Origin(task.owner, task.request_id)
        try:
            self._messages.send_once(
                _wish(notice), origin, facts=facts, message_id=told_by
            )
            notice["message_id"] = told_by
        except (Unavailable, CapacityExceeded) as error:
            log.warning("notice.postponed", task_id=task.task_id, error=str(error))
            return
        except BellhopError as error:
            kind = type(error).__name__
            log.error("notice.not_sent", task_id=task.task_id, error=kind)  # noqa: TRY400
        del notice["sms"]  # numbers and texts are kept with the message alone

    def _bring(self, task: TaskRecord, notices: list[Notice]) -> None:
        """Tell the webhooks that are due; a courier does."""
        try:
            self._webhooks.bring(task, notices)
            if not self._couriers.given_up:
                self._keep(task, notices)
        except StorageUnavailable as error:
            cause = str(error.__cause__)
            log.warning("notice.postponed", task_id=task.task_id, error=cause)
        except Exception:  # the lease ends, and it is told again
            log.exception("notice.failed", task_id=task.task_id)

    def _keep(
        self, task: TaskRecord, notices: list[Notice], *, tell_at: float | None = None
    ) -> bool:
        """Write how far the telling is, and that it is over or goes on at a moment.

        Return False where the lease was over, and somebody else has it.
        """
        values: dict[str, Any] = {"notify": json.dumps(notices)}
        values["tell_at"] = tell_at or _goes_on_at(notices)
        if values["tell_at"] is None:
            values["notified"] = time.time()
        return self._tasks.tell(task.task_id, seen=task.tell_at, **values)


def _goes_on_at(notices: list[Notice]) -> float | None:
    """Return when the telling goes on; None: it is over."""
    messages = [time.time() + SMS_AGAIN_SECONDS for each in notices if "sms" in each]
    return min([*messages, *due_times(notices)], default=None)


def _wish(notice: Mapping[str, Any]) -> Wish:
    sms: Mapping[str, Any] = notice["sms"]
    return Wish(sms["receivers"], sms["template"], sms.get("params", {}))
