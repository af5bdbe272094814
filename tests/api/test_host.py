"""Uptime and iostat, over HTTP."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.api.checks import paths

LINE = re.compile(
    r"[0-2]\d:[0-5]\d:[0-6]\d up "
    r"((\d+ days?, )?( ?\d+:\d\d|\d+ min)), [ \d]\d users?,"
    r"  load average: \d+\.\d\d, \d+\.\d\d, \d+\.\d\d"
)
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
DEVICE = {
    "device": str,
    "tps": float,
    "kB_read_per_s": float,
    "kB_wrtn_per_s": float,
    "kB_dscd_per_s": float,
    "kB_read": int,
    "kB_wrtn": int,
    "kB_dscd": int,
    "r_await_ms": float,
    "w_await_ms": float,
    "queue": float,
    "util_percent": float,
}


@pytest.mark.parametrize("path", ["/v1/uptime/", "/v2/uptime/"])
def test_uptime_has_the_line_and_its_figures(anywhere: FlaskClient, path: str) -> None:
    answer = anywhere.get(path)
    assert answer.headers["Content-Type"] == "application/json"
    found = answer.json
    assert set(found) == {"uptime", "seconds", "boot_time", "users", "load"}
    assert LINE.fullmatch(found["uptime"])
    assert isinstance(found["seconds"], float)
    assert found["seconds"] > 0
    assert found["users"] is None or type(found["users"]) is int
    assert [type(load) for load in found["load"]] == [float] * 3
    assert RFC3339.fullmatch(found["boot_time"])
    booted = datetime.fromisoformat(found["boot_time"])
    up = timedelta(seconds=found["seconds"])
    assert abs(booted + up - datetime.now(UTC)) < timedelta(seconds=5)


@pytest.mark.parametrize(
    ("accept", "is_text"),
    [
        (None, False),
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("application/*", False),
        ("text/plain", True),
        ("TEXT/PLAIN", True),
        ("text/*", True),
        ("text/plain; charset=utf-8", True),
        ("text/plain;charset=UTF-8, */*;q=0.1", True),
        ("text/plain, */*;q=0.8", True),
        ("text/html, */*;q=0.8", False),
        ("text/plain;q=0.9, application/json", False),
        ("text/plain;q=0.9, application/json; charset=utf-8", False),
        ("text/plain, application/json;q=0.9", True),
        ("text/plain;q=0", False),
        ("text/plain, application/json", False),
        ("application/xml", False),
        ("garbage", False),
        ("text/plain;q=nonsense", None),
        (",;,=,/", False),
    ],
)
def test_who_would_rather_have_text_gets_the_bare_line(
    client: FlaskClient, accept: str | None, is_text: bool | None
) -> None:
    answer = client.get("/v1/uptime/", headers={"Accept": accept} if accept else {})
    assert answer.status_code == 200
    if is_text is None:
        return
    assert answer.mimetype == ("text/plain" if is_text else "application/json")
    line = answer.text.removesuffix("\n") if is_text else answer.json["uptime"]
    assert LINE.fullmatch(line)
    assert answer.text.endswith("\n")


def test_iostat_has_one_sample_since_boot(anywhere: FlaskClient) -> None:
    for path in ("/v1/iostat/", "/v1/iostat/?count=1&wait=1", "/v1/iostat/?count=001"):
        found = anywhere.get(path).json
        assert set(found) == {"iostat", "samples"}
        assert found["iostat"].startswith("Linux ")
        assert found["iostat"].count("Device ") == 1
        [sample] = found["samples"]
        assert set(sample) == {"time", "devices"}
        assert RFC3339.fullmatch(sample["time"])
        for device in sample["devices"]:
            assert {name: type(device[name]) for name in DEVICE} == DEVICE


def test_iostat_as_text_is_the_report(client: FlaskClient) -> None:
    answer = client.get("/v1/iostat/", headers={"Accept": "text/plain"})
    assert answer.mimetype == "text/plain"
    assert answer.text.startswith("Linux ")


def test_two_samples_are_a_wait_apart(client: FlaskClient) -> None:
    found = client.get("/v1/iostat/?count=2").json
    assert found["iostat"].count("Device ") == 2
    first, second = (
        datetime.fromisoformat(sample["time"]) for sample in found["samples"]
    )
    assert second - first > timedelta(seconds=0.9)


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "0",
        "-1",
        "1.5",
        "1.0",
        "+1",
        "1e3",
        "\uff11",  # a digit, but none of ASCII
        "0x1",
        "one",
        "1 ",
        "1\n",
        "1_0",
        "9" * 20,
        "-" + "9" * 20,
        "9" * 5000,
        "true",
        "null",
        "NaN",
    ],
)
@pytest.mark.parametrize("name", ["count", "wait"])
def test_what_is_no_integer_of_one_or_more_is_refused(
    client: FlaskClient, name: str, value: str
) -> None:
    assert paths(client.get("/v1/iostat/", query_string={name: value})) == [name]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("count=0&wait=0", ["count", "wait"]),
        ("count=x&wait=&z=1", ["count", "wait", "z"]),
        ("count=1&count=1", ["count"]),
        ("count=1&count=2&wait=1&wait=1", ["count", "wait"]),
        ("wait=2", ["wait"]),
        ("count=1&wait=2", ["wait"]),
        ("count=32&wait=1", ["count"]),
        ("count=2&wait=31", ["count"]),
        ("count=4&wait=11", ["count"]),
        ("count=999999999999999999&wait=999999999999999999", ["count"]),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_times_that_iostat_does_not_take(
    client: FlaskClient, query: str, expected: list[str], method: str
) -> None:
    answer = client.open(f"/v1/iostat/?{query}", method=method)
    assert answer.status_code == 400
    if method == "GET":
        assert paths(answer) == expected


def test_what_would_take_too_long_is_pointed_to_v2(
    make_app: Callable[..., Any],
) -> None:
    client = make_app(IOSTAT_SYNC_SECONDS="2").test_client()
    for query in ("count=4", "count=2&wait=3"):
        answer = client.get(f"/v1/iostat/?{query}")
        paths(answer)
        assert "/v2/iostat/" in answer.json["detail"]
    # HEAD is how the limit itself is tried without a wait.
    assert client.head("/v1/iostat/?count=3").status_code == 200
    assert client.head("/v1/iostat/?count=2&wait=2").status_code == 200


def test_head_does_not_wait(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sleep(seconds: float) -> None:
        raise AssertionError(f"it waits {seconds} s")

    monkeypatch.setattr("app.api.resources.host.time.sleep", sleep)
    assert client.head("/v1/iostat/?count=31&wait=1").status_code == 200
