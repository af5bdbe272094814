"""Tencent: TC3, results by number, every fault, every code, reports and pulls."""

import json
import time
from collections.abc import Callable, Iterator

import pytest
from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import (
    TencentCloudSDKException,
)
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.sms.v20210111.models import (
    PullSmsSendStatusByPhoneNumberRequest,
    SendSmsRequest,
)
from tencentcloud.sms.v20210111.sms_client import SmsClient

from app.sms.fake.server import FakeServer
from app.sms.fake.tencent import FakeTencent
from app.sms.fake.vendor import Scenario
from app.sms.http_provider import Reply
from app.sms.message import Accepted, Filled, Receipt, Rejected, State
from app.sms.provider import Asked, Call, OutcomeUnknown
from app.sms.providers.tencent import TencentProvider, signature_tc3
from tests.vendors import (
    ABROAD,
    AWKWARD,
    CAPTCHA,
    FAULTS_BY_NUMBER,
    FIRST,
    SECOND,
    call,
    calling,
    each_garbage,
    in_short,
    mainland,
    patience,
    told,
)

SETTINGS = {
    "secret_id": FakeTencent.settings["TENCENT_SMS_SECRET_ID"],
    "secret_key": FakeTencent.settings["TENCENT_SMS_SECRET_KEY"],
    "app_id": FakeTencent.settings["TENCENT_SMS_APP_ID"],
    "sign_name": FakeTencent.settings["TENCENT_SMS_SIGN_NAME"],
}
CODES = {
    "auth": "AuthFailure.SignatureFailure AuthFailure.SecretIdNotFound"
    " UnauthorizedOperation.RequestIpNotInWhitelist InternalError.RequestTimeException"
    " InvalidParameterValue.SdkAppIdNotExist",
    "rate_limited per number": "LimitExceeded.PhoneNumberDailyLimit"
    " LimitExceeded.PhoneNumberOneHourLimit LimitExceeded.PhoneNumberThirtySecondLimit"
    " LimitExceeded.PhoneNumberSameContentDailyLimit"
    " LimitExceeded.DeliveryFrequencyLimit",
    "rate_limited": "RequestLimitExceeded RequestLimitExceeded.UinLimitExceeded"
    " LimitExceeded.GlobalSmsSendingRateLimit",
    "account": "LimitExceeded.AppDailyLimit LimitExceeded.DailyLimit"
    " FailedOperation.InsufficientBalanceInSmsPackage"
    " UnauthorizedOperation.ServiceSuspendDueToArrears",
    "sender": "FailedOperation.SignatureIncorrectOrUnapproved",
    "request": "FailedOperation.TemplateIncorrectOrUnapproved"
    " FailedOperation.TemplateParamSetNotMatchApprovedTemplate InvalidParameter"
    " InvalidParameterValue.TemplateParameterLengthLimit MissingParameter"
    " FailedOperation.MarketingSendTimeConstraint LimitExceeded.PhoneNumberCountLimit",
    "recipient": "InvalidParameterValue.IncorrectPhoneNumber"
    " FailedOperation.PhoneNumberParseFail",
    "compliance": "FailedOperation.PhoneNumberInBlacklist"
    " FailedOperation.ContainSensitiveWord",
    "unknown": "FailedOperation.OtherError NoSuchVersion SomethingNew",
}
# A report in the form of its documentation, and what it says.
REPORT = {
    "user_receive_time": "2015-10-17 08:03:04",
    "nationcode": "86",
    "mobile": "13800000000",
    "report_status": "SUCCESS",
    "errmsg": "DELIVRD",
    "description": "用户短信送达成功",
    "sid": "5000:1",
}

Make = Callable[..., TencentProvider]


@pytest.fixture
def make(fake: FakeServer) -> Iterator[Make]:
    """Make providers; close them."""
    made = []

    def provider(**settings: object) -> TencentProvider:
        made.append(TencentProvider(**{**SETTINGS, "url": fake.url, **settings}))
        return made[-1]

    yield provider
    for each in made:
        each.close()


def sdk(fake: FakeServer, key: str) -> SmsClient:
    endpoint = fake.url.removeprefix("http://")
    profile = ClientProfile(httpProfile=HttpProfile(protocol="http", endpoint=endpoint))
    return SmsClient(Credential(SETTINGS["secret_id"], key), "ap-guangzhou", profile)


def read(response: object, status: int = 200) -> list[str]:
    reply = Reply(status, json.dumps({"Response": response}).encode())
    outcomes = TencentProvider(**SETTINGS).read(reply, [FIRST, SECOND])
    return [in_short(outcome) for outcome in outcomes]


