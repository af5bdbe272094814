"""The directory of people: those whom a message can go to."""

from flask import Response

from app.api.pages import cut
from app.api.resource import services
from app.api.schemas.page import PAGE_QUERY

from .frame import render
from .listing import asked, place
from .words import t


def show_all() -> Response:
    """Show a page of them, in the order in which they were added."""
    limit, after = place(asked(PAGE_QUERY))
    after_uid = -1 if after is None else after
    found = services().people.page(after_uid=after_uid, limit=limit + 1)
    page, links, _ = cut(found, limit, lambda row: int(row["uid"]))
    return render(
        "people.html",
        title=t("People"),
        script="people",
        styles=("users",),
        people=page,
        links=links,
    )
