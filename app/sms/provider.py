"""What a vendor is to us, whichever it is."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from .message import Filled, Outcome, Receipt


class ProviderUnreachable(Exception):
    """No connection was made: certainly nothing was sent."""


class OutcomeUnknown(Exception):
    """The request may have arrived; what became of it cannot be told."""


@dataclass(frozen=True)
class Call:
    """A vendor's call to us: a delivery receipt, as it came over HTTP.

    `url` is the one that the vendor was given, `headers` have names in lower case.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Acknowledgement:
    """What a vendor has to be answered, or it sends the same receipt again."""

    body: str = ""
    content_type: str = "text/plain"


@dataclass(frozen=True)
class Asked:
    """A message whose state a vendor is asked for: to one receiver, sent at a time."""

    message_id: str
    provider_id: str | None
    number: str
    sent: float  # seconds since the epoch


class SmsProvider(ABC):
    """A vendor: made once, of its settings as keyword arguments; used by threads.

    Making one connects to nothing.
    """

    #: Receivers that one request takes.
    batch_limit: ClassVar[int] = 1
    #: Whether the vendor keeps the texts, and is given their ids.
    needs_template_id: ClassVar[bool] = False
    #: Whether it can tell a rejection from a failure, which is what failover stands on.
    tells_rejections: ClassVar[bool] = True
    #: What a receipt is answered with; None: the vendor sends none.
    acknowledgement: ClassVar[Acknowledgement | None] = None

    def batches(self, receivers: Sequence[str]) -> Iterator[Sequence[str]]:
        """Give the receivers of one request after the other."""
        for first in range(0, len(receivers), self.batch_limit):
            yield receivers[first : first + self.batch_limit]

    @abstractmethod
    def send(
        self,
        template: Filled,
        receivers: Sequence[str],
        *,
        message_id: str,
        validity_seconds: int | None = None,
        receipts_url: str | None = None,
    ) -> Sequence[Outcome]:
        """Send to one batch of numbers in E.164; return what became of each, in order.

        `message_id` is ours, which the vendor is to give back in its receipts, sent to
        `receipts_url`. Raises ProviderUnreachable or OutcomeUnknown for all of them.
        """

    def receipts(self, call: Call) -> Sequence[Receipt]:
        """Return what a call reports.

        Raises ValueError where it cannot be read, PermissionError where its signature
        is wrong.
        """
        raise NotImplementedError

    def query(self, asked: Asked) -> Sequence[Receipt]:
        """Ask what became of a message; NotImplementedError: it cannot be asked.

        Raises ProviderUnreachable or OutcomeUnknown.
        """
        raise NotImplementedError

    def close(self) -> None:  # noqa: B027 - most have nothing open
        """Close what was opened; safe to call twice."""
