"""Tasks: the record, the output, the end on demand."""

from typing import Any, ClassVar

from flask import Response

from app.api.guard import caller
from app.api.pages import cut, read_cursor
from app.api.rendering import prefers_text, render_json, render_nothing
from app.api.resource import BaseResource, Takes, services
from app.api.schemas.page import PAGE
from app.api.schemas.task import OUTPUT_LIMIT_BYTES, OUTPUT_QUERY, TASKS_QUERY
from app.api.task_view import outline, show
from app.tasks.record import TaskRecord


class Tasks(BaseResource):
    """The tasks that the caller may see."""

    takes: ClassVar = {"get": Takes(query=TASKS_QUERY)}

    def get(self, query: dict[str, Any]) -> Response:
        """Return a page of them, newest first."""
        limit = query.pop("limit", PAGE)
        before = read_cursor(query.pop("cursor", None))
        viewer = services().viewer(caller())
        found = services().lookup.page(viewer, query, before=before, limit=limit + 1)
        page, links, headers = cut(found, limit, lambda numbered: numbered[0])
        tasks = [outline(task) for _, task in page]
        return render_json({"tasks": tasks, "links": links}, 200, headers)


class Task(BaseResource):
    """One task: of v2, where the id is the key, or one that the caller may see."""

    def get(self, task_id: str) -> Response:
        """Return the task."""
        return render_json(show(_task(task_id)))

    def delete(self, task_id: str) -> Response:
        """End the task; it is gone when this answers."""
        services().lookup.cancel(_task(task_id))
        return render_nothing()


class TaskOutput(BaseResource):
    """What the task has written, by byte offset; reading does not consume."""

    takes: ClassVar = {"get": Takes(query=OUTPUT_QUERY)}

    def get(self, task_id: str, query: dict[str, Any]) -> Response:
        """Return a part of it, as text in JSON or as the very bytes."""
        task = _task(task_id)
        raw = prefers_text()
        part = services().lookup.read(
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


def _task(task_id: str) -> TaskRecord:
    return services().lookup.get(task_id, services().viewer(caller()))
