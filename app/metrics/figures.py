"""What is counted as it happens, by one process or by several together.

Labels have few values each, known before: names of routes, commands and providers,
never an id, a number or a text of somebody's.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache, partial
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
        count: Callable[..., Counter] = partial(Counter, **ours)
        spread: Callable[..., Histogram] = partial(Histogram, **ours)
        now: Callable[..., Gauge] = partial(Gauge, **ours, multiprocess_mode="livesum")
        self._requests = count(
            "http_requests", "HTTP requests answered.", ["method", "route", "status"]
        )
        self._request_seconds = spread(
            "http_request_duration_seconds",
            "Time from the beginning of a request to the beginning of its answer.",
            ["method", "route"],
            buckets=_REQUEST_BUCKETS,
        )
        self._credentials = count(
            "credentials_refused", "Credentials given that were refused.", ["via"]
        )
        self._watchers = now("watchers", "Requests that wait or follow now.")
        self._workers = now("workers", "Processes that serve requests now.")
        self._wait_seconds = spread(
            "task_wait_seconds",
            "Time from the making of a task to its start.",
            ["kind"],
            buckets=_TASK_BUCKETS,
        )
        self._task_seconds = spread(
            "task_duration_seconds",
            "Time from the start of a task to its end.",
            ["kind", "command", "outcome"],
            buckets=_TASK_BUCKETS,
        )
        self._ended = count(
            "tasks_ended",
            "Tasks that came to an end, begun or not.",
            ["kind", "outcome"],
        )
        self._lost = count("tasks_lost", "Tasks whose worker died.", ["kind"])
        self._output = count(
            "output_bytes", "Output that tasks have written, counted at their end."
        )
        self._dropped = count(
            "output_dropped_bytes",
            "Output that was not kept, counted at the end of its task.",
        )
        self._receivers = count(
            "sms_receivers",
            "Receivers for whom a provider was asked, by what it said.",
            ["provider", "outcome"],
        )
        self._sms_seconds = spread(
            "sms_request_duration_seconds",
            "Time that a provider took to answer a request.",
            ["provider"],
            buckets=_SMS_BUCKETS,
        )
        self._receipts = count(
            "sms_receipts",
            "Delivery receipts that told something new.",
            ["provider", "state"],
        )
        self._webhooks = count(
            "webhooks", "Attempts to tell a webhook, by what came of them.", ["outcome"]
        )
        # The client checks and writes labels anew for each request.
        self._requests_of = cache(self._requests.labels)
        self._request_seconds_of = cache(self._request_seconds.labels)
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
        self._credentials.labels(via).inc()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Bracket a request that waits or follows."""
        self._watchers.inc()
        try:
            yield
        finally:
            self._watchers.dec()

    def serving(self) -> None:
        """Count this process as one that serves, for as long as it lives."""
        self._workers.set(1)

    def task_started(self, kind: str, *, wait_seconds: float) -> None:
        """Count a task that has begun."""
        self._wait_seconds.labels(kind).observe(wait_seconds)

    def task_ended(
        self, kind: str, *, command: str, outcome: str, seconds: float | None
    ) -> None:
        """Count a task that has ended; `seconds` is None where it had not begun."""
        self._ended.labels(kind, outcome).inc()
        if seconds is not None:
            self._task_seconds.labels(kind, command, outcome).observe(seconds)

    def task_lost(self, kind: str) -> None:
        """Count a task whose worker died."""
        self._lost.labels(kind).inc()

    def output_written(self, *, written_bytes: int, dropped_bytes: int) -> None:
        """Count what a task that has ended had written."""
        self._output.inc(written_bytes)
        self._dropped.inc(dropped_bytes)

    def sms_answered(
        self, provider: str, outcomes: Iterable[str], *, seconds: float
    ) -> None:
        """Count what a provider has answered, an outcome for each receiver."""
        self._sms_seconds.labels(provider).observe(seconds)
        for outcome in outcomes:
            self._receivers.labels(provider, outcome).inc()

    def receipt_taken(self, provider: str, state: str) -> None:
        """Count a delivery receipt that told something new."""
        self._receipts.labels(provider, state).inc()

    def webhook_told(self, outcome: str) -> None:
        """Count an attempt to tell a webhook."""
        self._webhooks.labels(outcome).inc()

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
            self._lost.labels(kind)
            self._wait_seconds.labels(kind)
            for outcome in OUTCOMES:
                self._ended.labels(kind, outcome)
        for provider in providers:
            self._sms_seconds.labels(provider)
            for outcome in SMS_OUTCOMES:
                self._receivers.labels(provider, outcome)
        for outcome in WEBHOOK_OUTCOMES:
            self._webhooks.labels(outcome)
        for via in CREDENTIALS:
            self._credentials.labels(via)
