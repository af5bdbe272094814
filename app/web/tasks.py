"""Tasks: what runs, waits and has run, newest first."""

import time

from flask import Response

from app.api.pages import cut
from app.api.resource import services
from app.api.schemas.task import KINDS, TASKS_QUERY
from app.moment import moment
from app.tasks.states import State

from .duration import lasting
from .fields import given
from .frame import render
from .listing import asked, place
from .session import me
from .words import t


def show_all() -> Response:
    """Show a page of the tasks that the reader may see, filtered as the API does it."""
    query = asked(TASKS_QUERY)
    limit, before = place(query)  # what is left are the filters
    viewer = services().viewer(me())
    found = services().lookup.page(viewer, query, before=before, limit=limit + 1)
    page, links, _ = cut(found, limit, lambda numbered: numbered[0])
    return render(
        "tasks.html",
        script="tasks",
        styles=("tasks",),
        title=t("Tasks"),
        tasks=[task for _, task in page],
        links=links,
        filters=query,
        states=[str(state) for state in State],
        kinds=KINDS,
        is_newest=before is None,
        limit=limit,
        now=time.time(),
        at=moment,
        lasting=lasting,
        given=given,
    )