def result(number: str, code: str = "Ok") -> dict[str, object]:
    return {"SerialNo": "5000:1", "PhoneNumber": number, "Fee": 2, "Code": code}


def test_tc3_signs_as_the_official_sdk_does_whatever_the_case_of_a_host() -> None:
    body = (
        '{"PhoneNumberSet":["+8618511122233"],"SmsSdkAppId":"1400006666",'
        '"TemplateId":"1110","SignName":"腾讯云","TemplateParamSet":["1234"]}'
    )
    headers = {
        "content-type": "application/json; charset=utf-8",
        "host": "SMS.tencentcloudapi.com ",
    }
    signature = signature_tc3(body.encode(), headers, moment=1767323045, secret="SKEY")
    assert signature == (
        "0e4bf405676a910bb41f9deb0c8d32590bc05599fa85dc00ae6319e4bbc409c5"
    )


@pytest.mark.filterwarnings("ignore:datetime:DeprecationWarning")
def test_the_official_sdk_is_taken_and_refused_as_we_are(
    fake: FakeServer, make: Make
) -> None:
    request = SendSmsRequest()
    request.PhoneNumberSet = [FIRST]
    request.SmsSdkAppId, request.SignName = SETTINGS["app_id"], SETTINGS["sign_name"]
    request.TemplateId, request.SessionContext = "1110", "m-2"
    request.TemplateParamSet = list(AWKWARD.params.values())
    (status,) = sdk(fake, SETTINGS["secret_key"]).SendSms(request).SendStatusSet
    assert (status.Code, status.SerialNo) == ("Ok", fake.sent()[0].provider_id)
    pull = PullSmsSendStatusByPhoneNumberRequest()
    pull.BeginTime, pull.Offset, pull.Limit = int(time.time()) - 60, 0, 10
    pull.PhoneNumber, pull.SmsSdkAppId = FIRST, SETTINGS["app_id"]
    client = sdk(fake, SETTINGS["secret_key"])
    (report,) = client.PullSmsSendStatusByPhoneNumber(pull).PullSmsSendStatusSet
    assert (report.SerialNo, report.SubscriberNumber) == (status.SerialNo, FIRST[3:])
    with pytest.raises(TencentCloudSDKException, match=r"AuthFailure\.Signature"):
        sdk(fake, "wrong").SendSms(request)
    assert told(make(secret_key="wrong")) == ["auth", "auth"]
    assert told(make(secret_id="nobody")) == ["auth", "auth"]
    assert told(make(app_id="1")) == ["auth", "auth"]
    assert told(make(sign_name="another")) == ["sender", "sender"]
    assert len(fake.sent()) == 1


@pytest.mark.parametrize("scenario", Scenario)
def test_each_fault_has_its_outcome_and_is_asked_once(
    fake: FakeServer, make: Make, scenario: Scenario
) -> None:
    fake.script("tencent", scenario)
    assert told(make(timeout_seconds=patience(scenario))) == FAULTS_BY_NUMBER[scenario]
    assert len(fake.asked("tencent")) == 1


@pytest.mark.parametrize(("category", "codes"), CODES.items(), ids=list(CODES))
def test_each_code_has_its_category_for_all_and_for_one(
    category: str, codes: str
) -> None:
    for code in codes.split():
        error = {"Response": {"Error": {"Code": code, "Message": "words"}}}
        reply = Reply(400, json.dumps(error).encode())
        (outcome,) = TencentProvider(**SETTINGS).read(reply, [FIRST])
        assert isinstance(outcome, Rejected)
        assert (in_short(outcome), outcome.code) == (category, code)
        assert outcome.message == "words"
        results = [result(SECOND), result(FIRST, code)]
        assert read({"SendStatusSet": results}) == [category, "accepted"]


@pytest.mark.parametrize(
    "response",
    [
        *(
            {"Error": {"Code": code, "Message": "words"}}
            for code in (
                "InternalError",
                "InternalError.Timeout",
                "InternalError.SendAndRecvFail",
                "InternalError.OtherError",
                "ServiceUnavailable",
            )
        ),
        {"Error": {}},
        {"Error": {"Code": ["AuthFailure"]}},
        {"Error": "AuthFailure"},
        {"SendStatusSet": {}},
        {},
        [],
        None,
    ],
)
@pytest.mark.parametrize("status", [200, 400])
def test_what_the_vendor_does_not_know_or_say_is_unknown(
    response: object, status: int
) -> None:
    with pytest.raises(OutcomeUnknown):
        read(response, status)


