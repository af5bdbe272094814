"""The catalogue over HTTP: what may be run, and with which parameters."""

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator

from tests.api.callers import ADMIN, ANN, BOB, bearer, token_of, with_users
from tests.api.checks import paths, problem

CATALOGUE = """
[commands.backup]
description = "Dump one database, 备份"
argv = ["/usr/local/bin/secret-path/backup", "--db", "{db}", "--level={level}"]
timeout_seconds = 90
max_running = 1
env = {TOKEN = "of-the-entry"}
env_allowed = ["LANG"]
stdin = true
[commands.backup.params.db]
type = "string"
enum = ["main", "audit"]
[commands.backup.params.level]
type = "integer"
minimum = 0
maximum = 9
default = 1

[commands.anns]
argv = ["/bin/true"]
users = ["ann"]

[commands.nobodys]
argv = ["/bin/true"]
users = []
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "commands.toml"
    path.write_text(CATALOGUE)
    return path


@pytest.fixture
def client(make_app: Callable[..., Flask], file: Path) -> FlaskClient:
    return with_users(make_app(EXEC_COMMANDS=str(file)))


def _names(client: FlaskClient, who: tuple[str, str] = ANN) -> list[str]:
    found = client.get("/v3/commands/", auth=who).json["commands"]
    return [command["name"] for command in found]


def test_a_command_is_shown_with_what_it_takes(client: FlaskClient) -> None:
    answer = client.get("/v3/commands/backup", auth=BOB)
    assert answer.status_code == 200
    command = answer.json
    schema = command["params"]
    shown = {name: value for name, value in command.items() if name != "params"}
    assert shown == {
        "name": "backup",
        "description": "Dump one database, 备份",
        "timeout_seconds": 90,
        "max_running": 1,
        "stdin": True,
        "env_allowed": ["LANG"],
        "detached": False,
        "links": [
            {"rel": "self", "href": "/v3/commands/backup"},
            {"rel": "exec", "href": "/v3/exec/", "method": "POST"},
        ],
    }
    assert client.get("/v3/commands/", auth=BOB).json["commands"] == [command]
    Draft202012Validator.check_schema(schema)
    assert schema["required"] == ["db"]
    assert schema["properties"]["level"]["default"] == 1
    validator = Draft202012Validator(schema)
    assert validator.is_valid({"db": "main"})
    assert validator.is_valid({"db": "audit", "level": 9})
    for params in (
        {},
        {"db": "x"},
        {"db": "main", "level": 10},
        {"db": "main", "x": 1},
    ):
        assert not validator.is_valid(params)


def test_how_it_is_run_is_not_shown(client: FlaskClient) -> None:
    for who in (ANN, ADMIN):
        for path in ("/v3/commands/", "/v3/commands/backup"):
            text = client.get(path, auth=who).text
            assert "secret-path" not in text
            assert "of-the-entry" not in text
            assert "备份" in text


def test_the_list_has_what_is_for_the_caller_by_name(client: FlaskClient) -> None:
    assert _names(client, BOB) == ["backup"]
    assert _names(client, ANN) == ["anns", "backup"]
    assert _names(client, ADMIN) == ["anns", "backup", "nobodys"]


def test_a_command_of_others_is_not_found(client: FlaskClient) -> None:
    found = problem(client.get("/v3/commands/anns", auth=BOB), 404)
    none = problem(client.get("/v3/commands/nothing", auth=BOB), 404)
    assert (found["type"], found["detail"]) == (none["type"], none["detail"])
    assert found["type"] == "urn:bellhop:problem:command-not-found"
    assert client.get("/v3/commands/anns", auth=ANN).status_code == 200
    assert client.get("/v3/commands/nobodys", auth=ADMIN).status_code == 200
    problem(client.get("/v3/commands/nobodys", auth=ANN), 404)


def test_an_admin_s_lesser_token_sees_what_others_see(client: FlaskClient) -> None:
    headers = bearer(token_of(client, ADMIN, scopes=["read"]))
    found = client.get("/v3/commands/", headers=headers).json["commands"]
    assert [command["name"] for command in found] == ["backup"]
    headers = bearer(token_of(client, ADMIN, scopes=["read", "admin"]))
    found = client.get("/v3/commands/", headers=headers).json["commands"]
    assert len(found) == 3


def test_a_changed_file_is_seen_at_once_and_a_faulty_one_never(
    client: FlaskClient, file: Path
) -> None:
    file.write_text(CATALOGUE + '[commands.more]\nargv = ["/bin/true"]\n')
    assert _names(client) == ["anns", "backup", "more"]
    for faulty in ("[commands.x]\n", "no toml", "[commands.x]\nargv = [1]\n"):
        file.write_text(faulty)
        assert _names(client) == ["anns", "backup", "more"]
    file.unlink()
    assert _names(client) == ["anns", "backup", "more"]
    file.write_text('[commands.other]\nargv = ["/bin/true"]\n')
    assert _names(client) == ["other"]
    problem(client.get("/v3/commands/backup", auth=ANN), 404)


def test_it_is_read_only_and_takes_no_query(client: FlaskClient) -> None:
    for path in ("/v3/commands/", "/v3/commands/backup"):
        assert paths(client.get(f"{path}?limit=1", auth=ANN)) == ["limit"]
        for method in ("POST", "PUT", "DELETE"):
            problem(client.open(path, method=method, auth=ADMIN), 405)
        head = client.head(path, auth=ANN)
        assert (head.status_code, head.data) == (200, b"")


def test_a_renamed_user_s_commands_are_those_of_the_new_name(
    client: FlaskClient,
) -> None:
    client.patch("/v3/users/ann", json={"username": "anna"}, auth=ADMIN)
    assert _names(client, ("anna", ANN[1])) == ["backup"]


def test_without_a_catalogue_there_is_none(
    make_app: Callable[..., Flask], tmp_path: Path
) -> None:
    settings = {"EXEC_COMMANDS": str(tmp_path / "none"), "EXEC_ALLOW_SHELL": "0"}
    client = with_users(make_app(**settings))
    assert client.get("/v3/commands/", auth=ANN).json == {"commands": []}
    answer = client.post("/v3/exec/", json={"command": "echo"}, auth=ANN)
    assert "no command" in problem(answer, 403)["detail"]
