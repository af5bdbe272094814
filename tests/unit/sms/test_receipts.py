import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from app.errors import InvalidInput, NotPermitted, ReceiptNotTaken
from app.sms.message import TERMINAL, Accepted, Category, Receipt, State, Unknown
from app.sms.outbox import Wish
from app.sms.provider import Acknowledgement, Call, OutcomeUnknown
from app.sms.providers.memory import MemoryProvider
from app.sms.receipts import REPORTED_SECONDS, Receipts
from app.storage.message_store import Sender
from tests.unit.sms.conftest import EVERYBODY, Scripted, rejected
from tests.vendors import FIRST, SECOND

SECRET = "s3cret"
CALL = Call("POST", "http://us", {}, b"")
FAILED = (State.REJECTED, State.UNDELIVERED, State.EXPIRED)

on_one_database = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


class Reporter(Scripted):
    """Reports what it is told to, whatever calls it, and whoever asks it."""

    acknowledgement = Acknowledgement('{"code":0}', "application/json")

    def __init__(self, *says) -> None:
        super().__init__(*says)
        self.reports = []
        self.fault = None
        self.queried = []

    def receipts(self, call):  # noqa: ARG002 - any will do
        if self.fault:
            raise self.fault
        return self.reports

    def query(self, asked):
        self.queried.append((asked.number, asked.provider_id))
        return self.receipts(CALL)


class World:
    """A vendor, the receipts that it sends, and what they come to."""

    def __init__(self, store, make_outbox) -> None:
        self.vendor = Reporter()
        providers = {"vendor": self.vendor, "memory": MemoryProvider()}
        self.outbox = make_outbox(**providers)
        self.observed = []
        self.receipts = Receipts(
            store=store,
            providers=providers,
            secret=SECRET,
            observe=lambda *facts: self.observed.append(facts),
        )

    def send(self, *receivers, said=None):
        """Send a message; return its id."""
        self.vendor.says = [said] if said else []
        letter = self.outbox.check(Wish(receivers or [FIRST], "captcha", {"code": 1}))
        self.outbox.deliver(self.outbox.keep(letter, Sender(None, None)), letter)
        return letter.message_id

    def begin(self):
        """Write a message down that its vendor has yet to answer; return its id."""
        letter = self.outbox.check(Wish([FIRST], "captcha", {"code": 1}))
        self.outbox.keep(letter, Sender(None, None))
        return letter.message_id

    def take(self, state=State.DELIVERED, **facts):
        self.vendor.reports = [Receipt(state, **facts)]
        return self.receipts.take("vendor", CALL)

    def receivers(self, message_id):
        return self.outbox.get(message_id, EVERYBODY).receivers

    def states(self, message_id):
        return [each.state for each in self.receivers(message_id)]

    def told(self, message_id):
        """Return how many receipts were events of a message's."""
        events = self.outbox.events(self.outbox.get(message_id, EVERYBODY))
        return [event["event"] for event in events].count("receipt")


@pytest.fixture
def world(store, make_outbox):
    return World(store, make_outbox)


class TestWhoMayReport:
    @pytest.mark.parametrize(
        ("provider", "secret"),
        [
            ("vendor", "s3cre"),
            ("vendor", ""),
            ("vendor", "s3cret\u00e9"),
            ("memory", SECRET),  # which sends none
            ("nobody", SECRET),
        ],
    )
    def test_who_does_not_know_the_secret_or_sends_none_is_nobody(
        self, world, provider, secret
    ):
        with pytest.raises(ReceiptNotTaken):
            world.receipts.admit(provider, secret)

    def test_who_does_is_answered_in_the_vendor_s_words(self, world):
        world.receipts.admit("vendor", SECRET)
        assert world.take(message_id="none") == Reporter.acknowledgement

    @pytest.mark.parametrize(
        ("fault", "error"),
        [(PermissionError("x"), NotPermitted), (ValueError("x"), InvalidInput)],
    )
    def test_what_is_forged_or_unreadable_changes_nothing(self, world, fault, error):
        message_id = world.send()
        world.vendor.fault = fault
        with pytest.raises(error):
            world.take(message_id=message_id)
        assert world.states(message_id) == ["sent"]


def parts_of(count, states):
    part = st.tuples(st.sampled_from(states), st.integers(1, count), st.just(count))
    return st.lists(part, max_size=10)


