"""Commands that wait for room, as callers see them."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.api.callers import ADMIN, ANN, BOB, Auth, ended, start, task_of, with_users
from tests.api.checks import problem
from tests.servers import wait_until


class Queue:
    """An app with room for one command, whose gate all commands wait for."""

    def __init__(self, client: FlaskClient, folder: Path) -> None:
        self.client = client
        self.gate = folder / "gate"
        self.ran = folder / "ran"

    def held(self, name: str) -> str:
        """Return the command that notes its name and waits for the gate."""
        note = f"echo {name} >> {self.ran}; echo {name}"
        return f"{note}; while [ ! -e {self.gate} ]; do sleep 0.02; done"

    def start(self, name: str, who: Auth = ANN, **wish: Any) -> dict[str, Any]:
        return start(self.client, who, cmd=self.held(name), **wish)

    def post(self, who: Auth = ANN, **wish: Any) -> Any:
        return self.client.post("/v3/exec/", json={"cmd": "true"} | wish, auth=who)

    def effects(self) -> list[str]:
        return self.ran.read_text().split()


@pytest.fixture
def make_queue(
    make_app: Callable[..., Flask], tmp_path: Path
) -> Callable[[int], Queue]:
    def make(max_queued: int) -> Queue:
        room = {"EXEC_MAX_RUNNING": "1", "EXEC_MAX_QUEUED": str(max_queued)}
        return Queue(with_users(make_app(**room)), tmp_path)

    return make


@pytest.fixture
def queue(make_queue: Callable[[int], Queue]) -> Queue:
    return make_queue(3)


def position(queue: Queue, task: dict[str, Any], who: Auth = ANN) -> int | None:
    return task_of(queue.client, who, task["task_id"]).get("position")


class TestPosition:
    def test_it_is_told_while_waiting_and_goes_down(self, queue: Queue) -> None:
        tasks = [queue.start(str(number)) for number in range(4)]
        assert [task.get("position") for task in tasks] == [None, 1, 2, 3]
        assert {task["state"] for task in tasks[1:]} == {"QUEUED"}
        assert not {"started", "finished", "result"} & tasks[1].keys()
        listed = queue.client.get("/v3/task/", auth=ANN).json["tasks"]
        assert [task.get("position") for task in listed] == [3, 2, 1, None]

        queue.client.delete(f"/v3/task/{tasks[0]['task_id']}", auth=ANN)
        wait_until(lambda: position(queue, tasks[3]) == 2)
        queue.client.delete(f"/v3/task/{tasks[2]['task_id']}", auth=ANN)
        assert position(queue, tasks[3]) == 1
        assert position(queue, tasks[2]) is None
        queue.gate.touch()
        for number in (1, 3):
            task = ended(queue.client, ANN, tasks[number]["task_id"])
            assert task["state"] == "SUCCESS"
            assert "position" not in task
        assert queue.effects() == ["0", "1", "3"]

    def test_another_caller_comes_after_one_turn_of_who_was_there(
        self, queue: Queue
    ) -> None:
        anns = [queue.start(f"ann{number}") for number in range(3)]
        bobs = queue.start("bob", BOB)
        assert bobs["position"] == 2
        assert position(queue, anns[2]) == 3
        queue.gate.touch()
        for task in (*anns, bobs):
            ended(queue.client, ADMIN, task["task_id"])
        assert queue.effects() == ["ann0", "ann1", "bob", "ann2"]


class TestRoom:
    def test_beyond_it_all_are_told_when_to_come_again(self, queue: Queue) -> None:
        tasks = [queue.start(str(number)) for number in range(4)]
        for who in (ANN, BOB):
            found = problem(queue.post(who), 429)
            assert found["type"] == "urn:bellhop:problem:capacity-exceeded"
        refused = queue.client.post("/api/exec/carol", json={"cmd": "true"})
        found = problem(refused, 429, shown="busy")
        assert found["mode"] == "exec"
        queue.client.delete(f"/v3/task/{tasks[2]['task_id']}", auth=ANN)
        assert queue.post().status_code == 201

    def test_without_a_queue_nobody_waits(
        self, make_queue: Callable[[int], Queue]
    ) -> None:
        queue = make_queue(0)
        first = queue.start("first")
        problem(queue.post(), 429)
        queue.gate.touch()
        ended(queue.client, ANN, first["task_id"])
        assert queue.post().status_code == 201

    def test_iostat_does_not_wait_behind_commands(self, queue: Queue) -> None:
        queue.start("first")
        queue.start("second")
        answer = queue.client.post("/v3/iostat/", auth=ANN)
        assert answer.status_code == 201
        assert ended(queue.client, ANN, answer.json["task_id"])["state"] == "SUCCESS"


class TestOutput:
    def test_it_is_empty_and_goes_on(self, queue: Queue) -> None:
        queue.start("first")
        path = f"/v3/task/{queue.start('second')['task_id']}/output"
        part = queue.client.get(path, auth=ANN).json
        assert (part["text"], part["next_offset"], part["eof"]) == ("", 0, False)
        assert part["state"] == "QUEUED"
        assert queue.client.get(f"{path}?offset=1", auth=ANN).status_code == 400

        text = {"Accept": "text/plain"}
        assert queue.client.get(path, auth=ANN, headers=text).data == b""
        queue.gate.touch()
        followed = queue.client.get(f"{path}?follow=1", auth=ANN, headers=text)
        assert followed.data == b"second\n"

    def test_it_can_be_followed_from_before_the_start(self, queue: Queue) -> None:
        queue.start("first")
        path = f"/v3/task/{queue.start('second')['task_id']}/output?follow=1"
        answers = []

        def follow() -> None:
            client = queue.client.application.test_client()
            text = {"Accept": "text/plain"}
            answers.append(client.get(path, auth=ANN, headers=text).data)

        following = threading.Thread(target=follow)
        following.start()
        queue.gate.touch()
        following.join()
        assert answers == [b"second\n"]

    def test_a_poll_says_that_it_runs_and_has_no_output(self, queue: Queue) -> None:
        queue.start("first")
        body = {"cmd": queue.held("second")}
        assert queue.client.post("/api/exec/carol", json=body).status_code == 202
        poll = queue.client.get("/api/poll/carol").json
        assert (poll["status"], poll["output"]) == ("running", "")
        busy = queue.client.post("/api/exec/carol", json=body)
        problem(busy, 409, shown="busy")
        queue.gate.touch()

        def finished() -> Any:
            found = queue.client.get("/api/poll/carol").json
            return found if found["status"] == "finished" else None

        assert wait_until(finished)["returncode"] == 0


class TestCancel:
    def test_it_ends_at_once_and_has_no_output(self, queue: Queue) -> None:
        queue.start("first")
        task = queue.start("second")
        path = f"/v3/task/{task['task_id']}"
        assert queue.client.delete(path, auth=ANN).status_code == 204
        found = task_of(queue.client, ANN, task["task_id"])
        assert (found["state"], found["reason"]) == ("REVOKED", "cancelled")
        assert "started" not in found
        assert isinstance(found["result"], str)
        assert queue.client.get(f"{path}/output", auth=ANN).json["eof"]
        assert queue.effects() == ["first"]

    def test_another_s_cannot_be_ended(self, queue: Queue) -> None:
        queue.start("first")
        path = f"/v3/task/{queue.start('second')['task_id']}"
        problem(queue.client.delete(path, auth=BOB), 404)
        assert queue.client.get(path, auth=ANN).json["position"] == 1


class TestWait:
    def test_it_is_over_in_the_queue_too(self, queue: Queue) -> None:
        queue.start("first")
        task = queue.start("second", wait_seconds=0.05)
        assert (task["state"], task["position"]) == ("QUEUED", 1)

    def test_it_ends_when_the_run_does_after_its_turn(self, queue: Queue) -> None:
        first = queue.start("first")
        answers = []

        def wait() -> None:
            client = queue.client.application.test_client()
            body = {"cmd": "echo done", "wait_seconds": 60}
            answers.append(client.post("/v3/exec/", json=body, auth=BOB).json)

        waiting = threading.Thread(target=wait)
        waiting.start()
        wait_until(lambda: queue.client.get("/v3/task/", auth=BOB).json["tasks"])
        queue.client.delete(f"/v3/task/{first['task_id']}", auth=ANN)
        waiting.join()
        assert answers[0]["result"] == {"returncode": 0, "output": "done\n"}
