"""The indexes: what there is, as links."""

from flask import Response

from app.api.rendering import render_json
from app.api.resource import BaseResource


class Index(BaseResource):
    """The links of one index; a subclass of its own for each is made by the routes."""

    def __init__(self, links: dict[str, str]) -> None:
        self._links = [{"rel": rel, "href": href} for rel, href in links.items()]

    def get(self) -> Response:
        """Return the links."""
        return render_json({"links": self._links})
