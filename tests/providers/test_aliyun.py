"""Aliyun: signatures as published, every fault, every code, receipts and queries."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from alibabacloud_dysmsapi20170525.client import Client
from alibabacloud_dysmsapi20170525.models import SendSmsRequest
from alibabacloud_tea_openapi.exceptions import ClientException
from alibabacloud_tea_openapi.models import Config
from darabonba.core import DaraCore

from app.sms.fake.aliyun import FakeAliyun
from app.sms.fake.server import FakeServer
from app.sms.fake.vendor import Scenario
from app.sms.http_provider import Reply
from app.sms.message import Accepted, Receipt, Rejected, State
from app.sms.provider import Asked, Call, OutcomeUnknown
from app.sms.providers.aliyun import (
    AliyunProvider,
    signature_v1,
    signed_headers_v3,
    signed_query_v1,
)
from tests.vendors import (
    ABROAD,
    AWKWARD,
    CAPTCHA,
    FIRST,
    SECOND,
    UNSURE,
    call,
    calling,
    each_garbage,
    in_short,
    mainland,
    patience,
    told,
)

SETTINGS = {
    "app_key": FakeAliyun.settings["ALIYUN_SMS_APP_KEY"],
    "app_secret": FakeAliyun.settings["ALIYUN_SMS_APP_SECRET"],
    "sign_name": FakeAliyun.settings["ALIYUN_SMS_SIGN_NAME"],
}
FAULTS = {
    Scenario.SUCCESS: ["accepted", "accepted"],
    Scenario.NUMBER: ["recipient", "recipient"],
    Scenario.AUTH: ["auth", "auth"],
    Scenario.BALANCE: ["account", "account"],
    Scenario.THROTTLE: ["rate_limited", "rate_limited"],
    Scenario.PHONE_LIMIT: ["rate_limited per number"] * 2,
    **UNSURE,
}
CODES = {
    "rate_limited per number": "isv.BUSINESS_LIMIT_CONTROL",
    "account": "isv.DAY_LIMIT_CONTROL isv.MONTH_LIMIT_CONTROL isv.AMOUNT_NOT_ENOUGH"
    " isv.OUT_OF_SERVICE isv.ACCOUNT_ABNORMAL isv.ACCOUNT_NOT_EXISTS"
    " isv.PRODUCT_UN_SUBSCRIPT",
    "auth": "isp.RAM_PERMISSION_DENY isv.DENY_IP_RANGE SignatureDoesNotMatch"
    " InvalidAccessKeyId.NotFound InvalidTimeStamp.Expired Forbidden.RAM",
    "sender": "isv.SMS_SIGNATURE_ILLEGAL isv.SMS_SIGN_ILLEGAL isv.SIGN_STATE_ILLEGAL"
    " isv.SMS_SIGNATURE_SCENE_ILLEGAL isv.EXTEND_CODE_ERROR",
    "request": "isv.SMS_TEMPLATE_ILLEGAL isv.TEMPLATE_MISSING_PARAMETERS"
    " isv.INVALID_PARAMETERS isv.INVALID_JSON_PARAM isv.PARAM_LENGTH_LIMIT"
    " isv.PARAM_NOT_SUPPORT_URL",
    "recipient": "isv.MOBILE_NUMBER_ILLEGAL isv.MOBILE_COUNT_OVER_LIMIT"
    " isv.DOMESTIC_NUMBER_NOT_SUPPORTED",
    "compliance": "isv.BLACK_KEY_CONTROL_LIMIT isv.SMS_CONTENT_ILLEGAL",
    "rate_limited": "Throttling.User Throttling",
    "unknown": "isv.WHATEVER_IS_NEW SomethingElse",
}
BUSINESS = {
    "PhoneNumbers": "13800000000,13900000000",
    "SignName": "阿里云",
    "TemplateCode": "SMS_1",
    "TemplateParam": '{"code":"1/2 ~*+"}',
    "OutId": "m-1",
}
COMMON = {
    "app_key": "testId",
    "secret": "testSecret",
    "action": "SendSms",
    "version": "2017-05-25",
    "moment": "2026-01-02T03:04:05Z",
    "nonce": "n-1",
}

Make = Callable[..., AliyunProvider]


@pytest.fixture
def make(fake: FakeServer) -> Iterator[Make]:
    """Make providers; close them."""
    made = []

    def provider(**settings: object) -> AliyunProvider:
        made.append(AliyunProvider(**{**SETTINGS, "url": fake.url, **settings}))
        return made[-1]

    yield provider
    for each in made:
        each.close()


@contextmanager
def sdk(fake: FakeServer, secret: str) -> Iterator[Client]:
    """Give the official client, whose connections outlive it unless they are closed."""
    config = Config(
        access_key_id=SETTINGS["app_key"],
        access_key_secret=secret,
        endpoint=fake.url.removeprefix("http://"),
        protocol="HTTP",
    )
    yield Client(config)
    while DaraCore._sessions:
        DaraCore._sessions.popitem()[1].close()


def test_v1_signs_as_the_documents_of_sms_and_of_ecs_do() -> None:
    sms = {
        "AccessKeyId": "testId",
        "Action": "SendSms",
        "Format": "XML",
        "OutId": "123",
        "PhoneNumbers": "15300000001",
        "RegionId": "cn-hangzhou",
        "SignName": "阿里云短信测试专用",
        "SignatureMethod": "HMAC-SHA1",
        "SignatureNonce": "45e25e9b-0a6f-4070-8c85-2956eda1b466",
        "SignatureVersion": "1.0",
        "TemplateCode": "SMS_71390007",
        "TemplateParam": '{"customer":"test"}',
        "Timestamp": "2017-07-12T02:42:19Z",
        "Version": "2017-05-25",
    }
    assert signature_v1("GET", sms, "testSecret") == "zJDF+Lrzhj/ThnlvIToysFRq6t4="
    ecs = {
        "AccessKeyId": "testid",
        "Action": "DescribeRegions",
        "Format": "XML",
        "SignatureMethod": "HMAC-SHA1",
        "SignatureNonce": "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf",
        "SignatureVersion": "1.0",
        "Timestamp": "2016-02-23T12:46:24Z",
        "Version": "2014-05-26",
    }
    assert signature_v1("GET", ecs, "testsecret") == "OLeaidS1JvxuMvnyHOwuJ+uX5qY="


def test_v1_signs_a_message_as_the_official_sdk_does() -> None:
    query = signed_query_v1("POST", {**BUSINESS, "RegionId": "cn-hangzhou"}, **COMMON)
    assert query.endswith("&Signature=hW0KMXB5TIbSZkAn%2FHjwatmcLgs%3D")


def test_v3_signs_as_the_document_and_the_official_sdk_do() -> None:
    document = signed_headers_v3(
        "POST",
        {
            "ImageId": "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd",
            "RegionId": "cn-shanghai",
        },
        host="ecs.cn-shanghai.aliyuncs.com",
        app_key="YourAccessKeyId",
        secret="YourAccessKeySecret",
        action="RunInstances",
        version="2014-05-26",
        moment="2023-10-26T10:22:32Z",
        nonce="3156853299f313e23d1673dc12e1703d",
    )
    assert document["Authorization"].endswith(
        "=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"
    )
    sms = signed_headers_v3("POST", BUSINESS, host="dysmsapi.aliyuncs.com", **COMMON)
    assert sms["Authorization"].endswith(
        "=a4e9f5fc90f0161d38274d674170d6aa97922acd6766523226086db3ce8277fc"
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_official_sdk_is_taken_and_refused_as_we_are(
    fake: FakeServer, make: Make
) -> None:
    request = SendSmsRequest(
        phone_numbers="13800000000",
        sign_name=SETTINGS["sign_name"],
        template_code="SMS_1",
        template_param=json.dumps(AWKWARD.params),
        out_id="m-2",
    )
    with sdk(fake, SETTINGS["app_secret"]) as client:
        body = client.send_sms(request).body
    assert (body.code, fake.sent()[0].provider_id) == ("OK", body.biz_id)
    with (
        sdk(fake, "wrong") as client,
        pytest.raises(ClientException, match="SignatureDoesNotMatch"),
    ):
        client.send_sms(request)
    assert told(make(app_secret="wrong")) == ["auth", "auth"]
    assert told(make(app_secret="wrong", signature="v1")) == ["auth", "auth"]
    assert told(make(app_key="nobody")) == ["auth", "auth"]
    assert len(fake.sent()) == 1


@pytest.mark.parametrize("scenario", Scenario)
def test_each_fault_has_its_outcome_and_is_asked_once(
    fake: FakeServer, make: Make, scenario: Scenario
) -> None:
    fake.script("aliyun", scenario)
    assert told(make(timeout_seconds=patience(scenario))) == FAULTS[scenario]
    assert len(fake.asked("aliyun")) == 1


@pytest.mark.parametrize(("category", "codes"), CODES.items(), ids=list(CODES))
def test_each_code_has_its_category(category: str, codes: str) -> None:
    for code in codes.split():
        reply = Reply(200, json.dumps({"Code": code, "Message": "words"}).encode())
        (outcome,) = AliyunProvider(**SETTINGS).read(reply, [FIRST])
        assert isinstance(outcome, Rejected)
        assert (in_short(outcome), outcome.code) == (category, code)
        assert outcome.message == "words"


@pytest.mark.parametrize(
    "body",
    [
        '{"Code":"isp.SYSTEM_ERROR"}',
        '{"Code":"isp.GATEWAY_ERROR"}',
        '{"Code":"isp.UNKNOWN"}',
        '{"Code":"OK"}',
        '{"Code":""}',
        '{"Code":[]}',
        "{}",
        "[]",
        "<html>",
        pytest.param("[" * 100_000, id="deep"),
    ],
)
def test_what_the_vendor_does_not_know_or_say_is_unknown(body: str) -> None:
    with pytest.raises(OutcomeUnknown):
        AliyunProvider(**SETTINGS).read(Reply(200, body.encode()), [FIRST])


@pytest.mark.parametrize("signature", ["v1", "v3"])
def test_a_message_comes_as_it_was_sent(
    fake: FakeServer, make: Make, signature: str
) -> None:
    provider = make(signature=signature)
    outcomes = provider.send(AWKWARD, [FIRST, ABROAD], message_id="m-1")
    first = fake.sent()[0]
    assert outcomes == [Accepted(first.provider_id)] * 2
    assert (first.receiver, first.message_id, first.template) == (FIRST, "m-1", "1111")
    assert json.loads(first.params) == AWKWARD.params
    assert fake.asked()[0].query["PhoneNumbers"] == "13800000000,14155550100"


def test_a_batch_is_a_thousand(fake: FakeServer, make: Make) -> None:
    provider, numbers = make(), mainland(1001)
    full, rest = provider.batches(numbers)
    assert [*full, *rest] == numbers
    assert len(full) == 1000
    assert told(provider, full) == ["accepted"] * 1000
    assert told(provider, numbers) == ["recipient"] * 1001


def test_a_receipt_is_read_as_the_vendor_sends_it(fake: FakeServer, make: Make) -> None:
    provider = make()
    provider.send(CAPTCHA, [FIRST, SECOND], message_id="m-1")
    sent = fake.sent()[1]
    common = {"message_id": "m-1", "provider_id": sent.provider_id, "segments": 1}
    for delivered, state, code in (
        (True, State.DELIVERED, "DELIVERED"),
        (False, State.UNDELIVERED, "UNDELIV"),
    ):
        push = FakeAliyun().receipt(sent, delivered=delivered, url="http://us")
        expected = Receipt(state, code=code, number="13900000000", **common)
        assert provider.receipts(call(push)) == [expected]


@each_garbage
def test_a_receipt_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever its words
        AliyunProvider(**SETTINGS).receipts(Call("POST", "http://us", {}, body))


@pytest.mark.parametrize("wrong", [None, [], {}, 1.5, True, "\0", "\ud800"])
@pytest.mark.parametrize("name", ["success", "phone_number"])
def test_a_receipt_without_what_it_must_have_is_refused(
    name: str, wrong: object
) -> None:
    report = {"success": True, "phone_number": "13800000000"}
    provider = AliyunProvider(**SETTINGS)
    assert provider.receipts(calling([report]))
    if (name, wrong) != ("success", True):
        with pytest.raises(ValueError):  # noqa: PT011
            provider.receipts(calling([{**report, name: wrong}]))


def test_a_message_whose_outcome_is_unknown_can_be_asked_for(
    fake: FakeServer, make: Make
) -> None:
    fake.script("aliyun", Scenario.ERROR)
    assert told(make(), [FIRST]) == ["unsure"]
    asked = Asked("m-1", None, FIRST, time.time())
    (receipt,) = make().query(asked)
    assert (receipt.state, receipt.message_id) == (State.DELIVERED, "m-1")
    assert make().query(Asked("m-9", None, FIRST, time.time())) == []
    with pytest.raises(OutcomeUnknown):
        make(app_secret="wrong").query(asked)
