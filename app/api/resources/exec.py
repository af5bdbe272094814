"""Start a caller's command, and poll it."""

import re
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any, ClassVar

from flask import Response, request, url_for

from app.api.audit_log import note
from app.api.errors import problem
from app.api.guard import caller, caller_faults, origin, user
from app.api.idempotency import is_kept, once
from app.api.operation import (
    IDEMPOTENCY_KEY,
    RETURNCODE,
    STATE,
    Answer,
    Operation,
)
from app.api.rendering import (
    JSON,
    TEXT,
    prefers_text,
    render_head,
    render_json,
)
from app.api.resource import BaseResource, services
from app.api.schemas.answer import STRING, a
from app.api.schemas.exec import EXEC_BODY, NOTIFY, WAIT_SECONDS, WISH_BODY
from app.api.task_view import href_of, show
from app.auth.permissions import Scope
from app.errors import (
    CapacityExceeded,
    CommandNotAllowed,
    Draining,
    Fault,
    HostAway,
    SlotBusy,
    TaskNotFound,
    UuidRefused,
    WaitersExceeded,
)
from app.tasks.order import Place, Wish
from app.tasks.patience import Patience
from app.tasks.record import TaskRecord
from app.tasks.runs import Poll
from app.tasks.spread import Spread

# What starts; one of them is what a wish is for.
_PROGRAMS = ("command", "cmd", "argv")

_PREFERRED_WAIT = re.compile(
    r"(?:^|[,;])\s*wait=([0-9]{1,9})\s*(?:$|[,;])", re.IGNORECASE
)


class SlotResource(BaseResource):
    """A caller's slot: the uuid stands for the caller, whom the guard has found."""

    def path_faults(self, in_path: dict[str, Any]) -> list[Fault]:
        """Return what is wrong with the caller's name."""
        return caller_faults(in_path["uuid"])


class Exec(SlotResource):
    """Starts a command in the caller's slot, which holds one at a time."""

    operations: ClassVar = {
        "post": Operation(
            "Start a command in the caller's slot",
            {202: Answer("It was started, or waits for room", a("Accepted"))},
            body=EXEC_BODY,
            problems=(CommandNotAllowed, SlotBusy, CapacityExceeded, Draining),
            headers=(IDEMPOTENCY_KEY,),
        )
    }

    def permit(self, in_path: dict[str, Any]) -> None:  # noqa: ARG002
        """Raise where the uuid has started a command, unless by this very request."""
        uuid = origin().uuid
        if uuid and services().runs.is_used(uuid) and not is_kept():
            raise UuidRefused

    def post(self, uuid: str, body: dict[str, str]) -> Response:
        """Start the command, unless the caller's last one or the host is busy."""

        def start() -> Response:
            try:
                task = services().runs.start(body["cmd"], origin())
            except (SlotBusy, CapacityExceeded) as error:
                return problem(error, mode="exec", status="busy")
            note(target=task.command, task_id=task.task_id)
            return _accepted(uuid, task.task_id)

        return once(body, start, partial(_accepted, uuid))


class PollNewest(SlotResource):
    """The newest lines of the caller's newest command."""

    operations: ClassVar = {
        method: Operation(
            "The lines of the caller's newest command that no poll has given",
            {
                200: Answer(
                    "The newest of them",
                    {JSON: a("Poll"), TEXT: STRING},
                    (STATE, RETURNCODE),
                )
            },
        )
        for method in ("get", "post")
    }

    def get(self, uuid: str) -> Response:  # noqa: ARG002
        """Return the lines that no poll has given, and count them as given."""
        poll = services().runs.poll(_slot())
        return _poll_text(poll) if prefers_text() else render_json(_poll(poll))

    post = get

    def head(self, uuid: str) -> Response:  # noqa: ARG002
        """Give nothing, so take nothing."""
        services().runs.poll(_slot(), take=False)
        return render_head(mimetype=TEXT if prefers_text() else JSON)


class Start(BaseResource):
    """Starts a command in no slot: the caller may have several running."""

    operations: ClassVar = {
        "post": Operation(
            "Start a command; wait for its end, if that is wished",
            {
                201: Answer(
                    "The task, as it is now; as text what it has written",
                    {JSON: a("Task"), TEXT: STRING},
                    ("Location", "Preference-Applied", STATE, RETURNCODE),
                )
            },
            body=WISH_BODY,
            problems=(
                CommandNotAllowed,
                CapacityExceeded,
                WaitersExceeded,
                Draining,
                HostAway,
            ),
            headers=(IDEMPOTENCY_KEY, "Prefer"),
        )
    }

    def body_faults(self, body: dict[str, Any]) -> list[Fault]:
        """Return what is wrong between the members."""
        given = [name for name in _PROGRAMS if name in body]
        faults = []
        if not given:
            fault = "is required, or cmd or argv where the service allows them"
            faults.append(Fault("command", fault))
        faults += [Fault(name, f"is given beside {given[0]}") for name in given[1:]]
        if body.get("detached") is True:
            _check_may_detach(body.get("command"))
        if "params" in body and "command" not in body:
            faults.append(Fault("params", "are those of a command"))
        faults += _place_faults(body)
        return faults + (_notice_faults(body["notify"]) if "notify" in body else [])

    def post(self, body: dict[str, Any]) -> Response:
        """Start it; answer at once, or when it has ended or the wait is over."""
        return once({**body}, partial(_started, body), _started_before)


