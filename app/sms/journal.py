"""Writes down what is said of a message, before anything more is sent of it."""

import json
import time
from collections.abc import Callable, Mapping, Sequence

import structlog

from app.errors import StorageUnavailable
from app.storage.message_store import MessageStore, Settled

from .gateway import Letter
from .message import Accepted, Category, Outcome, Rejected, State, Unknown
from .record import MAY_COME_AGAIN, Message, ReceiverRecord, Verdict, verdict_of

# What a provider has said cannot be asked again: it is tried to be written for three
# seconds, in which a database may be restarted.
WRITES = 7
WRITE_SECONDS = 0.5

# In the place of a vendor's code where a message came too late to any.
EXPIRED = "expired"
# The same where the records were away before a provider could be asked.
_NOT_ASKED = Rejected(Category.REQUEST, "not_asked", "no records could be kept of it")

log = structlog.get_logger(__name__)


class StoredJournal:
    """The steps of one message in the records; see Journal of the gateway.

    What was said last is written with what comes next, in one transaction.
    """

    def __init__(
        self, store: MessageStore, number: int, letter: Letter, *, worker: str
    ) -> None:
        self._store = store
        self._number = number
        self._letter = letter
        self._worker = worker
        self._positions = {r: n for n, r in enumerate(letter.receivers)}
        self._asked = letter.providers[0]
        # By receiver, the last provider and what it said; what is not settled by that,
        # since another provider may send it; what is not written yet.
        self._said: dict[str, tuple[str, Outcome]] = {}
        self._open: set[str] = set()
        self._unwritten: set[str] = set()
        self._attempts: dict[str, Rejected] = {}
        self._finished: float | None = None

    def asking(self, provider: str) -> None:
        """Write down whom is asked; that is not done unless it is written.

        The first one stands in the records since the message does.
        """
        if provider == self._asked and not self._said:
            return
        is_next = provider != self._asked
        self._asked = provider
        self._write(
            lambda settled: self._store.settle(
                self._number,
                settled,
                at=time.time(),
                provider=provider,
                worker=self._worker,
                is_next=is_next,
            )
        )

    def answered(self, provider: str, outcomes: Mapping[str, Outcome]) -> None:
        """Keep what a provider said."""
        for receiver, outcome in outcomes.items():
            self._said[receiver] = provider, outcome
            if isinstance(outcome, Rejected):
                self._attempts.setdefault(provider, outcome)
            if isinstance(outcome, Rejected) and outcome.is_curable_elsewhere:
                self._open.add(receiver)
            else:
                self._open.discard(receiver)
                self._unwritten.add(receiver)

    def give_up(self, code: str, words: str) -> None:
        """Keep that nobody was asked, and why."""
        given_up = Rejected(Category.REQUEST, code, words)
        self._said = dict.fromkeys(self._positions, (self._asked, given_up))
        self._unwritten = set(self._positions)

    def close(self) -> None:
        """Write down that nothing more is sent."""
        verdict = self._verdict(self._said)
        self._unwritten |= self._open
        self._finished = now = time.time()
        self._write(
            lambda settled: self._store.finish(
                self._number,
                settled,
                verdict=verdict,
                attempts=json.dumps(self._shown_attempts(), ensure_ascii=False),
                at=now,
                counts=verdict not in MAY_COME_AGAIN,
            )
        )

    def message(self) -> Message:
        """Return the message as it is known here.

        Whose it is, and which task sends it, only the records have.
        """
        nobody = self._asked, _NOT_ASKED
        said = {each: self._said.get(each, nobody) for each in self._positions}
        return Message(
            number=self._number,
            message_id=self._letter.message_id,
            owner=None,
            request_id=None,
            task_id=None,
            template=self._letter.template.name,
            provider=self._asked,
            validity_seconds=self._letter.validity_seconds,
            created=self._letter.created,
            finished=self._finished,
            verdict=self._verdict(said),
            attempts=self._shown_attempts(),
            receivers=[
                _recorded(receiver, _settled(self._positions[receiver], *told))
                for receiver, told in said.items()
            ],
        )

    def _verdict(self, said: Mapping[str, tuple[str, Outcome]]) -> Verdict:
        outcomes = [outcome for _, outcome in said.values()]
        return verdict_of(outcomes, list(self._attempts.values()))

    def _shown_attempts(self) -> list[dict[str, str]]:
        return [_shown(name, said) for name, said in self._attempts.items()]

    def _write(self, write: Callable[[Sequence[Settled]], None]) -> None:
        """Write with what is not written yet, again and again for a while."""
        settled = [
            _settled(self._positions[receiver], *self._said[receiver])
            for receiver in sorted(self._unwritten, key=self._positions.__getitem__)
        ]
        for _ in range(WRITES - 1):
            try:
                write(settled)
            except StorageUnavailable as error:
                log.warning("sms.not_written", error=str(error.__cause__))
                time.sleep(WRITE_SECONDS)
            else:
                break
        else:
            write(settled)
        self._unwritten.clear()


def _settled(position: int, provider: str, outcome: Outcome) -> Settled:
    if isinstance(outcome, Accepted):
        return Settled(
            position,
            State.SENT,
            provider,
            provider_id=outcome.provider_id,
            segments=outcome.segments,
        )
    if isinstance(outcome, Unknown):
        words = outcome.reason
        return Settled(position, State.UNKNOWN, provider, provider_message=words)
    return Settled(
        position,
        State.EXPIRED if outcome.code == EXPIRED else State.REJECTED,
        provider,
        category=outcome.category,
        provider_code=outcome.code,
        provider_message=outcome.message,
        per_number=outcome.per_number,
    )


def _recorded(receiver: str, settled: Settled) -> ReceiverRecord:
    facts = {n: value for n, value in vars(settled).items() if n != "per_number"}
    return ReceiverRecord(receiver=receiver, changed=time.time(), **facts)


def _shown(provider: str, said: Rejected) -> dict[str, str]:
    return {
        "provider": provider,
        "category": said.category,
        "provider_code": said.code,
        "provider_message": said.message,
    }
