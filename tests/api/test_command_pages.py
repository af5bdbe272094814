"""The pages of commands: which are shown to whom, and the forms that run them."""

import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.api.callers import ADMIN, ANN, BOB, Auth, with_users

CATALOGUE = r"""
[commands.backup]
description = "Dump <b>one</b> database"
argv = ["/usr/local/bin/secret-path/backup", "{db}", "{level}"]
timeout_seconds = 90
env = {TOKEN = "of-the-entry"}
env_allowed = ["LANG"]
stdin = true
limits = {memory_bytes = 1073741824}
[commands.backup.params.db]
enum = ["main", "audit", 3]
title = "Database <1>"
[commands.backup.params.level]
type = "integer"
exclusiveMinimum = 0
maximum = 9
default = 1

[commands.greet]
argv = ["/bin/echo", "{name}", "{word}", "{loud}", "{polite}", "{tone}"]
[commands.greet.params]
name = {type = "string", pattern = "[a-z]+", minLength = 2}
word = {type = "string", writeOnly = true, default = "hidden"}
loud = {type = "boolean", default = true}
polite = {type = "boolean"}
tone = {oneOf = [{const = 1, title = "Low"}, {const = 2, title = "High"}], default = 2}

[commands.anns]
argv = ["/bin/true"]
users = ["ann"]
"""


@pytest.fixture
def client(make_app: Callable[..., Flask], tmp_path: Path) -> FlaskClient:
    path = tmp_path / "commands.toml"
    path.write_text(CATALOGUE)
    return with_users(make_app(EXEC_COMMANDS=str(path), EXEC_ALLOW_SHELL="0"))


def page(client: FlaskClient, path: str, who: Auth = ANN) -> str:
    """Return a page as a user sees it."""
    form = dict(zip(("username", "password"), who, strict=True))
    assert client.post("/ui/sign-in", data=form).status_code == 303
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.text


def run(client: FlaskClient, who: Auth, command: str, **params: Any) -> str:
    """Run a command to its end; return its id."""
    body = {"command": command, "params": params, "wait_seconds": 20}
    answer = client.post("/v3/exec/", json=body, auth=who)
    assert answer.status_code == 201, answer.text
    return str(answer.json["task_id"])


def fields_of(html: str) -> dict[str, Any]:
    """Return what the page tells its module of the fields of its form."""
    block = re.search(
        r'<script type="application/json">(.*?)</script>', html, re.DOTALL
    )
    assert block is not None
    found: dict[str, Any] = json.loads(block[1])
    return found


def control(html: str, path: str) -> str:
    """Return the control of a field, as HTML."""
    name = path.replace(".", "-")
    found = re.search(
        rf'<(input|select|textarea)[^>]* id="{name}".*?(?=<p class="fault")',
        html,
        re.DOTALL,
    )
    assert found is not None, f"{name} is not in the page"
    return found[0]


def test_the_commands_of_the_api_are_shown_and_no_others(client: FlaskClient) -> None:
    for who in (ANN, BOB, ADMIN):
        found = client.get("/v3/commands/", auth=who).json["commands"]
        html = page(client, "/ui/commands/", who)
        links = re.findall(r'href="/ui/commands/(\w+)"', html)
        assert links == [each["name"] for each in found]


def test_a_command_that_is_for_others_is_not_found(client: FlaskClient) -> None:
    page(client, "/ui/commands/", BOB)
    assert client.get("/ui/commands/anns").status_code == 404
    assert client.get("/ui/commands/none-like-that").status_code == 404


def test_an_admin_gets_no_form_for_what_the_api_would_refuse(
    client: FlaskClient,
) -> None:
    assert '<form class="run' not in page(client, "/ui/commands/anns", ADMIN)
    assert '<form class="run' in page(client, "/ui/commands/anns", ANN)


def test_how_it_is_run_is_not_shown(client: FlaskClient) -> None:
    for who in (ANN, ADMIN):
        for path in ("/ui/commands/", "/ui/commands/backup"):
            html = page(client, path, who)
            assert "secret-path" not in html
            assert "of-the-entry" not in html


def test_what_the_catalogue_says_is_text(client: FlaskClient) -> None:
    for path in ("/ui/commands/", "/ui/commands/backup"):
        assert "Dump &lt;b&gt;one&lt;/b&gt; database" in page(client, path)
    assert "Database &lt;1&gt;" in page(client, "/ui/commands/backup")


def test_each_parameter_has_a_field_of_its_kind(client: FlaskClient) -> None:
    html = page(client, "/ui/commands/greet")
    kinds = dict(re.findall(r'data-path="params\.(\w+)" data-kind="(\w+)"', html))
    assert kinds == {
        "name": "text",
        "word": "text",
        "loud": "boolean",
        "polite": "choice",
        "tone": "choice",
    }
    assert " checked" in control(html, "params.loud")
    assert " required" in control(html, "params.name")
    # Who has not decided, has not said no.
    values = re.findall(r'value="(\w*)"', control(html, "params.polite"))
    assert values == ["", "true", "false"]
    assert '<option value="2" selected>High' in control(html, "params.tone")


