"""Figures for the monitoring, as Prometheus takes them."""

from typing import ClassVar

from flask import Response, request

from app.api.operation import Answer, Operation
from app.api.rendering import TEXT
from app.api.resource import BaseResource, services
from app.api.schemas.answer import STRING

OPENMETRICS = "application/openmetrics-text"


class Metrics(BaseResource):
    """What was counted, and what can be read now."""

    operations: ClassVar = {
        "get": Operation(
            "Figures for Prometheus",
            {200: Answer("All of them", {TEXT: STRING, OPENMETRICS: STRING})},
            is_stored=False,
        )
    }

    def get(self) -> Response:
        """Return all of them, in the form that is asked for."""
        body, content_type = services().scrape.render(request.headers.get("Accept", ""))
        return Response(body, content_type=content_type)
