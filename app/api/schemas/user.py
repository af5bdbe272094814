"""What the routes of users, their tokens and the audit take."""

from app.api.schemas.answer import (
    BOOLEAN,
    INTEGER,
    STRING,
    TIME,
    a,
    a_page,
    an_array,
    an_object,
    or_null,
)
from app.api.schemas.page import TEXT, page_query
from app.auth.accounts import PASSWORD_MAX_LENGTH, USERNAME, USERNAME_MAX_LENGTH
from app.auth.permissions import Scope
from app.schema import Schema

_MEMBERS = {
    "username": {
        "type": "string",
        "pattern": USERNAME,
        "maxLength": USERNAME_MAX_LENGTH,
    },
    # Never part of an answer, not of one that says what is wrong with it either.
    "password": {
        "type": "string",
        "maxLength": PASSWORD_MAX_LENGTH,
        "writeOnly": True,
        "description": "at least PASSWORD_MIN_LENGTH characters",
    },
    # No control characters: it is shown in lists, logs and messages.
    "fullname": {"type": "string", "pattern": r"[^\x00-\x1f\x7f-\x9f]{1,200}"},
    "admin": {"type": "boolean", "default": False},
}

#: A body that is no object is not shown either: it may be the password alone.
USER = Schema(
    {
        "type": "object",
        "writeOnly": True,
        "properties": _MEMBERS,
        "required": ["username", "password", "fullname"],
        "additionalProperties": False,
        "examples": [
            {"username": "bob", "password": "bobs-secret", "fullname": "Bob Sand"}
        ],
    }
)

#: A user whose name is in the path; another one renames.
USER_AT_PATH = Schema(
    {
        "type": "object",
        "writeOnly": True,
        "properties": _MEMBERS,
        "required": ["password", "fullname"],
        "additionalProperties": False,
        "examples": [{"password": "bobs-secret", "fullname": "Bob Sand"}],
    }
)

USER_CHANGES = Schema(
    {
        "type": "object",
        "writeOnly": True,
        "properties": _MEMBERS,
        "additionalProperties": False,
        "examples": [{"fullname": "Bob Sandy"}],
    }
)

USERS_QUERY = page_query(detail={"type": "integer", "enum": [0, 1], "default": 0})

TOKEN = Schema(
    {
        "type": "object",
        "properties": {
            "scopes": {
                "type": "array",
                "items": {"enum": [str(scope) for scope in Scope]},
                "minItems": 1,
                "uniqueItems": True,
            },
            "expires_seconds": {
                "type": "number",
                "exclusiveMinimum": 0,
                "maximum": 10**10,
            },
            "description": {**TEXT, "maxLength": 200},
        },
        "additionalProperties": False,
        "examples": [{"scopes": ["read"], "expires_seconds": 3600}],
    }
)

OUTCOMES = ("success", "refused", "failed")

AUDIT_QUERY = page_query(
    actor=TEXT,
    task_id=TEXT,
    outcome={"type": "string", "enum": list(OUTCOMES)},
)

_BOB = {
    "username": "bob",
    "fullname": "Bob Sand",
    "admin": False,
    "links": [{"rel": "self", "href": "/v3/users/bob"}],
}
_TOKEN_MEMBERS = {
    "id": STRING,
    "scopes": an_array({"enum": [str(scope) for scope in Scope]}),
    "description": STRING,
    "created": TIME,
    "expires": or_null(TIME),
    "links": an_array(a("Link")),
}
_ID = "c2a0cb4e-77cf-4fd7-8f6c-04a9a4c50c8e"
_TOKEN_OF_BOB = {
    "id": _ID,
    "scopes": ["read"],
    "description": "",
    "created": "2026-11-20T12:22:59.611328Z",
    "expires": "2026-11-20T13:22:59.611328Z",
    "links": [
        {
            "rel": "revoke",
            "href": f"/v3/users/bob/tokens/{_ID}",
            "method": "DELETE",
        }
    ],
}

ANSWERS = {
    "User": {
        **an_object(
            username=STRING, fullname=STRING, admin=BOOLEAN, links=an_array(a("Link"))
        ),
        "examples": [_BOB],
    },
    "Users": {
        **a_page("users", {"anyOf": [STRING, a("User")]}),
        "description": "Names; users with `detail=1`.",
        "examples": [{"users": ["admin", "bob"], "links": []}],
    },
    "Token": {**an_object(**_TOKEN_MEMBERS), "examples": [_TOKEN_OF_BOB]},
    "Tokens": {
        **a_page("tokens", a("Token")),
        "examples": [{"tokens": [_TOKEN_OF_BOB], "links": []}],
    },
    "NewToken": {
        **an_object(token=STRING, **_TOKEN_MEMBERS),
        "description": "This answer alone shows the token.",
        "examples": [{"token": "bellhop_…", **_TOKEN_OF_BOB}],
    },
    "SigningKey": {
        **an_object(signing_key=STRING),
        "description": "This answer alone shows the key.",
        "examples": [{"signing_key": "5f0c7c2d…"}],
    },
    "Audit": {
        **a_page(
            "audit",
            an_object(
                time=TIME,
                actor=or_null(STRING),
                via=STRING,
                address=or_null(STRING),
                action=STRING,
                target=or_null(STRING),
                outcome={"enum": list(OUTCOMES)},
                status=or_null(INTEGER),
                detail=or_null(STRING),
                task_id=or_null(STRING),
                request_id=or_null(STRING),
            ),
        ),
        "examples": [
            {
                "audit": [
                    {
                        "time": "2026-11-20T12:22:59.611328Z",
                        "actor": "admin",
                        "via": "password",
                        "address": "127.0.0.1",
                        "action": "POST /v3/users/",
                        "target": "bob",
                        "outcome": "success",
                        "status": 201,
                        "detail": "fullname, password, username",
                        "task_id": None,
                        "request_id": "0a6c6dd1-5b4e-4bb1-9a56-21a4ce8f2a5d",
                    }
                ],
                "links": [],
            }
        ],
    },
}
