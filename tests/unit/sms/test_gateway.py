import pytest
from structlog.testing import capture_logs

from app.sms.gateway import SmsGateway
from app.sms.message import Accepted, Category, Unknown
from app.sms.provider import OutcomeUnknown, ProviderUnreachable
from app.sms.providers.console import ConsoleProvider
from app.sms.templates import SmsTemplate
from tests.unit.sms.conftest import Keeper, Scripted, letter_to, rejected
from tests.vendors import FIRST, SECOND, in_short

THIRD, FOURTH = "+14155550100", "+14155550101"
AUTH = rejected(Category.AUTH)


class Journal:
    """What the gateway told, and what became of each in the end."""

    def __init__(self, *, fault=None):
        self.steps = []
        self.ends = {}
        self._fault = fault

    def asking(self, provider):
        self.steps.append(f"asking {provider}")
        if self._fault:
            raise self._fault

    def answered(self, provider, outcomes):
        self.steps.append(f"{provider} answered for {len(outcomes)}")
        self.ends |= {r: (provider, in_short(o)) for r, o in outcomes.items()}


def send(letter, *, is_stopped=lambda: False, **providers):
    journal, gateway = Journal(), SmsGateway(providers, order=tuple(providers))
    gateway.send(letter, journal, is_stopped)
    return journal


@pytest.mark.parametrize("category", Category)
@pytest.mark.parametrize("per_number", [False, True])
def test_only_a_refusal_that_another_may_cure_is_passed_on(category, per_number):
    first, second = Scripted(rejected(category, per_number=per_number)), Scripted()
    send(letter_to(FIRST), first=first, second=second)
    is_curable = category in ("auth", "account", "sender", "rate_limited")
    assert second.asked == ([[FIRST]] if is_curable and not per_number else [])


@pytest.mark.parametrize(
    ("said", "end"),
    [
        (Accepted(), "accepted"),
        (Unknown("?"), "unsure"),
        (OutcomeUnknown("timed out"), "unsure"),
        (ValueError(f"a fault with {FIRST}"), "unsure"),
        (RecursionError(), "unsure"),
        (None, "unsure"),
        ([], "unsure"),
        ([AUTH], "unsure"),
        ([Accepted()] * 3, "unsure"),
    ],
    ids=repr,
)
def test_where_it_may_have_been_sent_nobody_is_asked_again(said, end):
    first, second = Scripted(said), Scripted()
    with capture_logs() as logs:
        journal = send(letter_to(FIRST, SECOND), first=first, second=second)
    assert (len(first.asked), second.asked) == (1, [])
    assert journal.ends == dict.fromkeys((FIRST, SECOND), ("first", end))
    assert FIRST not in repr(logs)


def test_a_vendor_that_no_connection_led_to_has_sent_nothing():
    first, second = Scripted(ProviderUnreachable("refused")), Scripted()
    journal = send(letter_to(), first=first, second=second)
    assert second.asked == [[FIRST, SECOND]]
    assert set(journal.ends.values()) == {("second", "accepted")}


def test_of_a_batch_only_those_go_on_that_were_refused_in_their_order():
    said = [AUTH, Accepted(), rejected(Category.RECIPIENT), AUTH]
    first, second, third = Scripted(said), Scripted([AUTH, Accepted()]), Scripted()
    journal = send(
        letter_to(FOURTH, FIRST, SECOND, THIRD, providers=("a", "b", "c")),
        a=first,
        b=second,
        c=third,
    )
    assert (second.asked, third.asked) == ([[FOURTH, THIRD]], [[FOURTH]])
    assert journal.ends == {
        FOURTH: ("c", "accepted"),
        FIRST: ("a", "accepted"),
        SECOND: ("a", "recipient"),
        THIRD: ("b", "accepted"),
    }


