"""Commands of v3: what a caller may say of one, and what is answered."""

import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.api.callers import (
    ADMIN,
    ANN,
    BOB,
    bearer,
    ended,
    start,
    task_of,
    token_of,
    with_users,
)
from tests.api.checks import paths, problem
from tests.servers import wait_until

CATALOGUE = """
[commands.greet]
argv = ["/bin/echo", "hello", "{name}"]
timeout_seconds = 20
env_allowed = ["TONE"]
params.name = {type = "string", minLength = 1}

[commands.hold]
argv = ["/bin/sh", "-c", 'while [ ! -e "$0" ]; do sleep 0.02; done', "{gate}"]
max_running = 1
params.gate.type = "string"

[commands.read]
argv = ["/bin/cat"]
stdin = true

[commands.missing]
argv = ["/nowhere/to/be/found"]

[commands.anns]
argv = ["/bin/echo", "for ann"]
users = ["ann"]
"""

FAULTY: list[tuple[Any, set[str]]] = [
    ({}, {"command"}),
    ({"wait_seconds": 1}, {"command"}),
    ({"cmd": "true", "argv": ["true"]}, {"argv"}),
    ({"command": "echo", "cmd": "true"}, {"cmd"}),
    ({"command": "echo", "cmd": "x", "argv": ["x"]}, {"cmd", "argv"}),
    ({"cmd": "true", "params": {}}, {"params"}),
    ({"argv": ["true"], "params": {"a": 1}}, {"params"}),
    ({"params": {}}, {"command", "params"}),
    ({"cmd": ""}, {"cmd"}),
    ({"cmd": "  \n"}, {"cmd"}),
    ({"cmd": "a\0"}, {"cmd"}),
    ({"cmd": "\ud800"}, {"cmd"}),
    ({"cmd": "x" * 131072}, {"cmd"}),
    ({"cmd": ["true"]}, {"cmd"}),
    ({"cmd": None}, {"cmd"}),
    ({"argv": []}, {"argv"}),
    ({"argv": "true"}, {"argv"}),
    ({"argv": ["", "x"]}, {"argv.0"}),
    ({"argv": ["true", 1, None]}, {"argv.1", "argv.2"}),
    ({"argv": ["true", "a\0"]}, {"argv.1"}),
    ({"command": ""}, {"command"}),
    ({"command": "echo", "params": []}, {"params"}),
    ({"cmd": "true", "timeout_seconds": 0}, {"timeout_seconds"}),
    ({"cmd": "true", "timeout_seconds": -1}, {"timeout_seconds"}),
    ({"cmd": "true", "timeout_seconds": "9"}, {"timeout_seconds"}),
    ({"cmd": "true", "timeout_seconds": True}, {"timeout_seconds"}),
    ({"cmd": "true", "timeout_seconds": 3601}, {"timeout_seconds"}),
    ({"cmd": "true", "wait_seconds": 61}, {"wait_seconds"}),
    ({"cmd": "true", "wait_seconds": -1}, {"wait_seconds"}),
    ({"cmd": "true", "wait_seconds": None}, {"wait_seconds"}),
    ({"cmd": "true", "env": {"A=B": "x"}}, {"env"}),
    ({"cmd": "true", "env": {"BELLHOP_TASK_ID": "x"}}, {"env"}),
    ({"cmd": "true", "env": {"A": 1}}, {"env.A"}),
    ({"cmd": "true", "env": {"A": "x\0"}}, {"env.A"}),
    ({"cmd": "true", "env": []}, {"env"}),
    ({"cmd": "true", "cwd": ""}, {"cwd"}),
    ({"cmd": "true", "cwd": "/\0"}, {"cwd"}),
    ({"cmd": "true", "stdin": 7}, {"stdin"}),
    ({"cmd": "true", "stderr": "drop"}, {"stderr"}),
    ({"cmd": "true", "Cwd": "/", "shell": 1}, {"Cwd", "shell"}),
    ({"cmd": 1, "wait_seconds": "x", "q": 1}, {"cmd", "wait_seconds", "q"}),
    ([{"cmd": "true"}], {""}),
    ("true", {""}),
]

