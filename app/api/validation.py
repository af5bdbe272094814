"""Bodies and queries: read whole or refused, checked against a JSON Schema."""

import json
import math
from itertools import chain
from typing import Any, NoReturn

from flask import current_app, request
from werkzeug.exceptions import (
    BadRequest,
    RequestEntityTooLarge,
    UnsupportedMediaType,
)

from app.errors import Fault
from app.schema import NO_MEMBERS, Schema

# Objects and arrays inside each other. What json can read it may be unable to write:
# both stop where the stack does, which is deeper at some places than at others.
_DEPTH_LIMIT = 500


class UnreadableBody(BadRequest):
    """The body has no end; what follows on the connection is no request."""


def has_body() -> bool:
    """Return whether a body was sent with a method where one means something."""
    if request.method in ("GET", "HEAD"):
        return False
    return bool(request.content_length) or "HTTP_TRANSFER_ENCODING" in request.environ


def read_body() -> Any:
    """Return the request's JSON.

    Raises 415, 413 or 400 in that order; nothing truncated is ever parsed.
    """
    if not request.is_json:
        raise UnsupportedMediaType(
            "The body must be JSON; send it with Content-Type: application/json."
        )
    return _parse(read_bytes())


def check_query(schema: Schema) -> tuple[dict[str, Any], list[Fault]]:
    """Return the query's members, numbers as numbers, and what is wrong with them."""
    if not request.query_string and schema is NO_MEMBERS:
        return {}, []
    query: dict[str, Any] = request.args.to_dict()
    twice = [
        Fault(name, "is given more than once")
        for name, values in request.args.lists()
        if len(values) > 1
    ]
    return query, twice + schema.query_faults(query)


def read_bytes() -> bytes:
    """Return the body as it is, or raise 413 where it is over MAX_CONTENT_LENGTH.

    Werkzeug gives the first so many bytes of a chunked body as if they were the whole,
    so that is read here, one byte further than it may go.
    """
    limit = current_app.config["MAX_CONTENT_LENGTH"]
    length = request.content_length or 0
    if length > limit:
        raise RequestEntityTooLarge
    most = limit + 1 if request.environ.get("wsgi.input_terminated") else length
    body, stream = b"", request.environ["wsgi.input"]
    try:
        while len(body) < most and (part := stream.read(most - len(body))):
            body += part
    except Exception as error:  # each server has its own for a faulty chunk
        raise UnreadableBody("The body could not be read to its end.") from error
    if len(body) > limit:
        raise RequestEntityTooLarge
    if len(body) < length:
        raise UnreadableBody("The body is shorter than its Content-Length.")
    return body


def _parse(body: bytes) -> Any:
    try:
        value = json.loads(
            body.decode(),
            object_pairs_hook=_object_of_unique_members,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except RecursionError as error:
        raise BadRequest("The body is nested too deeply.") from error
    except ValueError as error:
        raise BadRequest(f"The body is not JSON: {error}.") from error
    if _is_deeper(value, _DEPTH_LIMIT):
        raise BadRequest("The body is nested too deeply.")
    return value


def _is_deeper(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        arrays = [v for v in level if isinstance(v, list)]
        objects = [v.values() for v in level if isinstance(v, dict)]
        level = list(chain.from_iterable((*arrays, *objects)))
        if not level:
            return False
    return any(isinstance(v, list | dict) for v in level)


def _object_of_unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member is given more than once")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    """Refuse what a double cannot hold: it would be answered as Infinity."""
    if math.isinf(number := float(text)):
        raise ValueError(f"{text} is too large a number")
    return number
