"""Huawei: both digests, results by number, every fault, every code, reports."""

import json
from collections.abc import Callable, Iterator
from urllib.parse import urlencode

import pytest
import requests

from app.sms.fake.huawei import FakeHuawei
from app.sms.fake.server import FakeServer
from app.sms.fake.vendor import Scenario
from app.sms.http_provider import Reply
from app.sms.message import Accepted, Filled, Receipt, Rejected, State
from app.sms.provider import Call, OutcomeUnknown
from app.sms.providers.huawei import AUTHORIZATION, HuaweiProvider, password_digest
from tests.vendors import (
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
    "app_key": FakeHuawei.settings["HUAWEI_SMS_APP_KEY"],
    "app_secret": FakeHuawei.settings["HUAWEI_SMS_APP_SECRET"],
    "sender_id": FakeHuawei.settings["HUAWEI_SMS_SENDER_ID"],
}
CODES = {
    "auth": "E000001 E000002 E000003 E000004 E000005 E000006 E000007 E000008 E000020"
    " E000021 E000022 E000023 E000045 E000101 E000102 E000110 E000111 E000620",
    "account": "E000112 E200024",
    "request": "E000503 E200015 E200028 E200029 E200030 E200031 E200033",
    "sender": "E200018 E200020",
    "recipient": "E200041 E200025",
    "compliance": "BLACK MBBLACK KEYWORD",
    "rate_limited per number": "MILIMIT LIMIT",
    "unknown": "E000510 E999999 UT:0023",
}
# A report in the form of its documentation, and what it says.
REPORT = {
    "sequence": "1",
    "total": "1",
    "orgCode": "000",
    "updateTime": "2018-04-13T06:31:46Z",
    "source": "2",
    "smsMsgId": "b9d9b4fe_6",
    "status": "DELIVRD",
}

Make = Callable[..., HuaweiProvider]


@pytest.fixture
def make(fake: FakeServer) -> Iterator[Make]:
    """Make providers; close them."""
    made = []
    url = fake.url + FakeHuawei.path

    def provider(**settings: object) -> HuaweiProvider:
        made.append(HuaweiProvider(**{**SETTINGS, "url": url, **settings}))
        return made[-1]

    yield provider
    for each in made:
        each.close()


def unconnected() -> HuaweiProvider:
    return HuaweiProvider(**SETTINGS, url="http://127.0.0.1:1")


def read(document: object, status: int = 200) -> list[str]:
    reply = Reply(status, json.dumps(document).encode())
    return [in_short(each) for each in unconnected().read(reply, [FIRST, SECOND])]


def result(number: str, status: str = "000000") -> dict[str, object]:
    return {"originTo": number, "smsMsgId": "id_1", "status": status, "total": 2}


@pytest.mark.parametrize(
    ("digest", "expected"),
    [
        (
            "hex",
            "OTAzNDRkOTJiZTVkMDJhODVhZmQxZWNkNTM4YmViZTk2NmJjNjQzMDM0OGY5NjdlNTQwNzNh"
            "NWQ5ZDE1OWI2OQ==",
        ),
        ("raw", "kDRNkr5dAqha/R7NU4vr6Wa8ZDA0j5Z+VAc6XZ0Vm2k="),
    ],
)
def test_wsse_digests_in_both_ways_that_are_in_use(digest: str, expected: str) -> None:
    nonce, created = "66C92B11FF8A425FB8D4CCFE0ED9ED1F", "2018-02-12T15:30:20Z"
    assert password_digest(nonce, created, "secret", digest) == expected


@pytest.mark.parametrize("digest", ["hex", "raw"])
def test_either_digest_is_taken_and_no_other_secret(
    fake: FakeServer, make: Make, digest: str
) -> None:
    assert told(make(digest=digest)) == ["accepted", "accepted"]
    assert told(make(digest=digest, app_secret="wrong")) == ["auth", "auth"]
    assert told(make(digest=digest, app_key="nobody")) == ["auth", "auth"]
    assert len(fake.sent()) == 2
    with pytest.raises(ValueError, match="digest is none of hex, raw"):
        make(digest="HEX")


