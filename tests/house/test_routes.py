"""The URL map and the documents name the same routes, methods and problems."""

import re
from collections.abc import Callable

from flask import Flask

from tests.servers import PROJECT

API = (PROJECT / "docs" / "api.md").read_text()
PLAIN_METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}


def test_every_route_is_documented_with_its_methods_and_none_other(
    make_app: Callable[..., Flask],
) -> None:
    converter = r"<\w+(?:\(.*?\))?:(\w+)>"
    routes = {
        re.sub(converter, r"<\1>", rule.rule): rule.methods & PLAIN_METHODS
        for rule in make_app().url_map.iter_rules()
    }
    documented = {}
    table = API.partition("## Routes")[2].partition("\n## ")[0]
    row = r"^\| (`/.*?) \| ([A-Z, ]+) \|"
    for names, methods in re.findall(row, table, re.MULTILINE):
        for name in re.findall(r"`([^`]+)`", names):
            documented[name] = set(methods.split(", "))
    assert documented == routes


def test_every_event_of_the_log_is_documented_and_none_other() -> None:
    logged = set()
    for path in [*PROJECT.glob("*.py"), *(PROJECT / "app").rglob("*.py")]:
        logged |= set(_events(path.read_text()))
    logged |= set(_events((PROJECT / "config" / "logger.py").read_text()))
    operations = (PROJECT / "docs" / "operations.md").read_text()
    table = operations.partition("| `event` | when |")[2]
    documented = set(re.findall(r"`([a-z_]+\.[a-z_]+)`", table))
    assert documented == logged


def _events(source: str) -> list[str]:
    call = r"\.(?:debug|info|warning|error|exception|_report)"
    return re.findall(call + r"\(\s*\"([a-z_]+\.[a-z_]+)\"", source)
