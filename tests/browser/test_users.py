"""Users and people: added, changed, removed; tokens and keys are shown once."""

import re
import subprocess

from playwright.sync_api import Page, expect

from tests.browser.conftest import ADMIN, PageOf
from tests.servers import Server


def press(page: Page, *keys: str) -> None:
    """Press keys one after the other."""
    for key in keys:
        page.keyboard.press(key)


def focused(page: Page) -> str:
    """Return the words of what has the focus."""
    return str(page.evaluate("document.activeElement.textContent.trim()"))


def test_a_user_is_added_changed_and_removed_by_keyboard_alone(
    page_of: PageOf, service: Server
) -> None:
    page = page_of("admin", forgiven=("status of 400", "status of 409"))
    page.goto("/ui/users/")
    page.get_by_role("button", name="Add a user").focus()
    press(page, "Enter")
    page.keyboard.type("bob smith")
    press(page, "Enter")
    name = page.get_by_label("Name").first
    expect(name).to_be_focused()
    expect(name).to_have_accessible_description(re.compile("Only letters"))
    expect(page.get_by_label("Password")).to_have_accessible_description(
        re.compile("Please fill this in")
    )
    press(page, "Control+a")
    for text in ("bob", "Bob <i>Sand</i>", "bobs-secret"):
        page.keyboard.type(text)
        press(page, "Tab")
    press(page, "Enter")
    expect(page.get_by_role("link", name="bob")).to_be_visible()
    assert focused(page) == "Add a user"
    answer = service.get("/v3/users/bob", auth=("bob", "bobs-secret"))
    assert answer.json()["fullname"] == "Bob <i>Sand</i>"
    change = page.get_by_role("button", name="Change bob")
    change.focus()
    press(page, "Enter", "Tab")
    page.keyboard.type("Robert")
    press(page, "Enter")
    expect(page.get_by_role("cell", name="Robert", exact=True)).to_be_visible()
    expect(change).to_be_focused()
    press(page, "Tab", "Enter")
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    press(page, "Tab", "Enter")
    expect(page.get_by_role("link", name="bob")).to_have_count(0)
    assert service.get("/v3/users/bob", auth=ADMIN).status_code == 404
    assert "Change" in focused(page)


def test_the_last_admin_stays(page_of: PageOf) -> None:
    page = page_of("admin", forgiven=("status of 409",))
    page.goto("/ui/users/")
    page.get_by_role("button", name="Remove admin").click()
    page.locator("#removal").get_by_role("button", name="Remove").click()
    said = page.get_by_role("alert").filter(has_text="This is the only admin")
    expect(said).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Change admin").click()
    page.get_by_label("Admin:").uncheck()
    page.get_by_role("button", name="Save").click()
    expect(said).to_be_visible()


def test_a_token_is_shown_once_and_ended(page: Page, service: Server) -> None:
    page.goto("/ui/users/ann")
    page.get_by_label("What for").fill("nightly <b>")
    page.get_by_label("exec").uncheck()
    page.get_by_role("button", name="Make a token").click()
    shown = page.get_by_role("textbox", name="The new token")
    expect(shown).to_have_value(re.compile("^bellhop_"))
    token = {"Authorization": f"Bearer {shown.input_value()}"}
    assert service.get("/v3/task/", headers=token).status_code == 200
    page.get_by_role("button", name="I have kept it").click()
    expect(page.get_by_role("button", name="Make a token")).to_be_focused()
    expect(page.locator("#tokens")).to_contain_text("read, sms")
    assert page.locator("[data-secret]").input_value() == ""
    page.get_by_role("button", name="End nightly <b>").click()
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_text("There is no token.")).to_be_visible()
    assert service.get("/v3/task/", headers=token).status_code == 401


def test_a_token_is_for_something(page: Page) -> None:
    page.goto("/ui/users/ann")
    for scope in ("read", "exec", "sms"):
        page.get_by_label(scope).uncheck()
    page.get_by_role("button", name="Make a token").click()
    expect(page.get_by_text("Choose one at least")).to_be_visible()


def test_the_key_that_is_shown_signs_uuids(page: Page) -> None:
    page.goto("/ui/users/ann")
    page.get_by_role("button", name="Make a signing key").click()
    page.get_by_role("button", name="Go on").click()
    key = page.get_by_role("textbox", name="The new signing key").input_value()
    shown = page.get_by_text(f"key={key}").inner_text()
    command = shown.replace("echo text=hello", "hello name=you")
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, timeout=20)
    assert b'"status": "accepted"' in done.stdout, done


def test_users_look_at_their_own_tokens_alone(page_of: PageOf) -> None:
    page = page_of("ann", forgiven=("status of 403",))
    page.goto("/ui/users/ann")
    expect(page.get_by_role("heading", name="To make a token")).to_be_visible()
    expect(page.get_by_role("button", name="Make a token")).to_have_count(0)
    page.goto("/ui/users/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Forbidden")


def test_people_are_added_changed_and_removed(page_of: PageOf, service: Server) -> None:
    page = page_of("ann", forgiven=("status of 400",))
    page.goto("/ui/people/")
    page.get_by_role("button", name="Add a person").click()
    page.get_by_label("Full name").fill('Zoë "Z" <b>')
    age = page.get_by_role("spinbutton", name="Age")
    age.fill("140")
    page.get_by_label("Phone").fill("138")
    page.get_by_role("button", name="Save").click()
    expect(age).to_have_accessible_description(re.compile("At most 139"))
    expect(page.get_by_label("Phone")).to_have_attribute("aria-invalid", "true")
    age.fill("30")
    page.get_by_label("Phone").fill("")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#people")).to_contain_text('Zoë "Z" <b>')
    expect(page.get_by_role("link", name="Write Zoë")).to_have_count(0)
    page.get_by_role("button", name="Change Zoë").click()
    page.get_by_label("Phone").fill("+8613800000000")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("link", name="Write Zoë")).to_be_visible()
    [person] = service.get("/v1/user", auth=ADMIN).json()["users"]
    assert person["phone"] == "+8613800000000"
    page.get_by_role("button", name="Remove Zoë").click()
    page.locator("#removal").get_by_role("button", name="Remove").click()
    expect(page.get_by_text("There is nobody here yet.")).to_be_visible()
    expect(page.get_by_role("button", name="Add a person")).to_be_focused()


def test_the_audit_is_narrowed_down(page: Page, service: Server) -> None:
    service.get("/v3/users/", auth=("admin", "wrong"))
    page.goto("/ui/audit/")
    page.get_by_label("Outcome").select_option(label="refused")
    page.get_by_role("button", name="Filter").click()
    body = page.locator("tbody")
    expect(body).to_contain_text("claimed to be admin")
    expect(body).not_to_contain_text("done")
    page.get_by_role("link", name="Show all").click()
    expect(body).to_contain_text("done")
