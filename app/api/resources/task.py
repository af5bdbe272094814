"""A task by its id: its record, its output, its end on demand."""

import json
from datetime import UTC, datetime
from typing import Any, ClassVar

from flask import Response, url_for

from app.api.rendering import (
    prefers_text,
    render_json,
    render_nothing,
    rfc3339,
)
from app.api.resource import BaseResource, Takes, services
from app.api.schemas.task import OUTPUT_LIMIT_BYTES, OUTPUT_QUERY
from app.tasks.record import TaskRecord


class Task(BaseResource):
    """A task that was started without saying by whom: its id is the key to it."""

    def get(self, task_id: str) -> Response:
        """Return the task."""
        return render_json(_task(services().lookup.get(task_id, owner=None)))

    def delete(self, task_id: str) -> Response:
        """End the task; it is gone when this answers."""
        lookup = services().lookup
        lookup.cancel(lookup.get(task_id, owner=None))
        return render_nothing()


class TaskOutput(BaseResource):
    """What the task has written, by byte offset; reading does not consume."""

    takes: ClassVar = {"get": Takes(query=OUTPUT_QUERY)}

    def get(self, task_id: str, query: dict[str, Any]) -> Response:
        """Return a part of it, as text in JSON or as the very bytes."""
        lookup = services().lookup
        task = lookup.get(task_id, owner=None)
        raw = prefers_text()
        part = lookup.read(
            task,
            offset=query.get("offset", 0),
            limit=query.get("limit", OUTPUT_LIMIT_BYTES),
            whole_characters=not raw,
        )
        if raw:
            headers = {
                "X-Next-Offset": str(part.next_offset),
                "X-Dropped-Bytes": str(part.dropped_bytes),
            }
            return Response(part.data, 200, headers, mimetype="text/plain")
        return render_json(
            {
                "task_id": task.task_id,
                "stream": "stdout",
                "offset": part.offset,
                "next_offset": part.next_offset,
                "dropped_bytes": part.dropped_bytes,
                "text": part.data.decode(errors="replace"),
                "eof": part.eof,
                "state": task.state,
            }
        )


def _task(task: TaskRecord) -> dict[str, Any]:
    """Return a task as it is shown: members that are not known yet are left out."""
    known = {
        "cmd": task.cmd,
        "started": _time(task.started),
        "finished": _time(task.finished),
        "progress": _progress(task),
        "reason": task.reason,
        "returncode": task.returncode,
        "signal": task.signal,
        "leftovers": task.leftovers,
        "result": _result(task),
    }
    return {
        "task_id": task.task_id,
        "kind": task.kind,
        "state": task.state,
        "owner": task.owner,
        "host": task.host,
        "request_id": task.request_id,
        "created": _time(task.created),
        **{name: value for name, value in known.items() if value is not None},
        "output": services().lookup.output_facts(task),
        "links": _links(task),
    }


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else rfc3339(datetime.fromtimestamp(seconds, UTC))


def _progress(task: TaskRecord) -> dict[str, int | None] | None:
    if task.progress_total is None:
        return None
    return {"done": task.progress_done, "total": task.progress_total}


def _result(task: TaskRecord) -> Any:
    """Return what came of a finished task, or why nothing did."""
    if task.finished is None:
        return None
    if task.result is not None:
        return json.loads(task.result)
    return task.detail or f"the task ended as {task.state}: {task.reason}"


def _links(task: TaskRecord) -> list[dict[str, str]]:
    href = url_for("v2.task", task_id=task.task_id)
    output = url_for("v2.task_output", task_id=task.task_id)
    links = [{"rel": "self", "href": href}, {"rel": "output", "href": output}]
    if task.finished is None:
        links.append({"rel": "cancel", "href": href, "method": "DELETE"})
    return links
