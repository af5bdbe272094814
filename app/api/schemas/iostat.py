"""What the iostat routes take."""

from app.schema import Schema

IOSTAT_QUERY = Schema(
    {
        "type": "object",
        "properties": {
            "count": {"type": "integer", "minimum": 1, "default": 1},
            "wait": {"type": "integer", "minimum": 1, "default": 1},
        },
        "additionalProperties": False,
    }
)
