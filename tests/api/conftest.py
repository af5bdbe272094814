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

from application import create_app_by_config
from config.config import config_map
from tests.api.callers import with_users


@pytest.fixture
def client_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., FlaskClient]]:
    """Return what makes a client of an app in a named environment."""
    apps = []

    def make(env: str, **settings: str) -> FlaskClient:
        monkeypatch.setenv("INSTANCE_PATH", str(tmp_path / env))
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        apps.append(create_app_by_config(config_map[env]()))
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