TOO_MUCH: list[tuple[dict[str, Any], set[str]]] = [
    ({"params": {}}, {"params.name"}),
    ({"params": {"name": 7}}, {"params.name"}),
    ({"params": {"name": ""}}, {"params.name"}),
    ({"params": {"name": "-n"}}, {"params.name"}),
    ({"params": {"name": "a\0"}}, {"params.name"}),
    ({"params": {"name": "x" * 131072}}, {"params.name"}),
    ({"params": {"name": "x", "Name": "y"}}, {"params.Name"}),
    ({"params": {"Name": "y", "z": 1}}, {"params.Name", "params.name", "params.z"}),
    ({"timeout_seconds": 21}, {"timeout_seconds"}),
    ({"stdin": "x"}, {"stdin"}),
    ({"cwd": "/"}, {"cwd"}),
    ({"env": {"PATH": "/tmp"}}, {"env.PATH"}),
    ({"env": {"LD_PRELOAD": "x", "TONE": "y"}}, {"env.LD_PRELOAD"}),
    ({"env": {"TONE": "a\0"}}, {"env.TONE"}),
    ({"env": {"": "x"}}, {"env."}),
    (
        {"params": {}, "stdin": "", "cwd": "x", "env": {"A": ""}},
        {"params.name", "stdin", "cwd", "env.A"},
    ),
]

ALWAYS = {
    *("task_id", "kind", "state", "owner", "host", "request_id", "created"),
    *("output", "links"),
}


@pytest.fixture
def catalogued(make_app: Callable[..., Flask], tmp_path: Path) -> FlaskClient:
    """Return a client of an app with the catalogue above and no shell."""
    path = tmp_path / "commands.toml"
    path.write_text(CATALOGUE)
    settings = {"EXEC_COMMANDS": str(path), "EXEC_ALLOW_SHELL": "0"}
    return with_users(make_app(**settings))


def _post(client: FlaskClient, body: Any, **options: Any) -> Any:
    return client.post("/v3/exec/", json=body, auth=ANN, **options)


def _listed(client: FlaskClient) -> list[dict[str, Any]]:
    return list(client.get("/v3/task/", auth=ADMIN).json["tasks"])


class TestCommand:
    def test_a_command_with_params_is_started(self, catalogued: FlaskClient) -> None:
        body = {"command": "greet", "params": {"name": "$(id); *"}}
        answer = _post(catalogued, body, headers={"X-Request-ID": "r-7"})
        assert answer.status_code == 201
        task = answer.json
        assert task.keys() >= ALWAYS | {"command", "params"}
        assert answer.headers["Location"] == f"/v3/task/{task['task_id']}"
        assert task["links"][0] == {"rel": "self", "href": answer.headers["Location"]}
        shown = {name: task[name] for name in ("kind", "owner", "command", "params")}
        assert shown == body | {"kind": "exec", "owner": "ann"}
        assert task["request_id"] == "r-7"
        assert "cmd" not in task
        done = ended(catalogued, ANN, task["task_id"])
        assert done.keys() == ALWAYS | {
            *("command", "params", "started", "finished", "reason", "returncode"),
            *("leftovers", "result", "usage"),
        }
        assert (done["state"], done["reason"]) == ("SUCCESS", "exit")
        assert done["result"] == {"returncode": 0, "output": "hello $(id); *\n"}
        assert done["leftovers"] is False
        assert done["usage"].keys() == {"cpu_seconds", "max_rss_bytes"}
        assert done["output"] == {"end_offset": 15, "dropped_bytes": 0}

    def test_what_is_not_allowed_is_answered_with_what_is(
        self, catalogued: FlaskClient
    ) -> None:
        for body in (
            {"command": "rm"},
            {"command": "rm -rf /"},
            {"command": "Greet", "params": {"name": "x"}},
            {"command": "/bin/echo"},
            {"cmd": "id"},
            {"cmd": "greet name=x"},
            {"argv": ["/bin/echo"]},
            {"command": "rm", "params": {"x": [1]}, "timeout_seconds": 10**9},
        ):
            found = problem(_post(catalogued, body), 403)
            assert found["type"] == "urn:bellhop:problem:command-not-allowed"
            for name in ("greet", "hold", "read", "missing", "anns"):
                assert name in found["detail"]
        assert _listed(catalogued) == []

    def test_a_command_of_others_is_as_one_that_is_not_there(
        self, catalogued: FlaskClient
    ) -> None:
        sent = {"json": {"command": "anns"}}
        assert catalogued.post("/v3/exec/", auth=ANN, **sent).status_code == 201
        for who in (BOB, ADMIN):
            found = problem(catalogued.post("/v3/exec/", auth=who, **sent), 403)
            assert "anns" not in found["detail"]

    def test_more_than_the_entry_grants_is_named(self, catalogued: FlaskClient) -> None:
        for members, expected in TOO_MUCH:
            body = {"command": "greet", "params": {"name": "x"}} | members
            assert set(paths(_post(catalogued, body))) == expected, members
        assert _listed(catalogued) == []

    def test_what_the_entry_grants_is_given(self, catalogued: FlaskClient) -> None:
        body = {"command": "greet", "params": {"name": "x"}, "env": {"TONE": "low"}}
        task = _post(catalogued, body | {"timeout_seconds": 20, "wait_seconds": 20})
        assert task.json["result"]["output"] == "hello x\n"
        read = {"command": "read", "stdin": "中文\n", "wait_seconds": 20}
        assert _post(catalogued, read).json["result"]["output"] == "中文\n"
        read = {"command": "read", "wait_seconds": 20}
        assert _post(catalogued, read).json["result"]["output"] == ""

    def test_a_program_that_is_not_there_fails_later(
        self, catalogued: FlaskClient
    ) -> None:
        answer = _post(catalogued, {"command": "missing"})
        assert answer.status_code == 201
        task = ended(catalogued, ANN, answer.json["task_id"])
        assert (task["state"], task["reason"]) == ("FAILURE", "spawn_failed")
        assert isinstance(task["result"], str)
        assert "started" not in task
        assert "returncode" not in task

    def test_as_many_as_the_entry_says_run_at_a_time(
        self, catalogued: FlaskClient, tmp_path: Path
    ) -> None:
        gate = tmp_path / "gate"
        body = {"command": "hold", "params": {"gate": str(gate)}}
        first = _post(catalogued, body)
        assert first.status_code == 201
        others = [_post(catalogued, body) for _ in range(2)]
        assert [other.json["position"] for other in others] == [1, 2]
        free = _post(catalogued, {"command": "read", "wait_seconds": 20})
        assert free.json["state"] == "SUCCESS", "another command has room"
        assert others[0].json["state"] == "QUEUED"
        gate.touch()
        ends = [
            ended(catalogued, ANN, task.json["task_id"]) for task in (first, *others)
        ]
        for before, after in pairwise(ends):
            assert before["finished"] <= after["started"], "one at a time"