def test_what_refuses_a_whole_batch_is_not_asked_for_the_next():
    observed = []
    providers = {"first": Scripted(AUTH, batch_limit=1), "second": Scripted()}
    gateway = SmsGateway(
        providers,
        order=(),
        observe=lambda name, said, _: observed.extend((name, one) for one in said),
    )
    journal = Journal()
    gateway.send(letter_to(FIRST, SECOND, THIRD), journal)
    assert providers["first"].asked == [[FIRST]]
    assert providers["second"].asked == [[FIRST, SECOND, THIRD]]
    assert journal.steps == [
        "asking first",
        *["first answered for 1"] * 3,
        "asking second",
        "second answered for 3",
    ]
    accepted = ("second", Accepted("p-1", 1))
    assert observed == [("first", AUTH), *[accepted] * 3], "only what was said"


@pytest.mark.parametrize(
    "said",
    [
        [AUTH, Accepted()],
        [AUTH, rejected(Category.RECIPIENT)],
        [rejected(Category.RATE_LIMITED, per_number=True)] * 2,
        OutcomeUnknown("timed out"),
    ],
    ids=repr,
)
def test_what_refuses_but_some_is_asked_for_the_next(said):
    first = Scripted(said, batch_limit=2)
    send(letter_to(FIRST, SECOND, THIRD), first=first, second=Scripted())
    assert first.asked == [[FIRST, SECOND], [THIRD]]


def test_a_provider_is_asked_only_once_that_was_noted():
    first = Scripted()
    gateway, fault = SmsGateway({"first": first}, order=("first",)), OSError("away")
    with pytest.raises(OSError, match="away"):
        gateway.send(letter_to(providers=["first"]), Journal(fault=fault))
    assert first.asked == []


def test_once_stopped_nobody_more_is_asked_and_that_is_why():
    first, second = Scripted([AUTH], batch_limit=1), Scripted()
    first.says.append(Accepted())
    journal = send(
        letter_to(FIRST, SECOND, THIRD),
        is_stopped=lambda: len(first.asked) == 1,
        first=first,
        second=second,
    )
    assert (first.asked, second.asked) == ([[FIRST]], [])
    ends = {end for _, end in journal.ends.values()}
    assert ends == {"request"}, "the first one as well: it was with none"
    assert set(journal.ends) == {FIRST, SECOND, THIRD}


def test_a_provider_is_told_all_that_it_needs():
    keeper = Keeper()
    gateway = SmsGateway(
        {"keeper": keeper}, order=("keeper",), receipts_url=lambda n: f"http://us/{n}"
    )
    gateway.send(letter_to(providers=["keeper"], validity_seconds=60), Journal())
    [options] = keeper.options
    template = options.pop("template")
    assert (template.id, template.params) == ("1110", {"code": "736251"})
    assert options == {
        "message_id": "m-1",
        "validity_seconds": 60,
        "receipts_url": "http://us/keeper",
    }


@pytest.mark.parametrize(
    ("document", "able"),
    [
        ({"text": "x"}, {"first"}),
        ({"ids": {"keeper": "1"}}, {"keeper"}),
        ({"ids": {"first": "1"}}, set()),
        ({"text": "x", "ids": {"keeper": "1"}}, {"first", "keeper"}),
    ],
)
def test_who_is_able_to_send_a_template_its_ids_and_text_tell(document, able):
    gateway = SmsGateway({"first": ConsoleProvider(), "keeper": Keeper()}, order=())
    template = SmsTemplate("t", document)
    assert {n for n in gateway.providers if gateway.is_able(n, template)} == able


def test_its_log_counts_and_shows_neither_number_nor_text():
    said = [Accepted(), rejected(Category.RECIPIENT), Unknown(f"{SECOND}?")]
    with capture_logs() as logs:
        send(letter_to(FIRST, SECOND, THIRD), first=Scripted(said), second=Scripted())
    [line] = logs
    assert line.pop("seconds") >= 0
    assert line == {
        "event": "sms.answered",
        "log_level": "info",
        "message_id": "m-1",
        "provider": "first",
        "accepted": 1,
        "rejected": 1,
        "unknown": 1,
    }


def test_closed_it_closes_every_provider():
    providers = {"first": Scripted(), "second": Scripted()}
    SmsGateway(providers, order=()).close()
    assert [each.closed for each in providers.values()] == [1, 1]
