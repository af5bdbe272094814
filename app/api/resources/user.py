"""Users: who they are, and the credentials that they have."""

import re
from typing import Any, ClassVar

from flask import Response, request, url_for

from app.api.audit_log import note
from app.api.guard import user
from app.api.operation import Answer, Operation
from app.api.pages import PAGE_HEADERS, cut, read_cursor
from app.api.rendering import render_json, render_nothing
from app.api.resource import BaseResource, services
from app.api.schemas.answer import a
from app.api.schemas.page import PAGE, PAGE_QUERY
from app.api.schemas.user import (
    TOKEN,
    USER,
    USER_AT_PATH,
    USER_CHANGES,
    USERS_QUERY,
)
from app.auth.tokens import Token
from app.errors import (
    AccountExists,
    AccountNotFound,
    Fault,
    LastAdmin,
    TokenNotFound,
)
from app.moment import moment

# Anything else has never been given out; a database may refuse to look for it.
_TOKEN_ID = re.compile(r"[0-9a-f-]{36}")


class UserResource(BaseResource):
    """Bodies that are of a user."""

    def body_faults(self, body: dict[str, Any]) -> list[Fault]:
        """Return what is wrong with the password."""
        note(detail=_members(body))
        return services().accounts.faults(body)


class Users(UserResource):
    """All users, by pages, and new ones."""

    operations: ClassVar = {
        "get": Operation(
            "The users",
            {200: Answer("A page of them", a("Users"), PAGE_HEADERS)},
            query=USERS_QUERY,
        ),
        "post": Operation(
            "Add a user",
            {201: Answer("The user was added", a("User"), ("Location",))},
            body=USER,
            problems=(AccountExists,),
        ),
    }

    def get(self, query: dict[str, Any]) -> Response:
        """Return a page of names, or of users with `detail`."""
        limit = query.get("limit", PAGE)
        after = read_cursor(query.get("cursor")) or 0
        found = services().accounts.page(after=after, limit=limit + 1)
        page, links, headers = cut(found, limit, lambda row: int(row["number"]))
        shown = _user if query.get("detail") else _name
        users = [shown(row) for row in page]
        return render_json({"users": users, "links": links}, 200, headers)

    def post(self, body: dict[str, Any]) -> Response:
        """Add a user."""
        note(target=body["username"])
        return _created(services().accounts.add(body))


class User(UserResource):
    """One user."""

    operations: ClassVar = {
        "get": Operation(
            "A user", {200: Answer("The user", a("User"))}, problems=(AccountNotFound,)
        ),
        "put": Operation(
            "Make the user what the body says",
            {
                200: Answer("There was one, who is that now", a("User")),
                201: Answer("There was none, and is one now", a("User"), ("Location",)),
            },
            body=USER_AT_PATH,
            problems=(AccountExists, LastAdmin),
        ),
        "patch": Operation(
            "Change the members given",
            {200: Answer("The user, as changed", a("User"))},
            body=USER_CHANGES,
            problems=(AccountNotFound, AccountExists, LastAdmin),
        ),
        "delete": Operation(
            "Remove a user, who is out at once",
            {204: Answer("The user is gone")},
            problems=(AccountNotFound, LastAdmin),
        ),
    }

    def get(self, username: str) -> Response:
        """Return the user."""
        return render_json(_user(services().accounts.get(username)))

    def put(self, username: str, body: dict[str, Any]) -> Response:
        """Make the user what the body says, whether there was one or not."""
        row, is_new = services().accounts.replace(username, body)
        _note_rename(username, row, body)
        return _created(row) if is_new else render_json(_user(row))

    def patch(self, username: str, body: dict[str, Any]) -> Response:
        """Change the members given."""
        row = services().accounts.change(username, body)
        _note_rename(username, row, body)
        return render_json(_user(row))

    def delete(self, username: str) -> Response:
        """Remove the user, who is out at once."""
        services().accounts.remove(username)
        return render_nothing()


class CredentialResource(BaseResource):
    """The credentials of a user, for whom it is and for admins."""

    def permit(self, in_path: dict[str, Any]) -> None:
        """Let in the user, and admins; to make or end some, not by mere tokens."""
        user().require_self_or_admin(in_path["username"])
        if request.method not in ("GET", "HEAD"):
            user().require_password()