class TestShell:
    def test_cmd_is_the_shell_s_and_argv_is_nobody_s(self, v3: FlaskClient) -> None:
        by_shell = start(v3, ANN, cmd="echo $((1+1)); exit 3", wait_seconds=20)
        assert by_shell["cmd"] == "echo $((1+1)); exit 3"
        assert by_shell["result"] == {"returncode": 3, "output": "2\n"}
        assert (by_shell["state"], by_shell["returncode"]) == ("FAILURE", 3)
        argv = ["printf", "%s|", "$((1+1))", "", "-n", "中 文"]
        alone = start(v3, ANN, argv=argv, wait_seconds=20)
        assert alone["result"]["output"] == "$((1+1))||-n|中 文|"
        assert not alone.keys() & {"cmd", "command"}

    def test_a_command_is_the_catalogue_s_also_beside_a_shell(
        self, v3: FlaskClient
    ) -> None:
        task = start(v3, ANN, command="echo", params={"text": "$HOME"}, wait_seconds=20)
        assert task["result"]["output"] == "$HOME\n"
        problem(_post(v3, {"command": "ls"}), 403)

    def test_the_options_are_the_caller_s(
        self, v3: FlaskClient, tmp_path: Path
    ) -> None:
        task = start(
            v3,
            ANN,
            cmd='pwd; echo "$A-$PATH"; cat',
            cwd=str(tmp_path),
            env={"A": "中", "PATH": "/bin"},
            stdin="one\ntwo",
            stderr="merge",
            timeout_seconds=20,
            wait_seconds=20,
        )
        assert task["result"]["output"] == f"{tmp_path}\n中-/bin\none\ntwo"

    def test_a_folder_that_is_not_there_is_told_by_the_task(
        self, v3: FlaskClient
    ) -> None:
        task = start(v3, ANN, cmd="true", cwd="/nowhere/at/all", wait_seconds=20)
        assert (task["state"], task["reason"]) == ("FAILURE", "spawn_failed")
        program = start(v3, ANN, argv=["/nowhere/at/all"], wait_seconds=20)
        assert (program["state"], program["reason"]) == ("FAILURE", "spawn_failed")

    def test_what_is_faulty_is_named_and_starts_nothing(self, v3: FlaskClient) -> None:
        for body, expected in FAULTY:
            assert set(paths(_post(v3, body))) == expected, body
        assert _listed(v3) == []

    def test_a_query_is_not_taken(self, v3: FlaskClient) -> None:
        answer = _post(v3, {"cmd": "true"}, query_string="wait_seconds=1")
        assert paths(answer) == ["wait_seconds"]


