"""What the routes of a task take."""

from app.api.schemas.page import TEXT, page_query
from app.schema import Schema
from app.tasks.output import STDOUT, STREAMS
from app.tasks.states import State

TASKS_QUERY = page_query(
    state={"type": "string", "enum": [str(state) for state in State]},
    kind={"type": "string", "enum": ["exec", "iostat", "sms"]},
    owner=TEXT,
)

OUTPUT_LIMIT_BYTES = 65536
WAIT_SECONDS = 60

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
            "stream": {"type": "string", "enum": list(STREAMS), "default": STDOUT},
            "wait_seconds": {"type": "number", "minimum": 0, "maximum": WAIT_SECONDS},
            "follow": {"type": "integer", "enum": [0, 1], "default": 0},
        },
        "additionalProperties": False,
    }
)
