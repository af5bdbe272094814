"""The pages: how much they are, how soon they are drawn, what many of them take."""

import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from bench.browser import browser, first_seen, longest_task_ms, signed_in, traced
from bench.contest import Goal, NotThere, Outcome, Row
from bench.dose import Dose
from bench.servers import PASSWORD, bearer, bellhop, commands
from bench.usage import asked_for_health, percentile
from tests.servers import Server

TAIL_BYTES = 4_000_000
VIEW_EVERY_SECONDS = 1
TIMEOUT_SECONDS = 60


def _pages(dose: Dose, folder: Path) -> Outcome:
    settings = {
        "EXEC_COMMANDS": commands(folder),
        "EXEC_OUTPUT_TAIL_BYTES": str(TAIL_BYTES),
    }
    with bellhop(folder, **settings) as server:
        outcome = Outcome()
        _look_with_many(server, dose, outcome)
        try:
            _look_with_browser(server, dose, outcome)
        except NotThere as error:
            outcome.left_out.append(str(error))
    return outcome


def _look_with_many(server: Server, dose: Dose, outcome: Outcome) -> None:
    with (
        viewers(server, dose.viewers) as milliseconds,
        asked_for_health(server.url) as health,
    ):
        time.sleep(dose.seconds * 3)
    outcome.figures["health_p99_ms"] = health.p99_ms()
    outcome.lines.append(
        {
            "who": f"{dose.viewers} viewers of the first page",
            "asked": len(milliseconds),
            "p50_ms": percentile(milliseconds, 0.5),
            "p99_ms": percentile(milliseconds, 0.99),
            "health_p99_ms": health.p99_ms(),
        }
    )


def _look_with_browser(server: Server, dose: Dose, outcome: Outcome) -> None:
    with browser() as opened:
        seen = []
        for _ in range(dose.rounds):
            with signed_in(opened, server.url) as page:
                seen.append(first_seen(page, "/ui/"))
        drawn = seen[-1] | {"ms": statistics.median(each["ms"] for each in seen)}
        task_id = _start_lines(server, dose.page_lines)
        begun = time.monotonic()
        with signed_in(opened, server.url) as page, traced(opened, page) as events:
            page.goto(f"/ui/tasks/{task_id}")
            page.get_by_role("log").get_by_text("the end").wait_for()
            seconds = time.monotonic() - begun
    longest = longest_task_ms(events)
    outcome.figures |= {"first_kb": drawn["bytes"] / 1000, "paint_ms": drawn["ms"]}
    outcome.figures["longest_ms"] = longest
    told = {"lines": dose.page_lines, "seconds": seconds, "most_ms": longest}
    outcome.lines += [
        {"who": "the first page, never seen before", **drawn},
        {"who": "a run's page while its output comes", **told},
    ]


@contextmanager
def viewers(server: Server, count: int) -> Iterator[list[float]]:
    """Have so many see the host, as the page does; give how long each answer took."""
    form = {"username": "admin", "password": PASSWORD}
    signed = server.post("/ui/sign-in", data=form, allow_redirects=False)
    [host] = server.get("/v3/hosts/", cookies=signed.cookies).json()["hosts"]
    url, over = server.url + host["links"][0]["href"], threading.Event()
    milliseconds: list[float] = []
    with ThreadPoolExecutor(count) as pool:
        seen = [
            pool.submit(_view, url, signed.cookies, over, milliseconds)
            for _ in range(count)
        ]
        try:
            yield milliseconds
        finally:
            over.set()
    for each in seen:
        each.result()


def _view(url: str, cookies: Any, over: threading.Event, seen: list[float]) -> None:
    since: dict[str, str] = {}
    with requests.Session() as session:
        session.cookies.update(cookies)
        while True:
            begun = time.monotonic()
            answer = session.get(url, params=since, timeout=TIMEOUT_SECONDS)
            answer.raise_for_status()
            seen.append((time.monotonic() - begun) * 1000)
            for each in answer.json()["samples"][-1:]:
                since = {"since": each["time"]}
            if over.wait(VIEW_EVERY_SECONDS):
                return


def _start_lines(server: Server, count: int) -> str:
    wish = {"command": "lines", "params": {"count": str(count)}}
    answer = server.post("/v3/exec/", json=wish, headers=bearer(server))
    assert answer.status_code == 201, answer.text
    return answer.json()["task_id"]


ROWS = [
    Row(
        "pages",
        "The pages in a browser",
        "Chromium sees the host's page for the first time, with nothing in its cache: "
        "how much it is sent, and when it has drawn. Then it shows a run that writes "
        "30,000 lines a second, one of them a megabyte long: the longest that its "
        "main thread has worked without a pause, in time of the processor. Before "
        "that, many viewers ask for new samples once a second, as that page does. "
        f"`EXEC_OUTPUT_TAIL_BYTES` is {TAIL_BYTES:,}.",
        _pages,
        (
            Goal("first_kb", "first page, all parts", "KB", 102.4, None, False),
            Goal("paint_ms", "first page drawn", "ms", 1000, 500, False),
            Goal("longest_ms", "longest task of the page", "ms", 200, 100, False),
            Goal(
                "health_p99_ms", "health among the viewers, p99", "ms", 100, None, False
            ),
        ),
    ),
]
