"""Bodies and queries: read whole or refused, checked against a JSON Schema."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, NoReturn

from flask import current_app, request
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend
from werkzeug.exceptions import (
    BadRequest,
    RequestEntityTooLarge,
    UnsupportedMediaType,
)

from app.errors import Fault

_MESSAGE_CHARACTERS = 200

_INTEGER = re.compile(r"-?[0-9]{1,18}")
# Objects and arrays inside each other. What json can read it may be unable to write:
# both stop where the stack does, which is deeper at some places than at others.
_DEPTH_LIMIT = 500


def _whole_pattern(
    _validator: Any, pattern: str, instance: Any, _schema: Any
) -> Iterator[ValidationError]:
    """Match the whole value: Python's `$` would let a trailing newline through."""
    if isinstance(instance, str) and not re.fullmatch(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _is_string(_checker: Any, instance: Any) -> bool:
    """Take what UTF-8 can hold: a lone surrogate is JSON, but no character."""
    if not isinstance(instance, str):
        return False
    try:
        instance.encode()
    except UnicodeEncodeError:
        return False
    return True


_Validator = extend(
    Draft202012Validator,
    {"pattern": _whole_pattern},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("string", _is_string),
)


class Schema:
    """A JSON Schema (2020-12) that names all faults of a value, each with its path."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self._validator = _Validator(document)

    def faults(self, value: Any) -> list[Fault]:
        """Return what is wrong with `value`, each fault once."""
        errors = self._validator.iter_errors(value)
        return list(dict.fromkeys(fault for e in errors for fault in _faults_of(e)))

    def query_faults(self, query: dict[str, Any]) -> list[Fault]:
        """Return what is wrong with `query`, after making its numbers numbers."""
        properties = self.document.get("properties", {})
        for name, text in query.items():
            is_integer = properties.get(name, {}).get("type") == "integer"
            if is_integer and _INTEGER.fullmatch(text):
                query[name] = int(text)
        return self.faults(query)


NO_MEMBERS = Schema({"type": "object", "additionalProperties": False})


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
    return _parse(_read_whole(current_app.config["MAX_CONTENT_LENGTH"]))


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


def _read_whole(limit: int) -> bytes:
    """Return the body, or raise 413 where it is over `limit`.

    Werkzeug gives the first `limit` bytes of a chunked body as if it were the whole,
    so that is read here, one byte further than it may go.
    """
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


def _faults_of(error: ValidationError) -> Iterator[Fault]:
    """Give a fault for every member concerned, where jsonschema names the object."""
    path = [str(step) for step in error.absolute_path]
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        for name in error.instance:
            if name not in known:
                yield Fault(".".join([*path, name]), "is not known here")
    elif error.validator == "required":
        for name in error.validator_value:
            if name not in error.instance:
                yield Fault(".".join([*path, name]), "is required")
    else:
        # The message shows the value, which may be as long as the body.
        message = error.message
        if len(message) > _MESSAGE_CHARACTERS:
            message = message[:_MESSAGE_CHARACTERS] + "…"
        yield Fault(".".join(path), message)
