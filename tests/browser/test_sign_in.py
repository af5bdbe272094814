"""In and out by keyboard, in two languages, light and dark."""

import re

import pytest
import requests
from playwright.sync_api import Page, expect

from tests.browser.conftest import ADMIN, USERS, PageOf
from tests.servers import Server


def _type_into_form(page: Page, username: str, password: str) -> None:
    """Fill in the form as it has the focus, and send it, without a mouse."""
    page.keyboard.type(username)
    page.keyboard.press("Tab")
    page.keyboard.type(password)
    page.keyboard.press("Enter")


def test_who_signs_in_by_keyboard_comes_to_the_page_that_was_asked_for(
    open_page: PageOf,
) -> None:
    page = open_page(forgiven=("status of 401",))
    page.goto("/ui/tasks/?state=SUCCESS")
    expect(page).to_have_url(re.compile(r"/ui/sign-in\?next="))
    expect(page.get_by_label("Name")).to_be_focused()
    _type_into_form(page, "admin", "wrong")
    expect(page.get_by_role("alert")).to_have_text("The name or the password is wrong.")
    expect(page.get_by_label("Name")).to_have_value("admin")
    password = page.get_by_label("Password")
    expect(password).to_be_focused()
    expect(password).to_have_accessible_description(re.compile("is wrong"))
    page.keyboard.type(USERS["admin"])
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/ui/tasks/\?state=SUCCESS$"))
    current = page.get_by_role("link", name="Tasks").first
    expect(current).to_have_attribute("aria-current", "page")


def test_the_first_tab_leads_past_the_navigation(page: Page) -> None:
    page.goto("/ui/people/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_language_and_theme_are_chosen_and_stay(open_page: PageOf) -> None:
    page = open_page(locale="en-GB", color_scheme="light")
    page.goto("/ui/sign-in?next=/ui/commands/")
    menu = page.locator("details.menu > summary")
    menu.click()
    page.get_by_role("button", name="中文").click()
    expect(page.locator("html")).to_have_attribute("lang", "zh")
    expect(page.get_by_role("heading", name="登录")).to_be_visible()
    menu.click()
    page.get_by_role("button", name="深色").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.get_by_label("用户名").fill("ann")
    page.get_by_label("密码").fill(USERS["ann"])
    page.get_by_role("button", name="登录").click()
    expect(page).to_have_url(re.compile("/ui/commands/$"))
    expect(page.locator("html")).to_have_attribute("lang", "zh")
    scheme = "getComputedStyle(document.documentElement).colorScheme"
    assert page.evaluate(scheme) == "dark"


def test_a_browser_in_chinese_is_answered_in_chinese(open_page: PageOf) -> None:
    page = open_page(locale="zh-CN")
    page.goto("/ui/sign-in")
    expect(page.get_by_role("heading", name="登录")).to_be_visible()


def test_the_pages_can_be_used_without_a_script(open_page: PageOf) -> None:
    page = open_page(java_script_enabled=False)
    page.goto("/ui/")
    page.get_by_label("Name").fill("ann")
    page.get_by_label("Password").fill(USERS["ann"])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("navigation", name="Sections")).to_be_visible()
    page.locator("details.menu > summary").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_who_signs_out_is_out_with_the_same_cookie_too(page: Page) -> None:
    page.goto("/ui/")
    kept = page.context.cookies()
    page.locator("details.menu > summary").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(re.compile(r"/ui/sign-in$"))
    page.context.add_cookies(kept)
    page.goto("/ui/commands/")
    expect(page).to_have_url(re.compile(r"/ui/sign-in\?next="))


def test_the_menu_is_closed_by_escape_and_by_a_click_elsewhere(page: Page) -> None:
    page.goto("/ui/people/")
    menu, summary = page.locator("details.menu"), page.locator("details.menu > summary")
    for close in (
        lambda: page.keyboard.press("Escape"),
        lambda: page.locator("main").click(position={"x": 5, "y": 5}),
    ):
        summary.click()
        expect(menu).to_have_attribute("open", "")
        close()
        expect(menu).not_to_have_attribute("open", "")


def test_a_new_password_ends_the_session_wherever_it_is_open(
    service: Server, page_of: PageOf
) -> None:
    page = page_of("ann")
    page.goto("/ui/commands/")
    change = {"json": {"password": USERS["ann"]}, "auth": ADMIN}
    answer = requests.patch(f"{service.url}/v3/users/ann", timeout=30, **change)
    assert answer.status_code == 200
    page.goto("/ui/tasks/")
    expect(page).to_have_url(re.compile(r"/ui/sign-in\?next=%2Fui%2Ftasks%2F$"))


def test_a_link_elsewhere_leads_who_has_signed_in_to_the_page(page_of: PageOf) -> None:
    elsewhere = "http://elsewhere.example/"
    page = page_of("ann", forgiven=(elsewhere,))
    page.goto("/ui/people/")
    link = f'<a href="{page.url.replace("people", "commands")}">the commands</a>'
    page.route(
        f"{elsewhere}**",
        lambda route: route.fulfill(body=link, content_type="text/html"),
    )
    page.goto(elsewhere)
    page.get_by_role("link").click()
    expect(page).to_have_url(re.compile("/ui/commands/$"))


def test_an_admins_pages_are_shown_to_nobody_else(page_of: PageOf) -> None:
    page = page_of("ann", forgiven=("status of 403",))
    page.goto("/ui/")
    expect(page.get_by_role("link", name="Audit")).to_have_count(0)
    answer = page.goto("/ui/audit/")
    assert answer is not None
    assert answer.status == 403
    expect(page.get_by_role("heading", name="Forbidden")).to_be_visible()


def test_a_page_that_there_is_not_says_so(page_of: PageOf) -> None:
    page = page_of("ann", forgiven=("status of 404",))
    answer = page.goto("/ui/nothing")
    assert answer is not None
    assert answer.status == 404


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_of_the_system_is_followed(open_page: PageOf, scheme: str) -> None:
    page = open_page(color_scheme=scheme)
    page.goto("/ui/sign-in")
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert colour == {"light": "rgb(245, 246, 248)", "dark": "rgb(18, 22, 28)"}[scheme]
