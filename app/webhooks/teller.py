"""Tells a receiver something, signed, and says what came of it."""

import hmac
import time
from dataclasses import dataclass

from . import signature
from .schedule import read_retry_after
from .sender import Answer, NoAnswer, Sender
from .target import TargetRefused, Targets

# What the key of the service is derived by, from the secret that it has anyway.
_LABEL = b"webhooks"
_GONE = 410
# Those that may say when to come again.
_BUSY = (429, 503)


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt.

    `status` is None where there was no answer, `detail` says in a few words what was
    wrong, and never where to. `is_final`: another attempt would be in vain.
    """

    status: int | None = None
    detail: str = ""
    is_final: bool = False
    not_before: float = 0.0

    @property
    def is_delivered(self) -> bool:
        """Whether the receiver has taken it."""
        return not self.detail


class Teller:
    """Tells receivers, each within the sender's time, until it is closed."""

    def __init__(self, targets: Targets, sender: Sender, *, secret_key: str) -> None:
        self._targets = targets
        self._sender = sender
        self._key = hmac.digest(secret_key.encode(), _LABEL, "sha256")

    @property
    def secret(self) -> str:
        """The secret of receivers that were given none of their own."""
        return signature.make_secret(self._key)

    @property
    def is_closed(self) -> bool:
        """Whether nobody is told any more."""
        return self._sender.is_closed

    def fault(self, url: str) -> str | None:
        """Return why a URL may not be told, if so; no name is looked up."""
        try:
            self._targets.check(url)
        except TargetRefused as error:
            return str(error)
        return None

    def tell(
        self, url: str, *, secret: str | None, notice_id: str, body: bytes
    ) -> Outcome:
        """Tell a receiver once; `secret` is its own, if it has one."""
        if fault := self.fault(url):  # the prefixes may have changed
            return Outcome(detail=fault, is_final=True)
        key = self._key if secret is None else signature.read_secret(secret)
        headers = signature.headers(
            key, notice_id=notice_id, timestamp=int(time.time()), body=body
        )
        try:
            target = self._targets.find(url)
            answer = self._sender.post(target, headers=headers, body=body)
        except TargetRefused as error:
            return Outcome(detail=str(error))
        except NoAnswer as error:
            return Outcome(detail=f"has not answered: {error}")
        except OSError:
            return Outcome(detail="has a name that is not found")
        return _outcome(answer)

    def close(self) -> None:
        """Cut whatever is going on; safe to call twice."""
        self._sender.close()


def _outcome(answer: Answer) -> Outcome:
    status = answer.status
    if 200 <= status < 300:
        return Outcome(status)
    again = read_retry_after(answer.retry_after) if status in _BUSY else 0.0
    detail = f"has answered {status}"
    if 300 <= status < 400:
        detail += ", and redirects are not followed"
    return Outcome(status, detail, is_final=status == _GONE, not_before=again)
