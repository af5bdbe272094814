"""Twilio: what is sent, what each answer means, which receipts are believed."""

import hashlib
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator
from twilio.rest import Client
from werkzeug.datastructures import MultiDict

from app.sms.fake.server import FakeServer
from app.sms.fake.twilio import FakeTwilio
from app.sms.message import Accepted, Category, Receipt, State
from app.sms.provider import Asked, Call
from app.sms.providers.twilio import TwilioProvider, signature
from tests.providers.faults import NUMBER, PATIENT_SECONDS, TEXT, played, sent
from tests.servers import free_port

SID = FakeTwilio.settings["TWILIO_ACCOUNT_SID"]
TOKEN = FakeTwilio.settings["TWILIO_AUTH_TOKEN"]
FROM = FakeTwilio.settings["TWILIO_FROM"]
KEY, KEY_SECRET = "webhooks_sharedkey_1", "s3cret"
URL = "https://bellhop.example/api/sms/receipts/twilio/secret?id=m-1"


def make(
    url: str,
    sender: str = FROM,
    token: str = TOKEN,
    timeout_seconds: float = PATIENT_SECONDS,
) -> TwilioProvider:
    return TwilioProvider(
        account_sid=SID,
        auth_token=token,
        sender=sender,
        url=url,
        webhook_secrets={KEY: KEY_SECRET},
        timeout_seconds=timeout_seconds,
    )


PROVIDER = make("http://127.0.0.1:1")


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer([FakeTwilio()]) as server:
        yield server


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        ("success", "Accepted"),
        ("number", (Category.RECIPIENT, False)),
        ("auth", (Category.AUTH, False)),
        ("balance", (Category.ACCOUNT, False)),
        ("throttle", (Category.RATE_LIMITED, False)),
        ("phone_limit", (Category.RATE_LIMITED, True)),
        ("error", "OutcomeUnknown"),
        ("timeout", "OutcomeUnknown"),
        ("reset", "OutcomeUnknown"),
        ("malformed", "OutcomeUnknown"),
    ],
)
def test_each_fault_is_told_for_what_it_is_and_asked_once(scenario, expected):
    outcome, asked = played(FakeTwilio(), make, scenario)
    assert outcome == expected
    assert len(asked) == 1


def test_a_refused_connection_has_sent_nothing():
    outcome, _ = played(
        FakeTwilio(), lambda _: make(f"http://127.0.0.1:{free_port()}"), "success"
    )
    assert outcome == "ProviderUnreachable"


def test_a_wrong_token_is_a_fault_of_ours(fake):
    with closing(make(fake.url, token="wrong")) as provider:
        assert sent(provider).category is Category.AUTH


def test_a_message_carries_all_that_it_is_sent_with(fake):
    with closing(make(fake.url)) as provider:
        outcome = sent(
            provider, receipts_url="https://b.example/r", validity_seconds=86400
        )
    assert fake.asked()[0].form == {
        "To": NUMBER,
        "From": FROM,
        "Body": TEXT,
        "StatusCallback": "https://b.example/r?id=m-1",
        "ValidityPeriod": "36000",
    }
    assert outcome == Accepted(fake.sent()[0].provider_id, 1)


def test_a_messaging_service_is_named_in_its_own_field(fake):
    service = "MG" + "0" * 32
    with closing(make(fake.url, sender=service)) as provider:
        assert isinstance(sent(provider), Accepted)
    assert fake.asked()[0].form["MessagingServiceSid"] == service


def test_the_official_client_is_understood_as_we_are(fake):
    client = Client(SID, TOKEN)
    client.api.base_url = fake.url
    message = client.messages.create(to=NUMBER, from_=FROM, body=TEXT)
    assert message.sid == fake.sent()[0].provider_id
    assert client.messages(message.sid).fetch().status == "delivered"
    client.http_client.session.close()


def test_a_message_is_asked_for_by_its_sid(fake):
    with closing(make(fake.url)) as provider:
        sid = sent(provider).provider_id
        [receipt] = provider.query(Asked("m-1", sid, NUMBER, 0.0))
        with pytest.raises(NotImplementedError):
            provider.query(Asked("m-1", None, NUMBER, 0.0))
    assert receipt == Receipt(
        State.DELIVERED,
        message_id="m-1",
        provider_id=sid,
        number=NUMBER,
        segments=1,
    )


@pytest.mark.parametrize("delivered", [True, False])
def test_a_receipt_names_the_message_in_both_ways(fake, delivered):
    with closing(make(fake.url)) as provider:
        sent(provider, receipts_url=URL.partition("?")[0])
    [taken] = fake.sent()
    push = FakeTwilio().receipt(taken, delivered=delivered, url="https://other/")
    [receipt] = PROVIDER.receipts(
        Call(
            push.method,
            push.url,
            {name.lower(): value for name, value in push.headers.items()},
            push.body,
        )
    )
    assert receipt == Receipt(
        State.DELIVERED if delivered else State.UNDELIVERED,
        code="" if delivered else "30003",
        message_id="m-1",
        provider_id=taken.provider_id,
        number=NUMBER,
    )


