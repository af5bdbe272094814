"""docs/performance.md and its charts, made of what was measured."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import charts
from .contest import Goal, Row
from .curves import CURVES, Curve
from .rows import ROWS

CHARTS = "performance"

#: How the columns of a table are called, in their order, and their decimals.
COLUMNS = {
    "x": ("", 0),
    "per_second": ("per second", 0),
    "cpu_ms": ("CPU ms each", 2),
    "cpu_us": ("CPU µs", 0),
    "before_us": ("before", 0),
    "p50_ms": ("p50 ms", 1),
    "p99_ms": ("p99 ms", 1),
    "client_cpu_ms": ("client's CPU ms", 2),
    "lines": ("lines", 0),
    "ms": ("ms", 2),
    "most_ms": ("longest ms", 1),
    "bytes": ("bytes", 0),
    "mb_per_second": ("MB per second", 0),
    "cpu_seconds_per_gb": ("CPU s per GB", 2),
    "grown_mb": ("memory grown by MB", 1),
    "running": ("running", 0),
    "served": ("served", 0),
    "starts_seconds": ("s to start them", 1),
    "idle_cpu": ("cores while they wait", 2),
    "idle_mb": ("MB before", 0),
    "seconds": ("s", 3),
    "rss_mb": ("RSS MB", 0),
    "pss_mb": ("PSS MB", 0),
    "asked": ("asked", 0),
    "health_p99_ms": ("health p99 ms", 1),
}

HEAD = """# Performance

Written by `make bench`, of `bench/results.json`; the words stand in `bench/` too. What
is measured is Bellhop as it ships: gunicorn with `gunicorn.conf.py`, in production,
every task recorded in SQLite, every request logged, every run audited. Peers are
started as their own documentation says. Where a setting is not the shipped one, it
is named.

- All have the same client ({client}), on the same machine, over 127.0.0.1. Each client
  is a thread with one connection that asks again as soon as it is answered. It looks at
  every answer; a wrong one ends the measurement.
- Contestants take turns: a round of each, then the next round. A rate is the median of
  the rounds. Ratios say more than rates, since the machine drops out of them.
- CPU is what all processes of a server have used for each piece of work, with the
  commands that they have run.
"""

AGAIN = """
```sh
apt-get install webhook wrk chromium   # as root; what is not there is left out
make bench                             # all of it, in about half an hour
make bench ARGS="exec uptime"          # some rows
make bench ARGS="--quick"              # a small dose, only to look at
```
"""

SMALL = """**Some of these were taken in a small dose, once or twice**: they show how
large a figure is, and are no medians. Each says below how it was taken.

"""


def write(results: dict[str, Any], docs: Path) -> None:
    """Write the document and its charts; what is there of older ones is removed."""
    folder = docs / CHARTS
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.svg"):
        old.unlink()
    for path, text in files(results).items():
        (docs / path).write_text(text)


def files(results: dict[str, Any]) -> dict[str, str]:
    """Return the text of each file by its path in docs/."""
    drawn = {f"{CHARTS}/{name}.svg": svg for name, svg in _charts(results)}
    return {"performance.md": "".join(_text(results))} | drawn


def rounded(value: Any) -> Any:
    """Return numbers to four digits: more would be noise."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return value


def _text(results: dict[str, Any]) -> Iterator[str]:
    yield HEAD.format(client=results["machine"]["client"])
    yield AGAIN
    yield "\n## Machine\n\n| what | which |\n|---|---|\n"
    yield from (f"| {name} | {value} |\n" for name, value in results["machine"].items())
    yield "\n## Figures\n\n"
    if any(each["dose"] != "full" for each in results["rows"].values()):
        yield SMALL
    yield from _figures(results)
    for name, row in ROWS.items():
        if result := results.get("rows", {}).get(name):
            yield from _row(row, result)
    yield "\n## How cost grows\n"
    for name, curve in CURVES.items():
        if result := results.get("curves", {}).get(name):
            yield from _curve(curve, result)