def test_a_secret_is_not_shown(client: FlaskClient) -> None:
    html = page(client, "/ui/commands/greet")
    found = control(html, "params.word")
    assert 'type="password"' in found
    assert "hidden" not in found
    assert "left empty: hidden" not in html


def test_values_of_a_choice_keep_their_types(client: FlaskClient) -> None:
    html = control(page(client, "/ui/commands/backup"), "params.db")
    values = re.findall(r'<option value="([^"]*)"', html)
    assert [json.loads(unescape(v)) for v in values if v] == ["main", "audit", 3]


def test_the_form_has_what_the_entry_grants_and_nothing_else(
    client: FlaskClient,
) -> None:
    paths = fields_of(page(client, "/ui/commands/backup"))
    options = {path for path in paths if not path.startswith("params.")}
    assert options == {"stdin", "env.LANG", "timeout_seconds"}
    assert paths["timeout_seconds"]["schema"]["maximum"] == 90
    assert "stdin" not in fields_of(page(client, "/ui/commands/greet"))


def test_the_page_gives_its_module_the_schema_of_the_api(client: FlaskClient) -> None:
    schema = client.get("/v3/commands/backup", auth=ANN).json["params"]
    found = fields_of(page(client, "/ui/commands/backup"))
    for name, expected in schema["properties"].items():
        field = found[f"params.{name}"]
        assert field["schema"] == expected
        assert field["required"] is (name in schema["required"])


def test_a_card_has_the_last_run_that_the_reader_may_see(client: FlaskClient) -> None:
    mine = run(client, BOB, "greet", name="bob", polite=True)
    assert f"/ui/tasks/{mine}" in page(client, "/ui/commands/", BOB)
    assert f"/ui/tasks/{mine}" in page(client, "/ui/commands/", ADMIN)
    assert f"/ui/tasks/{mine}" not in page(client, "/ui/commands/", ANN)
    assert f"/ui/tasks/{mine}" not in page(client, "/ui/commands/greet", ANN)


def test_an_empty_catalogue_says_how_to_write_one(
    make_app: Callable[..., Flask], tmp_path: Path
) -> None:
    path = tmp_path / "commands.toml"
    path.write_text("")
    client = with_users(make_app(EXEC_COMMANDS=str(path), EXEC_ALLOW_SHELL="0"))
    html = page(client, "/ui/commands/")
    assert "EXEC_COMMANDS" in html
    assert "[commands.echo]" in html


def test_a_shell_has_a_form_where_one_may_be_used(v3: FlaskClient) -> None:
    assert 'data-path="cmd"' in page(v3, "/ui/commands/")


def test_a_shell_has_none_elsewhere(client: FlaskClient) -> None:
    assert 'data-path="cmd"' not in page(client, "/ui/commands/")


def test_what_a_shell_ran_is_filled_in_again(v3: FlaskClient) -> None:
    body = {"cmd": "echo '</textarea>'", "wait_seconds": 20}
    task_id = v3.post("/v3/exec/", json=body, auth=ANN).json["task_id"]
    html = page(v3, f"/ui/commands/?again={task_id}")
    assert body["cmd"] in unescape(control(html, "cmd"))
    assert html.count("</textarea>") == 1
    assert body["cmd"] not in unescape(page(v3, f"/ui/commands/?again={task_id}", BOB))


def test_a_form_is_filled_in_as_a_run_was(client: FlaskClient) -> None:
    given = {"name": "anna", "word": "a secret", "loud": False, "polite": False}
    task_id = run(client, ANN, "greet", **given, tone=1)
    html = page(client, f"/ui/commands/greet?again={task_id}")
    assert 'value="anna"' in control(html, "params.name")
    assert " checked" not in control(html, "params.loud")
    assert '<option value="false" selected>' in control(html, "params.polite")
    assert '<option value="1" selected>' in control(html, "params.tone")
    assert "a secret" not in html


def test_anothers_run_fills_in_nothing(client: FlaskClient) -> None:
    task_id = run(client, ANN, "greet", name="anna", polite=True)
    html = page(client, f"/ui/commands/greet?again={task_id}", BOB)
    assert "anna" not in html
    assert "not kept any more" in html


def test_parameters_that_are_gone_are_named(
    client: FlaskClient, tmp_path: Path
) -> None:
    task_id = run(client, ANN, "greet", name="anna", polite=True)
    (tmp_path / "commands.toml").write_text(
        '[commands.greet]\nargv = ["/bin/true"]\nparams.loud.type = "boolean"'
    )
    html = page(client, f"/ui/commands/greet?again={task_id}")
    assert "Not taken any more: name, polite, tone" in html
