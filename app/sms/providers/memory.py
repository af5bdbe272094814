"""No vendor at all: what was sent is kept, to be looked at by tests."""

import threading
import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from app.sms.message import Accepted, Filled, Outcome
from app.sms.provider import SmsProvider
from app.sms.segments import count

# The last ones; those before are forgotten.
KEPT = 1000


@dataclass(frozen=True)
class Kept:
    """A message to one receiver."""

    receiver: str
    template: Filled
    message_id: str


class MemoryProvider(SmsProvider):
    """Accepts all that it is given, and keeps it in its own process."""

    batch_limit: ClassVar[int] = KEPT

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards _sent
        self._sent: deque[Kept] = deque(maxlen=KEPT)

    @property
    def sent(self) -> list[Kept]:
        """What was sent, the last at the end."""
        with self._lock:
            return list(self._sent)

    def send(
        self,
        template: Filled,
        receivers: Sequence[str],
        *,
        message_id: str,
        validity_seconds: int | None = None,  # noqa: ARG002 - it has none
        receipts_url: str | None = None,  # noqa: ARG002 - it sends none
    ) -> Sequence[Outcome]:
        """Keep a message for each receiver."""
        with self._lock:
            self._sent += [Kept(each, template, message_id) for each in receivers]
        return accepted(template, receivers)


def accepted(template: Filled, receivers: Sequence[str]) -> Sequence[Outcome]:
    """Return what a vendor would say that takes all; the ids are made up."""
    segments = count(template.text)
    return [Accepted(uuid.uuid4().hex, segments) for _ in receivers]
