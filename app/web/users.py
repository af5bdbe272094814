"""Users: who they are, and the credentials that they have."""

from typing import Any

from flask import Response, current_app, request

from app.api.pages import cut
from app.api.resource import services
from app.api.schemas.page import PAGE_QUERY
from app.auth.accounts import PASSWORD_MAX_LENGTH, USERNAME, USERNAME_MAX_LENGTH
from app.auth.permissions import ORDINARY, Scope, scopes_of
from app.moment import moment

from .frame import render
from .listing import asked, place
from .session import me
from .words import t

_DAY = 86400
#: For how long a token may be good, in seconds; 0: for ever.
LIFETIMES = (3600, _DAY, 30 * _DAY, 365 * _DAY, 0)


def show_all() -> Response:
    """Show a page of users, in the order in which they were added; for admins."""
    limit, after = place(asked(PAGE_QUERY))
    found = services().accounts.page(after=after or 0, limit=limit + 1)
    page, links, _ = cut(found, limit, lambda row: int(row["number"]))
    return render(
        "users.html",
        title=t("Users"),
        script="users",
        styles=("users",),
        users=page,
        links=links,
        **_bounds(),
    )


def show(username: str) -> Response:
    """Show a user and the user's tokens: to whom it is, and to admins."""
    me().require_self_or_admin(username)
    account = services().accounts.get(username)
    limit, after = place(asked(PAGE_QUERY))
    found = services().tokens.page(account, after=after or 0, limit=limit + 1)
    page, links, _ = cut(found, limit, lambda token: token.number)
    return render(
        "user.html",
        title=username,
        script="user" if me().is_admin else None,
        styles=("users",),
        user=account,
        tokens=page,
        moment=moment,
        links=links,
        scopes=[scope for scope in Scope if scope in scopes_of(admin=account["admin"])],
        usual_scopes=ORDINARY,
        lifetimes=LIFETIMES,
        here_url=_own_url(),
        **_bounds(),
    )


def _bounds() -> dict[str, Any]:
    """Return what the fields of a user take, so that a browser can tell."""
    return {
        "username_pattern": USERNAME,
        "username_max_length": USERNAME_MAX_LENGTH,
        "password_min_length": current_app.config["PASSWORD_MIN_LENGTH"],
        "password_max_length": PASSWORD_MAX_LENGTH,
    }


def _own_url() -> str:
    """Return where this service is reached, without a slash at the end."""
    known: str = current_app.config["PUBLIC_URL"] or request.host_url
    return known.rstrip("/")
