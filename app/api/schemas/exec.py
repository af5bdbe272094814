"""What /api/exec takes."""

from app.api.validation import Schema

EXEC_BODY = Schema(
    {
        "type": "object",
        "properties": {"cmd": {"type": "string", "minLength": 1}},
        "required": ["cmd"],
        "additionalProperties": False,
    }
)
