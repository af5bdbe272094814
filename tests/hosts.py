"""Hosts for tests: a worker of Celery for each, in a process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import PROJECT, Server, wait_until
from tests.trees import ADMIN

START_SECONDS = 30
STOP_SECONDS = 20

WORKER = (sys.executable, "-m", "celery", "-A", "app.worker", "worker")


class WorkingHost:
    """A host with its worker, which can be killed and started again."""

    def __init__(self, folder: Path, name: str, env: dict[str, str]) -> None:
        self.name = name
        self.instance = folder / name
        self.log_path = folder / f"{name}.log"
        self._env = {
            "PATH": os.environ["PATH"],
            "FLASK_ENV": "testing",
            "INSTANCE_PATH": str(self.instance),
            "BELLHOP_HOST": name,
            **env,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The number of its worker's process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start its worker."""
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                WORKER, cwd=PROJECT, env=self._env, stdout=log, stderr=log
            )

    def kill(self) -> None:
        """End its worker as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def stop(self) -> int:
        """Stop its worker as an operator would, if it runs; return the exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


@contextmanager
def working_hosts(
    folder: Path, *names: str, **env: str
) -> Iterator[dict[str, WorkingHost]]:
    """Give hosts by their names, whose workers were started; stop them in the end."""
    hosts = {name: WorkingHost(folder, name, env) for name in names}
    try:
        for host in hosts.values():
            host.start()
        yield hosts
    finally:
        for host in hosts.values():
            host.stop()


def alive_hosts(server: Server) -> set[str]:
    """Return the names of the hosts that are alive, as a server sees them."""
    hosts = server.get("/v3/hosts/", auth=ADMIN).json()["hosts"]
    return {host["host"] for host in hosts if host["alive"]}


def wait_for_hosts(server: Server, *names: str) -> None:
    """Wait until these hosts are alive, and no others."""
    wait_until(lambda: alive_hosts(server) == set(names), seconds=START_SECONDS)
