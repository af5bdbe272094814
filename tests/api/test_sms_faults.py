"""What callers are told of every fault of every vendor, and who is asked after it."""

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from app.sms.fake import aliyun
from app.sms.fake.server import FakeServer
from app.sms.fake.vendor import Scenario
from config.config import ProductionConfig
from tests.api.callers import ANN, with_users
from tests.api.checks import paths, problem
from tests.servers import free_port
from tests.sms import failed, kept, send, states
from tests.vendors import ABROAD, FIRST, SECOND

Make = Callable[..., FlaskClient]

# The status and, where there is one, the category. Kannel and SNS have neither a
# balance nor a limit per number to refuse for.
TABLE = """
             aliyun           huawei           tencent          twilio
success      200              200              200              200
number       422:recipient    422:recipient    422:recipient    422:recipient
auth         502:auth         502:auth         502:auth         502:auth
balance      502:account      502:account      502:account      502:account
throttle     502:rate_limited 502:rate_limited 502:rate_limited 502:rate_limited
phone_limit  429:rate_limited 429:rate_limited 429:rate_limited 429:rate_limited
error        202              202              202              202
timeout      202              202              202              202
reset        202              202              202              202
malformed    202              202              202              202
refused      503:unknown      503:unknown      503:unknown      503:unknown

             kannel           sns
success      200              200
number       422:recipient    422:recipient
auth         502:auth         502:auth
balance      200              200
throttle     502:rate_limited 502:rate_limited
phone_limit  200              200
error        202              202
timeout      202              202
reset        202              202
malformed    202              202
refused      503:unknown      503:unknown
"""

MESSAGE_OF = {200: "send", 202: "unknown", 207: "partial"}
STATE_OF = {200: "sent", 202: "unknown"}


def _table() -> dict[str, dict[str, str]]:
    """Return what is expected by vendor and scenario."""
    expected: dict[str, dict[str, str]] = {}
    for part in TABLE.strip().split("\n\n"):
        vendors, *rows = (line.split() for line in part.splitlines())
        for scenario, *cells in rows:
            for vendor, cell in zip(vendors, cells, strict=True):
                expected.setdefault(vendor, {})[scenario] = cell
    return expected


def away(fake: FakeServer, vendor: str) -> dict[str, str]:
    """Return the settings of a vendor that no connection leads to."""
    return fake.vendors[vendor].settings_at(f"http://127.0.0.1:{free_port()}")


@pytest.mark.parametrize("vendor", _table())
def test_every_fault_is_told_for_what_it_is_and_nobody_is_asked_twice(
    sms: Make, fake: FakeServer, vendor: str
) -> None:
    patient, hasty = sms(vendor), sms(vendor, SMS_TIMEOUT_SECONDS="0.5")
    found = {}
    for scenario in Scenario:
        fake.clear()
        fake.script(vendor, scenario)
        client = hasty if scenario is Scenario.TIMEOUT else patient
        found[scenario.value] = _told(client, vendor)
        assert len(fake.asked(vendor)) == 1, scenario
        taken = [sent.receiver for sent in fake.sent(vendor)]
        is_refused = ":" in found[scenario.value]
        assert taken == ([] if is_refused else [FIRST]), scenario
    fake.clear()
    found["refused"] = _told(sms(vendor, **away(fake, vendor)), vendor)
    assert not fake.asked()
    assert found == _table()[vendor]


def _told(client: FlaskClient, vendor: str) -> str:
    """Send to one number; return the status, and the category where it was refused."""
    answer = send(client, FIRST)
    status = answer.status_code
    [receiver] = answer.json["receivers"]
    assert receiver["receiver"] == FIRST
    assert receiver.keys() >= {"state", "provider_id", "segments"}
    assert receiver["state"] == STATE_OF.get(status, "rejected")
    assert kept(client, answer)["receivers"] == [receiver]
    if status in STATE_OF:
        assert answer.json["message"] == MESSAGE_OF[status]
        assert answer.json["provider"] == vendor
        return str(status)
    [(provider, category)] = failed(answer, status)
    assert provider == vendor
    return f"{status}:{category}"


