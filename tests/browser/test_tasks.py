"""The list of tasks: it follows what goes on, and ends what should."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import ADMIN, PageOf
from tests.servers import Server

COMMANDS = """
[commands.hold]
argv = ["/bin/sh", "-c", 'while [ ! -e "$0" ]; do sleep 0.05; done', "{gate}"]
params.gate.type = "string"

[commands.fail]
argv = ["/bin/sh", "-c", "exit 3"]
"""

# Longer than the page waits before it asks again.
PAUSE_MS = 6000

Start = Callable[..., str]


@pytest.fixture(scope="module")
def commands() -> str:
    return COMMANDS


@pytest.fixture
def start(service: Server) -> Start:
    """Return what starts a command, and returns its task's id."""

    def run(command: str, *, wait_seconds: int = 0, **params: Any) -> str:
        body = {"command": command, "params": params, "wait_seconds": wait_seconds}
        answer = service.post("/v3/exec/", json=body, auth=ADMIN)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["task_id"])

    return run


def test_a_state_changes_by_itself(page: Page, start: Start, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    row = page.locator(f"[data-task='{start('hold', gate=str(gate))}']")
    page.goto("/ui/tasks/")
    expect(row).to_contain_text("Running")
    expect(row.get_by_role("button", name="Cancel hold")).to_be_enabled()
    gate.touch()
    expect(row).to_contain_text("Succeeded")
    expect(row.locator(".exit")).to_have_text("0")
    expect(row.get_by_role("button")).to_have_count(0)
    expect(page.locator("#said")).to_have_text("hold: Succeeded")


def test_a_task_is_cancelled_from_its_row_once_that_is_confirmed(
    page: Page, start: Start, tmp_path: Path
) -> None:
    row = page.locator(f"[data-task='{start('hold', gate=str(tmp_path / 'gate'))}']")
    page.goto("/ui/tasks/")
    cancel = row.get_by_role("button", name="Cancel hold")
    page.once("dialog", lambda dialog: dialog.dismiss())
    cancel.click()
    expect(cancel).to_be_enabled()
    page.once("dialog", lambda dialog: dialog.accept())
    cancel.focus()
    page.keyboard.press("Enter")
    expect(row).to_contain_text("Cancelled")
    # What had the focus is gone.
    expect(row.get_by_role("link")).to_be_focused()


def test_newer_tasks_are_told_and_shown_when_wanted(page: Page, start: Start) -> None:
    start("fail", wait_seconds=20)
    page.clock.install()
    page.goto("/ui/tasks/?state=FAILURE")
    count = page.locator("[data-task]").count()
    start("fail", wait_seconds=20)
    page.clock.fast_forward(PAUSE_MS)
    page.get_by_role("link", name="Show 1 new").click()
    expect(page.locator("[data-task]")).to_have_count(count + 1)


def test_filters_are_chosen_by_the_keyboard(page: Page, start: Start) -> None:
    failed = start("fail", wait_seconds=20)
    page.goto("/ui/tasks/")
    page.get_by_label("State").focus()
    page.keyboard.type("Failed")
    page.get_by_role("button", name="Filter").press("Enter")
    page.wait_for_url("**state=FAILURE*")
    expect(page.locator(f"[data-task='{failed}']")).to_contain_text("3")
    expect(page.get_by_label("State")).to_have_value("FAILURE")
    states = page.locator("tbody .badge").all_inner_texts()
    assert set(states) == {"Failed"}


def test_a_service_that_is_away_is_told_until_it_is_back(
    page_of: PageOf, start: Start, tmp_path: Path
) -> None:
    page = page_of("admin", forgiven=("ERR_FAILED",))
    gate = tmp_path / "gate"
    start("hold", gate=str(gate))
    page.clock.install()
    page.goto("/ui/tasks/")
    page.route("**/v3/task/**", lambda route: route.abort("failed"), times=1)
    away = page.locator(".away")
    page.clock.fast_forward(PAUSE_MS)
    expect(away).to_contain_text("The service does not answer")
    page.clock.fast_forward(PAUSE_MS)
    expect(away).to_be_hidden()
    gate.touch()


def test_rows_fit_a_phone(page_of: PageOf, start: Start) -> None:
    start("fail", wait_seconds=20)
    page = page_of("admin", viewport={"width": 390, "height": 800})
    page.goto("/ui/tasks/")
    expect(page.locator("[data-task]").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