def _figures(results: dict[str, Any]) -> Iterator[str]:
    yield "| work | figure | measured | at least | aim |\n|---|---|---|---|---|\n"
    for name, row in ROWS.items():
        figures = results.get("rows", {}).get(name, {}).get("figures", {})
        title = f"[{row.title}](#{_slug(row.title)})"
        for goal in row.goals:
            if goal.figure in figures:
                yield f"| {title} | {_goal(goal, figures[goal.figure])} |\n"
                title = ""


def _goal(goal: Goal, measured: float) -> str:
    value = _quantity(goal, measured)
    if goal.reach is not None and not _holds(goal, measured, goal.reach):
        value = f"**{value}**, not reached"
    return " | ".join(
        [
            goal.words,
            value,
            _bound(goal, goal.reach),
            _bound(goal, goal.aim),
        ]
    )


def _holds(goal: Goal, measured: float, bound: float) -> bool:
    return measured >= bound if goal.more_is_better else measured <= bound


def _bound(goal: Goal, bound: float | None) -> str:
    if bound is None:
        return ""
    return f"{'≥' if goal.more_is_better else '≤'} {_quantity(goal, bound)}"


def _quantity(goal: Goal, value: float) -> str:
    if goal.unit == "of all":
        return f"{value:.0%} of all"
    return f"{_number(value)} {goal.unit}"


def _number(value: float) -> str:
    """Write a figure with two or three digits that matter."""
    decimals = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{decimals}f}"


def _row(row: Row, result: dict[str, Any]) -> Iterator[str]:
    yield f"\n## {row.title}\n\n{row.text}\n\n"
    yield from _result(result)
    if row.chart and "lines" in result:
        yield f"\n![{row.title}: a chart]({CHARTS}/{row.name}.svg)\n"


def _curve(curve: Curve, result: dict[str, Any]) -> Iterator[str]:
    yield f"\n### {curve.title}\n\n{curve.text}\n\n"
    if "lines" in result:
        yield f"![{curve.title}: a chart]({CHARTS}/curve-{curve.name}.svg)\n\n"
        yield f"{curve.why}\n\n"
    yield from _result(result)


def _result(result: dict[str, Any]) -> Iterator[str]:
    if "failed" in result:
        yield f"It could not be measured: {result['failed']}\n"
        return
    lines = result["lines"]
    columns = [key for key in COLUMNS if any(key in line for line in lines)]
    yield f"| | {' | '.join(COLUMNS[key][0] for key in columns)} |\n"
    yield f"|---|{'---:|' * len(columns)}\n"
    for line in lines:
        cells = [_cell(key, line.get(key)) for key in columns]
        yield f"| {line['who']} | {' | '.join(cells)} |\n"
    yield f"\n{_circumstances(result)}\n"


def _circumstances(result: dict[str, Any]) -> str:
    rounds = "one round" if result["rounds"] == 1 else f"{result['rounds']} rounds"
    said = f"{result['taken']}, {rounds}"
    if result["dose"] != "full":
        said += ", a small dose"
    said += f", load of the machine before {result['load_before']:.1f}"
    if result["stolen"] >= 0.01:
        said += f", {result['stolen']:.0%} of the CPU went to other machines"
    for who in result["left_out"]:
        said += f". Left out: {who}"
    return f"<sub>{said}.</sub>"


def _cell(key: str, value: float | None) -> str:
    return "" if value is None else f"{value:,.{COLUMNS[key][1]}f}"


def _charts(results: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, row in ROWS.items():
        lines = results.get("rows", {}).get(name, {}).get("lines")
        if lines and row.chart:
            bars = {line["who"]: line[row.chart] for line in lines}
            yield name, charts.bars(row.title, COLUMNS[row.chart][0], bars)
    for name, curve in CURVES.items():
        if lines := results.get("curves", {}).get(name, {}).get("lines"):
            series: dict[str, list[tuple[float, float]]] = {}
            for line in lines:
                point = (line["x"], line[curve.key])
                series.setdefault(line["who"], []).append(point)
            drawn = charts.Lines(
                curve.title, curve.x, curve.y, series, curve.log_x, curve.log_y
            )
            yield f"curve-{name}", drawn.svg()


def _slug(title: str) -> str:
    return title.lower().replace(",", "").replace(" ", "-")