@pytest.mark.parametrize(
    ("nonce", "created", "code"),
    [
        ("no alnum", "2018-02-12T15:30:20Z", "E000022"),
        ("n1", "2018-02-12 15:30:20", "E000023"),
        ("n1", "2018-02-12T15:30:20Z", "E000110"),
    ],
)
def test_the_stand_in_looks_at_what_is_signed(
    fake: FakeServer, nonce: str, created: str, code: str
) -> None:
    digest = password_digest(nonce, created, SETTINGS["app_secret"], "hex")
    wsse = (
        f'UsernameToken Username="{SETTINGS["app_key"]}",PasswordDigest="{digest}",'
        f'Nonce="{nonce}",Created="{created}"'
    )
    headers = {"Authorization": AUTHORIZATION, "X-WSSE": wsse}
    url = fake.url + FakeHuawei.path
    with requests.post(url, headers=headers, timeout=20) as answer:
        assert answer.json()["code"] == code
    with requests.post(url, timeout=20) as answer:
        assert answer.json()["code"] == "E000001"


@pytest.mark.parametrize("scenario", Scenario)
def test_each_fault_has_its_outcome_and_is_asked_once(
    fake: FakeServer, make: Make, scenario: Scenario
) -> None:
    fake.script("huawei", scenario)
    assert told(make(timeout_seconds=patience(scenario))) == FAULTS_BY_NUMBER[scenario]
    assert len(fake.asked("huawei")) == 1


@pytest.mark.parametrize(("category", "codes"), CODES.items(), ids=list(CODES))
def test_each_code_has_its_category_for_all_and_for_one(
    category: str, codes: str
) -> None:
    for code in codes.split():
        refusal = {"code": code, "description": "words"}
        reply = Reply(400, json.dumps(refusal).encode())
        (outcome,) = unconnected().read(reply, [FIRST])
        assert isinstance(outcome, Rejected)
        assert (in_short(outcome), outcome.code) == (category, code)
        assert outcome.message == "words"
        results = [result(SECOND), result(FIRST, code)]
        assert read({"code": "000000", "result": results}) == [category, "accepted"]


@pytest.mark.parametrize(
    "document",
    [
        {"code": "E000000", "description": "System error."},
        {"code": "000000"},
        {"code": "000000", "result": {}},
        {"code": ""},
        {"code": ["E000503"]},
        {},
        [],
    ],
)
@pytest.mark.parametrize("status", [200, 400])
def test_what_the_vendor_does_not_know_or_say_is_unknown(
    document: object, status: int
) -> None:
    with pytest.raises(OutcomeUnknown):
        read(document, status)


def test_results_are_matched_by_number() -> None:
    noise = [None, "x", {}, result("+8613700000000"), result(SECOND, "")]
    results = [*noise, result(FIRST, "E200041"), result(FIRST), result(SECOND)]
    answer = {"code": "000000", "result": results}
    assert read(answer) == ["recipient", "unsure"]
    assert read({"code": "000000", "result": noise[:4]}) == ["unsure", "unsure"]
    one_unknown = {"code": "000000", "result": [result(FIRST, "E000000")]}
    assert read(one_unknown) == ["unsure", "unsure"]
    bare = Reply(200, json.dumps({**answer, "result": [result(FIRST[1:])]}).encode())
    assert unconnected().read(bare, [FIRST]) == [Accepted("id_1", 2)]


def test_a_message_comes_as_it_was_sent(fake: FakeServer, make: Make) -> None:
    outcomes = make(signature=FakeHuawei.settings["HUAWEI_SMS_SIGNATURE"]).send(
        AWKWARD, [FIRST, SECOND], message_id="m-1", receipts_url="http://us/r?a=b&c"
    )
    first, second = fake.sent()
    assert outcomes == [Accepted(first.provider_id, 1), Accepted(second.provider_id, 1)]
    assert (first.receiver, second.receiver) == (FIRST, SECOND)
    assert (first.message_id, first.template) == ("m-1", "1111")
    assert json.loads(first.params) == list(AWKWARD.params.values())
    assert first.receipts_url == "http://us/r?a=b&c"
    make().send(CAPTCHA, [FIRST], message_id="m-2")
    assert not {"statusCallback", "signature"} & set(fake.asked()[1].form)


