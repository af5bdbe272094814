"""Figures of real servers: equal to what was done, whoever tells them, and kept."""

import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from app.sms.fake.server import FakeServer
from app.sms.fake.vendor import Scenario
from app.sms.fake.vendors import all_vendors
from tests.scraping import Scraped
from tests.sending import sending
from tests.servers import Server, running, wait_until
from tests.vendors import FIRST, SECOND

WORKERS = 3
THREE = ("-w", str(WORKERS))
# A server that was killed, to who is being answered.
BROKEN = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)
PASSWORD = "the admin's password"
ADMIN = ("admin", PASSWORD)
SECRET = "whoever-knows-this-may-report"
SETTINGS = {
    "ADMIN_PASSWORD": PASSWORD,
    "EXEC_OUTPUT_HEAD_BYTES": "1000",
    "EXEC_OUTPUT_TAIL_BYTES": "4096",
    "SMS_RECEIPTS_SECRET": SECRET,
}
KEPT_BYTES = 1000 + 4096

LABELS = ("method", "route", "status")
LABELS_LE = ("method", "route", "le")

#: Of simple requests: method, path, options, status and the route that is told.
REQUESTS: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("GET", "/v1/uptime/", {}, 200, "/v1/uptime/"),
    ("HEAD", "/v1/uptime/", {}, 200, "/v1/uptime/"),
    ("OPTIONS", "/v1/uptime/", {}, 200, "/v1/uptime/"),
    ("GET", "/v1/uptime", {}, 308, "unmatched"),
    ("GET", "/v1/user/4711", {}, 404, "/v1/user/<uid>"),
    ("GET", "/api/canary/0815", {}, 200, "/api/<user>/<uuid>"),
    ("POST", "/api/canary/0815", {"json": {}}, 200, "/api/<user>/<uuid>"),
    ("POST", "/api/canary/0815", {"data": b"{"}, 415, "/api/<user>/<uuid>"),
    ("GET", "/canary/0815", {}, 404, "unmatched"),
    ("DELETE", "/v1/uptime/", {}, 405, "unmatched"),
    ("BREW", "/v1/uptime/", {}, 405, "unmatched"),
    ("GET", "/v3/users/", {}, 401, "/v3/users/"),
    ("GET", "/v3/users/canary", {"auth": ADMIN}, 404, "/v3/users/<username>"),
]
#: Of commands: what is asked for, how it ends, what it writes.
RUNS: list[tuple[dict[str, Any], str, int]] = [
    ({"cmd": "printf canary"}, "success", 6),
    ({"cmd": "printf a; printf bc >&2", "stderr": "separate"}, "success", 3),
    ({"cmd": "head -c 100000 /dev/zero; exit 3"}, "failure", 100_000),
    ({"command": "echo", "params": {"text": "canary"}}, "success", 7),
]


