"""A browser before the pages: what it is sent, when it draws, how long it works."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.servers import wait_until

from .contest import NotThere
from .servers import PASSWORD

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WAIT_MS = 60_000

_FIRST_PAINT = """new Promise((done) => {
  const observer = new PerformanceObserver((list) => {
    const found = list.getEntriesByName("first-contentful-paint");
    if (found.length) done(found[0].startTime);
  });
  observer.observe({ type: "paint", buffered: true });
})"""


@contextmanager
def browser() -> Iterator[Browser]:
    """Start the browser of the tests; raise NotThere where there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise NotThere("chromium is not installed: apt-get install chromium")
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - may be absent
    except ImportError:
        raise NotThere("playwright of requirements-dev.txt is not installed") from None
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox"]
        )
        yield started
        started.close()


@contextmanager
def signed_in(browser: Browser, url: str) -> Iterator[Page]:
    """Open a page of the admin's, who has signed in and has seen nothing yet."""
    with browser.new_context(base_url=url) as context:
        context.set_default_timeout(WAIT_MS)
        form = {"username": "admin", "password": PASSWORD}
        answer = context.request.post("/ui/sign-in", form=form, max_redirects=0)
        assert answer.status == 303, answer.text()
        yield context.new_page()


def first_seen(page: Page, path: str) -> dict[str, float]:
    """Look at a page for the first time; return what it took until it was drawn."""
    answers = []
    page.on("response", lambda answer: answers.append(answer))  # noqa: PLW0108 - no built-in is taken
    page.goto(path, wait_until="load")
    parts = [answer for answer in answers if "/v3/" not in answer.url]
    return {
        "asked": len(parts),
        "bytes": sum(len(answer.body()) for answer in parts),
        "ms": page.evaluate(_FIRST_PAINT),
    }


@contextmanager
def traced(browser: Browser, page: Page) -> Iterator[list[dict[str, Any]]]:
    """Give what the browser did in the meantime, once that is over."""
    session, events, ended = browser.new_browser_cdp_session(), [], []
    session.on("Tracing.dataCollected", lambda told: events.extend(told["value"]))
    session.on("Tracing.tracingComplete", lambda told: ended.extend([told]))
    categories = "devtools.timeline,disabled-by-default-devtools.timeline"
    session.send("Tracing.start", {"categories": categories})
    yield events
    session.send("Tracing.end")
    wait_until(lambda: page.title() and ended)  # what it tells comes while it is asked
    session.detach()


def longest_task_ms(events: list[dict[str, Any]]) -> float:
    """Return how long the longest task of a page's main thread has worked.

    By the time of the processor that it took: on a busy machine a task of a few
    milliseconds can lie around for a quarter of a second.
    """
    names = [event for event in events if event.get("name") == "thread_name"]
    main = [_place(e) for e in names if e["args"]["name"] == "CrRendererMain"]
    tasks = [e for e in events if e.get("name") == "RunTask" and _place(e) in main]
    return float(max(task.get("tdur", 0) for task in tasks)) / 1000


def _place(event: dict[str, Any]) -> tuple[int, int]:
    """Return in which thread something happened."""
    return event["pid"], event["tid"]
