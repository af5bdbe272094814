"""Kannel: what is sent, what each answer means, which reports are read."""

import logging
from collections.abc import Iterator
from contextlib import closing

import pytest

from app.sms.fake.kannel import FakeKannel
from app.sms.fake.server import FakeServer
from app.sms.http_provider import Reply
from app.sms.message import Accepted, Category, Receipt, State
from app.sms.provider import Call, OutcomeUnknown
from app.sms.providers.kannel import KannelProvider
from tests.providers.faults import (
    NUMBER,
    PATIENT_SECONDS,
    TEXT,
    each_fault,
    played,
    sent,
)
from tests.servers import free_port

RECEIPTS = "https://b.example/%7Ea/api/sms/receipts/kannel/secret"


def make(
    url: str, password: str = "foobar", timeout_seconds: float = PATIENT_SECONDS
) -> KannelProvider:
    return KannelProvider(
        url=f"{url}/cgi-bin/sendsms",
        username="tester",
        password=password,
        sender="Bellhop",
        timeout_seconds=timeout_seconds,
    )


PROVIDER = make("http://127.0.0.1:1")


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer([FakeKannel()]) as server:
        yield server


@each_fault
def test_each_fault_is_told_for_what_it_is_and_asked_once(scenario, expected, caplog):
    caplog.set_level(logging.DEBUG)
    outcome, asked = played(FakeKannel(), make, scenario)
    assert outcome == expected
    assert len(asked) == 1
    assert not any(part in caplog.text for part in (NUMBER[1:], "736251", "foobar"))


def test_a_refused_connection_has_sent_nothing():
    outcome, _ = played(
        FakeKannel(), lambda _: make(f"http://127.0.0.1:{free_port()}"), "success"
    )
    assert outcome == "ProviderUnreachable"


def test_a_wrong_password_is_a_fault_of_ours(fake):
    with closing(make(fake.url, password="wrong")) as provider:
        assert sent(provider).category is Category.AUTH


@pytest.mark.parametrize(
    ("status", "words", "expected"),
    [
        (202, "0: Accepted for delivery", None),
        (202, "3: Queued for later delivery", None),
        (202, "Sent.", None),
        (403, "Not routable. Do not try again.", Category.ACCOUNT),
        (400, "Sender missing and no global set, rejected", Category.SENDER),
        (400, "Charset or body misformed, rejected", Category.REQUEST),
        (503, "Temporal failure, try again later.", Category.RATE_LIMITED),
    ],
)
def test_the_words_of_an_answer_say_what_it_means(status, words, expected):
    [outcome] = PROVIDER.read(Reply(status, words.encode()), [NUMBER])
    assert getattr(outcome, "category", None) == expected


@pytest.mark.parametrize("reply", [Reply(503, b"<html>"), Reply(202, b"hello")])
def test_an_answer_that_is_not_kannels_tells_nothing(reply):
    with pytest.raises(OutcomeUnknown):
        PROVIDER.read(reply, [NUMBER])


def test_a_message_carries_all_that_it_is_sent_with(fake):
    with closing(make(fake.url)) as provider:
        outcome = sent(provider, receipts_url=RECEIPTS, validity_seconds=61)
        sent(provider, text="您的验证码是1 + 1")
    first, second = (asked.query for asked in fake.asked())
    assert outcome == Accepted()
    assert first == {
        "username": "tester",
        "password": "foobar",
        "from": "Bellhop",
        "to": NUMBER,
        "text": TEXT,
        "charset": "UTF-8",
        "coding": "0",
        "dlr-mask": "31",
        "dlr-url": "https://b.example/%%7Ea/api/sms/receipts/kannel/secret"
        "?id=m-1&to=%%2B8613800000000&status=%d&smsc_id=%F&reply=%A",
        "validity": "2",
    }
    assert (second["coding"], second["text"]) == ("2", "您的验证码是1 + 1")
    assert not {"dlr-url", "dlr-mask", "validity"} & set(second)


@pytest.mark.parametrize("delivered", [True, False])
def test_a_report_names_the_message_and_the_number(fake, delivered):
    with closing(make(fake.url)) as provider:
        sent(provider, receipts_url=RECEIPTS)
    [taken] = fake.sent()
    push = FakeKannel().receipt(taken, delivered=delivered, url="https://other/")
    assert push.url.startswith(f"{RECEIPTS}?")
    [receipt] = PROVIDER.receipts(Call(push.method, push.url, push.headers, push.body))
    assert receipt == Receipt(
        State.DELIVERED if delivered else State.UNDELIVERED,
        message_id="m-1",
        provider_id=taken.provider_id,
        number=NUMBER,
    )


@pytest.mark.parametrize(
    ("status", "reply", "state", "code"),
    [
        ("4", "", State.SENT, ""),
        ("8", "ACK/", State.SENT, ""),
        ("16", "NACK/0x0000000b/Invalid", State.REJECTED, "0x0000000b"),
        ("1", "id:1+dlvrd:001+stat:DELIVRD+text:hi", State.DELIVERED, "DELIVRD"),
        ("2", "id:1+stat:EXPIRED+err:000", State.UNDELIVERED, "EXPIRED"),
    ],
)
def test_a_status_says_how_far_a_message_got(status, reply, state, code):
    [receipt] = PROVIDER.receipts(
        called(f"id=m-1&to=%2B1&status={status}&smsc_id=&reply={reply}")
    )
    assert receipt == Receipt(state, code=code, message_id="m-1", number="+1")


@pytest.mark.parametrize(
    "query",
    [
        "",
        "id=m-1&to=%2B1",
        "id=m-1&to=%2B1&status=3",
        "id=m-1&to=%2B1&status=x",
        "id=m-1&status=1",
        "to=%2B1&status=1",
        "id=m%00&to=%2B1&status=1",
    ],
)
def test_what_cannot_be_read_is_an_error(query):
    with pytest.raises(ValueError, match=r"\w"):
        PROVIDER.receipts(called(query))


def called(query: str) -> Call:
    return Call("GET", f"{RECEIPTS}?{query}", {}, b"")
