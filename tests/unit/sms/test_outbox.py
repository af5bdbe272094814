import sqlite3
import time
from contextlib import closing
from dataclasses import replace

import pytest
import sqlalchemy as sa

from app.errors import (
    InvalidInput,
    KeyInFlight,
    MessageNotFound,
    SmsLimitExceeded,
    SmsUnreachable,
    StorageUnavailable,
)
from app.sms import journal
from app.sms.limits import SmsLimits
from app.sms.message import Accepted, Category, Rejected, Unknown
from app.sms.outbox import SILENT_SECONDS, Wish
from app.sms.provider import OutcomeUnknown
from app.sms.providers.memory import MemoryProvider
from app.sms.record import Verdict
from app.storage.idempotency_store import IdempotencyStore
from app.storage.message_store import Sender
from app.storage.ownership import Viewer
from app.storage.people_store import PeopleStore
from app.storage.tables import message_usage
from app.tasks.worker import Worker
from tests.servers import wait_until
from tests.unit.sms.conftest import EVERYBODY, HOST, Keeper, Scripted, rejected
from tests.vendors import FIRST, SECOND

THIRD = "+14155552671"
SENDER = Sender("ann", "r-1")
AUTH = rejected(Category.AUTH)
LIMITED = rejected(Category.RATE_LIMITED, per_number=True)
GONE = "another boot:1:1"


def wish(*receivers, **changes):
    facts = {"template": "captcha", "params": {"code": "736251"}} | changes
    return Wish(receivers or [FIRST, SECOND], **facts)


def send(outbox, *receivers, sender=SENDER, task_id=None, is_stopped=None, **changes):
    letter = outbox.check(wish(*receivers, **changes))
    number = outbox.keep(letter, sender, task_id=task_id)
    stopped = {"is_stopped": is_stopped} if is_stopped else {}
    return outbox.deliver(number, letter, **stopped)


def faults_of(outbox, *receivers, **changes):
    with pytest.raises(InvalidInput) as raised:
        outbox.check(wish(*receivers, **changes))
    return [(fault.path, fault.message) for fault in raised.value.faults]


def told(outbox, message):
    names = ("event", "provider", "detail")
    return [tuple(map(event.get, names)) for event in outbox.events(message)]


class TestCheck:
    @pytest.mark.parametrize(
        ("given", "receivers"),
        [
            (f"{FIRST}, {SECOND}", [FIRST, SECOND]),
            ([SECOND, FIRST], [SECOND, FIRST]),
            ([SECOND, FIRST, "+86 139-0000-0000"], [SECOND, FIRST]),
            (["user:0", FIRST], [THIRD, FIRST]),
            ([f"user:{n}" for n in (0, 0)], [THIRD]),
        ],
    )
    def test_receivers_are_each_once_in_their_order(
        self, make_outbox, database, given, receivers
    ):
        PeopleStore(database).add({"name": "Ann", "age": 1, "phone": THIRD})
        outbox = make_outbox(memory=MemoryProvider())
        letter = outbox.check(Wish(given, "captcha", {"code": 7}))
        assert letter.receivers == receivers
        assert letter.providers == ["memory"]

    @pytest.mark.parametrize(
        ("receiver", "fault"),
        [
            ("", "is not a plus"),
            ("13800000000", "is not a plus"),
            ("+86 138 0000 000A", "is not a plus"),
            ("+999123456789", "has no country code"),
            ("+8612", "is not a number that its country has"),
            ("user:1", "has no phone"),
            ("user:999999999", "nobody"),
            ("user:", "nobody"),
            ("user:-1", "nobody"),
            ("user:\u0661", "nobody"),
            ("user:" + "9" * 5000, "nobody"),
        ],
    )
    def test_who_cannot_be_one_is_named(self, make_outbox, database, receiver, fault):
        people = PeopleStore(database)
        people.add({"name": "Ann", "age": 1, "phone": THIRD})
        people.add({"name": "Bob", "age": 1, "phone": None})
        [found] = faults_of(make_outbox(memory=MemoryProvider()), FIRST, receiver)
        assert found[0] == "receivers.1"
        assert fault in found[1]
        assert len(found[1]) < 200

    def test_all_faults_are_told_at_once(self, make_outbox):
        outbox = make_outbox(first=Scripted())
        found = faults_of(outbox, "x", params={"cod": "1"}, provider="second")
        paths = ["receivers.0", "params.code", "params.cod", "provider"]
        assert [path for path, _ in found] == paths
        assert found[-1][1].endswith("in use: first")

    def test_more_than_ten_thousand_are_too_many(self, make_outbox):
        outbox = make_outbox(memory=MemoryProvider())
        assert faults_of(outbox, *["x"] * 10_001) == [
            ("receivers", "are 10001, which is more than 10000")
        ]

    def test_who_is_asked_is_who_can_send_the_template(self, make_outbox):
        outbox = make_outbox(first=Scripted(), keeper=Keeper(), last=Scripted())
        assert list(outbox.check(wish()).providers) == ["first", "keeper", "last"]
        assert list(outbox.check(wish(template="kept")).providers) == ["keeper"]
        assert list(outbox.check(wish(provider="last")).providers) == ["last"]
        [fault] = faults_of(outbox, template="kept", provider="last")
        assert fault == ("template", "has neither an id nor a text for last")

    def test_without_a_provider_nobody_is_reached(self, make_outbox):
        with pytest.raises(SmsUnreachable, match="SMS_PROVIDER"):
            make_outbox().check(wish())

    def test_a_text_can_be_looked_at_where_there_is_one(self, make_outbox):
        outbox = make_outbox()
        assert outbox.text_of("captcha", {"code": 7}) == "Your code is 7"
        for template, params in [("kept", {"code": 7}), ("captcha", {}), ("no", {})]:
            with pytest.raises(InvalidInput):
                outbox.text_of(template, params)


