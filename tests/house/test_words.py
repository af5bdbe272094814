"""Words that no file of the project has: where it was made, and from which papers.

They stand here in pieces, so that this file has none of them either.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.servers import PROJECT

#: What, and the pattern that finds it.
FORBIDDEN = {
    "a folder of the machine it was made on": rf"(?<![\w.])/{'wo'}{'rk'}(?![\w-])",
    "a folder beside the project": rf"\.\./{'sha'}{'red'}",
    "the place it was made in": rf"(?i)\bfa{'rm'}s?\b",
    "where packages were taken from": rf"(?i)\b(ind{'ex'}-url|find-li{'nks'})\b",
    "a local registry": rf"/opt/(py{'pi'}|whe{'els'})",
    "a working paper": (
        r"\b(?!(?:README|CHANGELOG|LICENSE|CONTRIBUTING|SECURITY)\.)[A-Z]{3,}\.md\b"
    ),
}

CAUGHT = {
    "a folder of the machine it was made on": ["/wo" + "rk/main", "cd /wo" + "rk"],
    "a folder beside the project": ["../sha" + "red/x"],
    "the place it was made in": ["the fa" + "rm", "FA" + "RM"],
    "where packages were taken from": [
        "pip install --ind" + "ex-url https://x",
        "--extra-ind" + "ex-url=x",
        "--find-li" + "nks x",
    ],
    "a local registry": ["file:///opt/py" + "pi/simple", "/opt/whe" + "els"],
    "a working paper": ["see CONTRA" + "CT.md §8", "HOUS" + "E.md"],
}

PASSED = [
    "frameworks /worker app/worker.py ./work-in-progress https://example.org/workers",
    "README.md CHANGELOG.md docs/settings.md LICENSE",
    "pharmacy index url shared/",
]


def project_files() -> list[Path]:
    """Return the files that are, or may come to be, in the repository."""
    git = shutil.which("git")
    if git is None or not (PROJECT / ".git").exists():
        pytest.skip("git tells which files are the project's")
    listing = subprocess.run(
        [git, "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode != 0:
        pytest.skip(f"git tells nothing: {listing.stderr}")
    paths = [PROJECT / name for name in listing.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def found_in(text: str) -> list[str]:
    return [
        f"{number}: {line.strip()[:80]}  <- {what}"
        for number, line in enumerate(text.splitlines(), start=1)
        for what, pattern in FORBIDDEN.items()
        if re.search(pattern, line)
    ]


def test_no_file_has_a_word_that_belongs_elsewhere() -> None:
    paths = project_files()
    assert len(paths) > 50
    found = [
        f"{path.relative_to(PROJECT)}:{line}"
        for path in paths
        for line in found_in(path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert not found, "\n" + "\n".join(found)


def test_no_files_name_has_one_either() -> None:
    for path in project_files():
        assert not found_in(str(path.relative_to(PROJECT)))


@pytest.mark.parametrize("what", FORBIDDEN)
def test_a_word_that_belongs_elsewhere_is_found(what: str) -> None:
    for text in CAUGHT[what]:
        assert [line for line in found_in(text) if line.endswith(what)], text


@pytest.mark.parametrize("text", PASSED)
def test_a_word_that_only_looks_like_one_is_let_through(text: str) -> None:
    assert found_in(text) == []
