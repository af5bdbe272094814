"""What the directory of people takes."""

from app.api.schemas.answer import INTEGER, STRING, a, an_array, an_object
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
        "examples": [{"name": "安娜", "age": 30, "phone": "+8613800000000"}],
    }
)

#: Some members of a person, which are merged into the others.
PERSON_CHANGES = Schema(
    {
        "type": "object",
        "properties": _MEMBERS,
        "additionalProperties": False,
        "examples": [{"age": 31}],
    }
)

_ANNA = {"uid": 0, "name": "安娜", "age": 30, "phone": "+8613800000000"}
# The description of what can be done is older than the links of other answers.
_LINK = an_object(
    uri=STRING,
    method=STRING,
    description=STRING,
    optional={"rel": STRING, "href": STRING},
)

ANSWERS = {
    "Person": {
        **an_object(uid=INTEGER, name=STRING, age=INTEGER, optional={"phone": STRING}),
        "examples": [_ANNA],
    },
    "AddedPerson": {
        **an_object(msg=STRING, uid=INTEGER),
        "examples": [{"msg": "the person was added", "uid": 0}],
    },
    "People": {
        **an_object(
            **{
                "description": STRING,
                "user-count": INTEGER,
                "users": an_array(a("Person")),
                "links": an_array(_LINK),
            }
        ),
        "examples": [
            {
                "description": "The directory of people",
                "user-count": 1,
                "users": [_ANNA],
                "links": [
                    {
                        "uri": "/v1/user",
                        "method": "GET",
                        "description": "list the people",
                    }
                ],
            }
        ],
    },
}
