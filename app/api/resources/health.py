"""Whether the service lives, and whether it can take work."""

from flask import Response

from app.api.errors import problem
from app.api.rendering import render_json
from app.api.resource import BaseResource, services
from app.errors import Unavailable


class Health(BaseResource):
    """Liveness: touches nothing that could be away."""

    def get(self) -> Response:
        """Say that the process answers."""
        return render_json({"message": "ok"})


class Ready(BaseResource):
    """Readiness: whether a run could be taken on at this moment."""

    def get(self) -> Response:
        """Check what a run needs; 503 where something is away."""
        works = services().check()
        checks = {name: "ok" if fine else "failed" for name, fine in works.items()}
        if all(works.values()):
            return render_json({"message": "ok", "checks": checks})
        return problem(Unavailable(), checks=checks)
