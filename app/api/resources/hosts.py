"""The hosts that there are, how they are, and were in the last ten minutes."""

import gzip
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar

from flask import Response, request, url_for

from app.api.host_view import host_document
from app.api.operation import Answer, Operation
from app.api.rendering import JSON, TEXT, prefers_text, render_json, render_text
from app.api.resource import BaseResource, services
from app.api.resources.host import IostatTask
from app.api.schemas.answer import STRING, a
from app.api.schemas.host import SAMPLES_QUERY
from app.errors import (
    BrokerUnavailable,
    Fault,
    HostAway,
    HostNotFound,
    HostReadingFailed,
    InvalidInput,
)
from app.host.sampler import INTERVAL_SECONDS, moment

# Ten minutes are some 160 KB, and a tenth of that when packed.
_PACKED_FROM_BYTES = 4096


# What keeps another host from being asked how it is.
_NOT_READ = (HostNotFound, HostAway, HostReadingFailed, BrokerUnavailable)


class Hosts(BaseResource):
    """The hosts that run tasks."""

    operations: ClassVar = {
        "get": Operation("The hosts", {200: Answer("By name", a("Hosts"))})
    }

    def get(self) -> Response:
        """Return them, those that are away among them."""
        counts = services().hosts.counts()
        found = services().hosts.all()
        documents = [host_document(host, counts.get(host.name, {})) for host in found]
        return render_json({"hosts": documents})


class Host(BaseResource):
    """One of them."""

    operations: ClassVar = {
        "get": Operation(
            "A host", {200: Answer("It", a("Host"))}, problems=(HostNotFound,)
        )
    }

    def get(self, host: str) -> Response:
        """Return it."""
        found = services().hosts.get(host)
        counts = services().hosts.counts()
        return render_json(host_document(found, counts.get(host, {})))


class HostUptime(BaseResource):
    """The line of uptime(1) of a host, and its figures."""

    operations: ClassVar = {
        "get": Operation(
            "How long a host is up, and how loaded it is",
            {
                200: Answer(
                    "The line of uptime(1), and its figures",
                    {JSON: a("Uptime"), TEXT: STRING},
                )
            },
            problems=_NOT_READ,
        )
    }

    def get(self, host: str) -> Response:
        """Return them, or the bare line where plain text is preferred."""
        uptime = services().host_readings.uptime(host)
        return render_text(uptime["uptime"]) if prefers_text() else render_json(uptime)


class HostIostatTask(IostatTask):
    """A report of what the disks of a host do, as a task there."""

    operations: ClassVar = {
        method: replace(each, problems=(*each.problems, HostNotFound, HostAway))
        for method, each in IostatTask.operations.items()
    }


class Samples(BaseResource):
    """How a host was, second by second."""

    operations: ClassVar = {
        "get": Operation(
            "How the host was in the last ten minutes, second by second",
            {200: Answer("Samples, oldest first", a("HostSamples"))},
            query=SAMPLES_QUERY,
            problems=_NOT_READ,
        )
    }

    def get(self, host: str, query: dict[str, Any]) -> Response:
        """Return those since a time: the newest, where they are more than the limit."""
        since = _time(query["since"]) if "since" in query else None
        limits = {"limit": query["limit"]} if "limit" in query else {}
        samples = services().host_readings.samples(host, since, **limits)
        last = samples[-1]["time"] if samples else since
        href = url_for("v3.samples", host=host, since=last, **limits)
        answer = {
            "host": host,
            "interval_seconds": INTERVAL_SECONDS,
            "samples": samples,
            "links": [{"rel": "next", "href": href}],
        }
        return _packed(render_json(answer))


def _packed(response: Response) -> Response:
    """Pack what is long, for those who take that."""
    response.vary.add("Accept-Encoding")
    body = response.get_data()
    if len(body) >= _PACKED_FROM_BYTES and request.accept_encodings["gzip"]:
        response.set_data(gzip.compress(body, compresslevel=1, mtime=0))
        response.content_encoding = "gzip"
    return response


def _time(text: str) -> str:
    """Return a time as samples have it; raise InvalidInput where there is none such."""
    try:
        return moment(datetime.fromisoformat(text).astimezone(UTC))
    except (ValueError, OverflowError) as error:
        raise InvalidInput([Fault("since", f"{text!r} is no time")]) from error
