"""The echo: what came in, as the service has understood it."""

from typing import Any, ClassVar

from flask import Response

from app.api.operation import Answer, Operation
from app.api.rendering import render_json
from app.api.resource import BaseResource
from app.api.schemas.answer import a
from app.api.schemas.echo import ECHO_BODY


class Echo(BaseResource):
    """Answers with the path's own parts, and with the JSON that was sent."""

    operations: ClassVar = {
        "get": Operation(
            "What came in, as the service has understood it",
            {200: Answer("The parts of the path", a("Echo"))},
            is_stored=False,
        ),
        "post": Operation(
            "What came in, with a body",
            {200: Answer("The parts of the path, and the body", a("Echo"))},
            body=ECHO_BODY,
            is_stored=False,
        ),
    }

    def get(self, user: str, uuid: str) -> Response:
        """Return the path's parts."""
        return render_json({"user": user, "uuid": uuid})

    def post(self, user: str, uuid: str, body: Any) -> Response:
        """Return the path's parts and the body."""
        return render_json({"user": user, "uuid": uuid, "content": body})