class TestTheNextProvider:
    @pytest.mark.parametrize(
        ("scenario", "category"),
        [
            ("auth", "auth"),
            ("balance", "account"),
            ("throttle", "rate_limited"),
            ("refused", "unknown"),
        ],
    )
    def test_is_asked_where_the_first_certainly_has_not_sent_and_it_may(
        self, sms: Make, fake: FakeServer, scenario: str, category: str
    ) -> None:
        client = _failing(sms, fake, scenario)
        answer = send(client, FIRST, SECOND)
        assert (answer.status_code, answer.json["message"]) == (200, "send")
        assert answer.json["provider"] == "twilio"
        assert states(answer) == ["sent", "sent"]
        [tried] = answer.json["attempts"]
        assert (tried["provider"], tried["category"]) == ("aliyun", category)
        assert [sent.receiver for sent in fake.sent()] == [FIRST, SECOND]
        events = kept(client, answer)["events"]
        asked = [e["provider"] for e in events if e["event"] == "asked"]
        assert asked[-1] == "twilio"

    @pytest.mark.parametrize(
        ("scenario", "status", "state"),
        [
            ("number", 422, "rejected"),
            ("phone_limit", 429, "rejected"),
            ("error", 202, "unknown"),
            ("reset", 202, "unknown"),
            ("malformed", 202, "unknown"),
        ],
    )
    def test_is_not_asked_where_it_may_not_or_the_first_may_have_sent(
        self, sms: Make, fake: FakeServer, scenario: str, status: int, state: str
    ) -> None:
        answer = send(_failing(sms, fake, scenario))
        assert answer.status_code == status
        assert states(answer) == [state]
        assert answer.json["provider"] == "aliyun"
        assert not fake.asked("twilio")

    def test_is_not_asked_after_a_refusal_of_which_nobody_knows_the_reason(
        self, sms: Make, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(aliyun._CODE_OF, Scenario.NUMBER, "isv.NEVER_HEARD_OF")
        answer = send(_failing(sms, fake, "number"))
        assert failed(answer, 502) == [("aliyun", "unknown")]
        assert not fake.asked("twilio")

    def test_is_asked_for_those_alone_whom_the_first_did_not_take(
        self, sms: Make, fake: FakeServer
    ) -> None:
        client = sms("tencent,twilio")
        fake.script("tencent", "success", "throttle")  # home and abroad are two batches
        answer = send(client, FIRST, ABROAD)
        assert answer.status_code == 200
        by = [(each["receiver"], each["provider"]) for each in answer.json["receivers"]]
        assert by == [(FIRST, "tencent"), (ABROAD, "twilio")]
        assert len(fake.sent()) == 2

    def test_that_refuses_too_makes_a_failure_with_what_each_has_said(
        self, sms: Make, fake: FakeServer
    ) -> None:
        client = _failing(sms, fake, "auth")
        fake.script("twilio", "balance")
        answer = send(client)
        assert failed(answer, 502) == [("aliyun", "auth"), ("twilio", "account")]
        assert states(answer) == ["rejected"]
        assert kept(client, answer)["attempts"] == answer.json["attempts"]

    def test_that_is_away_too_makes_it_unreachable(
        self, sms: Make, fake: FakeServer
    ) -> None:
        both = away(fake, "aliyun") | away(fake, "twilio")
        answer = send(sms("aliyun,twilio", **both))
        assert failed(answer, 503) == [("aliyun", "unknown"), ("twilio", "unknown")]
        assert {a["provider_code"] for a in answer.json["attempts"]} == {"unreachable"}

    def test_that_refuses_after_one_that_was_away_makes_a_failure(
        self, sms: Make, fake: FakeServer
    ) -> None:
        client = _failing(sms, fake, "refused")
        fake.script("twilio", "auth")
        assert failed(send(client), 502) == [("aliyun", "unknown"), ("twilio", "auth")]

    def test_is_passed_over_where_it_cannot_send_the_template(
        self, sms: Make, fake: FakeServer
    ) -> None:
        answer = send(sms("aliyun,twilio"), template="plain", params={})
        assert answer.json["provider"] == "twilio"
        assert not fake.asked("aliyun")


class TestAProviderOfTheCallers:
    def test_is_the_only_one_that_is_asked(self, sms: Make, fake: FakeServer) -> None:
        client = sms("aliyun,twilio")
        assert send(client, provider="twilio").json["provider"] == "twilio"
        fake.script("aliyun", "auth")
        answer = send(client, provider="aliyun")
        assert failed(answer, 502) == [("aliyun", "auth")]
        assert len(fake.asked("twilio")) == 1

    @pytest.mark.parametrize("name", ["kannel", "nobody", "Aliyun", "aliyun,twilio"])
    def test_is_one_of_those_in_use(
        self, sms: Make, fake: FakeServer, name: str
    ) -> None:
        answer = send(sms("aliyun,twilio"), provider=name)
        assert paths(answer) == ["provider"]
        assert not fake.asked()


def test_without_any_provider_nothing_can_be_sent(sms: Make) -> None:
    client = with_users(sms("", ProductionConfig).application)
    found = problem(send(client, auth=ANN), 503)
    assert found["type"] == "urn:bellhop:problem:sms-unreachable"
    assert "SMS_PROVIDER" in found["detail"]


def _failing(sms: Make, fake: FakeServer, scenario: str) -> FlaskClient:
    """Return a client of an app whose first provider fails, and whose second does."""
    if scenario == "refused":
        return sms("aliyun,twilio", **away(fake, "aliyun"))
    fake.script("aliyun", scenario)
    return sms("aliyun,twilio")
