"""What /metrics tells, for tests."""

from collections.abc import Mapping
from typing import Any

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

Series = tuple[str, frozenset[tuple[str, str]]]


class Scraped:
    """One answer of /metrics, read as Prometheus does."""

    def __init__(self, text: str) -> None:
        found = list(text_string_to_metric_families(text))
        self.families: Mapping[str, Metric] = {each.name: each for each in found}
        assert len(self.families) == len(found), "each family stands there once"
        self.samples: dict[Series, float] = {}
        for sample in (sample for family in found for sample in family.samples):
            series = sample.name, frozenset(sample.labels.items())
            assert series not in self.samples
            self.samples[series] = sample.value

    def value(self, name: str, **labels: Any) -> float:
        """Return the sum of all series of that name that have those labels."""
        wanted = {(label, str(value)) for label, value in labels.items()}
        return sum(
            value
            for (found, has), value in self.samples.items()
            if found == f"bellhop_{name}" and wanted <= has
        )

    def by(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """Return the values of a name by those of its labels, 0 left out."""
        found = {}
        for (each, has), value in self.samples.items():
            if each == f"bellhop_{name}" and value:
                found[tuple(dict(has)[label] for label in labels)] = value
        return found

    def counted(self) -> dict[Series, float]:
        """Return all that may only grow."""
        of_counters = {
            name
            for name, family in self.families.items()
            if family.type in ("counter", "histogram") and "_host_" not in name
        }
        ends = ("", "_total", "_count", "_sum", "_bucket")
        names = {name + end for name in of_counters for end in ends}
        return {s: value for s, value in self.samples.items() if s[0] in names}

    def assert_not_less(self, before: "Scraped") -> None:
        """Fail where anything has gone back since then."""
        now = self.counted()
        for series, value in before.counted().items():
            assert now.get(series, -1) >= value, series
