"""Messages, what became of them and what they count, on both databases."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from app.errors import KeyInFlight, NotAuthenticated, SmsLimitExceeded
from app.storage.account_store import AccountStore
from app.storage.engine import Database
from app.storage.idempotency_store import IdempotencyStore
from app.storage.message_store import MessageStore, Quota, Sender, Settled, Use
from app.storage.ownership import Viewer
from app.storage.tables import (
    idempotency,
    message_events,
    message_receivers,
    message_usage,
    messages,
)
from tests.racing import race_threads
from tests.unit.storage.rows import NOW, account_row, message_row

FIRST, SECOND, THIRD = "+8613800000000", "+8613900000000", "+14155550100"
ALL = (messages, message_receivers, message_events, message_usage, idempotency)
EVERYBODY = Viewer(None, sees_all=True)

Row = Mapping[str, Any]


@pytest.fixture
def store(database: Database) -> MessageStore:
    return MessageStore(database)


@pytest.fixture
def elsewhere(other: Database) -> MessageStore:
    return MessageStore(other)


@pytest.fixture
def rows_left(database: Database) -> Callable[[], dict[str, int]]:
    """Return what counts the rows of every table that has to do with messages."""

    def count() -> dict[str, int]:
        with database.read() as connection:
            return {
                table.name: connection.execute(
                    sa.select(sa.func.count()).select_from(table)
                ).scalar_one()
                for table in ALL
            }

    return count


def add(
    store: MessageStore,
    receivers: Sequence[str] = (FIRST,),
    *,
    owner: str | None = "ann",
    account: int | None = None,
    request: str | None = None,
    limits: Mapping[str, Sequence[tuple[int, float]]] | None = None,
    used: int = 1,
    **changes: Any,
) -> Row:
    """Add a message that uses `used` of every subject in `limits`; return its row."""
    row = message_row(**changes)
    uses = [Use(subject, used) for subject in limits or {}]
    quotas = [
        Quota(subject, f"{most} of {subject}", most, seconds)
        for subject, pairs in (limits or {}).items()
        for most, seconds in pairs
    ]
    entry = Sender(owner, None, account, request)
    number = store.add(row, receivers, entry, uses=uses, quotas=quotas)
    return {**row, "number": number}


def keep_request(database: Database, digest: str = "a digest") -> IdempotencyStore:
    requests = IdempotencyStore(database)
    kept = {"digest": digest, "fingerprint": "asked", "worker": "w", "created": 5.0}
    assert requests.begin(kept, in_flight=lambda _: True) is None
    return requests


def settle(store: MessageStore, number: int, *settled: Settled) -> None:
    store.settle(
        number, settled, provider="huawei", worker="12", at=NOW + 2, is_next=True
    )


def finish(store: MessageStore, number: int, *settled: Settled, **how: Any) -> None:
    facts = {"verdict": "send", "attempts": "[]", "at": NOW + 3, "counts": True} | how
    store.finish(number, settled, **facts)


def tell(store: MessageStore, receiver: Row, **values: Any) -> bool:
    """Have a receipt change a receiver."""
    return store.change_receiver(
        receiver["number"],
        lambda _: values,
        at=NOW + 1,
        event="receipt",
        provider="aliyun",
        detail="D",
    )


def states(store: MessageStore, number: int) -> list[str]:
    return [row["state"] for row in store.receivers(number)]


class TestWhatIsKept:
    def test_every_worker_finds_it_as_added_with_its_receivers_queued(
        self, store: MessageStore, elsewhere: MessageStore
    ) -> None:
        row = add(store, (SECOND, FIRST), task_id="t-1", validity_seconds=60)
        nothing = dict.fromkeys(("finished", "verdict", "forgotten"))
        assert elsewhere.find(row["message_id"]) == {**row, "owner": "ann"} | nothing
        assert elsewhere.find_of_task("t-1") == row["message_id"]
        kept = elsewhere.receivers(row["number"])
        assert [each["receiver"] for each in kept] == [SECOND, FIRST]
        assert {(each["state"], each["changed"]) for each in kept} == {("queued", NOW)}
        assert elsewhere.events(row["number"]) == []
        assert [each["number"] for each in elsewhere.unsent()] == [row["number"]]

    def test_of_others_there_is_nothing(self, store: MessageStore) -> None:
        row = add(store)
        assert store.find("another") is None
        assert store.find_of_task("another") is None
        assert store.find_seen(row["message_id"], Viewer("bob")) is None
        assert store.find_seen(row["message_id"], Viewer(None)) is None
        assert store.find_seen(row["message_id"], EVERYBODY) is not None
        assert store.receivers(row["number"] + 1) == []

    def test_pages_are_of_what_one_may_see_the_newest_first(
        self, store: MessageStore
    ) -> None:
        mine = [add(store, template=f"t{n % 2}")["number"] for n in range(4)]
        nobodys = add(store, owner=None)["number"]

        def page(viewer: Viewer, *, before: int | None = None, **filters: Any) -> Any:
            found = store.page(viewer, filters, before=before, limit=3)
            return [row["number"] for row in found]

        assert page(Viewer("ann")) == mine[:0:-1]
        assert page(Viewer("ann"), before=mine[1]) == [mine[0]]
        assert page(Viewer("ann"), before=2**62) == mine[:0:-1], "beyond all numbers"
        assert page(Viewer(None)) == [nobodys]
        assert page(EVERYBODY) == [nobodys, mine[3], mine[2]]
        assert page(Viewer("ann"), template="t1") == [mine[3], mine[1]]

    def test_removed_it_leaves_nothing(
        self,
        store: MessageStore,
        database: Database,
        rows_left: Callable[[], dict[str, int]],
    ) -> None:
        keep_request(database)
        row = add(store, request="a digest", limits={"all": [(5, 60)]})
        settle(store, row["number"], Settled(0, "unknown", "aliyun"))
        assert 0 not in rows_left().values()
        store.remove(row["message_id"])
        assert set(rows_left().values()) == {0}

    def test_those_that_finished_before_a_moment_go_and_no_others(
        self, store: MessageStore, rows_left: Callable[[], dict[str, int]]
    ) -> None:
        old, new, _unsent = (add(store, limits={"all": [(5, 60)]}) for _ in range(3))
        finish(store, old["number"], at=NOW + 1)
        finish(store, new["number"], at=NOW + 2)
        store.remove_before(NOW + 2)
        assert store.find(old["message_id"]) is None
        left = rows_left()
        assert (left["messages"], left["message_receivers"]) == (2, 2)
        assert left["message_usage"] == 3, "what was sent still counts"


class TestWhoSends:
    def test_a_renamed_account_s_message_has_the_new_name(
        self, store: MessageStore, database: Database
    ) -> None:
        accounts = AccountStore(database)
        ann = accounts.add(account_row())
        accounts.update("ann", {"username": "anna"})
        row = add(store, account=ann["number"])
        assert store.find_seen(row["message_id"], Viewer("anna")) is not None

    def test_a_removed_account_sends_nothing(
        self, store: MessageStore, rows_left: Callable[[], dict[str, int]]
    ) -> None:
        with pytest.raises(NotAuthenticated):
            add(store, account=4711, limits={"all": [(5, 60)]})
        assert set(rows_left().values()) == {0}

    def test_a_request_sends_one_message_however_many_come_at_once(
        self, store: MessageStore, elsewhere: MessageStore, database: Database
    ) -> None:
        requests = keep_request(database)
        stores = store, elsewhere
        results = race_threads(8, lambda n: add(stores[n % 2], request="a digest"))
        sent = [each for each in results if isinstance(each, dict)]
        assert len(sent) == 1
        assert [type(e) for e in results].count(KeyInFlight) == 7
        kept = requests.find("a digest")
        assert kept is not None
        assert kept["task_id"] == sent[0]["message_id"]
        assert len(store.unsent()) == 1


class TestLimits:
    def test_of_many_at_two_databases_exactly_the_most_get_in(
        self,
        store: MessageStore,
        elsewhere: MessageStore,
        rows_left: Callable[[], dict[str, int]],
    ) -> None:
        stores = store, elsewhere
        limits = {"caller ann": [(5, 60.0)], "all": [(100, 60.0)]}
        results = race_threads(16, lambda n: add(stores[n % 2], limits=limits))
        refused = [each for each in results if isinstance(each, SmsLimitExceeded)]
        assert len(refused) == 11
        assert sum(isinstance(each, dict) for each in results) == 5
        left = rows_left()
        assert (left["messages"], left["message_usage"]) == (5, 10), "refused ones: 0"

    def test_it_may_be_filled_to_the_brim_and_tells_when_there_is_room(
        self, store: MessageStore
    ) -> None:
        limits = {"all": [(5, 60.0)]}
        add(store, limits=limits, used=2, created=NOW)
        add(store, limits=limits, used=3, created=NOW + 20.5)

        def wait(used: int, at: float) -> int:
            with pytest.raises(SmsLimitExceeded, match="5 of all") as refused:
                add(store, limits=limits, used=used, created=at)
            return refused.value.retry_after_seconds

        assert wait(2, NOW + 30) == 31
        assert wait(3, NOW + 30) == 51, "the first one's end is not enough"
        assert wait(6, NOW + 30) == 60, "nor is any"
        add(store, limits=limits, used=2, created=NOW + 30 + 31)
        assert wait(1, NOW + 61) == 20

    def test_all_of_a_subject_hold_and_another_subject_s_do_not(
        self, store: MessageStore
    ) -> None:
        both = [(1, 10.0), (2, 100.0)]
        add(store, limits={"a": both}, created=NOW)
        with pytest.raises(SmsLimitExceeded, match="1 of a"):
            add(store, limits={"a": both}, created=NOW + 5)
        add(store, limits={"a": both}, created=NOW + 11)
        with pytest.raises(SmsLimitExceeded, match="2 of a"):
            add(store, limits={"b": both, "a": both}, created=NOW + 22)
        add(store, limits={"b": both}, created=NOW + 22)

    def test_what_is_older_is_forgotten_and_counts_no_more(
        self, store: MessageStore
    ) -> None:
        add(store, limits={"all": [(1, 60.0)]}, created=NOW)
        store.remove_usage_before(NOW)
        with pytest.raises(SmsLimitExceeded):
            add(store, limits={"all": [(1, 60.0)]}, created=NOW + 1)
        store.remove_usage_before(NOW + 1)
        add(store, limits={"all": [(1, 60.0)]}, created=NOW + 1)

    @pytest.mark.parametrize("counts", [True, False])
    def test_only_what_counts_is_held_against_its_sender(
        self, store: MessageStore, database: Database, counts: bool
    ) -> None:
        requests = keep_request(database)
        limits = {"all": [(1, 60.0)]}
        row = add(store, request="a digest", limits=limits)
        finish(store, row["number"], counts=counts)
        assert (requests.find("a digest") is not None) is counts
        if counts:
            with pytest.raises(SmsLimitExceeded):
                add(store, limits=limits)
        else:
            add(store, limits=limits)


class TestSettling:
    def test_what_a_provider_said_is_kept_with_whom_is_asked_next(
        self, store: MessageStore
    ) -> None:
        row = add(store, (FIRST, SECOND, THIRD))
        settle(
            store,
            row["number"],
            Settled(0, "sent", "aliyun", provider_id="p-0", segments=2),
            Settled(
                2,
                "rejected",
                "aliyun",
                category="recipient",
                provider_code="E",
                provider_message="it said",
                per_number=True,
            ),
        )
        first, second, third = store.receivers(row["number"])
        assert (first["state"], first["provider"]) == ("sent", "aliyun")
        assert (first["provider_id"], first["segments"]) == ("p-0", 2)
        assert (second["state"], second["provider"]) == ("queued", None)
        assert (third["state"], third["category"]) == ("rejected", "recipient")
        assert (third["provider_code"], third["provider_message"]) == ("E", "it said")
        assert [each["per_number"] for each in (first, third)] == [False, True]
        assert [each["changed"] for each in (first, second)] == [NOW + 2, NOW]
        found = store.find(row["message_id"])
        assert found is not None
        assert (found["provider"], found["worker"]) == ("huawei", "12")
        assert (found["touched"], found["finished"]) == (NOW + 2, None)
        told = [
            (e["event"], e["provider"], e["state"], e["detail"])
            for e in store.events(row["number"])
        ]
        assert told == [
            ("answered", "aliyun", "sent", "1"),
            ("answered", "aliyun", "rejected", "1"),
            ("asked", "huawei", None, None),
        ]

    @pytest.mark.parametrize(
        "said",
        [
            Settled(0, "sent", "aliyun", provider_id="p-0", segments=1),
            Settled(0, "unknown", "aliyun", provider_message="timed out"),
            Settled(0, "rejected", "aliyun", category="auth", provider_code="E"),
        ],
        ids=lambda said: said.state,
    )
    def test_it_never_overwrites_what_a_receipt_told(
        self, store: MessageStore, said: Settled
    ) -> None:
        row = add(store)
        facts = {"state": "delivered", "provider_id": "p-9", "segments": 3}
        told = facts | {"provider_code": "D", "parts": '{"1": "delivered"}'}
        [receiver] = store.receivers(row["number"])
        assert tell(store, receiver, **told)
        finish(store, row["number"], said)
        [after] = store.receivers(row["number"])
        assert {name: after[name] for name in told} == told
        assert (after["provider"], after["changed"]) == ("aliyun", NOW + 1)
        assert (after["category"], after["provider_message"]) == (None, None)

    def test_it_adds_what_the_receipt_did_not_tell(self, store: MessageStore) -> None:
        row = add(store)
        [receiver] = store.receivers(row["number"])
        tell(store, receiver, state="delivered")
        settle(store, row["number"], Settled(0, "sent", "aliyun", "p-0", 2))
        [after] = store.receivers(row["number"])
        assert (after["state"], after["provider_id"]) == ("delivered", "p-0")
        assert after["segments"] == 2

    def test_a_finished_one_is_not_unsent(self, store: MessageStore) -> None:
        row = add(store)
        said = Settled(0, "rejected", "aliyun")
        finish(store, row["number"], said, verdict="rejected", attempts='[{"a": 1}]')
        assert store.unsent() == []
        found = store.find(row["message_id"])
        assert found is not None
        assert (found["finished"], found["verdict"]) == (NOW + 3, "rejected")
        assert found["attempts"] == '[{"a": 1}]'

    def test_ten_thousand_receivers_are_stored_limited_and_settled(
        self, store: MessageStore
    ) -> None:
        receivers = [f"+861380000{n:04}" for n in range(10_000)]
        limits = {f"receiver {each}": [(2, 60.0)] for each in receivers}
        row = add(store, receivers, limits=limits)
        said = [Settled(n, "sent", "aliyun", f"p-{n}", 1) for n in range(10_000)]
        finish(store, row["number"], *said)
        kept = store.receivers(row["number"])
        assert [each["receiver"] for each in kept] == receivers
        assert [each["provider_id"] for each in kept] == [s.provider_id for s in said]
        assert {each["state"] for each in kept} == {"sent"}
        add(store, receivers[:1], limits={f"receiver {FIRST}": [(2, 60.0)]})
        with pytest.raises(SmsLimitExceeded, match=r"2 of receiver \+8613800000000"):
            add(store, receivers, limits=limits)


class TestTheLost:
    def test_only_what_is_queued_becomes_unknown(self, store: MessageStore) -> None:
        row = add(store, (FIRST, SECOND, THIRD))
        rejected = Settled(1, "rejected", "aliyun", provider_code="E")
        settle(store, row["number"], Settled(0, "sent", "aliyun", "p-0"), rejected)
        before = store.receivers(row["number"])
        store.lose(row["number"], at=NOW + 9)
        after = store.receivers(row["number"])
        assert after[:2] == before[:2]
        assert (after[2]["state"], after[2]["changed"]) == ("unknown", NOW + 9)
        found = store.find(row["message_id"])
        assert found is not None
        assert (found["finished"], found["verdict"]) == (NOW + 9, "unknown")

    def test_what_has_finished_is_not_lost(self, store: MessageStore) -> None:
        row = add(store)
        finish(store, row["number"])
        before = store.find(row["message_id"])
        store.lose(row["number"], at=NOW + 9)
        assert store.find(row["message_id"]) == before
        assert states(store, row["number"]) == ["queued"]

    def test_it_is_lost_once_however_many_see_it(
        self, store: MessageStore, elsewhere: MessageStore
    ) -> None:
        row, stores = add(store), (store, elsewhere)
        results = race_threads(
            8, lambda n: stores[n % 2].lose(row["number"], at=NOW + n)
        )
        assert results == [None] * 8
        told = [event["event"] for event in store.events(row["number"])]
        assert told == ["lost"]

    def test_its_worker_s_late_words_do_not_make_it_known(
        self, store: MessageStore
    ) -> None:
        row = add(store)
        store.lose(row["number"], at=NOW + 1)
        settle(store, row["number"], Settled(0, "sent", "aliyun", "p-0"))
        [after] = store.receivers(row["number"])
        assert (after["state"], after["provider_id"]) == ("unknown", "p-0")


class TestReceipts:
    def test_what_one_tells_is_an_event_and_what_tells_nothing_is_none(
        self, store: MessageStore
    ) -> None:
        row = add(store, (FIRST, SECOND))
        [_, receiver] = store.receivers(row["number"])
        assert tell(store, receiver, state="delivered")
        how: Any = {"at": NOW, "event": "receipt", "provider": "x", "detail": ""}
        assert not store.change_receiver(receiver["number"], lambda _: None, **how)
        assert not store.change_receiver(
            receiver["number"] + 1, lambda _: {"state": "lost"}, **how
        )
        assert states(store, row["number"]) == ["queued", "delivered"]
        [event] = store.events(row["number"])
        assert (event["event"], event["provider"]) == ("receipt", "aliyun")
        assert (event["position"], event["state"]) == (1, "delivered")
        assert (event["at"], event["detail"]) == (NOW + 1, "D")

    def test_none_is_lost_of_many_that_come_at_once(
        self, store: MessageStore, elsewhere: MessageStore
    ) -> None:
        row, stores = add(store), (store, elsewhere)
        [receiver] = store.receivers(row["number"])

        def take(part: int) -> bool:
            return stores[part % 2].change_receiver(
                receiver["number"],
                lambda now: {
                    "parts": json.dumps([*json.loads(now["parts"] or "[]"), part])
                },
                at=NOW,
                event="receipt",
                provider="aliyun",
                detail="",
            )

        assert race_threads(12, take) == [True] * 12
        [after] = store.receivers(row["number"])
        assert sorted(json.loads(after["parts"])) == list(range(12))

    @pytest.mark.parametrize(
        ("named", "found"),
        [
            ({"message_id": "m-1"}, {("m-1", FIRST), ("m-1", SECOND)}),
            ({"message_id": "m-2", "provider_id": "p-1"}, {("m-2", THIRD)}),
            ({"message_id": "none", "provider_id": "p-1"}, set()),
            ({"provider_id": "p-2"}, {("m-2", THIRD)}),
            ({"provider_id": "none"}, {("m-1", SECOND), ("m-4", FIRST)}),
            ({}, {("m-1", SECOND), ("m-4", FIRST)}),
        ],
    )
    def test_whom_it_may_mean_its_ids_tell_or_else_who_has_none(
        self,
        store: MessageStore,
        named: dict[str, str],
        found: set[tuple[str, str]],
    ) -> None:
        one = add(store, (FIRST, SECOND), message_id="m-1")
        settle_by: Any = {"provider": "aliyun", "worker": "4711", "at": NOW}
        settle_by["is_next"] = False
        said: Any = [Settled(0, "sent", "aliyun", "p-1")]
        said.append(Settled(1, "unknown", "aliyun"))
        store.settle(one["number"], said, **settle_by)
        two = add(store, (THIRD,), message_id="m-2")
        store.settle(two["number"], [Settled(0, "sent", "aliyun", "p-2")], **settle_by)
        old = add(store, (FIRST,), message_id="m-3", created=NOW - 100)
        add(store, (FIRST,), message_id="m-4")
        add(store, (FIRST,), message_id="m-5", provider="huawei")
        refused = add(store, (FIRST,), message_id="m-6")
        store.settle(refused["number"], [Settled(0, "rejected", "aliyun")], **settle_by)

        names = {"message_id": None, "provider_id": None} | named
        rows = store.candidates("aliyun", **names, since=NOW - 50)
        assert {(row["message_id"], row["receiver"]) for row in rows} == found
        assert old["message_id"] not in {row["message_id"] for row in rows}

    def test_another_provider_s_id_means_nobody(self, store: MessageStore) -> None:
        row = add(store)
        settle(store, row["number"], Settled(0, "sent", "aliyun", "p-1"))
        assert (
            store.candidates("huawei", message_id=None, provider_id="p-1", since=0)
            == []
        )


class TestForgetting:
    def digest(self, text: str) -> str:
        return f"digest {len(text)} {sum(text.encode())}"

    def test_old_contents_give_way_to_digests_which_are_alike_for_one_number(
        self, store: MessageStore
    ) -> None:
        old = [add(store, (FIRST, SECOND)), add(store, (FIRST,))]
        for each in old:
            said = Settled(0, "rejected", "a", provider_message=f"no {FIRST}")
            finish(store, each["number"], said, attempts=f'["{FIRST}"]')
        assert store.forget_contents(NOW + 4, self.digest, limit=5, at=NOW + 5) == 2

        numbers = [each["number"] for each in old]
        kept = [each for number in numbers for each in store.receivers(number)]
        first, second = self.digest(FIRST), self.digest(SECOND)
        assert [each["receiver"] for each in kept] == [first, second, first]
        assert {each["provider_message"] for each in kept} == {None}
        assert {each["state"] for each in kept} == {"rejected", "queued"}
        for each in old:
            found = store.find(each["message_id"])
            assert found is not None
            assert found["text"] == self.digest(each["text"])
            assert found["params"] == self.digest(each["params"])
            assert (found["attempts"], found["forgotten"]) == ("[]", NOW + 5)

    def test_each_once_and_none_that_is_new_or_not_finished(
        self, store: MessageStore
    ) -> None:
        old, new, unsent = (add(store) for _ in range(3))
        finish(store, old["number"], at=NOW + 1)
        finish(store, new["number"], at=NOW + 2)

        def forget() -> int:
            return store.forget_contents(NOW + 2, self.digest, limit=1, at=NOW + 5)

        assert [forget(), forget()] == [1, 0]
        for row in (new, unsent):
            assert store.receivers(row["number"])[0]["receiver"] == FIRST
            found = store.find(row["message_id"])
            assert found is not None
            assert found["text"] == row["text"]