class UserTokens(CredentialResource):
    """A user's bearer tokens."""

    operations: ClassVar = {
        "get": Operation(
            "The tokens of a user",
            {200: Answer("A page of them", a("Tokens"), PAGE_HEADERS)},
            query=PAGE_QUERY,
            problems=(AccountNotFound,),
        ),
        "post": Operation(
            "Make a bearer token",
            {201: Answer("The token", a("NewToken"), ("Location", "Cache-Control"))},
            body=TOKEN,
            body_optional=True,
            problems=(AccountNotFound,),
        ),
    }

    def get(self, username: str, query: dict[str, Any]) -> Response:
        """Return a page of them, without what they are."""
        account = services().accounts.get(username)
        limit = query.get("limit", PAGE)
        after = read_cursor(query.get("cursor")) or 0
        found = services().tokens.page(account, after=after, limit=limit + 1)
        page, links, headers = cut(found, limit, lambda token: token.number)
        tokens = [_token(token, username) for token in page]
        return render_json({"tokens": tokens, "links": links}, 200, headers)

    def post(self, username: str, body: dict[str, Any]) -> Response:
        """Make one; this answer alone shows it."""
        text, token = services().tokens.issue(
            services().accounts.get(username),
            scopes=body.get("scopes"),
            expires_seconds=body.get("expires_seconds"),
            description=body.get("description", ""),
        )
        note(detail=" ".join([token.token_id, *token.scopes]))
        shown = _token(token, username)
        location = {"Location": shown["links"][0]["href"], "Cache-Control": "no-store"}
        return render_json({"token": text} | shown, 201, location)


class UserToken(CredentialResource):
    """One of them."""

    operations: ClassVar = {
        "delete": Operation(
            "End a token",
            {204: Answer("It is worth nothing any more")},
            problems=(AccountNotFound, TokenNotFound),
        )
    }

    def delete(self, username: str, token_id: str) -> Response:
        """Make it worth nothing, at once."""
        account = services().accounts.get(username)
        if not _TOKEN_ID.fullmatch(token_id):
            raise TokenNotFound
        services().tokens.revoke(account, token_id)
        return render_nothing()


class SigningKey(CredentialResource):
    """The key by which a user signs the uuids of /api/exec and /api/poll."""

    operations: ClassVar = {
        "post": Operation(
            "Make a key to sign uuids by, which ends the one before",
            {201: Answer("The key", a("SigningKey"), ("Cache-Control",))},
            problems=(AccountNotFound,),
        )
    }

    def post(self, username: str) -> Response:
        """Make a new one, which ends the one before; this answer alone shows it."""
        key = services().signed_callers.issue_key(username)
        return render_json({"signing_key": key}, 201, {"Cache-Control": "no-store"})


def _created(row: Any) -> Response:
    location = url_for("v3.user", username=row["username"])
    return render_json(_user(row), 201, {"Location": location})


def _members(body: dict[str, Any]) -> str:
    return ", ".join(sorted(body.keys() & USER.document["properties"].keys()))


def _note_rename(username: str, row: Any, body: dict[str, Any]) -> None:
    if row["username"] != username:
        note(detail=f"{_members(body)}; now {row['username']}")


def _name(row: Any) -> str:
    return str(row["username"])


def _user(row: Any) -> dict[str, Any]:
    href = url_for("v3.user", username=row["username"])
    return {
        "username": row["username"],
        "fullname": row["fullname"],
        "admin": row["admin"],
        "links": [
            {"rel": "self", "href": href},
            {"rel": "tokens", "href": f"{href}/tokens"},
            {"rel": "signing-key", "href": f"{href}/signing-key", "method": "POST"},
        ],
    }


def _token(token: Token, username: str) -> dict[str, Any]:
    href = url_for("v3.token", username=username, token_id=token.token_id)
    return {
        "id": token.token_id,
        "scopes": list(token.scopes),
        "description": token.description,
        "created": moment(token.created),
        "expires": moment(token.expires),
        "links": [{"rel": "revoke", "href": href, "method": "DELETE"}],
    }
