"""Whose turn it is: first come, first served, but one caller does not starve others."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

#: What of a task's row says whose turn it is.
COLUMNS = ("task_id", "owner", "command", "is_queued", "max_running")


class Line:
    """The unfinished tasks of one kind on one host, in the order of their making.

    Who has the fewest running, and waiting before, is next; the older of two such.
    """

    def __init__(
        self, rows: Sequence[Mapping[str, Any]], *, max_running: int = 0
    ) -> None:
        self._running = [row for row in rows if not row["is_queued"]]
        self._waiting = [row for row in rows if row["is_queued"]]
        self._max_running = max_running

    def running(self) -> list[str]:
        """Return the tasks that run."""
        return [row["task_id"] for row in self._running]

    def waiting(self) -> list[str]:
        """Return the tasks that wait, in the order of their turns."""
        return [row["task_id"] for row in self._by_turn()]

    def next_to_run(self) -> Iterator[str]:
        """Give the tasks for which there is room now."""
        room = self._max_running - len(self._running)
        of_command = Counter(row["command"] for row in self._running)
        for row in self._by_turn():
            if room <= 0:
                return
            most = row["max_running"]
            if most is None or of_command[row["command"]] < most:
                of_command[row["command"]] += 1
                room -= 1
                yield row["task_id"]

    def _by_turn(self) -> list[Mapping[str, Any]]:
        before = Counter(row["owner"] for row in self._running)
        turns = []
        for number, row in enumerate(self._waiting):
            turns.append((before[row["owner"]], number, row))
            before[row["owner"]] += 1
        return [row for _, _, row in sorted(turns, key=lambda turn: turn[:2])]
