"""What the routes of a task take."""

from app.api.schemas.answer import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    STRING,
    TIME,
    a,
    a_page,
    an_array,
    an_object,
    or_null,
)
from app.api.schemas.page import TEXT, page_query
from app.schema import Schema
from app.tasks.output import STDOUT, STREAMS
from app.tasks.states import State

KINDS = ("exec", "iostat", "sms", "fan_out")

TASKS_QUERY = page_query(
    state={"type": "string", "enum": [str(state) for state in State]},
    kind={"type": "string", "enum": list(KINDS)},
    owner=TEXT,
    parent=TEXT,
)

#: What is counted of a run on several hosts; the states are those of its parts.
HOSTS_COUNTED = (
    "total",
    "pending",
    "queued",
    "running",
    "success",
    "failure",
    "revoked",
    "lost",
    "skipped",
)

OUTPUT_LIMIT_BYTES = 65536
WAIT_SECONDS = 60

OUTPUT_QUERY = Schema(
    {
        "type": "object",
        "properties": {
            "offset": {
                "type": "integer",
                "minimum": 0,
                "maximum": 2**53 - 1,
                "default": 0,
            },
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

_LENGTHS = an_object(end_offset=INTEGER, dropped_bytes=INTEGER)

_NOTICE = an_object(
    on=an_array(STRING),
    optional={
        "by": {"const": "catalogue"},
        "message_id": STRING,
        "webhook": an_object(
            url={**STRING, "description": "without its query"},
            state={"enum": ["waiting", "delivered", "failed"]},
            attempts=INTEGER,
            optional={
                "id": {**STRING, "description": "the same in each attempt"},
                "status": {**INTEGER, "description": "of the last answer"},
                "detail": {**STRING, "description": "why it was not taken"},
                "delivered": TIME,
            },
        ),
    },
)

_LEFT_OUT_UNTIL_KNOWN = {
    "command": STRING,
    "params": {"type": "object", "description": "those of the command, less secrets"},
    "cmd": STRING,
    "started": TIME,
    "finished": TIME,
    "parent": {**STRING, "description": "the run on several hosts it is a part of"},
    "hosts": {
        **an_object(**dict.fromkeys(HOSTS_COUNTED, INTEGER)),
        "description": "of a run on several hosts: how many there are of each state",
    },
    "progress": an_object(done=INTEGER, total=INTEGER),
    "reason": {**STRING, "description": "how it has ended: exit, signal, timeout, …"},
    "detail": STRING,
    "returncode": INTEGER,
    "signal": {**STRING, "description": "SIGKILL, …; `returncode` is 128 + its number"},
    "leftovers": BOOLEAN,
    "usage": an_object(cpu_seconds=NUMBER, max_rss_bytes=or_null(INTEGER)),
    "stderr": _LENGTHS,
    "detached": {**BOOLEAN, "description": "whether it outlives the service"},
    "notify": {**_NOTICE, "description": "who is told of its end, the caller's first"},
    "notifies": {**an_array(_NOTICE), "description": "all, where there are several"},
    "position": {**INTEGER, "description": "its place in the queue"},
    "result": {
        "type": ["object", "string"],
        "description": "what came of it, or why nothing did",
    },
}

_ID = "f7de8e3f-6a7b-4e6b-8c7c-1fb6c9c5b3a4"

_TASK = {
    "task_id": _ID,
    "kind": "exec",
    "state": "SUCCESS",
    "owner": "bob",
    "host": "pelican",
    "request_id": "0a6c6dd1-5b4e-4bb1-9a56-21a4ce8f2a5d",
    "created": "2026-11-20T12:22:59.505390Z",
    "command": "echo",
    "params": {"text": "hello"},
    "started": "2026-11-20T12:22:59.510343Z",
    "finished": "2026-11-20T12:22:59.511787Z",
    "reason": "exit",
    "returncode": 0,
    "leftovers": False,
    "usage": {"cpu_seconds": 0.001404, "max_rss_bytes": None},
    "output": {"end_offset": 6, "dropped_bytes": 0},
    "links": [
        {"rel": "self", "href": f"/v3/task/{_ID}"},
        {"rel": "output", "href": f"/v3/task/{_ID}/output"},
    ],
}

ANSWERS = {
    "Task": {
        **an_object(
            task_id=STRING,
            kind={"enum": list(KINDS)},
            state={"enum": [str(state) for state in State]},
            owner=or_null(STRING),
            host=STRING,
            request_id=or_null(STRING),
            created=TIME,
            output=_LENGTHS,
            links=an_array(a("Link")),
            optional=_LEFT_OUT_UNTIL_KNOWN,
        ),
        "description": "Members that are not known yet are left out.",
        "examples": [_TASK | {"result": {"returncode": 0, "output": "hello\n"}}],
    },
    "Tasks": {
        **a_page("tasks", a("Task")),
        "examples": [{"tasks": [_TASK], "links": []}],
    },
    "StartedTask": {
        **an_object(task_id=STRING, links=an_array(a("Link"))),
        "examples": [
            {
                "task_id": _ID,
                "links": [{"rel": "task", "href": f"/v2/task/{_ID}"}],
            }
        ],
    },
    "Output": {
        **an_object(
            task_id=STRING,
            stream={"enum": list(STREAMS)},
            offset=INTEGER,
            next_offset=INTEGER,
            dropped_bytes=INTEGER,
            text=STRING,
            eof=BOOLEAN,
            state={"enum": [str(state) for state in State]},
        ),
        "description": "Offsets are bytes; reading consumes nothing.",
        "examples": [
            {
                "task_id": _ID,
                "stream": STDOUT,
                "offset": 0,
                "next_offset": 6,
                "dropped_bytes": 0,
                "text": "hello\n",
                "eof": True,
                "state": "SUCCESS",
            }
        ],
    },
}
