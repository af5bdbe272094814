"""Amazon's SNS: what boto3 is let do, and what each of its errors means."""

import logging
from collections.abc import Iterator
from contextlib import closing

import pytest

from app.sms.fake.server import FakeServer
from app.sms.fake.sns import FakeSns
from app.sms.fake.vendor import Answer
from app.sms.message import Accepted, Category
from app.sms.providers.sns import SnsProvider
from tests.providers.faults import (
    NUMBER,
    PATIENT_SECONDS,
    TEXT,
    each_fault,
    played,
    sent,
    told,
)
from tests.servers import free_port


def make(
    url: str,
    sender_id: str | None = None,
    timeout_seconds: float = PATIENT_SECONDS,
) -> SnsProvider:
    return SnsProvider(
        region=FakeSns.settings["SNS_REGION"],
        url=url,
        sender_id=sender_id,
        timeout_seconds=timeout_seconds,
    )


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    for name, value in FakeSns.settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer([FakeSns()]) as server:
        yield server


@each_fault
def test_each_fault_is_told_for_what_it_is_and_asked_once(scenario, expected, caplog):
    caplog.set_level(logging.DEBUG)
    outcome, asked = played(FakeSns(), make, scenario)
    assert outcome == expected
    assert len(asked) == 1
    assert TEXT.split()[-1] not in caplog.text
    assert NUMBER[1:] not in caplog.text


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{free}", "http://no.such.host.invalid", "https://{fake}"]
)
def test_without_a_connection_nothing_was_sent(fake, url):
    url = url.format(free=free_port(), fake=fake.url.removeprefix("http://"))
    with closing(make(url)) as provider:
        assert told(provider) == "ProviderUnreachable"


def test_a_wrong_key_and_none_are_faults_of_ours(fake, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with closing(make(fake.url)) as provider:
        assert sent(provider).code == "SignatureDoesNotMatch"
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with closing(make(fake.url)) as provider:
        assert told(provider) == (Category.AUTH, False)


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (
            400,
            "<Code>InvalidParameter</Code><Message>Phone number is opted out</Message>",
            (Category.COMPLIANCE, False),
        ),
        (400, "<Code>InvalidParameter</Code>", (Category.REQUEST, False)),
        (400, "<Code>New</Code>", (Category.UNKNOWN, False)),
        (503, "<Code>Throttling</Code>", "OutcomeUnknown"),
    ],
)
def test_an_error_is_read_by_status_code_and_words(status, error, expected):
    class Refusing(FakeSns):
        def answer(self, _asked, _scenario):
            body = f"<ErrorResponse><Error>{error}</Error></ErrorResponse>"
            return Answer(status, body, "text/xml"), []

    assert played(Refusing(), make, "success")[0] == expected


def test_a_message_carries_all_that_it_is_sent_with(fake):
    with closing(make(fake.url, sender_id="Bellhop")) as provider:
        outcome = sent(provider, text="您的 & <1>")
    assert outcome == Accepted(fake.sent()[0].provider_id)
    form = fake.asked()[0].form
    assert (form["PhoneNumber"], form["Message"]) == (NUMBER, "您的 & <1>")
    attributes = {
        form[f"MessageAttributes.entry.{n}.Name"]: form[
            f"MessageAttributes.entry.{n}.Value.StringValue"
        ]
        for n in (1, 2)
    }
    assert attributes == {
        "AWS.SNS.SMS.SMSType": "Transactional",
        "AWS.SNS.SMS.SenderID": "Bellhop",
    }
