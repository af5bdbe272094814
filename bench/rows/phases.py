"""Where the time of one command goes."""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from bench.contest import Goal, Outcome, Row
from bench.dose import Dose
from tests.servers import PROJECT

COMMANDS_A_SECOND = 300  # of the dose
#: Microseconds before any of it was looked at, measured in turns with those of then.
BEFORE: dict[str, float] = {
    "who may: the token looked up": 164,
    "what is asked, checked": 207,
    "taken on, and let go": 674,
    "the record, made": 730,
    "the file of its output": 796,
    "the command started": 277,
    "the command followed to its end": 195,
    "the record, ended": 272,
    "the next one let in": 0,
    "the audit": 324,
    "the log": 299,
    "the answer": 228,
    "Flask, and what is between": 650,
    "the command itself": 920,
}


def _phases(dose: Dose, _folder: Path) -> Outcome:
    count = max(20, int(dose.seconds * COMMANDS_A_SECOND))
    rounds = [_round(count) for _ in range(dose.rounds)]
    lines = [
        {
            "who": phase,
            "cpu_us": statistics.median(each[phase] for each in rounds),
            "before_us": BEFORE.get(phase),
        }
        for phase in rounds[0]
    ]
    whole = sum(line["cpu_us"] for line in lines)
    lines.append({"who": "all", "cpu_us": whole, "before_us": sum(BEFORE.values())})
    return Outcome(lines, {"cpu_ms": whole / 1000})


def _round(count: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.phases", str(count)],
        cwd=PROJECT,
        env={"PATH": os.environ["PATH"]},
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


ROWS = [
    Row(
        "phases",
        "Where the time of a command goes",
        "CPU time of one command in one call, in one process and without a socket: "
        "gunicorn takes 0.3 ms more. With four workers on two cores all but the "
        "command itself takes half as long again, since each that gets its turn finds "
        "the processor's caches full of another's data: so does the bare route, which "
        "has less of it.\n\n"
        "What was changed for it: who waits for a command runs it, in the thread of "
        "the request; its record is written twice and not three times; statements are "
        "made once, and SQLite's driver is given the text; a command with nothing in "
        "its way is taken on by one statement, its own transaction, so that SQLite's "
        "lock is held for as long as that takes itself; a short output is in the "
        "record, and its file is used again; who ends lets in the next, and wakes only "
        "its worker; a line of the log, labels of figures and the words of `Accept` "
        "are made once.\n\n"
        "What was not worth it: a shorter switch interval of the interpreter, fewer "
        "checkpoints of SQLite, one thread of a worker at a time, workers kept to one "
        "core, the scheduler's batch policy and a parser of HTTP in C made no "
        "difference that could be told from noise. Connections past SQLAlchemy's pool "
        "would save 3 %, for a second way to open the database that would have to be "
        "kept right. The next tenth would be parts of Flask's, of jsonschema's and of "
        "the log's share, a few microseconds at each of many places.",
        _phases,
        (Goal("cpu_ms", "CPU of a command in one call", "ms", None, None, False),),
    ),
]
