"""Rows of tasks, for the tests of app/storage."""

import time
import uuid
from typing import Any


def task_row(**changes: Any) -> dict[str, Any]:
    """Return a row of a task that has just been taken on, in a slot of its own."""
    task_id = str(uuid.uuid4())
    return {
        "task_id": task_id,
        "kind": "exec",
        "state": "QUEUED",
        "owner": "bob",
        "slot": f"slot of {task_id}",
        "host": "pelican",
        "worker": "4711",
        "cmd": "true",
        "request_id": None,
        "created": time.time(),
        "end_offset": 0,
        "dropped_bytes": 0,
        "polled_offset": 0,
        "polled_end": False,
        "cancel_requested": False,
    } | changes
