"""Apprise: asked once, and believed of success only."""

import json
import logging
from collections.abc import Sequence
from contextlib import closing

import pytest

from app.sms.fake.vendor import Answer, Asked, FakeVendor, Scenario, Sent
from app.sms.providers.apprise import AppriseProvider
from tests.providers.faults import NUMBER, PATIENT_SECONDS, TEXT, played, told
from tests.servers import free_port

# One of its plugins, all of which it loads.
pytestmark = pytest.mark.filterwarnings(
    "ignore:'imghdr' is deprecated:DeprecationWarning"
)


class AnyService(FakeVendor):
    """What Apprise's json:// sends to."""

    name = "any"

    def is_for(self, _asked: Asked) -> bool:
        return True

    def answer(
        self, _asked: Asked, scenario: Scenario
    ) -> tuple[Answer, Sequence[Sent]]:
        return Answer(200 if scenario is Scenario.SUCCESS else 403, "{}"), []


def make(url: str, timeout_seconds: float = PATIENT_SECONDS) -> AppriseProvider:
    target = url.replace("http://", "json://")
    return AppriseProvider(
        url=f"{target}/{{receiver}}?retry=2&wait=0&optional=yes",
        timeout_seconds=timeout_seconds,
    )


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        ("success", "Accepted"),
        ("auth", "OutcomeUnknown"),
        ("error", "OutcomeUnknown"),
        ("timeout", "OutcomeUnknown"),
        ("reset", "OutcomeUnknown"),
    ],
)
def test_all_but_success_is_unknown_and_asked_once(scenario, expected, caplog):
    caplog.set_level(logging.DEBUG)
    outcome, asked = played(AnyService(), make, scenario)
    assert outcome == expected
    assert [each.path for each in asked] == [f"/{NUMBER}"]
    assert json.loads(asked[0].body)["message"] == TEXT
    assert not [r for r in caplog.records if r.name.startswith("apprise")]


def test_a_refused_connection_cannot_be_told_from_a_failure():
    with closing(make(f"http://127.0.0.1:{free_port()}")) as provider:
        assert told(provider) == "OutcomeUnknown"
        assert not provider.tells_rejections


def test_a_url_that_apprise_does_not_know_sends_nothing():
    with closing(AppriseProvider(url="nothing://{receiver}")) as provider:
        assert told(provider) == "ProviderUnreachable"


def test_a_url_has_to_have_a_place_for_the_number():
    with pytest.raises(ValueError, match="receiver"):
        AppriseProvider(url="json://127.0.0.1")
