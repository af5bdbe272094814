"""The recipes of the cookbook, cooked: each prints what the document shows."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documents import fences, headings, is_like, search_path, section, steps
from tests.servers import PROJECT, Server, running

COOKBOOK = (PROJECT / "docs" / "cookbook.md").read_text()
RECIPES = [words for depth, words in headings(COOKBOOK) if depth == 2]
URL = "http://127.0.0.1:8000"
PASSWORD = "change-me"
SECONDS = 60

#: What stands between what two blocks print.
_BETWEEN = "\x1e\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("kitchen")
    shipped = (PROJECT / "config" / "commands.toml").read_text()
    [added] = [block for language, block in fences(COOKBOOK) if language == "toml"]
    (folder / "commands.toml").write_text(f"{shipped}\n{added}")
    with running(
        folder,
        "-w",
        "2",
        FLASK_ENV="production",
        ADMIN_PASSWORD=PASSWORD,
        EXEC_COMMANDS=str(folder / "commands.toml"),
        SMS_PROVIDER="console",
        NOTIFY_URL_PREFIXES="http://127.0.0.1:9000/",
    ) as started:
        yield started


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return a cook's surroundings: a home of its own, and no terminal.

    httpie would start a process that looks for news of itself.
    """
    quiet = {"default_options": ["--ignore-stdin"], "disable_update_warnings": True}
    (tmp_path / "config.json").write_text(json.dumps(quiet))
    return {
        "PATH": search_path(tmp_path, os.environ["PATH"]),
        "HOME": str(tmp_path),
        "HTTPIE_CONFIG_DIR": str(tmp_path),
        "LC_ALL": "C.UTF-8",
    }


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_prints_what_it_shows(
    recipe: str, service: Server, environment: dict[str, str], tmp_path: Path
) -> None:
    blocks = list(steps(section(COOKBOOK, recipe)))
    done = subprocess.run(
        ["sh", "-e", "-c", _script(blocks, service)],
        capture_output=True,
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
    printed = done.stdout.decode().split(_BETWEEN)
    for (code, shown), given in zip(blocks, printed, strict=True):
        assert is_like(shown, given), f"{code}\nshown:\n{shown}\ngiven:\n{given}"


def test_every_block_of_the_cookbook_is_cooked_and_shows_what_it_prints() -> None:
    blocks = [each for name in RECIPES for each in steps(section(COOKBOOK, name))]
    languages = [language for language, _ in fences(COOKBOOK)]
    assert languages.count("sh") == len(blocks) == languages.count("text")
    assert languages.count("toml") == 1
    assert set(languages) == {"sh", "text", "toml"}
    assert len(RECIPES) > 15
    assert all(shown.replace("…", "").strip() for _, shown in blocks)


@pytest.mark.parametrize(
    ("shown", "given"),
    [
        ("ok", "ok but"),
        ("", "something"),
        ("at 2026-11-20T09:01:40Z", "at noon"),
        ("f7de8e3f-6a7b-4e6b-8c7c-1fb6c9c5b3a4", "null"),
        ("…\n204", "404"),
    ],
)
def test_what_is_not_as_shown_is_found(shown: str, given: str) -> None:
    assert not is_like(shown, given)


def _script(blocks: list[tuple[str, str]], service: Server) -> str:
    between = "printf '\\036\\n'\n"
    return between.join(code for code, _ in blocks).replace(URL, service.url)
