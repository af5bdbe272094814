"""A task as it is shown."""

import json
from collections.abc import Mapping
from typing import Any

from flask import request, url_for

from app.api.resource import services
from app.errors import MessageNotFound, StorageUnavailable
from app.moment import moment
from app.tasks.notice import read_notices, shown_url
from app.tasks.output import STDERR
from app.tasks.record import TaskRecord


def show(task: TaskRecord) -> dict[str, Any]:
    """Return a task with what came of it: what is not known yet is left out."""
    result = _result(task)
    return outline(task) | ({} if result is None else {"result": result})


def outline(task: TaskRecord) -> dict[str, Any]:
    """Return a task as lists have it, without what came of it."""
    known = {
        "command": task.command,
        "params": None if task.params is None else json.loads(task.params),
        "cmd": task.cmd,
        "started": moment(task.started),
        "finished": moment(task.finished),
        "progress": _progress(task),
        "reason": task.reason,
        "detail": task.detail,
        "returncode": task.returncode,
        "signal": task.signal,
        "leftovers": task.leftovers,
        "usage": _usage(task),
        "stderr": _stderr(task),
        "detached": task.detached or None,
        **_notices(task),
        "position": services().lookup.position(task),
    }
    return {
        "task_id": task.task_id,
        "kind": task.kind,
        "state": task.state,
        "owner": task.owner,
        "host": task.host,
        "request_id": task.request_id,
        "created": moment(task.created),
        **{name: value for name, value in known.items() if value is not None},
        "output": services().lookup.output_facts(task),
        "links": _links(task),
    }


def href_of(task_id: str) -> str:
    """Return the path of a task, in the version of the route that is asked."""
    version = (request.endpoint or "").partition(".")[0]
    return url_for("v2.task" if version == "v2" else "v3.task", task_id=task_id)


def _progress(task: TaskRecord) -> dict[str, int | None] | None:
    if task.progress_total is None:
        return None
    return {"done": task.progress_done, "total": task.progress_total}


def _usage(task: TaskRecord) -> dict[str, float | int | None] | None:
    if task.cpu_seconds is None:
        return None
    return {"cpu_seconds": task.cpu_seconds, "max_rss_bytes": task.max_rss_bytes}


def _stderr(task: TaskRecord) -> dict[str, int] | None:
    """Return how much is in the output of its own that stderr has, if it has one."""
    if task.stderr_end_offset is None:
        return None
    return services().lookup.output_facts(task, STDERR)


def _result(task: TaskRecord) -> Any:
    """Return what came of a finished task, or why nothing did; None: not known now."""
    if task.finished is None:
        return None
    if task.result is not None:
        result = json.loads(task.result)
        return _message(result["id"]) if task.kind == "sms" else result
    if task.kind == "exec" and task.started is not None and task.state != "LOST":
        try:
            text = services().lookup.newest_text(task)
        except StorageUnavailable:  # it was run all the same, which has to be told
            return None
        return {"returncode": task.returncode, "output": text}
    return task.detail or f"the task ended as {task.state}: {task.reason}"


def _message(message_id: str) -> dict[str, Any]:
    """Return what became of a message; it may be forgotten before its task."""
    try:
        return services().outbox.get(message_id).facts()
    except MessageNotFound:
        return {"id": message_id}


def _notices(task: TaskRecord) -> dict[str, Any]:
    """Return who is told of the end; where there are several, all of them as well."""
    shown = [_notice(each) for each in read_notices(task.notify)]
    return {
        "notify": shown[0] if shown else None,
        "notifies": shown if len(shown) > 1 else None,
    }


def _notice(notice: Mapping[str, Any]) -> dict[str, Any]:
    """Return a notice; to whom its message goes is in the message alone."""
    shown = {name: notice.get(name) for name in ("on", "by", "message_id")}
    if "webhook" in notice:
        shown["webhook"] = _webhook(notice)
    return {name: value for name, value in shown.items() if value is not None}


def _webhook(notice: Mapping[str, Any]) -> dict[str, Any]:
    """Return how far a webhook is told, without what is secret."""
    webhook = notice["webhook"]
    known = {
        "id": webhook.get("id"),
        "status": webhook.get("status"),
        "detail": webhook.get("detail") or None,
        "delivered": moment(webhook.get("delivered")),
    }
    return {
        "url": shown_url(notice),
        "state": webhook.get("state", "waiting"),
        "attempts": webhook.get("attempts", 0),
        **{name: value for name, value in known.items() if value is not None},
    }


def _links(task: TaskRecord) -> list[dict[str, str]]:
    href = href_of(task.task_id)
    links = [{"rel": "self", "href": href}, {"rel": "output", "href": f"{href}/output"}]
    if task.stderr_end_offset is not None:
        links.append({"rel": "stderr", "href": f"{href}/output?stream={STDERR}"})
    for notice in read_notices(task.notify):
        if message_id := notice.get("message_id"):
            href_of_message = url_for("v3.message", message_id=message_id)
            links.append({"rel": "message", "href": href_of_message})
    if task.finished is None:
        links.append({"rel": "cancel", "href": href, "method": "DELETE"})
    return links
