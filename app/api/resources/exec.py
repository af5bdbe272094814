"""Start a caller's command, and poll it."""

from typing import Any, ClassVar

from flask import Response, g, request, url_for

from app.api.errors import problem
from app.api.guard import caller_faults, caller_of
from app.api.rendering import render_head, render_json
from app.api.resource import BaseResource, Takes, services
from app.api.schemas.exec import EXEC_BODY
from app.errors import CapacityExceeded, Fault, SlotBusy
from app.tasks.runs import Poll


class SlotResource(BaseResource):
    """A caller's slot: its methods are given the caller that the uuid stands for."""

    @classmethod
    def guard(cls, in_path: dict[str, Any]) -> None:
        """Let in who has a uuid that counts."""
        in_path["caller"] = caller_of(in_path.pop("uuid"))

    def path_faults(self, in_path: dict[str, Any]) -> list[Fault]:
        """Return what is wrong with the caller's name."""
        return caller_faults(in_path["caller"])


class Exec(SlotResource):
    """Starts a command in the caller's slot, which holds one at a time."""

    takes: ClassVar = {"post": Takes(body=EXEC_BODY)}

    def post(self, caller: str, body: dict[str, str]) -> Response:
        """Start the command, unless the caller's last one or the host is busy."""
        runs = services().runs
        try:
            task = runs.start(body["cmd"], caller=caller, request_id=g.uuid)
        except (SlotBusy, CapacityExceeded) as error:
            return problem(error, mode="exec", status="busy")
        answer = {"mode": "exec", "status": "accepted", "task_id": task.task_id}
        poll = {"rel": "poll", "href": url_for("api.poll", **request.view_args or {})}
        return render_json(answer | {"links": [poll]}, 202)


class PollNewest(SlotResource):
    """The newest lines of the caller's newest command."""

    def get(self, caller: str) -> Response:
        """Return the lines that no poll has given, and count them as given."""
        return render_json(_poll(services().runs.poll(caller)))

    post = get

    def head(self, caller: str) -> Response:
        """Give nothing, so take nothing."""
        services().runs.poll(caller, take=False)
        return render_head()


def _poll(poll: Poll) -> dict[str, Any]:
    status = "finished" if poll.finished else "running"
    answer: dict[str, Any] = {"mode": "poll", "status": status}
    if poll.task is None or poll.lines is None:
        return answer
    answer |= {
        "output": poll.lines.text,
        "task_id": poll.task.task_id,
        "next_offset": poll.lines.next_offset,
        "dropped_bytes": poll.lines.dropped_bytes,
    }
    if poll.finished:
        answer |= {
            "returncode": poll.task.returncode,
            "state": poll.task.state,
            "reason": poll.task.reason,
        }
    return answer
