"""Who may import whom: the plan of the house, held to line by line.

Doors know services and rooms; a room knows its own third party, `app.errors` and
few other rooms; below the doors nobody has heard of Flask.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers import PROJECT

STREET = ("application.py", "run.py", "server.py", "gunicorn.conf.py")
DOORS = ("app", "app.api", "app.web", "app.cli", "app.worker")
HALL = "app.services"
#: What every room stands on, and what that may import beside what Python brings.
GROUND = {
    "app.errors": (),
    "app.finding": (),
    "app.moment": (),
    "app.schema": ("jsonschema", "app.errors"),
    "app.template": (),
    "app.turn": (),
    "app.watched_file": ("app.errors", "app.schema"),
}

#: Which other rooms a room may know; what is not named here may know none.
ROOMS_KNOWN = {
    "app.tasks": ("app.processes", "app.storage"),
    "app.auth": ("app.storage",),
    "app.sms": ("app.storage",),
}

#: Third parties that live in few places only.
PLACES = {
    "sqlalchemy": ("app/storage/", "migrations/"),
    "alembic": ("app/storage/", "migrations/"),
    "psycopg": ("app/storage/",),
    "prometheus_client": ("app/metrics/",),
    "celery": ("app/tasks/celery_backend.py", "app/worker.py"),
    "redis": ("app/tasks/streams/connection.py",),
    "envparse": ("config/",),
    "dotenv": ("config/",),
}
HTTP = ("flask", "flask_restful", "werkzeug")
HTTP_ALLOWED = {("app/sms/registry.py", "werkzeug.utils.import_string")}
ENVIRONMENT = {
    f"os.{name}"
    for name in ("environ", "environb", "getenv", "getenvb", "putenv", "unsetenv")
}
#: The room whose files name each other in full.
IN_FULL = "app.api"
NOT_OURS_TO_IMPORT = ("tests", "bench", "application", "run", "server")


@dataclass(frozen=True)
class Import:
    """One name that a line imports, in full; `level` counts leading dots."""

    line: int
    name: str
    level: int = 0


def offences(path: str, source: str) -> list[str]:
    """Return a line for everything in a file that the plan forbids."""
    tree = ast.parse(source)
    found = [
        (each.line, why) for each in imports(path, tree) for why in wrongs(path, each)
    ]
    if not path.startswith("config/"):
        reads = "only config/ reads the environment"
        found += [(line, reads) for line in environment_reads(tree)]
    lines = source.splitlines()
    return [f"{path}:{n}: {lines[n - 1].strip()}  <- {why}" for n, why in sorted(found)]


def imports(path: str, tree: ast.AST) -> Iterator[Import]:
    """Return every import of a file, in functions too, by full names."""
    package = path.removesuffix(".py").removesuffix("/__init__").split("/")
    if not path.endswith("/__init__.py"):
        package.pop()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield Import(node.lineno, f"{start}.{alias.name}", node.level)


def environment_reads(tree: ast.AST) -> Iterator[int]:
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names = [f"{node.value.id}.{node.attr}"]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        if not ENVIRONMENT.isdisjoint(names):
            yield node.lineno


def wrongs(path: str, given: Import) -> Iterator[str]:
    """Return what is wrong with one import."""
    top = given.name.split(".")[0]
    here, there = part_of_file(path), part_of_name(given.name)
    places = PLACES.get(top, ())
    if places and not path.startswith(places):
        yield f"{top} is known in {', '.join(places)} only"
    below = here.startswith("app") and here not in DOORS
    if below:
        yield from wrongs_below(path, given)
    if path not in STREET and top in NOT_OURS_TO_IMPORT:
        yield f"nothing imports {top}"
    if top == "app":
        if not may_know(here, there):
            yield f"{here} may not know {there}"
        if here != there and any(
            part.startswith("_") for part in given.name.split(".")
        ):
            yield f"what begins with _ belongs to {there} alone"
        if given.level > 1 and here != there:
            yield "imports across rooms are absolute"
        if not given.level and here != IN_FULL and is_beside(path, given.name):
            yield "imports of what lies beside, or below, are relative"
    if here in GROUND and not {top, there} & {*sys.stdlib_module_names, *GROUND[here]}:
        yield "the ground imports nothing but what Python brings"


def is_beside(path: str, name: str) -> bool:
    """Return whether a name lies in a file's folder of a room, or below that."""
    folder = path.rpartition("/")[0].replace("/", ".")
    return folder.count(".") > 0 and name.startswith(f"{folder}.")


