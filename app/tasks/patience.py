"""For how long who asks for something waits for it."""

import time
from collections.abc import Callable

# How often is looked whether somebody who waits has to give up.
LOOK_SECONDS = 0.25


class Patience:
    """Waits for so long, and no longer than until it `has_to_go`."""

    def __init__(
        self, seconds: float, *, has_to_go: Callable[[], bool] = lambda: False
    ) -> None:
        self._deadline = time.monotonic() + seconds
        self._has_to_go = has_to_go

    def seconds(self) -> float:
        """Return how long to wait before this is asked again; 0: no more."""
        if self._has_to_go():
            return 0.0
        return min(LOOK_SECONDS, max(0.0, self._deadline - time.monotonic()))