def test_results_are_matched_by_number() -> None:
    noise = [None, "x", {}, result("+8613700000000"), result(SECOND, "")]
    timeout = result(FIRST, "InternalError.Timeout")
    known = result(FIRST, "FailedOperation.PhoneNumberInBlacklist")
    results = [*noise, known, result(FIRST), result(SECOND)]
    assert read({"SendStatusSet": results}) == ["compliance", "unsure"]
    assert read({"SendStatusSet": noise[:4]}) == ["unsure", "unsure"]
    assert read({"SendStatusSet": [result(SECOND), timeout]}) == ["unsure", "accepted"]


def test_a_message_comes_as_it_was_sent(fake: FakeServer, make: Make) -> None:
    outcomes = make().send(AWKWARD, [FIRST, SECOND], message_id="m-1")
    first, second = fake.sent()
    assert outcomes == [Accepted(first.provider_id, 1), Accepted(second.provider_id, 1)]
    assert (first.receiver, second.receiver) == (FIRST, SECOND)
    assert (first.message_id, first.template) == ("m-1", "1111")
    assert json.loads(first.params) == list(AWKWARD.params.values())


def test_a_batch_is_two_hundred_of_the_mainland_or_of_elsewhere(
    fake: FakeServer, make: Make
) -> None:
    provider, numbers = make(), mainland(201)
    full, rest, abroad = provider.batches([ABROAD, *numbers, "+85251234567"])
    assert [*full, *rest] == numbers
    assert abroad == [ABROAD, "+85251234567"]
    assert told(provider, full) == ["accepted"] * 200
    assert told(provider, abroad) == ["accepted"] * 2
    assert told(provider, numbers) == ["request"] * 201
    assert told(provider, [FIRST, ABROAD]) == ["request"] * 2
    assert told(provider, [FIRST, "+860"]) == ["accepted", "recipient"]
    assert len(fake.sent()) == 203


def test_parameters_that_are_no_strings_are_refused(make: Make) -> None:
    code = Filled("captcha", "1110", {"code": 1234}, "")  # type: ignore[dict-item]
    assert told(make(), template=code) == ["request", "request"]


def test_a_report_is_read_as_the_vendor_sends_it(fake: FakeServer, make: Make) -> None:
    provider = make()
    provider.send(CAPTCHA, [ABROAD], message_id="m-1")
    (sent,) = fake.sent()
    for delivered, state, code in (
        (True, State.DELIVERED, "DELIVRD"),
        (False, State.UNDELIVERED, "UNDELIV"),
    ):
        push = FakeTencent().receipt(sent, delivered=delivered, url="http://us")
        common = {"provider_id": sent.provider_id, "number": ABROAD}
        assert provider.receipts(call(push)) == [Receipt(state, code=code, **common)]
    late = {**REPORT, "report_status": "FAIL", "errmsg": "EXPIRED"}
    states = [receipt.state for receipt in provider.receipts(calling([REPORT, late]))]
    assert states == [State.DELIVERED, State.EXPIRED]
    assert json.loads(provider.acknowledgement.body) == {"result": 0, "errmsg": "OK"}


@each_garbage
def test_a_report_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever its words
        TencentProvider(**SETTINGS).receipts(Call("POST", "http://us", {}, body))


@pytest.mark.parametrize("wrong", [None, "", [], {}, 1.5, True, "\0", "\ud800"])
@pytest.mark.parametrize("name", ["nationcode", "mobile", "report_status", "sid"])
def test_a_report_without_what_it_must_have_is_refused(
    name: str, wrong: object
) -> None:
    provider = TencentProvider(**SETTINGS)
    assert provider.receipts(calling([REPORT]))
    with pytest.raises(ValueError):  # noqa: PT011
        provider.receipts(calling([{**REPORT, name: wrong}]))


def test_a_message_can_be_asked_for_by_either_id(fake: FakeServer, make: Make) -> None:
    provider = make()
    fake.script("tencent", Scenario.ERROR)
    assert told(provider, [FIRST]) == ["unsure"]
    (sent,) = fake.sent()
    for asked in (
        Asked("m-1", None, FIRST, time.time()),
        Asked("m-9", sent.provider_id, FIRST, time.time()),
    ):
        (receipt,) = provider.query(asked)
        assert (receipt.state, receipt.provider_id) == (
            State.DELIVERED,
            sent.provider_id,
        )
        assert receipt.message_id == asked.message_id
    assert provider.query(Asked("m-9", "5000:0", FIRST, time.time())) == []
    assert provider.query(Asked("m-1", None, SECOND, time.time())) == []
    with pytest.raises(OutcomeUnknown):
        make(secret_key="wrong").query(asked)
