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
from app.version import VERSION
from config.config import ProductionConfig
from tests.api.callers import ADMIN, ANN, with_users
from tests.api.checks import paths
from tests.servers import wait_until

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


def test_the_hosts_are_the_one_that_it_is_on(
    make_app: Callable[..., Flask],
) -> None:
    settings = {
        "BELLHOP_HOST": "pelican",
        "BELLHOP_LABELS": "role=web,rack=b 2",
        "EXEC_MAX_RUNNING": "3",
        "EXEC_MAX_QUEUED": "5",
    }
    host = with_users(make_app(ProductionConfig, **settings))
    [index] = [
        link["href"]
        for link in host.get("/v3/").json["links"]
        if link["rel"] == "hosts"
    ]
    [found] = host.get(index, auth=ANN).json["hosts"]
    assert found["host"] == "pelican"
    assert found["labels"] == {"role": "web", "rack": "b 2"}
    assert (found["alive"], found["draining"]) == (True, False)
    assert 0 <= found["seconds_since_seen"] < 5
    assert found["version"] == VERSION
    assert found["capacity"]["exec"] == {"running": 3, "queued": 5}
    assert found["running"] == found["queued"] == {"exec": 0, "iostat": 0, "sms": 0}
    assert found["readings"].keys() == {"uptime_seconds", "load", "users"}
    [itself] = [link["href"] for link in found["links"] if link["rel"] == "self"]
    again = host.get(itself, auth=ANN).json
    fleeting = ("seen", "seconds_since_seen", "readings")
    assert {**again, **{name: found[name] for name in fleeting}} == found


def test_what_runs_and_waits_on_a_host_is_counted(
    make_app: Callable[..., Flask],
) -> None:
    host = with_users(
        make_app(ProductionConfig, EXEC_MAX_RUNNING="1", EXEC_ALLOW_SHELL="1")
    )
    [found] = host.get("/v3/hosts/", auth=ANN).json["hosts"]
    hrefs = [
        host.post(
            "/v3/exec/",
            auth=ADMIN,
            json={"argv": ["sleep", "60"]},
        ).headers["Location"]
        for _ in range(3)
    ]
    href = f"/v3/hosts/{found['host']}"
    now = host.get(href, auth=ANN).json
    for each in reversed(hrefs):
        assert host.delete(each, auth=ADMIN).status_code == 204
    later = host.get(href, auth=ANN).json
    assert (now["running"]["exec"], now["queued"]["exec"]) == (1, 2)
    assert (later["running"]["exec"], later["queued"]["exec"]) == (0, 0)


def test_a_drained_host_says_so(host: FlaskClient) -> None:
    host.application.extensions["bellhop"].drain.begin()
    assert host.get("/v3/hosts/pelican", auth=ANN).json["draining"]


def test_its_uptime_is_that_of_the_host(host: FlaskClient) -> None:
    path = "/v3/hosts/pelican/uptime/"
    found, as_before = (host.get(each, auth=ANN).json for each in (path, "/v3/uptime/"))
    assert found.keys() == as_before.keys()
    assert abs(found["seconds"] - as_before["seconds"]) < 60
    text = host.get(path, auth=ANN, headers={"Accept": "text/plain"})
    assert text.content_type.startswith("text/plain")
    assert "load average" in text.text


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_report_of_its_disks_is_a_task_there(host: FlaskClient, method: str) -> None:
    path = "/v3/hosts/pelican/iostat/?count=1"
    answer = getattr(host, method)(path, auth=ANN)
    assert answer.status_code == 201
    href = answer.headers["Location"]
    assert answer.json["links"] == [{"rel": "task", "href": href}]
    wait_until(lambda: "finished" in host.get(href, auth=ANN).json)
    task = host.get(href, auth=ANN).json
    assert (task["state"], task["kind"], task["host"]) == (
        "SUCCESS",
        "iostat",
        "pelican",
    )


def test_a_report_with_a_key_is_started_once_on_one_host(host: FlaskClient) -> None:
    path, key = "/v3/hosts/{}/iostat/", {"Idempotency-Key": "one"}
    first, again = (
        host.post(path.format("pelican"), auth=ANN, headers=key) for _ in range(2)
    )
    elsewhere = host.post(path.format("elsewhere"), auth=ANN, headers=key)
    assert first.status_code == again.status_code == 201
    assert first.json == again.json
    assert elsewhere.status_code in (404, 422)


def test_a_report_that_asks_for_too_much_is_refused(host: FlaskClient) -> None:
    answer = host.get("/v3/hosts/pelican/iostat/?count=0&wait=x", auth=ANN)
    assert answer.status_code == 400
    assert set(paths(answer)) == {"count", "wait"}


@pytest.mark.parametrize("path", ["", "/uptime/", "/iostat/"])
def test_of_another_host_nothing_is_known(host: FlaskClient, path: str) -> None:
    for name in ("elsewhere", "PELICAN", "pelican%20"):
        answer = host.get(f"/v3/hosts/{name}{path}", auth=ADMIN)
        assert answer.status_code == 404
        assert answer.json["type"] == "urn:bellhop:problem:host-not-found"
        assert host.head(f"/v3/hosts/{name}{path}", auth=ADMIN).status_code == 404


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
