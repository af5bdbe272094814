"""Commands on several real hosts: some succeed, some die in the middle."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.hosts import WorkingHost, wait_for_hosts
from tests.postgres import Postgres
from tests.servers import Server, alive_with, running, wait_until
from tests.trees import ADMIN, PASSWORD, delete, end_of
from tests.valkey import running_valkey

LABELS = {"ape": "role=web,zone=a", "bee": "role=web,zone=b", "cat": "role=db,zone=b"}
EVERYWHERE: dict[str, Any] = {"labels": {}}
# From the death of a worker to the end of its tasks, and what a busy machine adds.
LOST_SECONDS = 20


class Several:
    """A web tier and three hosts with labels."""

    def __init__(self, server: Server, hosts: dict[str, WorkingHost]) -> None:
        self.server, self.hosts = server, hosts

    def start(self, cmd: str, **members: Any) -> dict[str, Any]:
        body = {"cmd": cmd, "hosts": EVERYWHERE, **members}
        answer = self.server.post("/v3/exec/", json=body, auth=ADMIN)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def get(self, path: str) -> dict[str, Any]:
        answer = self.server.get(path, auth=ADMIN)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def task(self, task: dict[str, Any]) -> dict[str, Any]:
        return self.get(href(task))

    def parts(self, parent: dict[str, Any]) -> dict[str, dict[str, Any]]:
        found = self.get(f"/v3/task/?parent={parent['task_id']}")["tasks"]
        return {task["host"]: task for task in found}


@pytest.fixture(scope="module")
def several(
    tmp_path_factory: pytest.TempPathFactory, postgres: Postgres
) -> Iterator[Several]:
    folder = tmp_path_factory.mktemp("hosts")
    with ExitStack() as stack:
        valkey = stack.enter_context(running_valkey(folder))
        env = {
            "DATABASE_URL": stack.enter_context(postgres.new_database()),
            "TASK_BACKEND": "celery",
            "CELERY_BROKER_URL": valkey.url,
            "REDIS_URL": valkey.url,
            "EXEC_ALLOW_SHELL": "1",
            "EXEC_GRACE_SECONDS": "2",
            "ADMIN_USERNAME": "admin",
            "ADMIN_PASSWORD": PASSWORD,
        }
        web = {**env, "BELLHOP_HOST": "web"}
        server = stack.enter_context(running(folder, **web))
        hosts = {
            name: WorkingHost(folder, name, {**env, "BELLHOP_LABELS": labels})
            for name, labels in LABELS.items()
        }
        for host in hosts.values():
            stack.callback(host.stop)
            host.start()
        wait_for_hosts(server, *LABELS)
        yield Several(server, hosts)


@pytest.fixture
def token() -> str:
    """Give a number of seconds to sleep by which processes can be found again."""
    return str(random.randrange(10**9, 2 * 10**9))


def href(task: dict[str, Any]) -> str:
    return f"/v3/task/{task['task_id']}"


def test_a_command_runs_on_the_hosts_that_match(several: Several) -> None:
    web = {"labels": {"role": "web"}}
    parent = several.start("echo hello from $$", hosts=web, wait_seconds=30)
    assert parent["state"] == "SUCCESS", parent
    assert parent["result"]["output"] == "ape SUCCESS 0\nbee SUCCESS 0\n"
    assert (parent["host"], parent["hosts"]["total"]) == ("web", 2)
    parts = several.parts(parent)
    assert set(parts) == {"ape", "bee"}
    for part in parts.values():
        output = several.get(f"{href(part)}/output")
        assert output["text"].startswith("hello from ")


def test_one_after_the_other_until_too_many_have_failed(several: Several) -> None:
    script = '[ "$(hostname)" = "" ]'  # it fails everywhere
    parent = several.start(script, max_parallel=1, max_errors=1, wait_seconds=30)
    assert (parent["state"], parent["reason"]) == ("FAILURE", "max_errors")
    assert (parent["hosts"]["failure"], parent["hosts"]["skipped"]) == (2, 1)
    assert set(several.parts(parent)) == {"ape", "bee"}


def test_cancelled_it_ends_everywhere(several: Several, token: str) -> None:
    parent = several.start(f"sleep {token}")
    wait_until(lambda: several.task(parent)["hosts"]["running"] == 3, seconds=20)
    assert delete(several.server, href(parent)) == 204
    ended = several.task(parent)
    assert (ended["state"], ended["hosts"]["revoked"]) == ("REVOKED", 3)
    wait_until(lambda: not alive_with(token))


def test_one_that_takes_nothing_new_keeps_nobody_else_from_it(
    several: Several, tmp_path: Path
) -> None:
    gate, mark = tmp_path / "gate", several.hosts["bee"].instance / "draining"
    wait = f"while [ ! -e {gate} ]; do sleep 0.05; done"
    names = {"names": ["bee", "ape"]}
    parent = several.start(wait, hosts=names, max_parallel=1)
    wait_until(lambda: several.task(parent)["hosts"]["running"] == 1, seconds=20)
    mark.touch()
    try:
        wait_until(lambda: several.get("/v3/hosts/bee")["draining"])
        gate.touch()  # what follows, the worker of the drained host begins
        ended = end_of(several.server, href(parent))
        assert ended["result"]["output"] == "bee SUCCESS 0\nape SUCCESS 0\n"
        parent = several.start("true", hosts=names, wait_seconds=30)
        assert parent["result"]["output"] == "bee FAILURE draining\nape SUCCESS 0\n"
    finally:
        mark.unlink()
    wait_until(lambda: not several.get("/v3/hosts/bee")["draining"])


def test_one_that_dies_in_the_middle_is_told_apart_from_the_others(
    several: Several, token: str, tmp_path: Path
) -> None:
    gate, bee = tmp_path / "gate", several.hosts["bee"]
    wait = f"while [ ! -e {gate} ]; do sleep 0.05; done"
    parent = several.start(f"sleep {token} & {wait}")
    wait_until(lambda: several.task(parent)["hosts"]["running"] == 3, seconds=20)
    on_all = len(alive_with(token))
    bee.kill()
    wait_until(lambda: several.task(parent)["hosts"]["lost"] == 1, seconds=LOST_SECONDS)
    wait_until(lambda: len(alive_with(token)) == on_all * 2 // 3, seconds=LOST_SECONDS)
    assert several.task(parent)["state"] == "STARTED"
    gate.touch()
    ended = end_of(several.server, href(parent), seconds=20)
    assert (ended["state"], ended["reason"]) == ("FAILURE", "children")
    counts = {name: number for name, number in ended["hosts"].items() if number}
    assert counts == {"total": 3, "success": 2, "lost": 1}
    assert ended["result"] == {
        "returncode": 1,
        "output": "ape SUCCESS 0\nbee LOST worker_lost\ncat SUCCESS 0\n",
    }
    assert several.parts(parent)["bee"]["state"] == "LOST"
    wait_until(lambda: not alive_with(token), seconds=LOST_SECONDS)

    # It is away, which costs its part alone.
    parent = several.start("true", wait_seconds=30)
    assert several.parts(parent)["bee"]["reason"] == "host_away"
    assert (parent["hosts"]["success"], parent["hosts"]["failure"]) == (2, 1)
    bee.start()
    wait_for_hosts(several.server, *LABELS)
    assert several.start("true", wait_seconds=30)["state"] == "SUCCESS"
    bee.stop()


@pytest.mark.timeout(600)
def test_whoever_is_killed_each_part_is_begun_once_and_all_come_to_an_end(
    several: Several, tmp_path: Path, *, soak: bool
) -> None:
    ran, chosen = tmp_path / "ran", random.Random()
    several.hosts["bee"].start()
    wait_for_hosts(several.server, *LABELS)
    mark = f"echo $BELLHOP_TASK_ID >> {ran}; sleep 0.3"
    parents = []
    for _ in range(20 if soak else 1):
        parents += [several.start(mark, max_parallel=n) for n in (1, 2)]
        host = several.hosts[chosen.choice([*LABELS])]
        time.sleep(chosen.uniform(0, 1))  # no moment is like another
        host.kill()
        host.start()
    for parent in parents:
        ended = end_of(several.server, href(parent), seconds=120)
        assert ended["progress"] == {"done": 3, "total": 3}
        assert len(several.parts(parent)) == 3
    begun = Counter(ran.read_text().split())
    assert set(begun.values()) == {1}, "nothing was begun twice"
    parts = [part for parent in parents for part in several.parts(parent).values()]
    succeeded = {part["task_id"] for part in parts if part["state"] == "SUCCESS"}
    assert succeeded <= set(begun)
    for host in several.hosts.values():
        host.stop()
