"""The process of a detached run, as the service that has started it sees it."""

import subprocess
import sys
from pathlib import Path

from .supervisor import GO, READY

# Neither the environment nor the packages of the service: it starts in half the time.
_PROGRAM = (sys.executable, "-E", "-s", "-S", "-m", "app.tasks.supervisor")
_PROJECT = Path(__file__).parents[2]


class RunProcess:
    """A process that has a task, or waits for one; see :mod:`app.tasks.supervisor`.

    Raises OSError where it cannot be started.
    """

    def __init__(self, folder: Path) -> None:
        self._popen = subprocess.Popen(
            [*_PROGRAM, folder.absolute()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={},
            cwd=_PROJECT,
            start_new_session=True,
        )
        assert self._popen.stdin is not None  # noqa: S101 - they are pipes
        assert self._popen.stdout is not None  # noqa: S101
        self._orders, self._answers = self._popen.stdin, self._popen.stdout

    @property
    def pid(self) -> int:
        """Its number."""
        return self._popen.pid

    @property
    def has_ended(self) -> bool:
        """Whether it is no more; then it is reaped."""
        return self._popen.poll() is not None

    def take(self, task_id: str) -> None:
        """Make it ready to run a task: nobody signals it before.

        Raises ChildProcessError where it will not.
        """
        self._orders.write(f"{task_id}\n".encode())
        if self._answers.read(len(READY)) != READY:
            raise ChildProcessError("The process of the run did not start.")

    def begin(self) -> None:
        """Have it begin, and go on without us; raise OSError where it is no more."""
        self._orders.write(GO)
        self._close()

    def end(self) -> None:
        """End it before it has begun anything."""
        self._popen.kill()
        self._popen.wait()
        self._close()

    def leave(self) -> None:
        """Let it be nobody's child any more."""
        self._popen.returncode = 0  # or Popen would warn that nobody asked

    def _close(self) -> None:
        self._orders.close()
        self._answers.close()
