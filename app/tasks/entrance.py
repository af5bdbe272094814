"""What a task is when it comes in, whichever engine is to run it."""

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from app.storage.task_store import Admission, Room

from .order import Order, Origin
from .record import TaskRecord
from .report_job import Report
from .states import State


def new_record(
    kind: str, origin: Origin, *, host: str, worker: str, **facts: Any
) -> TaskRecord:
    """Return the record of a task that nobody has begun."""
    every: dict[str, Any] = {
        "task_id": str(uuid.uuid4()),
        "kind": kind,
        "state": State.QUEUED,
        "owner": origin.owner,
        "slot": origin.slot,
        "host": host,
        "worker": worker,
        "request_id": origin.request_id,
        "created": time.time(),
    }
    return TaskRecord(**every | facts)


def facts_of_order(order: Order) -> dict[str, Any]:
    """Return what a record says of a command that is to be run."""
    return {
        "cmd": order.cmd,
        "command": order.name,
        "params": _json(order.params),
        "max_running": order.max_running,
        "notify": _json(order.notify or None),
        "stderr_end_offset": 0 if order.command.separate_stderr else None,
        "detached": order.is_detached,
    }


def facts_of_report(report: Report) -> dict[str, Any]:
    """Return what a record says of a report that is to be made."""
    return {"progress_done": 0, "progress_total": report.total}


def admission_of(room: Room, origin: Origin) -> Admission:
    """Return what has to hold for a task to be taken on."""
    return Admission(
        room, account=origin.account, uuid=origin.uuid, request=origin.request
    )


def _json(document: Mapping[str, Any] | Sequence[Any] | None) -> str | None:
    return None if document is None else json.dumps(document)
