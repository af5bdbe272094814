"""Servers that do the same work in turns, and what comes of it."""

import statistics
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.servers import Server

from .client import Work, drive
from .dose import Dose
from .usage import cpu_seconds, wait_until_idle

WARM_UP_SECONDS = 1


class NotThere(Exception):
    """A peer is not installed, and the row does without it."""


@dataclass(frozen=True)
class Goal:
    """A figure of a row, what it is to reach, and what we want to publish."""

    figure: str
    words: str
    unit: str
    reach: float | None
    aim: float | None
    more_is_better: bool = True


@dataclass
class Outcome:
    """What a row has found: lines of a table, figures by name, who was left out."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def line(self, who: str) -> dict[str, Any] | None:
        """Return the line of one, if it took part."""
        return next((line for line in self.lines if line["who"] == who), None)

    def compare(self, figure: str, ours: str, peer: str, key: str) -> None:
        """Keep the ratio of two lines, ours first, if both are there."""
        one, other = self.line(ours), self.line(peer)
        if one and other:
            self.figures[figure] = one[key] / other[key]


@dataclass(frozen=True)
class Row:
    """One kind of work: what is done, by whom, and what is to come of it."""

    name: str
    title: str
    text: str
    measure: Callable[[Dose, Path], Outcome]
    goals: tuple[Goal, ...] = ()
    chart: str = ""  # the column that is drawn


class Stage(ExitStack):
    """What is started for a row; peers that are not there are noted."""

    def __init__(self) -> None:
        super().__init__()
        self.left_out: list[str] = []

    def start(self, opening: AbstractContextManager[Server]) -> Server | None:
        """Start a server, or note that it is not there."""
        try:
            return self.enter_context(opening)
        except NotThere as error:
            self.left_out.append(str(error))
            return None


@dataclass(frozen=True)
class Contestant:
    """A server and the work that it is given."""

    who: str
    server: Server | None
    work: Work


def contest(those: Iterable[Contestant], dose: Dose, *, clients: int) -> list[dict]:
    """Let each do its work in every round; return a line for each."""
    there = [each for each in those if each.server is not None]
    for each in there:
        _round(each, clients, min(WARM_UP_SECONDS, dose.seconds))
    rounds: dict[str, list[dict[str, float]]] = {each.who: [] for each in there}
    for _ in range(dose.rounds):
        for each in there:
            rounds[each.who].append(_round(each, clients, dose.seconds))
    return [{"who": who, **_medians(seen)} for who, seen in rounds.items()]


def _round(each: Contestant, clients: int, seconds: float) -> dict[str, float]:
    pid = each.server.process.pid
    before = cpu_seconds(pid)
    pace = drive(each.server.url, each.work, clients=clients, seconds=seconds)
    used = cpu_seconds(pid) - before
    # What its clients did not wait for would take its part of the next one's round.
    wait_until_idle(pid)
    return {
        "per_second": pace.works / pace.seconds,
        "cpu_ms": used / pace.works * 1000,
        "p50_ms": pace.p50_ms,
        "p99_ms": pace.p99_ms,
        "client_cpu_ms": pace.client_cpu_seconds / pace.works * 1000,
    }


def _medians(seen: list[Mapping[str, float]]) -> dict[str, Any]:
    medians = {key: statistics.median(each[key] for each in seen) for key in seen[0]}
    return medians | {"rounds": [round(each["per_second"], 1) for each in seen]}
