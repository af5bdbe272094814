"""What the routes take that start a command."""

from app.schema import Schema

EXEC_BODY = Schema(
    {
        "type": "object",
        "properties": {"cmd": {"type": "string", "minLength": 1}},
        "required": ["cmd"],
        "additionalProperties": False,
    }
)

WAIT_SECONDS = 60

#: What is run is one of the first three; a command of the catalogue has parameters.
WISH_BODY = Schema(
    {
        "type": "object",
        "properties": {
            "command": {"type": "string", "minLength": 1},
            "params": {"type": "object"},
            "cmd": {"type": "string", "minLength": 1},
            "argv": {"type": "array", "items": {"type": "string"}, "minItems": 1},
            "timeout_seconds": {"type": "number", "exclusiveMinimum": 0},
            "stdin": {"type": "string"},
            "env": {"type": "object", "additionalProperties": {"type": "string"}},
            "cwd": {"type": "string", "minLength": 1},
            "stderr": {"enum": ["merge", "separate"]},
            "wait_seconds": {"type": "number", "minimum": 0, "maximum": WAIT_SECONDS},
        },
        "additionalProperties": False,
    }
)
