"""What a vendor's table of faults is checked with."""

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pytest

from app.sms.fake.server import FakeServer
from app.sms.fake.vendor import Asked, FakeVendor
from app.sms.message import Accepted, Category, Filled, Outcome
from app.sms.provider import OutcomeUnknown, ProviderUnreachable, SmsProvider

NUMBER = "+8613800000000"
TEXT = "Your code is 736251"
# Longer than an answer takes on a busy machine; that of Scenario.TIMEOUT never comes.
PATIENT_SECONDS = 20.0
IMPATIENT = {"timeout_seconds": 0.5}

Told = str | tuple[Category, bool]


#: Gives a test each fault of a vendor that has neither a balance nor limits of numbers.
each_fault = pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        ("success", "Accepted"),
        ("number", (Category.RECIPIENT, False)),
        ("auth", (Category.AUTH, False)),
        ("balance", "Accepted"),
        ("throttle", (Category.RATE_LIMITED, False)),
        ("phone_limit", "Accepted"),
        ("error", "OutcomeUnknown"),
        ("timeout", "OutcomeUnknown"),
        ("reset", "OutcomeUnknown"),
        ("malformed", "OutcomeUnknown"),
    ],
)


def sent(provider: SmsProvider, text: str = TEXT, **options: Any) -> Outcome:
    """Send to one number, as message m-1."""
    filled = Filled("captcha", None, {"code": "736251"}, text)
    [outcome] = provider.send(filled, [NUMBER], message_id="m-1", **options)
    return outcome


def told(provider: SmsProvider) -> Told:
    """Send to one number; return what is told of it, in short."""
    try:
        outcome = sent(provider)
    except (ProviderUnreachable, OutcomeUnknown) as error:
        return type(error).__name__
    if isinstance(outcome, Accepted):
        return "Accepted"
    assert outcome.code
    return outcome.category, outcome.per_number


def played(
    vendor: FakeVendor, make: Any, scenario: str
) -> tuple[Told, Sequence[Asked]]:
    """Let a vendor play a scenario; return what is told of it and what was asked."""
    options = IMPATIENT if scenario == "timeout" else {}
    with (
        FakeServer([vendor]) as server,
        closing(make(server.url, **options)) as provider,
    ):
        server.script(vendor.name, scenario)
        return told(provider), server.asked()
