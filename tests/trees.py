"""Random trees of processes, made by a command; who of one is still alive.

Each tree has a folder that all its processes stay in: by that they are found, whatever
they do to their session, their name, their descriptors or their environment.
"""

import json
import os
import random
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import requests

from tests.commands import python_argv
from tests.servers import Server, wait_until

PASSWORD = "the admin's password"
ADMIN = ("admin", PASSWORD)

# What one process of a tree may do, beside having children.
WAYS = (
    "setsid",  # leaves the session
    "daemon",  # leaves its session and its parent
    "group",  # leads a group of its own
    "closed",  # has closed all its descriptors
    "ignores",  # ignores what asks it to end
    "halted",  # stops itself
    "renamed",  # becomes a program that is called otherwise
    "headless",  # its main thread has ended
    "moving",  # forks and exits, again and again
)
# Each is the last that it does.
_LAST = ("halted", "renamed", "headless", "moving")

_LIVE_SECONDS = 300  # no process of a tree lives longer, whatever goes wrong

# Makes the tree that its first argument, JSON, describes.
_TREE = f"""
import ctypes, json, os, platform, signal, sys, threading, time
from contextlib import suppress

libc = ctypes.CDLL(None)
end = time.monotonic() + {_LIVE_SECONDS}

def say(name):
    descriptor = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, b"%d\\n" % os.getpid())
    os.close(descriptor)

def make(node):
    ways = node["ways"]
    if "setsid" in ways or "daemon" in ways:
        os.setsid()
    if "group" in ways and os.getpgrp() != os.getpid() != os.getsid(0):
        os.setpgid(0, 0)
    if "ignores" in ways:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
    for child in node["children"]:
        begin(child)
    if "closed" in ways:
        os.closerange(0, 256)
    live(ways)

def begin(node):
    pid = os.fork()
    if pid:
        if "daemon" in node["ways"]:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
        return
    if "daemon" in node["ways"]:
        os.setsid()
        if os.fork():
            os._exit(0)
    make(node)

def live(ways):
    say("ready")
    if "renamed" in ways:
        name = b"[kworker/0:1-events]"
        libc.prctl(15, name, 0, 0, 0)
        os.execv("/bin/sleep", [name, b"{_LIVE_SECONDS}"])
    if "halted" in ways:
        os.kill(os.getpid(), signal.SIGSTOP)
    if "headless" in ways:
        threading.Thread(target=time.sleep, args=({_LIVE_SECONDS},)).start()
        libc.syscall({{"x86_64": 60}}.get(platform.machine(), 93), 0)
    while "moving" in ways and time.monotonic() < end:
        time.sleep(0.05)
        if os.fork():
            os._exit(0)
    while time.monotonic() < end:
        time.sleep(1)
    os._exit(0)

# Whoever loses its parent is the root's to reap, and it has that done: not every
# system has an init that is quick at it.
libc.prctl(36, 1, 0, 0, 0)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.chdir(sys.argv[2])
with open("parent", "w") as file:
    file.write(str(os.getppid()))
make(json.loads(sys.argv[1]))
"""


class Tree:
    """One tree: what is to be run for it, how many it are, who of it is alive."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.seed = seed
        folder.mkdir()
        root = _node(random.Random(seed), depth=0)
        # Its exit, or its move to another session, would be the end of the command.
        excluded = ("setsid", "daemon", "moving")
        root["ways"] = [way for way in root["ways"] if way not in excluded]
        self._root = root
        self.size = _size(root)

    def __repr__(self) -> str:
        return f"<Tree {self.seed}: {json.dumps(self._root)}>"

    @property
    def argv(self) -> list[str]:
        """What makes the tree."""
        return [*python_argv(_TREE, json.dumps(self._root), str(self.folder))]

    @property
    def obeys(self) -> bool:
        """Whether the root ends when it is asked to."""
        return not {"ignores", "halted"} & set(self._root["ways"])

    def is_ready(self) -> bool:
        """Return whether all of it are there."""
        path = self.folder / "ready"
        return path.exists() and len(path.read_text().splitlines()) == self.size

    def worker(self) -> int:
        """Return which process has started it."""
        return int((self.folder / "parent").read_text())

    def alive(self) -> set[int]:
        """Return who of it is alive, also who was forked while this looked."""
        return alive_in(self.folder)


def alive_in(folder: Path) -> set[int]:
    """Return the live processes whose folder that is.

    Those that were forked meanwhile are looked at too, until there are none.
    """
    found, seen = set(), set[Path]()
    while new := set(Path("/proc").glob("[0-9]*")) - seen:
        seen |= new
        found |= {int(path.name) for path in new if _is_in(path, folder)}
    return found


def kill_all(folder: Path) -> None:
    """Kill whoever is still in that folder."""

    def gone() -> bool:
        alive = alive_in(folder)
        for pid in alive:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not alive

    wait_until(gone)


def start(server: Server, **body: Any) -> str:
    """Start something as the admin; return its task's path."""
    answer = server.post("/v3/exec/", json=body, auth=ADMIN)
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"]


def task_of(server: Server, href: str) -> dict[str, Any]:
    """Return a task."""
    answer = server.get(href, auth=ADMIN)
    assert answer.status_code == 200, answer.text
    return answer.json()


def end_of(server: Server, href: str, *, seconds: float = 20) -> dict[str, Any]:
    """Return a task once it has an end, whatever is answered in between."""

    def ended() -> dict[str, Any] | None:
        with suppress(requests.RequestException, AssertionError):
            found = task_of(server, href)
            return found if "finished" in found else None
        return None

    found = wait_until(ended, seconds=seconds)
    assert found is not None
    return found


def delete(server: Server, href: str) -> int:
    """Have a task ended; return the status of the answer."""
    return requests.delete(server.url + href, auth=ADMIN, timeout=60).status_code


def kill_server(server: Server) -> None:
    """Kill a server with all its workers, as a crash does: quick, and untidy."""
    pids = server.workers()
    server.process.kill()
    server.process.wait()
    for pid in pids[1:]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(_lives(pid) for pid in pids))


def _node(dice: random.Random, *, depth: int) -> dict[str, Any]:
    ways = [way for way in WAYS[: -len(_LAST)] if dice.random() < 0.25]
    if dice.random() < 0.5:
        ways.append(dice.choice(_LAST))
    most = (3, 2, 2, 1, 0)[depth]
    least = 1 if depth == 0 else 0
    count = dice.randint(least, most) if most else 0
    children = [_node(dice, depth=depth + 1) for _ in range(count)]
    return {"ways": ways, "children": children}


def _size(node: dict[str, Any]) -> int:
    return 1 + sum(_size(child) for child in node["children"])


def _is_in(process: Path, folder: Path) -> bool:
    """Return whether that is a process's folder; its main thread may have ended."""
    try:
        paths = [process, *(process / "task").iterdir()]
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False
    return any(_folder(path) == folder for path in paths)


def _folder(path: Path) -> Path | None:
    try:
        return (path / "cwd").readlink()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None


def _lives(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return ") Z " not in stat
