"""What is counted as it happens, by one process or by several together.

Labels have few values each, known before: names of routes, commands and providers,
never an id, a number or a text of somebody's.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values
from prometheus_client.metrics import disable_created_metrics
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector

NAMESPACE = "bellhop"

#: What came of a task that its own worker brought to an end.
OUTCOMES = ("success", "failure", "revoked")
#: What a provider says of a receiver.
SMS_OUTCOMES = ("accepted", "rejected", "unknown")
#: What came of an attempt to tell a webhook.
WEBHOOK_OUTCOMES = ("delivered", "postponed", "given_up")
#: What credentials are refused of.
CREDENTIALS = ("password", "token", "signature")

_METHODS = {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"}

# In seconds. Requests may wait for a minute, commands may run for days.
_REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30)
_TASK_BUCKETS = (0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400)
_SMS_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

# What is counted: by its name what it is, and its labels.
_COUNTS = {
    "http_requests": ("HTTP requests answered.", ("method", "route", "status")),
    "credentials_refused": ("Credentials given that were refused.", ("via",)),
    "tasks_ended": ("Tasks that came to an end, begun or not.", ("kind", "outcome")),
    "tasks_lost": ("Tasks whose worker died.", ("kind",)),
    "output_bytes": ("Output that tasks have written, counted at their end.", ()),
    "output_dropped_bytes": (
        "Output that was not kept, counted at the end of its task.",
        (),
    ),
    "sms_receivers": (
        "Receivers for whom a provider was asked, by what it said.",
        ("provider", "outcome"),
    ),
    "sms_receipts": (
        "Delivery receipts that told something new.",
        ("provider", "state"),
    ),
    "webhooks": ("Attempts to tell a webhook, by what came of them.", ("outcome",)),
}
# How many there are now.
_NOW = {
    "watchers": "Requests that wait or follow now.",
    "workers": "Processes that serve requests now.",
}
# How long something takes: what it is, its labels, its buckets.
_SPREADS = {
    "http_request_duration_seconds": (
        "Time from the beginning of a request to the beginning of its answer.",
        ("method", "route"),
        _REQUEST_BUCKETS,
    ),
    "task_wait_seconds": (
        "Time from the making of a task to its start.",
        ("kind",),
        _TASK_BUCKETS,
    ),
    "task_duration_seconds": (
        "Time from the start of a task to its end.",
        ("kind", "command", "outcome"),
        _TASK_BUCKETS,
    ),
    "sms_request_duration_seconds": (
        "Time that a provider took to answer a request.",
        ("provider",),
        _SMS_BUCKETS,
    ),
}

# When something was first counted tells nothing that anybody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Figures:
    """Counts what happens, for all to see; safe to use from many threads.

    Processes that are given the same `folder` count together, each in files of its
    `seat` in it. Without one, this process counts for itself. `kinds` are those of
    tasks, `providers` the names of those who send messages.
    """

    def __init__(
        self,
        *,
        kinds: Iterable[str],
        providers: Iterable[str],
        folder: Path | None = None,
        seat: Callable[[], int] = int,
    ) -> None:
        self._folder = folder
        self._registry = CollectorRegistry()
        # Chosen for the whole process, which has figures of one sort only.
        values.ValueClass = (
            values.MutexValue if folder is None else values.MultiProcessValue(seat)  # type: ignore[no-untyped-call]
        )
        ours: dict[str, Any] = {"namespace": NAMESPACE, "registry": self._registry}
        self._counts = {
            name: Counter(name, words, labels, **ours)
            for name, (words, labels) in _COUNTS.items()
        }
        self._now = {
            name: Gauge(name, words, **ours, multiprocess_mode="livesum")
            for name, words in _NOW.items()
        }
        self._spreads = {
            name: Histogram(name, words, labels, **ours, buckets=buckets)
            for name, (words, labels, buckets) in _SPREADS.items()
        }
        # The client checks and writes labels anew for each request.
        self._requests_of = cache(self._counts["http_requests"].labels)
        self._request_seconds_of = cache(
            self._spreads["http_request_duration_seconds"].labels
        )
        self._begin_at_nought(kinds, providers)

    def request_answered(
        self, *, method: str, route: str | None, status: int, seconds: float
    ) -> None:
        """Count a request; `route` is None where there is none of its path."""
        method, route = method if method in _METHODS else "OTHER", route or "unmatched"
        self._requests_of(method, route, status).inc()
        self._request_seconds_of(method, route).observe(seconds)

    def credentials_refused(self, via: str) -> None:
        """Count credentials that were given and refused."""
        self._counts["credentials_refused"].labels(via).inc()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Bracket a request that waits or follows."""
        self._now["watchers"].inc()
        try:
            yield
        finally:
            self._now["watchers"].dec()

    def serving(self) -> None:
        """Count this process as one that serves, for as long as it lives."""
        self._now["workers"].set(1)

    def task_started(self, kind: str, *, wait_seconds: float) -> None:
        """Count a task that has begun."""
        self._spreads["task_wait_seconds"].labels(kind).observe(wait_seconds)

    def task_ended(
        self, kind: str, *, command: str, outcome: str, seconds: float | None
    ) -> None:
        """Count a task that has ended; `seconds` is None where it had not begun."""
        self._counts["tasks_ended"].labels(kind, outcome).inc()
        if seconds is not None:
            self._spreads["task_duration_seconds"].labels(
                kind, command, outcome
            ).observe(seconds)

    def task_lost(self, kind: str) -> None:
        """Count a task whose worker died."""
        self._counts["tasks_lost"].labels(kind).inc()

    def output_written(self, *, written_bytes: int, dropped_bytes: int) -> None:
        """Count what a task that has ended had written."""
        self._counts["output_bytes"].inc(written_bytes)
        self._counts["output_dropped_bytes"].inc(dropped_bytes)

    def sms_answered(
        self, provider: str, outcomes: Iterable[str], *, seconds: float
    ) -> None:
        """Count what a provider has answered, an outcome for each receiver."""
        self._spreads["sms_request_duration_seconds"].labels(provider).observe(seconds)
        for outcome in outcomes:
            self._counts["sms_receivers"].labels(provider, outcome).inc()

    def receipt_taken(self, provider: str, state: str) -> None:
        """Count a delivery receipt that told something new."""
        self._counts["sms_receipts"].labels(provider, state).inc()

    def webhook_told(self, outcome: str) -> None:
        """Count an attempt to tell a webhook."""
        self._counts["webhooks"].labels(outcome).inc()

    def collect(self) -> Iterable[Metric]:
        """Return all that was counted, by all processes that count together."""
        if self._folder is None:
            return self._registry.collect()
        files = [str(path) for path in self._folder.glob("*.db")]
        merged: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return merged

    def _begin_at_nought(self, kinds: Iterable[str], providers: Iterable[str]) -> None:
        """Show what has not happened yet as 0: a rate needs something to grow from."""
        for kind in kinds:
            self._counts["tasks_lost"].labels(kind)
            self._spreads["task_wait_seconds"].labels(kind)
            for outcome in OUTCOMES:
                self._counts["tasks_ended"].labels(kind, outcome)
        for provider in providers:
            self._spreads["sms_request_duration_seconds"].labels(provider)
            for outcome in SMS_OUTCOMES:
                self._counts["sms_receivers"].labels(provider, outcome)
        for outcome in WEBHOOK_OUTCOMES:
            self._counts["webhooks"].labels(outcome)
        for via in CREDENTIALS:
            self._counts["credentials_refused"].labels(via)
