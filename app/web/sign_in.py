"""In and out, and how the pages are shown: all that is a form without a script."""

from flask import Response, request, url_for

from app.api import errors, guard
from app.api.resource import services
from app.errors import NotAuthenticated, PasswordChecksExceeded, TooManyAttempts

from . import session
from .frame import THEME_COOKIE, THEMES, render
from .words import COOKIE, LANGUAGES, t

# How long a browser keeps what was chosen: a year.
_CHOICE_SECONDS = 365 * 86400


def sign_in() -> Response:
    """Show the form, or take it: then go on to the page that was asked for."""
    if request.method == "POST":
        return _take_password()
    if session.reader():
        return _go_on()
    page = _show()
    if request.headers.get("Sec-Fetch-Site") == "cross-site":
        # A link elsewhere led here, so that the browser kept its session to itself.
        # Asked by this page, it sends it.
        page.headers["Refresh"] = "0"
    return page


def sign_out() -> Response:
    """End the session, here and in the browser."""
    services().sessions.close(guard.session_text() or "")
    response = session.go_to(url_for("ui.sign_in"))
    session.forget(response)
    return response


def choose() -> Response:
    """Keep the language or the theme that was chosen, and go back."""
    response = _go_on()
    for name, cookie, known in (
        ("language", COOKIE, LANGUAGES),
        ("theme", THEME_COOKIE, THEMES),
    ):
        chosen = session.form(name)
        if chosen in known:
            response.set_cookie(
                cookie,
                chosen,
                max_age=_CHOICE_SECONDS,
                httponly=True,
                samesite="Lax",
                secure=request.is_secure,
            )
    return response


def _take_password() -> Response:
    username = session.form("username")
    try:
        text = guard.sign_in(username, session.form("password"))
    except NotAuthenticated:
        fault = t("The name or the password is wrong.")
        return _refuse(fault, username, 401, {"WWW-Authenticate": errors.BEARER})
    except (TooManyAttempts, PasswordChecksExceeded) as error:
        seconds = getattr(error, "retry_after_seconds", errors.RETRY_AFTER_SECONDS)
        fault = t("Too many attempts. Try again in {seconds} seconds.", seconds=seconds)
        status = errors.status_of(type(error))
        return _refuse(fault, username, status, {"Retry-After": str(seconds)})
    if old := guard.session_text():
        services().sessions.close(old)
    response = _go_on()
    session.keep(response, text)
    return response


def _refuse(
    fault: str, username: str, status: int, headers: dict[str, str]
) -> Response:
    """Show the form again, with what was wrong."""
    page = _show(status, fault=fault, username=username)
    page.headers.update(headers)
    return page


def _show(status: int = 200, *, fault: str = "", username: str = "") -> Response:
    return render(
        "sign_in.html",
        title=t("Sign in"),
        status=status,
        fault=fault,
        username=username,
        next=session.next_page(),
        has_users=bool(fault) or _has_users(),
    )


def _has_users() -> bool:
    services().accounts.make_first_admin()
    return bool(services().accounts.page(after=0, limit=1))


def _go_on() -> Response:
    return session.go_to(session.next_page())
