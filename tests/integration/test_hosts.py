"""Several hosts, each with a real worker: how they are, and what one's death does."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask

from app.errors import HostAway
from app.tasks.order import Origin, Place, Wish
from tests.hosts import WorkingHost, wait_for_hosts, working_hosts
from tests.postgres import Postgres
from tests.servers import Server, running, wait_until
from tests.trees import ADMIN, PASSWORD, Tree, delete, end_of, kill_all, task_of
from tests.valkey import running_valkey

NAMES = ("ape", "bee", "cat")
HOST_AWAY = "urn:bellhop:problem:host-away"
# From the death of a worker to the end of its tasks.
LOST_SECONDS = 10


class Several:
    """A web tier and three hosts."""

    def __init__(
        self, server: Server, hosts: dict[str, WorkingHost], env: dict[str, str]
    ) -> None:
        self.server = server
        self.hosts = hosts
        self.env = env

    def get(self, path: str) -> requests.Response:
        return self.server.get(path, auth=ADMIN)

    def host(self, name: str) -> dict[str, Any]:
        return self.get(f"/v3/hosts/{name}").json()


@pytest.fixture(scope="module")
def several(
    tmp_path_factory: pytest.TempPathFactory, postgres: Postgres
) -> Iterator[Several]:
    folder = tmp_path_factory.mktemp("hosts")
    with postgres.new_database() as url, running_valkey(folder) as valkey:
        env = {
            "DATABASE_URL": url,
            "TASK_BACKEND": "celery",
            "CELERY_BROKER_URL": valkey.url,
            "REDIS_URL": valkey.url,
            "EXEC_ALLOW_SHELL": "1",
            "EXEC_GRACE_SECONDS": "2",
            "EXEC_MAX_RUNNING": "3",
            "BELLHOP_LABELS": "role=web",
            "ADMIN_USERNAME": "admin",
            "ADMIN_PASSWORD": PASSWORD,
        }
        with (
            running(folder, **env | {"BELLHOP_HOST": "web"}) as server,
            working_hosts(folder, *NAMES, **env) as hosts,
        ):
            wait_for_hosts(server, *NAMES)
            yield Several(server, hosts, env)


@pytest.fixture
def start(several: Several, make_app: Callable[..., Flask]) -> Callable[..., str]:
    """Start commands on hosts, as a web tier does; return their tasks' paths."""
    services = make_app(**several.env).extensions["bellhop"]

    def start(host: str | None, *argv: str, waits: bool = False) -> str:
        wish, origin = Wish(argv=argv), Origin(owner="admin", request_id=None)
        task = services.runs.grant(wish, origin, place=Place(host, waits=waits))
        return f"/v3/task/{task.task_id}"

    return start


@pytest.fixture
def trees(tmp_path: Path) -> Iterator[Callable[[], Tree]]:
    """Make trees of processes of all kinds; end them in the end."""
    made: list[Tree] = []

    def make() -> Tree:
        folder = tmp_path / f"tree-{len(made)}"
        made.append(Tree(folder, random.randrange(10**6)))
        return made[-1]

    yield make
    for tree in made:
        kill_all(tree.folder)


def test_each_host_says_how_it_is(several: Several) -> None:
    [host, *_] = several.get("/v3/hosts/").json()["hosts"]
    assert host["host"] == "ape"
    assert host["labels"] == {"role": "web"}
    assert host["capacity"]["exec"]["running"] == 3
    assert host["readings"]["uptime_seconds"] > 0
    for name in NAMES:
        uptime = several.get(f"/v3/hosts/{name}/uptime/")
        assert uptime.status_code == 200, uptime.text
        assert uptime.json()["seconds"] > 0
        samples = several.get(f"/v3/hosts/{name}/samples?limit=3").json()
        assert samples["host"] == name
        assert len(samples["samples"]) <= 3


def test_a_report_is_made_on_the_host_that_was_asked(several: Several) -> None:
    answer = several.server.post("/v3/hosts/cat/iostat/", auth=ADMIN)
    task = end_of(several.server, answer.headers["Location"])
    assert (task["state"], task["host"]) == ("SUCCESS", "cat")
    assert several.get("/v3/hosts/dog/uptime/").status_code == 404


