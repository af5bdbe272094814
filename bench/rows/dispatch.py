"""A command that a worker of Celery runs, until its end is seen by who asked."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.services import Services
from app.storage.ownership import ANYBODYS
from app.tasks.order import Order, Origin
from app.tasks.states import State
from bench.contest import Goal, Outcome, Row
from bench.dose import Dose
from config.config import TestingConfig, prepare_instance
from tests.postgres import running_postgres
from tests.servers import PROJECT, wait_until
from tests.valkey import running_valkey
from tests.worker_process import running_worker

BELLHOP, BARE = "Bellhop", "bare Celery"
ARGV = ["/bin/echo", "hello"]
# In each round, of each in turns.
RUNS = 40
WARM_UP = 5
WAIT_SECONDS = 30
START_SECONDS = 60


def _dispatch(dose: Dose, folder: Path) -> Outcome:
    taken: dict[str, list[float]] = {BELLHOP: [], BARE: []}
    with ExitStack() as stack:
        works = {
            BELLHOP: stack.enter_context(_bellhop(folder)),
            BARE: stack.enter_context(_bare(folder)),
        }
        for number in range(WARM_UP + dose.rounds * RUNS):
            for who, work in works.items():
                begun = time.monotonic()
                work()
                if number >= WARM_UP:
                    taken[who].append((time.monotonic() - begun) * 1000)
    lines = [
        {"who": who, "p50_ms": statistics.median(each)} for who, each in taken.items()
    ]
    outcome = Outcome(lines)
    outcome.compare("bare", BELLHOP, BARE, "p50_ms")
    return outcome


@contextmanager
def _bellhop(folder: Path) -> Iterator[Any]:
    """Give what has a command run by a worker, and waits for its end."""
    with ExitStack() as stack:
        valkey = stack.enter_context(running_valkey(folder))
        postgres = stack.enter_context(running_postgres())
        settings = {
            "FLASK_ENV": "testing",
            "TASK_BACKEND": "celery",
            "CELERY_BROKER_URL": valkey.url,
            "REDIS_URL": valkey.url,
            "DATABASE_URL": stack.enter_context(postgres.new_database()),
            "INSTANCE_PATH": str(folder / "instance"),
        }
        stack.enter_context(_environment(settings))
        stack.enter_context(running_worker(folder, **settings))
        conf = TestingConfig()
        prepare_instance(conf)
        services = Services.build(vars(conf))
        stack.callback(services.close)
        yield lambda: _run(services)


def _run(services: Services) -> None:
    wish = services.catalogue.order_of_cmd(" ".join(ARGV), user=None)
    task = services.backend.submit(_program(wish), Origin(None, None))
    patience = services.patience(WAIT_SECONDS)
    ended = services.follower.wait_for_end(task, lambda: ANYBODYS, patience)
    assert ended.state is State.SUCCESS, ended


def _program(order: Order) -> Order:
    """Return an order of the program itself, as the other one has it."""
    return replace(order, command=replace(order.command, argv=tuple(ARGV)))


@contextmanager
def _bare(folder: Path) -> Iterator[Any]:
    """Give what has a task run by a worker as Celery's own documents start it."""
    place = folder / "bare"
    place.mkdir()
    with running_valkey(place) as valkey, _environment({"BROKER": valkey.url}):
        command = (sys.executable, "-m", "celery", "-A", "bench.peers.bare_celery")
        log = place / "worker.log"
        with log.open("wb") as output:
            worker = subprocess.Popen(
                [*command, "worker", "--loglevel", "INFO"],
                cwd=PROJECT,
                stdout=output,
                stderr=output,
            )
        try:
            wait_until(lambda: "ready." in log.read_text(), seconds=START_SECONDS)
            from bench.peers.bare_celery import run  # noqa: PLC0415 - its broker is here

            yield lambda: run.delay(ARGV).get(timeout=WAIT_SECONDS)
        finally:
            worker.terminate()
            worker.wait()


@contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


ROWS = [
    Row(
        "dispatch",
        "A command that a worker of Celery runs",
        "`/bin/echo hello`, from its submission until its end is seen by who has "
        "submitted it, one after the other. Bellhop: a record and an order in "
        "PostgreSQL, a message, a claim, the run with its limits and marks, its output "
        "and its end in the record, and a notice by Valkey. Bare Celery: `delay` and "
        "`result.get()` of a task that calls `subprocess.run`, with its default pool "
        "of processes and Valkey for results; nothing is kept, limited or cancelled.",
        _dispatch,
        (Goal("bare", "time against bare Celery", "×", 1.25, None, False),),
    ),
]