class TestWait:
    def test_it_answers_with_the_end_inside(self, v3: FlaskClient) -> None:
        answer = _post(v3, {"cmd": "echo one", "wait_seconds": 60})
        assert answer.status_code == 201
        assert answer.json["state"] == "SUCCESS"
        assert answer.json["result"] == {"returncode": 0, "output": "one\n"}
        assert answer.headers["Location"] == f"/v3/task/{answer.json['task_id']}"
        assert answer.json == task_of(v3, ANN, answer.json["task_id"])
        assert "Preference-Applied" not in answer.headers

    def test_it_answers_when_the_wait_is_over(self, v3: FlaskClient) -> None:
        for wait in (0, 0.05):
            answer = _post(v3, {"cmd": "sleep 300", "wait_seconds": wait})
            assert answer.status_code == 201
            assert answer.json["state"] in ("QUEUED", "STARTED")
            assert "result" not in answer.json

    def test_a_preference_is_applied_and_that_is_told(self, v3: FlaskClient) -> None:
        for header, applied in (
            ("wait=20", "wait=20"),
            ("respond-async, wait=20", "wait=20"),
            ("wait=20, respond-async", "wait=20"),
            ("Wait=20", "wait=20"),
            ("wait=100", "wait=60"),
            ("wait=999999999", "wait=60"),
        ):
            answer = _post(v3, {"cmd": "echo one"}, headers={"Prefer": header})
            assert answer.status_code == 201
            assert answer.headers["Preference-Applied"] == applied
            assert answer.json["result"]["output"] == "one\n"

    def test_a_preference_that_is_none_is_passed_over(self, v3: FlaskClient) -> None:
        for header in ("wait", "wait=", "wait=x", "wait=-1", "await=5", "x-wait=5"):
            answer = _post(v3, {"cmd": "sleep 300"}, headers={"Prefer": header})
            assert answer.status_code == 201, header
            assert "Preference-Applied" not in answer.headers
            v3.delete(answer.headers["Location"], auth=ANN)
        body = {"cmd": "sleep 300", "wait_seconds": 0}
        answer = _post(v3, body, headers={"Prefer": "wait=50"})
        assert "Preference-Applied" not in answer.headers, "the body has said it"

    def test_where_too_many_wait_nothing_is_started(
        self, make_app: Callable[..., Flask]
    ) -> None:
        app = make_app(THREADS="2")
        client = with_users(app)
        with app.extensions["bellhop"].waiting():
            problem(_post(client, {"cmd": "true", "wait_seconds": 1}), 503)
            assert _listed(client) == []
            assert _post(client, {"cmd": "true"}).status_code == 201
        answer = _post(client, {"cmd": "true", "wait_seconds": 20})
        assert answer.json["state"] == "SUCCESS"

    @pytest.mark.parametrize("change", ["rename", "remove"])
    def test_who_is_renamed_or_removed_meanwhile_is_answered(
        self, v3: FlaskClient, tmp_path: Path, change: str
    ) -> None:
        gate, answers = tmp_path / "gate", []
        body = {
            "cmd": f"while [ ! -e {gate} ]; do sleep 0.02; done",
            "wait_seconds": 60,
        }

        def wait() -> None:
            client = v3.application.test_client()
            answers.append(client.post("/v3/exec/", json=body, auth=ANN))

        waiting = threading.Thread(target=wait)
        waiting.start()
        try:
            wait_until(lambda: _listed(v3))
            if change == "rename":
                new = {"username": "anna"}
                v3.patch("/v3/users/ann", json=new, auth=ADMIN)
            else:
                v3.delete("/v3/users/ann", auth=ADMIN)
        finally:
            gate.touch()
            waiting.join()
        [answer] = answers
        assert answer.status_code == 201
        assert answer.json["task_id"] == _listed(v3)[0]["task_id"]


