"""Every page, light and dark, wide and narrow: what axe finds, and what falls over."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Response, expect

from tests.browser.conftest import ADMIN, PageOf
from tests.servers import Server

PHONE = {"width": 390, "height": 844}

#: What the pages are about: `{task}` and `{message}` are made first. The last is seen
#: by who has not signed in.
PAGES = [
    *("/ui/", "/ui/commands/", "/ui/commands/hello", "/ui/commands/count"),
    *("/ui/tasks/", "/ui/tasks/{task}", "/ui/tasks/{failed}", "/ui/messages/"),
    *("/ui/messages/{message}", "/ui/people/", "/ui/users/", "/ui/users/ann"),
    *("/ui/audit/", "/ui/nothing", "/ui/sign-in"),
]
#: An error of a page's own, as the browser writes it to the console.
NOT_FOUND = "status of 404"

# First page: HTML, styles and modules in all, and in how many parts.
FIRST_BYTES = 100 * 1024
FIRST_PARTS = range(4, 16)


@dataclass
class Things:
    """What there is to be looked at."""

    task: str
    failed: str
    message: str


@pytest.fixture(scope="module")
def things(service: Server) -> Things:
    """Have something of everything."""
    finished = [_run(service, command) for command in ("colours", "fail")]
    person = {"name": "Tom <b>Li</b>", "age": 7, "phone": "+8613800000000"}
    message = {"receivers": person["phone"], "template": "captcha"}
    sent = _post(service, "/v3/sms/", message | {"params": {"code": "42"}})
    _post(service, "/v1/user", person)
    return Things(*finished, message=sent["id"])


def _run(service: Server, command: str) -> str:
    task = _post(service, "/v3/exec/", {"command": command, "wait_seconds": 10})
    assert task["state"] in ("SUCCESS", "FAILURE")
    return str(task["task_id"])


def _post(service: Server, path: str, body: dict[str, object]) -> dict[str, str]:
    answer = service.post(path, json=body, auth=ADMIN)
    assert answer.ok, answer.text
    found: dict[str, str] = answer.json()
    return found


def _each(page: Page, things: Things) -> Iterator[str]:
    """Show one page after the other in one window: a new one takes most of a second."""
    for path in PAGES:
        if path == "/ui/sign-in":
            page.context.clear_cookies()
        page.goto(path.format(**vars(things)))
        expect(page.locator("h1")).to_have_count(1)
        yield path


def _serious(page: Page, **options: Any) -> list[str]:
    """Return what axe finds that keeps somebody out."""
    return [
        f"{each['id']}: {each['help']}: {node['html']}"
        for each in Axe().run(page, options=options).response["violations"]
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


def test_axe_finds_nothing_serious(page_of: PageOf, things: Things) -> None:
    page = page_of("admin", color_scheme="light", forgiven=(NOT_FOUND,))
    serious = {path: _serious(page) for path in _each(page, things)}
    assert not any(serious.values()), serious


def test_nor_in_the_dark_which_has_other_colours(
    page_of: PageOf, things: Things
) -> None:
    page = page_of("admin", color_scheme="dark", forgiven=(NOT_FOUND,))
    rules = ["color-contrast", "link-in-text-block"]
    serious = {path: _serious(page, runOnly=rules) for path in _each(page, things)}
    assert not any(serious.values()), serious


@pytest.mark.parametrize("language", ["en-GB", "zh-CN"])
def test_a_phone_scrolls_one_way_only(
    page_of: PageOf, things: Things, language: str
) -> None:
    page = page_of("admin", viewport=PHONE, locale=language, forgiven=(NOT_FOUND,))
    for path in _each(page, things):
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"], path
        if language == "zh-CN":
            shown = page.locator("main").inner_text()
            assert re.search("[\u4e00-\u9fff]", shown), path


def test_the_menu_is_accessible_too_on_a_phone(page_of: PageOf) -> None:
    page = page_of("ann", viewport=PHONE)
    page.goto("/ui/people/")
    page.locator("details.menu > summary").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_in_viewport()
    assert not _serious(page)


def test_the_first_page_is_small(page: Page) -> None:
    answers: list[Response] = []

    def keep(answer: Response) -> None:
        answers.append(answer)

    page.on("response", keep)
    page.goto("/ui/", wait_until="load")
    parts = [answer for answer in answers if "/v3/" not in answer.url]
    sizes = {answer.url: len(answer.body()) for answer in parts}
    assert len(parts) in FIRST_PARTS, sizes
    assert sum(sizes.values()) < FIRST_BYTES, sizes
