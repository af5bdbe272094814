"""What is sent, to whom, and which of it is listed."""

from app.api.schemas.answer import (
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
from app.schema import Schema
from app.sms.message import Category, State
from app.tasks.notice import PARAMS, RECEIVERS, TEMPLATE

# Twilio's longest; the others have none, or a longer one.
VALIDITY_SECONDS = 36_000

_MEMBERS = {
    "receivers": RECEIVERS,
    "template": TEMPLATE,
    "params": PARAMS,
    "provider": {"type": "string", "minLength": 1},
    "validity_seconds": {
        "type": "integer",
        "minimum": 1,
        "maximum": VALIDITY_SECONDS,
    },
}

SMS_BODY = Schema(
    {
        "type": "object",
        "properties": _MEMBERS,
        "required": ["receivers", "template"],
        "additionalProperties": False,
        "examples": [
            {
                "receivers": "+8613800000000",
                "template": "captcha",
                "params": {"code": 123456},
            }
        ],
    }
)

SEND_QUERY = Schema(
    {
        "type": "object",
        "properties": {"async": {"enum": ["0", "1"]}},
        "additionalProperties": False,
    }
)

#: The body of a message, as it would be sent or without its receivers; or a text.
PREVIEW_BODY = Schema(
    {
        "type": "object",
        "properties": {**_MEMBERS, "text": {"type": "string", "maxLength": 10_000}},
        "additionalProperties": False,
        "examples": [{"template": "captcha", "params": {"code": 123456}}],
    }
)

MESSAGES_QUERY = page_query(template=TEXT, provider=TEXT, owner=TEXT)

_ID = "0a3cf3f4-8f6e-4f0a-9d55-2f1f6c0f9a51"
_LINKS = [{"rel": "self", "href": f"/api/sms/{_ID}"}]
_STATE = {"enum": [str(state) for state in State]}
_SENT = {
    "message": "send",
    "id": _ID,
    "provider": "console",
    "receivers": [
        {
            "receiver": "+8613800000000",
            "state": "sent",
            "provider_id": "b7fdbd1f9c0e4f0aa8f9d3a3a2f1c7de",
            "segments": 1,
            "provider": "console",
        }
    ],
}

_FACTS = {
    "message": {"enum": ["send", "partial", "unknown", "failed", "queued"]},
    "id": STRING,
    "provider": STRING,
    "receivers": an_array(a("Receiver")),
}
_OUTLINE = {
    "id": STRING,
    "message": _FACTS["message"],
    "template": STRING,
    "provider": STRING,
    "owner": or_null(STRING),
    "request_id": or_null(STRING),
    "created": TIME,
    "states": {"type": "object", "additionalProperties": INTEGER},
    "links": an_array(a("Link")),
}
_OUTLINE_IF_KNOWN = {"finished": TIME, "validity_seconds": INTEGER, "task_id": STRING}
_OUTLINE_OF_SENT = {
    "id": _ID,
    "message": "send",
    "template": "captcha",
    "provider": "console",
    "owner": "bob",
    "request_id": "0a6c6dd1-5b4e-4bb1-9a56-21a4ce8f2a5d",
    "created": "2026-11-20T12:22:59.505390Z",
    "finished": "2026-11-20T12:22:59.611328Z",
    "states": {"sent": 1},
    "links": _LINKS,
}

ANSWERS = {
    "Receiver": {
        **an_object(
            receiver=STRING,
            state=_STATE,
            provider_id=or_null(STRING),
            segments=or_null(INTEGER),
            optional={
                "provider": STRING,
                "category": {"enum": [str(category) for category in Category]},
                "provider_code": STRING,
                "provider_message": STRING,
            },
        ),
        "examples": _SENT["receivers"],
    },
    "Attempt": {
        **an_object(
            provider=STRING,
            category={"enum": [str(category) for category in Category]},
            provider_code=STRING,
            provider_message=STRING,
        ),
        "description": "What a provider has said that refused",
        "examples": [
            {
                "provider": "aliyun",
                "category": "account",
                "provider_code": "isv.AMOUNT_NOT_ENOUGH",
                "provider_message": "账户余额不足",
            }
        ],
    },
    "SentMessage": {
        **an_object(
            **_FACTS,
            links=an_array(a("Link")),
            optional={"attempts": an_array(a("Attempt"))},
        ),
        "examples": [_SENT | {"links": _LINKS}],
    },
    "AcceptedMessage": {
        **an_object(
            message={"const": "accepted"},
            id=STRING,
            task_id=STRING,
            links=an_array(a("Link")),
        ),
        "examples": [
            {
                "message": "accepted",
                "id": _ID,
                "task_id": "f7de8e3f-6a7b-4e6b-8c7c-1fb6c9c5b3a4",
                "links": [
                    {
                        "rel": "task",
                        "href": "/v3/task/f7de8e3f-6a7b-4e6b-8c7c-1fb6c9c5b3a4",
                    },
                    *_LINKS,
                ],
            }
        ],
    },
    "Message": {
        **an_object(
            **{**_OUTLINE, **_FACTS},
            events=an_array(
                an_object(
                    time=TIME,
                    event=STRING,
                    optional={
                        "provider": STRING,
                        "state": STRING,
                        "detail": STRING,
                        "receiver": STRING,
                    },
                )
            ),
            optional={**_OUTLINE_IF_KNOWN, "attempts": an_array(a("Attempt"))},
        ),
        "examples": [
            _OUTLINE_OF_SENT
            | _SENT
            | {
                "events": [
                    {
                        "time": "2026-11-20T12:22:59.611328Z",
                        "event": "accepted",
                        "provider": "console",
                        "receiver": "+8613800000000",
                    }
                ]
            }
        ],
    },
    "Messages": {
        **a_page("messages", an_object(**_OUTLINE, optional=_OUTLINE_IF_KNOWN)),
        "examples": [{"messages": [_OUTLINE_OF_SENT], "links": []}],
    },
    "Preview": {
        **an_object(
            text=STRING,
            encoding={"enum": ["GSM-7", "UCS-2"]},
            segments=INTEGER,
            parts=an_array(STRING),
        ),
        "examples": [
            {
                "text": "您的验证码是123456",
                "encoding": "UCS-2",
                "segments": 1,
                "parts": ["您的验证码是123456"],
            }
        ],
    },
}
