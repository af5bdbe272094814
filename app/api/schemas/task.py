"""What the routes of a task take."""

from app.api.validation import Schema

OUTPUT_LIMIT_BYTES = 65536

OUTPUT_QUERY = Schema(
    {
        "type": "object",
        "properties": {
            "offset": {"type": "integer", "minimum": 0, "default": 0},
            "limit": {
                "type": "integer",
                "minimum": 1,
                "maximum": 1024 * 1024,
                "default": OUTPUT_LIMIT_BYTES,
            },
            "stream": {"type": "string", "enum": ["stdout"], "default": "stdout"},
        },
        "additionalProperties": False,
    }
)
