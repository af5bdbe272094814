"""The documents of the project, and what stands in them."""

import re
import shutil
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from tests.servers import PROJECT

DOCUMENTS = [
    *sorted(PROJECT.glob("README*.md")),
    *sorted((PROJECT / "docs").glob("*.md")),
    PROJECT / "CHANGELOG.md",
]

_FENCE = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)

#: What is of the same form every time, and another value.
_VARYING = {
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}": "<uuid>",
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z": "<moment>",
    r"\b\d\d:\d\d:\d\d up ": "<clock> up ",
}

# What the recipes need of openssl, for machines that have none.
_OPENSSL = """#!{python}
import hashlib, hmac, sys
assert sys.argv[1:4] == ["dgst", "-sha256", "-hmac"] and sys.argv[5:] == ["-r"]
message = sys.stdin.buffer.read()
print(hmac.new(sys.argv[4].encode(), message, hashlib.sha256).hexdigest(), "*stdin")
"""


def fences(text: str) -> Iterator[tuple[str, str]]:
    """Give each block of code with its language before it."""
    for fence in _FENCE.finditer(text):
        yield fence[2], fence[3]


def without_fences(text: str) -> str:
    return _FENCE.sub("", text)


def spans(text: str) -> list[str]:
    """Return what stands in backticks within the prose."""
    return re.findall(r"`([^`\n]+)`", without_fences(text))


def headings(text: str) -> list[tuple[int, str]]:
    """Return each heading with its depth before it."""
    found = re.findall(r"^(#+) (.+)$", without_fences(text), re.MULTILINE)
    return [(len(signs), words.strip()) for signs, words in found]


def slugs(text: str) -> set[str]:
    """Return the anchors that GitHub gives the headings."""
    found: dict[str, int] = {}
    for _, heading in headings(text):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found[slug] = found.get(slug, 0) + 1
    again = {f"{slug}-{n}" for slug, count in found.items() for n in range(1, count)}
    return found.keys() | again


def links(text: str) -> list[str]:
    """Return where the links of the prose lead."""
    return re.findall(r"\]\(([^)\s]+)\)", without_fences(text))


def section(text: str, heading: str) -> str:
    """Return what stands below a heading of the second depth."""
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def steps(text: str) -> Iterator[tuple[str, str]]:
    """Give each block for the shell with what is shown below it."""
    for (language, code), (below, shown) in pairwise([*fences(text), ("", "")]):
        if language == "sh":
            yield code, shown if below == "text" else ""


def is_like(shown: str, given: str) -> bool:
    """Return whether something is as it is shown, where `…` is anything."""
    for varying, name in _VARYING.items():
        shown, given = (re.sub(varying, name, each) for each in (shown, given))
    pattern = ".*".join(re.escape(piece) for piece in shown.strip().split("…"))
    return re.fullmatch(pattern, given.replace("\r", "").strip(), re.DOTALL) is not None


def search_path(folder: Path, path: str) -> str:
    """Return a PATH on which there is an openssl, and what the tests brought."""
    if shutil.which("openssl") is None:
        (folder / "openssl").write_text(_OPENSSL.format(python=sys.executable))
        (folder / "openssl").chmod(0o755)
    return f"{Path(sys.executable).parent}:{folder}:{path}"
