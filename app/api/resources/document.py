"""What describes the service: for programs, and as a page for people."""

from pathlib import Path
from typing import Any, ClassVar

import flask_swagger_ui
from flask import Response, current_app, request, send_from_directory
from flask_restful import Resource

from app.api.operation import Answer, Operation
from app.api.rendering import HTML, render_json
from app.api.resource import BaseResource
from app.api.schemas.answer import STRING

_PAGE = Path(__file__).parents[1] / "openapi" / "page"
# The page of Swagger UI, whole: nothing is asked of another host.
_PARTS = Path(flask_swagger_ui.__file__).parent / "dist"

# Of what the page loads and runs nothing is in itself.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'"
)


class Document(BaseResource):
    """The OpenAPI document."""

    operations: ClassVar = {
        "get": Operation(
            "What the service does, as OpenAPI 3.1",
            {
                200: Answer("The document", {"type": "object"}, ("ETag",)),
                304: Answer("It is the one that If-None-Match names", {}, ("ETag",)),
            },
            is_stored=False,
        )
    }

    def get(self) -> Response:
        """Return it, made at the first use."""
        response = render_json(_document())
        response.add_etag()
        response.make_conditional(request)
        return response


class DocsPage(Resource):  # type: ignore[misc]
    """The same as a page, by Swagger UI."""

    operations: ClassVar = {
        "get": Operation(
            "What the service does, as a page",
            {200: Answer("The page", {HTML: STRING})},
            is_stored=False,
        )
    }

    def get(self) -> Response:
        """Return the page."""
        page = (_PAGE / "index.html").read_bytes()
        headers = {"Content-Security-Policy": _POLICY}
        return Response(page, headers=headers, mimetype=HTML)


class DocsFile(Resource):  # type: ignore[misc]
    """What the page is made of."""

    operations: ClassVar = {
        "get": Operation(
            "A part of the page",
            {200: Answer("The part", {"*/*": {}}, ("ETag", "Cache-Control"))},
            is_stored=False,
        )
    }

    def get(self, file: str) -> Response:
        """Return a file of the page."""
        is_ours = (_PAGE / file).is_file()
        return send_from_directory(_PAGE if is_ours else _PARTS, file)


def _document() -> dict[str, Any]:
    extensions = current_app.extensions
    if "bellhop.document" not in extensions:
        # Needed by who looks at it, which is hardly anybody.
        from app.api.openapi.document import make_document  # noqa: PLC0415

        extensions["bellhop.document"] = make_document(current_app)
    document: dict[str, Any] = extensions["bellhop.document"]
    return document
