"""What holds for every answer, said once."""

import json
import re
from typing import Any

MEMBERS = {"type", "title", "status", "detail", "message", "request_id"}
TRACE = re.compile(rb"Traceback|\.py\b|File \"")


def problem(
    response: Any, status: int, *, shown: int | str = 0, by_page: bool = False
) -> dict[str, Any]:
    """Assert that a response is a problem of `status`; return its members.

    `shown` is the body's own member `status` where that is another one; `by_page` says
    that a browser asked, which is not to ask for a password in a box of its own.
    """
    raw = _raw(response)
    assert response.status_code == status, raw
    assert response.headers["Content-Type"] == "application/problem+json"
    assert raw.endswith(b"}\n")
    assert not TRACE.search(raw), "no trace, no file of ours"
    found: dict[str, Any] = json.loads(raw)
    assert found.keys() >= MEMBERS
    assert found["status"] == (shown or status)
    assert found["message"] == found["detail"] != ""
    assert found["title"]
    assert re.match(r"about:blank$|urn:", found["type"])
    assert found["request_id"] == response.headers["X-Request-ID"]
    if status == 405:
        assert response.headers["Allow"]
    if status in (429, 503):
        assert int(response.headers["Retry-After"]) >= 1
    if status == 401:
        schemes = response.headers["WWW-Authenticate"]
        assert ("Basic realm=" in schemes) is not by_page
        assert "Bearer" in schemes
    return found


def paths(response: Any) -> list[str]:
    """Assert that a response is a 400 with faults; return their paths, sorted."""
    found = problem(response, 400)
    assert all(fault.keys() == {"path", "message"} for fault in found["errors"])
    assert all(fault["message"] for fault in found["errors"])
    return sorted(fault["path"] for fault in found["errors"])


def _raw(response: Any) -> bytes:
    # A response of Flask's client, or one of requests.
    data = response.data if hasattr(response, "data") else response.content
    return bytes(data)
