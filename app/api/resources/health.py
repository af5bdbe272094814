"""Whether the service lives, and whether it can take work."""

from typing import ClassVar

from flask import Response

from app.api.errors import problem
from app.api.operation import Answer, Operation
from app.api.rendering import JSON, TEXT, prefers_text, render_json, render_text
from app.api.resource import BaseResource, services
from app.api.schemas.answer import STRING, a
from app.errors import Draining, Unavailable


class Health(BaseResource):
    """Liveness: touches nothing that could be away."""

    operations: ClassVar = {
        "get": Operation(
            "Whether the process answers",
            {200: Answer("It does", {JSON: a("Health"), TEXT: STRING})},
            is_stored=False,
        )
    }

    def get(self) -> Response:
        """Say that the process answers."""
        return render_text("ok") if prefers_text() else render_json({"message": "ok"})


class Ready(BaseResource):
    """Readiness: whether a run could be taken on at this moment."""

    operations: ClassVar = {
        "get": Operation(
            "Whether work can be taken on now",
            {200: Answer("It can; 503 says with `checks` why not", a("Health"))},
            problems=(Unavailable, Draining),
            is_stored=False,
        )
    }

    def get(self) -> Response:
        """Check what a run needs; 503 where something is away, or none is to be."""
        works = services().check()
        checks = {name: "ok" if fine else "failed" for name, fine in works.items()}
        if not all(works.values()):
            return problem(Unavailable(), checks=checks)
        if services().drain.is_on():
            return problem(Draining(), checks=checks | {"runs": "draining"})
        return render_json({"message": "ok", "checks": checks})
