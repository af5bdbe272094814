"""A task that makes a report piece by piece, waiting in between: no process."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from .job import end_of_task, state_of_stop
from .output_log import TaskOutput
from .states import State

#: ``wait(seconds)`` returns whether the report is to end there.
Wait = Callable[[float], bool]


@dataclass(frozen=True)
class Piece:
    """A part of a report: its text, and its figures unless it is but a heading."""

    text: str
    figures: dict[str, Any] | None = None


@dataclass(frozen=True)
class Report:
    """What is reported: `total` pieces with figures, made as they are asked for.

    `asked` is what it is made of, so that another process can.
    """

    kind: str
    total: int
    pieces: Callable[[Wait], Iterator[Piece]]
    asked: Mapping[str, Any] = field(default_factory=dict)


class ReportJob:
    """A Job: its output is the text, its result text and figures together."""

    has_output: ClassVar[bool] = True

    def __init__(
        self,
        report: Report,
        *,
        started: Callable[[], None],
        progressed: Callable[[int], None],
    ) -> None:
        self._report = report
        self._started = started
        self._progressed = progressed
        self._stop = threading.Event()
        self._stop_reason = ""  # written before _stop is set, read after it

    def run(self, output: TaskOutput) -> dict[str, Any]:
        """Make the report; see Job."""
        self._started()
        texts, samples = list[str](), list[dict[str, Any]]()
        for piece in self._report.pieces(self._stop.wait):
            if self._stop.is_set():
                break
            texts.append(piece.text)
            output.stdout.append(memoryview(piece.text.encode()))
            if piece.figures is not None:
                samples.append(piece.figures)
                self._progressed(len(samples))
        if len(samples) < self._report.total:
            return end_of_task(state_of_stop(self._stop_reason), self._stop_reason)
        result = {self._report.kind: "".join(texts), "samples": samples}
        return end_of_task(State.SUCCESS, "exit", result=json.dumps(result))

    def stop(self, reason: str) -> None:
        """End the report where it is; see Job."""
        self._stop_reason = self._stop_reason or reason
        self._stop.set()
