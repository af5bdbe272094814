"""The hosts, and how they were, over HTTP."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.host.samples import SampleWriter
from config.config import ProductionConfig
from tests.api.callers import ADMIN, ANN, with_users
from tests.api.checks import paths

PATH = "/v3/hosts/pelican/samples"


def sample(second: int) -> dict[str, Any]:
    minute, second = divmod(second, 60)
    return {
        "time": f"2026-03-09T12:{minute:02d}:{second:02d}.505Z",
        "load": [0.1, 0.2, 0.3],
        "uptime_seconds": 540.52 + second,
        "users": None,
        "devices": [
            {
                "device": "vda",
                "tps": 1.0,
                "kB_read_per_s": 2.0,
                "kB_wrtn_per_s": 3.0,
                "r_await_ms": 0.1,
                "w_await_ms": 0.2,
                "queue": 0.0,
                "util_percent": 5.0,
            }
        ],
    }


@pytest.fixture
def host(make_app: Callable[..., Flask]) -> FlaskClient:
    """Return a client of an app on a host with a name."""
    return with_users(make_app(ProductionConfig, BELLHOP_HOST="pelican"))


@pytest.fixture
def write(host: FlaskClient) -> Callable[..., None]:
    """Return what writes samples, as the sampler of another worker does."""
    folder = Path(host.application.config["INSTANCE_PATH"])
    writer = SampleWriter(folder / "samples")

    def write(*seconds: int) -> None:
        for second in seconds:
            writer.append(sample(second))

    return write


def ask(client: FlaskClient, **query: Any) -> Any:
    return client.get(PATH, auth=ANN, query_string=query).json


def test_the_hosts_are_the_one_that_it_is_on(host: FlaskClient) -> None:
    [index] = [
        link["href"]
        for link in host.get("/v3/").json["links"]
        if link["rel"] == "hosts"
    ]
    assert host.get(index, auth=ANN).json == {
        "hosts": [{"host": "pelican", "links": [{"rel": "samples", "href": PATH}]}]
    }


def test_a_service_that_has_just_begun_has_no_samples(host: FlaskClient) -> None:
    assert ask(host) == {
        "host": "pelican",
        "interval_seconds": 1,
        "samples": [],
        "links": [{"rel": "next", "href": PATH}],
    }


def test_who_follows_the_links_gets_each_sample_once(
    host: FlaskClient, write: Callable[..., None]
) -> None:
    href, found = PATH, []
    for seconds in ((1, 2, 3), (), (4,), (5, 6)):
        write(*seconds)
        answer = host.get(href, auth=ANN).json
        found += answer["samples"]
        [link] = answer["links"]
        assert link["rel"] == "next"
        href = link["href"]
    assert found == [sample(second) for second in range(1, 7)]


def test_of_more_than_the_limit_the_newest_are_answered_and_followed(
    host: FlaskClient, write: Callable[..., None]
) -> None:
    write(1, 2, 3)
    answer = ask(host, limit=2)
    assert answer["samples"] == [sample(2), sample(3)]
    write(4, 5, 6)
    follow = host.get(answer["links"][0]["href"], auth=ANN).json
    assert follow["samples"] == [sample(5), sample(6)]


@pytest.mark.parametrize(
    ("since", "first"),
    [
        ("2026-03-09T12:00:02.505Z", 3),
        ("2026-03-09T12:00:02.505999Z", 3),
        ("2026-03-09T12:00:02.5Z", 2),
        ("2026-03-09T12:00:03Z", 3),
        ("2020-01-01T00:00:00Z", 1),
    ],
)
def test_since_may_be_any_time(
    host: FlaskClient, write: Callable[..., None], since: str, first: int
) -> None:
    write(1, 2, 3)
    found = ask(host, since=since)["samples"]
    assert found == [sample(second) for second in range(first, 4)]


@pytest.mark.parametrize(
    "since",
    [
        *("", "now", "2026-03-09", "2026-03-09T12:00:02", "2026-03-09T12:00:02+01:00"),
        *("2026-02-30T12:00:00Z", "0000-01-01T00:00:00Z", "2026-03-09T25:00:00Z"),
        *(
            "2026-03-09T12:00:02.1234567Z",
            "2026-03-09T12:00:02Z\n",
            "٢026-03-09T12:00:02Z",
        ),
    ],
)
def test_what_is_no_time_is_refused(host: FlaskClient, since: str) -> None:
    answer = host.get(PATH, auth=ANN, query_string={"since": since})
    assert answer.status_code == 400
    assert paths(answer) == ["since"]


def test_all_faults_are_told_at_once(host: FlaskClient) -> None:
    answer = host.get(f"{PATH}?since=x&limit=601&more=1&limit=0", auth=ANN)
    assert answer.status_code == 400
    assert set(paths(answer)) == {"since", "limit", "more"}


@pytest.mark.parametrize("name", ["elsewhere", "PELICAN", "pelican ", "%00", "..."])
def test_another_host_is_not_found(host: FlaskClient, name: str) -> None:
    answer = host.get(f"/v3/hosts/{name}/samples", auth=ADMIN)
    assert answer.status_code == 404
    assert answer.json["type"] == "urn:bellhop:problem:host-not-found"


def test_samples_that_cannot_be_read_are_not_answered_as_none(
    host: FlaskClient,
) -> None:
    (Path(host.application.config["INSTANCE_PATH"]) / "samples").mkdir()
    answer = host.get(PATH, auth=ANN)
    assert answer.status_code == 503
    assert answer.json["type"] == "urn:bellhop:problem:host-reading-failed"


def test_ten_minutes_are_packed_for_who_takes_that(
    host: FlaskClient, write: Callable[..., None]
) -> None:
    write(*range(600))
    plain = host.get(PATH, auth=ANN)
    packed = host.get(PATH, auth=ANN, headers={"Accept-Encoding": "gzip, br"})
    refused = host.get(PATH, auth=ANN, headers={"Accept-Encoding": "gzip;q=0"})
    assert len(plain.json["samples"]) == 600
    assert packed.headers["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(packed.data)) == plain.json == refused.json
    assert len(packed.data) * 8 < len(plain.data)
    for each in (plain, packed, refused):
        assert "Accept-Encoding" in each.headers["Vary"]
        assert int(each.headers["Content-Length"]) == len(each.data)


def test_one_sample_is_not_worth_packing(
    host: FlaskClient, write: Callable[..., None]
) -> None:
    write(1)
    answer = host.get(PATH, auth=ANN, headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in answer.headers
    assert answer.json["samples"] == [sample(1)]
