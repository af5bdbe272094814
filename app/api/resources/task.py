"""Tasks: what there is, one of them, its end on demand."""

from typing import Any, ClassVar

from flask import Response

from app.api.guard import caller
from app.api.pages import cut, read_cursor
from app.api.rendering import render_json, render_nothing
from app.api.resource import BaseResource, Takes, services
from app.api.schemas.page import PAGE
from app.api.schemas.task import TASKS_QUERY
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


def _task(task_id: str) -> TaskRecord:
    return services().lookup.get(task_id, services().viewer(caller()))
