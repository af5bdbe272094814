"""Sends messages: at once, by tasks, and once whatever happens."""

import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

from app.errors import (
    Fault,
    InvalidInput,
    MessageExists,
    SmsUnreachable,
)
from app.sms.gateway import Letter
from app.sms.outbox import Outbox, Wish
from app.sms.record import Message, Verdict
from app.sms.written_letter import read_letter, written_letter
from app.storage.message_store import Sender
from app.tasks.backend import TaskBackend
from app.tasks.call_job import Call, IsStopped
from app.tasks.order import Origin
from app.tasks.record import TaskRecord

from .places import place


class Messages:
    """Sends messages; `places` are for those who wait for that.

    `admits` raises Draining where no new task is taken on, but for the ends of others.
    """

    def __init__(
        self,
        *,
        outbox: Outbox,
        backend: TaskBackend,
        places: threading.BoundedSemaphore,
        admits: Callable[[], None],
    ) -> None:
        self._outbox = outbox
        self._backend = backend
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

    def faults(self, wish: Wish, *, facts: Mapping[str, str]) -> list[Fault]:
        """Return what would keep a message from being sent, with what it may say."""
        try:
            self._outbox.check(wish, facts=facts)
        except InvalidInput as error:
            return list(error.faults)
        except SmsUnreachable as error:
            return [Fault("", str(error))]
        return []

    def send_once(
        self, wish: Wish, origin: Origin, *, facts: Mapping[str, str], message_id: str
    ) -> None:
        """Start a task that sends a message, unless there is one of that id.

        Raises as :meth:`send_later`.
        """
        letter = self._outbox.check(wish, facts=facts, message_id=message_id)
        with suppress(MessageExists):  # it was sent, and that was not written down
            self._start(letter, origin)

    def call_of(self, asked: Mapping[str, Any]) -> Call:
        """Return what sends a message that another process has written down."""
        return self._call(asked["number"], read_letter(asked["letter"]))

    def _call(self, number: int, letter: Letter) -> Call:
        def deliver(is_stopped: IsStopped) -> tuple[Mapping[str, Any], str | None]:
            message = self._outbox.deliver(number, letter, is_stopped=is_stopped)
            is_sent = message.verdict is Verdict.SENT
            # Numbers are kept with the message alone.
            told = {"id": message.message_id}
            return told, None if is_sent else message.verdict

        give_up = partial(self._outbox.give_up, number, letter)
        asked = {"number": number, "letter": written_letter(letter)}
        return Call("sms", deliver, give_up, asked)

    def _start(self, letter: Letter, origin: Origin) -> TaskRecord:
        """Write a message down and start the task that sends it."""
        task_id = str(uuid.uuid4())
        # The request that is kept is tied to the task.
        sender = _sender(origin, None)
        number = self._outbox.keep(letter, sender, task_id=task_id)

        call = self._call(number, letter)
        with ExitStack() as refused:
            refused.callback(self._outbox.withdraw, letter.message_id)
            task = self._backend.submit_call(call, origin, task_id=task_id)
            refused.pop_all()
        return task


def _sender(origin: Origin, request: str | None) -> Sender:
    return Sender(origin.owner, origin.request_id, origin.account, request)