class TestSend:
    def test_it_is_in_the_records_before_anything_leaves(self, make_outbox, store):
        seen = []

        class Looking(Scripted):
            def send(self, *arguments, **options):
                [row] = store.unsent()
                seen.append((row["message_id"], len(store.receivers(row["number"]))))
                return super().send(*arguments, **options)

        message = send(make_outbox(first=Looking()))
        assert seen == [(message.message_id, 2)]
        assert (message.verdict, message.provider) == (Verdict.SENT, "first")
        assert [(r.receiver, r.state) for r in message.receivers] == [
            (FIRST, "sent"),
            (SECOND, "sent"),
        ]

    def test_what_is_read_later_is_what_was_told(self, make_outbox):
        outbox = make_outbox(memory=MemoryProvider())
        message = send(outbox, task_id="t-1")
        kept = outbox.get(message.message_id, Viewer("ann"))
        assert (kept.owner, kept.request_id, kept.task_id) == ("ann", "r-1", "t-1")
        assert (kept.facts(), kept.verdict) == (message.facts(), message.verdict)
        assert kept.finished == message.finished
        [(listed, states)] = outbox.page(EVERYBODY, {}, before=None, limit=5)
        assert (listed, states) == (replace(kept, receivers=[]), {"sent": 2})
        assert outbox.of_task("t-1") == message.message_id
        assert told(outbox, message) == [
            ("stored", None, None),
            ("answered", "memory", "2"),
            ("finished", None, "send"),
        ]
        with pytest.raises(MessageNotFound):
            outbox.get(message.message_id, Viewer("bob"))
        with pytest.raises(MessageNotFound):
            outbox.of_task("t-2")

    def test_ten_thousand_are_sent_to_each_once(self, make_outbox):
        memory = MemoryProvider()
        receivers = [f"+86138{n:08}" for n in range(10_000)]
        message = send(make_outbox(memory=memory), *receivers)
        assert message.verdict is Verdict.SENT
        assert [each.receiver for each in message.receivers] == receivers
        assert {each.state for each in message.receivers} == {"sent"}
        assert [kept.receiver for kept in memory.sent] == receivers[-1000:]

    def test_each_provider_that_refused_is_an_attempt(self, make_outbox):
        outbox = make_outbox(first=Scripted(AUTH), second=Scripted())
        message = send(outbox)
        assert (message.verdict, message.provider) == (Verdict.SENT, "second")
        assert {each.provider for each in message.receivers} == {"second"}
        assert {each.category for each in message.receivers} == {None}
        [attempt] = message.attempts
        assert attempt == {
            "provider": "first",
            "category": "auth",
            "provider_code": "E",
            "provider_message": "its words",
        }
        assert told(outbox, message)[1:] == [
            ("asked", "second", None),
            ("answered", "second", "2"),
            ("finished", None, "send"),
        ]

    def test_what_another_may_cure_only_the_last_one_settles(self, make_outbox, store):
        class Looking(Scripted):
            def send(self, *arguments, **options):
                [row] = store.unsent()
                kept = store.receivers(row["number"])
                assert [each["state"] for each in kept] == ["queued", "sent"]
                return super().send(*arguments, **options)

        first = Scripted([AUTH, Accepted("p-1")])
        account = rejected(Category.ACCOUNT, "F")
        message = send(make_outbox(first=first, second=Looking(account)))
        refused, sent = message.receivers
        assert (sent.provider, sent.provider_id) == ("first", "p-1")
        assert (refused.state, refused.provider) == ("rejected", "second")
        assert (refused.category, refused.provider_code) == ("account", "F")
        assert message.verdict is Verdict.PARTIAL
        assert [each["provider_code"] for each in message.attempts] == ["E", "F"]

    def test_each_receiver_is_settled_once(self, make_outbox):
        final = rejected(Category.RECIPIENT)
        second = Scripted(final, Accepted(), batch_limit=1)
        outbox = make_outbox(first=Scripted(AUTH), second=second)
        message = send(outbox)
        answered = [row for row in outbox.events(message) if row["event"] == "answered"]
        assert [(row["state"], row["detail"]) for row in answered] == [
            ("rejected", "1"),
            ("sent", "1"),
        ]

    @pytest.mark.parametrize(
        ("said", "verdict", "counts"),
        [
            (Accepted(), Verdict.SENT, True),
            (OutcomeUnknown("?"), Verdict.UNKNOWN, True),
            (rejected(Category.RECIPIENT), Verdict.REJECTED, True),
            ([Accepted(), LIMITED], Verdict.PARTIAL, True),
            (LIMITED, Verdict.RECEIVER_LIMITED, False),
            (AUTH, Verdict.FAILED, False),
            (Rejected(Category.UNKNOWN, "unreachable"), Verdict.UNREACHABLE, False),
        ],
    )
    def test_what_was_not_sent_and_may_come_again_counts_for_nothing(
        self, make_outbox, database, said, verdict, counts
    ):
        kept = {"digest": "d", "fingerprint": "f", "worker": "w", "created": 1.0}
        requests = IdempotencyStore(database)
        requests.begin(kept, in_flight=lambda _: True)
        limits = SmsLimits(total=[(2, 3600.0)])
        outbox = make_outbox(first=Scripted(said), limits=limits)
        assert send(outbox, sender=Sender("ann", None, None, "d")).verdict is verdict
        assert (requests.find("d") is not None) is counts
        if counts:
            with pytest.raises(SmsLimitExceeded):
                send(outbox)
        else:
            assert send(outbox).verdict is Verdict.SENT

    def test_what_is_not_taken_on_is_not_sent(self, make_outbox):
        first = Scripted()
        outbox = make_outbox(first=first, limits=SmsLimits(receiver=[(1, 60.0)]))
        send(outbox, FIRST)
        with pytest.raises(SmsLimitExceeded, match=r"\+8613\*\*\*\*0000"):
            send(outbox, SECOND, FIRST)
        with pytest.raises(KeyInFlight):
            send(outbox, SECOND, sender=Sender("ann", None, None, "never kept"))
        assert first.asked == [[FIRST]]
        assert send(outbox, SECOND).verdict is Verdict.SENT, "nor does it count"

    def test_one_that_is_withdrawn_was_never_there(self, make_outbox):
        outbox = make_outbox(first=Scripted(), limits=SmsLimits(total=[(1, 60.0)]))
        letter = outbox.check(wish(FIRST))
        outbox.keep(letter, SENDER)
        outbox.withdraw(letter.message_id)
        with pytest.raises(MessageNotFound):
            outbox.get(letter.message_id, EVERYBODY)
        assert send(outbox, FIRST).verdict is Verdict.SENT