class Load:
    """Asks a server, and notes what was answered."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.done: list[tuple[str, str, str]] = []

    def ask(
        self,
        method: str,
        path: str,
        options: dict[str, Any],
        status: int,
        route: str,
        *,
        by: Any = requests,
    ) -> requests.Response:
        url, follows = f"{self._server.url}{path}", {"allow_redirects": False}
        answer = by.request(method, url, timeout=60, **follows, **options)
        assert answer.status_code == status, (method, path, answer.text)
        told = method if method != "BREW" else "OTHER"
        self.done.append((told, route, str(status)))
        return answer

    def scrape(self) -> Scraped:
        return Scraped(self.ask("GET", "/metrics", {}, 200, "/metrics").text)

    def run(self, wish: dict[str, Any], **more: Any) -> dict[str, Any]:
        options = {"json": {"wait_seconds": 30, **wish}, "auth": ADMIN}
        made = self.ask("POST", "/v3/exec/", options | more, 201, "/v3/exec/")
        return dict(made.json())

    def ask_much(self, times: int) -> None:
        """Send all simple requests, on connections that are kept and on new ones."""

        def ask_all(number: int) -> None:
            with requests.Session() as kept:
                for request in REQUESTS * times:
                    self.ask(*request, by=kept if number % 2 else requests)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(ask_all, range(8)))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("metrics"), *THREE, **SETTINGS) as started:
        yield started


def grown(now: Scraped, before: Scraped, name: str, *labels: str) -> dict[Any, float]:
    """Return by how much the series of a name have grown, those that have."""
    then = before.by(name, *labels)
    found = {k: v - then.get(k, 0) for k, v in now.by(name, *labels).items()}
    return {labels: by for labels, by in found.items() if by}


def test_requests_are_counted_as_they_were_answered(server: Server) -> None:
    before, load = Load(server).scrape(), Load(server)
    load.ask_much(4)
    # The first scrape was answered after it had looked.
    done = Counter([("GET", "/metrics", "200"), *load.done])
    for _ in range(20):
        now = load.scrape()
        assert grown(now, before, "http_requests_total", *LABELS) == done
        done["GET", "/metrics", "200"] += 1
    timed = grown(now, before, "http_request_duration_seconds_count", *LABELS[:2])
    done["GET", "/metrics", "200"] -= 1
    assert sum(timed.values()) == done.total()
    assert timed["GET", "unmatched"] == 8 * 4 * 2
    ends = {(*labels, "+Inf"): count for labels, count in timed.items()}
    buckets = grown(now, before, "http_request_duration_seconds_bucket", *LABELS_LE)
    assert ends.items() <= buckets.items()


def test_tasks_and_what_they_write_are_counted_as_they_ended(server: Server) -> None:
    load = Load(server)
    before = load.scrape()
    for wish, _, _ in RUNS:
        load.run(wish)
    held = load.run({"cmd": "echo; sleep 1000", "wait_seconds": 0})["task_id"]
    href = f"/v3/task/{held}"
    with closing(server.get(f"{href}/output?follow=1", auth=ADMIN, stream=True)) as to:
        output = to.iter_content(1)  # kept, or the connection would be closed
        assert next(output) == b"\n"
        now = load.scrape()
        assert now.value("watchers") == 1
        assert now.value("tasks_running", kind="exec") == 1
        load.ask("DELETE", href, {"auth": ADMIN}, 204, "/v3/task/<task_id>")
    report = load.ask("GET", "/v2/iostat/?count=1", {}, 201, "/v2/iostat/").json()

    def written() -> int:
        task = server.get(f"/v2/task/{report['task_id']}").json()
        return int(task["output"]["end_offset"] if "finished" in task else 0)

    expected = Counter((kind_of(wish), outcome) for wish, outcome, _ in RUNS)
    expected["(shell)", "revoked"] = expected["", "success"] = 1
    of_report = wait_until(written)
    now = wait_until(lambda: scraped_with(load, before, tasks=sum(expected.values())))
    runs = "task_duration_seconds_count"
    assert grown(now, before, runs, "command", "outcome") == expected
    assert grown(now, before, "tasks_ended_total", "kind", "outcome") == {
        ("exec", "success"): 3,
        ("exec", "failure"): 1,
        ("exec", "revoked"): 1,
        ("iostat", "success"): 1,
    }
    assert grown(now, before, "task_wait_seconds_count", "kind") == {
        ("exec",): 5,
        ("iostat",): 1,
    }
    bytes_written = sum(size for _, _, size in RUNS) + 1 + of_report
    assert grown(now, before, "output_bytes_total") == {(): bytes_written}
    dropped = {(): 100_000 - KEPT_BYTES}
    assert grown(now, before, "output_dropped_bytes_total") == dropped
    assert now.value("tasks_running") == now.value("tasks_queued") == 0
    wait_until(lambda: load.scrape().value("watchers") == 0)


def kind_of(wish: dict[str, Any]) -> str:
    return str(wish.get("command", "(shell)"))


def scraped_with(load: Load, before: Scraped, *, tasks: int) -> Scraped | None:
    """Return a scrape if so many tasks have ended since then."""
    now, ended = load.scrape(), "tasks_ended_total"
    return now if now.value(ended) - before.value(ended) == tasks else None


def test_messages_and_receipts_are_counted_by_provider(tmp_path: Path) -> None:
    with (
        FakeServer(all_vendors()) as fake,
        sending(tmp_path, fake, *THREE, **SETTINGS) as server,
    ):
        check_messages(server, fake)


def check_messages(server: Server, fake: FakeServer) -> None:
    load, both = Load(server), [FIRST, SECOND]
    before = load.scrape()

    def send(status: int, query: str = "") -> None:
        body = {"receivers": both, "template": "captcha", "params": {"code": "7351"}}
        load.ask("POST", f"/api/sms{query}", {"json": body}, status, "/api/sms")

    send(200)
    send(202, "?async=1")
    wait_until(lambda: len(fake.sent()) == 4)
    for scenario, status in ((Scenario.ERROR, 202), (Scenario.AUTH, 502)):
        fake.script("aliyun", scenario)
        send(status)
    fake.script("aliyun")
    route = "/api/sms/receipts/<provider>/<secret>"
    path = f"/api/sms/receipts/aliyun/{SECRET}"
    push = fake.vendors["aliyun"].receipt(
        fake.sent()[0], delivered=True, url=f"{server.url}{path}"
    )
    for _ in range(2):  # the second one tells nothing new
        told = {"data": push.body, "headers": push.headers}
        load.ask(push.method, path, told, 200, route)
    load.ask("POST", f"{path}x", told, 404, route)

    now = wait_until(lambda: scraped_with(load, before, tasks=1))
    assert grown(now, before, "sms_receivers_total", "provider", "outcome") == {
        ("aliyun", "accepted"): 4,
        ("aliyun", "unknown"): 2,
        ("aliyun", "rejected"): 2,
    }
    answers = "sms_request_duration_seconds_count"
    assert grown(now, before, answers, "provider") == {("aliyun",): 4}
    receipts = grown(now, before, "sms_receipts_total", "provider", "state")
    assert receipts == {("aliyun", "delivered"): 1}


def test_credentials_that_are_refused_are_counted_by_their_sort(
    server: Server,
) -> None:
    load = Load(server)
    before = load.scrape()
    for auth, headers in (
        (None, {}),
        (("admin", "canary"), {}),
        (("canary", PASSWORD), {}),
        (None, {"Authorization": "Bearer canary"}),
    ):
        options = {"auth": auth, "headers": headers}
        load.ask("GET", "/v3/users/", options, 401, "/v3/users/")
    refused = grown(load.scrape(), before, "credentials_refused_total", "via")
    assert refused == {("password",): 2, ("token",): 1}


def test_names_and_labels_follow_the_rules_of_prometheus(server: Server) -> None:
    load = Load(server)
    load.ask_much(1)
    load.run(RUNS[0][0])
    now = load.scrape()
    assert len(now.families) > 25
    for name, family in now.families.items():
        assert re.fullmatch(r"bellhop_[a-z_]+", name)
        assert family.documentation.endswith("."), f"{name} says what it counts"
        words = name.split("_")
        assert not {"by", "count", "total", "counter", "gauge", "histogram"} & {*words}
        assert not {"ms", "msec", "kb", "mb", "percent", "minutes"} & {*words}
        if family.type == "histogram":
            assert words[-1] == "seconds"
        if {"seconds", "bytes"} & {*words}:
            assert words[-1] in ("seconds", "bytes"), "the unit comes last"
        for sample in family.samples:
            assert sample.name.endswith("_total") is (family.type == "counter")
            labels = dict(sample.labels)
            labels.pop("le", None)
            assert len(labels) <= 3
            for label, value in labels.items():
                assert re.fullmatch(r"[a-z]+", label)
                assert not re.search(r"\d{4}|[0-9a-f]{8}|canary|@|\+", value), value


def test_a_name_of_a_method_or_a_path_makes_no_series_of_its_own(
    server: Server,
) -> None:
    load = Load(server)
    before = load.scrape()
    for number in range(20):
        load.ask("GET", f"/nothing/{number}", {}, 404, "unmatched")
        requests.request(f"BREW{number}", f"{server.url}/", timeout=60)
    name = "http_requests_total"
    new = grown(load.scrape(), before, name, *LABELS).keys()
    assert {method for method, _, _ in new} <= {"GET", "OTHER"}
    assert {route for _, route, _ in new} <= {"unmatched", "/metrics"}


def seats(folder: Path) -> int:
    return len(list(folder.glob("metrics/*/counter_*.db")))


def test_nothing_goes_back_when_workers_are_killed_and_replaced(
    tmp_path: Path, soak: bool
) -> None:
    instance, over = tmp_path / "instance", threading.Event()
    answered, broken = list[int](), list[int]()

    def ask_on(number: int) -> None:
        with requests.Session() as kept:
            by = kept if number else requests
            while not over.wait(0.01):
                try:
                    by.get(f"{server.url}/v1/uptime/", timeout=60).raise_for_status()
                    answered.append(number)
                except BROKEN:
                    broken.append(number)

    with running(tmp_path, *THREE, **SETTINGS) as server, ExitStack() as stack:
        load = Load(server)
        task_id = load.run({"cmd": "echo; sleep 1000", "wait_seconds": 0})["task_id"]
        path = f"/v3/task/{task_id}/output?follow=1"
        followed = stack.enter_context(server.get(path, auth=ADMIN, stream=True))
        output = followed.iter_content(1)  # kept, or the connection would be closed
        assert next(output) == b"\n"
        wait_until(lambda: load.scrape().value("workers") == WORKERS)
        last = load.scrape()
        assert last.value("watchers") == 1
        pool = stack.enter_context(ThreadPoolExecutor(2))
        stack.callback(over.set)
        asking = [pool.submit(ask_on, number) for number in range(2)]

        def goes_on(workers: set[int]) -> bool:
            """Return whether all is as before, by other workers; nothing goes back."""
            nonlocal last
            with suppress(*BROKEN):
                now = load.scrape()
                now.assert_not_less(last)
                last = now
                others = not workers & {*server.workers()[1:]}
                return others and now.value("workers") == WORKERS
            return False

        for pid in (workers := server.workers()[1:]):
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda gone=pid: goes_on({gone}), seconds=30)
        wait_until(lambda: last.value("watchers") == 0 or goes_on(set()))
        lost = {"kind": "exec"}
        wait_until(
            lambda: goes_on(set()) and last.value("tasks_lost_total", **lost) == 1,
            seconds=30,
        )
        assert last.value("tasks_running") == 0
        assert last.value("output_bytes_total") == 1, "what was lost has written"
        assert seats(instance) <= 1 + 2 * WORKERS
        for _ in range(3 if soak else 2):
            workers = server.workers()[1:]
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda old={*workers}: goes_on(old), seconds=30)
        assert seats(instance) <= 1 + 2 * WORKERS, "it does not grow with every HUP"
        over.set()
        for each in asking:
            each.result()
        counted = load.scrape().value("http_requests_total", route="/v1/uptime/")
        assert len(answered) <= counted <= len(answered) + len(broken)
        assert answered
    assert not list(instance.glob("metrics/*")), "it is removed in the end"


def test_a_later_master_begins_anew_and_clears_up(tmp_path: Path) -> None:
    metrics = tmp_path / "instance" / "metrics"
    with running(tmp_path, "-w", "2") as first:
        workers = first.workers()[1:]
        [left] = metrics.iterdir()
        first.process.kill()
        first.process.wait()
        wait_until(lambda: not any(map(is_alive, workers)), seconds=30)
    assert left.exists()
    (metrics / "not-ours").write_text("")
    with running(tmp_path, "-w", "1") as second:
        [own] = [path for path in metrics.iterdir() if path.is_dir()]
        assert own != left
        with running(tmp_path, "-w", "1") as other:
            assert own.exists(), "it is in use"
            assert Load(other).scrape().value("workers") >= 1
        assert Load(second).scrape().value("http_requests_total") > 0


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False
