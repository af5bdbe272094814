"""Fixtures of all tests, and the leak detector that watches over each of them."""

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import hypothesis
import pytest
import structlog
from flask import Flask, has_app_context
from flask.testing import FlaskClient
from werkzeug.routing import Rule

from app.storage import engine
from application import create_app_by_config
from config.config import BaseConfig, TestingConfig
from tests.detached import end_all
from tests.once import Compiled, Remembered
from tests.postgres import Postgres, running_postgres
from tests.servers import children_of, wait_until
from tests.valkey import Valkey, running_valkey
from tests.workers import DATABASES, Workers

LEAK_SECONDS = 5

# Whose tests run with Celery as well, whatever runs the tasks of the others.
ON_BOTH = ("test_exec.py", "test_queue.py")

_make_tables = Remembered(engine._upgrade)
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
    parser.addoption(
        "--backend",
        choices=("threads", "celery"),
        default="threads",
        help="what runs the tasks of the tests' apps",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--soak"):
        hypothesis.settings.load_profile("soak")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have the tests of apps run with Celery if asked to, and some of them anyway."""
    if "task_backend" not in metafunc.fixturenames:
        return
    if metafunc.config.getoption("--backend") == "celery":
        metafunc.parametrize("task_backend", ["celery"], indirect=True)
    elif Path(metafunc.module.__file__).name in ON_BOTH:
        only = metafunc.definition.get_closest_marker("threads_only")
        names = ["threads"] if only else ["threads", "celery"]
        metafunc.parametrize("task_backend", names, indirect=True)


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
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a thread, a child, a descriptor or a context behind."""
    if "workers" in request.fixturenames and _uses_celery(request):
        request.getfixturevalue("valkey")  # which stays until the last of them
    before = _held()
    yield
    assert not has_app_context(), "an application context is still pushed"
    if _new(before):
        gc.collect()  # a test's own client may sit in a cycle with what it raised
        gc.collect()  # and what the first has found may have held more of them
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
    monkeypatch.setattr(engine, "_upgrade", _make_tables)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Start a server once for all tests that use it."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """Start a server once for all tests whose apps use Celery."""
    folder = tmp_path_factory.mktemp("valkey")
    with running_valkey(folder, "--databases", str(DATABASES)) as server:
        yield server


@pytest.fixture
def task_backend(request: pytest.FixtureRequest) -> str:
    """Return what runs the tasks of a test's apps."""
    name: str = getattr(request, "param", "threads")
    if name == "celery" and (only := request.node.get_closest_marker("threads_only")):
        pytest.skip(only.args[0])
    return name


@pytest.fixture
def workers(
    task_backend: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Workers | None]:
    """Have all apps of a test use Celery, if they are to, and give their workers."""
    if task_backend != "celery":
        yield None
        return
    workers = Workers(request.getfixturevalue("valkey"))
    for name, value in workers.settings().items():
        monkeypatch.setenv(name, value)
    with closing(workers):
        yield workers


@pytest.fixture
def make_app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: Workers | None
) -> Iterator[Callable[..., Flask]]:
    """Make apps, of the testing environment if of no other; close them.

    Settings stay as changed for the later ones of the same test.
    """
    apps: list[Flask] = []

    def make(config: type[BaseConfig] = TestingConfig, **settings: str) -> Flask:
        monkeypatch.setenv("INSTANCE_PATH", str(tmp_path / "instance"))
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        conf = config()
        apps.append(create_app_by_config(conf))
        if workers:
            workers.serve(apps[-1], conf)
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


def _uses_celery(request: pytest.FixtureRequest) -> bool:
    return request.getfixturevalue("task_backend") == "celery"


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