class TestNotSentAnyMore:
    @pytest.mark.parametrize("age", [59, 61])
    def test_out_of_its_time_it_is_sent_to_nobody(self, make_outbox, age):
        first = Scripted()
        outbox = make_outbox(first=first)
        letter = outbox.check(wish(validity_seconds=60))
        letter = replace(letter, created=time.time() - age)
        message = outbox.deliver(outbox.keep(letter, SENDER), letter)
        if age < 60:
            assert (message.verdict, len(first.asked)) == (Verdict.SENT, 1)
        else:
            assert (message.verdict, first.asked) == (Verdict.REJECTED, [])
            assert [each.state for each in message.receivers] == ["expired"] * 2

    def test_given_up_it_says_why(self, make_outbox):
        first = Scripted()
        outbox = make_outbox(first=first)
        letter = outbox.check(wish())
        message = outbox.give_up(outbox.keep(letter, SENDER), letter, "shutdown")
        assert (message.verdict, first.asked) == (Verdict.REJECTED, [])
        assert {each.provider_code for each in message.receivers} == {"shutdown"}
        assert {each.state for each in message.receivers} == {"rejected"}

    def test_stopped_between_two_batches_it_is_partly_sent(self, make_outbox):
        first = Scripted(batch_limit=1)
        outbox = make_outbox(first=first)
        message = send(outbox, is_stopped=lambda: bool(first.asked))
        sent, left = message.receivers
        assert (message.verdict, first.asked) == (Verdict.PARTIAL, [[FIRST]])
        assert (sent.state, left.state) == ("sent", "rejected")
        assert left.provider_code == "cancelled"


