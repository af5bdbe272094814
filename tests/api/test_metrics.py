"""/metrics: who may, in which form, and what is told while something is away."""

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from config.config import ProductionConfig
from tests.api.checks import problem
from tests.scraping import Scraped

TOKEN = "the monitoring's own"
WRONG = [
    {},
    {"Authorization": "Bearer nothing"},
    {"Authorization": f"Bearer {TOKEN}x"},
    {"Authorization": "Bearer é"},
    {"Authorization": "Bearer"},
    {"Authorization": f"Basic {TOKEN}"},
    {"Authorization": TOKEN},
]


def scraped(client: FlaskClient) -> Scraped:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    return Scraped(answer.text)


def test_it_is_open_unless_a_token_is_set(make_app: Callable[..., Flask]) -> None:
    client = make_app(ProductionConfig).test_client()
    assert client.get("/metrics").status_code == 200
    client = make_app(ProductionConfig, METRICS_TOKEN=TOKEN).test_client()
    for headers in WRONG:
        answer = client.get("/metrics", headers=headers)
        problem(answer, 401)
        assert "Bearer" in answer.headers["WWW-Authenticate"]
        assert TOKEN not in answer.text
    known = {"Authorization": f"Bearer {TOKEN}"}
    found = Scraped(client.get("/metrics", headers=known).text)
    assert found.value("http_requests_total", status=401) == len(WRONG)
    assert client.get("/v1/uptime/").status_code == 200


def test_a_head_says_what_a_get_would(client: FlaskClient) -> None:
    answer = client.head("/metrics")
    assert answer.status_code == 200
    assert answer.data == b""
    assert answer.content_type == client.get("/metrics").content_type
    problem(client.post("/metrics"), 405)
    problem(client.get("/metrics?x=1"), 400)


@pytest.mark.parametrize("away", ["records", "instance"])
def test_what_is_away_is_told_and_fails_nothing(
    make_app: Callable[..., Flask], tmp_path: Path, away: str
) -> None:
    (tmp_path / "records").mkdir()
    url = f"sqlite:///{tmp_path}/records/bellhop.db"
    client = make_app(DATABASE_URL=url).test_client()
    before = scraped(client)
    assert before.value("check_passed", check="database") == 1
    assert "bellhop_tasks_running" in before.families
    (tmp_path / away).rename(tmp_path / "away")
    now = scraped(client)
    failed = {"records": "database", "instance": "output"}[away]
    assert now.value("check_passed", check=failed) == 0
    assert now.value("check_passed") == 3
    gone = before.families.keys() - now.families.keys()
    assert (
        gone
        == {
            "records": {
                "bellhop_tasks_running",
                "bellhop_tasks_queued",
                "bellhop_hosts",
            },
            "instance": {"bellhop_instance_free_bytes", "bellhop_instance_size_bytes"},
        }[away]
    )
    (tmp_path / "away").rename(tmp_path / away)
    assert scraped(client).families.keys() == before.families.keys()
