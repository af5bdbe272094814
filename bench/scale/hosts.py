"""Some of the simulated hosts, in a process of its own.

What a worker of Celery does by itself is done here for many: beats, looks, and the
tasks that the broker's messages tell of. The stores are Bellhop's own.
"""

import heapq
import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import redis

from app.storage.engine import Database
from app.storage.host_store import HostStore
from app.storage.order_store import OrderStore
from app.storage.task_store import TaskStore

#: Of a task's output, which is short enough to be kept with its record.
OUTPUT_BYTES = 1000
#: As workers do: app/tasks/announcer.py, app/tasks/station.py, app/tasks/sweeper.py.
BEAT_SECONDS = 1.0
LOOK_SECONDS = 2.0
KINDS = ("exec", "iostat", "sms")
ROOM = json.dumps({"exec": [8, 64], "iostat": [8, 0], "sms": [16, 1000]})
READINGS = json.dumps({"uptime_seconds": 1e6, "load": [0.1, 0.2, 0.3], "users": 1})

#: Of a process: those that beat and look, and as many for tasks; a connection each.
THREADS = 8

_POP_SECONDS = 0.5


def name_of(number: int) -> str:
    """Return the name of a simulated host."""
    return f"host-{number:05}"


class Engines:
    """What simulated hosts do, each with the databases that real ones use."""

    def __init__(self, database_url: str, valkey_url: str) -> None:
        self.database = Database(database_url)
        self.tasks = TaskStore(self.database)
        self.orders = OrderStore(self.database)
        self.hosts = HostStore(self.database)
        self.valkey = redis.Redis.from_url(valkey_url, protocol=2)

    def beat(self, host: str) -> None:
        """Give a sign of life."""
        self.hosts.beat(
            host,
            worker=f"boot:{host}:1",
            version="0.0",
            labels='{"os": "linux"}',
            room=ROOM,
            readings=READINGS,
            draining=False,
        )

    def look(self, host: str) -> None:
        """Look after what no message tells of, as station and sweeper do."""
        for kind in KINDS:
            self.tasks.let_in(host, kind, max_running=8)
        self.orders.unclaimed(host)
        self.tasks.unfinished(host)
        self.tasks.untold(host, now=time.time())

    def run(self, host: str, task_id: str) -> float | None:
        """Claim a task and end it; return when it was taken on, None: not ours."""
        claimed = self.orders.claim(task_id, worker=f"boot:{host}:1")
        if claimed is None:
            return None
        row, _ = claimed
        self.tasks.finish(
            task_id,
            state="SUCCESS",
            started=time.time(),
            finished=time.time(),
            reason="exit",
            returncode=0,
            end_offset=OUTPUT_BYTES,
            output=b"x" * OUTPUT_BYTES,
        )
        self.tasks.let_in(host, "exec", max_running=8)
        return float(row["created"])

    def close(self) -> None:
        """Let go of all connections."""
        self.valkey.close()
        self.database.close()


@dataclass
class Seen:
    """What came of it; in seconds."""

    late: list[float] = field(default_factory=list)  # beats, after they were due
    took: list[float] = field(default_factory=list)  # beats, from call to answer
    waited: list[float] = field(default_factory=list)  # tasks, for their claim
    failed: int = 0


class Part:
    """Hosts that are alive for a while, all in this process."""

    def __init__(self, engines: Engines, names: Sequence[str]) -> None:
        self._engines = engines
        self._names = names
        self._seen = Seen()
        self._lock = threading.Lock()  # guards what follows
        now = time.monotonic()
        share = 1 / max(1, len(names))
        self._due: list[tuple[float, str, str]] = []
        for number, name in enumerate(names):
            for what, every in (("beat", BEAT_SECONDS), ("look", LOOK_SECONDS)):
                self._due.append((now + number * share * every, what, name))
        heapq.heapify(self._due)
        self._over = threading.Event()

    def live(self, wait: Callable[[], object]) -> Seen:
        """Be these hosts until `wait` returns; return what was seen."""
        with ThreadPoolExecutor(THREADS) as pool, ThreadPoolExecutor(THREADS) as runs:
            working = [pool.submit(self._go_on) for _ in range(THREADS - 1)]
            working.append(pool.submit(self._pop_on, runs.submit))
            wait()
            self._over.set()
            for each in working:
                each.result()
        return self._seen

    def _go_on(self) -> None:
        """Do what is due, until the end."""
        while not self._over.is_set():
            with self._lock:
                due, what, name = heapq.heappop(self._due)
                every = BEAT_SECONDS if what == "beat" else LOOK_SECONDS
                # Who is late begins anew from there, as workers do.
                next_due = max(due + every, time.monotonic())
                heapq.heappush(self._due, (next_due, what, name))
            self._over.wait(max(0.0, due - time.monotonic()))
            if what == "look":
                self._note(lambda name=name: self._engines.look(name))
            else:
                begun = time.monotonic()
                self._note(lambda name=name: self._engines.beat(name))
                self._seen.took.append(time.monotonic() - begun)
                self._seen.late.append(time.monotonic() - due)

    def _pop_on(self, submit: Callable[..., object]) -> None:
        """Take messages for any of the hosts, as each one's worker does."""
        queues = [f"bellhop.{name}" for name in self._names]
        while not self._over.is_set():
            popped = self._engines.valkey.brpop(queues, timeout=_POP_SECONDS)
            if popped is not None:
                queue, message = popped
                task_id = json.loads(message)["headers"]["id"]
                host = queue.decode().removeprefix("bellhop.")
                submit(self._note, lambda h=host, t=task_id: self._run(h, t))

    def _run(self, host: str, task_id: str) -> None:
        created = self._engines.run(host, task_id)
        if created is not None:
            self._seen.waited.append(time.time() - created)

    def _note(self, do: Callable[[], None]) -> None:
        try:
            do()
        except Exception as error:  # noqa: BLE001 - it is counted
            self._seen.failed += 1
            print(repr(error.__cause__ or error), file=sys.stderr)


def main() -> None:
    """Be some hosts until stdin is closed; print what was seen as JSON."""
    database_url, valkey_url, first, count = sys.argv[1:]
    names = [name_of(int(first) + number) for number in range(int(count))]
    engines = Engines(database_url, valkey_url)
    try:
        seen = Part(engines, names).live(sys.stdin.read)
    finally:
        engines.close()
    print(json.dumps(vars(seen)))


if __name__ == "__main__":
    main()
