"""One running command: it owns the process, its output pipe and its end.

One thread at a time calls :meth:`Child.attend` and, at last, :meth:`Child.run`; any
other may call :meth:`Child.stop`. What becomes of the output and of the record is the
caller's affair.
"""

import fcntl
import os
import resource
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import IO

from .command import Command
from .ladder import Find, end_processes
from .table import (
    Process,
    processes_marked,
    processes_of_group,
    processes_of_run,
)

# What the pipe holds and one read takes: with the kernel's 64 KiB a flooding
# command waits more often, more gains little.
PIPE_BYTES = 256 * 1024
# What one read takes until one was filled: most commands write little at a time.
FIRST_READ_BYTES = 8 * 1024
# How long output may still come after the command has exited: enough for what is
# in the pipe and for a `tee` at its end, not for a daemon that holds the pipe.
DRAIN_SECONDS = 0.25
# How often to look whether processes are gone that are not our own children.
LOOK_SECONDS = 0.02
# No program, so that none is run to see whether one could be started.
_NOTHING = ("/nonexistent/program",)

Sink = Callable[[memoryview], None]


@dataclass(frozen=True)
class Ending:
    """How a command ended.

    `reason` is "exit", "signal", "limit", "timeout", what :meth:`Child.stop` was
    given, or "status_unknown" where the kernel no longer had the exit status.
    `returncode` is 128 plus the signal's number for one that was killed. `leftovers`
    says that processes of the command outlived it, or would not end. `max_rss_bytes`
    is None for a command smaller than this service. `detail` says which limit was
    reached, where one was.
    """

    reason: str
    returncode: int | None
    signal: str | None
    leftovers: bool
    cpu_seconds: float | None
    max_rss_bytes: int | None
    detail: str | None = None


