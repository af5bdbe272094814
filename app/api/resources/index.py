"""The indexes: what there is, as links."""

from typing import ClassVar

from flask import Response

from app.api.operation import Answer, Operation
from app.api.rendering import render_json
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