def _place_faults(body: dict[str, Any]) -> list[Fault]:
    """Return what is said of hosts without the member that it belongs to."""
    faults = []
    if "host" in body and "hosts" in body:
        faults.append(Fault("hosts", "is given beside host"))
    if "host_away" in body and "host" not in body:
        faults.append(Fault("host_away", "is about a host that is named"))
    given = [name for name in ("max_parallel", "max_errors") if name in body]
    lost = [] if "hosts" in body else given
    return faults + [Fault(name, "is about several hosts") for name in lost]


def _check_may_detach(command: Any) -> None:
    """Raise NotPermitted where neither the command nor its caller leaves that open."""
    entries = services().catalogue.entries(None, every=True)
    always = [entry.name for entry in entries if entry.is_detached]
    if command not in always:
        user().require(Scope.ADMIN)


def _notice_faults(notice: Any) -> list[Fault]:
    """Return what would keep the end from being told; its form is looked at before."""
    if NOTIFY.faults(notice):
        return []
    if "sms" in notice:
        user().require(Scope.SMS)
    return services().endings.faults(notice)


def _started(body: dict[str, Any]) -> Response:
    """Start what the body asks for; answer when it has ended or the wait is over."""
    note(target=_named(body.get("command")))
    wait_seconds, headers = _wait_seconds(body)
    start = _start_of(body)
    # A place to wait is taken first: what is started is answered for.
    with services().waiting() if wait_seconds else nullcontext():
        patience = services().patience(wait_seconds) if wait_seconds else None
        task = start(patience)
        note(task_id=task.task_id)
        if patience is not None and task.finished is None:
            task = _awaited(task, patience)
    return _created(task, headers)


def _start_of(body: dict[str, Any]) -> Callable[[Patience | None], TaskRecord]:
    """Return what starts what the body asks for, on one host or on several."""
    host, away = body.pop("host", None), body.pop("host_away", "refuse")
    hosts = body.pop("hosts", None)
    most = {name: body.pop(name, None) for name in ("max_parallel", "max_errors")}
    wish, by = Wish(**body), origin()
    if hosts is None:
        place = Place(host, waits=away == "wait")
        return lambda patience: services().runs.grant(
            wish, by, place=place, patience=patience
        )
    order = services().runs.order(wish, by)
    names = services().fan_out.matching(hosts.get("labels"), hosts.get("names"))
    note(detail=f"hosts: {len(names)}")
    spread = Spread(names, **most)
    return lambda _patience: services().fan_out.start(order, by, spread)


def _started_before(task_id: str) -> Response:
    task = services().lookup.get(task_id, services().viewer(caller()))
    return _created(task)


def _created(task: TaskRecord, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with the task, or with what it has written where text is preferred."""
    headers = {"Location": href_of(task.task_id), **(headers or {})}
    if prefers_text():
        text = services().lookup.newest_text(task)
        return Response(text, 201, headers | _facts(task), mimetype=TEXT)
    return render_json(show(task), 201, headers)


def _facts(task: TaskRecord) -> dict[str, str]:
    """Return as headers what is known of a task whose text is answered."""
    known = {STATE: task.state, RETURNCODE: task.returncode}
    return {name: str(value) for name, value in known.items() if value is not None}


def _poll_text(poll: Poll) -> Response:
    text = f"{poll.lines.text}\n" if poll.lines and poll.lines.text else ""
    facts = {} if poll.task is None else _facts(poll.task)
    return Response(text, 200, facts, mimetype=TEXT)


def _accepted(uuid: str, task_id: str) -> Response:
    links = [
        {"rel": "poll", "href": url_for("api.poll", uuid=uuid)},
        {"rel": "task", "href": href_of(task_id)},
    ]
    answer = {"mode": "exec", "status": "accepted", "task_id": task_id}
    return render_json(answer | {"links": links}, 202)


def _awaited(task: TaskRecord, patience: Patience) -> TaskRecord:
    """Return the task at its end, or once the wait for that is over.

    As it was, to one renamed or removed meanwhile.
    """
    known = services().wait_for_end(task.task_id, patience)
    if known is not None:
        return known

    try:
        return services().follower.wait_for_end(
            task, lambda: services().viewer(caller()), patience
        )
    except TaskNotFound:  # it was started, which is what has to be answered
        return task


def _named(command: str | None) -> str | None:
    """Return a command's name for the audit: what is no name may be anything."""
    entries = services().catalogue.entries(None, every=True)
    return command if command in [entry.name for entry in entries] else None


def _slot() -> str:
    return origin().slot or ""


def _wait_seconds(body: dict[str, Any]) -> tuple[float, dict[str, str]]:
    """Return how long to wait, taken out of the body or of what is preferred."""
    if "wait_seconds" in body:
        return float(body.pop("wait_seconds")), {}
    preferred = _PREFERRED_WAIT.search(request.headers.get("Prefer", ""))
    if preferred is None:
        return 0.0, {}
    seconds = min(int(preferred[1]), WAIT_SECONDS)
    return float(seconds), {"Preference-Applied": f"wait={seconds}"}


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
