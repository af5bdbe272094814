"""Bodies and queries: read whole or refused, checked against a JSON Schema."""

import json
import re
from collections.abc import Iterator, Mapping
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

_INTEGER = re.compile(r"-?[0-9]{1,18}")


def _whole_pattern(
    _validator: Any, pattern: str, instance: Any, _schema: Any
) -> Iterator[ValidationError]:
    """Match the whole value: Python's `$` would let a trailing newline through."""
    if isinstance(instance, str) and not re.fullmatch(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


_Validator = extend(Draft202012Validator, {"pattern": _whole_pattern})


class Schema:
    """A JSON Schema (2020-12) that names all faults of a value, each with its path."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self._validator = _Validator(document)

    def faults(self, value: Any) -> list[Fault]:
        """Return what is wrong with `value`."""
        return [
            fault
            for error in self._validator.iter_errors(value)
            for fault in _faults_of(error)
        ]

    def query_faults(self, query: dict[str, Any]) -> list[Fault]:
        """Return what is wrong with `query`, after making its numbers numbers."""
        properties = self.document.get("properties", {})
        for name, text in query.items():
            is_integer = properties.get(name, {}).get("type") == "integer"
            if is_integer and _INTEGER.fullmatch(text):
                query[name] = int(text)
        return self.faults(query)


NO_QUERY = Schema({"type": "object", "additionalProperties": False})


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
    if not request.query_string and schema is NO_QUERY:
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
    if (request.content_length or 0) > limit:
        raise RequestEntityTooLarge
    if not request.environ.get("wsgi.input_terminated"):
        return request.get_data(cache=False)
    body, stream = b"", request.environ["wsgi.input"]
    try:
        while len(body) <= limit and (part := stream.read(limit + 1 - len(body))):
            body += part
    except OSError as error:  # a faulty chunk, or the caller went away
        raise BadRequest("The body could not be read to its end.") from error
    if len(body) > limit:
        raise RequestEntityTooLarge
    if len(body) < (request.content_length or 0):
        raise BadRequest("The body is shorter than its Content-Length.")
    return body


def _parse(body: bytes) -> Any:
    try:
        return json.loads(
            body.decode(),
            object_pairs_hook=_object_of_unique_members,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise BadRequest(f"The body is not JSON: {reason}.") from error


def _object_of_unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member is given more than once")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _faults_of(error: ValidationError) -> Iterator[Fault]:
    """Give a fault for every member concerned, where jsonschema names the object."""
    path = [str(step) for step in error.absolute_path]
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        for name in error.instance.keys() - known.keys():
            yield Fault(".".join([*path, name]), "is not known here")
    elif error.validator == "required":
        for name in error.validator_value:
            if name not in error.instance:
                yield Fault(".".join([*path, name]), "is required")
    else:
        yield Fault(".".join(path), error.message)