def wrongs_below(path: str, given: Import) -> Iterator[str]:
    """Return what is wrong with an import below the line."""
    top = given.name.split(".")[0]
    if top in HTTP and (path, given.name) not in HTTP_ALLOWED:
        yield f"{part_of_file(path)} is below the line: nobody there has heard of {top}"
    if top == "config":
        yield "what is below the line is handed its settings"


def may_know(here: str, there: str) -> bool:
    if here == there:
        return True
    if here in ("street", *DOORS):
        return there != "app.storage" or here == "street"
    if here == HALL:
        return there not in DOORS
    if here == "migrations":
        return there == "app.storage"
    if here in GROUND:
        return there in GROUND[here]
    known = (*GROUND, *ROOMS_KNOWN.get(here, ()))
    return here != "config" and there in known


def part_of_file(path: str) -> str:
    if path in STREET:
        return "street"
    name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return part_of_name(name) if name.startswith("app") else name.split(".")[0]


def part_of_name(name: str) -> str:
    """Return the part of the house that a name is in: two words, or app alone."""
    words = name.split(".")
    if words[0] != "app":
        return words[0]
    known = Path(PROJECT, *words[:2])
    is_module = known.is_dir() or known.with_suffix(".py").is_file()
    in_plan = ".".join(words[:2]) in (*DOORS, *ROOMS_KNOWN, HALL, *GROUND)
    return ".".join(words[:2]) if is_module or in_plan else "app"


def files() -> list[str]:
    found = [*STREET]
    for folder in ("app", "config", "migrations"):
        paths = (PROJECT / folder).rglob("*.py")
        found += sorted(str(path.relative_to(PROJECT)) for path in paths)
    return found


@pytest.mark.parametrize("path", files())
def test_a_file_imports_only_what_it_may(path: str) -> None:
    wrong = offences(path, (PROJECT / path).read_text(encoding="utf-8"))
    assert not wrong, "\n" + "\n".join(wrong)


