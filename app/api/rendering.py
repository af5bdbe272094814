"""How a value becomes the body of an answer."""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from flask import Response, current_app, g, request
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

JSON = "application/json"
TEXT = "text/plain"
HTML = "text/html"

EVENTS = "text/event-stream"

# What a caller may ask for; the charset that we answer in may be named.
_OFFERED = (JSON, f"{JSON};charset=utf-8", TEXT, f"{TEXT};charset=utf-8")
_ENCODER = json.JSONEncoder(ensure_ascii=False)
# What callers accept is nearly always in the words of few clients.
_ACCEPTS_KEPT = 128


def render_json(
    data: Any,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    *,
    mimetype: str = JSON,
) -> Response:
    """Return `data` as UTF-8 JSON on one line, with the request id if that is set."""
    if current_app.config["RESPONSE_UUID"] and isinstance(data, dict):
        data = {**data, "uuid": data.get("uuid", g.uuid)}
    # A lone surrogate can only stand in a string, where its escape is JSON's own.
    body = _ENCODER.encode(data).encode("utf-8", "backslashreplace")
    return Response(body + b"\n", status, headers, mimetype=mimetype)


def render_text(text: str) -> Response:
    """Return `text` as it is, with a newline at its end."""
    return Response(text.removesuffix("\n") + "\n", mimetype=TEXT)


def render_head(status: int = 200, *, mimetype: str = JSON) -> Response:
    """Return the head of an answer whose body was not made."""
    response = Response(status=status, mimetype=mimetype)
    response.automatically_set_content_length = False
    return response


def render_nothing() -> Response:
    """Return an answer that says all by its status, 204, and has no body's type."""
    response = Response(status=204)
    del response.headers["Content-Type"]
    return response


def prefers_text() -> bool:
    """Return whether the caller would rather have plain text than JSON."""
    best = _best_of(_OFFERED, request.headers.get("Accept"))
    return best is not None and best.startswith(TEXT)


def prefers_page() -> bool:
    """Return whether the caller would rather have a page than JSON, as browsers do."""
    return _best_of((*_OFFERED, HTML), request.headers.get("Accept")) == HTML


def prefers_events() -> bool:
    """Return whether the caller would rather have events than anything else."""
    return _best_of((*_OFFERED, EVENTS), request.headers.get("Accept")) == EVENTS


@lru_cache(_ACCEPTS_KEPT)
def _best_of(offered: tuple[str, ...], accept: str | None) -> str | None:
    """Return which media type a caller would rather have, None for none of them."""
    return parse_accept_header(accept, MIMEAccept).best_match(offered)
