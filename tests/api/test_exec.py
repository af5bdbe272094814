"""Exec and poll: one caller's slot, from the start of a command to its end."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.api.checks import paths, problem
from tests.servers import wait_until

NOTHING = {"mode": "poll", "status": "finished"}


def start(client: FlaskClient, cmd: str, caller: str = "bob") -> dict[str, Any]:
    answer = client.post(f"/api/exec/{caller}", json={"cmd": cmd})
    assert answer.status_code == 202, answer.data
    return answer.json


def poll(client: FlaskClient, caller: str = "bob", method: str = "GET") -> dict:
    answer = client.open(f"/api/poll/{caller}", method=method)
    assert answer.status_code == 200, answer.data
    return answer.json


def end(client: FlaskClient, caller: str = "bob") -> dict[str, Any]:
    """Poll until the end; return the last poll with the output of all."""
    polls: list[dict] = []

    def finished() -> bool:
        polls.append(poll(client, caller))
        return polls[-1]["status"] == "finished"

    wait_until(finished)
    outputs = [one["output"] for one in polls if one["output"]]
    return polls[-1] | {"output": "\n".join(outputs)}


def test_a_command_is_accepted_watched_and_ended(
    client: FlaskClient, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    cmd = f"echo one; while [ ! -e {gate} ]; do sleep 0.02; done; echo two; exit 7"
    accepted = start(client, cmd)
    assert accepted.keys() == {"mode", "status", "task_id", "links"}
    assert (accepted["mode"], accepted["status"]) == ("exec", "accepted")
    assert {"rel": "poll", "href": "/api/poll/bob"} in accepted["links"]

    busy = client.post("/api/exec/bob", json={"cmd": "true"})
    assert problem(busy, 409, shown="busy")["mode"] == "exec"

    running = wait_until(lambda: _with_output(poll(client)))
    assert running["mode"] == "poll"
    assert running["status"] == "running"
    assert running["output"] == "one"
    assert running["task_id"] == accepted["task_id"]
    assert (running["next_offset"], running["dropped_bytes"]) == (4, 0)
    assert "returncode" not in running
    again = poll(client)
    assert (again["status"], again["output"]) == ("running", "")

    gate.touch()
    last = end(client)
    assert last["output"] == "two"
    assert last["returncode"] == 7
    assert last["task_id"] == accepted["task_id"]
    assert (last["next_offset"], last["dropped_bytes"]) == (8, 0)
    assert poll(client) == NOTHING
    assert poll(client) == NOTHING


def test_the_first_finished_has_the_returncode_also_without_output(
    client: FlaskClient,
) -> None:
    start(client, "true")
    last = end(client)
    assert (last["returncode"], last["output"]) == (0, "")
    assert poll(client) == NOTHING


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_caller_never_seen_has_finished(client: FlaskClient, method: str) -> None:
    assert poll(client, "never-seen", method) == NOTHING


def test_poll_by_post_takes_as_get_does(client: FlaskClient) -> None:
    start(client, "echo hello")
    last = wait_until(lambda: _finished(poll(client, method="POST")))
    assert last["returncode"] == 0
    assert poll(client, method="POST") == NOTHING


def test_head_takes_nothing(client: FlaskClient, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    start(client, f"echo hello; touch {gate}")
    wait_until(gate.exists)
    for _ in range(3):
        assert client.head("/api/poll/bob").data == b""
    assert end(client)["output"] == "hello"
    start(client, "echo again")
    wait_until(lambda: _accepts(client, "echo last"))
    for _ in range(3):
        client.head("/api/poll/bob")
    assert end(client)["output"] == "last"


def test_a_finished_run_that_nobody_polled_is_not_busy(client: FlaskClient) -> None:
    first = start(client, "echo first")
    second = wait_until(lambda: _accepts(client, "echo second"))
    assert second["task_id"] != first["task_id"]
    last = end(client)
    assert last["output"] == "second", "polls are about the newest command"
    assert last["task_id"] == second["task_id"]
    assert last["next_offset"] == 7


def test_slots_are_of_the_callers(client: FlaskClient) -> None:
    start(client, "echo of a; sleep 60", "a")
    start(client, "echo of b", "b")
    assert end(client, "b")["output"] == "of b"
    assert poll(client, "c") == NOTHING
    # Nobody else is "A", ".", "..", or "a." by mistake.
    for caller in ("A", ".", "..", "a.", "a-", "a_", "x" * 128):
        start(client, f"printf %s {caller}", caller)
        assert end(client, caller)["output"] == caller
    first = wait_until(lambda: _with_output(poll(client, "a")))
    assert (first["status"], first["output"]) == ("running", "of a")


@pytest.mark.parametrize(
    "uuid",
    ["b%0a", "%0ab", "b!", "b%20", "%20", "b%00", "%C3%A9", "b,c", "b:c", "x" * 129],
)
def test_a_uuid_of_other_characters_is_named(client: FlaskClient, uuid: str) -> None:
    body = {"json": {"cmd": "true"}}
    assert paths(client.post(f"/api/exec/{uuid}", **body)) == ["uuid"]
    assert paths(client.get(f"/api/poll/{uuid}")) == ["uuid"]
    assert paths(client.post(f"/api/poll/{uuid}")) == ["uuid"]
    assert client.head(f"/api/poll/{uuid}").status_code == 400


@pytest.mark.parametrize("uuid", ["a/b", "a%2Fb", "", "../x"])
def test_a_uuid_with_a_slash_is_no_route(client: FlaskClient, uuid: str) -> None:
    problem(client.post(f"/api/exec/{uuid}", json={"cmd": "true"}), 404)


@pytest.mark.parametrize(
    "cmd",
    [
        "",
        " ",
        "\t\n",
        "\0",
        "echo a\0b",
        "x" * 131072,
        "é" * 65536,
        1,
        1.5,
        True,
        None,
        ["ls"],
        {"ls": 1},
    ],
)
def test_what_is_no_command_is_refused_by_its_name(
    client: FlaskClient, cmd: Any
) -> None:
    assert paths(client.post("/api/exec/bob", json={"cmd": cmd})) == ["cmd"]
    assert poll(client) == NOTHING, "nothing was started"


def test_the_longest_command_runs(client: FlaskClient) -> None:
    start(client, "echo fits #" + "x" * (131071 - 11))
    assert end(client)["output"] == "fits"


@pytest.mark.parametrize(
    ("cmd", "returncode", "reason"),
    [
        ("exit 7", 7, "exit"),
        ("exit 255", 255, "exit"),
        ("kill -9 $$", 137, "signal"),
        ("kill -TERM $$", 143, "signal"),
        ("kill -SEGV $$", 139, "signal"),
        ("/nowhere/to/be/found", 127, "exit"),
        ("/etc/passwd", 126, "exit"),
        ("syntax ' error", 2, "exit"),
    ],
)
def test_how_a_command_ended_is_told(
    client: FlaskClient, cmd: str, returncode: int, reason: str
) -> None:
    start(client, cmd)
    last = end(client)
    assert last["returncode"] == returncode
    assert last["reason"] == reason


@pytest.mark.parametrize(
    ("printf", "output"),
    [
        (r"a\377b\n", "a\ufffdb"),
        (r"\303", "\ufffd"),
        (r"\303\251\n", "é"),
        (r"\000\033[31m", "\0\x1b[31m"),
        (r"a\r\nb\n", "a\r\nb"),
        (r"no newline", "no newline"),
        (r"\n\n", "\n"),
        ("中文", "中文"),
    ],
)
def test_output_is_text_whatever_was_written(
    client: FlaskClient, printf: str, output: str
) -> None:
    start(client, f"printf '{printf}'; printf '' >&2")
    assert end(client)["output"] == output


def test_errors_are_output_too(client: FlaskClient) -> None:
    start(client, "echo out; echo err >&2")
    assert end(client)["output"] == "out\nerr"


def test_stdin_is_closed_and_the_services_settings_are_not_seen(
    make_app: Callable[..., Any],
) -> None:
    client = make_app(SECRET_KEY="not-for-commands").test_client()
    start(client, "cat; env")
    output = end(client)["output"]
    assert "PATH=" in output
    assert "BELLHOP_REQUEST_ID=" in output
    assert "not-for-commands" not in output
    assert "INSTANCE_PATH" not in output


def test_a_poll_gives_the_newest_lines_and_counts_the_others(
    make_app: Callable[..., Any],
) -> None:
    app = make_app(CMD_LINE_NUM="3")
    client, drain = app.test_client(), app.extensions["bellhop"].drain
    start(client, "seq 20")
    wait_until(lambda: not drain.unfinished())
    newest = poll(client)
    assert newest["status"] == "finished"
    assert newest["output"] == "18\n19\n20"
    assert newest["next_offset"] == len("\n".join(map(str, range(1, 21)))) + 1
    assert newest["dropped_bytes"] == newest["next_offset"] - len("18\n19\n20\n")
    assert poll(client) == NOTHING, "what was passed over does not come later"


def test_the_full_host_is_busy_for_new_callers_until_one_ends(
    make_app: Callable[..., Any], tmp_path: Path
) -> None:
    client = make_app(EXEC_MAX_RUNNING="2", EXEC_MAX_QUEUED="0").test_client()
    gate, mark = tmp_path / "gate", tmp_path / "mark"
    waiting = f"while [ ! -e {gate} ]; do sleep 0.02; done"
    start(client, waiting, "a")
    start(client, waiting, "b")
    refused = client.post("/api/exec/c", json={"cmd": f"touch {mark}"})
    found = problem(refused, 429, shown="busy")
    assert found["mode"] == "exec"
    own = client.post("/api/exec/a", json={"cmd": "true"})
    assert problem(own, 409, shown="busy")["mode"] == "exec"
    gate.touch()
    wait_until(lambda: _accepts(client, "true", "c"))
    end(client, "c")
    assert not mark.exists(), "what was refused is not started later"


def test_a_command_over_its_time_is_ended(make_app: Callable[..., Any]) -> None:
    client = make_app(EXEC_TIMEOUT_SECONDS="0.3").test_client()
    start(client, "echo begun; sleep 60")
    last = end(client)
    assert last["output"] == "begun"
    assert last["reason"] == "timeout"
    assert last["returncode"] == 143


def test_polls_at_the_same_time_give_no_line_twice(
    make_app: Callable[..., Any],
) -> None:
    app = make_app()
    client = app.test_client()
    start(client, "for i in $(seq 60); do echo $i; sleep 0.005; done")
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only here

    deadline = time.monotonic() + 10

    def poll_on(_: int) -> list[str]:
        lines, mine = [], app.test_client()
        while time.monotonic() < deadline:
            found = poll(mine)
            lines += [line for line in found.get("output", "").split("\n") if line]
            if found["status"] == "finished":
                return lines
        raise AssertionError("it does not end")

    with ThreadPoolExecutor(4) as pool:
        given = [line for lines in pool.map(poll_on, range(4)) for line in lines]
    assert sorted(given, key=int) == [str(number) for number in range(1, 61)]


def _with_output(found: dict) -> dict | None:
    return found if found["output"] else None


def _finished(found: dict) -> dict | None:
    return found if found["status"] == "finished" else None


def _accepts(client: FlaskClient, cmd: str, caller: str = "bob") -> dict | None:
    answer = client.post(f"/api/exec/{caller}", json={"cmd": cmd})
    return answer.json if answer.status_code == 202 else None
