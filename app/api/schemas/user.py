"""What the routes of users, their tokens and the audit take."""

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
    }
)

USER_CHANGES = Schema(
    {
        "type": "object",
        "writeOnly": True,
        "properties": _MEMBERS,
        "additionalProperties": False,
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
            "description": {"type": "string", "maxLength": 200},
        },
        "additionalProperties": False,
    }
)

AUDIT_QUERY = page_query(
    actor=TEXT,
    task_id=TEXT,
    outcome={"type": "string", "enum": ["success", "refused", "failed"]},
)
