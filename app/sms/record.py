"""A message as the records have it, and what is made of its outcomes."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Self

from .message import UNREACHABLE, Accepted, Outcome, Rejected, Unknown


class Verdict(StrEnum):
    """What became of a message as a whole, when all was said that was asked."""

    SENT = "send"  # the word that callers have always been answered
    PARTIAL = "partial"
    UNKNOWN = "unknown"
    REJECTED = "rejected"
    RECEIVER_LIMITED = "receiver_limited"
    FAILED = "failed"
    UNREACHABLE = "unreachable"


#: The same message may do another time, so that it counts for nothing.
MAY_COME_AGAIN = frozenset(
    (Verdict.RECEIVER_LIMITED, Verdict.FAILED, Verdict.UNREACHABLE)
)


@dataclass(frozen=True)
class ReceiverRecord:
    """How far a message got at one receiver."""

    position: int
    receiver: str
    state: str
    changed: float
    provider: str | None
    provider_id: str | None
    segments: int | None
    category: str | None
    provider_code: str | None
    provider_message: str | None

    def facts(self) -> dict[str, Any]:
        """Return what callers are told of it."""
        facts = {
            "receiver": self.receiver,
            "state": self.state,
            "provider_id": self.provider_id,
            "segments": self.segments,
        }
        more = {
            "provider": self.provider,
            "category": self.category,
            "provider_code": self.provider_code,
            "provider_message": self.provider_message,
        }
        return facts | {name: value for name, value in more.items() if value}


@dataclass(frozen=True)
class Message:
    """A message and its receivers; times are seconds since the epoch."""

    number: int
    message_id: str
    owner: str | None
    request_id: str | None
    task_id: str | None
    template: str
    provider: str
    validity_seconds: int | None
    created: float
    finished: float | None
    verdict: Verdict | None
    attempts: Sequence[Mapping[str, Any]]
    receivers: Sequence[ReceiverRecord]

    @classmethod
    def from_rows(
        cls, row: Mapping[str, Any], receivers: Iterable[Mapping[str, Any]]
    ) -> Self:
        """Return what the rows of a message and of its receivers say."""
        found = {f.name: row[f.name] for f in fields(cls) if f.name in row}
        names = [f.name for f in fields(ReceiverRecord)]
        found |= {
            "verdict": Verdict(row["verdict"]) if row["verdict"] else None,
            "attempts": json.loads(row["attempts"]),
            "receivers": [
                ReceiverRecord(**{n: r[n] for n in names}) for r in receivers
            ],
        }
        return cls(**found)

    @property
    def word(self) -> str:
        """What callers are told in one word."""
        if self.verdict is None:
            return "queued"
        is_word = self.verdict in (Verdict.SENT, Verdict.PARTIAL, Verdict.UNKNOWN)
        return self.verdict if is_word else Verdict.FAILED

    def facts(self) -> dict[str, Any]:
        """Return what callers are told of it."""
        facts: dict[str, Any] = {
            "message": self.word,
            "id": self.message_id,
            "provider": self.provider,
            "receivers": [receiver.facts() for receiver in self.receivers],
        }
        return facts | ({"attempts": self.attempts} if self.attempts else {})


def verdict_of(outcomes: Sequence[Outcome], attempts: Sequence[Rejected]) -> Verdict:
    """Return what the last outcome of each receiver comes to.

    `attempts` has a rejection of every provider that has rejected.
    """
    kinds = {type(outcome) for outcome in outcomes}
    if Unknown in kinds:
        return Verdict.UNKNOWN
    if Accepted in kinds:
        return Verdict.PARTIAL if Rejected in kinds else Verdict.SENT
    rejected = [outcome for outcome in outcomes if isinstance(outcome, Rejected)]
    if any(each.is_between_us for each in rejected):
        reached = any(each.code != UNREACHABLE for each in attempts)
        return Verdict.FAILED if reached else Verdict.UNREACHABLE
    if all(each.per_number for each in rejected):
        return Verdict.RECEIVER_LIMITED
    return Verdict.REJECTED
