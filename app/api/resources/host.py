"""How the host is."""

import time
from typing import ClassVar

from flask import Response, current_app

from app.api.audit_log import note
from app.api.guard import origin
from app.api.idempotency import once
from app.api.operation import IDEMPOTENCY_KEY, Answer, Operation
from app.api.rendering import (
    JSON,
    TEXT,
    prefers_text,
    render_head,
    render_json,
    render_text,
)
from app.api.resource import BaseResource, services
from app.api.schemas.answer import STRING, a
from app.api.schemas.iostat import IOSTAT_QUERY
from app.api.task_view import href_of
from app.errors import (
    CapacityExceeded,
    Draining,
    Fault,
    HostReadingFailed,
    InvalidInput,
    WaitersExceeded,
)
from app.host.iostat import Sample, iostat_samples, render_header, render_sample
from app.tasks.order import ANYWHERE, Place


class Uptime(BaseResource):
    """The line of uptime(1), and its figures."""

    operations: ClassVar = {
        "get": Operation(
            "How long the host is up, and how loaded it is",
            {
                200: Answer(
                    "The line of uptime(1), and its figures",
                    {JSON: a("Uptime"), TEXT: STRING},
                )
            },
            problems=(HostReadingFailed,),
            is_stored=False,
        )
    }

    def get(self) -> Response:
        """Return them, or the bare line where plain text is preferred."""
        uptime = services().host_readings.uptime()
        return render_text(uptime["uptime"]) if prefers_text() else render_json(uptime)


class Iostat(BaseResource):
    """The report of `iostat -d`, and its figures, within one request."""

    operations: ClassVar = {
        "get": Operation(
            "What the disks do; waits (count - 1) * wait seconds",
            {
                200: Answer(
                    "The report of iostat -d, and its figures",
                    {JSON: a("Iostat"), TEXT: STRING},
                )
            },
            query=IOSTAT_QUERY,
            problems=(HostReadingFailed, WaitersExceeded),
            is_stored=False,
        )
    }

    def get(self, query: dict[str, int]) -> Response:
        """Take the samples, waiting between them, and return them all."""
        count, wait_seconds = self._checked_times(query)
        header = render_header(services().procfs)
        samples = self._samples(count, wait_seconds)
        text = header + "".join(render_sample(sample) for sample in samples)
        if prefers_text():
            return render_text(text)
        return render_json(
            {"iostat": text, "samples": [sample.members() for sample in samples]}
        )

    def head(self, query: dict[str, int]) -> Response:
        """Check the query without waiting for anything."""
        self._checked_times(query)
        return render_head(mimetype=TEXT if prefers_text() else JSON)

    def _checked_times(self, query: dict[str, int]) -> tuple[int, int]:
        limit_seconds = current_app.config["IOSTAT_SYNC_SECONDS"]
        return _times(
            query, limit_seconds, "the most that one request may; ask /v2/iostat/"
        )

    def _samples(self, count: int, wait_seconds: int) -> list[Sample]:
        samples = iostat_samples(
            services().procfs,
            count=count,
            wait_seconds=wait_seconds,
            sleep=time.sleep,
        )
        if count == 1:
            return list(samples)
        with services().waiting():
            return list(samples)


class IostatTask(BaseResource):
    """The same report as a task, for as long as a command may run."""

    operations: ClassVar = {
        method: Operation(
            "Start a report of what the disks do, as a task",
            {201: Answer("It was started", a("StartedTask"), ("Location",))},
            query=IOSTAT_QUERY,
            problems=(CapacityExceeded, Draining),
            headers=headers,
        )
        for method, headers in {"get": (), "post": (IDEMPOTENCY_KEY,)}.items()
    }

    def get(self, query: dict[str, int], host: str | None = None) -> Response:
        """Start the task, on a host if that is named."""
        count, wait_seconds = self._checked_times(query)
        place = ANYWHERE if host is None else Place(services().hosts.get(host).name)

        def start() -> Response:
            task = services().start_iostat(
                count=count, wait_seconds=wait_seconds, origin=origin(), place=place
            )
            target = f"count {count}, wait {wait_seconds}"
            note(
                target=target if host is None else f"{target}, host {host}",
                task_id=task.task_id,
            )
            return _started(task.task_id)

        return once(host, start, _started)

    post = get

    def head(self, query: dict[str, int], host: str | None = None) -> Response:
        """Check the query, and the host if that is named, and start nothing."""
        self._checked_times(query)
        if host is not None:
            services().hosts.get(host)
        return render_head(201)

    def _checked_times(self, query: dict[str, int]) -> tuple[int, int]:
        limit_seconds = current_app.config["EXEC_TIMEOUT_SECONDS"]
        return _times(query, limit_seconds, "the most that a task may")


def _started(task_id: str) -> Response:
    href = href_of(task_id)
    answer = {"task_id": task_id, "links": [{"rel": "task", "href": href}]}
    return render_json(answer, 201, {"Location": href})


def _times(query: dict[str, int], limit_seconds: float, why: str) -> tuple[int, int]:
    """Return count and wait; raise InvalidInput where they do not go together."""
    count, wait_seconds = query.get("count", 1), query.get("wait", 1)
    if count == 1 and wait_seconds != 1:
        fault = "needs a count of 2 or more: one sample is not waited for"
        raise InvalidInput([Fault("wait", fault)])
    if (count - 1) * wait_seconds > limit_seconds:
        fault = f"with this wait takes longer than {limit_seconds:g} s, {why}"
        raise InvalidInput([Fault("count", fault)])
    return count, wait_seconds
