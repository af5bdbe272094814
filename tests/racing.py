"""Races for tests: threads, or real processes, that all begin at one moment."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from tests.servers import PROJECT

RACE_SECONDS = 60

_GATE = "\nimport sys; print('ready', flush=True); sys.stdin.readline()\n"


def race_threads(count: int, do: Callable[[int], Any]) -> list[Any]:
    """Call `do(number)` in `count` threads at once; return results and errors."""
    barrier = threading.Barrier(count)

    def run(number: int) -> Any:
        barrier.wait(RACE_SECONDS)
        try:
            return do(number)
        except Exception as error:  # noqa: BLE001 - it is what the test looks at
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def race_processes(
    count: int, prepare: str, go: str, *arguments: str, **env: str
) -> list[str]:
    """Run a program in `count` new interpreters; return what each printed.

    All have run `prepare` before any runs `go`. Each knows its number as the last
    of `sys.argv`, and fails the test where it fails or warns.
    """
    with ExitStack() as stack:
        racers = [
            stack.enter_context(_racer(prepare + _GATE + go, *arguments, str(n), **env))
            for n in range(count)
        ]
        for racer in racers:
            assert racer.stdout.readline() == "ready\n", racer.communicate()[1]
        for racer in racers:
            racer.stdin.write("go\n")
            racer.stdin.flush()
        ends = [racer.communicate(timeout=RACE_SECONDS) for racer in racers]
    for racer, (_, errors) in zip(racers, ends, strict=True):
        assert racer.returncode == 0, errors
    return [printed for printed, _ in ends]


def run_python(
    program: str, *arguments: str, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run a program in a new interpreter, in which every warning is an error."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *arguments],
        cwd=PROJECT,
        env={"PATH": os.environ["PATH"]} | env,
        capture_output=True,
        text=True,
        timeout=RACE_SECONDS,
        check=False,
    )


def _racer(program: str, *arguments: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program, *arguments],
        cwd=PROJECT,
        env={"PATH": os.environ["PATH"]} | env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
