"""The client of every load: wrk, or one of ours where there is no wrk.

Each client is a thread with one connection, which asks again as soon as it is answered.
Every answer is looked at; one that is not as it must be ends the measurement.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_SCRIPT = Path(__file__).parent / "work.lua"
_OURS = Path(__file__).parent / "plain_client.py"


class WrongAnswer(Exception):
    """A server has not done what is measured."""


@dataclass(frozen=True)
class Step:
    """A request, and what must come back."""

    path: str  # `{}` is what the step before has captured
    method: str = "GET"
    body: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    capture: str = ""  # a pattern with one group, in what Lua and Python share
    until: str = ""  # asked again until the answer has this


@dataclass(frozen=True)
class Work:
    """Requests that are one piece of work, and what their answers have to contain."""

    steps: tuple[Step, ...]
    contains: tuple[str, ...]


@dataclass(frozen=True)
class Pace:
    """How fast it went: of whole pieces of work."""

    works: int
    seconds: float
    p50_ms: float
    p99_ms: float
    client_cpu_seconds: float


def post(path: str, body: Any, *contains: str, **step: Any) -> Work:
    """Return the work of one POST of JSON."""
    headers = {"Content-Type": "application/json", **step.pop("headers", {})}
    request = Step(path, "POST", json.dumps(body), headers, **step)
    return Work((request,), contains)


def get(path: str, *contains: str, **step: Any) -> Work:
    """Return the work of one GET."""
    return Work((Step(path, **step),), contains)


def name() -> str:
    """Say who the client is."""
    return "wrk" if shutil.which("wrk") else "our own (wrk is not installed)"


def drive(url: str, work: Work, *, clients: int, seconds: float) -> Pace:
    """Have `clients` do `work` again and again for `seconds`."""
    command = _wrk if shutil.which("wrk") else _plain
    with tempfile.NamedTemporaryFile("w+", suffix=".lua") as script:
        arguments = command(url, work, clients, seconds, script)
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        try:
            printed = process.stdout.read()
        except BaseException:
            process.kill()
            raise
        finally:
            process.stdout.close()
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or "RESULT " not in printed:
        raise WrongAnswer(f"the client has failed: {printed[-2000:]}")
    told = json.loads(printed.rpartition("RESULT ")[2])
    if told.pop("fault"):
        raise WrongAnswer(f"{url}: {printed[:2000]}")
    if not told["works"]:
        raise WrongAnswer(f"{url}: nothing was done in {seconds} s")
    return Pace(**told, client_cpu_seconds=used.ru_utime + used.ru_stime)


def _wrk(url: str, work: Work, clients: int, seconds: float, script: Any) -> list[str]:
    script.write(f"local steps = {_lua([asdict(step) for step in work.steps])}\n")
    script.write(f"local contains = {_lua(list(work.contains))}\n")
    # wrk takes whole seconds only.
    script.write(f"local seconds = {seconds}\n{_SCRIPT.read_text()}")
    script.flush()
    load = [f"-t{clients}", f"-c{clients}", f"-d{max(1, round(seconds))}s"]
    return ["wrk", *load, "--timeout", "30s", "-s", script.name, url]


def _plain(url: str, work: Work, clients: int, seconds: float, file: Any) -> list[str]:
    json.dump(asdict(work), file)
    file.flush()
    return [sys.executable, str(_OURS), url, str(clients), str(seconds), file.name]


def _lua(value: Any) -> str:
    """Write a value as Lua does; of a string's escapes JSON's are Lua's."""
    if isinstance(value, dict):
        pairs = [f"[{_lua(key)}] = {_lua(each)}" for key, each in value.items()]
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list | tuple):
        return f"{{{', '.join(_lua(each) for each in value)}}}"
    if value is None:
        return "nil"
    return json.dumps(value, ensure_ascii=False)
