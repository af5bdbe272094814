"""Who is told of the end of a task: the form of a notice, and what is kept of it.

A notice is kept as JSON, in a list with the others of its task. What it has told, and
how far it has come with that, takes the place of what it was given.
"""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

#: Who gets a text message, and what; what is wrong with parameters is told by their
#: template, without the value.
RECEIVERS = {
    "type": ["string", "array"],
    "minLength": 1,
    "minItems": 1,
    "items": {"type": "string", "minLength": 1},
}
TEMPLATE = {"type": "string", "minLength": 1, "maxLength": 200}
PARAMS = {"type": "object"}

# It is kept as JSON: a catalogue's may be a date, which that has not.
_VALUE = {"type": ["string", "number"], "writeOnly": True}

# The base64 of 24 to 64 bytes.
_BASE64 = r"(?:[A-Za-z0-9+/]{4})"
_ENDS = r"(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)"
_BASE64_KEY = rf"{_BASE64}{{8,20}}{_ENDS}?|{_BASE64}{{21}}(?:[A-Za-z0-9+/]{{2}}==)?"

#: Of which ends somebody is told, and how; an entry of the catalogue has the same.
NOTICE: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "on": {
            "type": "array",
            "items": {"enum": ["success", "failure", "revoked", "lost"]},
            "minItems": 1,
            "uniqueItems": True,
        },
        "webhook": {
            "type": "object",
            "properties": {
                "url": {"type": "string", "minLength": 1, "maxLength": 2048},
                "secret": {
                    "type": "string",
                    "pattern": f"whsec_(?:{_BASE64_KEY})",
                    "writeOnly": True,
                },
            },
            "required": ["url"],
            "additionalProperties": False,
        },
        "sms": {
            "type": "object",
            "properties": {
                "receivers": RECEIVERS,
                "template": TEMPLATE,
                "params": {**PARAMS, "additionalProperties": _VALUE},
            },
            "required": ["receivers", "template"],
            "additionalProperties": False,
        },
    },
    "required": ["on"],
    "anyOf": [{"required": ["webhook"]}, {"required": ["sms"]}],
    "additionalProperties": False,
}

#: Who has given a notice that is not the caller's own.
BY_CATALOGUE = {"by": "catalogue"}


def read_notices(kept: str | None) -> list[dict[str, Any]]:
    """Return the notices of a task, the caller's own first."""
    found = json.loads(kept or "[]")
    # A record of an earlier version has one notice, and no list.
    return [found] if isinstance(found, dict) else list(found)


def is_waiting(notice: Mapping[str, Any]) -> bool:
    """Return whether a webhook is still to be told, or has to be told again."""
    webhook = notice.get("webhook")
    return webhook is not None and webhook.get("state", "waiting") == "waiting"


def shown_url(notice: Mapping[str, Any]) -> str:
    """Return what may be shown of a webhook's URL: anything else may be a secret.

    Of one in the catalogue, whose author is not who sees it, that is the host alone.
    """
    try:
        parts = urlsplit(notice["webhook"]["url"])
    except ValueError:  # it stands in the catalogue, and was never checked
        return ""
    host = parts.netloc.rpartition("@")[2]
    path = "/" if "by" in notice else parts.path
    return f"{parts.scheme}://{host}{path}" if host else ""