def test_all_of_the_house_is_looked_at() -> None:
    looked_at = set(files())
    assert {
        "app/services/building.py",
        "app/api/errors.py",
        "config/config.py",
    } <= looked_at
    assert "app/storage/engine.py" in looked_at
    assert "migrations/versions/0001_tasks.py" in looked_at


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("app/services.py", "import flask"),
        ("app/services.py", "from app.api.routes import ROUTES"),
        ("app/services.py", "from app import api"),
        ("app/services.py", "from config.config import BaseConfig"),
        ("app/tasks/runs.py", "from flask import g"),
        ("app/tasks/runs.py", "def f():\n    from werkzeug.exceptions import NotFound"),
        ("app/tasks/runs.py", "import flask_restful.reqparse"),
        ("app/tasks/runs.py", "import sqlalchemy as sa"),
        ("app/tasks/runs.py", "from app.host.procfs import Procfs"),
        ("app/tasks/runs.py", "from app.services import Services"),
        ("app/tasks/runs.py", "from app import services"),
        ("app/tasks/runs.py", "from app.api.guard import caller_of"),
        ("app/tasks/runs.py", "from ..storage.task_store import TaskStore"),
        ("app/tasks/runs.py", "from ..host import procfs"),
        ("app/tasks/runs.py", "from app.tasks.states import State"),
        ("app/web/tasks.py", "from app.web import fields"),
        ("app/services/building.py", "import app.services.inspection"),
        ("app/tasks/runs.py", "from app.storage.engine import _engine"),
        ("app/tasks/runs.py", "from celery import Celery"),
        ("app/tasks/runs.py", "import redis"),
        ("app/tasks/streams/reader.py", "from redis import Redis"),
        ("app/processes/child.py", "from app.tasks.states import State"),
        ("app/processes/child.py", "import os\nos.environ['PATH']"),
        ("app/processes/child.py", "import os\nos.getenv('PATH')"),
        ("app/processes/child.py", "from os import environ"),
        ("app/host/uptime.py", "from app.processes.table import boot_id"),
        ("app/storage/engine.py", "from app.tasks.record import TaskRecord"),
        ("app/storage/engine.py", "from flask import current_app"),
        ("app/sms/registry.py", "from werkzeug.local import LocalProxy"),
        ("app/sms/gateway.py", "from werkzeug.utils import import_string"),
        ("app/sms/gateway.py", "from app.tasks.states import State"),
        ("app/auth/tokens.py", "from app.sms.gateway import SmsGateway"),
        ("app/webhooks/sender.py", "from app.tasks.record import TaskRecord"),
        ("app/webhooks/sender.py", "from app.storage.task_store import TaskStore"),
        ("app/tasks/notice.py", "from app.webhooks.signature import read_secret"),
        ("app/errors.py", "from app.tasks.states import State"),
        ("app/errors.py", "from werkzeug.exceptions import NotFound"),
        ("app/errors.py", "import jsonschema"),
        ("app/errors.py", "from app.schema import Schema"),
        ("app/schema.py", "from app.tasks.states import State"),
        ("app/schema.py", "from flask import request"),
        ("app/schema.py", "from app.template import Template"),
        ("app/template.py", "from app.schema import Schema"),
        ("app/watched_file.py", "from app.tasks.entry import Entry"),
        ("app/errors.py", "from config.settings import SettingsError"),
        ("app/api/errors.py", "import sqlalchemy"),
        ("app/api/errors.py", "from app.storage.engine import Database"),
        ("app/api/errors.py", "from app.tasks.runs import _private"),
        ("app/api/errors.py", "from prometheus_client import Counter"),
        ("app/metrics/figures.py", "from app.tasks.states import State"),
        ("config/metrics.py", "import prometheus_client"),
        ("app/api/errors.py", "from celery.result import AsyncResult"),
        ("app/api/errors.py", "import os\nprint(os.environ.get('PORT'))"),
        ("app/api/errors.py", "from tests.servers import wait_until"),
        ("app/a_new_room/thing.py", "from app.storage.engine import Database"),
        ("config/logger.py", "from app.errors import BellhopError"),
        ("config/logger.py", "from alembic import command"),
        ("run.py", "import os\nos.environ.setdefault('PORT', '1')"),
        ("run.py", "from dotenv import load_dotenv"),
        ("run.py", "import sqlalchemy"),
        ("migrations/env.py", "from app.services import Services"),
    ],
)
def test_a_line_that_the_plan_forbids_is_shown(path: str, line: str) -> None:
    shown = offences(path, f"import sys\n{line}\n")
    assert shown, "it was let through"
    number = 1 + len(line.splitlines())
    assert shown[0].startswith(f"{path}:{number}: {line.splitlines()[-1].strip()}  <- ")


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("app/__init__.py", "from app.services import Services"),
        ("app/api/errors.py", "from flask import Flask"),
        ("app/api/errors.py", "from app.tasks.runs import Poll"),
        ("app/services.py", "from app.storage.engine import Database"),
        ("app/services.py", "from app.errors import BellhopError"),
        ("app/tasks/runs.py", "from app.storage.task_store import TaskStore"),
        ("app/tasks/runs.py", "from app.processes.command import Command"),
        ("app/tasks/runs.py", "from .states import State"),
        ("app/tasks/runs.py", "from .states import _private"),
        ("app/tasks/celery_backend.py", "from celery import Celery"),
        ("app/tasks/streams/connection.py", "from redis import Redis"),
        ("app/worker.py", "from celery import Celery"),
        ("app/auth/tokens.py", "from app.storage.engine import Database"),
        ("app/sms/providers/vendor.py", "from ..message import Message"),
        ("app/sms/providers/vendor.py", "from app.sms.message import Message"),
        ("app/api/guard.py", "from app.api.access import Access"),
        ("app/watched_file.py", "from app.errors import Fault"),
        ("app/sms/registry.py", "from werkzeug.utils import import_string"),
        ("app/sms/providers/vendor.py", "from apprise import Apprise"),
        ("app/storage/engine.py", "from alembic import command"),
        ("app/processes/child.py", "import os\nos.environment = 1"),
        ("app/errors.py", "from dataclasses import dataclass"),
        ("app/schema.py", "from jsonschema import Draft202012Validator"),
        ("app/schema.py", "from app.errors import Fault"),
        ("app/watched_file.py", "from app.schema import Schema"),
        ("app/tasks/entry.py", "from app.schema import Schema"),
        ("app/sms/templates.py", "from app.watched_file import WatchedFile"),
        ("config/config.py", "import os\nos.environ['PORT']"),
        ("migrations/env.py", "from app.storage.tables import metadata"),
    ],
)
def test_a_line_that_the_plan_allows_is_let_through(path: str, line: str) -> None:
    assert offences(path, f"{line}\n") == []
