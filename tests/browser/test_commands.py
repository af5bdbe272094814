"""The form of a command: what it says, what it sends, and that it starts one run."""

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.conftest import ADMIN, PageOf
from tests.servers import Server

# Has every kind of parameter, and what else a caller may say.
DEPLOY = r"""
[commands.deploy]
description = "Bring a version to the servers"
argv = ["/bin/echo", "{version}", "{servers}", "{dry}", "{force}", "{mode}", "{notes}"]
timeout_seconds = 120
stdin = true
env_allowed = ["TONE"]
[commands.deploy.params.version]
type = "string"
title = "Version"
pattern = "v[0-9]+"
description = "Such as v1 <script>alert(1)</script>"
[commands.deploy.params.servers]
type = "integer"
minimum = 1
maximum = 9
[commands.deploy.params.dry]
type = "boolean"
default = true
[commands.deploy.params.force]
type = "boolean"
[commands.deploy.params.mode]
enum = ["fast", "safe", 3]
default = "safe"
[commands.deploy.params.notes]
type = "string"
maxLength = 500
default = ""
[commands.deploy.params.ratio]
type = "number"
exclusiveMinimum = 0
default = 0.5
[commands.deploy.params.password]
type = "string"
writeOnly = true
default = ""

# What the server sees and a browser does not.
[commands.picky]
argv = ["/bin/echo", "{word}"]
[commands.picky.params.word]
type = "string"
not = {const = "wrong"}
default = "right"
"""
MANY = "\n".join(
    f'[commands.nr{n}]\nargv = ["/bin/true"]\ndescription = "The {n}. of them"'
    for n in range(9)
)


@pytest.fixture(scope="module")
def commands() -> str:
    return DEPLOY + MANY


def runs(service: Server) -> int:
    """Return how many tasks there are."""
    return len(service.get("/v3/task/?limit=1000", auth=ADMIN).json()["tasks"])


def run_button(page: Page) -> Locator:
    return page.get_by_role("button", name="Run", exact=True)


def fill_in(page: Page) -> None:
    """Fill in what has to be, rightly."""
    page.get_by_label("Version").fill("v7")
    page.get_by_label("servers").fill("3")
    page.get_by_label("force").select_option("true")


def test_what_is_wrong_is_said_beside_each_field(page: Page, service: Server) -> None:
    page.goto("/ui/commands/deploy")
    before = runs(service)
    page.get_by_label("Version").fill("7")
    page.get_by_label("servers").fill("10")
    run_button(page).click()
    version = page.get_by_label("Version")
    expect(version).to_be_focused()
    expect(version).to_have_attribute("aria-invalid", "true")
    faults = page.locator(".fault:visible")
    expect(faults).to_have_text(
        [
            "This does not have the form that it must have: v[0-9]+",
            "At most 9",
            "Please fill this in",
        ]
    )
    # From now on it is looked at while somebody types.
    version.fill("v7")
    expect(faults).to_have_count(2)
    expect(version).not_to_have_attribute("aria-invalid", "true")
    assert runs(service) == before


