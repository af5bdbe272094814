"""Figures: of one process, and of several that count together."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import values
from prometheus_client.exposition import generate_latest

from app.errors import StorageUnavailable
from app.metrics.figures import Figures
from app.metrics.scrape import Scrape
from tests.racing import run_python
from tests.scraping import Scraped

KINDS, PROVIDERS = ("exec", "sms"), ("memory",)


def shown(figures: Figures) -> Scraped:
    return Scraped(Scrape(figures).render("")[0].decode())


@pytest.fixture
def figures() -> Figures:
    return Figures(kinds=KINDS, providers=PROVIDERS)


def test_what_may_happen_is_shown_before_it_does(figures: Figures) -> None:
    found = shown(figures)
    assert all(value == 0 for value in found.samples.values())
    names = {name for name, _ in found.samples}
    assert names >= {
        "bellhop_tasks_lost_total",
        "bellhop_tasks_ended_total",
        "bellhop_sms_receivers_total",
        "bellhop_credentials_refused_total",
        "bellhop_watchers",
    }


def test_two_of_one_process_do_not_mix(figures: Figures) -> None:
    other = Figures(kinds=KINDS, providers=PROVIDERS)
    figures.task_lost("exec")
    other.task_lost("sms")
    assert shown(figures).by("tasks_lost_total", "kind") == {("exec",): 1}
    assert shown(other).by("tasks_lost_total", "kind") == {("sms",): 1}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("GET", "/v1/uptime/"), ("GET", "/v1/uptime/")),
        (("BREW", "/v1/uptime/"), ("OTHER", "/v1/uptime/")),
        (("get", None), ("OTHER", "unmatched")),
    ],
)
def test_a_request_has_labels_that_are_known_before(
    figures: Figures, given: tuple[str, Any], told: tuple[str, str]
) -> None:
    method, route = given
    figures.request_answered(method=method, route=route, status=200, seconds=0.02)
    now = shown(figures)
    requests = now.by("http_requests_total", "method", "route", "status")
    assert requests == {(*told, "200"): 1}
    buckets = now.by("http_request_duration_seconds_bucket", "le")
    assert ("0.01",) not in buckets
    assert buckets["0.025",] == 1


def test_a_task_that_never_began_has_an_end_and_no_duration(figures: Figures) -> None:
    figures.task_ended("exec", command="echo", outcome="revoked", seconds=None)
    figures.task_ended("exec", command="echo", outcome="failure", seconds=3)
    now = shown(figures)
    ended = {("revoked",): 1, ("failure",): 1}
    assert now.by("tasks_ended_total", "outcome") == ended
    assert now.by("task_duration_seconds_count", "outcome") == {("failure",): 1}


def test_who_watches_counts_for_as_long_as_that(figures: Figures) -> None:
    with figures.watching(), figures.watching():
        assert shown(figures).value("watchers") == 2
    with pytest.raises(KeyError), figures.watching():
        raise KeyError
    assert shown(figures).value("watchers") == 0


def test_a_reading_that_fails_is_left_out_and_keeps_no_other_away(
    figures: Figures,
) -> None:
    def fails(error: Exception) -> Callable[[], Any]:
        def reading() -> Any:
            raise error

        return reading

    scrape = Scrape(figures)
    scrape.readings = [
        fails(StorageUnavailable()),
        fails(PermissionError("no")),
        lambda: {"tasks_queued": {("exec",): 3}, "host_disk_reads": {("vda",): 9}},
    ]
    found = Scraped(scrape.render("")[0].decode())
    assert found.by("tasks_queued", "kind") == {("exec",): 3}
    assert found.by("host_disk_reads_total", "device") == {("vda",): 9}


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text;version=1.0.0", "application/openmetrics-text;"),
        ("application/openmetrics-text;version=x", "text/plain; version=0.0.4;"),
        ("text/plain;version=x.y", "text/plain; version=0.0.4;"),
    ],
)
def test_the_form_is_the_one_that_is_asked_for(
    figures: Figures, accept: str, content_type: str
) -> None:
    body, told = Scrape(figures).render(accept)
    assert told.startswith(content_type)
    assert body.endswith(b"# EOF\n") is ("openmetrics" in content_type)


WORKER = """
import os, sys
from pathlib import Path
from config import metrics
from app.metrics.figures import Figures

metrics.share_figures(Path(sys.argv[1]))

def work(seat, times):
    if os.fork() == 0:
        metrics.take_seat(seat)
        {figures}
        figures.serving()
        for _ in range(times):
            figures.task_lost("exec")
            figures.task_started("exec", wait_seconds=0.3)
        os._exit(0)
    assert os.wait()[1] == 0

def made():
    return Figures(kinds=["exec"], providers=[], folder=metrics.shared_folder(),
                   seat=metrics.own_seat)

{before}
work(1, 3)
work(2, 4)
metrics.leave_seat(1)
work(1, 5)
metrics.leave_seat(2)
from app.metrics.scrape import Scrape
print(Scrape(made()).render("")[0].decode())
"""


@pytest.mark.parametrize(
    "made",
    [
        {"before": "", "figures": "figures = made()"},
        {"before": "figures = made()", "figures": "pass"},
    ],
    ids=["after the fork", "before it"],
)
def test_processes_count_together_and_go_on_where_another_ended(
    tmp_path: Path, made: dict[str, str]
) -> None:
    done = run_python(
        WORKER.replace("{before}", made["before"]).replace(
            "{figures}", made["figures"]
        ),
        str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    found = Scraped(done.stdout)
    assert found.by("tasks_lost_total", "kind") == {("exec",): 12}
    assert found.value("task_wait_seconds_count", kind="exec") == 12
    assert found.by("task_wait_seconds_bucket", "le")["0.5",] == 12
    assert found.value("workers") == 1, "the one whose seat was not left"


def test_figures_of_one_process_need_no_folder(
    figures: Figures, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert values.ValueClass is values.MutexValue
    monkeypatch.setitem(os.environ, "PROMETHEUS_MULTIPROC_DIR", "/nowhere")
    figures.task_lost("exec")
    assert b'bellhop_tasks_lost_total{kind="exec"} 1.0' in generate_latest(figures)  # type: ignore[arg-type]
