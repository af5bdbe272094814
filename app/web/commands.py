"""Commands: what may be run, and the form that runs one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import Response, current_app, request

from app.api.resource import services
from app.errors import TaskNotFound
from app.moment import moment
from app.tasks.record import TaskRecord

from . import fields
from .duration import lasting
from .frame import render
from .session import me
from .words import t

# Of so many commands all are seen at a glance: there is nothing to look for.
_AT_A_GLANCE = 8

_RUNS_SHOWN = 5


@dataclass(frozen=True)
class Before:
    """The run that a form is filled in as; no `task`: it is not kept any more.

    `given` are the parameters that it had, None where these were not kept.
    """

    task: TaskRecord | None
    given: Mapping[str, Any] | None = None


def show_all() -> Response:
    """Show what the reader may run, with what came of each lately."""
    caller, lookup = me(), services().lookup
    catalogue, viewer = services().catalogue, services().viewer(caller)
    entries = catalogue.entries(caller.username, every=caller.is_admin)
    before = _before()
    return render(
        "commands.html",
        script="commands",
        styles=("commands",),
        title=t("Commands"),
        entries=entries,
        newest=lookup.newest_of_commands(viewer),
        running=lookup.running_of_commands(viewer),
        is_long=len(entries) > _AT_A_GLANCE,
        before=before,
        shell=_shell_fields(before),
        at=moment,
        lasting=lasting,
    )


def show(name: str) -> Response:
    """Show the form of a command, filled in as a run was where one is named."""
    caller = me()
    entry = services().catalogue.get(name, caller.username, every=caller.is_admin)
    viewer, of_command = services().viewer(caller), {"command": name}
    runs = services().lookup.page(viewer, of_command, before=None, limit=_RUNS_SHOWN)
    before = _before()
    given = (before and before.given) or {}
    return render(
        "command.html",
        script="command",
        styles=("commands",),
        title=name,
        entry=entry,
        may_run=entry.is_for(caller.username),
        params=fields.of_command(entry, given),
        options=fields.of_options(entry, detached=_detached(before)),
        before=before,
        not_taken=sorted(given.keys() - entry.parameters.keys()),
        runs=[task for _, task in runs],
        at=moment,
        lasting=lasting,
        given=fields.given,
    )


def _shell_fields(before: Before | None) -> list[fields.Field]:
    """Return the fields for what a shell is to run; none where it may not."""
    if not services().catalogue.allows_shell:
        return []
    cmd = before.task.cmd if before and before.task else None
    timeout_seconds = current_app.config["EXEC_TIMEOUT_SECONDS"]
    return fields.of_shell(cmd or "", timeout_seconds, detached=_detached(before))


def _detached(before: Before | None) -> bool | None:
    """Return whether the form has a run outlive the service; None: others say that."""
    if not me().is_admin:
        return None
    return bool(before and before.task and before.task.detached)


def _before() -> Before | None:
    """Return the run that is to be run again, None where none is named."""
    task_id = request.args.get("again")
    if not task_id:
        return None
    try:
        task = services().lookup.get(task_id, services().viewer(me()))
    except TaskNotFound:
        return Before(None)
    return Before(task, None if task.params is None else json.loads(task.params))
