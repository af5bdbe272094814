"""When a receiver that did not take what it was told is told it again."""

import random
import time
from collections.abc import Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime

#: Between attempts, as Standard Webhooks has it; the last one is repeated.
DELAYS: Sequence[float] = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0)
#: From what is told to the last attempt.
GIVE_UP_SECONDS = 86_400.0
# So that what has failed together does not come again together.
_JITTER = 0.1


def next_attempt(
    attempts: int,
    *,
    since: float,
    not_before: float = 0.0,
    delays: Sequence[float] = DELAYS,
) -> float | None:
    """Return when to try again after so many attempts (Unix seconds); None: no more.

    `since` is when that happened which is told.
    """
    now, last = time.time(), since + GIVE_UP_SECONDS
    if now >= last:
        return None
    delay = delays[min(attempts, len(delays)) - 1]
    delay *= random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311
    return min(max(now + delay, not_before), last)


def read_retry_after(text: str | None) -> float:
    """Return the moment of a `Retry-After` (Unix seconds); 0 where it names none."""
    text = (text or "").strip()
    if text.isascii() and text.isdigit():
        # More digits than a float can have are no less a long time.
        return time.time() + min(float(text[:20]), 2 * GIVE_UP_SECONDS)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
