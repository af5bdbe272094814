"""The languages of the pages: the English text itself is the key.

Each file of `words/` has a table of texts in its language: ``zh.toml``, and
``zh-<part>.toml`` beside it.
"""

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from flask import request

#: What a page can be in, by its tag in HTML; the first where no other is wanted.
LANGUAGES = {"en": "English", "zh": "中文"}
COOKIE = "bellhop_language"

_FOLDER = Path(__file__).parent
_MODULES = _FOLDER / "static" / "js"
_IMPORT = re.compile(r"""(?:from|import)\s*\(?\s*["']\./([\w-]+)\.js["']""")
_USE = re.compile(r"""\bt\(\s*"((?:[^"\\]|\\.)*)\"""")


def language() -> str:
    """Return what the reader has chosen, else what the browser asks for first."""
    chosen = request.cookies.get(COOKIE)
    if chosen in LANGUAGES:
        return chosen
    # In their order: best_match would rather have zh than en-GB, which is no tag here.
    for tag in request.accept_languages.values():
        if (wanted := tag.partition("-")[0].lower()) in LANGUAGES:
            return wanted
    return "en"


def t(text: str, **facts: Any) -> str:
    """Return an English text in the reader's language, with facts at their names."""
    found = texts(language()).get(text, text)
    return found.format(**facts) if facts else found


def words_of(script: str | None) -> dict[str, str]:
    """Return what a page's modules say, by its English, in the reader's language."""
    known = texts(language())
    return {text: known[text] for text in used_by(script) if text in known}


@cache
def texts(tag: str) -> Mapping[str, str]:
    """Return all texts of a language by their English; English itself has none."""
    found: dict[str, str] = {}
    for path in sorted((_FOLDER / "words").glob(f"{tag}*.toml")):
        found |= tomllib.loads(path.read_text(encoding="utf-8"))
    return found


@cache
def used_by(script: str | None) -> frozenset[str]:
    """Return the texts that a module uses, and `page`, and whatever these import."""
    found, modules, todo = set[str](), set[str](), ["page", *filter(None, [script])]
    while todo:
        name = todo.pop()
        path = _MODULES / f"{name}.js"
        if name not in modules and path.is_file():
            modules.add(name)
            source = path.read_text(encoding="utf-8")
            found |= set(uses(source))
            todo += _IMPORT.findall(source)
    return frozenset(found)


def uses(source: str) -> list[str]:
    """Return the texts that a template, a view or a module gives to `t`."""
    return [text.replace('\\"', '"') for text in _USE.findall(source)]
