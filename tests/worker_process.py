"""The worker of Celery as one starts it: in a process of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.servers import PROJECT, START_SECONDS, STOP_SECONDS, wait_until

_PROGRAM = (sys.executable, "-m", "celery", "-A", "app.worker", "worker")


class WorkerProcess:
    """A worker whose log can be looked at."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log_path = log

    @property
    def is_ready(self) -> bool:
        """Whether it takes tasks."""
        assert self.process.poll() is None, self.log_path.read_text()
        return any("ready." in line["event"] for line in self.log_lines())

    def log_lines(self) -> list[dict[str, Any]]:
        """Return what has been logged, each line parsed; the banner left out."""
        lines = self.log_path.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Stop it as an operator would; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)


@contextmanager
def running_worker(
    tmp_path: Path, *arguments: str, **env: str
) -> Iterator[WorkerProcess]:
    """Start a worker with `env` for settings, and stop it in the end."""
    settings = {
        "PATH": os.environ["PATH"],
        "FLASK_ENV": "testing",
        "INSTANCE_PATH": str(tmp_path / "instance"),
    }
    log = tmp_path / f"worker-{len(list(tmp_path.glob('worker-*')))}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*_PROGRAM, *arguments],
            cwd=PROJECT,
            env=settings | env,
            stdout=output,
            stderr=output,
        )
    worker = WorkerProcess(process, log)
    try:
        wait_until(lambda: worker.is_ready, seconds=START_SECONDS)
        yield worker
    finally:
        if process.poll() is None:
            worker.stop()
