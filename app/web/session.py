"""Who reads the pages: the session's cookie, and where a page may send its reader."""

import re
from http import HTTPStatus
from urllib.parse import urlencode

from flask import Response, current_app, request, url_for
from werkzeug.exceptions import LengthRequired, RequestEntityTooLarge
from werkzeug.urls import iri_to_uri

from app.api import guard
from app.api.access import SESSION_COOKIE
from app.api.resource import services
from app.auth.permissions import Identity
from app.errors import NotAuthenticated, StorageUnavailable

# Printable ASCII, as a browser sends it: what else there is, is escaped.
_OURS = re.compile(r"/ui/[!-~]*")


def me() -> Identity:
    """Return who reads a page that takes a session."""
    return guard.user()


def reader() -> Identity | None:
    """Return who reads a page that is for everybody, None where nobody signed in."""
    if known := guard.caller():
        return known
    text = guard.session_text()
    try:
        return services().sessions.authenticate(text) if text else None
    except (NotAuthenticated, StorageUnavailable):
        return None


def csrf() -> str:
    """Return what a request of this page has to have with it to change something."""
    text = guard.session_text()
    return services().sessions.csrf(text) if text and reader() else ""


def keep(response: Response, text: str) -> None:
    """Have the browser keep a session until it is closed or the session ends."""
    response.set_cookie(
        SESSION_COOKIE,
        text,
        max_age=current_app.config["SESSION_SECONDS"],
        httponly=True,
        samesite="Strict",
        secure=request.is_secure,
    )


def forget(response: Response) -> None:
    """Have the browser forget its session."""
    response.delete_cookie(
        SESSION_COOKIE,
        httponly=True,
        samesite="Strict",
        secure=request.is_secure,
    )


def here() -> str:
    """Return the path of this page with its query; of a form, that of its page."""
    if request.method not in ("GET", "HEAD"):
        return next_page()
    return local(iri_to_uri(request.full_path.removesuffix("?")))


def next_page() -> str:
    """Return where to go on, as page or form say, if that is a page of ours."""
    try:
        return local(request.values.get("next", ""))
    except RequestEntityTooLarge:  # of which this may be the answer
        return local("")


def form(name: str) -> str:
    """Return what a form has at a name.

    Raises LengthRequired for one that does not say how long it is, which browsers do:
    of such a one werkzeug would read the first part as if it were all.
    """
    if request.content_length is None:
        raise LengthRequired
    return request.form.get(name, "")


def local(path: str) -> str:
    """Return a path if it is of a page of ours, else that of the first page."""
    is_ours = _OURS.fullmatch(path) and "//" not in path and "\\" not in path
    return path if is_ours else url_for("ui.host")


def ask_to_sign_in() -> Response:
    """Send the reader to sign in, and from there on to this page."""
    response = go_to(f"{url_for('ui.sign_in')}?{urlencode({'next': here()})}")
    if guard.session_text():  # it has ended
        forget(response)
    return response


def go_to(path: str) -> Response:
    """Send the reader to another page of ours, by GET."""
    return Response(status=HTTPStatus.SEE_OTHER, headers={"Location": path})
