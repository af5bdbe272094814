"""Health and readiness, while what the service needs comes and goes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.api.checks import problem

OTHER_CHECKS = "with Celery other checks are made, and outputs lie elsewhere"


def test_health_touches_nothing_that_could_be_away(
    anywhere: FlaskClient, tmp_path: Path
) -> None:
    [instance] = [p for p in tmp_path.iterdir() if p.is_dir()]
    instance.rename(tmp_path / "away")
    assert anywhere.get("/api/health").json == {"message": "ok"}
    problem(anywhere.get("/api/health/ready"), 503)


def test_ready_names_its_checks(anywhere: FlaskClient) -> None:
    found = anywhere.get("/api/health/ready").json
    assert found["message"] == "ok"
    assert found["checks"].keys() >= {"database", "output"}
    assert set(found["checks"].values()) == {"ok"}


@pytest.mark.threads_only(OTHER_CHECKS)
def test_ready_says_what_is_away_and_when_it_is_back(
    client: FlaskClient, tmp_path: Path
) -> None:
    output = tmp_path / "instance" / "output"
    assert client.get("/api/health/ready").status_code == 200
    output.rename(tmp_path / "away")
    found = problem(client.get("/api/health/ready"), 503)
    assert found["checks"] == {"database": "ok", "output": "failed", "sms": "ok"}
    assert client.head("/api/health/ready").status_code == 503
    problem(client.post("/api/exec/bob", json={"cmd": "true"}), 503)
    (tmp_path / "away").rename(output)
    assert client.get("/api/health/ready").status_code == 200
    assert client.post("/api/exec/bob", json={"cmd": "true"}).status_code == 202


def test_ready_does_not_leave_its_tries_behind(
    client: FlaskClient, tmp_path: Path
) -> None:
    for _ in range(3):
        client.get("/api/health/ready")
    assert list((tmp_path / "instance" / "output").iterdir()) == []


@pytest.mark.threads_only(OTHER_CHECKS)
def test_ready_notices_a_database_that_went_away(
    make_app: Callable[..., Any], tmp_path: Path
) -> None:
    records = tmp_path / "records"
    records.mkdir()
    url = f"sqlite:///{records}/bellhop.db"
    client = make_app(DATABASE_URL=url).test_client()
    assert client.get("/api/health/ready").status_code == 200
    records.rename(tmp_path / "away")
    found = problem(client.get("/api/health/ready"), 503)
    assert found["checks"] == {"database": "failed", "output": "ok", "sms": "ok"}
    mark = tmp_path / "mark"
    problem(client.post("/api/exec/bob", json={"cmd": f"touch {mark}"}), 503)
    problem(client.get("/api/poll/bob"), 503)
    assert list((tmp_path / "instance" / "output").iterdir()) == []
    (tmp_path / "away").rename(records)
    assert client.get("/api/health/ready").status_code == 200
    assert client.get("/api/poll/bob").json == {"mode": "poll", "status": "finished"}
    assert not mark.exists()


def test_ready_notices_a_database_that_is_none(
    make_app: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "garbage.db").write_bytes(b"no database " * 1000)
    url = f"sqlite:///{tmp_path}/garbage.db"
    client = make_app(DATABASE_URL=url).test_client()
    found = problem(client.get("/api/health/ready"), 503)
    assert found["checks"]["database"] == "failed"
    problem(client.post("/api/exec/bob", json={"cmd": "true"}), 503)
