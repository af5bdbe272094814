"""Runs that outlive the service: who may have them, and that they are as others."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.api.callers import ADMIN, ANN, ended, start, task_of, with_users
from tests.api.checks import paths, problem
from tests.detached import supervisors
from tests.servers import wait_until

CATALOGUE = """
[commands.long]
argv = ["/bin/sh", "-c", '''
echo begun; while [ ! -e "$0" ]; do sleep 0.02; done; echo over; echo apart >&2; exit 3
''', "{gate}"]
detached = true
params.gate.type = "string"

[commands.anns]
argv = ["/bin/echo", "for ann"]
users = ["ann"]

[commands.roots]
argv = ["/bin/true"]
users = ["admin"]
detached = true
"""

TEXT = {"Accept": "text/plain"}
EVENTS = {"Accept": "text/event-stream"}

pytestmark = [
    pytest.mark.usefixtures("detached_runs_end"),
    pytest.mark.threads_only("a worker of Celery ends what it runs"),
]


@pytest.fixture
def client(make_app: Callable[..., Flask], tmp_path: Path) -> FlaskClient:
    path = tmp_path / "commands.toml"
    path.write_text(CATALOGUE)
    return with_users(make_app(EXEC_COMMANDS=str(path), EXEC_ALLOW_SHELL="0"))


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """Give a file for which commands wait."""
    return tmp_path / "gate"


@pytest.fixture
def long(gate: Path) -> dict[str, Any]:
    """Return the wish for the command that waits for the gate."""
    return {"command": "long", "params": {"gate": str(gate)}}


def output_of(client: FlaskClient, task: dict[str, Any], **options: Any) -> Any:
    path = f"/v3/task/{task['task_id']}/output"
    return client.get(path, **{"auth": ANN, "headers": TEXT, **options})


class TestWho:
    def test_a_user_may_have_what_is_always_so(
        self, client: FlaskClient, long: dict[str, Any], gate: Path
    ) -> None:
        gate.touch()
        for said in ({}, {"detached": True}):
            task = start(client, ANN, **long, **said)
            assert task["detached"] is True
            assert ended(client, ANN, task["task_id"])["returncode"] == 3

    def test_a_user_may_not_make_others_so(self, client: FlaskClient) -> None:
        body = {"command": "anns", "detached": True}
        problem(client.post("/v3/exec/", json=body, auth=ANN), 403)
        body["command"] = "unknown"
        problem(client.post("/v3/exec/", json=body, auth=ANN), 403)
        assert client.get("/v3/task/", auth=ADMIN).json["tasks"] == []

    def test_an_admin_may(self, make_app: Callable[..., Flask]) -> None:
        client = with_users(make_app())
        problem(
            client.post("/v3/exec/", json={"cmd": "true", "detached": True}, auth=ANN),
            403,
        )
        for wish in ({"cmd": "exit 3"}, {"argv": ["sh", "-c", "exit 3"]}):
            task = start(client, ADMIN, **wish, detached=True)
            assert task["detached"] is True
            end = ended(client, ADMIN, task["task_id"])
            assert (end["detached"], end["returncode"]) == (True, 3)

    def test_what_is_another_s_is_not_allowed_either_way(
        self, client: FlaskClient
    ) -> None:
        for said in ({}, {"detached": True}):
            body = {"command": "roots", **said}
            problem(client.post("/v3/exec/", json=body, auth=ANN), 403)

    def test_what_always_is_cannot_be_attached(
        self, client: FlaskClient, long: dict[str, Any]
    ) -> None:
        answer = client.post("/v3/exec/", json=long | {"detached": False}, auth=ANN)
        assert paths(answer) == ["detached"]
        task = start(client, ANN, command="anns", detached=False, wait_seconds=20)
        assert "detached" not in task

    @pytest.mark.parametrize("value", [None, 1, "true", []])
    def test_it_is_a_boolean(self, client: FlaskClient, value: Any) -> None:
        body = {"command": "anns", "detached": value}
        answer = client.post("/v3/exec/", json=body, auth=ANN)
        assert paths(answer) == ["detached"]

    def test_the_catalogue_says_it(self, client: FlaskClient) -> None:
        listed = client.get("/v3/commands/", auth=ANN).json["commands"]
        assert {each["name"]: each["detached"] for each in listed} == {
            "anns": False,
            "long": True,
        }
        assert client.get("/v3/commands/long", auth=ANN).json["detached"] is True


class TestAsOthers:
    def test_who_waits_is_answered_at_the_end_or_in_time(
        self, client: FlaskClient, long: dict[str, Any], gate: Path
    ) -> None:
        early = start(client, ANN, **long, wait_seconds=0.5)
        assert "finished" not in early
        gate.touch()
        end = start(client, ANN, **long, wait_seconds=20)
        assert (end["state"], end["returncode"]) == ("FAILURE", 3)
        assert end["output"]["end_offset"] == len("begun\nover\napart\n")
        assert ended(client, ANN, early["task_id"])["reason"] == "exit"

    def test_a_request_that_comes_again_starts_nothing(
        self, client: FlaskClient, long: dict[str, Any], gate: Path, tmp_path: Path
    ) -> None:
        headers = {"Idempotency-Key": "k-1"}
        answers = [
            client.post("/v3/exec/", json=long, auth=ANN, headers=headers)
            for _ in range(2)
        ]
        assert len({answer.json["task_id"] for answer in answers}) == 1
        wait_until(lambda: len(supervisors(tmp_path)) == 1)
        gate.touch()
        assert ended(client, ANN, answers[0].json["task_id"])["returncode"] == 3

    def test_a_slot_holds_it_and_polls_give_its_lines_and_its_end(
        self, client: FlaskClient, gate: Path
    ) -> None:
        cmd = {"cmd": f"long {gate}"}
        assert client.post("/api/exec/bob", json=cmd, auth=ANN).status_code == 202
        wait_until(
            lambda: client.get("/api/poll/bob", auth=ANN).json["output"] == "begun"
        )
        busy = client.post("/api/exec/bob", json=cmd, auth=ANN)
        problem(busy, 409, shown="busy")
        gate.touch()
        polls: list[dict[str, Any]] = []

        def finished() -> bool:
            polls.append(client.get("/api/poll/bob", auth=ANN).json)
            return bool(polls[-1]["status"] == "finished")

        wait_until(finished)
        assert "".join(poll["output"] for poll in polls) == "over\napart"
        assert polls[-1]["returncode"] == 3
        # The end that was told has made room.
        assert client.post("/api/exec/bob", json=cmd, auth=ANN).status_code == 202

    def test_its_output_is_read_and_followed_to_its_end(
        self, client: FlaskClient, long: dict[str, Any], gate: Path
    ) -> None:
        task = start(client, ANN, **long, stderr="separate")
        wait_until(lambda: output_of(client, task).data == b"begun\n")
        head = client.head(f"/v3/task/{task['task_id']}/output", auth=ANN)
        assert (head.status_code, head.data) == (200, b"")
        query = {"offset": 6, "wait_seconds": 20}
        gate.touch()
        assert output_of(client, task, query_string=query).data == b"over\n"
        followed = output_of(client, task, query_string={"follow": 1})
        assert followed.data == b"begun\nover\n"
        events = output_of(client, task, headers=EVENTS).text
        assert events.count("event: output") >= 1
        assert "event: end" in events
        apart = output_of(client, task, query_string={"stream": "stderr"})
        assert apart.data == b"apart\n"
        shown = task_of(client, ANN, task["task_id"])
        assert shown["stderr"]["end_offset"] == 6

    def test_it_is_ended_when_that_is_asked_for(
        self, client: FlaskClient, long: dict[str, Any], tmp_path: Path
    ) -> None:
        task = start(client, ANN, **long)
        wait_until(lambda: output_of(client, task).data == b"begun\n")
        path = f"/v3/task/{task['task_id']}"
        assert client.delete(path, auth=ANN).status_code in (200, 204)
        end = task_of(client, ANN, task["task_id"])
        assert (end["state"], end["reason"]) == ("REVOKED", "cancelled")
        wait_until(lambda: supervisors(tmp_path) == [])

    def test_it_may_read_and_say_what_others_may(
        self, make_app: Callable[..., Flask]
    ) -> None:
        client = with_users(make_app())
        wish = {
            "argv": ["sh", "-c", 'cat; printf "%s" "$TONE"; pwd'],
            "stdin": "中文\n",
            "env": {"TONE": "é"},
            "cwd": "/usr",
        }
        task = start(client, ADMIN, **wish, detached=True, wait_seconds=20)
        assert output_of(client, task, auth=ADMIN).text == "中文\né/usr\n"

    def test_its_files_are_its_owner_s(
        self, client: FlaskClient, long: dict[str, Any], tmp_path: Path
    ) -> None:
        start(client, ANN, **long)
        folder = tmp_path / "instance" / "detached"
        assert folder.stat().st_mode & 0o077 == 0
        assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())


def test_a_service_that_closes_leaves_it_and_another_finds_it(
    make_app: Callable[..., Flask], tmp_path: Path, gate: Path
) -> None:
    first = make_app()
    wish = {"cmd": f"until [ -e {gate} ]; do sleep 0.02; done; exit 3"}
    task = start(with_users(first), ADMIN, **wish, detached=True)
    wait_until(lambda: len(supervisors(tmp_path)) == 1)
    first.extensions["bellhop"].close()

    second = make_app().test_client()
    shown = task_of(second, ADMIN, task["task_id"])
    assert "finished" not in shown
    assert second.get("/v3/task/", auth=ADMIN).json["tasks"][0]["detached"] is True
    gate.touch()
    assert ended(second, ADMIN, task["task_id"])["returncode"] == 3