def test_what_names_no_host_runs_where_there_is_room(
    several: Several, start: Callable[..., str]
) -> None:
    hrefs = [start(None, "sleep", "60") for _ in range(6)]
    hosts = Counter(task_of(several.server, href)["host"] for href in hrefs)
    for href in hrefs:
        assert delete(several.server, href) == 204
    assert hosts == dict.fromkeys(NAMES, 2)


def test_one_that_is_killed_loses_its_tasks_and_nobody_else_does(
    several: Several, start: Callable[..., str], trees: Callable[[], Tree]
) -> None:
    server, bee = several.server, several.hosts["bee"]
    on_bee, elsewhere = [trees(), trees()], [trees(), trees()]
    lost = [start("bee", *tree.argv) for tree in on_bee]
    runs = [
        start(host, *tree.argv)
        for host, tree in zip(("ape", "cat"), elsewhere, strict=True)
    ]
    wait_until(lambda: all(tree.is_ready() for tree in on_bee + elsewhere), seconds=20)
    bee.kill()
    tasks = [end_of(server, href, seconds=LOST_SECONDS) for href in lost]
    for task in tasks:
        assert (task["state"], task["reason"]) == ("LOST", "worker_lost")
    wait_until(lambda: not any(tree.alive() for tree in on_bee), seconds=LOST_SECONDS)
    assert all(task_of(server, href)["state"] == "STARTED" for href in runs)
    assert all(len(tree.alive()) >= tree.size for tree in elsewhere)

    assert not several.host("bee")["alive"]
    away = several.get("/v3/hosts/bee/uptime/")
    assert (away.status_code, away.json()["type"]) == (503, HOST_AWAY)
    assert int(away.headers["Retry-After"]) > 0
    with pytest.raises(HostAway):
        start("bee", "true")
    waits = start("bee", "echo", "at last", waits=True)
    for href in runs:
        assert delete(server, href) == 204
    assert task_of(server, waits)["state"] == "QUEUED"
    bee.start()
    task = end_of(server, waits, seconds=30)
    assert (task["state"], task["host"]) == ("SUCCESS", "bee")
    wait_for_hosts(server, *NAMES)
    goes_on = start("bee", "sleep", "60")
    wait_until(lambda: task_of(server, goes_on)["state"] == "STARTED")
    assert bee.stop() == 0
    task = task_of(server, goes_on)
    assert (task["state"], task["reason"]) == ("REVOKED", "shutdown")
    assert not several.host("bee")["alive"]


def test_one_that_was_halted_ends_what_was_lost_meanwhile(
    several: Several, start: Callable[..., str], trees: Callable[[], Tree]
) -> None:
    tree, server, ape = trees(), several.server, several.hosts["ape"]
    href = start("ape", *tree.argv)
    wait_until(tree.is_ready, seconds=20)
    os.kill(ape.pid, signal.SIGSTOP)
    try:
        assert end_of(server, href, seconds=LOST_SECONDS)["state"] == "LOST"
    finally:
        os.kill(ape.pid, signal.SIGCONT)
    wait_until(lambda: not tree.alive(), seconds=20)
    wait_until(lambda: several.host("ape")["alive"])
    assert task_of(server, href)["state"] == "LOST"
    assert end_of(server, start("ape", "true"))["state"] == "SUCCESS"


def test_nothing_is_lost_while_the_records_are_away(
    several: Several, start: Callable[..., str], postgres: Postgres, soak: bool
) -> None:
    if not soak:
        pytest.skip("the rules of it are tested by themselves")
    name = several.env["DATABASE_URL"].partition("@/")[2].partition("?")[0]
    href = start("ape", "sleep", "25")
    postgres.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    began = time.monotonic()
    try:
        while time.monotonic() < began + 10:
            postgres.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                f" WHERE datname = '{name}'"
            )
            time.sleep(0.2)
    finally:
        postgres.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert end_of(several.server, href, seconds=60)["state"] == "SUCCESS"
