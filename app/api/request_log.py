"""The id of every request, and the one line that the log has of it; it is counted."""

import re
import time
import uuid

import structlog
from flask import Flask, Response, g, request

from app.api.resource import services
from app.api.rule import asked_rule, this_request

REQUEST_ID = "X-Request-ID"

_TAKEN = re.compile(r"[A-Za-z0-9._-]{1,128}")
log = structlog.get_logger(__name__)


def register(app: Flask) -> None:
    """Have `app` name and log its requests; before any other hook of it."""
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    given = request.headers.get(REQUEST_ID, "")
    request_id = given if _TAKEN.fullmatch(given) else str(uuid.uuid4())
    g.uuid, g.started = request_id, time.perf_counter()
    # A thread of the server has served other requests before.
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=request_id)


def _end(response: Response) -> Response:
    response.headers[REQUEST_ID] = g.uuid
    # What a command has written may look like a page.
    response.headers["X-Content-Type-Options"] = "nosniff"
    # What the server logs in this thread later on is about no request, or another.
    response.call_on_close(structlog.contextvars.clear_contextvars)
    asked, route = this_request(), asked_rule()
    seconds = time.perf_counter() - g.started
    services().figures.request_answered(
        method=asked.method,
        route=route,
        status=response.status_code,
        seconds=seconds,
    )
    log.info(
        "request.answered",
        method=asked.method,
        path=asked.path,
        route=route,
        status=response.status_code,
        seconds=round(seconds, 6),
        remote_addr=asked.remote_addr,
    )
    return response
