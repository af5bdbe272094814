"""How fast it is there, and what it takes to be there."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.client import drive
from bench.contest import Goal, Outcome, Row
from bench.dose import Dose
from bench.rows.runs import run_echo
from bench.servers import bellhop
from bench.usage import pss_mb, rss_mb
from tests.servers import PROJECT

CODE = {
    "the interpreter alone": "",
    "imports": "import application",
    "imports and `create_app()`": (
        "from application import create_app; create_app('testing')"
    ),
}
TURNS = 2  # as many runs as rounds, so often: they are short


def _start(dose: Dose, folder: Path) -> Outcome:
    seconds = {what: [] for what in CODE}
    for _ in range(dose.rounds * TURNS):
        for what, code in CODE.items():
            seconds[what].append(_seconds(code))
    lines = [
        {"who": what, "seconds": statistics.median(each)}
        for what, each in seconds.items()
    ]
    figures = {"seconds": lines[-1]["seconds"]}
    with bellhop(folder) as server:
        lines.append(_memory("a worker that has done nothing", server))
        load = {"clients": 8, "seconds": max(dose.seconds, 1)}
        drive(server.url, run_echo(server), **load)
        lines.append(_memory("a worker that has run commands", server))
        figures |= {"rss_mb": lines[-1]["rss_mb"], "pss_mb": lines[-1]["pss_mb"]}
        figures["service_mb"] = pss_mb(server.process.pid)
    return Outcome(lines, figures)


def _memory(who: str, server) -> dict[str, object]:
    workers = server.workers()[1:]
    return {
        "who": who,
        "rss_mb": max(rss_mb(pid) for pid in workers),
        "pss_mb": max(pss_mb(pid) for pid in workers),
    }


def _seconds(code: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            cwd=PROJECT,
            env={"PATH": os.environ["PATH"], "INSTANCE_PATH": folder},
        )
        return time.perf_counter() - begun


ROWS = [
    Row(
        "start",
        "Start and memory",
        "From the start of a fresh interpreter until `create_app()` has returned; and "
        "the largest of the workers, whose PSS is its share of what they share. Before "
        "the second look, eight clients have run commands.",
        _start,
        (
            Goal("seconds", "imports and `create_app()`", "s", 0.8, 0.4, False),
            Goal("rss_mb", "memory of a worker, RSS", "MB", 80, 55, False),
            Goal("pss_mb", "memory of a worker, PSS", "MB", None, None, False),
            Goal("service_mb", "memory of the service, PSS", "MB", None, None, False),
        ),
    ),
]
