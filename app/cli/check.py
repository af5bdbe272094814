"""`flask --app server check`: looks at a configuration before it goes live."""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
from flask import Flask, current_app

from app.api.access import Access, Who
from app.finding import Finding, Level
from app.services import Services
from app.services.inspection import inspect

from .door import Served, printable

# What a part of a path has to be, in front of its name.
_CONVERTER = re.compile(r"<\w+(?:\(.*?\))?:")


def register(app: Flask, served: Served) -> None:
    """Give `app` the command."""
    app.cli.command("check")(served(_check))


def _check(services: Services) -> None:
    """Say what is wrong with the settings and the host, and what to do about it.

    The exit code is 1 where there is a fault. Nothing is started, sent or migrated.
    """
    routes = list(_open_routes(current_app))
    findings = list(inspect(services, current_app.config, open_routes=routes))
    for finding in findings:
        click.echo(_line(finding))
    click.echo(_summary(findings))
    if any(finding.is_fault for finding in findings):
        sys.exit(1)


def _open_routes(app: Flask) -> Iterator[str]:
    policy: dict[str, Access] = app.extensions["bellhop.policy"]
    for rule in app.url_map.iter_rules():
        if _is_open(policy[rule.endpoint], app.config):
            yield _CONVERTER.sub("<", rule.rule)


def _is_open(access: Access, settings: Mapping[str, Any]) -> bool:
    """Return whether a route lets anybody in, as the guard has it."""
    closed = {
        Who.ANYBODY: False,
        Who.SIGNER: settings["EXEC_TOKEN_REQUIRED"],
        Who.ACCOUNT_IN_PRODUCTION: not settings["OPEN_TO_ALL"],
        Who.ACCOUNT: True,
        Who.SESSION: True,
        Who.SCRAPER: settings["METRICS_TOKEN"],
    }
    return not closed[access.who]


def _line(finding: Finding) -> str:
    remedy = f" -> {finding.remedy}" if finding.remedy else ""
    return printable(f"{finding.level:5} {finding.about}: {finding.words}{remedy}")


def _summary(findings: Sequence[Finding]) -> str:
    faults = sum(finding.level is Level.FAULT for finding in findings)
    notes = sum(finding.level is Level.NOTE for finding in findings)
    return f"{_counted(faults, 'fault')}, {_counted(notes, 'note')}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
