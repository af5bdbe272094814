"""What the documents show is run, and compared with what comes back."""

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import PROJECT, RUN, Server, running

DOCUMENTS = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
EXAMPLE_URL = "http://127.0.0.1:5000"

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
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("readme")
    with running(folder, command=RUN, FLASK_ENV="development") as started:
        yield started


def test_every_example_of_the_readme_gives_what_it_shows(server: Server) -> None:
    examples = list(_examples(PROJECT / "README.md"))
    assert len(examples) >= 8
    for command, shown in examples:
        given = _run(command, server.url)
        if shown.startswith("{"):
            _compare(json.loads(shown.replace("…", "")), json.loads(given))
        else:
            assert given.count("\n") == 1
            assert " load average: " in given


def test_the_first_screen_has_run_test_and_a_line_without_credentials() -> None:
    first_screen = "\n".join((PROJECT / "README.md").read_text().splitlines()[:24])
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


def _run(command: str, url: str) -> str:
    command = command.replace("curl ", "curl -sS ").replace(
        EXAMPLE_URL, shlex.quote(url)
    )
    done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=30)
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
