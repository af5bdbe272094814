"""What the documents show is run, and compared with what comes back."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import PROJECT, RUN, Server, running

DOCUMENTS = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
EXAMPLE_URL = "http://127.0.0.1:5000"
PRODUCTION_URL = "http://127.0.0.1:8000"
PASSWORD = "change-me"

# What the recipe needs of openssl, for machines that have none.
OPENSSL = """#!{python}
import hashlib, hmac, sys
assert sys.argv[1:4] == ["dgst", "-sha256", "-hmac"] and sys.argv[5:] == ["-r"]
message = sys.stdin.buffer.read()
print(hmac.new(sys.argv[4].encode(), message, hashlib.sha256).hexdigest(), "*stdin")
"""

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
    examples = list(_examples(PROJECT / "README.md"))
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
    [recipe] = [
        block
        for block in re.findall(r"```sh\n(.*?)```", _readme(), re.DOTALL)
        if "openssl" in block
    ]
    path = os.environ["PATH"]
    if shutil.which("openssl") is None:
        (tmp_path / "openssl").write_text(OPENSSL.format(python=sys.executable))
        (tmp_path / "openssl").chmod(0o755)
        path = f"{tmp_path}:{path}"
    given = _run(recipe, {PRODUCTION_URL: production.url}, PATH=path)
    assert json.loads(given)["status"] == "accepted"


def test_the_first_screen_has_run_test_and_a_line_without_credentials() -> None:
    first_screen = "\n".join(_readme().splitlines()[:24])
    for needed in ("make run", "make test", f"$ curl {EXAMPLE_URL}/v1/uptime/"):
        assert needed in first_screen


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_to_a_file_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text()):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target


def _examples(document: Path) -> Iterator[tuple[str, str]]:
    """Give each command of the console blocks with what is shown below it."""
    for block in re.findall(r"```console\n(.*?)```", document.read_text(), re.DOTALL):
        for example in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = example.partition("\n")
            yield command, shown


def _readme() -> str:
    return (PROJECT / "README.md").read_text()


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
