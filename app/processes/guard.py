"""The guardian of a worker, as the worker sees it."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import structlog

# Neither the environment nor the packages of the service: it stays small.
_PROGRAM = (sys.executable, "-E", "-s", "-S", "-m", "app.processes.guardian")
_PROJECT = Path(__file__).parents[2]
# Time for it to end where nothing is left for it to do.
CLOSE_SECONDS = 2.0

log = structlog.get_logger(__name__)


class Guard:
    """Keeps a guardian told of what runs here; see :mod:`app.processes.guardian`.

    `name` is that of the environment variable which marks what is run.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()  # guards both below
        self._marks: set[str] = set()
        self._guardian: _Guardian | None = None

    def start(self) -> None:
        """Start the guardian; raise OSError where that fails."""
        with self._lock:
            self._guardian = _Guardian(self._name)

    def add(self, mark: str) -> None:
        """Have what carries this mark ended, should this process die."""
        with self._lock:
            self._marks.add(mark)
            self._tell(f"+{mark}")

    def remove(self, mark: str) -> None:
        """Say that nothing runs any more that carries this mark."""
        with self._lock:
            self._marks.discard(mark)
            self._tell(f"-{mark}")

    def check(self) -> None:
        """Start the guardian again where it has ended."""
        with self._lock:
            if self._guardian is not None and self._guardian.has_ended:
                self._restart(self._guardian)

    def close(self) -> None:
        """End it: it ends what has not ended here."""
        with self._lock:
            guardian, self._guardian = self._guardian, None
        if guardian is not None and not guardian.leave(seconds=CLOSE_SECONDS):
            log.warning("guardian.left", runs=len(self._marks))

    def _tell(self, line: str) -> None:
        if self._guardian is None:
            return
        try:
            self._guardian.write(line)
        except OSError:  # it has ended, or hangs
            self._restart(self._guardian)

    def _restart(self, ended: "_Guardian") -> None:
        log.warning("guardian.restarted")
        ended.kill()
        try:
            self._guardian = _Guardian(self._name)
            for mark in self._marks:
                self._guardian.write(f"+{mark}")
        except OSError as error:  # it is looked again soon whether that works
            log.warning("guardian.not_started", error=str(error))


class _Guardian:
    """Its process; raises OSError where that cannot be started."""

    def __init__(self, name: str) -> None:
        self._popen = subprocess.Popen(
            [*_PROGRAM, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            bufsize=0,
            env={},
            cwd=_PROJECT,
            start_new_session=True,
        )
        assert self._popen.stdin is not None  # noqa: S101 - it is a pipe
        self._stdin = self._popen.stdin
        # Who halts it must not halt the worker.
        os.set_blocking(self._stdin.fileno(), False)

    @property
    def has_ended(self) -> bool:
        """Whether it is no more; then it is reaped."""
        return self._popen.poll() is not None

    def write(self, line: str) -> None:
        """Tell it a line, or nothing of it; raise OSError where that fails."""
        if self._stdin.closed or self._stdin.write(f"{line}\n".encode()) is None:
            raise BrokenPipeError

    def kill(self) -> None:
        """End it at once, and nothing else with it."""
        self._popen.kill()
        self._popen.wait()
        self._stdin.close()

    def leave(self, *, seconds: float) -> bool:
        """Have it do what is left; return whether it has ended within the time."""
        self._stdin.close()
        try:
            self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self._popen.returncode = 0  # or Popen would warn that nobody asked
            return False
        return True
