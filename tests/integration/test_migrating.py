"""The page on migrating: its catalogues are loaded, its requests are made."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.tasks.catalogue import Catalogue
from tests.documents import fences, headings, is_like, search_path, section, steps
from tests.servers import PROJECT, Server, running

PAGE = (PROJECT / "docs" / "migrating.md").read_text()
PARTS = [words for depth, words in headings(PAGE) if depth == 2]
URL = "http://127.0.0.1:8000"
PASSWORD = "change-me"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("migrated")
    catalogues = [block for language, block in fences(PAGE) if language == "toml"]
    (folder / "commands.toml").write_text("\n".join(catalogues))
    settings = {
        "FLASK_ENV": "production",
        "ADMIN_PASSWORD": PASSWORD,
        "EXEC_COMMANDS": str(folder / "commands.toml"),
    }
    with running(folder, "-w", "2", **settings) as started:
        yield started


@pytest.mark.parametrize("part", PARTS)
def test_each_catalogue_is_one_by_itself(part: str, tmp_path: Path) -> None:
    [toml] = [text for name, text in fences(section(PAGE, part)) if name == "toml"]
    (tmp_path / "commands.toml").write_text(toml)
    catalogue = Catalogue(
        str(tmp_path / "commands.toml"),
        allow_shell=False,
        environment={},
        timeout_seconds=1,
    )
    names = [entry.name for entry in catalogue.entries("admin")]
    assert names == sorted(re.findall(r"^\[commands\.(\w+)\]", toml, re.MULTILINE))


@pytest.mark.parametrize("part", PARTS)
def test_each_request_gives_what_is_shown(
    part: str, service: Server, tmp_path: Path
) -> None:
    path = search_path(tmp_path, os.environ["PATH"])
    blocks = list(steps(section(PAGE, part)))
    assert blocks
    for code, shown in blocks:
        done = subprocess.run(
            ["sh", "-e", "-c", code.replace(URL, service.url)],
            capture_output=True,
            text=True,
            env={"PATH": path},
        )
        assert done.returncode == 0, done.stderr
        assert is_like(shown, done.stdout), done.stdout
