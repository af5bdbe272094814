"""Messages: checked, written down, sent, and what became of them written down.

A message is kept before its first request leaves. Whatever dies after that, it is
never sent a second time.
"""

import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import structlog

from app.errors import (
    Fault,
    InvalidInput,
    MessageNotFound,
    SmsUnreachable,
    StorageUnavailable,
)
from app.storage.message_store import MessageStore, Sender
from app.storage.ownership import ANYBODYS, Viewer
from app.storage.people_store import PeopleStore

from .gateway import Letter, SmsGateway
from .journal import EXPIRED, StoredJournal
from .limits import SmsLimits
from .number import read_number
from .record import Message
from .templates import SmsTemplate, SmsTemplates

RECEIVERS_LIMIT = 10_000

# A message of which nothing was written for this long is not being sent any more. Its
# worker writes after every batch, which takes no longer than SMS_TIMEOUT_SECONDS.
SILENT_SECONDS = 600.0

# Messages in one transaction, of up to 10,000 receivers each.
BATCH = 20

_NO_PROVIDER = "No provider is in use here; SMS_PROVIDER names them."
_PERSON = "user:"
_SHOWN_CHARACTERS = 40

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Wish:
    """What a caller asks to be sent."""

    receivers: str | Sequence[str]
    template: str
    params: Mapping[str, str | float]
    provider: str | None = None
    validity_seconds: int | None = None


@dataclass(frozen=True)
class SmsRetention:
    """How long numbers and texts are kept, how long the rest.

    After that there are digests of them, by the key: whoever has a number can still
    tell that something was sent to it.
    """

    contents_seconds: float
    seconds: float
    key: str

    def digest(self, text: str) -> str:
        """Return what is kept in the place of a text."""
        made = hmac.new(self.key.encode(), text.encode(), hashlib.sha256)
        return f"hmac-sha256:{made.hexdigest()}"


