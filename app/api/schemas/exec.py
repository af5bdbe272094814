"""What the routes take that start a command."""

from app.api.schemas.answer import INTEGER, STRING, a, an_array, an_object, or_null
from app.schema import Schema
from app.tasks.notice import NOTICE

EXEC_BODY = Schema(
    {
        "type": "object",
        "properties": {"cmd": {"type": "string", "minLength": 1}},
        "required": ["cmd"],
        "additionalProperties": False,
        "examples": [{"cmd": "echo text=hello"}],
    }
)

WAIT_SECONDS = 60

NOTIFY = Schema(NOTICE)

#: Several hosts: those that have all the labels, of the names if there are any.
HOSTS = {
    "type": "object",
    "properties": {
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "names": {
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "minItems": 1,
            "uniqueItems": True,
        },
    },
    "minProperties": 1,
    "additionalProperties": False,
}

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
            "detached": {"type": "boolean"},
            "host": {"type": "string", "minLength": 1},
            "host_away": {"enum": ["refuse", "wait"]},
            "hosts": HOSTS,
            "max_parallel": {"type": "integer", "minimum": 1},
            "max_errors": {"type": "integer", "minimum": 0},
            "notify": NOTICE,
        },
        "additionalProperties": False,
        "examples": [
            {"command": "echo", "params": {"text": "hello"}, "wait_seconds": 10},
            {
                "command": "echo",
                "params": {"text": "hello"},
                "hosts": {"labels": {}},
                "max_parallel": 2,
            },
        ],
    }
)

_ID = "0c0d4dcb-1af5-4bd4-8f35-6c6d4a3e0a0b"

ANSWERS = {
    "Accepted": {
        **an_object(
            mode={"const": "exec"},
            status={"const": "accepted"},
            task_id=STRING,
            links=an_array(a("Link")),
        ),
        "examples": [
            {
                "mode": "exec",
                "status": "accepted",
                "task_id": _ID,
                "links": [
                    {"rel": "poll", "href": "/api/poll/bob"},
                    {"rel": "task", "href": f"/v3/task/{_ID}"},
                ],
            }
        ],
    },
    "Poll": {
        **an_object(
            mode={"const": "poll"},
            status={"enum": ["running", "finished"]},
            optional={
                "output": STRING,
                "task_id": STRING,
                "next_offset": INTEGER,
                "dropped_bytes": INTEGER,
                "returncode": or_null(INTEGER),
                "state": STRING,
                "reason": or_null(STRING),
            },
        ),
        "examples": [
            {
                "mode": "poll",
                "status": "running",
                "output": "30\n31\n32",
                "task_id": _ID,
                "next_offset": 86,
                "dropped_bytes": 0,
            }
        ],
    },
}
