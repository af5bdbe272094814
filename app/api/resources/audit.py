"""The audit, for admins."""

from typing import Any, ClassVar

from flask import Response

from app.api.operation import Answer, Operation
from app.api.pages import PAGE_HEADERS, cut, read_cursor
from app.api.rendering import render_json
from app.api.resource import BaseResource, services
from app.api.schemas.answer import a
from app.api.schemas.page import PAGE
from app.api.schemas.user import AUDIT_QUERY
from app.moment import moment

_MEMBERS = (
    "actor",
    "via",
    "address",
    "action",
    "target",
    "outcome",
    "status",
    "detail",
    "task_id",
    "request_id",
)


class AuditTrail(BaseResource):
    """Who did what, when, from where, and what came of it."""

    operations: ClassVar = {
        "get": Operation(
            "The audit",
            {200: Answer("A page of it, newest first", a("Audit"), PAGE_HEADERS)},
            query=AUDIT_QUERY,
        )
    }

    def get(self, query: dict[str, Any]) -> Response:
        """Return a page of it, newest first."""
        limit = query.pop("limit", PAGE)
        before = read_cursor(query.pop("cursor", None))
        found = services().audit.page(query, before=before, limit=limit + 1)
        page, links, headers = cut(found, limit, lambda row: int(row["number"]))
        audit = [
            {"time": moment(row["at"])} | {name: row[name] for name in _MEMBERS}
            for row in page
        ]
        return render_json({"audit": audit, "links": links}, 200, headers)
