"""A message: written, looked at before it leaves, sent once, followed to its end."""

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence

import pytest
import requests
from playwright.sync_api import Page, expect

from app.sms.fake.vendor import Sent
from app.sms.fake.vendors import all_vendors
from tests.browser.conftest import ADMIN, PageOf
from tests.sending import known_to
from tests.servers import PROJECT, Server
from tests.vendors import FIRST, SECOND

# As when the page was out of sight: it asks at once, and not only when it is time.
LOOK_AGAIN = "document.dispatchEvent(new Event('visibilitychange'))"
SECRET = "whoever-knows-this-may-report"


# In a process of their own: connections are kept open from one test to the next.
VENDORS = """
import sys
from app.sms.fake.server import FakeServer
from app.sms.fake.vendors import all_vendors
with FakeServer(all_vendors()) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""


class Fake:
    """All vendors at one address, which do as they are told."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.vendors = {vendor.name: vendor for vendor in all_vendors()}

    def script(self, vendor: str, *scenarios: str) -> None:
        """Say what becomes of a vendor's next requests."""
        url = f"{self.url}/_/script/{vendor}"
        assert requests.put(url, json=scenarios, timeout=9).ok

    def sent(self) -> Sequence[Sent]:
        """Return what was taken."""
        answer = requests.get(f"{self.url}/_/sent", timeout=9)
        return [Sent(**each) for each in answer.json()]

    def clear(self) -> None:
        """Forget all that."""
        assert requests.delete(f"{self.url}/_/sent", timeout=9).ok