def test_the_signature_is_the_one_of_the_documentation():
    fields = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675310",
        "Digits": "1234",
        "From": "+14158675310",
        "To": "+18005551212",
    }
    url = "https://example.com/myapp.php?foo=1&bar=2"
    assert signature(url, fields.items(), "12345") == b"L/OH5YylLD5NRKLltdqwSvS0BnU="


WORDS = st.text(st.characters(codec="utf-8"), max_size=8)


@given(
    st.lists(st.tuples(WORDS, WORDS), max_size=6),
    st.sampled_from(["bellhop.example", "bellhop.example:443", "bellhop.example:8443"]),
    st.sampled_from(["bellhop.example", "bellhop.example:443", "bellhop.example:8443"]),
    st.sampled_from([("HMAC_SHA1", TOKEN), ("HMAC_SHA256", KEY_SECRET)]),
)
def test_what_the_official_validator_believes_is_believed(fields, host, signed, how):
    algorithm, secret = how
    fields += [("MessageSid", "SM1"), ("MessageStatus", "sent")]
    url = URL.replace("bellhop.example", host)
    validator = RequestValidator(secret)
    given = validator.compute_signature(
        URL.replace("bellhop.example", signed), MultiDict(fields), algorithm
    )
    believed = validator.validate(url, MultiDict(fields), given, algorithm)
    call = called(
        url,
        urlencode(fields).encode(),
        given,
        settings=f"key={KEY},algorithm={algorithm}",
    )
    try:
        PROVIDER.receipts(call)
    except PermissionError:
        assert not believed
    else:
        assert believed


@pytest.mark.parametrize(
    ("status", "code", "state"),
    [
        ("accepted", "", State.SENT),
        ("sending", "", State.SENT),
        ("read", "", State.DELIVERED),
        ("failed", "30008", State.UNDELIVERED),
        ("failed", "30036", State.EXPIRED),
        ("canceled", "", State.EXPIRED),
        ("new-fangled", "", State.UNKNOWN),
    ],
)
def test_a_status_says_how_far_a_message_got(status, code, state):
    body = urlencode(
        {"MessageSid": "SM1", "MessageStatus": status, "ErrorCode": code}
    ).encode()
    [receipt] = PROVIDER.receipts(form_of(body))
    assert (receipt.state, receipt.code) == (state, code)


def test_json_is_believed_by_its_hash_in_the_url():
    body = b'{"MessageSid": "SM1", "MessageStatus": "sent", "ErrorCode": null}'
    url = f"{URL}&bodySHA256={hashlib.sha256(body).hexdigest()}"
    given = RequestValidator(TOKEN).compute_signature(url, {})
    [receipt] = PROVIDER.receipts(called(url, body, given, kind="application/json"))
    assert receipt == Receipt(State.SENT, message_id="m-1", provider_id="SM1")
    for forged in (
        called(url, body + b" ", given, kind="application/json"),
        called(url, body, given),  # as a form, of which no field is signed
        called(
            URL,
            body,
            RequestValidator(TOKEN).compute_signature(URL, {}),
            kind="application/json",
        ),
    ):
        with pytest.raises(PermissionError):
            PROVIDER.receipts(forged)


@pytest.mark.parametrize(
    ("given", "settings"),
    [
        ("", ""),
        ("AAAA", ""),
        ("ü", ""),
        ("right", f"key={KEY},algorithm=HMAC_SHA256"),
        ("right", "key=other,algorithm=HMAC_SHA256"),
        ("right", "algorithm=HMAC_SHA256"),
        ("right", f"key={KEY},algorithm=NONE"),
    ],
)
def test_a_forged_receipt_is_not_believed(given, settings):
    body = b"MessageSid=SM1&MessageStatus=delivered"
    right = form_of(body).headers["x-twilio-signature"]
    given = right if given == "right" else given
    with pytest.raises(PermissionError):
        PROVIDER.receipts(called(URL, body, given, settings=settings))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"MessageSid=SM1",
        b"MessageStatus=sent",
        b"MessageSid=S%00M&MessageStatus=sent",
    ],
)
def test_what_cannot_be_read_is_an_error(body):
    with pytest.raises(ValueError, match=r"\w"):
        PROVIDER.receipts(form_of(body))


def form_of(body: bytes) -> Call:
    """Return a form with the right signature."""
    pairs = parse_qsl(body.decode("latin-1"), keep_blank_values=True)
    return called(URL, body, signature(URL, pairs, TOKEN).decode())


def called(
    url: str,
    body: bytes,
    given: str,
    *,
    settings: str = "",
    kind: str = "application/x-www-form-urlencoded",
) -> Call:
    headers = {"content-type": kind, "x-twilio-signature": given}
    if settings:
        headers["x-twilio-webhooks-signature-settings"] = settings
    return Call("POST", url, headers, body)