def test_a_command_is_run_by_the_keyboard_alone(page: Page) -> None:
    page.goto("/ui/commands/deploy")
    page.get_by_label("Version").focus()
    page.keyboard.type("v7")
    page.keyboard.press("Tab")
    page.keyboard.type("3")
    page.keyboard.press("Tab")  # a tick in a box
    page.keyboard.press("Space")
    page.keyboard.press("Tab")  # a choice
    page.keyboard.type("false")
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**/ui/tasks/*-*")
    task = page.request.get(page.url.replace("/ui/tasks/", "/v3/task/")).json()
    assert task["params"] == {
        "version": "v7",
        "servers": 3,
        "dry": False,
        "force": False,
        "mode": "safe",
        "notes": "",
        "ratio": 0.5,
    }


def test_a_run_is_filled_in_again(page: Page) -> None:
    page.goto("/ui/commands/deploy")
    fill_in(page)
    page.get_by_label("mode").select_option(label="3")
    page.get_by_label("password").fill("a secret")
    run_button(page).click()
    page.wait_for_url("**/ui/tasks/*-*")
    page.goto(f"/ui/commands/deploy?again={page.url.rpartition('/')[2]}")
    expect(page.get_by_label("Version")).to_have_value("v7")
    expect(page.get_by_label("servers")).to_have_value("3")
    expect(page.get_by_label("mode")).to_have_value("3")
    expect(page.get_by_label("password")).to_have_value("")
    expect(page.get_by_text("Filled in as this run was:")).to_be_visible()


def test_an_admin_may_have_it_outlive_the_service(page: Page) -> None:
    page.goto("/ui/commands/deploy")
    fill_in(page)
    page.get_by_label("Detached").check()
    run_button(page).click()
    page.wait_for_url("**/ui/tasks/*-*")
    expect(page.get_by_text("outlives the service")).to_be_visible()
    expect(page.locator("[data-part=state]")).to_have_text("Succeeded")
    page.goto(f"/ui/commands/deploy?again={page.url.rpartition('/')[2]}")
    expect(page.get_by_label("Detached")).to_be_checked()


def test_nobody_else_is_asked_that(page_of: PageOf) -> None:
    page = page_of("ann")
    page.goto("/ui/commands/deploy")
    expect(page.get_by_label("Version")).to_be_visible()
    expect(page.get_by_label("Detached")).to_have_count(0)


def test_what_only_the_server_sees_is_said_beside_its_field(page_of: PageOf) -> None:
    page = page_of("admin", forgiven=("status of 400",))
    page.goto("/ui/commands/picky")
    word = page.get_by_label("word")
    word.fill("wrong")
    run_button(page).click()
    expect(page.locator("#params-word-fault")).to_contain_text("wrong")
    expect(word).to_be_focused()
    word.fill("right")
    run_button(page).click()
    page.wait_for_url("**/ui/tasks/*-*")


def test_a_lost_answer_is_asked_for_again_and_starts_one_run(
    page_of: PageOf, service: Server
) -> None:
    page = page_of("admin", forgiven=("ERR_FAILED",))
    page.goto("/ui/commands/picky")
    before = runs(service)

    def lose(route: Route) -> None:
        route.fetch()
        route.abort("failed")

    page.route("**/v3/exec/", lose, times=1)
    run_button(page).click()
    expect(page.get_by_role("alert")).to_contain_text("it is started once")
    run_button(page).click()
    page.wait_for_url("**/ui/tasks/*-*")
    assert runs(service) == before + 1


def test_a_full_host_is_said_and_when_to_try_again(page_of: PageOf) -> None:
    page = page_of("admin", forgiven=("status of 429",))
    page.goto("/ui/commands/picky")

    def refuse(route: Route) -> None:
        headers = {"Retry-After": "7", "Content-Type": "application/problem+json"}
        route.fulfill(status=429, headers=headers, body='{"detail": "full"}')

    page.route("**/v3/exec/", refuse, times=1)
    run_button(page).click()
    refusal = page.get_by_role("alert")
    expect(refusal).to_contain_text("Nothing was started. Try again in 7 s.")
    expect(refusal).to_be_focused()


def test_the_request_is_shown_without_secrets(page: Page) -> None:
    page.goto("/ui/commands/deploy")
    page.get_by_text("The same as a request").click()
    fill_in(page)
    page.get_by_label("password").fill("it's a secret")
    page.get_by_label("notes").fill("it's a note")
    request = page.locator(".request")
    expect(request).to_contain_text(r"""it'\''s a note""")
    expect(request).to_contain_text('"force":true')
    expect(request).not_to_contain_text("secret")


def test_a_description_is_text(page: Page) -> None:
    page.goto("/ui/commands/deploy")
    expect(page.get_by_text("Such as v1 <script>alert(1)</script>")).to_be_visible()
    expect(page.get_by_label("Version")).to_have_attribute(
        "aria-describedby", "params-version-hint params-version-fault"
    )


def test_commands_are_found_by_name_and_description(page: Page) -> None:
    page.goto("/ui/commands/")
    page.get_by_label("Find a command").fill("servers VERSION")
    expect(page.locator(".command:visible")).to_have_count(1)
    expect(page.get_by_role("link", name="deploy", exact=True)).to_be_visible()
    expect(page.locator("#found")).to_have_text("1 of 11")


def test_a_form_fits_a_phone_and_is_in_chinese_where_wanted(page_of: PageOf) -> None:
    phone = {"width": 390, "height": 800}
    page = page_of("ann", viewport=phone, locale="zh-CN")
    for path in ("/ui/commands/", "/ui/commands/deploy"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.get_by_role("button", name="运行", exact=True).click()
    expect(page.locator(".fault:visible").first).to_have_text("请填写此项")
