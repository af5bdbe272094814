"""Tasks of v2 through real gunicorn workers: cancelled anywhere, lost, under gevent."""

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

from app.tasks.worker import Worker
from tests.servers import Server, running, wait_until

LONG = "/v2/iostat/?count=1000&wait=1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("server"), "-w", "4") as started:
        yield started


def start(server: Server, path: str = LONG) -> str:
    answer = server.post(path)
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"]


def task(server: Server, href: str) -> dict[str, Any]:
    answer = server.get(href)
    assert answer.status_code == 200, answer.text
    return answer.json()


def delete(server: Server, href: str) -> int:
    return requests.delete(server.url + href, timeout=60).status_code


def check_cancelled(server: Server, href: str) -> None:
    wait_until(lambda: task(server, href)["progress"]["done"] >= 1)
    assert delete(server, href) == 204
    found = task(server, href)
    assert (found["state"], found["reason"]) == ("REVOKED", "cancelled")


def owner_of(tmp_path: Path, href: str) -> int:
    """Return the worker that runs the task, as its record has it."""
    query = "SELECT worker FROM tasks WHERE task_id = ?"
    with closing(sqlite3.connect(tmp_path / "instance" / "bellhop.db")) as database:
        [(worker,)] = database.execute(query, [href.rpartition("/")[2]])
    return Worker.parse(worker).pid


def test_a_task_is_ended_whichever_worker_is_asked(server: Server) -> None:
    # Each request is on a connection of its own, which any of the four may take.
    for _ in range(8):
        check_cancelled(server, start(server))


def test_tasks_that_are_ended_together_end_together(server: Server) -> None:
    hrefs = [start(server) for _ in range(8)]
    assert server.post(LONG).status_code == 429, "the limit is the host's"
    for href in hrefs:
        check_cancelled(server, href)


def test_a_task_is_the_same_in_every_worker(server: Server) -> None:
    href = start(server, "/v2/iostat/?count=2")
    wait_until(lambda: "finished" in task(server, href))
    found = [task(server, href) for _ in range(12)]
    assert found == found[:1] * 12
    outputs = [server.get(f"{href}/output").json() for _ in range(12)]
    assert outputs == outputs[:1] * 12
    assert outputs[0]["text"] == found[0]["result"]["iostat"]


def test_a_killed_worker_s_task_is_lost_within_ten_seconds(
    server: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    href = start(server)
    wait_until(lambda: task(server, href)["progress"]["done"] >= 1)
    owner = owner_of(server.log_path.parent, href)
    os.kill(owner, signal.SIGKILL)
    wait_until(lambda: _task_if_answered(server, href), seconds=10)
    found = task(server, href)
    assert (found["state"], found["reason"]) == ("LOST", "worker_lost")
    assert isinstance(found["result"], str)
    assert [link["rel"] for link in found["links"]] == ["self", "output"]
    part = server.get(f"{href}/output").json()
    assert part["eof"]
    assert part["next_offset"] == found["output"]["end_offset"] > 0
    assert delete(server, href) == 204
    assert task(server, href) == found


def test_a_stopped_server_ends_its_tasks_and_says_so(tmp_path: Path) -> None:
    with running(tmp_path, "-w", "1") as server:
        href = start(server)
        wait_until(lambda: task(server, href)["progress"]["done"] >= 1)
        assert server.stop() == 0
    with running(tmp_path, "-w", "1") as server:
        found = task(server, href)
        assert (found["state"], found["reason"]) == ("REVOKED", "shutdown")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_under_gevent_a_task_runs_and_is_cancelled(
    tmp_path: Path, workers: str
) -> None:
    with running(tmp_path, "-w", workers, "-k", "gevent") as server:
        href = start(server, "/v2/iostat/?count=2")
        wait_until(lambda: "finished" in task(server, href))
        found = task(server, href)
        assert (found["state"], found["progress"]["done"]) == ("SUCCESS", 2)
        text = server.get(f"{href}/output", headers={"Accept": "text/plain"}).text
        assert text == found["result"]["iostat"]
        for _ in range(3):
            check_cancelled(server, start(server))


def _task_if_answered(server: Server, href: str) -> bool:
    """Return whether a task has ended; the killed worker's connections may break."""
    try:
        return "finished" in task(server, href)
    except requests.ConnectionError:
        return False
