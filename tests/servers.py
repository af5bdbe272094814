"""Real servers for tests: gunicorn or run.py in a process of their own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import cycle
from pathlib import Path
from typing import Any, TypeVar

import requests

PROJECT = Path(__file__).resolve().parent.parent
# Of a busy machine, which no test that succeeds waits for.
START_SECONDS = 60
STOP_SECONDS = 20

GUNICORN = ("-m", "gunicorn", "server:app")
RUN = ("run.py",)

# Below what the system gives to clients; each process of the tests begins elsewhere.
PORTS = range(10_000, 30_000)
_ports = cycle([*PORTS[(at := os.getpid() * 997 % len(PORTS)) :], *PORTS[:at]])

T = TypeVar("T")


class Server:
    """A server that answers at `url`; its log and its children can be looked at."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
        self.process = process
        self.url = url
        self.log_path = log

    def get(self, path: str, **options: Any) -> requests.Response:
        """GET on a connection of its own."""
        return requests.get(self.url + path, timeout=60, **options)

    def post(self, path: str, **options: Any) -> requests.Response:
        """POST on a connection of its own."""
        return requests.post(self.url + path, timeout=60, **options)

    def exec(self, caller: str, cmd: str) -> requests.Response:
        """Start a command."""
        return self.post(f"/api/exec/{caller}", json={"cmd": cmd})

    def poll(self, caller: str) -> dict[str, Any]:
        """Poll once."""
        return self.get(f"/api/poll/{caller}").json()

    def poll_until_finished(self, caller: str, seconds: float = 30) -> list[dict]:
        """Poll until a poll says finished; return all polls."""
        polls: list[dict] = []

        def finished() -> bool:
            polls.append(self.poll(caller))
            return polls[-1]["status"] == "finished"

        wait_until(finished, seconds=seconds)
        return polls

    def workers(self) -> list[int]:
        """Return the pids of the server's own processes: master, then workers."""
        return [self.process.pid, *children_of(self.process.pid)]

    def log_lines(self) -> list[dict[str, Any]]:
        """Return what has been logged, each line parsed; banner lines left out."""
        lines = self.log_path.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def stop(self) -> int:
        """Stop it as an operator would; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)


@contextmanager
def running(
    tmp_path: Path,
    *arguments: str,
    command: tuple[str, ...] = GUNICORN,
    release: Path = PROJECT,
    **env: str,
) -> Iterator[Server]:
    """Start a server with `env` for settings, and stop it in the end.

    `release` is the folder of what is run.
    """
    port = env.get("PORT") or free_port()
    settings = {
        "PATH": os.environ["PATH"],
        "FLASK_ENV": "testing",
        "INSTANCE_PATH": str(tmp_path / "instance"),
        "PORT": str(port),
        "WORKERS": "2",  # each takes most of a second to start
    }
    log = tmp_path / f"server-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command, *arguments],
            cwd=release,
            env=settings | env,
            stdout=output,
            stderr=output,
        )
    server = Server(process, f"http://127.0.0.1:{port}", log)
    try:
        wait_until(lambda: _answers(server), seconds=START_SECONDS)
        yield server
    finally:
        if process.poll() is None:
            _end(server)


def wait_until(done: Callable[[], T], *, seconds: float = 30) -> T:
    """Look until `done()` is true; fail the test when the time is over."""
    deadline = time.monotonic() + seconds
    while not (result := done()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {done}"
        time.sleep(0.02)
    return result


def free_port() -> int:
    """Return a port that nothing listens on, another one each time.

    The system's own choice may go to somebody else before the server that it was found
    for has started: its test would then talk to a stranger.
    """
    for port in _ports:
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("there is always a next one")


def children_of(pid: int) -> list[int]:
    """Return the children of a process, zombies among them."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def alive_with(mark: str) -> list[int]:
    """Return the live processes with `mark` in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


def _answers(server: Server) -> bool:
    if server.process.poll() is not None:
        raise AssertionError(f"it ended: {server.log_path.read_text()}")
    try:
        return server.get("/api/health").ok
    except requests.ConnectionError:
        return False


def _end(server: Server) -> None:
    try:
        server.stop()
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait()
        raise
