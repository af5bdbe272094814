"""The audit: who did what, when, from where, and what came of it."""

from flask import Response

from app.api.pages import cut
from app.api.resource import services
from app.api.schemas.user import AUDIT_QUERY, OUTCOMES
from app.moment import moment

from .frame import render
from .listing import asked, place
from .words import t


def show_all() -> Response:
    """Show a page of it, newest first; for admins."""
    query = asked(AUDIT_QUERY)
    limit, before = place(query)
    found = services().audit.page(query, before=before, limit=limit + 1)
    page, links, _ = cut(found, limit, lambda row: int(row["number"]))
    return render(
        "audit.html",
        title=t("Audit"),
        styles=("users",),
        entries=[dict(row) | {"time": moment(row["at"])} for row in page],
        links=links,
        wanted=query,
        outcomes=OUTCOMES,
        is_newest=before is None,
    )
