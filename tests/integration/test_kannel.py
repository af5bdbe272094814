"""A real Kannel: bearerbox, smsbox, and the SMSC that it brings for tests."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
import requests

from app.sms.fake.server import FakeServer
from app.sms.fake.vendor import Answer, FakeVendor
from app.sms.message import Accepted, Category, Filled, State
from app.sms.provider import Call
from app.sms.providers.kannel import KannelProvider
from tests.servers import free_port, wait_until

BOXES = "/usr/sbin"  # not on everybody's PATH
FAKESMSC = Path("/usr/lib/kannel/test/fakesmsc")
NUMBER = "+8613800000000"
# The SMSC does not take these.
UNROUTABLE = "+49"

CONFIGURATION = """
group = core
admin-port = {admin}
admin-interface = 127.0.0.1
admin-password = admin
smsbox-port = {smsbox}
smsbox-interface = 127.0.0.1
box-allow-ip = 127.0.0.1
dlr-storage = internal
store-type = file
store-location = {folder}/store

group = smsc
smsc = fake
smsc-id = FAKE
port = {smsc}
our-host = 127.0.0.1
connect-allow-ip = 127.0.0.1
denied-prefix = {denied}

group = smsbox
bearerbox-host = 127.0.0.1
sendsms-port = {sendsms}
sendsms-interface = 127.0.0.1

group = sendsms-user
username = tester
password = foobar
max-messages = 10
concatenation = true
"""

pytestmark = pytest.mark.skipif(
    not (shutil.which("bearerbox", path=BOXES) and FAKESMSC.exists()),
    reason="Debian's kannel and kannel-extras are not installed",
)


class Reports(FakeVendor):
    """Us, as smsbox knows us: it calls the URL that a message has."""

    name = "reports"

    def is_for(self, asked):
        return asked.path == "/receipts"

    def answer(self, _asked, _scenario):
        return Answer(200, "OK", "text/plain"), []


@dataclass(frozen=True)
class Kannel:
    url: str
    smsc_log: Path

    def provider(self, password: str = "foobar") -> KannelProvider:
        return KannelProvider(
            url=self.url, username="tester", password=password, sender="Bellhop"
        )

    def received(self) -> list[str]:
        """Return what the SMSC has received: sender, receiver, kind and text."""
        return re.findall(r"Got message \d+: <(.*)>", self.smsc_log.read_text())


@pytest.fixture(scope="module")
def kannel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kannel]:
    folder = tmp_path_factory.mktemp("kannel")
    names = ("admin", "smsbox", "smsc", "sendsms")
    ports = {name: free_port() for name in names}
    configuration = folder / "kannel.conf"
    configuration.write_text(
        CONFIGURATION.format(folder=folder, denied=UNROUTABLE, **ports)
    )
    url = f"http://127.0.0.1:{ports['sendsms']}/cgi-bin/sendsms"
    with ExitStack() as stack:
        bearerbox = stack.enter_context(
            started(folder, f"{BOXES}/bearerbox", str(configuration))
        )
        wait_until(lambda: "entering mainloop" in bearerbox.read_text())
        stack.enter_context(started(folder, f"{BOXES}/smsbox", str(configuration)))
        smsc = stack.enter_context(
            started(
                folder,
                str(FAKESMSC),
                *("-H", "127.0.0.1", "-r", str(ports["smsc"])),
                *("-m", "0", "1 2 text none"),  # it sends nothing, and has to be told
            )
        )
        wait_until(lambda: answers(url))
        wait_until(lambda: "Fakesmsc client connected" in bearerbox.read_text())
        yield Kannel(url, smsc)


@contextmanager
def started(folder: Path, *command: str) -> Iterator[Path]:
    """Run a part of Kannel; give the file of what it says."""
    log = folder / f"{Path(command[0]).name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
    try:
        yield log
    finally:
        process.kill()
        process.wait()


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code == 403
    except requests.ConnectionError:
        return False


def filled(text: str) -> Filled:
    return Filled("captcha", None, {}, text)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Hello 1+1=2 & 100%, a_b@c.d", "text"),
        ("您的验证码是 736251 😀", "ucs-2"),
    ],
)
def test_a_message_arrives_and_its_reports_come_back(kannel, text, kind):
    with FakeServer([Reports()]) as us, closing(kannel.provider()) as provider:
        before = len(kannel.received())
        outcomes = provider.send(
            filled(text),
            [NUMBER],
            message_id="m-1",
            validity_seconds=61,
            receipts_url=f"{us.url}/receipts",
        )
        assert outcomes == [Accepted()]
        # The SMSC has accepted it; it was delivered.
        wait_until(lambda: len(us.asked()) == 2)
        receipts = [
            provider.receipts(Call(each.method, us.url + each.target, {}, b""))[0]
            for each in us.asked()
        ]
    [line] = kannel.received()[before:]
    sender, receiver, told_kind, told = line.split(" ", 3)
    assert (sender, receiver, told_kind) == ("Bellhop", NUMBER, kind)
    if kind == "ucs-2":
        told = unquote_to_bytes(told.replace("+", " ")).decode("utf-16-be")
    assert told == text
    assert {receipt.state for receipt in receipts} == {State.SENT, State.DELIVERED}
    for receipt in receipts:
        assert (receipt.message_id, receipt.number) == ("m-1", NUMBER)


def test_a_long_message_arrives_in_parts_and_is_reported_once(kannel):
    text, before = "".join(f"{n:04}" for n in range(50)), len(kannel.received())
    with FakeServer([Reports()]) as us, closing(kannel.provider()) as provider:
        provider.send(
            filled(text),
            [NUMBER],
            message_id="m-2",
            receipts_url=f"{us.url}/receipts",
        )
        wait_until(lambda: len(kannel.received()) == before + 2)
        wait_until(lambda: len(us.asked()) == 2)
    parts = [line.rpartition(" ")[2] for line in kannel.received()[before:]]
    assert "".join(parts) == text


def test_what_kannel_refuses_is_known_by_its_words(kannel):
    def refused(number: str, **account: str) -> Category:
        with closing(kannel.provider(**account)) as provider:
            [outcome] = provider.send(filled("hello"), [number], message_id="m-3")
        return outcome.category

    assert refused(NUMBER, password="wrong") is Category.AUTH
    assert refused("x", password="foobar") is Category.RECIPIENT
    assert refused(f"{UNROUTABLE}1511234567") is Category.ACCOUNT