class Child:
    """A command in a session of its own, from its start to its last byte."""

    def __init__(
        self,
        command: Command,
        *,
        mark: str,
        grace_seconds: float,
        of_group: Find = tuple,
    ) -> None:
        self._command = command
        self._mark = mark.encode()
        self._grace_seconds = grace_seconds
        self._of_control_group = of_group
        self._pid = 0
        self._code: int | None = None
        self._usage: resource.struct_rusage | None = None
        self._exited = False
        self._group_lives = True
        self._is_gone = False
        self._pipes: list[int] = []  # those that may still give output
        self._stop_reason: str | None = None
        self._wake = -1  # an eventfd, so that a stop interrupts the wait for output
        # Guards _stop_reason and _wake; the handler of a signal may stop it, too.
        self._stop_lock = threading.RLock()
        self._buffer = memoryview(bytearray(FIRST_READ_BYTES))
        self._poll = select.poll()
        self._answers: dict[int, Callable[[], None]] = {}

    def __repr__(self) -> str:
        state = "exited" if self._exited else "running" if self._pid else "not started"
        return f"<Child pid={self._pid} {state}>"

    @property
    def is_started(self) -> bool:
        """Whether there is, or was, a process."""
        return self._pid > 0

    @property
    def is_gone(self) -> bool:
        """Whether it has left nothing that would have to be ended, or waited for."""
        return self._is_gone

    def start(self, sink: Sink, stderr_sink: Sink | None = None) -> None:
        """Start the process; raise OSError where the system will not.

        All output is passed to `sink`; what it writes to stderr goes to a sink of its
        own where that is kept apart.
        """
        with ExitStack() as opened:
            with ExitStack() as writers:
                outputs = [self._open_pipe(opened, writers, sink)]
                if self._command.separate_stderr:
                    apart = self._open_pipe(opened, writers, stderr_sink or sink)
                    outputs.append(apart)
                self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                opened.callback(self._close_wake)
                self._popen, self._pidfd = _start(self._command, *outputs)
            opened.callback(os.close, self._pidfd)
            self._pid = self._popen.pid
            self._deadline = time.monotonic() + self._command.timeout_seconds
            opened.push(self._kill_unfollowed)
            self._expect(self._pidfd, self._reap)
            self._expect(self._wake, self._woken)
            self._opened = opened.pop_all()

    def attend(self, seconds: float) -> bool:
        """Pass output on for so long; return False once its end is to be brought about.

        That is when it has exited, is to be stopped, or has had its time.
        """
        with ExitStack() as failed:
            failed.push(self._opened)  # where a sink fails, the command ends
            left = self._deadline - time.monotonic()
            self._pump(self._over, min(seconds, left))
            if self._exited and not self._stop_reason:
                self._is_gone = self._pump(
                    self._all_gone, DRAIN_SECONDS, look=LOOK_SECONDS
                )
            failed.pop_all()
        return not self._over() and time.monotonic() < self._deadline

    def run(self) -> Ending:
        """Pass all output on until the command and what it started are gone.

        The command's exit is its end, not the end of a pipe, which a background process
        could hold for ever.
        """
        with self._opened:
            self._pump(self._over, self._deadline - time.monotonic())
            if self._exited and self._limit_reached():
                reason, leftovers = "limit", self._end_everything()
            elif self._exited:
                reason, leftovers = "exit", self._end_group()
            else:
                reason = self._stop_reason or "timeout"
                leftovers = self._end_everything()
            self._pump(self._drained, DRAIN_SECONDS)
            if self._exited and self._stop_reason and reason == "exit":
                # It was to end while its end was on the way: then all of it is.
                leftovers = self._end_everything() or leftovers
        return self._ending(reason, leftovers=leftovers)

    def stop(self, reason: str) -> None:
        """Have the command ended, or not begun, for that reason; the first holds."""
        with self._stop_lock:
            self._stop_reason = self._stop_reason or reason
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    def _pump(
        self, done: Callable[[], bool], seconds: float, *, look: float = 3600
    ) -> bool:
        """Serve output, exit and stop until `done`; return False if time ran out.

        `done` is asked after every event, and every `look` seconds without one.
        """
        deadline = time.monotonic() + seconds
        while not done():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            for descriptor, _ in self._poll.poll(min(left, look) * 1000):
                self._answers[descriptor]()
        return True

    def _expect(self, descriptor: int, answer: Callable[[], None]) -> None:
        self._poll.register(descriptor, select.POLLIN)
        self._answers[descriptor] = answer

    def _read(self, pipe: int, sink: Sink) -> None:
        try:
            count = os.readv(pipe, [self._buffer])
        except BlockingIOError:
            return
        if count == 0:
            self._pipes.remove(pipe)
            self._poll.unregister(pipe)
            return
        sink(self._buffer[:count])
        if count == FIRST_READ_BYTES:
            self._buffer = memoryview(bytearray(PIPE_BYTES))

    def _reap(self) -> None:
        self._exited = True
        self._poll.unregister(self._pidfd)
        self._code, self._usage = _wait(self._popen)

    def _woken(self) -> None:
        self._poll.unregister(self._wake)

    def _over(self) -> bool:
        return self._exited or self._stop_reason is not None

    def _drained(self) -> bool:
        return not self._pipes

    def _all_gone(self) -> bool:
        return self._drained() and not _group_exists(self._pid)

    def _limit_reached(self) -> str | None:
        signal_name = _signal_of(self._code)
        return self._command.limits.reached(signal_name, _cpu_seconds(self._usage))

    def _end_group(self) -> bool:
        """End what the exited command left in its group; return if there was any."""
        # The kernel closes a process's pipe a moment before it takes the process out
        # of the group: without this look, one that ends by itself is a leftover.
        self._pump(self._all_gone, DRAIN_SECONDS, look=LOOK_SECONDS)
        if not _group_exists(self._pid):
            return False
        left = self._of_group()
        self._end(self._of_group)
        return bool(left)

    def _end_everything(self) -> bool:
        """End the command and all it started; return if something would not."""
        return bool(self._end(self._of_run))

    def _of_group(self) -> Sequence[Process]:
        return processes_of_group(self._pid) if self._has_group() else ()

    def _of_run(self) -> Sequence[Process]:
        if self._has_group():
            found = processes_of_run(self._pid, self._mark)
        else:
            found = processes_marked({self._mark})
        return [*found, *(p for p in self._of_control_group() if p not in found)]

    def _has_group(self) -> bool:
        """Return whether the command's group is there, or the pid may be another's."""
        if self._exited and self._group_lives:
            self._group_lives = _group_exists(self._pid)
        return self._group_lives

    def _end(self, find: Find) -> Sequence[Process]:
        def wait(done: Callable[[], bool], seconds: float) -> bool:
            return self._pump(
                lambda: done() and self._exited, seconds, look=LOOK_SECONDS
            )

        return end_processes(find, grace_seconds=self._grace_seconds, wait=wait)

    def _ending(self, reason: str, *, leftovers: bool) -> Ending:
        code, usage, limit = self._code, self._usage, self._limit_reached()
        if reason == "exit" and (code is None or code < 0):
            reason = "status_unknown" if code is None else "signal"
        return Ending(
            reason=reason,
            returncode=128 - code if code is not None and code < 0 else code,
            signal=_signal_of(code),
            leftovers=leftovers,
            cpu_seconds=_cpu_seconds(usage),
            max_rss_bytes=_max_rss_bytes(usage) if usage else None,
            detail=f"the limit {limit} was reached" if reason == "limit" else None,
        )

    def _kill_unfollowed(self, error: type[BaseException] | None, *_: object) -> None:
        """Kill the command's group where an error ends :meth:`run`, ours or a sink's.

        Nobody would end it later. That takes no descriptor: there may be none.
        """
        if error is not None:
            with suppress(ProcessLookupError):
                if self._has_group():
                    os.killpg(self._pid, signal.SIGKILL)
            self._popen.wait()

    def _open_pipe(
        self, opened: ExitStack, writers: ExitStack, sink: Sink
    ) -> IO[bytes]:
        """Return the writing end of a new pipe, whose other end is passed to `sink`."""
        reader, writer = os.pipe2(os.O_CLOEXEC)
        opened.callback(os.close, reader)
        output = writers.enter_context(os.fdopen(writer, "wb", buffering=0))
        os.set_blocking(reader, False)
        with suppress(OSError):  # the user's share of pipe memory is used up
            fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._pipes.append(reader)
        self._expect(reader, partial(self._read, reader, sink))
        return output

    def _close_wake(self) -> None:
        # A stop that comes later must not write into a descriptor that has since
        # been given to somebody else.
        with self._stop_lock:
            wake, self._wake = self._wake, -1
            os.close(wake)


