"""What a server takes of the machine, and how it answers meanwhile."""

import http.client
import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")

# Between two questions about health, and between two looks at the memory.
HEALTH_SECONDS = 0.02
LOOK_SECONDS = 0.25
HEALTH_TIMEOUT_SECONDS = 10

# A server is idle that takes less of a core than this for so long.
IDLE_SECONDS = 0.1
IDLE_SHARE = 0.1
IDLE_TIMEOUT_SECONDS = 10


def cpu_seconds(pid: int) -> float:
    """Return what a process has used, with all that came of it, the reaped too."""
    stats = _stats()
    return sum(_ticks(stats[each]) for each in _tree(pid, stats)) / _TICKS


def wait_until_idle(pid: int) -> None:
    """Wait until a server has done what it was left with, or for a while."""
    deadline = time.monotonic() + IDLE_TIMEOUT_SECONDS
    used, before = cpu_seconds(pid), -1.0
    while used - before > IDLE_SHARE * IDLE_SECONDS and time.monotonic() < deadline:
        time.sleep(IDLE_SECONDS)
        used, before = cpu_seconds(pid), used


def pss_mb(pid: int) -> float:
    """Return the memory of a server: its processes' shares of what they share.

    What it runs for others is another program and does not count.
    """
    return sum(_rollup(each, "Pss") for each in own_processes(pid))


def rss_mb(pid: int) -> float:
    """Return what of one process is in memory, shared or not."""
    return _rollup(pid, "Rss")


def own_processes(pid: int) -> list[int]:
    """Return a server's processes of its own program: master, workers, what else."""
    program = (_PROC / str(pid) / "exe").readlink()
    return [each for each in _tree(pid, _stats()) if _program(each) == program]


def descendants(pid: int) -> list[int]:
    """Return the processes that came of one, and that are still there."""
    return _tree(pid, _stats())[1:]


def percentile(values: Iterable[float], part: float) -> float:
    """Return the value that `part` of all are not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


class Health:
    """How long each question about health took, on connections of their own."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url).netloc
        self.milliseconds: list[float] = []

    def p99_ms(self) -> float:
        return percentile(self.milliseconds, 0.99)

    def ask(self) -> None:
        begun = time.monotonic()
        # One that is not answered counts as one that took as long as it was waited for.
        try:
            self._answer()
        except OSError:
            pass
        self.milliseconds.append((time.monotonic() - begun) * 1000)

    def _answer(self) -> None:
        asking = http.client.HTTPConnection(
            self._address, timeout=HEALTH_TIMEOUT_SECONDS
        )
        try:
            asking.request("GET", "/api/health")
            asking.getresponse().read()
        finally:
            asking.close()


@contextmanager
def asked_for_health(url: str) -> Iterator[Health]:
    """Ask all the while."""
    health = Health(url)
    with _again_and_again(health.ask, HEALTH_SECONDS):
        yield health


@contextmanager
def watched_memory(pid: int) -> Iterator[list[float]]:
    """Give what the server has, in megabytes, at one look after the other."""
    seen: list[float] = []
    with _again_and_again(lambda: seen.append(pss_mb(pid)), LOOK_SECONDS):
        yield seen


@contextmanager
def _again_and_again(do, seconds: float) -> Iterator[None]:
    over = threading.Event()

    def work() -> None:
        do()
        while not over.wait(seconds):
            do()

    thread = threading.Thread(target=work, name="bench")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _stats() -> dict[int, list[str]]:
    """Return the fields of every process, from its state on."""
    found = {}
    for path in _PROC.glob("[0-9]*/stat"):
        try:
            found[int(path.parent.name)] = path.read_text().rpartition(") ")[2].split()
        except OSError:
            continue
    return found


def _tree(pid: int, stats: dict[int, list[str]]) -> list[int]:
    tree = [pid]
    for parent in tree:  # which grows meanwhile
        tree += [each for each, fields in stats.items() if int(fields[1]) == parent]
    return [each for each in tree if each in stats]


def _ticks(fields: list[str]) -> int:
    """Return utime, stime, cutime and cstime together."""
    return sum(int(field) for field in fields[11:15])


def _program(pid: int) -> Path | None:
    try:
        return (_PROC / str(pid) / "exe").readlink()
    except OSError:
        return None


def _rollup(pid: int, name: str) -> float:
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0  # it has ended meanwhile
    [value] = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return int(value) / 1000
