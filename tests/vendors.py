"""What the tests of vendors share: messages, and outcomes put shortly."""

import json
from collections.abc import Sequence

import pytest

from app.sms.fake.vendor import Push, Scenario
from app.sms.message import Accepted, Filled, Outcome, Rejected, Unknown
from app.sms.provider import Call, OutcomeUnknown, SmsProvider

FIRST, SECOND = "+8613800000000", "+8613900000000"
ABROAD = "+14155550100"
CAPTCHA = Filled("captcha", "1110", {"code": "1234"}, "您的验证码是1234")
#: What signatures and encodings stumble over.
AWKWARD = Filled(
    "note",
    "1111",
    {"who": '王 "先生"\\', "what": "a b&c=d+e%20*~/?#", "when": "'\n😀"},
    "",
)

#: What nobody can know anything of.
UNSURE: dict[Scenario, list[str]] = {
    Scenario.ERROR: ["unsure", "unsure"],
    Scenario.TIMEOUT: ["unsure", "unsure"],
    Scenario.RESET: ["unsure", "unsure"],
    Scenario.MALFORMED: ["unsure", "unsure"],
}

#: What is told of two numbers by a vendor that answers for each of them.
FAULTS_BY_NUMBER: dict[Scenario, list[str]] = {
    Scenario.SUCCESS: ["accepted", "accepted"],
    Scenario.NUMBER: ["recipient", "accepted"],
    Scenario.AUTH: ["auth", "auth"],
    Scenario.BALANCE: ["account", "account"],
    Scenario.THROTTLE: ["rate_limited", "rate_limited"],
    Scenario.PHONE_LIMIT: ["rate_limited per number", "accepted"],
    **UNSURE,
}

#: Gives a test receipts that are none, whoever sends them.
each_garbage = pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"1",
        b'"x"',
        b"[1]",
        b"[null]",
        b"[[]]",
        b"[{}]",
        b"{",
        b"{}",
        b'{"statusReportList":7}',
        b'{"statusReportList":["x"]}',
        b'{"statusReportList":[{}]}',
        b"a=b&c",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"9" * 5_000,
    ],
    ids=lambda body: repr(body[:20]),
)


def in_short(outcome: Outcome) -> str:
    """Return an outcome in short: accepted, unsure or the category of a rejection."""
    if isinstance(outcome, Rejected):
        return outcome.category + (" per number" if outcome.per_number else "")
    return {Accepted: "accepted", Unknown: "unsure"}[type(outcome)]


def told(
    provider: SmsProvider,
    receivers: Sequence[str] = (FIRST, SECOND),
    template: Filled = CAPTCHA,
) -> list[str]:
    """Send; return the outcomes in short."""
    try:
        outcomes = provider.send(template, receivers, message_id="m-1")
    except OutcomeUnknown:
        return ["unsure"] * len(receivers)
    return [in_short(outcome) for outcome in outcomes]


def patience(scenario: Scenario) -> float:
    """Return after how many seconds a provider is to give up."""
    return 0.2 if scenario is Scenario.TIMEOUT else 20


def mainland(count: int) -> list[str]:
    """Return so many numbers."""
    return [f"+8613800{n:06}" for n in range(count)]


def call(push: Push) -> Call:
    """Return a fake's receipt as it comes to us."""
    headers = {name.lower(): value for name, value in push.headers.items()}
    return Call(push.method, push.url, headers, push.body)


def calling(document: object) -> Call:
    """Return a call with a JSON document."""
    return Call("POST", "http://us", {}, json.dumps(document).encode())
