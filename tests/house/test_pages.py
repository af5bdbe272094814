"""The pages' own files: every word has its Chinese, and nothing runs that is inline."""

import re
import tomllib
from functools import cache
from http import HTTPStatus
from pathlib import Path
from string import Formatter

import pytest

from app.api.errors import STATUS_OF
from app.web.words import LANGUAGES, texts, used_by, uses
from tests.servers import PROJECT

WEB = PROJECT / "app" / "web"
TEMPLATES = sorted((WEB / "templates").rglob("*.html"))
MODULES = sorted((WEB / "static" / "js").glob("*.js"))
STYLES = sorted((WEB / "static" / "css").glob("*.css"))
VIEWS = sorted(WEB.glob("*.py"))

#: Where the words are those of a problem, which are looked for below.
PROBLEMS = {WEB / "frame.py", WEB / "templates" / "problem.html"}

#: What JavaScript would run or show that is no text of ours.
UNSAFE = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|"
    r"setAttribute\(\s*[\"']style|\.cssText|srcdoc|javascript:"
)


def name(path: Path) -> str:
    return str(path.relative_to(WEB))


def words_of(path: Path) -> list[str]:
    """Return what a file gives to `t`; single quotes stand in attributes."""
    source = path.read_text()
    if path.suffix == ".html":
        source = re.sub(r"\bt\('((?:[^'\\\\]|\\\\.)*)'", r't("\1"', source)
    return uses(source)


@cache
def all_words() -> frozenset[str]:
    files = [*TEMPLATES, *MODULES, *VIEWS]
    return frozenset(word for path in files for word in words_of(path))


def places(text: str) -> set[str]:
    return {field for _, field, _, _ in Formatter().parse(text) if field}


@pytest.mark.parametrize("path", [*TEMPLATES, *MODULES, *VIEWS], ids=name)
def test_every_word_has_its_chinese(path: Path) -> None:
    missing = [word for word in words_of(path) if word not in texts("zh")]
    assert missing == []


@pytest.mark.parametrize("path", [*TEMPLATES, *MODULES, *VIEWS], ids=name)
def test_every_word_can_be_found_in_the_source(path: Path) -> None:
    if path in PROBLEMS:
        return
    source = path.read_text()
    if path.stem == "words":
        source = source.partition("stateWord(state) {")[2]
    asked = re.findall(r"(?<![\w.$])t\(\s*(.)", source)
    assert [first for first in asked if first not in "\"'"] == [], (
        "no plain text in t()"
    )


def test_chinese_has_the_same_places_for_facts_and_one_word_for_each() -> None:
    seen: dict[str, tuple[str, str]] = {}
    for path in sorted((WEB / "words").glob("zh*.toml")):
        for key, text in tomllib.loads(path.read_text()).items():
            name, before = seen.setdefault(key, (path.name, text))
            assert text == before, f"{path.name} and {name} do not agree on {key}"
    for english, chinese in texts("zh").items():
        assert places(english) == places(chinese), english
        assert re.search("[\u4e00-\u9fff]", chinese) or chinese.isascii(), english
    assert set(LANGUAGES) == {"en", "zh"}


def test_every_problem_of_a_page_has_a_chinese_title() -> None:
    statuses = {*STATUS_OF.values(), 405, 411, 413, 500}
    titles = {HTTPStatus(status).phrase for status in statuses}
    assert titles - texts("zh").keys() == set()


def test_the_modules_of_a_page_bring_their_words() -> None:
    assert {"Queued", "Lost"} <= used_by(None), "of what page.js imports"


@pytest.mark.parametrize("path", TEMPLATES, ids=name)
def test_a_template_has_no_script_style_or_listener_in_it(path: Path) -> None:
    source = path.read_text()
    assert not re.search(r"\sstyle\s*=", source)
    assert not re.search(r"<style\b", source)
    assert not re.search(r"\son[a-z]+\s*=\s*[\"']", source)
    # What is put into a safe text by % is escaped.
    assert not re.search(r"\|\s*safe\b(?!\s*%)|autoescape|Markup", source)
    for attributes, body in re.findall(
        r"<script\b([^>]*)>(.*?)</script>", source, re.DOTALL
    ):
        is_data = 'type="application/json"' in attributes
        is_file = "src=" in attributes and 'type="module"' in attributes
        assert is_data or (is_file and not body.strip()), attributes
        assert not is_data or re.fullmatch(r"\{\{.*\|\s*tojson\s*\}\}", body.strip())


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_shows_text_as_text_and_asks_nobody_else(path: Path) -> None:
    source = path.read_text()
    assert UNSAFE.findall(source) == []
    assert not re.search(r"https?://(?!www\.w3\.org/)", source)
    for imported in re.findall(r"""\bfrom\s+["'](.*?)["']""", source):
        assert (path.parent / imported).is_file(), imported


@pytest.mark.parametrize("path", STYLES, ids=name)
def test_a_style_takes_nothing_from_elsewhere(path: Path) -> None:
    source = path.read_text()
    assert not re.search(r"url\(\s*[\"']?(?!data:)|@import", source)
