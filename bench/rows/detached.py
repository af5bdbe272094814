"""What it costs that a run outlives the service."""

import json
import statistics
import time
import urllib.request
from pathlib import Path

from bench.contest import Goal, Outcome, Row
from bench.dose import Dose
from bench.servers import bearer, bellhop
from bench.usage import descendants, pss_mb
from tests.servers import Server

ATTACHED, DETACHED = "a command", "a detached command"
RUNS = 10  # of each in a round
PAUSE_SECONDS = 0.1


def _detached(dose: Dose, folder: Path) -> Outcome:
    taken = {who: [] for who in (ATTACHED, DETACHED)}
    with bellhop(folder, EXEC_ALLOW_SHELL="1") as server:
        token = bearer(server, "admin")
        for _ in range(dose.rounds * RUNS):
            for who, each in taken.items():
                each.append(_start_ms(server, token, detached=who == DETACHED))
        lines = [
            {"who": who, "start_ms": statistics.median(each)}
            for who, each in taken.items()
        ]
        lines[1]["pss_mb"] = _supervisor_mb(server, token)
    later = lines[1]["start_ms"] - lines[0]["start_ms"]
    return Outcome(lines, {"later_ms": later, "pss_mb": lines[1]["pss_mb"]})


def _start_ms(server: Server, token: dict, *, detached: bool) -> float:
    """Return after how long a command that was asked for looks at the clock."""
    time.sleep(PAUSE_SECONDS)
    begun = time.time()
    task = _run(server, token, ["date", "+%s.%N"], detached=detached, wait_seconds=30)
    return (float(task["result"]["output"]) - begun) * 1000


def _supervisor_mb(server: Server, token: dict) -> float:
    """Return the memory of a detached run's process."""
    _run(server, token, ["sleep", "5"], detached=True)
    time.sleep(1)  # it has started the command by then, and the others are gone
    found = filter(_is_one, descendants(server.process.pid))
    return max(pss_mb(each) for each in found)  # the one that runs it, and spares


def _is_one(pid: int) -> bool:
    return b"app.tasks.supervisor" in Path(f"/proc/{pid}/cmdline").read_bytes()


def _run(server: Server, token: dict, argv: list[str], **wish) -> dict:
    body = json.dumps({"argv": argv, **wish}).encode()
    headers = {"Content-Type": "application/json", **token}
    asked = urllib.request.Request(f"{server.url}/v3/exec/", body, headers)
    with urllib.request.urlopen(asked) as answer:
        return json.load(answer)


ROWS = [
    Row(
        "detached",
        "A run that outlives the service",
        "From the request until the command looks at the clock (`date`), a tenth of a "
        "second apart, with and without a process of its own (a worker that has had "
        "one keeps a spare); and that process's share of memory (PSS) while the "
        "command runs. What is not detached has none.",
        _detached,
        (
            Goal("later_ms", "later than another command", "ms", 60, None, False),
            Goal("pss_mb", "memory of its process, PSS", "MB", 12, None, False),
        ),
    ),
]
