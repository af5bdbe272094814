"""Whose turn it is: first come, first served, but one caller does not starve others."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

#: What of a task's row says whose turn it is.
COLUMNS = ("task_id", "owner", "command", "is_queued", "max_running", "turn")


class Line:
    """The unfinished tasks of one kind on one host, in the order of their making.

    Owners take turns: next is the one whose last turn is the longest ago, or who
    came first after that. A task's `turn` counts when its owner had one, or when the
    task came, whichever was later: it does not matter what has ended since.
    """

    def __init__(self, rows: Sequence[Row], *, max_running: int = 0) -> None:
        self._running = [row for row in rows if not row["is_queued"]]
        self._waiting = [row for row in rows if row["is_queued"]]
        self.max_running = max_running
        #: The number of the next turn: later than all that count.
        self.next_turn = 1 + max((row["turn"] for row in rows), default=0)

    def running(self) -> list[str]:
        """Return the tasks that run."""
        return [row["task_id"] for row in self._running]

    def waiting(self) -> list[str]:
        """Return the tasks that wait, in the order of their turns."""
        return [row["task_id"] for row in _by_turn(self._waiting)]

    def next_to_run(self) -> Iterator[str]:
        """Give the tasks for which there is room now."""
        room = self.max_running - len(self._running)
        of_command = Counter(row["command"] for row in self._running)
        # One whose command has no room takes no turn from others of its owner.
        free = [row for row in self._waiting if _has_room(row, of_command)]
        for row in _by_turn(free):
            if room <= 0:
                return
            if _has_room(row, of_command):
                of_command[row["command"]] += 1
                room -= 1
                yield row["task_id"]


def _has_room(row: Row, of_command: Mapping[str | None, int]) -> bool:
    most = row["max_running"]
    return most is None or of_command[row["command"]] < most


def _by_turn(rows: Sequence[Row]) -> list[Row]:
    """Return one task of each owner, then a second one of each, and so on."""
    before: Counter[str | None] = Counter()
    last: dict[str | None, int] = {}
    turns = []
    for number, row in enumerate(rows):
        owner = row["owner"]
        last.setdefault(owner, row["turn"])
        turns.append((before[owner], last[owner], number, row))
        before[owner] += 1
    return [row for *_, row in sorted(turns, key=lambda turn: turn[:3])]
