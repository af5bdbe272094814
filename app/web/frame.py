"""What all pages have in common: the frame, its headers, its files, its errors."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from flask import Response, render_template, request, send_from_directory, url_for
from werkzeug.exceptions import LengthRequired, RequestEntityTooLarge

from app.api import errors
from app.api.resource import services
from app.errors import NotAuthenticated

from . import session
from .words import LANGUAGES, language, t, words_of

THEMES = ("auto", "light", "dark")
THEME_COOKIE = "bellhop_theme"

# Nothing runs, styles or is asked but what this service serves as a file of its own.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_STATIC = Path(__file__).parent / "static"
_FOR_EVER = "public, max-age=31536000, immutable"

# Pages that are part of another section than the one of their own name.
_SECTIONS = {
    "command": "commands",
    "run": "tasks",
    "message": "messages",
    "user": "users",
}


def render(
    template: str,
    *,
    title: str,
    script: str | None = None,
    styles: tuple[str, ...] = (),
    status: int = 200,
    **context: Any,
) -> Response:
    """Return a page: `script` and `styles` are names of files of its own."""
    page = render_template(
        template,
        title=title,
        script=script,
        styles=styles,
        words=words_of(script),
        section=_section(),
        me=session.reader(),
        csrf=session.csrf(),
        lang=language(),
        languages=LANGUAGES,
        theme=theme(),
        themes=THEMES,
        here=session.here(),
        is_draining=services().drain.is_on(),
        **context,
    )
    return Response(page, status, mimetype="text/html")


def answer_error(error: Exception) -> Response:
    """Answer what went wrong: on the pages by a page, else as problem details."""
    if not is_page():
        return errors.answer_error(error)
    if isinstance(error, NotAuthenticated):
        return session.ask_to_sign_in()
    told = errors.problem(error)
    if not told.is_json:
        return told
    facts = told.get_json()
    page = render(
        "problem.html", title=t(facts["title"]), status=told.status_code, problem=facts
    )
    for name in ("Allow", "Retry-After"):
        if name in told.headers:
            page.headers[name] = told.headers[name]
    if isinstance(error, LengthRequired | RequestEntityTooLarge):
        page.headers["Connection"] = "close"  # what was not read is still to come
    return page


def is_page() -> bool:
    """Return whether the path of this request is below that of the pages."""
    return request.path.startswith("/ui/")


def protect(response: Response) -> Response:
    """Say on every page, and on what it is made of, what a browser may do with it."""
    if is_page():
        response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        response.headers["Referrer-Policy"] = "same-origin"
        response.headers.setdefault("Cache-Control", "no-store")
    return response


def theme() -> str:
    """Return the theme that the reader has chosen."""
    chosen = request.cookies.get(THEME_COOKIE, "")
    return chosen if chosen in THEMES else "auto"


def file(version: str, file: str) -> Response:
    """Return a file that pages are made of; of this version it never changes."""
    response = send_from_directory(_STATIC, file)
    is_kept = version == static_version()
    response.headers["Cache-Control"] = _FOR_EVER if is_kept else "no-store"
    return response


def static(path: str) -> str:
    """Return the path of a file that pages are made of."""
    return url_for("ui.file", version=static_version(), file=path)


@cache
def static_version() -> str:
    """Return what is another as soon as one of the files is."""
    digest = hashlib.sha256()
    for path in sorted(_STATIC.rglob("*.*")):
        digest.update(str(path.relative_to(_STATIC)).encode() + b"\0")
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _section() -> str:
    name = (request.endpoint or "").removeprefix("ui.")
    return _SECTIONS.get(name, name)
