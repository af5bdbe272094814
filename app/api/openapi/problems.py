"""Which problems a method may answer with, and how they look."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from werkzeug.exceptions import (
    Forbidden,
    HTTPException,
    InternalServerError,
    NotFound,
    RequestEntityTooLarge,
    UnsupportedMediaType,
)

from app.api.errors import FAULT_OF_OURS, PROBLEM_JSON, status_of, type_of
from app.api.operation import IDEMPOTENCY_KEY, Operation
from app.api.schemas.answer import a
from app.errors import (
    BellhopError,
    BrokerUnavailable,
    Draining,
    InvalidInput,
    KeyInFlight,
    KeyReused,
    NotAuthenticated,
    NotPermitted,
    PasswordChecksExceeded,
    SlotBusy,
    StorageUnavailable,
    TooManyAttempts,
    UuidRefused,
)

from .route import Route

Kinds = list[type[Exception]]

# Headers that come with a status.
_HEADERS = {
    401: "WWW-Authenticate",
    415: "Accept",
    429: "Retry-After",
    503: "Retry-After",
}

_FAULT = {"path": "limit", "message": "'x' is not of type 'integer'"}
# What some have beside the standard members, or in their place.
_MEMBERS: dict[type[Exception], dict[str, Any]] = {
    InvalidInput: {"errors": [_FAULT]},
    SlotBusy: {"mode": "exec", "status": "busy"},
}


def by_status(
    route: Route, method: str, operation: Operation
) -> list[tuple[int, Kinds]]:
    """Return the errors that a method may answer with, by status."""
    kinds = [
        *operation.problems,
        *_of_form(route, method),
        *_of_caller(route, method),
        *((KeyInFlight, KeyReused) if IDEMPOTENCY_KEY in operation.headers else ()),
        InternalServerError,
        *((StorageUnavailable,) if operation.is_stored or route.security else ()),
        *((BrokerUnavailable,) if Draining in operation.problems else ()),
    ]
    found = defaultdict(list)
    for kind in dict.fromkeys(kinds):
        found[status_of(kind)].append(kind)
    return sorted(found.items())


def response(status: int, kinds: Kinds) -> dict[str, Any]:
    """Return the response object of a status that stands for some errors."""
    headers = ["X-Request-ID", *filter(None, [_HEADERS.get(status)])]
    examples = {_name(kind): {"value": _example(kind)} for kind in kinds}
    return {
        "description": HTTPStatus(status).phrase,
        "headers": {name: name for name in headers},
        "content": {PROBLEM_JSON: {"schema": a("Problem"), "examples": examples}},
    }


def component_of(status: int, kinds: Kinds) -> str:
    """Return the name of the component that such a response is."""
    return "-".join([str(status), *map(_name, kinds)])


def _of_form(route: Route, method: str) -> Iterator[type[Exception]]:
    """Give the errors of what a request has and should not, or the other way round."""
    if route.is_checked:
        yield InvalidInput
    if method != "GET":
        yield RequestEntityTooLarge
        if route.is_checked:
            yield UnsupportedMediaType
    if route.parts:
        yield NotFound


def _of_caller(route: Route, method: str) -> Iterator[type[Exception]]:
    if route.takes_signature:
        yield UuidRefused
    if route.security:
        yield NotAuthenticated
    if "password" in route.security:
        yield from (NotPermitted, TooManyAttempts, PasswordChecksExceeded)
    if route.access.changes(method):
        yield Forbidden


def _name(kind: type[Exception]) -> str:
    name = type_of(kind).rpartition(":")[2]
    return name if issubclass(kind, BellhopError) else kind.__name__


def _example(kind: type[Exception]) -> Mapping[str, Any]:
    status = status_of(kind)
    detail = _words(kind)
    return {
        "type": type_of(kind),
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "message": detail,
        "request_id": "fb9c2d88-e7d5-4081-80e1-d6d1ba6ddf1a",
        **_MEMBERS.get(kind, {}),
    }


def _words(kind: type[Exception]) -> str:
    if kind is InternalServerError:
        return FAULT_OF_OURS
    if kind is InvalidInput:
        return f"{_FAULT['path']}: {_FAULT['message']}"
    if issubclass(kind, HTTPException):
        return kind.description or ""
    return kind.__doc__ or ""
