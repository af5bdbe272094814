"""Programs for the tests: what a command may do to whoever runs it."""

import os
import sys

from app.processes.command import Command

ENVIRONMENT = {"PATH": os.environ["PATH"]}

# Each says "ready" as soon as a signal will be met as described.
IGNORES_TERM = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
ANSWERS_TERM = (
    "exec 2>/dev/null; trap 'echo asked' TERM; echo ready;while :; do sleep 0.05; done"
)
OBEYS_TERM = "trap 'echo bye; exit 0' TERM; echo ready; sleep 300 & wait"

# Leaves its session and its parent, as a daemon does, then runs its arguments.
DAEMON = """
import os, sys
if os.fork():
    os.wait()
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
os.execvp(sys.argv[1], sys.argv[1:])
"""

# The main thread ends, another goes on: the kernel shows the process as a zombie.
LIVES_WITHOUT_MAIN_THREAD = """
import ctypes, platform, sys, threading, time
threading.Thread(target=time.sleep, args=(float(sys.argv[1]),)).start()
print("ready", flush=True)
ctypes.CDLL(None).syscall({"x86_64": 60}.get(platform.machine(), 93), 0)
"""


def shell(script: str, *, timeout_seconds: float = 60, **environment: str) -> Command:
    """Return the command that runs `script` in /bin/sh."""
    return program(
        "/bin/sh", "-c", script, timeout_seconds=timeout_seconds, **environment
    )


def python(
    source: str, *arguments: str, timeout_seconds: float = 60, **environment: str
) -> Command:
    """Return the command that runs `source` in Python."""
    return program(
        *python_argv(source, *arguments),
        timeout_seconds=timeout_seconds,
        **environment,
    )


def program(*argv: str, timeout_seconds: float = 60, **environment: str) -> Command:
    """Return the command that runs a program, its PATH and `environment` around it."""
    return Command(argv, ENVIRONMENT | environment, timeout_seconds)


def python_argv(source: str, *arguments: str) -> tuple[str, ...]:
    """Return the arguments that run `source` in a Python that starts quickly."""
    return (sys.executable, "-I", "-S", "-c", source, *arguments)