@pytest.fixture(scope="module")
def fake() -> Iterator[Fake]:
    """Run a server that is all the vendors."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", VENDORS]
    with subprocess.Popen(command, cwd=PROJECT, stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        yield Fake(process.stdout.readline().decode().strip())
        process.terminate()


@pytest.fixture(scope="module")
def settings(fake: Fake) -> dict[str, str]:
    """Return the settings of a service that sends by two of them."""
    ours = {
        "SMS_PROVIDER": "twilio,kannel",
        "SMS_RECEIPTS_SECRET": SECRET,
        "SMS_LIMIT_CALLER": "off",
        "PUBLIC_URL": "http://bellhop.example",
    }
    return known_to(fake) | ours


@pytest.fixture(autouse=True)
def nothing_sent(fake: Fake) -> None:
    """Begin each test with vendors that were sent nothing."""
    fake.clear()


def write(page: Page, *receivers: str, code: str = "4711") -> None:
    """Fill in the form."""
    page.goto("/ui/messages/")
    page.get_by_label("Template").first.select_option("captcha")
    page.get_by_label("code").fill(code)
    page.get_by_label("Receivers").fill("\n".join(receivers))


def outcome(page: Page) -> str:
    """Send what is filled in; return what the page says of it."""
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator("#outcome")).to_be_visible()
    return page.locator("#outcome").inner_text()


def test_what_is_sent_is_shown_before_and_told_for_each_receiver_after(
    page: Page, fake: Fake
) -> None:
    write(page, FIRST, SECOND)
    shown = page.get_by_role("status").filter(has_text="Your code is 4711.")
    expect(shown).to_contain_text("34 characters, UCS-2: one part")
    assert "accepted it for all" in outcome(page)
    expect(page.get_by_role("heading", name="What became of it")).to_be_focused()
    rows = page.locator("#outcome tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text(
        re.compile(rf"\{FIRST}.*sent.*twilio", re.DOTALL)
    )
    assert len(fake.sent()) == 2
    newest = page.locator("#messages tr").first
    expect(newest).to_contain_text(
        re.compile("captcha.*accepted.*2 sent.*twilio", re.DOTALL)
    )


def test_a_second_click_sends_nothing_again(page: Page, fake: Fake) -> None:
    write(page, FIRST)
    page.get_by_role("button", name="Send", exact=True).dblclick()
    expect(page.locator("#outcome")).to_be_visible()
    assert "was not sent again" in outcome(page)
    assert len(fake.sent()) == 1
    page.get_by_label("code").fill("4712")
    assert "was not sent again" not in outcome(page)
    assert len(fake.sent()) == 2


def test_wrong_numbers_are_named_beside_their_field(
    page_of: PageOf, fake: Fake
) -> None:
    page = page_of("ann", locale="zh-CN", forgiven=("status of 400",))
    page.goto("/ui/messages/")
    expect(page.get_by_role("heading", level=1)).to_have_text("短信")
    page.get_by_label("code").fill("1")
    receivers = page.get_by_label("接收人").first
    receivers.fill(f"{FIRST}, 138, user:x")
    page.get_by_role("button", name="发送", exact=True).click()
    expect(receivers).to_be_focused()
    expect(receivers).to_have_accessible_description(
        re.compile("138 不是.*user:x 不是")
    )
    # A browser cannot tell that there is no such number; the service does.
    receivers.fill(f"{FIRST}\n+8612")
    page.get_by_role("button", name="发送", exact=True).click()
    expect(receivers).to_have_accessible_description(re.compile(r"'\+8612'"))
    expect(page.get_by_role("alert")).to_contain_text("还有内容需要更正")
    assert not fake.sent()


def test_what_every_provider_says_that_refuses_is_shown(
    page_of: PageOf, fake: Fake
) -> None:
    page = page_of("admin", forgiven=("status of 502",))
    fake.script("twilio", "auth")
    fake.script("kannel", "auth")
    write(page, FIRST)
    said = outcome(page)
    assert "Every provider has refused" in said
    assert re.search(r"twilio\s+our keys: 20003", said)
    assert "kannel" in said
    # Nothing was sent, so that the same may be tried again.
    assert "accepted it for all" in outcome(page)
    assert len(fake.sent()) == 1


def test_what_is_unknown_is_said_and_never_sent_again(page: Page, fake: Fake) -> None:
    fake.script("twilio", "error")
    write(page, FIRST)
    assert "never sent again" in outcome(page)
    expect(page.locator("#outcome tbody")).to_contain_text("unknown")


def test_a_delivery_is_shown_when_it_is_told(
    page: Page, fake: Fake, service: Server
) -> None:
    write(page, FIRST)
    outcome(page)
    with page.expect_response("**/v3/sms/*"):  # from now on it knows what is news
        page.get_by_role("link", name="Show this message").click()
    state = page.locator("#receivers tr").first
    expect(state).to_contain_text("sent")
    [sent] = fake.sent()
    url = f"http://bellhop.example/api/sms/receipts/twilio/{SECRET}"
    push = fake.vendors["twilio"].receipt(sent, delivered=True, url=url)
    ours = push.url.replace("http://bellhop.example", service.url)
    requests.request(push.method, ours, headers=push.headers, data=push.body, timeout=9)
    expect(state).to_contain_text("delivered")
    expect(page.locator("#events")).to_contain_text("a receipt has come")
    expect(page.locator("#said")).to_have_text("1 delivered")


def test_a_service_that_is_away_is_asked_until_it_is_back(
    page_of: PageOf, fake: Fake
) -> None:
    page = page_of("admin", forgiven=("ERR_FAILED",))
    write(page, FIRST)
    outcome(page)
    page.get_by_role("link", name="Show this message").click()
    expect(page.locator("#receivers")).to_contain_text("sent")
    page.route("**/v3/sms/*", lambda route: route.abort())
    page.evaluate(LOOK_AGAIN)
    expect(page.locator("#away")).to_be_visible()
    page.unroute("**/v3/sms/*")
    page.evaluate(LOOK_AGAIN)
    expect(page.locator("#away")).to_be_hidden()


def test_people_are_written_to_by_their_names(
    page: Page, fake: Fake, service: Server
) -> None:
    person = {"name": "Ann <b>Ng</b>", "age": 30, "phone": SECOND}
    service.post("/v1/user", json=person, auth=ADMIN)
    page.goto("/ui/people/")
    page.get_by_role("link", name="Write Ann <b>Ng</b>").click()
    receivers = page.get_by_label("Receivers").first
    expect(receivers).to_have_value(re.compile("user:[0-9]+"))
    receivers.fill("")
    page.get_by_label("Somebody of the directory").select_option("user:0")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(receivers).to_be_focused()
    page.get_by_label("code").fill("1")
    outcome(page)
    assert [sent.receiver for sent in fake.sent()] == [SECOND]


def test_many_receivers_are_sent_to_by_a_task(page: Page) -> None:
    write(page, *[f"+86138000000{n:02}" for n in range(12)])
    assert "It is being sent" in outcome(page)
    page.get_by_role("link", name="Show this message").click()
    expect(page.locator("#counts")).to_have_text(re.compile("12 sent"))
    expect(page.get_by_role("link", name=re.compile("^[0-9a-f]{8}$"))).to_be_visible()
