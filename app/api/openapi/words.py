"""What many methods have, in words: headers, parts of paths, credentials."""

from typing import Any

from app.api.rendering import JSON
from app.api.schemas.answer import INTEGER, STRING
from app.auth.accounts import USERNAME, USERNAME_MAX_LENGTH

DESCRIPTION = """\
How the host is, approved commands with their output while they run, text messages.

Bodies are JSON in UTF-8. Times are RFC 3339 in UTC, durations are seconds, sizes bytes.
Every error is `application/problem+json`. HEAD and OPTIONS are answered wherever GET
is, other methods with 405 and `Allow`; a path without its last slash redirects (308)
to the one with it. A request may name itself by `X-Request-ID`. With `RESPONSE_UUID`
every object that is answered also has that name, as `uuid`.
"""

TAGS = {
    "v1": "How the host is, and the people whom a message can go to",
    "v2": "Reports as tasks; the id of a task is the key to it",
    "v3": "With users: commands, tasks, messages, credentials, the audit",
    "api": "A command for each caller, text messages, health",
    "index": "What there is, as links",
    "service": "The service about itself",
}

SECURITY: dict[str, dict[str, Any]] = {
    "password": {"type": "http", "scheme": "basic"},
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "a token of /v3/users/{username}/tokens",
    },
    "metricsToken": {
        "type": "http",
        "scheme": "bearer",
        "description": "METRICS_TOKEN of the settings",
    },
}

_PATH = {"type": "string", "format": "uri-reference"}

#: Headers of answers, by name.
HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-ID": {
        "description": "The request's name in the log, in problems and on tasks",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
        "required": True,
    },
    "WWW-Authenticate": {
        "description": "The credentials that are taken",
        "schema": STRING,
        "required": True,
    },
    "Retry-After": {
        "description": "Seconds to wait before asking again",
        "schema": INTEGER,
        "required": True,
    },
    "Accept": {
        "description": "The media type that a body must have",
        "schema": {"const": JSON},
        "required": True,
    },
    "Location": {"description": "What was made", "schema": _PATH},
    "Link": {
        "description": "The next page; from an index, what describes the service",
        "schema": STRING,
    },
    "Idempotent-Replayed": {
        "description": "`true`: this is the first answer again",
        "schema": {"const": "true"},
    },
    "Preference-Applied": {
        "description": "What of `Prefer` was followed",
        "schema": STRING,
    },
    "X-Next-Offset": {
        "description": "With text: the offset to read on from",
        "schema": INTEGER,
    },
    "X-Dropped-Bytes": {
        "description": "With text: what of it is no longer kept",
        "schema": INTEGER,
    },
    "X-Task-State": {"description": "With text: the task's state", "schema": STRING},
    "X-Returncode": {
        "description": "With text: how the command has ended",
        "schema": INTEGER,
    },
    "Cache-Control": {"description": "What may be kept", "schema": STRING},
    "ETag": {"description": "Names this version of it", "schema": STRING},
}

#: Headers of requests, by name.
SENT_HEADERS: dict[str, dict[str, Any]] = {
    "Idempotency-Key": {
        "description": "The same key with the same body gets the first answer again",
        "schema": {
            "type": "string",
            "pattern": r"^(?:\"[ !#-~]{1,255}\"|[!#-~]{1,255})$",
        },
    },
    "Prefer": {
        "description": "`wait=N`, seconds to wait for the end of a command; "
        "`respond-async`, to send a message as a task",
        "schema": STRING,
    },
    "X-Request-ID": {
        "description": "A name for the request: 1 to 128 of A-Z a-z 0-9 . _ -; "
        "what is none is passed over, and the request is given one",
        "schema": STRING,
    },
    "Last-Event-ID": {
        "description": "With events: the id to go on from",
        "schema": STRING,
    },
}

_NAME = {"type": "string", "pattern": "^[^/]+$"}

#: Parts of paths, by name; those of some routes are narrower.
IN_PATH: dict[str, dict[str, Any]] = {
    "uid": {"schema": {**INTEGER, "minimum": 0}, "example": 0},
    "task_id": {"schema": _NAME, "example": "f7de8e3f-6a7b-4e6b-8c7c-1fb6c9c5b3a4"},
    "message_id": {"schema": _NAME, "example": "0a3cf3f4-8f6e-4f0a-9d55-2f1f6c0f9a51"},
    "token_id": {"schema": _NAME, "example": "c2a0cb4e-77cf-4fd7-8f6c-04a9a4c50c8e"},
    "name": {"schema": _NAME, "example": "echo", "description": "a command"},
    "host": {"schema": _NAME, "example": "pelican"},
    "username": {
        "schema": {
            "type": "string",
            "pattern": f"^(?:{USERNAME})$",
            "maxLength": USERNAME_MAX_LENGTH,
        },
        "example": "bob",
    },
    "user": {
        "schema": _NAME,
        "example": "anna",
        "description": "any name but exec, poll, health and sms",
    },
    "uuid": {"schema": _NAME, "example": "42"},
    "provider": {"schema": _NAME, "example": "kannel"},
    "secret": {
        "schema": _NAME,
        "example": "…",
        "description": "SMS_RECEIPTS_SECRET of the settings",
    },
    "file": {"schema": _NAME, "example": "start.js"},
}

#: The part of a path that says who calls.
CALLER = {
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
    "example": "bob",
    "description": "who calls; signed, where EXEC_TOKEN_REQUIRED is on",
}
