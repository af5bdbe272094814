"""What the documents name is there, and what there is, they name."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from flask import Flask
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import Map, RequestRedirect

import run
from tests.documents import DOCUMENTS, fences, links, slugs, spans
from tests.house.test_settings import SETTINGS
from tests.servers import PROJECT

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
FOLDERS = ("app", "bench", "config", "docs", "migrations", "tests")
SUFFIXES = ("conf", "json", "md", "py", "toml", "txt", "yml")

#: What looks like a setting and is another's, or what commands see.
FOREIGN_SETTINGS = {
    "BELLHOP_REQUEST_ID",
    "BELLHOP_TASK_ID",
    "POSTGRES_PASSWORD",
    "PR_SET_DUMPABLE",
    "RATE_LIMITED",
    "SMS_1",
    "SMS_CONF",
    "VALKEY_PASSWORD",
}
#: Prefixes of names that a document writes with something after it.
FOREIGN_PREFIXES = ("BELLHOP_PARAM_",)

#: First parts of paths that no route has: of the system, and of other services.
FOREIGN_ROOTS = {
    *("bin", "boot", "dev", "etc", "proc", "srv", "sys", "tmp", "usr"),
    # Of the services that one migrates from.
    "path",
}

#: Files that readers make, or that others have.
FOREIGN_FILES = {"reply.json"}


@dataclass(frozen=True)
class Known:
    """What there is to be named."""

    routes: Map
    commands: click.Group
    targets: frozenset[str]
    metrics: frozenset[str]


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    with pytest.MonkeyPatch.context() as patched:
        folder = tmp_path_factory.mktemp("known")
        patched.setenv("INSTANCE_PATH", str(folder / "instance"))
        app = _app()
    try:
        return Known(app.url_map, app.cli, _targets(), _metrics())
    finally:
        app.extensions["bellhop"].close()


def _app() -> Flask:
    from application import create_app_by_config  # noqa: PLC0415
    from config.config import TestingConfig  # noqa: PLC0415

    return create_app_by_config(TestingConfig())


def _targets() -> frozenset[str]:
    makefile = (PROJECT / "Makefile").read_text()
    [phony] = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    return frozenset(phony.split())


def _metrics() -> frozenset[str]:
    page = (PROJECT / "docs" / "metrics.md").read_text()
    return frozenset(re.findall(r"^\| `(bellhop_\w+)`", page, re.MULTILINE))


def faults(document: Path, text: str, known: Known) -> list[str]:
    """Return a line for all that a document names and that there is not."""
    code = [*spans(text), *(block for _, block in fences(text))]
    found = [
        *(f"leads nowhere: {link}" for link in _dead_links(document, text)),
        *(f"no such file: {name}" for name in _lost_files(text)),
        *(f"no such setting: {name}" for name in _lost_settings(text)),
        *(f"no such route: {name}" for name in _lost_routes(text, known.routes)),
        *(f"no such command: {n}" for each in code for n in _commands(each, known)),
        *(f"no such target: {n}" for each in code for n in _no_targets(each, known)),
        *(f"no such metric: {n}" for each in code for n in _no_metrics(each, known)),
    ]
    return list(dict.fromkeys(found))


def _dead_links(document: Path, text: str) -> Iterator[str]:
    for link in links(text):
        path, _, anchor = link.partition("#")
        if re.match(r"https?:", path):
            continue
        target = document.parent / path if path else document
        words = text if target == document else _words(target)
        if words is None or (anchor and anchor not in slugs(words)):
            yield link


def _words(path: Path) -> str | None:
    if path.is_dir():
        return ""
    return path.read_text(errors="replace") if path.is_file() else None


def _lost_files(text: str) -> Iterator[str]:
    in_blocks = [
        word
        for _, block in fences(text)
        for word in re.findall(r"(?<![\w/.:-])[\w.-]+/[\w./-]*\w", block)
    ]
    for name in [*spans(text), *in_blocks]:
        in_folder = re.fullmatch(rf"(?:{'|'.join(FOLDERS)})/[\w./-]*", name)
        alone = re.fullmatch(rf"[\w-][\w.-]*\.(?:{'|'.join(SUFFIXES)})", name)
        if not (in_folder or alone) or name in FOREIGN_FILES:
            continue
        places = [PROJECT, PROJECT / "docs"]
        if not any((place / name).exists() for place in places):
            yield name


def _lost_settings(text: str) -> Iterator[str]:
    # Constants of Python look the same.
    blocks = [block for language, block in fences(text) if language != "python"]
    code = "\n".join([*spans(text), *blocks])
    for name in re.findall(r"(?<![\w$<{-])[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+_?", code):
        prefix = name.endswith("_") and any(key.startswith(name) for key in SETTINGS)
        foreign = name in FOREIGN_SETTINGS or name.startswith(FOREIGN_PREFIXES)
        if not (name in SETTINGS or name == "FLASK_ENV" or prefix or foreign):
            yield name


def _lost_routes(text: str, routes: Map) -> Iterator[str]:
    for span in spans(text):
        found = re.fullmatch(rf"(?:({'|'.join(METHODS)}) )?(/[^\s`]*)", span)
        if found is None or re.split(r"[/?]", found[2])[1] in FOREIGN_ROOTS:
            continue
        if not _is_served(routes, found[1] or "", found[2]):
            yield span
    for _, block in fences(text):
        for line in block.replace("\\\n", " ").splitlines():
            url = re.search(r"http://127\.0\.0\.1:[58]000(/[^\s'\")]*)", line)
            path = url[1] if url else ""
            if path and not _is_served(routes, _method_of(line), path):
                yield f"{_method_of(line)} {path}"


def _method_of(line: str) -> str:
    """Return the method that a line of curl or httpie asks with, if it says."""
    named = re.search(rf"(?:-X |\bhttp\b.* )({'|'.join(METHODS)}) ", line)
    return named[1] if named else "POST" if " -d " in line else ""


def _is_served(routes: Map, method: str, path: str) -> bool:
    path = path.partition("?")[0]
    # The beginning of several, or what stands before the part that varies.
    start = path.removesuffix("…") if path.endswith("…") else f"{path}/<"
    if any(rule.rule.startswith(start) for rule in routes.iter_rules()):
        return True
    path = re.sub(r"<[^>]*>|\$\{?\w+\}?|\$\([^)]*\)", "1", path)
    adapter = routes.bind("localhost")
    try:
        adapter.match(path, method or "GET")
    except RequestRedirect:
        return False
    except MethodNotAllowed:
        return not method
    except HTTPException:
        return False
    return True


def _commands(code: str, known: Known) -> Iterator[str]:
    """Give each command of the terminal that is named and is none."""
    for words in re.findall(r"flask --app server((?: [a-z-]+)*)", code):
        group: click.Command | None = known.commands
        for word in words.split():
            if not isinstance(group, click.Group):
                break
            group = group.commands.get(word)
            if group is None:
                yield words.strip()


def _no_targets(code: str, known: Known) -> Iterator[str]:
    for name in re.findall(r"^make ([a-z]+)\b", code, re.MULTILINE):
        if name not in known.targets:
            yield name


def _no_metrics(code: str, known: Known) -> Iterator[str]:
    for name in re.findall(r"(?<![\w$/])bellhop_[a-z_]+(?![A-Za-z0-9_])", code):
        family = re.sub(r"_(?:bucket|sum|count)$", "", name)
        if known.metrics.isdisjoint((name, family)):
            yield name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_names_only_what_there_is(document: Path, known: Known) -> None:
    found = faults(document, document.read_text(), known)
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[x](nothing.md)", "leads nowhere: nothing.md"),
        ("[x](README.md#nothing)", "leads nowhere: README.md#nothing"),
        ("# One\n[x](#two)", "leads nowhere: #two"),
        ("see `docs/nothing.md`", "no such file: docs/nothing.md"),
        ("see `nothing.toml`", "no such file: nothing.toml"),
        ("see `app/nothing/`", "no such file: app/nothing/"),
        ("```sh\ncat config/nothing.toml\n```\n", "no such file: config/nothing.toml"),
        ("set `EXEC_NOTHING`", "no such setting: EXEC_NOTHING"),
        ("all of `NOTHING_LIMIT_…`", "no such setting: NOTHING_LIMIT_"),
        ("```sh\nEXEC_X=1 python run.py\n```\n", "no such setting: EXEC_X"),
        ("ask `/v1/nothing/`", "no such route: /v1/nothing/"),
        ("ask `/nothing`", "no such route: /nothing"),
        ("ask `/v9/…`", "no such route: /v9/…"),
        ("ask `/v3/exec`", "no such route: /v3/exec"),
        ("ask `DELETE /v1/uptime/`", "no such route: DELETE /v1/uptime/"),
        (
            "```sh\ncurl http://127.0.0.1:8000/v3/nothing\n```\n",
            "no such route:  /v3/nothing",
        ),
        (
            "```sh\ncurl http://127.0.0.1:8000/v1/uptime/ \\\n    -d '{}'\n```\n",
            "no such route: POST /v1/uptime/",
        ),
        (
            "```sh\nhttp -a a:b PUT http://127.0.0.1:8000/v1/uptime/\n```\n",
            "no such route: PUT /v1/uptime/",
        ),
        ("`flask --app server nothing`", "no such command: nothing"),
        ("`flask --app server sms nothing`", "no such command: sms nothing"),
        ("```sh\nmake nothing\n```\n", "no such target: nothing"),
        ("by `bellhop_nothing_total`", "no such metric: bellhop_nothing_total"),
    ],
)
def test_a_name_of_nothing_is_shown(text: str, expected: str, known: Known) -> None:
    assert faults(PROJECT / "faulty.md", text, known) == [expected]


def test_what_there_is_is_let_through(known: Known) -> None:
    text = """# One, `two`
        [a](docs/api.md#output) [b](#one-two) [c](https://example.org/x) [d](docs)
        `app/api/` `run.py` `SMS_LIMIT_…` `EXEC_TIMEOUT_SECONDS + 5` `/v2/…` `/bin/sh`
        `GET /v3/users/<name>/tokens` `/v1/iostat/?count=2` `flask --app server sms`
        `flask --app server user add NAME` `make test`
        """
    assert faults(PROJECT / "sound.md", text, known) == []


def test_no_exception_is_made_for_what_nobody_names(code: str) -> None:
    roots = {root for root in FOREIGN_ROOTS if f"/{root}" not in code}
    names = FOREIGN_SETTINGS | set(FOREIGN_PREFIXES) | FOREIGN_FILES
    assert roots | {name for name in names if name not in code} == set()


@pytest.fixture(scope="module")
def code() -> str:
    """Return all that stands in backticks and blocks, in any document."""
    texts = [document.read_text() for document in DOCUMENTS]
    found = [span for text in texts for span in spans(text)]
    return "\n".join([*found, *(b for text in texts for _, b in fences(text))])


def test_every_command_of_the_terminal_is_named(known: Known, code: str) -> None:
    unnamed = [
        name
        for name in _leaves(known.commands)
        if not re.search(rf"\b{re.escape(name)}\b", code)
    ]
    assert not unnamed


def _leaves(group: click.Group, before: str = "") -> Iterator[str]:
    """Give our commands, in full: those that Flask brings are not ours."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _leaves(command, f"{before}{name} ")
        elif name not in ("run", "shell", "routes"):
            yield f"{before}{name}" if before else f"flask --app server {name}"


def test_every_target_of_make_is_named(known: Known, code: str) -> None:
    assert [name for name in known.targets if f"make {name}" not in code] == []


def test_every_option_of_the_development_server_is_named(code: str) -> None:
    lines = "\n".join(line for line in code.splitlines() if "run.py" in line)
    options = [option.opts for option in run.main.params]
    assert len(options) >= 5
    for names in options:
        assert any(re.search(rf" {name}\b", lines) for name in names), names


def test_every_document_is_reached_from_the_readme() -> None:
    readme = PROJECT / "README.md"
    reached = {(readme.parent / link).resolve() for link in links(readme.read_text())}
    documents = [path for path in (PROJECT / "docs").iterdir() if path.is_file()]
    assert [path.name for path in documents if path not in reached] == []


def test_anchors_are_those_of_github() -> None:
    text = "# A, `b`: c-d\n## 中文 标题\n## Two\n## Two\n## [L](x.md) m\n"
    text += "```sh\n# no\n```\n"
    assert slugs(text) == {"a-b-c-d", "中文-标题", "two", "two-1", "l-m"}