class Outbox:
    """Sends messages, and knows what became of them.

    `worker` tells which process this is, `is_gone` whether the one that sends a message
    has certainly ended, by the message's row.
    """

    def __init__(
        self,
        *,
        store: MessageStore,
        people: PeopleStore,
        templates: SmsTemplates,
        gateway: SmsGateway,
        limits: SmsLimits,
        retention: SmsRetention,
        host: str,
        worker: Callable[[], str],
        is_gone: Callable[[Mapping[str, Any]], bool],
    ) -> None:
        self._store = store
        self._people = people
        self._templates = templates
        self._gateway = gateway
        self._limits = limits
        self._retention = retention
        self._host = host
        self._worker = worker
        self._is_gone = is_gone

    def check(
        self,
        wish: Wish,
        *,
        facts: Mapping[str, str] = MappingProxyType({}),
        message_id: str | None = None,
    ) -> Letter:
        """Return what is sent of a wish; `facts` are for parameters that it lacks.

        Raises InvalidInput naming every fault, or SmsUnreachable where there is no
        provider.
        """
        receivers, faults = self._receivers(wish.receivers)
        try:
            template = self._templates.get(wish.template)
        except InvalidInput as error:
            raise InvalidInput([*error.faults, *faults]) from None
        known = {name: facts[name] for name in facts if name in template.param_names}
        params = known | dict(wish.params)
        faults += template.faults(params)
        providers, provider_faults = self._providers(wish.provider, template)
        if faults := [*faults, *provider_faults]:
            raise InvalidInput(faults)
        if not providers:
            raise SmsUnreachable(_NO_PROVIDER)
        return Letter(
            message_id=message_id or str(uuid.uuid4()),
            template=template,
            params=params,
            receivers=receivers,
            providers=providers,
            created=time.time(),
            validity_seconds=wish.validity_seconds,
        )

    def keep(
        self, letter: Letter, sender: Sender, *, task_id: str | None = None
    ) -> int:
        """Write down a message that is to be sent; return its number.

        Raises SmsLimitExceeded, NotAuthenticated, KeyInFlight, StorageUnavailable, or
        MessageExists where one with that id was kept before;
        then nothing is sent.
        """
        filled = letter.template.fill(letter.params, provider=letter.providers[0])
        row = {
            "message_id": letter.message_id,
            "request_id": sender.request_id,
            "task_id": task_id,
            "worker": self._worker(),
            "host": self._host,
            "template": letter.template.name,
            "provider": letter.providers[0],
            "params": json.dumps(dict(filled.params), ensure_ascii=False),
            "text": filled.text,
            "validity_seconds": letter.validity_seconds,
            "created": letter.created,
            "touched": letter.created,
            "attempts": "[]",
        }
        uses, quotas = self._limits.of(letter, caller=sender.owner or "nobody")
        return self._store.add(row, letter.receivers, sender, uses=uses, quotas=quotas)

    def deliver(
        self,
        number: int,
        letter: Letter,
        *,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> Message:
        """Send what was written down; return what became of it.

        Once it `is_stopped`, no receiver more is sent to. Where that cannot be written
        down it is told all the same; later on it is unknown.
        """
        if letter.is_late(time.time()):
            return self.give_up(number, letter, EXPIRED)
        journal = StoredJournal(self._store, number, letter, worker=self._worker())
        try:
            self._gateway.send(letter, journal, is_stopped)
            journal.close()
        except StorageUnavailable as error:
            # What is sent is sent: who is told to try again would send it again.
            facts = {"message_id": letter.message_id, "error": str(error.__cause__)}
            log.error("sms.not_recorded", **facts)  # noqa: TRY400
        return journal.message()

    def give_up(self, number: int, letter: Letter, code: str) -> Message:
        """Write down that a message is not sent any more; return it."""
        journal = StoredJournal(self._store, number, letter, worker=self._worker())
        journal.give_up(code, "it was not sent before that")
        journal.close()
        return journal.message()

    def withdraw(self, message_id: str) -> None:
        """Forget a message of which nothing was sent, and will not be."""
        self._store.remove(message_id)

    def get(self, message_id: str, viewer: Viewer = ANYBODYS) -> Message:
        """Return a message that the viewer may see; raises MessageNotFound."""
        row = self._store.find_seen(message_id, viewer)
        if row is None:
            raise MessageNotFound
        return self._message(self._settled(row))

    def text_of(self, template: str, params: Mapping[str, Any]) -> str:
        """Return the text that is sent; raises InvalidInput."""
        found = self._templates.get(template)
        if not found.has_text:
            raise InvalidInput([Fault("template", "has its text at the provider only")])
        if faults := found.faults(params):
            raise InvalidInput(faults)
        return found.fill(params, provider="").text

    def of_task(self, task_id: str) -> str:
        """Return the id of the message that a task sends; raises MessageNotFound."""
        message_id = self._store.find_of_task(task_id)
        if message_id is None:
            raise MessageNotFound
        return message_id

    def page(
        self,
        viewer: Viewer,
        filters: Mapping[str, Any],
        *,
        before: int | None,
        limit: int,
    ) -> Sequence[tuple[Message, Mapping[str, int]]]:
        """Return up to `limit` messages that the viewer may see, newest first.

        Each without its receivers, but with how many of them are in which state.
        """
        rows = self._store.page(viewer, filters, before=before, limit=limit)
        states = self._store.states([row["number"] for row in rows])
        return [(Message.from_rows(row, []), states[row["number"]]) for row in rows]

    def events(self, message: Message) -> Sequence[Mapping[str, Any]]:
        """Return what happened to a message, in its order."""
        happened = list(self._store.events(message.number))
        stored = {"at": message.created, "event": "stored"}
        if message.finished is None or any(e["event"] == "lost" for e in happened):
            return [stored, *happened]
        finished = {"at": message.finished, "event": "finished", "detail": message.word}
        return sorted([stored, *happened, finished], key=lambda event: event["at"])

    def settle_lost(self) -> None:
        """Write down what is not known of messages whose worker has died."""
        for row in self._store.unsent():
            self._settled(row)

    def forget_old(self) -> None:
        """Put digests in the place of old contents; forget what is older yet."""
        now = time.time()
        before = now - self._retention.contents_seconds
        digest = self._retention.digest
        while self._store.forget_contents(before, digest, limit=BATCH, at=now) == BATCH:
            pass
        self._store.remove_before(now - self._retention.seconds)
        self._store.remove_usage_before(now - self._limits.longest_seconds)

    def _receivers(self, given: str | Sequence[str]) -> tuple[list[str], list[Fault]]:
        """Return the numbers, each once and in their order, and what is wrong."""
        texts = given.split(",") if isinstance(given, str) else given
        numbers, faults = list[str](), list[Fault]()
        if len(texts) > RECEIVERS_LIMIT:
            fault = f"are {len(texts)}, which is more than {RECEIVERS_LIMIT}"
            return [], [Fault("receivers", fault)]
        for position, text in enumerate(texts):
            try:
                numbers.append(self._number(text.strip(" ")))
            except ValueError as error:
                shown = text[:_SHOWN_CHARACTERS]
                faults.append(Fault(f"receivers.{position}", f"{shown!r} {error}"))
        return list(dict.fromkeys(numbers)), faults

    def _number(self, text: str) -> str:
        if not text.startswith(_PERSON):
            return read_number(text)
        uid = text.removeprefix(_PERSON)
        is_uid = uid.isascii() and uid.isdecimal() and len(uid) < 10
        person = self._people.find(int(uid)) if is_uid else None
        if person is None:
            raise ValueError("is nobody in the directory")
        if not person["phone"]:
            raise ValueError("has no phone in the directory")
        return read_number(person["phone"])

    def _providers(
        self, wanted: str | None, template: SmsTemplate
    ) -> tuple[Sequence[str], list[Fault]]:
        """Return who is asked, in that order, and what is wrong with that.

        A provider for which the template has neither an id nor a text is passed over
        where there is another.
        """
        order = self._gateway.order
        if wanted is not None and wanted not in order:
            known = ", ".join(order) or "none is set"
            return [], [Fault("provider", f"is not one of those in use: {known}")]
        names = order if wanted is None else [wanted]
        able = [name for name in names if self._gateway.is_able(name, template)]
        if names and not able:
            needs = f"has neither an id nor a text for {', '.join(names)}"
            return [], [Fault("template", needs)]
        return able, []

    def _settled(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a message's row, settled if nobody sends it any more."""
        if row["finished"] is not None:
            return row
        waits = row["task_id"] is not None and row["touched"] == row["created"]
        is_silent = not waits and time.time() - row["touched"] > SILENT_SECONDS
        if not is_silent and not self._is_gone(row):
            return row
        self._store.lose(row["number"], at=time.time())
        log.warning("sms.lost", message_id=row["message_id"])
        return self._store.find(row["message_id"]) or row

    def _message(self, row: Mapping[str, Any]) -> Message:
        return Message.from_rows(row, self._store.receivers(row["number"]))
