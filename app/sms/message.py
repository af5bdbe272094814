"""Values: what is sent, what a vendor said to it, how far it got at whom."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Category(StrEnum):
    """Why a vendor would not send."""

    AUTH = "auth"  # who we are, or from where: keys, clock, allowed addresses
    ACCOUNT = "account"  # money, contract, a quota of our own
    SENDER = "sender"  # the signature or the number that it is sent by
    RATE_LIMITED = "rate_limited"
    RECIPIENT = "recipient"  # the number
    COMPLIANCE = "compliance"  # blocked content, a receiver who has opted out
    REQUEST = "request"  # the template, its parameters, the form of the request
    UNKNOWN = "unknown"


#: In the place of a vendor's code where the vendor was not reached.
UNREACHABLE = "unreachable"

#: What another vendor may send all the same.
CURABLE_ELSEWHERE = frozenset(
    (Category.AUTH, Category.ACCOUNT, Category.SENDER, Category.RATE_LIMITED)
)


@dataclass(frozen=True)
class Accepted:
    """The vendor has taken the message for a receiver.

    `segments` is what the vendor counts, None where it does not say.
    """

    provider_id: str | None = None
    segments: int | None = None


@dataclass(frozen=True)
class Rejected:
    """The vendor has certainly not sent it: with its code and its own words.

    `per_number` says of a limit that it is the receiver's, not ours: it guards people,
    so that no other vendor is asked.
    """

    category: Category
    code: str
    message: str = ""
    per_number: bool = False

    @property
    def is_curable_elsewhere(self) -> bool:
        """Whether another vendor may send it."""
        if self.code == UNREACHABLE:
            return True
        return self.category in CURABLE_ELSEWHERE and not self.per_number

    @property
    def is_for_all(self) -> bool:
        """Whether the vendor would say the same of every other receiver."""
        return self.code == UNREACHABLE or self.category is Category.AUTH

    @property
    def is_between_us(self) -> bool:
        """Whether neither receiver nor content is the reason, as far as is known."""
        return self.is_curable_elsewhere or self.category is Category.UNKNOWN


def unreachable(reason: str) -> Rejected:
    """Return the outcome of a vendor that no connection led to."""
    return Rejected(Category.UNKNOWN, UNREACHABLE, f"no connection: {reason}")


@dataclass(frozen=True)
class Unknown:
    """The vendor may have sent it, or not: it is never sent again."""

    reason: str


Outcome = Accepted | Rejected | Unknown


class State(StrEnum):
    """How far a message got at one receiver."""

    QUEUED = "queued"
    SENT = "sent"
    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    EXPIRED = "expired"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


#: From these a message goes nowhere else.
TERMINAL = frozenset(
    (State.DELIVERED, State.UNDELIVERED, State.EXPIRED, State.REJECTED)
)


@dataclass(frozen=True)
class Filled:
    """A template with its parameters filled in, as one vendor is to send it.

    `id` is the template's at the vendor, None where the vendor has none; `params` are
    in the order in which the template declares them.
    """

    name: str
    id: str | None
    params: Mapping[str, str]
    text: str


@dataclass(frozen=True)
class Receipt:
    """What a vendor tells later of a message at one receiver.

    It names the message by our id, or by the vendor's and the number. `part` counts
    from 1 where the vendor reports each part of a long message.
    """

    state: State
    code: str = ""
    message_id: str | None = None
    provider_id: str | None = None
    number: str | None = None
    segments: int | None = None
    part: int = 1
    parts: int = 1
