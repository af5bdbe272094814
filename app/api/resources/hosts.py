"""The hosts that there are, and how they were in the last ten minutes."""

import gzip
from datetime import UTC, datetime
from typing import Any, ClassVar

from flask import Response, current_app, request, url_for

from app.api.operation import Answer, Operation
from app.api.rendering import render_json
from app.api.resource import BaseResource, services
from app.api.schemas.answer import a
from app.api.schemas.host import SAMPLES_QUERY
from app.errors import Fault, HostNotFound, HostReadingFailed, InvalidInput
from app.host.sampler import INTERVAL_SECONDS, moment

# Ten minutes are some 160 KB, and a tenth of that when packed.
_PACKED_FROM_BYTES = 4096


class Hosts(BaseResource):
    """The hosts that this service knows: the one that it is on."""

    operations: ClassVar = {
        "get": Operation("The hosts", {200: Answer("By name", a("Hosts"))})
    }

    def get(self) -> Response:
        """Return them."""
        host = current_app.config["BELLHOP_HOST"]
        links = [{"rel": "samples", "href": url_for("v3.samples", host=host)}]
        return render_json({"hosts": [{"host": host, "links": links}]})


class Samples(BaseResource):
    """How a host was, second by second."""

    operations: ClassVar = {
        "get": Operation(
            "How the host was in the last ten minutes, second by second",
            {200: Answer("Samples, oldest first", a("HostSamples"))},
            query=SAMPLES_QUERY,
            problems=(HostNotFound, HostReadingFailed),
        )
    }

    def get(self, host: str, query: dict[str, Any]) -> Response:
        """Return those since a time: the newest, where they are more than the limit."""
        if host != current_app.config["BELLHOP_HOST"]:
            raise HostNotFound
        since = _time(query["since"]) if "since" in query else None
        limits = {"limit": query["limit"]} if "limit" in query else {}
        samples = services().samples.newer_than(since, **limits)
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
