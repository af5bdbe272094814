"""One queue for all workers of a server: its order, its room, and its deaths."""

import os
import signal
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.callers import ADMIN, Pair, add_user, production
from tests.postgres import Postgres
from tests.servers import Server, wait_until

MAX_RUNNING, MAX_QUEUED = 2, 20
ROOM = {
    "EXEC_ALLOW_SHELL": "1",
    "EXEC_MAX_RUNNING": str(MAX_RUNNING),
    "EXEC_MAX_QUEUED": str(MAX_QUEUED),
    "EXEC_GRACE_SECONDS": "1",
}

CATALOGUE = """
[commands.alone]
argv = ["/bin/sh", "-c", "{script}"]
max_running = 1
params.script = {type = "string", pattern = ".*"}
"""


class Runs:
    """Commands that note their beginnings and ends, and wait for a gate."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.log = folder / "log"
        self.gate = folder / "gate"

    def script(self, name: str) -> str:
        hold = f"while [ ! -e {self.gate} ]; do sleep 0.02; done"
        return f"echo +{name} >> {self.log}; {hold}; echo -{name} >> {self.log}"

    def post(self, name: str, who: Pair = ADMIN, **wish: Any) -> requests.Response:
        wish = wish or {"cmd": self.script(name)}
        return self.server.post("/v3/exec/", json=wish, auth=who)

    def start(self, name: str, who: Pair = ADMIN, **wish: Any) -> dict[str, Any]:
        answer = self.post(name, who, **wish)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def task(self, task_id: str) -> dict[str, Any]:
        return self.server.get(f"/v3/task/{task_id}", auth=ADMIN).json()

    def ended(self, task_id: str, seconds: float = 20) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            with suppress(requests.ConnectionError):  # of a worker that was killed
                task = self.task(task_id)
                return task if "finished" in task else None
            return None

        return wait_until(found, seconds=seconds)

    def begun(self) -> list[str]:
        """Return who has begun, in order; more than may have never run together."""
        running, begun = set(), []
        for line in self.log.read_text().split() if self.log.exists() else []:
            if line[0] == "+":
                running.add(line[1:])
                begun.append(line[1:])
            else:
                running.remove(line[1:])
            assert len(running) <= MAX_RUNNING
        return begun


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "own.toml").write_text(CATALOGUE)
    commands = {"EXEC_COMMANDS": str(folder / "own.toml")}
    with production(folder, "-w", "4", **ROOM, **commands) as started:
        yield started


@pytest.fixture
def runs(server: Server, tmp_path: Path) -> Iterator[Runs]:
    made = Runs(server, tmp_path)
    yield made
    made.gate.touch()
    wait_until(lambda: unfinished(server) == [], seconds=20)


def unfinished(server: Server) -> list[dict[str, Any]]:
    tasks = server.get("/v3/task/?limit=100", auth=ADMIN).json()["tasks"]
    return [task for task in tasks if "finished" not in task]


def flood(runs: Runs) -> None:
    """Fill the queue from all sides, and see each run once."""
    count = MAX_RUNNING + MAX_QUEUED + 8
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: runs.post(str(n)), range(count)))
    taken = {str(n): a for n, a in enumerate(answers) if a.status_code == 201}
    refused = [answer for answer in answers if answer.status_code != 201]
    assert len(taken) == MAX_RUNNING + MAX_QUEUED
    assert {answer.status_code for answer in refused} == {429}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)

    task_ids = [answer.json()["task_id"] for answer in taken.values()]
    tasks = [runs.task(task_id) for task_id in task_ids]
    positions = [task["position"] for task in tasks if "position" in task]
    assert sorted(positions) == list(range(1, MAX_QUEUED + 1))
    last = next(task for task in tasks if task.get("position") == MAX_QUEUED)
    runs.gate.touch()
    seen = []
    while position := runs.task(last["task_id"]).get("position"):
        seen.append(position)
    assert seen == sorted(seen, reverse=True)
    for task_id in task_ids:
        assert runs.ended(task_id)["state"] == "SUCCESS"
    assert Counter(runs.begun()) == Counter(taken.keys())


def test_as_many_are_taken_as_may_and_each_runs_once(runs: Runs) -> None:
    flood(runs)


def test_one_caller_s_flood_does_not_keep_another_out(
    runs: Runs, server: Server
) -> None:
    bob = add_user(server, "bob")
    anns = [runs.start(f"ann{number}") for number in range(14)]
    bobs = runs.start("bob", bob)
    assert bobs["position"] <= 2
    runs.gate.touch()
    for task in (*anns, bobs):
        runs.ended(task["task_id"])
    begun = runs.begun()
    assert begun.index("bob") <= MAX_RUNNING + 2
    of_ann = [name for name in begun if name != "bob"]
    assert sorted(of_ann) == sorted(f"ann{number}" for number in range(14))


def test_what_may_run_once_runs_once_over_all_workers(runs: Runs) -> None:
    wishes = [
        {"command": "alone", "params": {"script": runs.script(str(number))}}
        for number in range(6)
    ]
    tasks = [runs.start("", **wish) for wish in wishes]
    beside = runs.start("beside")
    wait_until(lambda: set(runs.begun()) == {"0", "beside"})
    assert "position" not in runs.task(beside["task_id"])
    runs.gate.touch()
    spans = []
    for task in tasks:
        end = runs.ended(task["task_id"])
        assert end["state"] == "SUCCESS"
        spans.append((end["started"], end["finished"]))
    spans.sort()
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_a_killed_worker_takes_its_own_along_and_the_others_go_on(
    runs: Runs, server: Server
) -> None:
    with ThreadPoolExecutor(8) as pool:
        started = list(pool.map(lambda n: runs.start(str(n)), range(14)))
    names = {task["task_id"]: str(n) for n, task in enumerate(started)}
    wait_until(lambda: len(runs.begun()) == MAX_RUNNING)
    at_work = set(runs.begun())
    tasks = [runs.task(task_id) for task_id in names]
    [head] = [task["task_id"] for task in tasks if task.get("position") == 1]
    workers = worker_of_each(server)
    os.kill(workers[head], signal.SIGKILL)
    runs.gate.touch()
    for task_id, name in names.items():
        end = runs.ended(task_id)
        if workers[task_id] == workers[head]:
            assert (end["state"], end["reason"]) == ("LOST", "worker_lost")
            assert name not in runs.begun() or name in at_work
        else:
            assert end["state"] == "SUCCESS"
    assert max(Counter(runs.begun()).values()) == 1
    assert runs.ended(runs.start("next")["task_id"])["state"] == "SUCCESS"


def worker_of_each(server: Server) -> dict[str, int]:
    path = server.log_path.parent / "instance" / "bellhop.db"
    query = "SELECT task_id, worker FROM tasks WHERE finished IS NULL"
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(query).fetchall()
    return {task_id: int(worker.split(":")[1]) for task_id, worker in rows}


def test_a_stopped_server_starts_nobody_who_waits(tmp_path: Path) -> None:
    with production(tmp_path, "-w", "2", **ROOM) as server:
        runs = Runs(server, tmp_path)
        task_ids = [runs.start(str(number))["task_id"] for number in range(8)]
        wait_until(lambda: len(runs.begun()) == MAX_RUNNING)
        begun = runs.begun()
        assert server.stop() == 0
        assert runs.begun() == begun
    with production(tmp_path, "-w", "1", **ROOM) as server:
        runs.server = server
        for task_id in task_ids:
            task = runs.task(task_id)
            assert (task["state"], task["reason"]) == ("REVOKED", "shutdown")
            assert ("started" in task) == (str(task_ids.index(task_id)) in begun)
    assert not list((tmp_path / "instance" / "queue").iterdir())


def test_with_the_records_in_postgresql_too(postgres: Postgres, tmp_path: Path) -> None:
    with (
        postgres.new_database() as url,
        production(tmp_path, "-w", "2", DATABASE_URL=url, **ROOM) as server,
    ):
        flood(Runs(server, tmp_path))


def test_curl_comes_again_when_a_full_host_says_so(tmp_path: Path) -> None:
    room = {**ROOM, "EXEC_MAX_RUNNING": "1", "EXEC_MAX_QUEUED": "0"}
    with production(tmp_path, "-w", "1", **room) as server:
        runs = Runs(server, tmp_path)
        runs.start("first")
        curl = subprocess.Popen(
            [
                *("curl", "-sS", "--retry", "20", "--fail-with-body"),
                *("-o", str(tmp_path / "answer"), "-w", "%{http_code}"),
                *("-u", ":".join(ADMIN), "-H", "Content-Type: application/json"),
                *("-d", '{"argv": ["true"]}', f"{server.url}/v3/exec/"),
            ],
            stdout=subprocess.PIPE,
        )
        refused = '"path": "/v3/exec/", "route": "/v3/exec/", "status": 429'
        wait_until(lambda: refused in server.log_path.read_text())
        runs.gate.touch()
        status, _ = curl.communicate(timeout=60)
    assert (status, curl.returncode) == (b"201", 0)
