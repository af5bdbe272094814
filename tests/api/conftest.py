"""Clients of every environment, and the log as records."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.sms.fake.server import FakeServer
from app.sms.fake.vendors import all_vendors
from application import create_app_by_config
from config.config import BaseConfig, TestingConfig, config_map
from tests.api.callers import with_users
from tests.sms import PUBLIC_URL, SECRET, TEMPLATES
from tests.unit.auth.conftest import cheap_hashes
from tests.workers import Workers

__all__ = ["cheap_hashes"]  # a fixture that is used by all tests here


@pytest.fixture
def client_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: Workers | None
) -> Iterator[Callable[..., FlaskClient]]:
    """Return what makes a client of an app in a named environment."""
    apps = []

    def make(env: str, **settings: str) -> FlaskClient:
        monkeypatch.setenv("INSTANCE_PATH", str(tmp_path / env))
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        conf = config_map[env]()
        apps.append(create_app_by_config(conf))
        if workers:
            workers.serve(apps[-1], conf)
        return apps[-1].test_client()

    yield make
    for app in apps:
        app.extensions["bellhop"].close()


@pytest.fixture(params=["development", "testing", "production"])
def anywhere(
    request: pytest.FixtureRequest, client_in: Callable[..., FlaskClient]
) -> FlaskClient:
    """Return a client in each environment in turn."""
    return client_in(request.param)


@pytest.fixture
def v3(make_app: Callable[..., Flask]) -> FlaskClient:
    """Return a client of an app that has users; a shell may be used."""
    return with_users(make_app())


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    """Run a server that is all the vendors."""
    with FakeServer(all_vendors()) as server:
        yield server


@pytest.fixture
def sms(
    make_app: Callable[..., Flask], fake: FakeServer, tmp_path: Path
) -> Callable[..., FlaskClient]:
    """Return what makes a client of an app that sends by the stand-ins of vendors."""
    templates = tmp_path / "templates.toml"
    templates.write_text(TEMPLATES)
    given = {
        "PUBLIC_URL": PUBLIC_URL,
        "SMS_RECEIPTS_SECRET": SECRET,
        "SMS_TEMPLATES": str(templates),
        "SMS_TIMEOUT_SECONDS": "20",
        # Or boto3 would look for credentials elsewhere.
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for vendor in fake.vendors.values():
        given |= vendor.settings_at(fake.url)

    def make(
        providers: str, config: type[BaseConfig] = TestingConfig, **settings: str
    ) -> FlaskClient:
        app = make_app(config, **{**given, "SMS_PROVIDER": providers, **settings})
        return app.test_client()

    return make


@pytest.fixture
def log_stream(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Return what the log is written to, in place of stdout."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    monkeypatch.setattr("config.logger._handler", lambda *_: handler)
    return stream


@pytest.fixture
def log_of(log_stream: io.StringIO) -> Callable[[], list[dict[str, Any]]]:
    """Return what parses all lines of the log."""

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in log_stream.getvalue().splitlines()]

    return lines
