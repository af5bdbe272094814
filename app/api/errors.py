"""The one door by which errors leave, as problem details of RFC 9457.

Flask's and flask-restful's handlers both end here, in every environment alike.
"""

import re
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response, g, request
from flask_restful import Api
from werkzeug.exceptions import HTTPException, MethodNotAllowed, UnsupportedMediaType

from app.api.access import SESSION_COOKIE
from app.api.rendering import JSON, render_json
from app.api.validation import UnreadableBody
from app.errors import (
    AccountExists,
    AccountNotFound,
    BellhopError,
    CapacityExceeded,
    CommandNotAllowed,
    CommandNotFound,
    Draining,
    HostAway,
    HostNotFound,
    HostReadingFailed,
    InvalidInput,
    KeyInFlight,
    KeyReused,
    LastAdmin,
    MessageExists,
    MessageNotFound,
    NotAuthenticated,
    NotEndedYet,
    NotPermitted,
    PasswordChecksExceeded,
    ReceiptNotTaken,
    SlotBusy,
    SmsFailed,
    SmsLimitExceeded,
    SmsReceiverLimited,
    SmsRejected,
    SmsUnreachable,
    TaskNotFound,
    TokenNotFound,
    TooManyAttempts,
    Unavailable,
    WaitersExceeded,
)

PROBLEM_JSON = "application/problem+json"

BASIC = 'Basic realm="bellhop", charset="UTF-8"'
BEARER = 'Bearer realm="bellhop"'

STATUS_OF: dict[type[BellhopError], int] = {
    InvalidInput: 400,
    NotAuthenticated: 401,
    NotPermitted: 403,
    CommandNotAllowed: 403,
    CommandNotFound: 404,
    TaskNotFound: 404,
    MessageNotFound: 404,
    ReceiptNotTaken: 404,
    AccountNotFound: 404,
    TokenNotFound: 404,
    HostNotFound: 404,
    SlotBusy: 409,
    AccountExists: 409,
    LastAdmin: 409,
    KeyInFlight: 409,
    MessageExists: 409,
    KeyReused: 422,
    SmsRejected: 422,
    CapacityExceeded: 429,
    TooManyAttempts: 429,
    SmsLimitExceeded: 429,
    SmsReceiverLimited: 429,
    SmsFailed: 502,
    HostReadingFailed: 503,
    SmsUnreachable: 503,
    NotEndedYet: 503,
    WaitersExceeded: 503,
    PasswordChecksExceeded: 503,
    Unavailable: 503,
}

# What a caller is told to wait where the error itself does not know better.
RETRY_AFTER_SECONDS = 2

FAULT_OF_OURS = "The service failed to answer; its log says why, under this request_id."

log = structlog.get_logger(__name__)


class ProblemApi(Api):  # type: ignore[misc]
    """flask-restful's Api, less its own way with errors."""

    def error_router(self, original_handler: Any, e: Exception) -> Any:
        """Leave every error to Flask, and so to :func:`answer_error`."""
        return original_handler(e)


def register(app: Flask) -> None:
    """Send every error of `app` through this door."""
    app.register_error_handler(Exception, answer_error)


def answer_error(error: Exception) -> Response:
    """Return the answer to a request that raised `error`."""
    return problem(error)


def problem(error: Exception, **members: Any) -> Response:
    """Return `error` as problem details, with `members` beside the standard ones."""
    if isinstance(error, HTTPException) and error.response is not None:
        return error.response  # type: ignore[return-value]
    status = status_of(type(error))
    is_meant = isinstance(error, Draining | HostAway)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and not is_meant:
        log.error("request.failed", exc_info=error)
    detail = _detail(error, status)
    document: dict[str, Any] = {
        "type": type_of(type(error)),
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "message": detail,
        "request_id": g.uuid,
    }
    if isinstance(error, InvalidInput):
        faults = [{"path": f.path, "message": f.message} for f in error.faults]
        document["errors"] = faults
    return render_json(
        document | members, status, _headers(error, status), mimetype=PROBLEM_JSON
    )


def status_of(kind: type[Exception]) -> int:
    """Return the status that an error of that class is answered with."""
    if issubclass(kind, HTTPException):
        return kind.code or HTTPStatus.INTERNAL_SERVER_ERROR
    for cls in kind.__mro__:
        if cls in STATUS_OF:
            return STATUS_OF[cls]
    return HTTPStatus.INTERNAL_SERVER_ERROR


def type_of(kind: type[Exception]) -> str:
    """Return the type of its problem, "about:blank" where the status says it all."""
    if not issubclass(kind, BellhopError):
        return "about:blank"
    words = re.findall("[A-Z][a-z]+", kind.__name__)
    return "urn:bellhop:problem:" + "-".join(words).lower()


def _asks_a_page() -> bool:
    """Return whether a script of a page asks, or whoever has a session of ours.

    Offered Basic, the browser would ask for a password in a box of its own.
    """
    dest, site = (request.headers.get(f"Sec-Fetch-{n}") for n in ("Dest", "Site"))
    is_script = (dest, site) == ("empty", "same-origin")
    return is_script or SESSION_COOKIE in request.cookies


def _detail(error: Exception, status: int) -> str:
    if isinstance(error, HTTPException):
        return error.description or HTTPStatus(status).phrase
    return str(error) if isinstance(error, BellhopError) else FAULT_OF_OURS


def _headers(error: Exception, status: int) -> dict[str, str]:
    headers = {}
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(error.valid_methods or ())
    if isinstance(error, UnsupportedMediaType):
        headers["Accept"] = JSON
    if isinstance(error, UnreadableBody):
        headers["Connection"] = "close"
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = BEARER if _asks_a_page() else f"{BASIC}, {BEARER}"
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        seconds = getattr(error, "retry_after_seconds", RETRY_AFTER_SECONDS)
        headers["Retry-After"] = str(seconds)
    return headers
