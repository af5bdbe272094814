"""The indexes: what there is, as links."""

from typing import ClassVar

from flask import Response, url_for

from app.api.operation import Answer, Operation
from app.api.rendering import prefers_page, render_json
from app.api.resource import BaseResource
from app.api.schemas.answer import a

# Where machines and people find what the service does (RFC 8631).
_DESCRIBED_BY = '</openapi.json>; rel="service-desc", </docs>; rel="service-doc"'


class Index(BaseResource):
    """The links of one index; a subclass of its own for each is made by the routes."""

    operations: ClassVar = {
        "get": Operation(
            "What there is below this path",
            {200: Answer("Links", a("Links"), ("Link",))},
            is_stored=False,
        )
    }

    def __init__(self, links: dict[str, str]) -> None:
        self._links = [{"rel": rel, "href": href} for rel, href in links.items()]

    def get(self) -> Response:
        """Return the links."""
        return render_json({"links": self._links}, 200, {"Link": _DESCRIBED_BY})


class Root(Index):
    """The links of all; a browser is sent to the pages."""

    operations: ClassVar = {
        "get": Operation(
            "What there is",
            {
                200: Answer("Links", a("Links"), ("Link",)),
                303: Answer("To the pages, for a browser", {}, ("Location",)),
            },
            is_stored=False,
        )
    }

    def get(self) -> Response:
        """Return the links, or where the pages are."""
        if prefers_page():
            return Response(status=303, headers={"Location": url_for("ui.host")})
        return super().get()
