"""Delivery receipts over HTTP: what they change, who may send them, what is logged."""

import json
import logging
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from flask.testing import FlaskClient

from app.sms.fake.server import FakeServer
from app.sms.fake.vendor import Push, Scenario, Sent
from app.sms.providers.twilio import signature
from tests.api.callers import ADMIN, ANN, ended, with_users
from tests.api.checks import problem
from tests.sms import CODE, SECRET, kept, receipts_url, report, send
from tests.vendors import FIRST, SECOND

Make = Callable[..., FlaskClient]

LONDON = "+442079460018"

#: What each vendor has to be answered, with its type.
ACKNOWLEDGED = {
    "aliyun": ('{"code":0,"msg":"接收成功"}', "application/json"),
    "huawei": ("", "text/plain"),
    "tencent": ('{"result":0,"errmsg":"OK"}', "application/json"),
    "twilio": ("", "text/xml; charset=utf-8"),
    "kannel": ("OK", "text/plain"),
}

each_vendor = pytest.mark.parametrize("vendor", ACKNOWLEDGED)


def push_of(
    fake: FakeServer, vendor: str, sent: Sent | None = None, *, delivered: bool = True
) -> Push:
    """Return a vendor's receipt of what was sent, if nothing else what it took last."""
    stand_in, url = fake.vendors[vendor], receipts_url(vendor)
    return stand_in.receipt(sent or fake.sent(vendor)[-1], delivered=delivered, url=url)


def states(client: FlaskClient, answer: Any) -> list[str]:
    """Return how far a message has got by now."""
    return [each["state"] for each in kept(client, answer)["receivers"]]


def taken(client: FlaskClient, answer: Any) -> int:
    """Return how many receipts have told something new of a message."""
    events = kept(client, answer)["events"]
    return [event["event"] for event in events].count("receipt")


