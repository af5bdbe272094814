"""The parts of a run on several hosts: how many are in which state, and may begin."""

from collections.abc import Mapping
from typing import Any

_GOING_ON = ("QUEUED", "STARTED")


class Parts:
    """The parts that were made of a run on several hosts, and those that were not.

    `plan` has its `hosts`, how many parts may go on at a time, None for all, and how
    many may end without success before no more are begun. `of_state` counts the parts.
    """

    def __init__(
        self,
        plan: Mapping[str, Any],
        of_state: Mapping[str, int],
        *,
        is_cancelled: bool,
    ) -> None:
        self.hosts = plan["hosts"]
        self.is_cancelled = is_cancelled
        self._of_state = of_state
        self._most = plan["max_parallel"] or len(self.hosts)
        self._max_errors = plan["max_errors"]

    @property
    def is_stopped(self) -> bool:
        """Whether no more are begun, whatever is left."""
        failed = sum(self._of_state.values()) - self._going_on - self._of("SUCCESS")
        has_failed = self._max_errors is not None and failed > self._max_errors
        return self.is_cancelled or has_failed

    @property
    def room(self) -> int:
        """How many may begin now."""
        if self.is_stopped:
            return 0
        return max(0, min(self._left, self._most - self._going_on))

    @property
    def is_over(self) -> bool:
        """Whether all have ended that were made, and no others will be."""
        return not self._going_on and not self.room

    def counts(self) -> dict[str, int]:
        """Return how many there are of each state, and in all."""
        return {
            "total": len(self.hosts),
            "pending": 0 if self.is_stopped else self._left,
            "queued": self._of("QUEUED"),
            "running": self._of("STARTED"),
            "success": self._of("SUCCESS"),
            "failure": self._of("FAILURE"),
            "revoked": self._of("REVOKED"),
            "lost": self._of("LOST"),
            "skipped": self._left if self.is_stopped else 0,
        }

    @property
    def _going_on(self) -> int:
        return sum(self._of(state) for state in _GOING_ON)

    @property
    def _left(self) -> int:
        return len(self.hosts) - sum(self._of_state.values())

    def _of(self, state: str) -> int:
        return self._of_state.get(state, 0)
