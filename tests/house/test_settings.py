"""Every setting is in the example file and in the docs, as the code has it."""

import inspect
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from config.config import (
    BaseConfig,
    config_map,
    read_config,
    read_env_file,
)
from config.settings import Setting, quotas
from config.sms import SmsSettings
from tests.servers import PROJECT

EXAMPLE = PROJECT / ".env.example"
DOCS = PROJECT / "docs" / "settings.md"

SETTINGS: dict[str, Setting[Any]] = {
    name: value
    for name, value in {**vars(BaseConfig), **vars(SmsSettings)}.items()
    if isinstance(value, Setting)
}
UNITS = {"": "", "B": ", in bytes", "s": ", in seconds"}

#: Types by their casts, as the docs name them.
_NAMED = {
    "boolean": "boolean",
    "names": "names",
    "pairs": "pairs",
    "quotas": "limits",
    "url_prefixes": "prefixes of URLs",
}

#: What the code works out, and what the docs say of it.
WORKED_OUT = {
    "INSTANCE_PATH": "instance",
    "BELLHOP_HOST": "",
    "EXEC_COMMANDS": "config/commands.toml",
    "SMS_TEMPLATES": "config/sms_templates.toml",
}

ENVIRONMENT = {
    "doc": "which of the environments this is",
    "type": f"one of {', '.join(config_map)}",
    "default": "production",
}


@pytest.fixture
def environment() -> Iterator[None]:
    """Begin without settings, and put all back."""
    saved = dict(os.environ)
    for name in (*SETTINGS, "FLASK_ENV"):
        os.environ.pop(name, None)
    yield
    os.environ.clear()
    os.environ.update(saved)


def as_set(name: str, value: Any) -> str:
    """Return a setting's value as one would set it."""
    if SETTINGS[name].cast is quotas:
        return ",".join(f"{count}/{s:.0f}" for count, s in value) or "off"
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, bool):
        return "1" if value else "0"
    if not value and not isinstance(value, int):
        return ""
    return f"{value:.0f}" if isinstance(value, float) else str(value)


def default(name: str) -> str:
    return WORKED_OUT.get(name, as_set(name, SETTINGS[name].default))


def other_defaults(name: str) -> str:
    """Return what environments have instead, in words; nothing where it is the same."""
    found = {env: getattr(cls, name).default for env, cls in config_map.items()}
    return "".join(
        f"; {env}: {as_set(name, value) or 'unset'}"
        for env, value in found.items()
        if value != SETTINGS[name].default
    )


def kind(setting: Setting[Any]) -> str:
    """Return a setting's type in words."""
    cast = setting.cast.__qualname__.partition(".")[0]
    bounds = inspect.getclosurevars(setting.cast).nonlocals
    match cast:
        case "integer":
            return f"integer from {bounds['minimum']} to {bounds['maximum']}"
        case "seconds":
            return f"number from {bounds['minimum']:g} to {bounds['maximum']:.0f}"
        case "choice":
            return f"one of {', '.join(bounds['words'])}"
        case "url":
            return f"URL of {' or '.join(bounds['schemes'])}"
    return _NAMED.get(cast, "text")


def example_lines() -> dict[str, tuple[str, str]]:
    """Return the example's settings: name to (value, the comment before it)."""
    found, comment = {}, ""
    for line in EXAMPLE.read_text(encoding="utf-8").splitlines():
        if setting := re.fullmatch(r"# ([A-Z][A-Z0-9_]*)=(.*)", line):
            assert setting[1] not in found, f"{setting[1]} stands there twice"
            found[setting[1]] = setting[2], comment
        comment = line
    return found


def docs_rows() -> dict[str, list[str]]:
    """Return the cells of the docs' table by name: type, default, unit, what for."""
    found = {}
    for line in DOCS.read_text(encoding="utf-8").splitlines():
        if row := re.fullmatch(r"\| `([A-Z][A-Z0-9_]*)` \| (.*) \|", line):
            assert row[1] not in found, f"{row[1]} stands there twice"
            found[row[1]] = [cell.strip() for cell in row[2].split(" | ")]
    return found


def test_there_are_settings() -> None:
    assert len(SETTINGS) > 20


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_is_in_the_example_with_default_unit_and_reason(name: str) -> None:
    setting = SETTINGS[name]
    value, comment = example_lines()[name]
    assert value == default(name)
    expected = f"# {setting.doc}{UNITS[setting.unit]}{other_defaults(name)}"
    assert comment == expected


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_is_in_the_docs_with_type_default_unit_and_reason(name: str) -> None:
    setting = SETTINGS[name]
    shown = f"`{default(name)}`" if default(name) else "unset"
    shown += re.sub(r": (?!unset)([^;]+)", r": `\1`", other_defaults(name))
    assert docs_rows()[name] == [kind(setting), shown, setting.unit, setting.doc]


def test_the_environment_itself_is_in_both() -> None:
    value, comment = example_lines()["FLASK_ENV"]
    assert value == ENVIRONMENT["default"]
    assert comment.startswith(f"# {ENVIRONMENT['doc']}")
    kind_of, shown, unit, doc = docs_rows()["FLASK_ENV"]
    assert (kind_of, unit) == (ENVIRONMENT["type"], "")
    assert shown == "`production`; `run.py`: `development`"
    assert doc == ENVIRONMENT["doc"]
    for name in config_map:
        assert name in comment


def test_neither_names_a_setting_that_there_is_not() -> None:
    known = {*SETTINGS, "FLASK_ENV"}
    assert set(example_lines()) == known
    assert set(docs_rows()) == known
    text = DOCS.read_text(encoding="utf-8") + EXAMPLE.read_text(encoding="utf-8")
    assert set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", text)) <= known


def test_the_example_as_it_is_sets_nothing(environment: None) -> None:
    before = dict(os.environ)
    read_env_file(EXAMPLE)
    assert dict(os.environ) == before


@pytest.mark.parametrize("env", config_map)
def test_the_example_without_its_comment_signs_sets_the_defaults(
    env: str, environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = vars(read_config(env))
    lines = [
        f"{name}={value}"
        for name, (value, comment) in example_lines().items()
        if f"; {env}: " not in comment
    ]
    (tmp_path / "settings.env").write_text("\n".join(lines))
    monkeypatch.chdir(PROJECT)

    read_env_file(tmp_path / "settings.env")

    assert vars(read_config(env)) == expected
    assert os.environ["FLASK_ENV"] == "production"


@pytest.mark.parametrize("name", SETTINGS)
def test_a_settings_unit_is_in_its_name_or_told_with_it(name: str) -> None:
    setting = SETTINGS[name]
    if name.endswith("_SECONDS"):
        assert setting.unit == "s"
    if name.endswith("_BYTES"):
        assert setting.unit == "B"
    assert setting.unit in UNITS
    assert setting.doc
    assert "|" not in setting.doc


def test_a_setting_is_named_once_in_the_class_that_lists_them() -> None:
    for config in config_map.values():
        own = {n for n in dir(config) if isinstance(getattr(config, n), Setting)}
        assert own == set(SETTINGS), "no environment has settings of its own"
