"""Starts the engines, measures what the pieces cost, then whole fleets of hosts."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path

import click

from app.storage.task_store import Admission, Room
from app.tasks.celery_backend import Broker, make_celery
from app.tasks.hosts import AWAY_SECONDS
from app.tasks.lost_hosts import LostHosts
from app.tasks.streams.outputs import StreamOutputs
from bench.usage import cpu_seconds, percentile
from tests.postgres import Postgres, running_postgres
from tests.servers import PROJECT, wait_until
from tests.unit.storage.rows import task_row
from tests.valkey import Valkey, running_valkey

from .hosts import Engines, name_of
from .model import Cost, Model

#: Processes that the simulated hosts are divided over.
PARTS = 5
#: Pieces of work of which the cost of one is taken.
PIECES = 1500
_FEW = 8 * 4
#: Hosts that they are done for, which are in each fleet.
_KNOWN = 16
#: What is done at a time when that is measured.
THREADS = 4

_SETTLE_SECONDS = 1.5  # until PostgreSQL has counted, and new processes have begun


@dataclass(frozen=True)
class Machines:
    """The engines, and what is counted of them."""

    postgres: Postgres
    valkey: Valkey
    url: str

    def counted(self) -> Cost:
        """Return all that was used so far."""
        name = self.url.partition("@/")[2].partition("?")[0]
        [(transactions, wal)] = self.postgres.execute(
            "SELECT sum(xact_commit), pg_current_wal_lsn() - '0/0'"
            f" FROM pg_stat_database WHERE datname = '{name}'"
        )
        return Cost(
            float(transactions),
            float(wal),
            cpu_seconds(self.postgres.pid),
            cpu_seconds(self.valkey.pid),
            time.process_time(),
        )

    def cost(self, do: Callable[[int], object]) -> Cost:
        """Return what one piece of work costs, of many that are done at once."""
        with ThreadPoolExecutor(THREADS) as pool:
            before = self._counted_after(pool, do)
            list(pool.map(do, range(PIECES)))
            after = self._counted_after(pool, do)
        return (after + before * -1) * (1 / (PIECES + _FEW))

    def _counted_after(
        self, pool: ThreadPoolExecutor, do: Callable[[int], object]
    ) -> Cost:
        """Return what was used, once PostgreSQL has counted it.

        A connection tells what it has done with the first transaction a second later.
        """
        time.sleep(_SETTLE_SECONDS)
        list(pool.map(do, range(_FEW)))
        return self.counted()


class Submitter:
    """Has tasks taken on as the web tier does, at a steady rate."""

    def __init__(self, engines: Engines, broker: Broker) -> None:
        self.engines = engines
        self._broker = broker

    def submit(self, host: str) -> str:
        """Have one taken on for a host, and told."""
        row = task_row(host=host, worker="", slot=None)
        order = json.dumps({"command": {"argv": ["/bin/echo", "x" * 100]}}).encode()
        self.engines.tasks.add(row, Admission(Room(8, 64)), order=order)
        self._broker.publish(host, row["task_id"])
        return row["task_id"]

    def submit_on(self, hosts: Sequence[str], rate: float, seconds: float) -> int:
        """Go on with it for a while; return how many there were."""
        begun, count, names = time.monotonic(), 0, cycle(hosts)
        with ThreadPoolExecutor(THREADS) as pool:
            while (now := time.monotonic() - begun) < seconds:
                if count < now * rate:
                    pool.submit(self.submit, next(names))
                    count += 1
                else:
                    time.sleep(0.5 / rate)
        return count


def model_of(machines: Machines, engines: Engines, submitter: Submitter) -> Model:
    """Return the model, of what each piece of work costs by itself."""

    def run(number: int) -> None:
        host = name_of(number % THREADS)
        task_id = submitter.submit(host)
        engines.valkey.rpop(f"bellhop.{host}")
        engines.run(host, task_id)

    return Model(
        beat=machines.cost(lambda number: engines.beat(name_of(number % _KNOWN))),
        look=machines.cost(lambda number: engines.look(name_of(number % _KNOWN))),
        run=machines.cost(run),
    )


def fleet(
    machines: Machines, submitter: Submitter, *, hosts: int, runs: float, seconds: float
) -> dict[str, float]:
    """Have so many hosts live for a while; return what was measured."""
    share, engines = hosts // PARTS, submitter.engines
    with ExitStack() as stack:
        parts = []
        for number in range(PARTS):
            part = _part(machines, number * share, share)
            parts.append(stack.enter_context(part))
            stack.callback(part.kill)
        wait_until(lambda: alive(engines) == share * PARTS, seconds=60)
        names = [name_of(number) for number in range(share * PARTS)]
        with _Watch(engines, machines.valkey.url) as watch:
            before, begun = machines.counted(), time.monotonic()
            count = submitter.submit_on(names, runs, seconds)
            took = time.monotonic() - begun
            used = (machines.counted() + before * -1) * (1 / took)
        seen = [json.loads(part.communicate("")[0]) for part in parts]
    late, beat, waited = (
        [1000 * each for part in seen for each in part[name]] or [0.0]
        for name in ("late", "took", "waited")
    )
    return {
        "hosts": share * PARTS,
        "runs_per_second": count / took,
        "transactions": used.transactions,
        "wal_bytes": used.wal_bytes,
        "postgres_cores": used.postgres_seconds,
        "valkey_cores": used.valkey_seconds,
        "beat_p50_ms": percentile(beat, 0.5),
        "beat_p99_ms": percentile(beat, 0.99),
        "late_p50_ms": percentile(late, 0.5),
        "late_p99_ms": percentile(late, 0.99),
        "claim_p50_ms": percentile(waited, 0.5),
        "claim_p99_ms": percentile(waited, 0.99),
        "run": sum(len(part["waited"]) for part in seen),
        "not_run": count - sum(len(part["waited"]) for part in seen),
        "failed": sum(part["failed"] for part in seen),
        "away": len(watch.away),
        "load": os.getloadavg()[0],
    }


def alive(engines: Engines) -> int:
    """Return how many hosts have given a sign of life of late."""
    ages = (row["seconds_since_seen"] for row in engines.hosts.all())
    return sum(age < AWAY_SECONDS for age in ages)


def _part(machines: Machines, first: int, count: int) -> subprocess.Popen[str]:
    """Start a process that is some of the hosts until its stdin is closed."""
    program, numbers = ("-m", "bench.scale.hosts"), (str(first), str(count))
    return subprocess.Popen(
        [sys.executable, *program, machines.url, machines.valkey.url, *numbers],
        cwd=PROJECT,
        env={"PATH": os.environ["PATH"]},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


class _Watch:
    """Looks for hosts that have died, as each web worker does; none should have."""

    def __init__(self, engines: Engines, valkey_url: str) -> None:
        sizes = {"head_bytes": 1, "tail_bytes": 4096, "keep_seconds": 60}
        self._engines = engines
        self._outputs = StreamOutputs(valkey_url, **sizes)
        self._lost = LostHosts(
            hosts=engines.hosts, tasks=engines.tasks, outputs=self._outputs, own=""
        )
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="watch")
        self.away: set[str] = set()

    def __enter__(self) -> "_Watch":
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        self._thread.join()
        self._outputs.close()

    def _look_on(self) -> None:
        while not self._over.wait(1):
            self._lost.look()
            self.away |= {
                row["name"]
                for row in self._engines.hosts.all()
                if row["seconds_since_seen"] >= AWAY_SECONDS
            }


def measure(hosts: Sequence[int], *, runs: float, seconds: float) -> dict[str, object]:
    """Return the model, and of each fleet what it says and what was measured."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_postgres() as postgres,
        running_valkey(Path(folder)) as valkey,
        postgres.new_database() as url,
    ):
        machines = Machines(postgres, valkey, url)
        engines, broker = Engines(url, valkey.url), Broker(make_celery(valkey.url))
        submitter = Submitter(engines, broker)
        try:
            model = model_of(machines, engines, submitter)
            fleets = []
            for count in sorted(hosts):  # those of the last one live on
                load = {"hosts": count, "runs": runs, "seconds": seconds}
                measured = fleet(machines, submitter, **load)
                said = model.second(
                    hosts=int(measured["hosts"]), runs=measured["runs_per_second"]
                )
                fleets.append({"model": asdict(said), "measured": measured})
        finally:
            broker.close()
            engines.close()
    return {"model": asdict(model), "fleets": fleets}


@click.command()
@click.option("--hosts", default="50,200,500", help="How many, by commas.")
@click.option("--runs", default=20.0, help="Runs a second, of all hosts together.")
@click.option("--seconds", default=20.0, help="How long each fleet lives.")
def main(hosts: str, runs: float, seconds: float) -> None:
    """Simulate fleets of hosts; print what was measured beside what a model says."""
    counts = [int(each) for each in hosts.split(",")]
    print(json.dumps(measure(counts, runs=runs, seconds=seconds), indent=1))


if __name__ == "__main__":
    main()
