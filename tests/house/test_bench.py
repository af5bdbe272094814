"""What is published is what was measured, of all that can be measured."""

import json
import re
import xml.etree.ElementTree as ET

import pytest

from bench import charts, document
from bench.curves import CURVES
from bench.rows import ROWS
from bench.run import RESULTS
from tests.servers import PROJECT


@pytest.fixture(scope="module")
def results() -> dict:
    return json.loads(RESULTS.read_text())


def test_the_document_is_made_of_the_results_that_are_kept(results: dict) -> None:
    made, docs = document.files(results), PROJECT / "docs"
    drawn = {f"{document.CHARTS}/{p.name}" for p in (docs / document.CHARTS).iterdir()}
    assert drawn == made.keys() - {"performance.md"}
    stale = [path for path, text in made.items() if (docs / path).read_text() != text]
    assert not stale, 'make bench ARGS="--write" writes them again'


def test_everything_that_can_be_measured_was(results: dict) -> None:
    for kept, known in (("rows", ROWS), ("curves", CURVES)):
        assert results[kept].keys() == known.keys()
        failed = [name for name, each in results[kept].items() if "failed" in each]
        assert not failed


def test_a_figure_that_does_not_reach_its_goal_is_marked(results: dict) -> None:
    row = ROWS["start"]
    [reach] = [goal.reach for goal in row.goals if goal.figure == "seconds"]
    for seconds, marked in ((reach * 0.9, False), (reach * 1.1, True)):
        kept = results["rows"]["start"] | {"figures": {"seconds": seconds}}
        text = document.files(results | {"rows": {"start": kept}})["performance.md"]
        assert ("not reached" in text) is marked


def test_a_chart_has_its_points_where_they_are() -> None:
    points = [(1, 10.0), (10, 1000.0), (100, 100.0)]
    svg = charts.Lines("t", "x", "y", {"one": points}, log_x=True, log_y=True).svg()
    ET.fromstring(svg)
    found = re.findall(r'cx="([\d.]+)" cy="([\d.]+)" r="3.5"', svg)
    (x1, y1), (x2, y2), (x3, y3) = [(float(x), float(y)) for x, y in found]
    assert x2 - x1 == pytest.approx(x3 - x2)
    assert y1 - y3 == pytest.approx(y3 - y2)
    assert y2 < y3 < y1  # upwards


def test_bars_are_as_long_as_their_values() -> None:
    svg = charts.bars("t", "each", {"Bellhop": 50.0, "a <peer>": 200.0})
    ET.fromstring(svg)
    [one, other] = map(
        float, re.findall(r'<rect class="(?:s0|other)".* width="([\d.]+)"', svg)
    )
    assert other == pytest.approx(4 * one, abs=0.2)
