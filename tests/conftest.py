"""Fixtures of all tests, and the leak detector that watches over each of them."""

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
import structlog
from flask import Flask, has_app_context
from flask.testing import FlaskClient
from werkzeug.routing import Rule

from app.storage import revisions
from application import create_app_by_config
from config.config import BaseConfig, TestingConfig
from tests.detached import end_all
from tests.once import Compiled, Remembered
from tests.postgres import Postgres, running_postgres
from tests.servers import children_of, wait_until

LEAK_SECONDS = 5

_make_tables = Remembered(revisions.upgrade)
_compile = Compiled(Rule._compile_builder)
# A function that is called on a rule, as the method was.
Rule._compile_builder = lambda rule, unknown=True: _compile(rule, unknown)

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("test", deadline=None, max_examples=60)
hypothesis.settings.register_profile("soak", deadline=None, max_examples=300)
hypothesis.settings.load_profile("test")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the long doses")
    parser.addoption("--pictures", action="store_true", help="keep those of the docs")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--soak"):
        hypothesis.settings.load_profile("soak")


@pytest.fixture(autouse=True, scope="session")
def interruptible() -> None:
    """Have children take a SIGINT, which those of a shell's background job ignore."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def soak(request: pytest.FixtureRequest) -> bool:
    """Return whether the long dose of a test is wanted."""
    return bool(request.config.getoption("--soak"))


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Fail a test that leaves a thread, a child, a descriptor or a context behind."""
    before = _held()
    yield
    assert not has_app_context(), "an application context is still pushed"
    if _new(before):
        gc.collect()  # a test's own client may sit in a cycle with what it raised
    try:
        wait_until(lambda: not _new(before), seconds=LEAK_SECONDS)
    except AssertionError:
        pytest.fail(f"left behind: {sorted(_new(before))}")


@pytest.fixture
def detached_runs_end(tmp_path: Path) -> Iterator[None]:
    """End the detached runs of a test, whose service is no more or has left them."""
    yield
    end_all(tmp_path)


@pytest.fixture(autouse=True)
def migrations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Alembic migrate one new database; those after it get what that one got.

    This process's: servers migrate by themselves. Where migrations are what is tested,
    a fixture of that name does nothing.
    """
    monkeypatch.setattr(revisions, "upgrade", _make_tables)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Start a server once for all tests that use it."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def make_app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Flask]]:
    """Make apps, of the testing environment if of no other; close them.

    Settings stay as changed for the later ones of the same test.
    """
    apps: list[Flask] = []

    def make(config: type[BaseConfig] = TestingConfig, **settings: str) -> Flask:
        monkeypatch.setenv("INSTANCE_PATH", str(tmp_path / "instance"))
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        apps.append(create_app_by_config(config()))
        return apps[-1]

    yield make
    for app in apps:
        app.extensions["bellhop"].close()
    # A server closes its responses, which ends the log's context; a client need not.
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def client(make_app: Callable[..., Flask]) -> FlaskClient:
    """Return a client of an app with the testing environment's settings."""
    return make_app().test_client()


def _held() -> set[str]:
    """Return what this process holds, by names that can be compared."""
    threads = {f"thread {thread.name}" for thread in threading.enumerate()}
    return threads | _children() | _descriptors()


def _children() -> set[str]:
    """Return the children, zombies among them.

    The kernel's own list: with thousands of tests, to look at every process of the
    machine before and after each takes minutes. Not all kernels have that list.
    """
    tasks = [path / "children" for path in Path("/proc/self/task").iterdir()]
    try:
        found = [pid for task in tasks for pid in task.read_text().split()]
    except FileNotFoundError:  # or a thread has ended meanwhile
        found = [str(pid) for pid in children_of(os.getpid())]
    return {f"child {pid}" for pid in found}


def _descriptors() -> set[str]:
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            found.add(f"descriptor {descriptor.name}: {descriptor.readlink()}")
        except OSError:
            continue  # the one that the listing itself had open
    return found


def _new(before: set[str]) -> set[str]:
    return _held() - before
