"""Whether what is finished weighs on what is to come."""

import time
import uuid
from pathlib import Path

import sqlalchemy as sa

from app.storage.tables import tasks
from bench.client import get
from bench.contest import Contestant, Goal, Outcome, Row, Stage, contest
from bench.dose import Dose
from bench.rows.runs import run_echo
from bench.servers import bearer, bellhop
from tests.servers import Server

CLIENTS = 8
# They end a day apart at most: none is old enough to be removed.
APART_SECONDS = 0.5
MOST_AT_ONCE = 5000


def fill(instance: Path, count: int) -> None:
    """Put finished tasks into a store that the service has made."""
    engine = sa.create_engine(f"sqlite:///{instance}/bellhop.db")
    now = time.time()
    try:
        for first in range(0, count, MOST_AT_ONCE):
            numbers = range(first, min(first + MOST_AT_ONCE, count))
            rows = [_task(now - (count - number) * APART_SECONDS) for number in numbers]
            with engine.begin() as connection:
                connection.execute(sa.insert(tasks), rows)
    finally:
        engine.dispose()


def _task(at: float) -> dict[str, object]:
    """Return a task as an `echo` leaves it."""
    return {
        "task_id": str(uuid.uuid4()),
        "kind": "exec",
        "state": "SUCCESS",
        "owner": "admin",
        "host": "bench",
        "worker": "0 0 0",
        "command": "echo",
        "request_id": str(uuid.uuid4()),
        "created": at,
        "started": at,
        "finished": at + 0.002,
        "reason": "exit",
        "returncode": 0,
        "leftovers": False,
        "cpu_seconds": 0.001,
        "end_offset": 6,
        "dropped_bytes": 0,
        "polled_offset": 0,
        "polled_end": False,
        "cancel_requested": False,
    }


def filled(stage: Stage, folder: Path, count: int) -> Server:
    """Start a service that has `count` finished tasks."""
    server = stage.enter_context(bellhop(folder, f"with-{count}"))
    bearer(server)  # so that the store is there
    fill(folder / f"with-{count}" / "instance", count)
    return server


def _history(dose: Dose, folder: Path) -> Outcome:
    with Stage() as stage:
        servers = [filled(stage, folder, count) for count in (0, dose.history)]
        names = ["empty", f"{dose.history:,} finished"]
        runs = contest(
            [
                Contestant(f"run, {name}", server, run_echo(server))
                for name, server in zip(names, servers, strict=True)
            ],
            dose,
            clients=CLIENTS,
        )
        lists = contest(
            [
                Contestant(f"list, {name}", server, _list(server))
                for name, server in zip(names, servers, strict=True)
            ],
            dose,
            clients=1,
        )
    outcome = Outcome(runs + lists)
    outcome.figures = {
        "run": runs[1]["per_second"] / runs[0]["per_second"],
        "list": lists[1]["p50_ms"] / lists[0]["p50_ms"],
    }
    return outcome


def _list(server: Server):
    """Return the work of the newest ten; both have as many, of the runs before."""
    return get("/v3/task/?limit=10", '"SUCCESS"', headers=bearer(server))


ROWS = [
    Row(
        "history",
        "A store that is full",
        "Two services, one of which has as many finished tasks as are kept by default. "
        f"{CLIENTS} clients run commands, one after them lists the newest ten tasks. "
        "What is added beyond those that are kept is removed meanwhile, as it ships.",
        _history,
        (
            Goal("run", "rate of runs against the empty one", "×", 0.9, 1.0),
            Goal("list", "p50 of the list against the empty one", "×", 1.1, 1.0, False),
        ),
    ),
]
