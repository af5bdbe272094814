"""What a model says that hosts and runs cost, of what one piece of each does.

The formulas stand in docs/scale.md; here they are what the simulation is held against.
"""

from dataclasses import dataclass

from .hosts import BEAT_SECONDS, LOOK_SECONDS


@dataclass(frozen=True)
class Cost:
    """What one piece of work takes: transactions, what they log, processors."""

    transactions: float
    wal_bytes: float
    postgres_seconds: float
    valkey_seconds: float
    own_seconds: float  # of the process that does it

    def __add__(self, other: "Cost") -> "Cost":
        added = (a + b for a, b in zip(self._all(), other._all(), strict=True))
        return Cost(*added)

    def __mul__(self, times: float) -> "Cost":
        return Cost(*(each * times for each in self._all()))

    def _all(self) -> tuple[float, ...]:
        return tuple(vars(self).values())


@dataclass(frozen=True)
class Model:
    """The cost of a beat, of a look, of a run."""

    beat: Cost
    look: Cost
    run: Cost

    def second(self, *, hosts: int, runs: float) -> Cost:
        """Return what a second takes of so many hosts, with so many runs in it."""
        of_host = self.beat * (1 / BEAT_SECONDS) + self.look * (1 / LOOK_SECONDS)
        return of_host * hosts + self.run * runs

    def most_hosts(self, *, postgres_cores: float) -> float:
        """Return how many idle hosts use up so many processors of PostgreSQL."""
        return postgres_cores / self.second(hosts=1, runs=0).postgres_seconds