def check_start() -> None:
    """Raise OSError or RuntimeError where no command could be started and followed."""
    errors: list[OSError] = []

    def start() -> None:
        try:
            subprocess.run(_NOTHING, env={}, check=False)
        except FileNotFoundError:
            pass  # it came as far as the program, which is all that is asked
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=start, name="check-start", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def _start(
    command: Command, stdout: IO[bytes], stderr: IO[bytes] | None = None
) -> tuple["subprocess.Popen[bytes]", int]:
    """Start the process; return it, and a descriptor that tells its exit."""
    environment = dict(command.environment)
    with _input(command.stdin) as stdin:
        popen = subprocess.Popen(
            command.limits.argv(
                command.argv,
                path=environment.get("PATH", os.defpath),
                cwd=command.cwd,
            ),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr or stdout,
            env=environment,
            cwd=command.cwd,
            start_new_session=True,
        )
    try:
        return popen, _exit_descriptor(popen)
    except OSError:
        popen.kill()
        popen.wait()
        raise


@contextmanager
def _input(data: bytes | None) -> Iterator[int]:
    """Give a descriptor from which `data` is read: a file in memory, always ready."""
    if data is None:
        yield subprocess.DEVNULL
        return
    with os.fdopen(os.memfd_create("stdin", os.MFD_CLOEXEC), "w+b") as file:
        file.write(data)
        file.seek(0)
        yield file.fileno()


def _exit_descriptor(popen: "subprocess.Popen[bytes]") -> int:
    """Return a descriptor that can be read once the process has ended."""
    if not _gevent_reaps(popen):
        try:
            return os.pidfd_open(popen.pid)
        except ProcessLookupError:  # it has ended, and somebody took its exit status
            return os.eventfd(1, os.EFD_CLOEXEC)
    # Its pid may be nobody's already: only gevent tells of the exit.
    reader, writer = os.pipe2(os.O_CLOEXEC)

    def tell() -> None:
        popen.wait()
        os.close(writer)

    threading.Thread(target=tell, name=f"exit-{popen.pid}", daemon=True).start()
    return reader


def _gevent_reaps(popen: "subprocess.Popen[bytes]") -> bool:
    """Return whether gevent's handler of SIGCHLD takes the exit status."""
    return type(popen).__module__ == "gevent.subprocess"


def _wait(
    popen: "subprocess.Popen[bytes]",
) -> tuple[int | None, resource.struct_rusage | None]:
    """Return the exit code of a process that has ended, and what it has used.

    The code is None where somebody else took it; Popen.wait() would say 0.
    """
    if _gevent_reaps(popen):
        return popen.wait(), None  # and nobody knows what it has used
    try:
        _, status, usage = os.wait4(popen.pid, 0)
    except ChildProcessError:
        popen.returncode = 0  # or Popen would warn that nobody asked
        return None, None
    popen.returncode = os.waitstatus_to_exitcode(status)
    return popen.returncode, usage


def _group_exists(group: int) -> bool:
    """Return whether a process, or the zombie of one, is in that group.

    Its number cannot be another's while it has members, nor be given away in the
    moment since its leader was reaped: the kernel goes through all pids first.
    """
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _max_rss_bytes(usage: resource.struct_rusage) -> int | None:
    """Return the peak memory of the largest process, None where it cannot be told.

    The kernel counts in what the new process had before its exec: this service's
    own. A peak that is not above ours is therefore not the command's.
    """
    ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage.ru_maxrss * 1024 if usage.ru_maxrss > ours else None


def _cpu_seconds(usage: resource.struct_rusage | None) -> float | None:
    return round(usage.ru_utime + usage.ru_stime, 6) if usage else None


def _signal_of(code: int | None) -> str | None:
    """Return which signal has ended a process with that exit code, if one has."""
    if code is None or code >= 0:
        return None
    try:
        return signal.Signals(-code).name
    except ValueError:  # a real-time signal
        return f"SIG{-code}"
