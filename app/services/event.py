"""What a webhook says of the end of a task: the same each time that it is told."""

import json
import uuid
from collections.abc import Mapping
from typing import Any

from app.moment import moment
from app.tasks.record import TaskRecord

# Of a task they are always the same ones, so that what has come twice is known.
_NAMESPACE = uuid.UUID("0d3a1f5e-5a3c-4f0e-9d55-0c6a2f1b7e11")


def message_id(task_id: str, number: int) -> str:
    """Return the id of the text message by which a task's notice is told."""
    return str(uuid.uuid5(_NAMESPACE, f"{task_id}:{number}" if number else task_id))


def notice_id(task_id: str, number: int) -> str:
    """Return the id of a task's notice, as a webhook has it."""
    return f"msg_{uuid.uuid5(_NAMESPACE, f'{task_id}:{number}')}"


def event(task: TaskRecord, public_url: str) -> bytes:
    """Return as JSON what is told; `public_url` is empty where nobody can come here."""
    told = {
        "type": f"task.{task.state.lower()}",
        "timestamp": moment(task.finished),
        "data": {**_facts(task), **_facts_if_known(task, public_url)},
    }
    # What the system says of a fault may have what is no character.
    return json.dumps(told, ensure_ascii=False).encode("utf-8", "backslashreplace")


def _facts(task: TaskRecord) -> Mapping[str, Any]:
    return {
        "task_id": task.task_id,
        "kind": task.kind,
        "command": task.command,
        "cmd": task.cmd,
        "state": task.state,
        "reason": task.reason,
        "detail": task.detail,
        "returncode": task.returncode,
        "signal": task.signal,
        "owner": task.owner,
        "host": task.host,
        "request_id": task.request_id,
        "created": moment(task.created),
        "started": moment(task.started),
        "finished": moment(task.finished),
        "output": {"end_offset": task.end_offset, "dropped_bytes": task.dropped_bytes},
        "detached": task.detached,
    }


def _facts_if_known(task: TaskRecord, public_url: str) -> Mapping[str, Any]:
    known: dict[str, Any] = {}
    if task.params is not None:
        known["params"] = json.loads(task.params)
    if public_url:
        known["url"] = f"{public_url.rstrip('/')}/v3/task/{task.task_id}"
    return known
