"""What a run on several hosts is made of: its parent, its parts, and what they come to.

Nothing here is kept or started; :mod:`app.tasks.fan_out` does.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from app.storage.parts import Parts

from .order import Order, Origin
from .record import TaskRecord
from .states import State

KIND = "fan_out"


@dataclass(frozen=True)
class Spread:
    """On which hosts a command is to run, and how.

    `max_parallel` parts go on at a time, None for all; once more than `max_errors` have
    ended without success, no more are begun, None for all the same.
    """

    hosts: Sequence[str]
    max_parallel: int | None = None
    max_errors: int | None = None


def parent_of(order: Order, origin: Origin, spread: Spread, *, host: str) -> TaskRecord:
    """Return the record of a run on several hosts, which `host` was asked for."""
    now = time.time()
    return TaskRecord(
        task_id=str(uuid4()),
        kind=KIND,
        state=State.STARTED,
        owner=origin.owner,
        host=host,
        worker="",
        request_id=origin.request_id,
        created=now,
        started=now,
        progress_done=0,
        progress_total=len(spread.hosts),
        notify=json.dumps(order.notify) if order.notify else None,
        fan_out=json.dumps({**vars(spread), "account": origin.account}),
        **_asked(order),
    )


def refused_part(
    order: Order, origin: Origin, host: str, *, reason: str, detail: str
) -> TaskRecord:
    """Return the record of a part that its host did not take."""
    now = time.time()
    return TaskRecord(
        task_id=origin.task_id_on(host),
        kind="exec",
        state=State.FAILURE,
        owner=origin.owner,
        host=host,
        worker="",
        request_id=origin.request_id,
        created=now,
        finished=now,
        reason=reason,
        detail=detail,
        parent=origin.parent,
        **_asked(order),
    )


def end_of_parent(
    plan: Mapping[str, Any], parts: Parts, ends: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return what a parent's record says of its end, which is now."""
    counts = parts.counts()
    state, reason = _outcome(parts)
    output = _lines(parts, ends).encode()
    return {
        "state": state,
        "reason": reason,
        "finished": time.time(),
        "returncode": 0 if state is State.SUCCESS else 1,
        "progress_done": counts["total"] - counts["skipped"],
        "output": output,
        "end_offset": len(output),
        "fan_out": json.dumps({**plan, "counts": counts}),
    }


def _asked(order: Order) -> dict[str, Any]:
    params = None if order.params is None else json.dumps(order.params)
    return {"cmd": order.cmd, "command": order.name, "params": params}


def _outcome(parts: Parts) -> tuple[State, str]:
    counts = parts.counts()
    if counts["success"] == counts["total"]:
        return State.SUCCESS, "exit"
    if parts.is_cancelled:
        return State.REVOKED, "cancelled"
    return State.FAILURE, "max_errors" if counts["skipped"] else "children"


def _lines(parts: Parts, ends: Sequence[Mapping[str, Any]]) -> str:
    """Return a line for each host: its name, the state of its part, and why that."""
    why = "cancelled" if parts.is_cancelled else "max_errors"
    skipped = f"SKIPPED {why}"
    ended = {row["host"]: f"{row['state']} {_why(row)}" for row in ends}
    return "".join(f"{host} {ended.get(host, skipped)}\n" for host in parts.hosts)


def _why(row: Mapping[str, Any]) -> str:
    """Return the exit status of a part, or what kept it from having one."""
    has_exited = row["reason"] == "exit" and row["returncode"] is not None
    return str(row["returncode"] if has_exited else row["reason"])