class Faulty:
    """A store whose writing fails so many times, after so many that work."""

    def __init__(self, monkeypatch, store, *, times, after=0):
        self.calls = 0
        self._times = range(after, after + times)
        for name in ("settle", "finish"):
            monkeypatch.setattr(store, name, self._failing(getattr(store, name)))
        monkeypatch.setattr(journal, "WRITE_SECONDS", 0)

    def _failing(self, write):
        def attempt(*arguments, **options):
            self.calls += 1
            if self.calls - 1 in self._times:
                raise StorageUnavailable from OSError("away")
            write(*arguments, **options)

        return attempt


class TestWithoutTheRecords:
    @pytest.mark.parametrize("after", [0, 1, 2])
    def test_what_was_said_is_written_once_they_are_back(
        self, make_outbox, store, monkeypatch, after
    ):
        first = Scripted(batch_limit=1)
        faulty = Faulty(monkeypatch, store, times=6, after=after)
        message = send(make_outbox(first=first), FIRST, SECOND, THIRD)
        assert first.asked == [[FIRST], [SECOND], [THIRD]]
        assert message.verdict is Verdict.SENT
        assert {each.state for each in message.receivers} == {"sent"}
        assert faulty.calls == 3 + 6

    def test_while_they_are_away_nobody_more_is_asked_and_that_is_told(
        self, make_outbox, store, monkeypatch
    ):
        first = Scripted(batch_limit=1)
        outbox = make_outbox(first=first, is_gone=lambda _: True)
        faulty = Faulty(monkeypatch, store, times=99)
        message = send(outbox)
        assert (first.asked, faulty.calls) == ([[FIRST]], journal.WRITES)
        assert message.verdict is Verdict.PARTIAL
        told = [(r.receiver, r.state, r.provider_id) for r in message.receivers]
        assert told == [(FIRST, "sent", "p-1"), (SECOND, "rejected", None)]
        monkeypatch.undo()
        kept = outbox.get(message.message_id, EVERYBODY)
        assert kept.verdict is Verdict.UNKNOWN
        assert {each.state for each in kept.receivers} == {"unknown"}

    def test_what_cannot_be_read_again_is_told_all_the_same(
        self, make_outbox, store, monkeypatch
    ):
        def away(_message_id):
            raise StorageUnavailable from OSError("away")

        monkeypatch.setattr(store, "find", away)
        message = send(make_outbox(first=Scripted([AUTH, Accepted("p-1")])))
        assert (message.verdict, message.word) == (Verdict.PARTIAL, "partial")
        assert [each.state for each in message.receivers] == ["rejected", "sent"]
        assert [each["category"] for each in message.attempts] == ["auth"]

    def test_nothing_is_sent_that_cannot_be_kept(self, make_outbox, store, monkeypatch):
        first = Scripted()

        def away(*_arguments, **_options):
            raise StorageUnavailable from OSError("away")

        monkeypatch.setattr(store, "add", away)
        with pytest.raises(StorageUnavailable):
            send(make_outbox(first=first))
        assert first.asked == []


class Killed(BaseException):
    """What ends a worker where it is."""


