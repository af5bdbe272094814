"""One run: what it is, and what it has written, as it comes."""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

from flask import Response, request, stream_with_context, url_for

from app.api.rendering import TEXT
from app.api.resource import services
from app.api.task_view import outline
from app.api.task_view import show as show_task
from app.errors import CommandNotFound
from app.moment import moment
from app.tasks.output import STDERR, STDOUT, STREAMS
from app.tasks.record import TaskRecord
from app.tasks.spread import KIND as FAN_OUT

from .frame import render
from .session import me
from .words import t

# Of a longer output the page begins so far before its end; the download has all.
FIRST_BYTES = 8 * 1024 * 1024

# Of a run on several hosts the tasks that are listed; the list of tasks has all.
PARTS = 200

# Read of an output at once, to be sent on.
_PIECE_BYTES = 256 * 1024

_NOT_IN_FILE_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


def show(task_id: str) -> Response:
    """Show a task; what changes and what it writes, the page's module fetches."""
    task = _task(task_id)
    facts = outline(task)
    is_command = task.kind in ("exec", FAN_OUT)
    return render(
        "run.html",
        script="run",
        styles=("run",),
        title=_name(task),
        task=facts,
        params=_params(facts),
        streams=[] if task.kind == "sms" else [STDOUT, STDERR][: 1 + _is_apart(task)],
        result=None if is_command else show_task(task).get("result"),
        parts=_parts(task),
        again=_again(task),
        live={
            "task": facts,
            "now": moment(time.time()),
            "first_bytes": FIRST_BYTES,
            "reasons": _reasons(),
        },
    )


def download(task_id: str) -> Response:
    """Give the very bytes of an output that are kept, as a file."""
    task = _task(task_id)
    asked = request.args.get("stream")
    stream = asked if asked in STREAMS else STDOUT
    kind = "txt" if stream == STDOUT else f"{stream}.txt"
    name = _NOT_IN_FILE_NAMES.sub("-", task.command or task.kind)
    headers = {
        "Content-Disposition": f'attachment; filename="{name}-{task_id[:8]}.{kind}"',
        "X-Content-Type-Options": "nosniff",
    }
    body = stream_with_context(_pieces(task, stream))
    return Response(body, headers=headers, mimetype=TEXT)


def _task(task_id: str) -> TaskRecord:
    return services().lookup.get(task_id, services().viewer(me()))


def _pieces(task: TaskRecord, stream: str) -> Iterator[bytes]:
    """Give what has been written by now, but for what is not kept."""
    end = services().lookup.output_facts(task, stream)["end_offset"]
    offset = 0
    while offset < end:
        part = services().lookup.read(
            task,
            stream=stream,
            offset=offset,
            limit=min(_PIECE_BYTES, end - offset),
            whole_characters=False,
        )
        if part.next_offset == offset:
            return
        offset = part.next_offset
        yield part.data


def _parts(task: TaskRecord) -> list[TaskRecord]:
    """Return the tasks of a run on several hosts, the first ones first."""
    if task.fan_out is None:
        return []
    viewer, of_parent = services().viewer(me()), {"parent": task.task_id}
    found = services().lookup.page(viewer, of_parent, before=None, limit=PARTS)
    return [part for _, part in reversed(found)]


def _name(task: TaskRecord) -> str:
    names = {
        FAN_OUT: t("Command on several hosts"),
        "iostat": t("Report of iostat"),
        "sms": t("Text message"),
    }
    return task.command or names.get(task.kind) or t("Shell command")


def _params(facts: dict[str, Any]) -> dict[str, str]:
    """Return what a command was given, each as it is written in JSON but for texts."""
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in (facts.get("params") or {}).items()
    }


def _is_apart(task: TaskRecord) -> bool:
    """Return whether standard error has an output of its own."""
    return task.stderr_end_offset is not None


def _again(task: TaskRecord) -> str | None:
    """Return the path of the form that runs it again; None: the reader has none."""
    reader, catalogue = me(), services().catalogue
    if task.fan_out is not None:  # the form is for one host
        return None
    if task.command is not None:
        try:
            catalogue.get(task.command, reader.username, every=reader.is_admin)
        except CommandNotFound:
            return None
        return url_for("ui.command", name=task.command, again=task.task_id)
    if task.cmd is not None and catalogue.allows_shell:
        return url_for("ui.commands", again=task.task_id)
    return None


def _reasons() -> dict[str, str]:
    """Return in words how a task has ended, where its exit code does not say it."""
    return {
        "limit": t("It reached a limit of its own"),
        "overflow": t("It wrote more than is kept"),
        "timeout": t("It ran for longer than it may"),
        "cancelled": t("It was cancelled"),
        "shutdown": t("The service was shut down and ended it"),
        "spawn_failed": t("It could not be started"),
        "status_unknown": t("How it ended is not known"),
        "internal_error": t("A fault of the service; its log has it"),
        "worker_lost": t("The process that ran it is gone"),
        "children": t("It has not succeeded on all hosts"),
        "max_errors": t("It has failed on too many hosts to go on"),
        "host_away": t("Its host gave no sign of life"),
        "draining": t("Its host took no new runs"),
        "capacity": t("As many waited on its host as may"),
        "refused": t("It was not taken on"),
    }
