"""The gateway of nobody in particular, at one that takes JSON, forms and queries."""

import json
import socket
from typing import ClassVar

import pytest

from app.sms.fake.server import FakeServer
from app.sms.fake.vendor import Answer, FakeVendor, Scenario, Sent
from app.sms.message import Accepted, Category, Filled, Rejected
from app.sms.provider import OutcomeUnknown, ProviderUnreachable
from app.sms.providers.http import GenericHttpProvider
from tests.providers.faults import IMPATIENT, PATIENT_SECONDS

NUMBER = "+8613800000000"
NASTY = "a\"b\\c&d=e+f %41#?/../\n中😀{text}'<>"
STATUS_OF = {
    Scenario.AUTH: 401,
    Scenario.BALANCE: 402,
    Scenario.THROTTLE: 429,
    Scenario.NUMBER: 400,
}
JSON_BODY = '{{"to": "{receiver}", "text": "{text}", "ref": "{message_id}"}}'
FORM_BODY = "to={national}&text={text}&code={param_code}&t={template}"
FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
TELLING = {"id_path": "data.0.id", "success_path": "ok", "success_value": "true"}


class Gateway(FakeVendor):
    """Takes whatever comes; tells inside a 200 of a limit on a number."""

    name = "gateway"
    settings: ClassVar = {}

    def is_for(self, asked):
        return asked.path.startswith("/send")

    def answer(self, _asked, scenario):
        if scenario in STATUS_OF:
            return Answer(STATUS_OF[scenario], "no"), []
        if scenario is Scenario.PHONE_LIMIT:
            return Answer(200, '{"ok": false, "why": "limit"}'), []
        answer = Answer(200, '{"ok": true, "data": [{"id": 7.0}]}')
        return answer, [Sent(self.name, NUMBER, "", "7")]


@pytest.fixture
def server():
    with FakeServer([Gateway()]) as running:
        yield running


@pytest.fixture
def provider(server):
    made = []

    def make(**config):
        config = {"url": f"{server.url}/send", "body": JSON_BODY, **config}
        made.append(
            GenericHttpProvider(**{"timeout_seconds": PATIENT_SECONDS} | config)
        )
        return made[-1]

    yield make
    for each in made:
        each.close()


def send(provider, text="hi", number=NUMBER, **params):
    template = Filled("captcha", None, params, text)
    [outcome] = provider.send(template, [number], message_id="m-1")
    return outcome


def test_a_json_body_has_its_values_as_strings(server, provider):
    headers = json.dumps({"Authorization": "Bearer x"})
    outcome = send(provider(headers=headers, **TELLING), text=NASTY)
    assert outcome == Accepted("7")
    [asked] = server.asked()
    expected = {"to": NUMBER, "text": NASTY, "ref": "m-1"}
    assert json.loads(asked.body) == expected
    assert asked.method == "POST"
    assert asked.headers["authorization"] == "Bearer x"
    assert asked.headers["content-type"] == "application/json"


def test_a_form_has_its_values_as_its_own(server, provider):
    assert send(
        provider(body=FORM_BODY, headers=FORM), text=NASTY, code="&x="
    ) == Accepted(None)
    [asked] = server.asked()
    assert asked.form == {
        "to": "13800000000",
        "text": NASTY,
        "code": "&x=",
        "t": "captcha",
    }


def test_a_url_has_its_values_in_path_and_query(server, provider):
    url = f"{server.url}/send/{{receiver}}?text={{text}}&to={{digits}}&brace={{{{"
    send(provider(url=url, method="get", body=""), text=NASTY)
    [asked] = server.asked()
    assert asked.method == "GET"
    assert asked.body == b""
    assert asked.path == "/send/%2B8613800000000"
    assert asked.query == {"text": NASTY, "to": "8613800000000", "brace": "{"}


@pytest.mark.parametrize(
    ("scenario", "category", "code"),
    [
        ("auth", Category.AUTH, "401"),
        ("balance", Category.ACCOUNT, "402"),
        ("throttle", Category.RATE_LIMITED, "429"),
        ("number", Category.REQUEST, "400"),
        ("phone_limit", Category.UNKNOWN, "false"),
    ],
)
def test_a_refusal_has_its_category_and_sent_nothing(
    server, provider, scenario, category, code
):
    server.script("gateway", scenario)
    outcome = send(provider(**TELLING))
    assert isinstance(outcome, Rejected)
    assert (outcome.category, outcome.code) == (category, code)
    assert outcome.message
    assert server.sent() == []


@pytest.mark.parametrize("scenario", ["error", "timeout", "reset", "malformed"])
def test_what_may_have_been_sent_is_unknown_and_asked_once(server, provider, scenario):
    server.script("gateway", scenario)
    options = IMPATIENT if scenario == "timeout" else {}
    with pytest.raises(OutcomeUnknown):
        send(provider(**TELLING, **options))
    assert len(server.asked()) == len(server.sent()) == 1


@pytest.mark.parametrize(
    "paths",
    [
        {"id_path": "data.1.id"},
        {"id_path": "data.id"},
        {"id_path": "ok.id"},
        {"success_path": "status", "success_value": "0"},
    ],
)
def test_an_answer_without_what_it_must_have_is_unknown(provider, paths):
    with pytest.raises(OutcomeUnknown, match="the answer has no "):
        send(provider(**paths))


def test_a_request_that_the_gateway_has_waited_for_in_vain_is_unknown(
    server, provider, monkeypatch
):
    monkeypatch.setitem(STATUS_OF, Scenario.NUMBER, 408)
    server.script("gateway", "number")
    with pytest.raises(OutcomeUnknown, match="408"):
        send(provider())


def test_a_template_without_a_param_that_has_a_place_is_not_sent(server, provider):
    outcome = send(provider(body=FORM_BODY, headers=FORM), other="1")
    words = "captcha has no parameter code"
    assert outcome == Rejected(Category.REQUEST, "params", words)
    assert server.asked() == []


def test_a_refused_connection_has_sent_nothing(provider):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/send"
        with pytest.raises(ProviderUnreachable):
            send(provider(url=url))


URL = "http://gateway.example/send"


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({"url": "gateway.example/send"}, "url is not one of http or https"),
        ({"url": "http://{text}.example/"}, "url has a place in its host"),
        ({"url": f"{URL}/{{text}}"}, r"url has \{text\} in its path"),
        ({"url": f"{URL}/{{param_a}}"}, r"url has \{param_a\} in its path"),
        ({"url": f"{URL}?x={{"}, "url has a lone {"),
        ({"url": f"{URL}?x={{mobile}}"}, r"url has \{mobile\}, which is none of"),
        ({"body": '{{"x": "{code}"}}'}, r"body has \{code\}, which is none of"),
        ({"body": '{{"to": "{receiver}", "x": {text}}}'}, "body is not JSON with its"),
        ({"body": '{{"to": "{receiver}"'}, "body is not JSON with its places"),
        ({"body": '{{"x": "{text}"}}'}, "neither url nor body has a place for the re"),
        ({"headers": "Authorization: x"}, "headers are not an object of JSON"),
        ({"headers": "[]"}, "headers are not an object of JSON"),
        ({"headers": {"X": "a\r\nY: b"}}, "headers: X is not a text of one line"),
        ({"headers": '{"X": 1}'}, "headers: X is not a text of one line"),
        ({"headers": {"content-type": "text/xml"}}, "neither JSON nor a form"),
    ],
)
def test_a_fault_of_the_settings_is_said_when_it_is_made(config, fault):
    with pytest.raises(ValueError, match=fault):
        GenericHttpProvider(**{"url": URL, "body": JSON_BODY, **config})