class TestTheLost:
    def test_what_a_dead_worker_did_not_tell_is_unknown_and_not_sent_again(
        self, make_outbox, store
    ):
        first = Scripted(Accepted("p-1"), Killed(), batch_limit=1)
        outbox = make_outbox(first=first, second=Scripted(), is_gone=lambda _: True)
        with pytest.raises(Killed):
            send(outbox)
        [row] = store.unsent()
        message = outbox.get(row["message_id"], Viewer("ann"))
        assert (message.verdict, message.word) == (Verdict.UNKNOWN, "unknown")
        assert [each.state for each in message.receivers] == ["sent", "unknown"]
        assert outbox.get(row["message_id"], EVERYBODY) == message
        assert len(first.asked) == 2

    @pytest.mark.parametrize(
        ("case", "is_lost"),
        [
            ((SILENT_SECONDS - 60, None, False), False),
            ((SILENT_SECONDS + 60, None, False), True),
            ((SILENT_SECONDS + 60, "t-1", False), False),  # it waits for its turn
            ((SILENT_SECONDS + 60, "t-1", True), True),
        ],
    )
    def test_one_that_is_silent_for_long_is_lost_unless_it_waits(
        self, make_outbox, store, case, is_lost
    ):
        age, task_id, is_touched = case
        outbox = make_outbox(first=Scripted())
        letter = replace(outbox.check(wish()), created=time.time() - age)
        number = outbox.keep(letter, SENDER, task_id=task_id)
        if is_touched:
            at = letter.created + 1
            store.settle(number, [], provider="first", worker="1", at=at, is_next=True)
        outbox.settle_lost()
        message = outbox.get(letter.message_id, EVERYBODY)
        assert (message.finished is not None) is is_lost
        states = {each.state for each in message.receivers}
        assert states == {"unknown" if is_lost else "queued"}

    @pytest.mark.parametrize("is_swept", [False, True])
    @pytest.mark.parametrize(
        ("who", "host", "is_lost"),
        [
            (GONE, HOST, True),
            (str(Worker.current()), HOST, False),
            (GONE, "elsewhere", False),
        ],
        ids=["gone", "alive", "elsewhere"],
    )
    def test_only_a_worker_of_this_host_is_seen_to_be_gone(  # noqa: PLR0917
        self, make_app, postgres, who, host, is_lost, is_swept
    ):
        with postgres.new_schema() as url:
            app = make_app(DATABASE_URL=url, BELLHOP_HOST=HOST)
            services = app.extensions["bellhop"]
            outbox, database = services.outbox, services.database
            letter = outbox.check(wish())
            outbox.keep(letter, SENDER)
            with database.write() as connection:
                changed = sa.text("UPDATE messages SET worker = :worker, host = :host")
                connection.execute(changed, {"worker": who, "host": host})
            if is_swept:
                outbox.settle_lost()
            message = outbox.get(letter.message_id, EVERYBODY)
            assert message.word == ("unknown" if is_lost else "queued")
            database.close()


class TestForgetting:
    def test_of_old_contents_nothing_is_left_in_the_file(
        self, make_outbox, database, tmp_path
    ):
        words = f"cannot reach {FIRST}, +8613900000000 or whomever"
        says = [Rejected(Category.AUTH, "E", words)], Unknown(words)
        limits = SmsLimits(receiver=[(9, 0.001)], country=[(9, 0.001)])
        outbox = make_outbox(
            first=Scripted(*says), second=Scripted(), limits=limits, retention=(0, 3600)
        )
        messages = [send(outbox, FIRST), send(outbox, FIRST, SECOND)]
        marks = (FIRST[1:], SECOND[1:], "736251", "Your code", "whomever")
        assert all(mark.encode() in bytes_of(database, tmp_path) for mark in marks)
        wait_until(lambda: time.time() > messages[1].finished + 0.01)  # of the limits
        outbox.forget_old()
        assert not [m for m in marks if m.encode() in bytes_of(database, tmp_path)]

        kept = [outbox.get(each.message_id, EVERYBODY) for each in messages]
        digests = [r.receiver for each in kept for r in each.receivers]
        assert digests[0] == digests[1] != digests[2]
        assert all(each.startswith("hmac-sha256:") for each in digests)
        assert [each.verdict for each in kept] == [Verdict.SENT, Verdict.UNKNOWN]

    def test_after_that_nothing_is_known(self, make_outbox):
        outbox = make_outbox(first=Scripted(), retention=(0, 0))
        message = send(outbox)
        wait_until(lambda: time.time() > message.finished)
        outbox.forget_old()
        assert outbox.page(EVERYBODY, {}, before=None, limit=9) == []

    def test_what_still_counts_against_a_limit_counts_on(self, make_outbox, database):
        limits = SmsLimits(total=[(1, 3600.0)])
        outbox = make_outbox(first=Scripted(), limits=limits, retention=(0, 0))
        send(outbox, FIRST)
        outbox.forget_old()
        with pytest.raises(SmsLimitExceeded):
            send(outbox, FIRST)
        with database.read() as connection:
            assert connection.scalar(sa.select(message_usage.c.count)) == 1


def bytes_of(database, folder):
    """Return what the database's files have, without what is free in them."""
    database.close()
    path = folder / "bellhop.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return b"".join(each.read_bytes() for each in folder.glob("bellhop.db*"))
