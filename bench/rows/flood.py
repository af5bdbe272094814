"""A command that writes as fast as it can."""

import resource
import statistics
import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.contest import Goal, Outcome, Row
from bench.dose import GB, MB, Dose
from bench.servers import COMMANDS, bearer, bellhop, commands, tutorial
from bench.usage import asked_for_health, cpu_seconds, pss_mb, watched_memory
from tests.servers import Server, children_of, wait_until

WAIT_SECONDS = 60
LOOK_SECONDS = 0.2
# The first flood makes what the later ones use again.
FIRST_BYTES = 10 * MB


def ended_task(server: Server, token: dict[str, str], **body: Any) -> dict[str, Any]:
    """Run a command to its end; return the task."""
    asked = body | {"wait_seconds": WAIT_SECONDS}
    task = server.post("/v3/exec/", json=asked, headers=token).json()
    while "finished" not in task:
        time.sleep(LOOK_SECONDS)
        task = server.get(f"/v3/task/{task['task_id']}", headers=token).json()
    return task


def seconds_of(server: Server, token: dict[str, str], count: int) -> float:
    """Drain `count` bytes; return how long it took, as the task has it."""
    params = {"count": str(count)}
    task = ended_task(server, token, command="flood", params=params)
    assert task["output"]["end_offset"] == count, task
    return _moment(task["finished"]) - _moment(task["started"])


def seconds_of_cat(count: int) -> float:
    """Return how long the same pipe takes into cat."""
    begun = time.monotonic()
    subprocess.run(["/bin/sh", "-c", f"{_flood(count)} | cat >/dev/null"], check=True)
    return time.monotonic() - begun


def _seconds_of_readline(server: Server, count: int) -> float:
    """Return how long the tutorial takes until its command has written all.

    It says `finished` when its queue is empty too, for which polls would take for ever.
    """
    begun = time.monotonic()
    answer = server.post("/exec", json={"cmd": _flood(count)})
    assert answer.json() == {"status": "accepted"}
    [worker] = children_of(server.process.pid)
    wait_until(lambda: not children_of(worker), seconds=WAIT_SECONDS)
    return time.monotonic() - begun


def _flood(count: int) -> str:
    return COMMANDS["flood"][-1].replace("{count}", str(count))


def _moment(written: str) -> float:
    return datetime.fromisoformat(written).timestamp()


def _drain(dose: Dose, folder: Path) -> Outcome:
    with bellhop(folder, EXEC_COMMANDS=commands(folder)) as server:
        token = bearer(server)
        seconds_of(server, token, min(FIRST_BYTES, dose.flood_bytes))
        at_first = pss_mb(server.process.pid)
        lines = _speeds(dose, server, token)
        figures = _meanwhile(dose, server, token)
    figures["growth_mb"] = max(0.0, figures.pop("most_mb") - at_first)
    outcome = Outcome([*lines, _readline(dose, folder)], figures)
    outcome.lines[0]["grown_mb"] = figures["growth_mb"]
    outcome.compare("cat", "Bellhop", "cat >/dev/null", "mb_per_second")
    outcome.compare("readline", "Bellhop", "readline and Queue", "mb_per_second")
    return outcome


def _speeds(dose: Dose, server: Server, token: dict[str, str]) -> list[dict[str, Any]]:
    pid, ours, cats = server.process.pid, [], []
    used, own = cpu_seconds(pid), _children_cpu_seconds()
    for _ in range(dose.rounds):
        ours.append(seconds_of(server, token, dose.flood_bytes))
        cats.append(seconds_of_cat(dose.flood_bytes))
    count = dose.flood_bytes * dose.rounds / GB
    cpu, cats_cpu = cpu_seconds(pid) - used, _children_cpu_seconds() - own
    return [
        _line("Bellhop", dose.flood_bytes, ours, cpu / count),
        _line("cat >/dev/null", dose.flood_bytes, cats, cats_cpu / count),
    ]


def _meanwhile(dose: Dose, server: Server, token: dict[str, str]) -> dict[str, float]:
    """Look at the service during floods of their own: to look costs, too."""
    pid, health_ms, memory = server.process.pid, [], []
    for _ in range(dose.rounds):
        with asked_for_health(server.url) as health, watched_memory(pid) as seen:
            seconds_of(server, token, dose.flood_bytes)
        health_ms.append(health.p99_ms())
        memory += seen
    return {
        "most_mb": max(memory),
        "health_p99_ms": statistics.median(health_ms),
    }


def _readline(dose: Dose, folder: Path) -> dict[str, Any]:
    """Have the tutorial do it, each time anew: what it has read it keeps."""
    seconds, grown, used = [], [], 0.0
    for _ in range(dose.rounds):
        with tutorial(folder) as server:
            pid = server.process.pid
            before = pss_mb(pid), cpu_seconds(pid)
            seconds.append(_seconds_of_readline(server, dose.readline_bytes))
            grown.append(pss_mb(pid) - before[0])
            used += cpu_seconds(pid) - before[1]
    cpu = used / (dose.readline_bytes * dose.rounds / GB)
    line = _line("readline and Queue", dose.readline_bytes, seconds, cpu)
    return line | {"grown_mb": max(grown)}


def _line(who: str, count: int, seconds: list[float], cpu: float) -> dict[str, Any]:
    speed = count / MB / statistics.median(seconds)
    return {
        "who": who,
        "bytes": count,
        "mb_per_second": speed,
        "cpu_seconds_per_gb": cpu,
        "rounds": [round(each, 2) for each in seconds],
    }


def _children_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


ROWS = [
    Row(
        "flood",
        "A flood of output",
        "Lines of 64 bytes, as fast as they can be written, into Bellhop, which keeps "
        "the first 64 KiB and the last 1 MiB and counts the rest, and into cat(1). The "
        "third is the tutorial's readline and Queue, which keeps every line and is "
        "given less. The time is the task's own. During floods of their own, health is "
        "asked 50 times a second, and the memory of the whole service is looked at 4 "
        "times a second.",
        _drain,
        (
            Goal("cat", "speed against cat", "×", 0.7, 0.85),
            Goal("readline", "speed against readline and Queue", "×", 30, 40),
            Goal("growth_mb", "growth of the service", "MB", 16, None, False),
            Goal("health_p99_ms", "health meanwhile, p99", "ms", 100, 30, False),
        ),
    ),
]