@each_vendor
class TestEachVendor:
    @pytest.mark.parametrize("delivered", [True, False])
    def test_reports_an_end_is_answered_as_it_wants_and_cannot_take_it_back(
        self, sms: Make, fake: FakeServer, vendor: str, delivered: bool
    ) -> None:
        client = sms(vendor)
        answer = send(client)
        expected = ["delivered" if delivered else "undelivered"]
        for told in (delivered, delivered, not delivered):
            response = report(client, push_of(fake, vendor, delivered=told))
            assert response.status_code == 200
            assert (response.text, response.content_type) == ACKNOWLEDGED[vendor]
            assert states(client, answer) == expected
        assert taken(client, answer) == 1
        [receiver] = kept(client, answer)["receivers"]
        assert ("provider_code" in receiver) is (not delivered and vendor != "kannel")

    @pytest.mark.parametrize("scenario", ["error", "malformed"])
    def test_settles_what_was_unknown(
        self, sms: Make, fake: FakeServer, vendor: str, scenario: str
    ) -> None:
        client = sms(vendor)
        fake.script(vendor, scenario)
        answer = send(client)
        assert states(client, answer) == ["unknown"]
        push = push_of(fake, vendor)
        assert report(client, push).status_code == 200
        assert states(client, answer) == ["delivered"]
        [receiver] = kept(client, answer)["receivers"]
        assert receiver["provider_id"] == fake.sent(vendor)[0].provider_id
        assert len(fake.asked()) == 1

    def test_is_taken_at_its_word_for_one_receiver_alone(
        self, sms: Make, fake: FakeServer, vendor: str
    ) -> None:
        client = sms(vendor)
        answer = send(client, LONDON, FIRST, SECOND)
        sent = {each.receiver: each for each in fake.sent(vendor)}
        for number, is_delivered in ((LONDON, False), (SECOND, True)):
            push = push_of(fake, vendor, sent[number], delivered=is_delivered)
            assert report(client, push).status_code == 200
        assert states(client, answer) == ["undelivered", "sent", "delivered"]

    def test_may_be_faster_with_it_than_with_its_answer(
        self,
        sms: Make,
        fake: FakeServer,
        vendor: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        client, stand_in = sms(vendor), fake.vendors[vendor]
        answer = type(stand_in).answer

        def hurried(self: Any, asked: Any, scenario: Scenario) -> Any:
            result, sent = answer(self, asked, scenario)
            push = self.receipt(sent[0], delivered=True, url=receipts_url(vendor))
            assert report(client.application.test_client(), push).status_code == 200
            return result, sent

        monkeypatch.setattr(type(stand_in), "answer", hurried)
        response = send(client)
        assert response.status_code == 200
        assert states(client, response) == ["delivered"]

    def test_has_to_know_the_secret(
        self, sms: Make, fake: FakeServer, vendor: str
    ) -> None:
        client = sms(vendor)
        answer = send(client)
        push = push_of(fake, vendor)
        others = {"aliyun", "huawei", "twilio", "console", "memory", "x"} - {vendor}
        for path in (
            *(f"{vendor}/{secret}" for secret in ("x", SECRET[:-1], f"{SECRET}x", "é")),
            *(f"{other}/{SECRET}" for other in others),
        ):
            for method in ("GET", "POST"):
                url = push.url.replace(f"{vendor}/{SECRET}", path)
                assert url != push.url
                found = problem(report(client, push, url=url, method=method), 404)
                assert "x" not in found["detail"].split()
        assert states(client, answer) == ["sent"]

    def test_is_told_when_it_cannot_be_read(self, sms: Make, vendor: str) -> None:
        client = sms(vendor)
        answer = send(client)
        bodies = [b"", b"\xff", b"{", b"[1]", b"[{}]", b"{}", b"null", b"a=b", b"9"]
        for body in bodies:
            for method in ("GET", "POST"):
                options = {"method": method, "data": body, "headers": {}}
                response = client.open(
                    f"/api/sms/receipts/{vendor}/{SECRET}", **options
                )
                # Of Twilio's the signature is wrong, too.
                is_signed = vendor == "twilio" and body != b"\xff"
                problem(response, 403 if is_signed else 400)
        assert states(client, answer) == ["sent"]

    def test_s_head_takes_nothing(
        self, sms: Make, fake: FakeServer, vendor: str
    ) -> None:
        client = sms(vendor)
        answer = send(client)
        push = push_of(fake, vendor)
        head = report(client, push, method="HEAD")
        assert (head.status_code, head.data) == (200, b"")
        wrong = push.url.replace(SECRET, "x")
        assert report(client, push, method="HEAD", url=wrong).status_code == 404
        assert states(client, answer) == ["sent"]

    def test_may_report_what_nobody_knows(
        self, sms: Make, fake: FakeServer, vendor: str
    ) -> None:
        client = sms(vendor)
        answer = send(client)
        [sent] = fake.sent()
        url = sent.receipts_url.replace(sent.message_id, "another")
        names = {"message_id": "another", "provider_id": "another"}
        push = push_of(fake, vendor, replace(sent, receipts_url=url, **names))
        response = report(client, push)
        assert (response.text, response.content_type) == ACKNOWLEDGED[vendor]
        assert states(client, answer) == ["sent"]


class TestStates:
    @pytest.mark.parametrize(
        ("told", "state"),
        [
            (["queued", "sending", "sent"], "sent"),
            (["sent", "delivered", "sent", "queued"], "delivered"),
            (["failed", "sent", "delivered"], "undelivered"),
            (["sent", "canceled", "delivered"], "expired"),
            (["read", "delivered", "undelivered"], "delivered"),
            (["never heard of"], "sent"),
        ],
    )
    def test_never_lead_back(
        self, sms: Make, fake: FakeServer, told: list[str], state: str
    ) -> None:
        client = sms("twilio")
        answer = send(client)
        push = push_of(fake, "twilio")
        for status in told:
            fields = dict(parse_qsl(push.body.decode())) | {"MessageStatus": status}
            assert report(client, push, **_signed(push, fields)).status_code == 200
        assert states(client, answer) == [state]

    @pytest.mark.parametrize(
        ("told", "found"),
        [
            (["1 DELIVRD", "2 DELIVRD", "3 DELIVRD"], ["sent", "sent", "delivered"]),
            (["3 DELIVRD", "1 DELIVRD", "2 DELIVRD"], ["sent", "sent", "delivered"]),
            (["1 DELIVRD", "1 DELIVRD", "1 DELIVRD"], ["sent", "sent", "sent"]),
            (["1 DELIVRD", "2 UNDELIV", "3 DELIVRD"], ["sent", *["undelivered"] * 2]),
            (["2 EXPIRED", "2 DELIVRD", "1 DELIVRD"], ["expired"] * 3),
            (["1 DELIVRD", "1 UNDELIV", "2 DELIVRD"], ["sent"] * 3),
        ],
        ids=str,
    )
    def test_of_a_long_message_are_those_of_all_its_parts(
        self, sms: Make, fake: FakeServer, told: list[str], found: list[str]
    ) -> None:
        client = sms("huawei")
        answer = send(client)
        push = push_of(fake, "huawei")
        for line, state in zip(told, found, strict=True):
            part, status = line.split()
            body = _form(push, sequence=part, total="3", status=status)
            assert report(client, push, data=body).status_code == 200
            assert states(client, answer) == [state]
        assert kept(client, answer)["receivers"][0]["segments"] == 3

    def test_are_found_by_the_vendor_s_id_where_it_names_no_number(
        self, sms: Make, fake: FakeServer
    ) -> None:
        client = sms("huawei")
        answer = send(client, FIRST, SECOND)
        push = push_of(fake, "huawei")  # of the second
        assert report(client, push, data=_form(push, to="")).status_code == 200
        assert states(client, answer) == ["sent", "delivered"]

    def test_are_told_by_the_vendor_that_has_sent_it(
        self, sms: Make, fake: FakeServer
    ) -> None:
        client = sms("twilio,aliyun")
        answer = send(client)
        push = push_of(fake, "aliyun", fake.sent("twilio")[0])
        assert report(client, push).status_code == 200
        assert states(client, answer) == ["sent"]


class TestTwilioSignatures:
    def test_by_the_hash_of_a_key_that_is_set_are_good(
        self, sms: Make, fake: FakeServer
    ) -> None:
        client = sms("twilio", TWILIO_WEBHOOK_SECRETS="key-1=secret-1")
        answer = send(client)
        push = push_of(fake, "twilio")
        hashed = {"algorithm": "HMAC_SHA256"}
        for key, secret, status in (
            ("key-2", "secret-1", 403),
            ("key-1", "secret-2", 403),
            ("key-1", "secret-1", 200),
        ):
            call = _signed(push, secret=secret, **hashed)
            told = f"key={key},algorithm=HMAC_SHA256"
            call["headers"]["X-Twilio-Webhooks-Signature-Settings"] = told
            assert report(client, push, **call).status_code == status
        assert states(client, answer) == ["delivered"]

    def test_that_are_forged_change_nothing(self, sms: Make, fake: FakeServer) -> None:
        client = sms("twilio")
        answer = send(client)
        push = push_of(fake, "twilio")
        headers = dict(push.headers)
        given = headers.pop("X-Twilio-Signature")
        local = push.url.replace("https://bellhop.example", "http://localhost")
        for forged in (
            {"headers": headers},
            {"headers": headers | {"X-Twilio-Signature": given[::-1]}},
            {"headers": headers | {"X-Twilio-Signature": "é"}},
            {"data": push.body.replace(b"delivered", b"failed")},
            {"data": push.body + b"&ErrorCode=1"},
            {"url": f"{push.url}&x=1"},
            _signed(push, secret="another"),
            _signed(push, url=local),
            {
                "headers": push.headers
                | {"X-Twilio-Webhooks-Signature-Settings": "key=k,algorithm=HMAC_MD5"}
            },
        ):
            found = problem(report(client, push, **forged), 403)
            assert given not in json.dumps(found)
        assert states(client, answer) == ["sent"]
        assert report(client, push).status_code == 200
        assert states(client, answer) == ["delivered"]


def test_form_and_query_of_a_receipt_are_the_vendor_s_own(
    sms: Make, fake: FakeServer
) -> None:
    client = sms("aliyun", MAX_CONTENT_LENGTH="2000")
    answer = send(client)
    push = push_of(fake, "aliyun")
    [told] = json.loads(push.body)
    problem(report(client, push, data=b"x" * 2001), 413)
    more = json.dumps([told | {"new_member": 1}, told | {"out_id": "another"}])
    call = {"data": more, "url": f"{push.url}?unknown=1"}
    response = report(client, push, headers={"Content-Type": "text/plain"}, **call)
    assert response.status_code == 200
    assert states(client, answer) == ["delivered"]


#: Whatever is in here is a secret, as is what is called so in the vendors' settings.
CANARIES = ("Canary", CODE, "您的", "3800000", "3900000", "0794600", SECRET)
SECRETS = re.compile(r"SECRET$|PASSWORD$|SECRET_KEY$|SECRET_ACCESS_KEY$")


def test_numbers_texts_params_and_secrets_are_in_no_log_and_no_audit(
    sms: Make, fake: FakeServer, log_of: Callable[[], list[dict[str, Any]]]
) -> None:
    vendors = ",".join(fake.vendors)
    debug = {"LOG_LEVEL": "DEBUG", "SMS_TIMEOUT_SECONDS": "0.2"}
    client = with_users(sms(vendors, **debug, SMS_LIMIT_RECEIVER="1000/60").application)
    canary = {"template": "captcha", "params": {"code": f"Canary{CODE}"}}
    for vendor in fake.vendors:
        for scenario in Scenario:
            fake.script(vendor, scenario)
            send(client, FIRST, LONDON, provider=vendor, **canary)
        if vendor in ACKNOWLEDGED:
            push, url = push_of(fake, vendor), receipts_url(vendor)
            report(client, push)
            report(client, push, data=f"Canary{FIRST}")
            report(client, push, method="PUT")
            report(client, push, url=f"{url}/?to={FIRST}&{CODE}")
            report(client, push, url=receipts_url(vendor, f"{SECRET}x"))
    of_ann = {"path": f"/v3/sms/?to={FIRST}", "auth": ANN}
    for wish in (
        {"path": "/v3/sms/", "auth": ANN},
        {"headers": {"Idempotency-Key": f"Canary{FIRST}"}},
        {"receivers": f"{FIRST},Canary"},
        {"params": {"code": ["Canary"]}},
        {"params": {"Canary": 1}},
        {"template": f"Canary{FIRST}"},
        {"provider": f"Canary{FIRST}"},
        {"path": f"/api/sms/{FIRST}"},
        {"path": "/v3/sms/preview", "auth": ANN},
        of_ann,
    ):
        send(client, SECOND, **{**canary, **wish})
    client.get(f"/api/sms/{FIRST}")
    later = send(client, path="/v3/sms/?async=1", auth=ANN, **canary)
    ended(client, ANN, later.json["task_id"])
    limited = sms(vendors, **debug, SMS_LIMIT_RECEIVER="1/3600")
    problem(send(limited, FIRST, **canary), 429)
    lines = log_of()
    assert {"sms.answered", "sms.receipt_taken"} <= {line["event"] for line in lines}
    assert logging.getLogger().isEnabledFor(logging.DEBUG)
    audit = client.get("/v3/audit/?limit=1000", auth=ADMIN)
    assert len(audit.json["audit"]) >= 10
    text = json.dumps(lines, ensure_ascii=False) + audit.text
    settings = [pair for v in fake.vendors.values() for pair in v.settings.items()]
    secrets = [value for name, value in settings if SECRETS.search(name)]
    assert len(secrets) == 5
    found = [secret for secret in (*CANARIES, *secrets) if secret in text]
    assert found == []


def _form(push: Push, **changes: str) -> bytes:
    """Return a receipt's form with some of its fields changed."""
    fields = dict(parse_qsl(push.body.decode())) | changes
    return urlencode({name: value for name, value in fields.items() if value}).encode()


def _signed(
    push: Push,
    fields: dict[str, str] | None = None,
    *,
    url: str = "",
    secret: str = "",
    algorithm: str = "HMAC_SHA1",
) -> dict[str, Any]:
    """Return the parts of a call of Twilio's that are signed with a secret, or its."""
    form = fields or dict(parse_qsl(push.body.decode()))
    key = secret or "12345"
    signed = signature(url or push.url, form.items(), key, algorithm).decode()
    headers = {**push.headers, "X-Twilio-Signature": signed}
    return {"headers": headers, "data": urlencode(form)}
