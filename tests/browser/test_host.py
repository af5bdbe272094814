"""The host's page: it moves, it remembers, and it finds its way back."""

import re
import threading
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import requests
from playwright.sync_api import Browser, Locator, Page, Response, expect

from tests.browser.conftest import ADMIN, Watch
from tests.servers import Server, free_port, running, wait_until

VIEWERS = 50
VIEWED = 5  # seconds

SAMPLES = re.compile(r"/v3/hosts/[^/]+/samples")


def line(page: Page) -> Locator:
    """Return the line of the load of the last minute."""
    return page.locator("[data-chart=load] path.line-1")


def points(page: Page) -> int:
    return len(re.findall("[ML]", line(page).get_attribute("d") or ""))


def expect_live(page: Page) -> None:
    expect(page.locator("#live")).to_have_text("Live")


def test_what_was_rendered_goes_on_by_itself(page: Page) -> None:
    page.goto("/ui/")
    expect(page.locator("[data-fact=up]")).to_have_text(re.compile(r"\d+ (h|min)"))
    expect_live(page)
    for _ in range(2):
        before = line(page).get_attribute("d") or ""
        expect(line(page)).not_to_have_attribute("d", before)
    now = page.locator("[data-chart=load] .legend tbody tr").first.locator("td").first
    expect(now).to_have_text(re.compile(r"^\d+\.\d\d$"))


def test_who_loads_the_page_again_sees_what_was(page: Page) -> None:
    page.goto("/ui/")
    wait_until(lambda: points(page) >= 3)
    known = points(page)
    with page.expect_response(SAMPLES) as first:
        page.reload()
    assert len(first.value.json()["samples"]) >= known
    wait_until(lambda: points(page) >= known)


def test_the_first_page_is_small(page: Page) -> None:
    answers: list[Response] = []

    def keep(answer: Response) -> None:  # what is built in, playwright cannot call
        answers.append(answer)

    page.on("response", keep)
    page.goto("/ui/")
    expect_live(page)
    sizes = [each.request.sizes() for each in answers]
    total = sum(
        each["responseBodySize"] + each["responseHeadersSize"] for each in sizes
    )
    assert total < 100_000


def test_a_moment_is_looked_at_by_keyboard_in_all_charts(page: Page) -> None:
    page.goto("/ui/")
    wait_until(lambda: points(page) >= 3)
    slider = page.get_by_role("slider", name="Load")
    heads = page.locator(".legend thead th:first-of-type")
    expect(heads).to_have_text(["now"] * 4)
    slider.focus()
    expect(slider).to_have_attribute("aria-valuetext", re.compile("1 minute"))
    page.keyboard.press("Home")
    expect(slider).to_have_attribute("aria-valuenow", "0")
    expect(heads).to_have_text([re.compile(r"^\d\d:\d\d:\d\d$")] * 4)
    page.keyboard.press("Escape")
    expect(heads).to_have_text(["now"] * 4)


def test_nothing_is_asked_while_nobody_sees_it_and_then_what_was_missed(
    page: Page,
) -> None:
    asked: list[str] = []
    page.on("request", lambda each: asked.append(each.url))
    page.clock.install()
    page.goto("/ui/")
    expect_live(page)
    _be(page, hidden=True)
    page.clock.run_for(3_000)  # what had been asked is answered
    page.wait_for_load_state("networkidle")
    asked.clear()
    page.clock.run_for(60_000)
    assert asked == []
    with page.expect_response(re.compile("since=")):
        _be(page, hidden=False)
    with page.expect_response(re.compile("since=")):
        page.clock.run_for(1_500)