any_receipts = st.integers(1, 3).flatmap(lambda n: parts_of(n, [*State][1:]))
faultless = [State.UNKNOWN, State.SENT, State.DELIVERED]
in_two_orders = (
    st.integers(1, 3)
    .flatmap(lambda n: parts_of(n, faultless))
    .flatmap(lambda told: st.tuples(st.just(told), st.permutations(told)))
)
began = st.sampled_from([Accepted("p-1"), Unknown("timed out"), None])


class TestTheStateMachine:
    def steps(self, world, said, receipts):
        """Take receipts of a new message; give the state after each."""
        message_id = world.send(said=said) if said else world.begin()
        [state] = world.states(message_id)
        yield State(state)
        for told, part, parts in receipts:
            world.take(told, message_id=message_id, part=part, parts=parts)
            [state] = world.states(message_id)
            yield State(state)

    @on_one_database
    @given(receipts=any_receipts, said=began)
    def test_it_never_leads_back_and_ends_when_all_parts_have(
        self, world, receipts, said
    ):
        steps = [*self.steps(world, said, receipts)]
        rank = [State.QUEUED, State.UNKNOWN, State.SENT, State.DELIVERED]
        delivered = set()
        for n, (told, part, parts) in enumerate(receipts):
            before, after = steps[n], steps[n + 1]
            if before in TERMINAL:
                assert after is before
                continue
            if told is State.DELIVERED:
                delivered.add(part)
            is_news = told in FAILED and part not in delivered
            if is_news:
                assert after is told
            else:
                assert rank.index(after) >= rank.index(before)
                assert (after is State.DELIVERED) is (len(delivered) == parts)

    @on_one_database
    @given(orders=in_two_orders, said=began)
    def test_where_no_part_fails_the_order_does_not_matter(self, world, orders, said):
        one, other = ([*self.steps(world, said, each)] for each in orders)
        assert one[-1] is other[-1]

    @on_one_database
    @given(receipts=any_receipts, said=began)
    def test_what_came_before_comes_to_the_same(self, world, receipts, said):
        once = [*self.steps(world, said, receipts)]
        again = [*self.steps(world, said, [*receipts, *receipts])]
        assert once[-1] is again[-1] or once[-1] not in TERMINAL

    def test_a_duplicate_is_no_event(self, world):
        message_id = world.send()
        for _ in range(3):
            world.take(State.DELIVERED, message_id=message_id)
        assert world.told(message_id) == 1

    def test_a_part_that_failed_tells_why(self, world):
        message_id = world.send()
        world.take(State.DELIVERED, message_id=message_id, part=2, parts=2)
        world.take(
            State.UNDELIVERED, message_id=message_id, part=1, parts=2, code="MK:0001"
        )
        [receiver] = world.receivers(message_id)
        assert (receiver.state, receiver.provider_code) == ("undelivered", "MK:0001")

    def test_one_that_is_faster_than_the_answer_is_not_undone_by_it(self, world):
        class Fast(Reporter):
            def send(self, template, receivers, *, message_id, **_):  # noqa: ARG002
                world.take(
                    State.DELIVERED,
                    message_id=message_id,
                    provider_id="p-9",
                    segments=2,
                )
                raise OutcomeUnknown("timed out")

        world.vendor.__class__ = Fast
        [receiver] = world.receivers(world.send())
        assert (receiver.state, receiver.provider_id) == ("delivered", "p-9")
        assert (receiver.segments, receiver.provider_message) == (2, None)

    def test_what_was_refused_stays_so(self, world):
        message_id = world.send(said=rejected(Category.RECIPIENT))
        world.take(State.DELIVERED, message_id=message_id)
        assert world.states(message_id) == ["rejected"]


