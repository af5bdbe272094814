"""Outputs that are followed while they are written."""

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.contest import Goal, Outcome, Row
from bench.dose import Dose
from bench.followers import follow_all, follow_on_another_worker
from bench.servers import bearer, bellhop, commands, workers_of_celery
from bench.usage import asked_for_health, cpu_seconds, percentile, pss_mb
from tests.servers import Server

PAUSE_SECONDS = 0.02
STARTERS = 8
OUTPUT = b"begun\nover\n"


def start_moments(
    server: Server,
    token: dict[str, str],
    lines: int,
    gate: Path,
    pause: float = PAUSE_SECONDS,
) -> str:
    """Start what writes the moment once the gate is open; return its task."""
    os.mkfifo(gate)
    params = {"count": str(lines), "pause": str(pause), "gate": str(gate)}
    return _start(server, token, "moments", params=params)


def start_holding(
    server: Server, token: dict[str, str], count: int, gate: Path
) -> list[str]:
    """Start commands that write a line and wait for the gate; return their tasks."""
    os.mkfifo(gate)
    with ThreadPoolExecutor(STARTERS) as pool:
        params = {"gate": str(gate)}
        starts = [
            pool.submit(_start, server, token, "hold", params=params)
            for _ in range(count)
        ]
        return [each.result() for each in starts]


def open_gate(gate: Path) -> None:
    """Let all go on that wait at the gate."""
    with gate.open("wb"):
        pass


def room_for(count: int) -> dict[str, str]:
    """Return the settings by which so many run, each with a follower.

    Any worker may get all the followers, who have half of its threads.
    """
    return {"EXEC_MAX_RUNNING": str(count + 20), "THREADS": str(max(16, 2 * count))}


def _start(server: Server, token: dict[str, str], command: str, **body: object) -> str:
    answer = server.post("/v3/exec/", json={"command": command, **body}, headers=token)
    assert answer.status_code == 201, answer.text
    return answer.json()["task_id"]


def _idle(dose: Dose, folder: Path) -> Outcome:
    with bellhop(folder, EXEC_COMMANDS=commands(folder)) as server:
        token, gate = bearer(server), folder / "gate"
        task_id = start_moments(server, token, dose.lines, gate)
        followed = follow_on_another_worker(
            server, token, task_id, lambda: open_gate(gate)
        )
    return _outcome(followed.milliseconds)


def _outcome(times: list[float]) -> Outcome:
    figures = {"p50_ms": percentile(times, 0.5), "p99_ms": percentile(times, 0.99)}
    line = {"who": "Bellhop", "lines": len(times), **figures, "most_ms": max(times)}
    return Outcome([line], figures)


def _streamed(dose: Dose, folder: Path) -> Outcome:
    with workers_of_celery(folder, EXEC_COMMANDS=commands(folder)) as server:
        token, gate = bearer(server), folder / "gate"
        task_id = start_moments(server, token, dose.lines, gate)
        [followed] = asyncio.run(
            follow_all(server, token, [task_id], lambda: open_gate(gate))
        )
    return _outcome(followed.milliseconds)


def _many(dose: Dose, folder: Path) -> Outcome:
    settings = room_for(dose.running) | {"EXEC_COMMANDS": commands(folder)}
    with bellhop(folder, **settings) as server:
        token, pid, gate = bearer(server), server.process.pid, folder / "gate"
        figures = {"idle_mb": pss_mb(pid)}
        begun = time.monotonic()
        task_ids = start_holding(server, token, dose.running, gate)
        figures["starts_seconds"] = time.monotonic() - begun

        def look() -> None:
            used = cpu_seconds(pid)
            with asked_for_health(server.url) as health:
                time.sleep(dose.seconds * 2)
                figures["pss_mb"] = pss_mb(pid)
            figures["health_p99_ms"] = health.p99_ms()
            figures["idle_cpu"] = (cpu_seconds(pid) - used) / (dose.seconds * 2)
            open_gate(gate)

        followed = asyncio.run(follow_all(server, token, task_ids, look))
    served = sum(each.output == OUTPUT for each in followed)
    figures["served"] = served / dose.running
    line = {"who": "Bellhop", "running": dose.running, "served": served, **figures}
    return Outcome([line], figures)


ROWS = [
    Row(
        "follow",
        "From a line written to its follower",
        f"A command writes the moment every {PAUSE_SECONDS * 1000:.0f} ms; the "
        "follower is connected to another worker than the one that runs it, and "
        "nothing else is going on. Both read the same clock.",
        _idle,
        (
            Goal("p50_ms", "p50", "ms", None, 2, False),
            Goal("p99_ms", "p99", "ms", 10, 5, False),
        ),
    ),
    Row(
        "follow-streams",
        "From a line written on another host to its follower",
        "The same with `TASK_BACKEND=celery`: a worker of Celery runs the command, its "
        "output goes through Valkey, and the follower is connected to the web tier. "
        "All of these are on this machine.",
        _streamed,
        (
            Goal("p50_ms", "p50", "ms", None, 5, False),
            Goal("p99_ms", "p99", "ms", 25, 10, False),
        ),
    ),
    Row(
        "many",
        "Many commands, each with a follower",
        "Commands that write a line, wait to be let go, and write another; each is "
        "followed from before to its end. `EXEC_MAX_RUNNING` makes room for them, "
        "`THREADS` for their followers. The memory is the whole service's, without the "
        "commands.",
        _many,
        (
            Goal("served", "followers that got all of it", "of all", 1, None),
            Goal("pss_mb", "memory of the service", "MB", 300, 200, False),
            Goal("health_p99_ms", "health meanwhile, p99", "ms", 100, None, False),
        ),
    ),
]