def _be(page: Page, *, hidden: bool) -> None:
    page.evaluate(
        """hidden => {
            const now = {get: () => hidden, configurable: true};
            Object.defineProperty(document, "hidden", now);
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def test_disks_are_text_chosen_by_name_and_folded_away_at_rest(page: Page) -> None:
    evil = "<img src=x onerror=alert(1)>"
    _answer(
        page,
        [_sample(second, {"sda": 9.0, evil: 3.0, "loop0": 0.0}) for second in (1, 2)],
    )
    page.goto("/ui/")
    disk = page.get_by_label("Disk", exact=True)
    expect(disk).to_have_value("sda")
    expect(disk.locator("option")).to_have_text([evil, "sda"])
    expect(page.locator("#figures tbody th")).to_have_text([evil, "sda"])
    disk.select_option(evil)
    expect(page.locator("[data-disk]:visible")).to_have_text([evil, evil])
    busy = page.locator("[data-chart=busy] .legend tbody td").first
    expect(busy).to_have_text("3.0")
    page.get_by_text("Disks at rest").click()
    expect(page.locator("#resting p")).to_have_text("loop0")


def test_where_samples_are_missing_no_line_is_drawn(page: Page) -> None:
    _answer(page, [_sample(second, {}) for second in (1, 2, 3, 20, 21)])
    page.goto("/ui/")
    expect(line(page)).to_have_attribute("d", re.compile(r"^M[^M]+M[^M]+$"))
    expect(
        page.get_by_text("No disk has moved in the last ten minutes.")
    ).to_be_visible()


def test_a_service_that_takes_no_samples_is_not_live(page: Page) -> None:
    _answer(page, [_sample(1, {})])
    page.clock.install()
    page.goto("/ui/")
    expect_live(page)

    def is_told() -> bool:
        page.clock.run_for(1_000)
        return page.locator("#live").inner_text() == "No new figures"

    for _ in range(2):  # and it stays so
        wait_until(is_told)


def _answer(page: Page, samples: list[dict[str, Any]]) -> None:
    """Answer the page in the service's place, each time the same."""
    page.route(SAMPLES, lambda route: route.fulfill(json={"samples": samples}))


def _sample(second: int, busy: dict[str, float]) -> dict[str, Any]:
    figures = (
        "tps",
        "kB_read_per_s",
        "kB_wrtn_per_s",
        "r_await_ms",
        "w_await_ms",
        "queue",
    )
    return {
        "time": f"2026-03-09T12:00:{second:02d}.505Z",
        "load": [0.1, 0.2, 0.3],
        "uptime_seconds": 5400.5,
        "users": None,
        "devices": [
            {"device": name, **dict.fromkeys(figures, value), "util_percent": value}
            for name, value in busy.items()
        ],
    }


def test_the_page_outlives_the_service(browser: Browser, tmp_path: Path) -> None:
    settings = {
        "FLASK_ENV": "production",
        "ADMIN_PASSWORD": ADMIN[1],
        "PORT": str(free_port()),
    }
    watch = Watch(f"http://127.0.0.1:{settings['PORT']}", ["ERR_", "status of 50"])
    with browser.new_context(base_url=watch.url) as context:
        page = context.new_page()
        page.on("console", watch.on_console)
        page.on("pageerror", lambda error: watch.seen.append(f"error: {error}"))
        with running(tmp_path, "-w", "1", **settings):
            form = {"username": ADMIN[0], "password": ADMIN[1]}
            page.request.post("/ui/sign-in", form=form)
            page.goto("/ui/")
            wait_until(lambda: points(page) >= 2)
            before = page.locator("[data-fact=up]").inner_text()
            assert before
        expect(page.locator("#live")).to_have_text(re.compile("trying again"))
        expect(page.locator("#said")).to_have_text(re.compile("trying again"))
        known = points(page)
        with running(tmp_path, "-w", "1", **settings):
            expect(page.locator("#live")).to_have_text("Live", timeout=20_000)
            wait_until(lambda: points(page) > known)
    assert watch.unforgiven() == []


def test_many_viewers_leave_one_sampler_and_the_service_well(service: Server) -> None:
    form = {"username": ADMIN[0], "password": ADMIN[1]}
    answer = service.post("/ui/sign-in", data=form, allow_redirects=False)
    ended, faults, seen = threading.Event(), [], []

    def view() -> None:
        since = {"since": begun}
        with requests.Session() as session:
            session.cookies.update(answer.cookies)
            while not ended.is_set():
                got = session.get(f"{service.url}{href}", params=since, timeout=20)
                if not got.ok:
                    faults.append(got.text)
                    return
                for each in got.json()["samples"]:
                    since = {"since": each["time"]}
                    seen.append(each["time"])
                ended.wait(1)

    [host] = service.get("/v3/hosts/", cookies=answer.cookies).json()["hosts"]
    [href] = [link["href"] for link in host["links"] if link["rel"] == "samples"]
    newest = service.get(f"{href}?limit=1", cookies=answer.cookies).json()["samples"]
    begun = newest[-1]["time"]
    viewers = [threading.Thread(target=view) for _ in range(VIEWERS)]
    for each in viewers:
        each.start()
    wait_until(lambda: len(set(seen)) >= VIEWED, seconds=60)
    assert service.get("/api/health").ok
    assert len(_holders(service)) == 1
    ended.set()
    for each in viewers:
        each.join()
    assert faults == []
    times = sorted(datetime.fromisoformat(time) for time in set(seen))
    assert all((b - a).total_seconds() > 0.4 for a, b in pairwise(times))


def _holders(service: Server) -> list[int]:
    """Return the workers that hold the sampler's lock."""
    [lock] = service.log_path.parent.rglob("sampler.lock")
    inode = str(lock.stat().st_ino)
    held = [
        int(words[4])
        for words in map(str.split, Path("/proc/locks").read_text().splitlines())
        if words[1] == "FLOCK" and words[5].rpartition(":")[2] == inode
    ]
    assert set(held) <= set(service.workers())
    return held
