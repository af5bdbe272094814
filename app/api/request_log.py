"""The id of every request, and the one line that the log has of it."""

import re
import time
import uuid

import structlog
from flask import Flask, Response, g, request

REQUEST_ID = "X-Request-ID"

_TAKEN = re.compile(r"[A-Za-z0-9._-]{1,128}")
# What may follow the caller in a uuid of /api/exec and /api/poll: a time and a
# signature, which is as good as a password while it is fresh.
_SIGNATURE = re.compile(r"\.[0-9]+\.[0-9A-Fa-f]{16,}")

log = structlog.get_logger(__name__)


def register(app: Flask) -> None:
    """Have `app` name and log its requests; before any other hook of it."""
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    given = request.headers.get(REQUEST_ID, "")
    g.uuid = given if _TAKEN.fullmatch(given) else str(uuid.uuid4())
    g.started = time.perf_counter()
    # A thread of the server has served other requests before.
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.uuid)


def _end(response: Response) -> Response:
    response.headers[REQUEST_ID] = g.uuid
    log.info(
        "request.answered",
        method=request.method,
        path=_SIGNATURE.sub("", request.path),
        route=request.url_rule.rule if request.url_rule else None,
        status=response.status_code,
        seconds=round(time.perf_counter() - g.started, 6),
        remote_addr=request.remote_addr,
    )
    return response
