"""The metrics are documented, and what is made of them names none that there is not."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from flask import Flask

from app.host.procfs import DiskStats, Procfs
from app.tasks.record import TaskRecord
from app.tasks.states import State
from tests.scraping import Scraped
from tests.servers import PROJECT

DOCS = (PROJECT / "docs" / "metrics.md").read_text(encoding="utf-8")
ALERTS = yaml.safe_load((PROJECT / "docs" / "alerts.yml").read_text(encoding="utf-8"))
BOARD = json.loads((PROJECT / "docs" / "grafana.json").read_text(encoding="utf-8"))

RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
#: What Prometheus says by itself of a series, and of a bucket.
GIVEN = {"instance", "job", "le"}
SUFFIXES = {"histogram": ("_bucket", "_count", "_sum")}

Metrics = dict[str, tuple[str, frozenset[str]]]


def expressions() -> Iterator[tuple[str, str]]:
    """Give what alerts and panels ask for, each with its name."""
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in BOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for variable in BOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["definition"]


EXPRESSIONS = sorted(set(expressions()))


def documented() -> Metrics:
    row = r"^\| `(bellhop_\w+)` \| (\w+) \| (.*?) \| .+ \|$"
    rows = re.findall(row, DOCS, re.MULTILINE)
    found = {
        name: (kind, frozenset(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in rows
    }
    assert len(found) == len(rows)
    return found


@pytest.fixture
def exposed(make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch) -> Metrics:
    """Return what there is once all has happened, on a host that has all."""
    monkeypatch.setattr(Procfs, "users", lambda _: 1)
    monkeypatch.setattr(Procfs, "whole_disks", lambda _: frozenset({"vda"}))
    disk = DiskStats("vda", *(1,) * 11)
    monkeypatch.setattr(Procfs, "diskstats", lambda _: [disk])
    app = make_app()
    services, client = app.extensions["bellhop"], app.test_client()
    task = TaskRecord("id", "exec", State.SUCCESS, "o", "h", "w", None, 1.0)
    services.figures.task_ended(task.kind, command="echo", outcome="success", seconds=1)
    services.figures.receipt_taken("memory", "delivered")
    client.get("/")
    scraped = Scraped(client.get("/metrics").text)
    return {
        name + "_total" * (family.type == "counter"): (
            family.type,
            frozenset(label for s in family.samples for label in s.labels) - GIVEN,
        )
        for name, family in scraped.families.items()
    }


def test_every_metric_is_documented_as_it_is_and_none_other(exposed: Metrics) -> None:
    assert documented() == exposed


@pytest.mark.parametrize(("name", "expression"), EXPRESSIONS)
def test_what_is_asked_for_there_is(name: str, expression: str) -> None:
    faults = list(faults_of(expression))
    assert not faults, f"{name}: {expression}"


def faults_of(expression: str) -> Iterator[str]:
    """Give what is wrong with an expression."""
    known = dict(documented())
    for name, (kind, labels) in documented().items():
        known |= {f"{name}{end}": (kind, labels) for end in SUFFIXES.get(kind, ())}
    bare = re.sub(r'"[^"]*"', '""', expression)
    for opening, closing in ("()", "[]", "{}"):
        if bare.count(opening) != bare.count(closing):
            yield f"{opening} is not closed"
    names = re.findall(r"\b(?:bellhop_\w+|up)\b", bare)
    has = {label for name in names for label in known.get(name, ("", set()))[1]}
    yield from set(names) - {*known, "up"}
    yield from () if names else ("it asks for nothing",)
    matchers = re.findall(r"\{([^}]*)\}", bare)
    asked = re.findall(r"(\w+)\s*[=!]", ",".join(matchers))
    for listed in re.findall(r"\b(?:by|on|without|ignoring) ?\(([^)]*)\)", bare):
        asked += re.findall(r"\w+", listed)
    yield from set(asked) - has - GIVEN


@pytest.mark.parametrize(
    "expression",
    [
        "bellhop_nothing",
        "rate(bellhop_output_bytes[5m])",
        "sum(bellhop_workers",
        'bellhop_workers{kind="exec"}',
        "sum by (route, kind) (bellhop_http_requests_total)",
        "bellhop_workers_bucket",
        "rate(up[5m)",
        "1",
    ],
)
def test_an_expression_that_is_wrong_is_found(expression: str) -> None:
    assert list(faults_of(expression))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_wrong_and_where_it_stands_what_to_do(
    rule: dict[str, Any],
) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert {"summary", "description", "runbook_url"} == rule["annotations"].keys()
    assert re.fullmatch(r"\d+[mh]", rule.get("for", "1m"))
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert page == "docs/metrics.md"
    assert anchor == rule["alert"].lower()
    known = {label for _, labels in documented().values() for label in labels} | GIVEN
    for text in rule["annotations"].values():
        assert {*re.findall(r"\$labels\.(\w+)", text)} <= known
        assert text.count("{{") == text.count("}}")


def test_the_alerts_are_those_that_are_documented() -> None:
    told = re.findall(r"^### (\w+)$", DOCS.partition("## The alerts")[2], re.MULTILINE)
    assert told == [rule["alert"] for rule in RULES]


def test_every_metric_but_the_given_ones_is_on_the_dashboard() -> None:
    asked = " ".join(expr for panel in BOARD["panels"] for expr in exprs_of(panel))
    shown = set(re.findall(r"bellhop_\w+", asked))
    bases = {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown}
    assert bases == set(documented())


def exprs_of(panel: dict[str, Any]) -> list[str]:
    return [target["expr"] for target in panel.get("targets", ())]


def test_the_dashboard_takes_its_data_from_where_one_chooses() -> None:
    assert BOARD["schemaVersion"] >= 41
    assert BOARD["id"] is None, "it is a new one where it is imported"
    [source, instance] = BOARD["templating"]["list"]
    assert (source["name"], source["type"]) == ("datasource", "datasource")
    panels = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    for place in (instance, *panels, *(t for p in panels for t in p["targets"])):
        assert place["datasource"] == chosen
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        columns, rows = (
            range(at["x"], at["x"] + at["w"]),
            range(at["y"], at["y"] + at["h"]),
        )
        cells = {(column, row) for column in columns for row in rows}
        assert not cells & taken, panel["title"]
        assert max(columns) < 24
        taken |= cells
