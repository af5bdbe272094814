"""The echo: what came in, as the service has understood it."""

from typing import Any, ClassVar

from flask import Response

from app.api.rendering import render_json
from app.api.resource import BaseResource, Takes
from app.api.schemas.echo import ECHO_BODY


class Echo(BaseResource):
    """Answers with the path's own parts, and with the JSON that was sent."""

    takes: ClassVar = {"post": Takes(body=ECHO_BODY)}

    def get(self, user: str, uuid: str) -> Response:
        """Return the path's parts."""
        return render_json({"user": user, "uuid": uuid})

    def post(self, user: str, uuid: str, body: Any) -> Response:
        """Return the path's parts and the body."""
        return render_json({"user": user, "uuid": uuid, "content": body})
