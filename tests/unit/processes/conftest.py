"""Runs real commands to their end, and leaves nothing of them behind."""

import os
import random
import signal
import threading
from contextlib import suppress

import pytest

from app.processes.child import Child
from tests.commands import python_argv
from tests.servers import alive_with, wait_until

KEPT_BYTES = 10_000_000  # of a flood


class Following:
    """A command that is followed in a thread, as the backend does it."""

    def __init__(self, command, *, mark, grace_seconds):
        name, _, value = mark.partition("=")
        self.child = Child(
            command.with_environment(**{name: value}),
            mark=mark,
            grace_seconds=grace_seconds,
        )
        self.output = bytearray()
        self._ending = None
        self._thread = threading.Thread(target=self._follow, name="follow")

    def start(self):
        self.child.start(self._keep)
        self._thread.start()
        return self

    def wait_for(self, text):
        wait_until(lambda: text in self.output)
        return self

    def ending(self):
        self._thread.join(20)
        assert self._ending is not None, "it did not end"
        return self._ending

    def close(self):
        self.child.stop("test over")
        if self._thread.ident is not None:
            self._thread.join(20)

    def _follow(self):
        self._ending = self.child.run()

    def _keep(self, data):
        if len(self.output) < KEPT_BYTES:
            self.output += data


@pytest.fixture
def token():
    """Give a number of seconds to sleep by which processes can be found again."""
    seconds = str(random.randrange(10**9, 2 * 10**9))
    yield seconds
    for pid in alive_with(seconds):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def mark(token):
    return f"BELLHOP_TASK_ID={token}"


@pytest.fixture
def follow(mark):
    """Start commands and follow them; end them in the end."""
    followed = []

    def start(command, *, grace_seconds=5.0, mark=mark):
        following = Following(command, mark=mark, grace_seconds=grace_seconds)
        followed.append(following)
        return following.start()

    yield start
    for following in followed:
        following.close()


@pytest.fixture
def run(follow):
    """Run a command to its end; return its ending and its output."""

    def to_the_end(command, *, grace_seconds=5.0):
        following = follow(command, grace_seconds=grace_seconds)
        return following.ending(), bytes(following.output)

    return to_the_end


@pytest.fixture
def spawn():
    """Start programs that are nobody's command; kill and reap them in the end."""
    import subprocess  # noqa: PLC0415 - only here, the tests themselves start Children

    started = []

    def start(*argv, **options):
        started.append(subprocess.Popen(argv, **options))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


@pytest.fixture
def spawn_python(spawn):
    """Start Python programs likewise, and wait until they say that they are ready."""

    def start(source, *arguments, **options):
        process = spawn(*python_argv(source, *arguments), stdout=-1, **options)
        assert process.stdout.readline() == b"ready\n"
        return process

    return start