class TestEnd:
    def test_whatever_the_end_what_ran_has_a_result(self, v3: FlaskClient) -> None:
        for cmd, options, returncode, reason, state in (
            ("echo out; exit 7", {}, 7, "exit", "FAILURE"),
            ("echo out; kill -9 $$", {}, 137, "signal", "FAILURE"),
            (
                "echo out; sleep 300",
                {"timeout_seconds": 0.3},
                143,
                "timeout",
                "FAILURE",
            ),
        ):
            task = start(v3, ANN, cmd=cmd, wait_seconds=20, **options)
            assert task["result"] == {"returncode": returncode, "output": "out\n"}
            assert (task["state"], task["reason"]) == (state, reason)
            assert task["returncode"] == returncode
        assert task["signal"] == "SIGTERM"

    def test_also_when_it_was_cancelled(self, v3: FlaskClient) -> None:
        task = start(v3, ANN, cmd="echo out; sleep 300")
        path = f"/v3/task/{task['task_id']}"
        wait_until(lambda: task_of(v3, ANN, task["task_id"])["output"]["end_offset"])
        assert v3.delete(path, auth=ANN).status_code == 204
        done = task_of(v3, ANN, task["task_id"])
        assert (done["state"], done["reason"]) == ("REVOKED", "cancelled")
        assert done["result"] == {"returncode": 143, "output": "out\n"}

    def test_what_left_its_session_is_gone_when_it_is_cancelled(
        self, v3: FlaskClient, tmp_path: Path
    ) -> None:
        pid_file = tmp_path / "pid"
        script = f"setsid sh -c 'echo $$ > {pid_file}; sleep 300' & wait"
        task = start(v3, ANN, cmd=script)
        wait_until(lambda: pid_file.exists() and pid_file.read_text().strip())
        assert v3.delete(f"/v3/task/{task['task_id']}", auth=ANN).status_code == 204
        assert not _is_alive(int(pid_file.read_text()))

    def test_its_output_is_read_by_offset(self, v3: FlaskClient) -> None:
        task = start(v3, ANN, cmd="printf 中文; echo err >&2", wait_seconds=20)
        path = f"/v3/task/{task['task_id']}/output"
        part = v3.get(f"{path}?offset=3&limit=3", auth=ANN).json
        assert (part["text"], part["next_offset"], part["eof"]) == ("文", 6, False)
        rest = v3.get(f"{path}?offset=6", auth=ANN).json
        assert (rest["text"], rest["eof"], rest["state"]) == ("err\n", True, "SUCCESS")


class TestRoom:
    def test_a_full_host_says_when_to_come_again(
        self, make_app: Callable[..., Flask]
    ) -> None:
        client = with_users(make_app(EXEC_MAX_RUNNING="2", EXEC_MAX_QUEUED="0"))
        first = start(client, ANN, cmd="sleep 300")
        start(client, BOB, command="echo", params={"text": "x"}, wait_seconds=20)
        start(client, BOB, cmd="sleep 300")
        for body in ({"cmd": "true"}, {"command": "echo"}, {"argv": ["true"]}):
            found = problem(_post(client, body), 429)
            assert found["type"] == "urn:bellhop:problem:capacity-exceeded"
        assert len(_listed(client)) == 3
        client.delete(f"/v3/task/{first['task_id']}", auth=ANN)
        assert _post(client, {"cmd": "true"}).status_code == 201

    def test_one_caller_may_have_several_running(self, v3: FlaskClient) -> None:
        for _ in range(3):
            start(v3, ANN, cmd="sleep 300")
        running = v3.get("/v3/task/?kind=exec", auth=ANN).json["tasks"]
        assert [("finished" in task) for task in running] == [False] * 3


class TestWhoMay:
    def test_it_takes_the_scope_exec_before_all_else(self, v3: FlaskClient) -> None:
        headers = bearer(token_of(v3, ANN, scopes=["read", "sms"]))
        for sent in ({"json": {"cmd": "true"}}, {"json": {}}, {"data": b"x"}):
            problem(v3.post("/v3/exec/", headers=headers, **sent), 403)
        headers = bearer(token_of(v3, ANN, scopes=["exec"]))
        body = {"cmd": "echo one", "wait_seconds": 20}
        answer = v3.post("/v3/exec/", json=body, headers=headers)
        assert (answer.status_code, answer.json["owner"]) == (201, "ann")
        assert answer.json["result"]["output"] == "one\n"

    def test_the_child_knows_nothing_of_the_credentials(self, v3: FlaskClient) -> None:
        token = token_of(v3, ANN)
        answer = v3.post(
            "/v3/exec/",
            json={"cmd": "env; cat /proc/self/cmdline", "wait_seconds": 20},
            headers=bearer(token) | {"X-Request-ID": "r-7"},
        )
        output = answer.json["result"]["output"]
        assert "BELLHOP_REQUEST_ID=r-7" in output
        assert f"BELLHOP_TASK_ID={answer.json['task_id']}" in output
        assert token not in output
        assert v3.application.config["SECRET_KEY"] not in output


def _is_alive(pid: int) -> bool:
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
