"""What the directory of people takes."""

from app.schema import Schema

_MEMBERS = {
    # No control characters: a name is shown in lists, logs and messages.
    "name": {"type": "string", "pattern": r"[^\x00-\x1f\x7f-\x9f]{1,200}"},
    "age": {"type": "integer", "minimum": 0, "exclusiveMaximum": 140},
    # E.164: a plus, a country code, at most fifteen digits in all.
    "phone": {"type": "string", "pattern": r"\+[1-9][0-9]{1,14}"},
}

PERSON = Schema(
    {
        "type": "object",
        "properties": _MEMBERS,
        "required": ["name", "age"],
        "additionalProperties": False,
    }
)

#: Some members of a person, which are merged into the others.
PERSON_CHANGES = Schema(
    {"type": "object", "properties": _MEMBERS, "additionalProperties": False}
)