class TestWhoIsMeant:
    @pytest.mark.parametrize(
        "number", [FIRST, FIRST[1:], f"00{FIRST[1:]}", FIRST.removeprefix("+86")]
    )
    def test_a_number_is_known_however_the_vendor_writes_it(self, world, number):
        message_id = world.send(FIRST, SECOND)
        world.take(message_id=message_id, number=number)
        assert world.states(message_id) == ["delivered", "sent"]

    @pytest.mark.parametrize(
        "number",
        ["", "+", "00", "+00", "abc", "+86", "%", "_" * 11, "٨٦13800000000", "\0", "*"],
    )
    @pytest.mark.parametrize("is_named", [True, False])
    def test_a_number_that_is_none_means_nobody(self, world, number, is_named):
        message_id = world.send(FIRST, said=Unknown("timed out"))
        with capture_logs() as logs:
            world.take(message_id=message_id if is_named else None, number=number)
        assert world.states(message_id) == ["unknown"]
        assert [(e["event"], e["matches"]) for e in logs] == [
            ("sms.receipt_unmatched", 0)
        ]
        assert world.observed == []

    def test_by_our_id_alone_it_is_the_only_receiver(self, world):
        alone, two = world.send(FIRST), world.send(FIRST, SECOND)
        for message_id in (alone, two):
            world.take(message_id=message_id)
        assert world.states(alone) == ["delivered"]
        assert world.states(two) == ["sent", "sent"], "it may be either"

    def test_by_the_vendor_s_id_it_is_the_one_that_has_it(self, world):
        message_id = world.send(FIRST, SECOND, said=[Accepted("p-1"), Accepted("p-2")])
        world.take(provider_id="p-2")
        world.take(State.UNDELIVERED, provider_id="p-1", number=SECOND)
        assert world.states(message_id) == ["sent", "delivered"]

    def test_by_the_number_it_is_one_whose_answer_was_not_heard(self, world):
        unheard = world.send(FIRST, SECOND, said=Unknown("timed out"))
        heard = world.send(FIRST, said=Accepted("p-1"))
        world.take(provider_id="p-9", number=FIRST, segments=2)
        assert world.states(unheard) == ["delivered", "unknown"]
        assert world.states(heard) == ["sent"]
        assert world.receivers(unheard)[0].provider_id == "p-9", "now it is known"
        assert world.receivers(unheard)[0].segments == 2

    def test_of_two_whose_answers_were_not_heard_it_is_neither(self, world):
        ids = [world.send(FIRST, said=Unknown("timed out")) for _ in range(2)]
        world.take(provider_id="p-9", number=FIRST)
        assert [world.states(each) for each in ids] == [["unknown"]] * 2

    @pytest.mark.parametrize("named", [{"provider_id": "p-9"}, {}])
    def test_without_a_number_an_unheard_id_means_nobody(self, world, named):
        message_id = world.send(FIRST, said=Unknown("timed out"))
        world.take(**named)
        assert world.states(message_id) == ["unknown"]

    def test_what_is_older_than_vendors_report_is_not_meant(self, world, database):
        message_id = world.send(FIRST, said=Unknown("timed out"))
        with database.write() as connection:
            older = f"UPDATE messages SET created = created - {REPORTED_SECONDS}"
            connection.exec_driver_sql(older)
        world.take(provider_id="p-9", number=FIRST)
        assert world.states(message_id) == ["unknown"]

    def test_one_call_may_tell_of_many(self, world):
        message_id = world.send(FIRST, SECOND)
        world.vendor.reports = [
            Receipt(State.DELIVERED, message_id="none"),
            Receipt(State.DELIVERED, message_id=message_id, number=FIRST),
            Receipt(State.EXPIRED, "E", message_id=message_id, number=SECOND),
        ]
        with capture_logs() as logs:
            world.receipts.take("vendor", CALL)
        assert world.states(message_id) == ["delivered", "expired"]
        assert world.observed == [("vendor", "delivered"), ("vendor", "expired")]
        assert FIRST not in json.dumps(logs)


class TestQuery:
    def test_the_vendor_is_asked_for_those_that_have_not_ended(self, world):
        message_id = world.send(FIRST, SECOND, said=[Accepted("p-1"), Accepted("p-2")])
        world.take(provider_id="p-1")
        world.vendor.reports = [Receipt(State.UNDELIVERED, "E", provider_id="p-2")]
        message = world.outbox.get(message_id, EVERYBODY)
        assert world.receipts.query(message) == 1
        assert world.vendor.queried == [(SECOND, "p-2")]
        assert world.states(message_id) == ["delivered", "undelivered"]
        events = world.outbox.events(message)
        assert events[-1]["event"] == "queried"

    def test_one_that_cannot_be_asked_is_not_counted(self, world):
        letter = world.outbox.check(
            Wish([FIRST], "captcha", {"code": 1}, provider="memory")
        )
        number = world.outbox.keep(letter, Sender(None, None))
        assert world.receipts.query(world.outbox.deliver(number, letter)) == 0

    def test_nor_one_that_is_not_in_use_any_more(self, world, store):
        message = world.outbox.get(world.send(), EVERYBODY)
        receipts = Receipts(store=store, providers={}, secret=SECRET)
        assert receipts.query(message) == 0
