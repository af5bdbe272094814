"""What every list takes."""

from typing import Any

from app.schema import Schema

PAGE = 100

# What is kept, or compared with that: PostgreSQL has no text with a NUL.
TEXT = {"type": "string", "pattern": r"[^\x00]*", "maxLength": 300}


def page_query(**properties: Any) -> Schema:
    """Return the schema of a list's query, with members of its own."""
    return Schema(
        {
            "type": "object",
            "properties": {
                "limit": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 1000,
                    "default": PAGE,
                },
                "cursor": {"type": "string", "maxLength": 100},
                **properties,
            },
            "additionalProperties": False,
        }
    )


PAGE_QUERY = page_query()
