"""Tasks: what there is, one of them, its end on demand."""

from typing import Any, ClassVar

from flask import Response

from app.api.guard import caller
from app.api.operation import Answer, Operation
from app.api.pages import PAGE_HEADERS, cut, read_cursor
from app.api.rendering import render_json, render_nothing
from app.api.resource import BaseResource, services
from app.api.schemas.answer import a
from app.api.schemas.page import PAGE
from app.api.schemas.task import TASKS_QUERY
from app.api.task_view import outline, show
from app.errors import NotEndedYet, TaskNotFound
from app.tasks.record import TaskRecord


class Tasks(BaseResource):
    """The tasks that the caller may see."""

    operations: ClassVar = {
        "get": Operation(
            "The caller's tasks; all of them for an admin",
            {200: Answer("A page of them, newest first", a("Tasks"), PAGE_HEADERS)},
            query=TASKS_QUERY,
        )
    }

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

    operations: ClassVar = {
        "get": Operation(
            "A task", {200: Answer("The task", a("Task"))}, problems=(TaskNotFound,)
        ),
        "delete": Operation(
            "End a task",
            {204: Answer("It has ended, and all that it had started")},
            problems=(TaskNotFound, NotEndedYet),
        ),
    }

    def get(self, task_id: str) -> Response:
        """Return the task."""
        return render_json(show(_task(task_id)))

    def delete(self, task_id: str) -> Response:
        """End the task; it is gone when this answers."""
        services().lookup.cancel(_task(task_id))
        return render_nothing()


def _task(task_id: str) -> TaskRecord:
    return services().lookup.get(task_id, services().viewer(caller()))
