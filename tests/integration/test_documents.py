"""What the documents show is run, and compared with what comes back."""

import configparser
import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.documents import (
    fences,
    headings,
    is_like,
    links,
    search_path,
    section,
    without_fences,
)
from tests.servers import PROJECT, RUN, Server, running

README = (PROJECT / "README.md").read_text()
IN_CHINESE = (PROJECT / "README.zh-CN.md").read_text()
OPERATIONS = (PROJECT / "docs" / "operations.md").read_text()
EXAMPLE_URL = "http://127.0.0.1:5000"
PRODUCTION_URL = "http://127.0.0.1:8000"
PASSWORD = "change-me"

# Members whose values are the same wherever and whenever an example is run.
FIXED = {
    "mode",
    "status",
    "returncode",
    "state",
    "reason",
    "next_offset",
    "dropped_bytes",
    "msg",
    "uid",
    "name",
    "age",
    "phone",
    "type",
    "title",
    "detail",
    "message",
    "errors",
    "username",
    "fullname",
    "admin",
    "kind",
    "owner",
    "command",
    "leftovers",
    "result",
    "scopes",
    "description",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("readme")
    with running(folder, command=RUN, FLASK_ENV="development") as started:
        yield started


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("readme")
    with running(folder, FLASK_ENV="production", ADMIN_PASSWORD=PASSWORD) as started:
        yield started


def test_every_example_of_the_readme_gives_what_it_shows(
    server: Server, production: Server
) -> None:
    examples = list(_examples(README))
    assert len(examples) >= 11
    for command, shown in examples:
        given = _run(command, {EXAMPLE_URL: server.url, PRODUCTION_URL: production.url})
        if shown.startswith("{"):
            _compare(json.loads(shown.replace("…", "")), json.loads(given))
        else:
            assert given.count("\n") == 1
            assert " load average: " in given


def test_the_recipe_signs_a_uuid_that_starts_a_command(
    production: Server, tmp_path: Path
) -> None:
    user = {"username": "bob", "password": "bobs-secret", "fullname": "Bob"}
    admin = ("admin", PASSWORD)
    made = production.post("/v3/users/", json=user, auth=admin)
    assert made.status_code in (201, 409), "the examples have made him before"
    [recipe] = [block for _, block in fences(README) if "openssl" in block]
    path = search_path(tmp_path, os.environ["PATH"])
    given = _run(recipe, {PRODUCTION_URL: production.url}, PATH=path)
    assert json.loads(given)["status"] == "accepted"


def test_the_first_screen_has_run_test_and_a_line_without_credentials() -> None:
    first_screen = "\n".join(README.splitlines()[:24])
    for needed in ("make run", "make test", f"$ curl {EXAMPLE_URL}/v1/uptime/"):
        assert needed in first_screen


def test_the_check_finds_what_its_page_shows(tmp_path: Path) -> None:
    page = (PROJECT / "docs" / "going-live.md").read_text()
    [(command, shown)] = _examples(page)
    command = command.replace(".venv/bin/flask", f"{shlex.quote(sys.prefix)}/bin/flask")
    given = _run(command, {}, INSTANCE_PATH=str(tmp_path / "instance")).splitlines()
    *findings, _count = shown.splitlines()
    for finding in findings:  # another host has others beside
        assert any(is_like(finding, line) for line in given), finding


def test_the_readme_is_the_same_in_both_languages() -> None:
    assert list(fences(IN_CHINESE)) == list(fences(README))
    depths = [[depth for depth, _ in headings(text)] for text in (README, IN_CHINESE)]
    assert depths[0] == depths[1]
    assert _outline(IN_CHINESE) == _outline(README)
    for text, other in ((README, "README.zh-CN.md"), (IN_CHINESE, "README.md")):
        assert f"]({other})" in "\n".join(text.splitlines()[:4])


def _outline(text: str) -> list[tuple[list[str], list[str]]]:
    """Return of each part what it links to and names, whatever the words around it."""
    parts = re.split(r"^#+ .*$", without_fences(text), flags=re.MULTILINE)
    return [
        (
            sorted(re.sub(r"^(?:#.*|README.*)", "", link) for link in links(part)),
            sorted(set(re.findall(r"`([^`]+)`", part))),
        )
        for part in parts
    ]


@pytest.fixture(scope="module")
def unit() -> configparser.ConfigParser:
    units = [block for language, block in fences(OPERATIONS) if language == "ini"]
    [text] = [block for block in units if "gunicorn" in block]  # the worker has its own
    parser = configparser.ConfigParser(strict=True, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser


def test_the_unit_of_systemd_says_what_is_promised_of_it(
    unit: configparser.ConfigParser,
) -> None:
    service = unit["Service"]
    assert unit["Install"]["WantedBy"]
    assert (service["KillMode"], service["Delegate"]) == ("mixed", "yes")
    for line in re.findall(
        r"^\| `([A-Z]\w+)", section(OPERATIONS, "systemd"), re.MULTILINE
    ):
        assert any(key.startswith(line) for key in service), line
    takes_sudo = "NoNewPrivileges|ProtectKernel|PrivateDevices|Restrict|SystemCall"
    assert not [key for key in service if re.match(f"{takes_sudo}|ProcSubset", key)]
    folder = service["WorkingDirectory"]
    for key in ("ExecStartPre", "ExecStart"):
        program, *arguments = shlex.split(service[key].removeprefix(folder))
        assert Path(f"{sys.prefix}/bin", Path(program).name).exists()
        assert "server" in arguments or "server:app" in arguments


def test_systemd_and_docker_wait_for_longer_than_gunicorn_does(
    unit: configparser.ConfigParser, tmp_path: Path
) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "gunicorn", "--print-config", "server:app"],
        cwd=PROJECT,
        env={"FLASK_ENV": "testing", "INSTANCE_PATH": str(tmp_path / "instance")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    graceful = int(re.search(r"graceful_timeout += (\d+)", shown)[1])  # type: ignore[index]
    assert int(unit["Service"]["TimeoutStopSec"]) > graceful
    assert int(re.search(r"--stop-timeout (\d+)", OPERATIONS)[1]) > graceful  # type: ignore[index]


def test_what_the_proxies_pass_on_goes_to_the_service(production: Server) -> None:
    for language in ("nginx", "caddyfile"):
        [block] = [text for name, text in fences(OPERATIONS) if name == language]
        assert block.count("{") == block.count("}")
        assert "127.0.0.1:5000" in block, "the default of PORT"
        assert "X-Request-ID" in block
    [block] = [text for name, text in fences(OPERATIONS) if name == "nginx"]
    [followed] = re.findall(r"location ~ (\S+) {", block)
    assert re.search(followed, "/v2/task/1/output")
    assert re.search(followed, "/v3/task/1/output")
    headers = {"X-Request-ID": "0123456789abcdef0123456789abcdef"}  # nginx's form
    answer = production.get("/v1/uptime/", headers=headers)
    assert answer.headers["X-Request-ID"] == headers["X-Request-ID"]


def test_a_backup_of_a_running_service_is_one_that_it_starts_on(tmp_path: Path) -> None:
    backup, restore = (block for _, block in fences(section(OPERATIONS, "Backup")))
    backup = backup.replace(".venv/bin/python", shlex.quote(sys.executable))
    settings = {"FLASK_ENV": "production", "ADMIN_PASSWORD": PASSWORD}
    admin = ("admin", PASSWORD)
    with running(tmp_path, **settings) as server:
        made = server.post("/v3/users/admin/signing-key", auth=admin)
        server.post("/v3/exec/", json={"command": "echo"}, auth=admin)
        subprocess.run(["sh", "-e", "-c", backup], cwd=tmp_path, check=True)
        server.post("/v3/exec/", json={"command": "echo"}, auth=admin)
    assert made.status_code == 201
    with closing(sqlite3.connect(tmp_path / "backup" / "bellhop.db")) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    subprocess.run(["sh", "-e", "-c", restore], cwd=tmp_path, check=True)
    with running(tmp_path, "-w", "1", **settings) as server:
        tasks = server.get("/v3/task/", auth=admin).json()["tasks"]
    assert len(tasks) == 1, "what the copy has"


def _examples(text: str) -> Iterator[tuple[str, str]]:
    """Give each command of the console blocks with what is shown below it."""
    for language, block in fences(text):
        if language == "console":
            for example in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                command, _, shown = example.partition("\n")
                yield command, shown


def _run(command: str, urls: dict[str, str], **environment: str) -> str:
    command = command.replace("curl ", "curl -sS ")
    for shown, real in urls.items():
        command = command.replace(shown, shlex.quote(real))
    done = subprocess.run(
        ["sh", "-e", "-c", command],
        capture_output=True,
        timeout=30,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def _compare(shown: dict[str, Any], given: dict[str, Any]) -> None:
    if given.get("status") == "running":
        # How far a command has come depends on the moment.
        assert shown.keys() == given.keys()
        return
    assert shown.keys() == given.keys()
    for name in FIXED & shown.keys():
        assert given[name] == shown[name]
    rels = [[link["rel"] for link in seen.get("links", [])] for seen in (given, shown)]
    assert rels[0] == rels[1]
    assert len(given.get("samples", [])) == len(shown.get("samples", []))
