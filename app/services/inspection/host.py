"""The host: its clock, how many descriptors a worker may have, and its drain."""

import resource
from collections.abc import Iterator, Mapping
from typing import Any

from app.finding import Finding
from app.host.clock import Clock
from app.services.drain import Drain

# How far the clock may be behind what was written down by it.
_BEHIND_SECONDS = 60

# What a worker has open at most, should all of it come to one: for itself, with a
# full pool of connections to the database;
_WORKER_FILES = 128
# for a request: its connection, an output and a request to a vendor;
_THREAD_FILES = 4
# for a run: two outputs, two pipes, pidfd, eventfd and epoll, and two while it starts;
_RUN_FILES = 9
# for one that waits: its outputs.
_QUEUED_FILES = 2


def findings(settings: Mapping[str, Any]) -> Iterator[Finding]:
    """Give what there is to say of the limits of this process, as its own children."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    commands, messages = _files_of_commands(settings), _files_of_messages(settings)
    about = "open files"
    if 0 <= allowed < commands:
        words = f"{allowed} are allowed, and a worker may need {commands}"
        remedy = (
            "raise LimitNOFILE (systemd) or ulimit -n, "
            "or lower THREADS, EXEC_MAX_RUNNING or EXEC_MAX_QUEUED"
        )
        yield Finding.fault(about, words, remedy)
    elif 0 <= allowed < commands + messages:
        words = f"{allowed} are allowed, and {messages} messages may wait in one worker"
        remedy = "raise LimitNOFILE (systemd) or ulimit -n, or lower SMS_MAX_QUEUED"
        yield Finding.note(about, words, remedy)
    else:
        yield Finding(about, "as many are allowed as a worker may need")


def findings_of_clock(clock: Clock, *, newest: float | None) -> Iterator[Finding]:
    """Give what there is to say of the clock; `newest` is when a record was made."""
    ahead = (newest or 0.0) - clock.now()
    if ahead > _BEHIND_SECONDS:
        words = f"is {ahead:.0f} s behind the newest record"
        remedy = "set it right before anything is started"
        yield Finding.fault("clock", words, remedy)
    if clock.is_synchronised() is False:
        words = "is kept right by nobody, as the kernel knows: signed uuids need it"
        yield Finding.note("clock", words, "run chrony, ntpd or systemd-timesyncd")
    elif ahead <= _BEHIND_SECONDS:
        yield Finding("clock", "is right, as far as can be seen")


def findings_of_drain(drain: Drain) -> Iterator[Finding]:
    """Give a note where the host is being drained, which somebody may have left so."""
    if drain.is_on():
        words = "this host takes no new runs"
        remedy = "when it is to: flask --app server undrain"
        yield Finding.note("drain", words, remedy)


def _files_of_commands(settings: Mapping[str, Any]) -> int:
    files: int = (
        _WORKER_FILES
        + _THREAD_FILES * settings["THREADS"]
        + _RUN_FILES * settings["EXEC_MAX_RUNNING"]
        + _QUEUED_FILES * settings["EXEC_MAX_QUEUED"]
    )
    return files


def _files_of_messages(settings: Mapping[str, Any]) -> int:
    """Return one for each message that is sent as a task, or waits to be."""
    waiting: int = settings["SMS_MAX_RUNNING"] + settings["SMS_MAX_QUEUED"]
    return waiting
