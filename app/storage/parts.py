"""The parts of a run on several hosts: how they are, and which are begun next."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

#: What of a part's row says how it is.
COLUMNS = (
    "task_id",
    "host",
    "state",
    "reason",
    "returncode",
    "cancel_requested",
)

_BEGUN = ("QUEUED", "STARTED")


class Parts:
    """The parts that were made of a run on several hosts, and those that were not.

    `plan` has its `hosts`, how many parts may go on at a time, None for all, and how
    many may end without success before no more are begun. `rows` are of the parts.
    """

    def __init__(
        self, plan: Mapping[str, Any], rows: Sequence[Row], *, is_cancelled: bool
    ) -> None:
        self.rows = {row["host"]: row for row in rows}
        self.hosts = plan["hosts"]
        self._max_parallel = plan["max_parallel"] or len(self.hosts)
        max_errors = plan["max_errors"]
        of_state = Counter(row["state"] for row in rows)
        self.going_on = sum(of_state[state] for state in _BEGUN)
        self.failed = len(rows) - self.going_on - of_state["SUCCESS"]
        self.is_cancelled = is_cancelled
        self._has_failed = max_errors is not None and self.failed > max_errors
        self._of_state = of_state

    @property
    def is_stopped(self) -> bool:
        """Whether no more are begun, whatever is left."""
        return self.is_cancelled or self._has_failed

    @property
    def is_over(self) -> bool:
        """Whether all have ended that were made, and no others will be."""
        return not self.going_on and not self.next()

    def left(self) -> list[str]:
        """Return the hosts whose part was not made."""
        return [host for host in self.hosts if host not in self.rows]

    def next(self) -> list[str]:
        """Return the hosts whose turn it is."""
        if self.is_stopped:
            return []
        return self.left()[: max(0, self._max_parallel - self.going_on)]

    def to_cancel(self) -> list[str]:
        """Return the parts that go on and were not asked to end."""
        going_on = [row for row in self.rows.values() if row["state"] in _BEGUN]
        return [row["task_id"] for row in going_on if not row["cancel_requested"]]

    def counts(self) -> dict[str, int]:
        """Return how many there are of each state, and in all."""
        left = len(self.left())
        of_state = self._of_state
        return {
            "total": len(self.hosts),
            "pending": 0 if self.is_stopped else left,
            "queued": of_state["QUEUED"],
            "running": of_state["STARTED"],
            "success": of_state["SUCCESS"],
            "failure": of_state["FAILURE"],
            "revoked": of_state["REVOKED"],
            "lost": of_state["LOST"],
            "skipped": left if self.is_stopped else 0,
        }
