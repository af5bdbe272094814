"""The catalogue, as it is answered."""

from app.api.schemas.answer import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    STRING,
    a,
    an_array,
    an_object,
    or_null,
)

_ECHO = {
    "name": "echo",
    "description": "Print a text",
    "params": {
        "type": "object",
        "properties": {"text": {"type": "string"}},
        "required": ["text"],
        "additionalProperties": False,
    },
    "timeout_seconds": 10.0,
    "max_running": None,
    "stdin": False,
    "env_allowed": [],
    "detached": False,
    "links": [
        {"rel": "self", "href": "/v3/commands/echo"},
        {"rel": "exec", "href": "/v3/exec/", "method": "POST"},
    ],
}

ANSWERS = {
    "Command": {
        **an_object(
            name=STRING,
            description=STRING,
            params={"type": "object", "description": "JSON Schema of its parameters"},
            timeout_seconds=NUMBER,
            max_running=or_null(INTEGER),
            stdin=BOOLEAN,
            env_allowed=an_array(STRING),
            detached=BOOLEAN,
            links=an_array(a("Link")),
        ),
        "examples": [_ECHO],
    },
    "Commands": {
        **an_object(commands=an_array(a("Command"))),
        "examples": [{"commands": [_ECHO]}],
    },
}