def test_a_wrong_sender_is_told_for_each_number(make: Make) -> None:
    assert told(make(sender_id="csms0")) == ["sender", "sender"]
    assert told(make(signature="another")) == ["sender", "sender"]


def test_a_batch_is_five_hundred_and_fails_as_the_vendor_says(
    fake: FakeServer, make: Make
) -> None:
    provider, numbers = make(), mainland(501)
    full, rest = provider.batches(numbers)
    assert [*full, *rest] == numbers
    assert told(provider, full) == ["accepted"] * 500
    assert told(provider, numbers) == ["request"] * 501
    assert told(provider, [FIRST, "+86138x"]) == ["request", "request"]
    assert told(provider, [FIRST, "+0"]) == ["accepted", "recipient"]
    assert len(fake.sent()) == 501


def test_parameters_that_are_no_strings_are_an_error_of_the_system(
    make: Make,
) -> None:
    code = Filled("captcha", "1110", {"code": 1234}, "")  # type: ignore[dict-item]
    assert told(make(), template=code) == ["unsure", "unsure"]


def test_a_report_is_read_as_the_vendor_sends_it(fake: FakeServer, make: Make) -> None:
    provider = make()
    provider.send(CAPTCHA, [FIRST], message_id="m-1")
    (sent,) = fake.sent()
    common = {
        "message_id": "m-1",
        "provider_id": sent.provider_id,
        "number": FIRST,
        "segments": 1,
    }
    for delivered, state, code in (
        (True, State.DELIVERED, "DELIVRD"),
        (False, State.UNDELIVERED, "UNDELIV"),
    ):
        push = FakeHuawei().receipt(sent, delivered=delivered, url="http://us")
        expected = Receipt(state, code=code, **common)
        assert provider.receipts(call(push)) == [expected]
    assert provider.acknowledgement.body == ""


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("DELIVRD", State.DELIVERED),
        ("EXPIRED", State.EXPIRED),
        ("MILIMIT", State.UNDELIVERED),
        ("E200028", State.UNDELIVERED),
        ("UT:0023", State.UNDELIVERED),
    ],
)
def test_each_part_of_a_long_message_is_reported_for_itself(
    status: str, state: State
) -> None:
    reports = [
        {**REPORT, "sequence": 1, "total": 2, "to": "+8613800000000"},
        {**REPORT, "sequence": "2", "total": "2", "status": status, "extend": "m-1"},
    ]
    common = {"provider_id": "b9d9b4fe_6", "segments": 2, "parts": 2}
    expected = [
        Receipt(State.DELIVERED, code="DELIVRD", number=FIRST, part=1, **common),
        Receipt(state, code=status, message_id="m-1", part=2, **common),
    ]
    assert unconnected().receipts(calling({"statusReportList": reports})) == expected
    # The plus of a form that is not encoded is read as a space.
    body = urlencode(reports[0]).replace("%2B", "+").encode()
    alone = Call("POST", "http://us", {}, body)
    assert unconnected().receipts(alone) == expected[:1]


@each_garbage
def test_a_report_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever its words
        unconnected().receipts(Call("POST", "http://us", {}, body))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *((name, None) for name in ("status", "smsMsgId")),
        *(
            (name, wrong)
            for name in ("status", "smsMsgId", "extend", "to")
            for wrong in ([], {}, 1.5, True, "\0", "\ud800")
        ),
        ("sequence", "2"),
    ],
)
def test_a_report_with_what_it_must_not_have_is_refused(
    name: str, wrong: object
) -> None:
    assert unconnected().receipts(calling({"statusReportList": [REPORT]}))
    with pytest.raises(ValueError):  # noqa: PT011
        unconnected().receipts(calling({"statusReportList": [{**REPORT, name: wrong}]}))
