"""What is shown: what was counted, and what is read at the moment of asking."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import structlog
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)

from app.errors import BellhopError

from .figures import NAMESPACE, Figures

#: What a reading found: for each family its values, by those of the labels.
Found = Mapping[str, Mapping[tuple[str, ...], float]]
#: Raises BellhopError or OSError where it cannot read.
Reading = Callable[[], Found]

log = structlog.get_logger(__name__)


class _Family(NamedTuple):
    help: str
    labels: Sequence[str] = ()
    kind: type[CounterMetricFamily | GaugeMetricFamily] = GaugeMetricFamily


#: All that readings may find. The names of counters get their _total when shown.
FAMILIES = {
    "build_info": _Family("Which release this is; always 1.", ["version", "python"]),
    "check_passed": _Family("Whether what is needed can be used now.", ["check"]),
    "draining": _Family("Whether this host takes no new runs: it is being drained."),
    "tasks_running": _Family("Tasks that run on this host now.", ["kind"]),
    "tasks_queued": _Family("Tasks that wait for room on this host now.", ["kind"]),
    "tasks_running_limit": _Family("Tasks that may run at a time.", ["kind"]),
    "tasks_queued_limit": _Family("Tasks that may wait for room.", ["kind"]),
    "hosts": _Family("Hosts that run tasks, by whether they can be heard.", ["state"]),
    "instance_free_bytes": _Family("Free space where all is kept."),
    "instance_size_bytes": _Family("All the space there is where all is kept."),
    "host_uptime_seconds": _Family("Time since the host was booted."),
    "host_load_average": _Family("The host's load average.", ["minutes"]),
    "host_users": _Family("Sessions of users, where the host keeps account of them."),
    "host_disk_reads": _Family(
        "Reads that a disk has done.", ["device"], CounterMetricFamily
    ),
    "host_disk_writes": _Family(
        "Writes that a disk has done.", ["device"], CounterMetricFamily
    ),
    "host_disk_read_bytes": _Family(
        "What was read from a disk.", ["device"], CounterMetricFamily
    ),
    "host_disk_written_bytes": _Family(
        "What was written to a disk.", ["device"], CounterMetricFamily
    ),
    "host_disk_busy_seconds": _Family(
        "Time for which a disk had something to do.", ["device"], CounterMetricFamily
    ),
}


class Scrape:
    """Shows figures and readings together, as Prometheus reads them."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        #: What is read, in this order.
        self.readings: Sequence[Reading] = ()

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return all of it in the form that `accept` asks for, and that form's name."""
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):  # it asks for a version that is none
            encode, content_type = choose_encoder("")
        return encode(self), content_type

    def collect(self) -> Iterator[Metric]:
        """Give all families; what cannot be read now is left out."""
        yield from self._figures.collect()
        for reading in self.readings:
            try:
                found = reading()
            except (BellhopError, OSError) as error:
                cause = str(error.__cause__ or error)
                log.warning("metrics.not_read", error=cause)
                continue
            for name, samples in found.items():
                yield _metric(name, samples)


def _metric(name: str, samples: Mapping[tuple[str, ...], float]) -> Metric:
    family = FAMILIES[name]
    metric = family.kind(f"{NAMESPACE}_{name}", family.help, labels=family.labels)
    for labels, value in samples.items():
        metric.add_metric(labels, value)
    return metric
