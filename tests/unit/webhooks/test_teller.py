import socket

import pytest
from standardwebhooks import Webhook

from app.webhooks import signature
from app.webhooks.sender import Answer, NoAnswer
from app.webhooks.target import Targets
from app.webhooks.teller import Teller

URL = "https://hooks.example.com/x?token=1"


class FakeSender:
    """Has every receiver answer the same."""

    is_closed = False

    def __init__(self, answer):
        self.answer = answer
        self.sent = []

    def post(self, target, *, headers, body):
        self.sent.append((target, headers, body))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def found(*addresses):
    return lambda _host, port, **_: [(0, 0, 0, "", (each, port)) for each in addresses]


PUBLIC = found("93.184.216.34")


def told(answer, *, url=URL, secret=None, resolve=PUBLIC):
    sender = FakeSender(answer)
    targets = Targets(["https://hooks.example.com/"], resolve=resolve)
    teller = Teller(targets, sender, secret_key="k")
    outcome = teller.tell(url, secret=secret, notice_id="msg_1", body=b"{}")
    return teller, sender.sent, outcome


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_what_was_taken_is_delivered(status):
    _, _, outcome = told(Answer(status))
    assert outcome.is_delivered
    assert outcome.status == status


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 404, 429, 500, 503])
def test_anything_else_is_tried_again(status):
    _, _, outcome = told(Answer(status))
    assert not outcome.is_delivered
    assert not outcome.is_final
    assert outcome.detail.startswith(f"has answered {status}")
    assert ("not followed" in outcome.detail) == (status < 400)


def test_a_receiver_that_is_gone_is_told_no_more():
    assert told(Answer(410))[2].is_final


def test_a_busy_one_says_when_to_come_again_and_no_other():
    assert told(Answer(503, "100"))[2].not_before > 0
    assert told(Answer(429, "100"))[2].not_before > 0
    assert told(Answer(500, "100"))[2].not_before == 0


def not_found(*_, **__):
    raise socket.gaierror(socket.EAI_NONAME, "hooks.example.com")


@pytest.mark.parametrize(
    ("answer", "resolve", "words"),
    [
        (NoAnswer("TimeoutError"), found("93.184.216.34"), "answered: TimeoutError"),
        (None, not_found, "a name that is not found"),
        (None, found("169.254.169.254"), "not public"),
        (None, found("::1"), "not public"),
    ],
)
def test_no_answer_is_tried_again_and_no_address_is_told(answer, resolve, words):
    _, sent, outcome = told(answer, resolve=resolve)
    assert outcome.detail.endswith(words)
    assert not outcome.is_final
    assert len(sent) == (answer is not None)


def test_a_url_that_may_not_be_told_any_more_is_given_up():
    _, sent, outcome = told(Answer(200), url="https://elsewhere.example/")
    assert outcome.is_final
    assert "NOTIFY_URL_PREFIXES" in outcome.detail
    assert sent == []


def test_it_is_signed_by_the_receivers_secret_or_by_the_services():
    own = signature.make_secret(bytes(32))
    teller, [(_, headers, body)], _ = told(Answer(200))
    assert Webhook(teller.secret).verify(body, headers) == {}
    _, [(_, headers, body)], _ = told(Answer(200), secret=own)
    assert Webhook(own).verify(body, headers) == {}
