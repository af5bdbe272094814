"""The records of tasks, on SQLite and on PostgreSQL alike."""

from typing import Any

import pytest
import sqlalchemy as sa

from app.errors import CapacityExceeded, NotAuthenticated, SlotBusy, UuidRefused
from app.storage import task_store
from app.storage.account_store import AccountStore
from app.storage.engine import Database
from app.storage.ownership import Viewer
from app.storage.tables import used_uuids
from app.storage.task_store import USED_SECONDS, Admission, Room, TaskStore
from tests.racing import race_threads
from tests.unit.storage.rows import account_row, task_row

MANY = 1000
EVERYTHING = Viewer(owner=None, sees_all=True)


def add(
    store: TaskStore,
    *,
    max_unfinished: int = MANY,
    max_of_command: int | None = None,
    account: int | None = None,
    uuid: str | None = None,
    **changes: Any,
) -> str:
    row = task_row(**changes) | {"max_running": max_of_command}
    store.add(row, Admission(Room(max_unfinished), account=account, uuid=uuid))
    return row["task_id"]


def add_finished(store: TaskStore, finished: float, **changes: Any) -> str:
    task_id = add(store, **changes)
    assert store.finish(task_id, state="SUCCESS", finished=finished)
    return task_id


def expired(store: TaskStore, **changes: Any) -> set[str]:
    limits = {"finished_before": 0.0, "keep": MANY, "limit": MANY} | changes
    return set(store.expired("pelican", **limits))


def test_a_task_is_found_as_it_was_added(store: TaskStore) -> None:
    row = task_row(cmd="echo '中文' \U0001f6ce\n%s :x ?", created=1700000000.123456)
    store.add(row, Admission(Room(1)))

    found = store.find(row["task_id"])

    assert found is not None
    assert {name: found[name] for name in row} == row
    unset = set(found) - set(row) - {"number", "is_queued", "turn"}
    unset -= {"detached", "waits_for_host"}
    assert {found[name] for name in unset} == {None}


def test_an_unknown_task_is_not_found(store: TaskStore) -> None:
    add(store)
    assert store.find("another") is None
    assert store.find_newest("another") is None


def test_a_slot_holds_one_unfinished_task_and_names_it(store: TaskStore) -> None:
    first = add(store, slot="bob")

    with pytest.raises(SlotBusy) as busy:
        add(store, slot="bob")

    assert busy.value.task_id == first
    assert len(store.unfinished("pelican")) == 1, "nothing was added"


def test_a_slot_is_free_again_when_its_task_has_finished(store: TaskStore) -> None:
    add_finished(store, 1.0, slot="bob")
    second = add(store, slot="bob")
    newest = store.find_newest("bob")
    assert newest is not None
    assert newest["task_id"] == second


def test_a_slot_is_one_on_all_hosts(store: TaskStore) -> None:
    first = add(store, slot="bob", host="pelican")
    with pytest.raises(SlotBusy) as busy:
        add(store, slot="bob", host="heron")
    assert busy.value.task_id == first


def test_tasks_without_a_slot_do_not_keep_each_other_out(store: TaskStore) -> None:
    add(store, slot=None)
    add(store, slot=None)
    assert len(store.unfinished("pelican")) == 2


def test_of_many_that_want_a_slot_at_once_one_gets_it(
    database: Database, other: Database
) -> None:
    stores = TaskStore(database), TaskStore(other)
    for slot in ("bob", "alice", "carol"):
        results = race_threads(8, lambda n, s=slot: add(stores[n % 2], slot=s))
        (winner,) = [result for result in results if isinstance(result, str)]
        losers = [result for result in results if result != winner]
        assert [type(loser) for loser in losers] == [SlotBusy] * 7
        assert {loser.task_id for loser in losers} == {winner}


def test_of_many_hosts_that_want_a_slot_at_once_one_gets_it(
    database: Database, other: Database
) -> None:
    stores = TaskStore(database), TaskStore(other)
    for slot in ("bob", "alice", "carol"):

        def take(number: int, slot: str = slot) -> str:
            return add(stores[number % 2], slot=slot, host=f"host {number}")

        results = race_threads(8, take)
        losers = [result for result in results if not isinstance(result, str)]
        assert [type(loser) for loser in losers] == [SlotBusy] * 7, results


def test_a_host_takes_no_more_than_its_most(store: TaskStore) -> None:
    first = add(store, max_unfinished=2)
    add(store, max_unfinished=2)

    with pytest.raises(CapacityExceeded) as full:
        add(store, max_unfinished=2)

    assert full.value.retry_after_seconds == 1
    add(store, max_unfinished=2, host="heron")  # another host has room of its own
    store.finish(first, state="SUCCESS", finished=1.0)
    add(store, max_unfinished=2)


def test_of_many_that_come_at_once_no_more_are_admitted_than_may(
    database: Database, other: Database
) -> None:
    stores = TaskStore(database), TaskStore(other)

    results = race_threads(16, lambda n: add(stores[n % 2], max_unfinished=5))

    admitted = [result for result in results if isinstance(result, str)]
    refused = [type(result) for result in results if not isinstance(result, str)]
    assert len(admitted) == 5
    assert refused == [CapacityExceeded] * 11
    rows = stores[0].unfinished("pelican")
    assert {row["task_id"] for row in rows} == set(admitted)


def test_a_busy_slot_is_told_before_a_full_host(store: TaskStore) -> None:
    add(store, slot="bob", max_unfinished=1)
    with pytest.raises(SlotBusy):
        add(store, slot="bob", max_unfinished=1)


def test_the_newest_task_of_a_slot_is_the_one_added_last(store: TaskStore) -> None:
    add_finished(store, 50.0, slot="bob", created=100.0)
    last = add_finished(store, 20.0, slot="bob", created=10.0)
    add(store, slot="alice")
    newest = store.find_newest("bob")
    assert newest is not None
    assert newest["task_id"] == last, "whatever the clocks say"


def test_a_start_is_written_until_the_task_has_finished(store: TaskStore) -> None:
    task_id = add(store)
    store.start(task_id, state="STARTED", started=5.0)
    assert store.find(task_id)["started"] == 5.0
    store.finish(task_id, state="LOST", finished=6.0)

    store.start(task_id, state="STARTED", started=7.0)

    row = store.find(task_id)
    assert (row["state"], row["started"]) == ("LOST", 5.0)


def test_the_first_end_of_a_task_holds(store: TaskStore) -> None:
    task_id = add(store)
    facts = {
        "returncode": -9,
        "signal": "SIGKILL",
        "leftovers": True,
        "cpu_seconds": 0.25,
        "max_rss_bytes": 2**40,
        "end_offset": 2**41,
        "dropped_bytes": 2**42,
    }
    assert store.finish(task_id, state="FAILURE", finished=6.5, **facts)

    assert not store.finish(task_id, state="SUCCESS", finished=7.0, returncode=0)

    row = store.find(task_id)
    assert {name: row[name] for name in facts} == facts
    assert (row["state"], row["finished"]) == ("FAILURE", 6.5)


def test_the_end_of_an_unknown_task_is_not_written(store: TaskStore) -> None:
    assert not store.finish("another", state="SUCCESS", finished=1.0)


def test_of_many_ends_at_once_one_is_written(
    database: Database, other: Database
) -> None:
    stores = TaskStore(database), TaskStore(other)
    task_id = add(stores[0])

    def end(number: int) -> bool:
        return stores[number % 2].finish(
            task_id, state="SUCCESS", finished=1.0, returncode=number
        )

    results = race_threads(8, end)

    assert sorted(results) == [False] * 7 + [True]
    assert stores[0].find(task_id)["returncode"] == results.index(True)


def test_output_is_taken_once_from_where_it_was_seen(store: TaskStore) -> None:
    task_id = add(store)
    step = {"task_id": task_id, "is_end": False}

    assert store.take_output(from_offset=0, to_offset=10, **step)
    assert not store.take_output(from_offset=0, to_offset=10, **step)
    assert not store.take_output(from_offset=5, to_offset=15, **step)
    assert store.take_output(from_offset=10, to_offset=2**41, **step)

    row = store.find(task_id)
    assert (row["polled_offset"], row["polled_end"]) == (2**41, False)


def test_nothing_is_taken_after_the_end_was(store: TaskStore) -> None:
    task_id = add(store)
    assert store.take_output(task_id, from_offset=0, to_offset=0, is_end=True)
    assert not store.take_output(task_id, from_offset=0, to_offset=0, is_end=True)
    assert store.find(task_id)["polled_end"] is True


def test_of_many_polls_at_once_one_takes_the_output(
    database: Database, other: Database
) -> None:
    stores = TaskStore(database), TaskStore(other)
    task_id = add(stores[0])

    def take(number: int) -> bool:
        return stores[number % 2].take_output(
            task_id, from_offset=0, to_offset=number + 1, is_end=False
        )

    results = race_threads(8, take)

    assert sorted(results) == [False] * 7 + [True]
    assert stores[0].find(task_id)["polled_offset"] == results.index(True) + 1


def test_the_unfinished_tasks_are_those_of_the_host(store: TaskStore) -> None:
    mine = {add(store), add(store)}
    add_finished(store, 1.0)
    assert {row["task_id"] for row in store.unfinished("pelican")} == mine


def test_another_host_s_tasks_are_its_own_but_in_a_file_all_are_this_host_s(
    store: TaskStore,
) -> None:
    unfinished, finished = (
        add(store, host="heron"),
        add_finished(store, 1.0, host="heron"),
    )
    found = {row["task_id"] for row in store.unfinished("pelican")}
    found |= expired(store, finished_before=20.0)
    is_file = store._database.is_sqlite
    assert found == ({unfinished, finished} if is_file else set())


def test_those_that_run_and_wait_are_counted_by_kind(store: TaskStore) -> None:
    for _ in range(3):
        store.add(task_row(), Admission(Room(1, max_queued=2)))
    add(store, kind="iostat")
    add(store, host="heron")
    add_finished(store, 1.0, kind="iostat")
    running, waiting = False, True
    assert store.counts("pelican") == {
        ("exec", running): 1,
        ("exec", waiting): 2,
        ("iostat", running): 1,
    }
    assert store.counts("stork") == {}


def test_counting_looks_at_no_task_that_has_finished(
    database: Database, store: TaskStore
) -> None:
    asked: list[Any] = []

    def note(_connection: Any, _cursor: Any, *statement: Any) -> None:
        asked.append(statement[:2])

    sa.event.listen(database._engine, "before_cursor_execute", note)
    store.counts("pelican")
    [(query, values)] = [each for each in asked if "GROUP BY" in each[0]]
    with database.read() as connection:
        if database.is_sqlite:
            explain = "EXPLAIN QUERY PLAN "
        else:  # which scans a table that is empty
            explain = "EXPLAIN "
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        plan = str(connection.exec_driver_sql(explain + query, values).all())
    assert "tasks_unfinished" in plan
    assert "SCAN" not in plan


def test_tasks_expire_by_the_age_of_their_end(store: TaskStore) -> None:
    old = add_finished(store, 10.0, created=5.0)
    add_finished(store, 20.0, created=5.0)
    add(store, created=5.0)
    assert expired(store, finished_before=20.0) == {old}


def test_tasks_expire_by_count_the_oldest_ends_first(store: TaskStore) -> None:
    ends = {finished: add_finished(store, finished) for finished in (3.0, 1.0, 2.0)}
    add(store)
    assert expired(store, keep=3) == set()
    assert expired(store, keep=1) == {ends[1.0], ends[2.0]}
    assert expired(store, keep=0) == set(ends.values())


def test_tasks_that_ended_at_the_same_moment_are_counted_one_by_one(
    store: TaskStore,
) -> None:
    first, second, third = (add_finished(store, 7.0) for _ in range(3))
    assert expired(store, keep=2) == {first}
    assert expired(store, keep=1) == {first, second}
    assert expired(store, keep=0) == {first, second, third}


def test_no_more_expired_tasks_are_given_than_asked_for(store: TaskStore) -> None:
    for finished in range(5):
        add_finished(store, float(finished))
    assert len(store.expired("pelican", finished_before=9.0, keep=0, limit=2)) == 2


def test_removed_tasks_are_not_known_any_more(store: TaskStore) -> None:
    first, second, third = add(store), add(store), add(store)

    store.remove([first, "another", third])

    assert store.known([first, second, third, "another"]) == {second}
    assert store.find(first) is None
    assert store.find(second) is not None


def test_nothing_is_removed_or_known_where_nothing_is_named(store: TaskStore) -> None:
    task_id = add(store)
    store.remove([])
    assert store.known([]) == set()
    assert store.known([task_id]) == {task_id}


def test_a_number_is_not_given_to_a_newer_task_before_an_older_one(
    store: TaskStore, database: Database
) -> None:
    task_ids = [add(store) for _ in range(3)]
    with database.read() as connection:
        query = sa.text("SELECT task_id FROM tasks ORDER BY number")
        assert connection.scalars(query).all() == task_ids


def page(
    store: TaskStore,
    viewer: Viewer,
    *,
    before: int | None = None,
    limit: int = MANY,
    **filters: Any,
) -> list[str]:
    rows = store.page(viewer, filters, before=before, limit=limit)
    return [row["task_id"] for row in rows]


def count(store: TaskStore) -> int:
    return len(page(store, Viewer(None, sees_all=True)))


class TestOfAnAccount:
    @pytest.fixture
    def accounts(self, other: Database) -> AccountStore:
        return AccountStore(other)

    def test_a_task_is_the_account_s_by_the_name_that_it_has_now(
        self, store: TaskStore, accounts: AccountStore
    ) -> None:
        number = accounts.add(account_row("ann"))["number"]
        before = add(store, owner="ann", account=number)
        accounts.update("ann", {"username": "anna"})
        accounts.add(account_row("ann"))
        after = add(store, owner="ann", account=number)
        assert page(store, Viewer("anna")) == [after, before]
        assert page(store, Viewer("ann")) == []

    def test_nothing_is_started_by_an_account_that_was_removed(
        self, store: TaskStore, accounts: AccountStore
    ) -> None:
        number = accounts.add(account_row("ann"))["number"]
        accounts.remove("ann")
        accounts.add(account_row("ann"))
        with pytest.raises(NotAuthenticated) as raised:
            add(store, owner="ann", account=number, uuid="abc")
        assert type(raised.value) is NotAuthenticated
        assert count(store) == 0
        assert not store.is_used("abc")

    def test_that_is_told_before_all_else(
        self, store: TaskStore, accounts: AccountStore
    ) -> None:
        number = accounts.add(account_row("ann"))["number"]
        add(store, slot="ann's", account=number, uuid="abc")
        accounts.remove("ann")
        for given in (
            {"slot": "ann's"},
            {"max_unfinished": 1},
            {"max_of_command": 0, "command": "backup"},
            {"uuid": "abc"},
        ):
            with pytest.raises(NotAuthenticated) as raised:
                add(store, account=number, **given)
            assert type(raised.value) is NotAuthenticated

    def test_the_owner_is_as_given_where_there_is_no_account(
        self, store: TaskStore, accounts: AccountStore
    ) -> None:
        accounts.add(account_row("ann"))
        task_id = add(store, owner="ann")
        assert store.find(task_id)["owner"] == "ann"
        assert store.find(add(store, owner=None))["owner"] is None


class TestOfASignedUuid:
    def test_it_starts_one_task(self, store: TaskStore, other: Database) -> None:
        assert not store.is_used("abc")
        add_finished(store, 1.0, uuid="abc")
        for each in (store, TaskStore(other)):
            assert each.is_used("abc")
            assert not each.is_used("ab")
            with pytest.raises(UuidRefused):
                add(each, uuid="abc")
        add(store, uuid="another")
        assert count(store) == 2

    def test_it_is_used_although_its_task_was_removed(self, store: TaskStore) -> None:
        store.remove([add_finished(store, 1.0, uuid="abc")])
        with pytest.raises(UuidRefused):
            add(store, uuid="abc")

    def test_that_it_was_used_is_told_before_that_the_slot_is_busy_or_the_host_full(
        self, store: TaskStore
    ) -> None:
        add(store, slot="bob", uuid="abc")
        for given in (
            {"slot": "bob"},
            {"max_unfinished": 1},
            {"max_of_command": 0, "command": "backup"},
        ):
            with pytest.raises(UuidRefused):
                add(store, uuid="abc", **given)

    def test_a_start_that_is_refused_uses_nothing_up(self, store: TaskStore) -> None:
        first = add(store, slot="bob", command="backup")
        for error, given in (
            (SlotBusy, {"slot": "bob"}),
            (CapacityExceeded, {"max_unfinished": 1}),
            (CapacityExceeded, {"max_of_command": 1, "command": "backup"}),
            (NotAuthenticated, {"account": 4711}),
        ):
            with pytest.raises(error):
                add(store, uuid="abc", **given)
            assert not store.is_used("abc")
        store.finish(first, state="SUCCESS", finished=1.0)
        add(store, slot="bob", uuid="abc")

    def test_of_many_that_use_it_at_once_one_starts(
        self, database: Database, other: Database
    ) -> None:
        stores = TaskStore(database), TaskStore(other)
        for uuid in ("a", "b", "c"):

            def use(number: int, uuid: str = uuid) -> str:
                return add(stores[number % 2], slot="account:1", uuid=uuid)

            results = race_threads(8, use)
            (started,) = [each for each in results if isinstance(each, str)]
            losers = {type(each) for each in results if each != started}
            assert losers == {UuidRefused}, "all of them: it was used up"
            stores[0].finish(started, state="SUCCESS", finished=1.0)

    def test_also_on_many_hosts(self, database: Database, other: Database) -> None:
        stores = TaskStore(database), TaskStore(other)
        for uuid in ("a", "b", "c"):

            def use(number: int, uuid: str = uuid) -> str:
                return add(stores[number % 2], uuid=uuid, host=f"host {number}")

            results = race_threads(8, use)
            losers = [each for each in results if not isinstance(each, str)]
            assert [type(each) for each in losers] == [UuidRefused] * 7, results

    def test_what_is_no_longer_fresh_anywhere_is_forgotten_and_nothing_sooner(
        self, store: TaskStore, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = 1_800_000_000.0

        class Clock:
            def time(self) -> float:
                return now

        monkeypatch.setattr(task_store, "time", Clock())
        add(store, uuid="old", created=now)
        now += USED_SECONDS
        add(store, uuid="newer", created=now)
        assert store.is_used("old")
        now += 1
        add(store, created=now)
        assert store.is_used("old"), "others leave it as it is"
        add(store, uuid="newest", created=now)
        with database.read() as connection:
            left = connection.scalars(sa.select(used_uuids.c.digest)).all()
        assert sorted(left) == ["newer", "newest"]

    def test_it_is_known_for_longer_than_any_is_fresh(self) -> None:
        longest_age, ahead = 86400, 30  # of EXEC_TOKEN_SECONDS, and of a clock
        assert longest_age + ahead < USED_SECONDS


class TestOfOneCommand:
    def test_a_host_runs_no_more_of_it_than_may(self, store: TaskStore) -> None:
        of_backup = {"command": "backup", "max_of_command": 2}
        first = add(store, **of_backup)
        add(store, **of_backup)
        with pytest.raises(CapacityExceeded) as full:
            add(store, **of_backup)
        assert full.value.retry_after_seconds == 1
        add(store, command="restore", max_of_command=1)
        add(store, command="backup")  # another caller's catalogue may say nothing
        add(store, host="heron", **of_backup)
        store.finish(first, state="SUCCESS", finished=1.0)
        with pytest.raises(CapacityExceeded):
            add(store, **of_backup)

    def test_the_host_s_own_bound_holds_as_well(self, store: TaskStore) -> None:
        add(store, command="restore")
        with pytest.raises(CapacityExceeded):
            add(store, command="backup", max_of_command=5, max_unfinished=1)

    def test_of_many_that_come_at_once_no_more_are_admitted_than_may(
        self, database: Database, other: Database
    ) -> None:
        stores = TaskStore(database), TaskStore(other)

        def start(number: int) -> str:
            return add(stores[number % 2], command="backup", max_of_command=3)

        results = race_threads(12, start)
        assert sum(isinstance(each, str) for each in results) == 3
        assert [type(each) for each in results].count(CapacityExceeded) == 9

    def test_kinds_have_bounds_of_their_own(self, store: TaskStore) -> None:
        add(store, max_unfinished=1)
        add(store, kind="iostat", max_unfinished=1)
        with pytest.raises(CapacityExceeded):
            add(store, kind="iostat", max_unfinished=1)


class TestWhoSees:
    VIEWERS = (
        (Viewer("ann"), {"ann"}),
        (Viewer("bob"), {"bob"}),
        (Viewer("Ann"), set()),
        (Viewer(""), set()),
        (Viewer(None), {None}),
        (Viewer("None"), set()),
        (Viewer("carol"), set()),
        (Viewer("ann", sees_all=True), {"ann", "bob", None}),
        (Viewer(None, sees_all=True), {"ann", "bob", None}),
    )

    @pytest.mark.parametrize(("viewer", "owners"), VIEWERS)
    def test_a_task_is_seen_by_its_owner_and_by_who_sees_all(
        self, store: TaskStore, viewer: Viewer, owners: set[str | None]
    ) -> None:
        tasks = {owner: add(store, owner=owner) for owner in ("ann", "bob", None)}
        seen = {
            owner
            for owner, task_id in tasks.items()
            if store.find_seen(task_id, viewer) is not None
        }
        assert seen == owners
        assert set(page(store, viewer)) == {tasks[owner] for owner in owners}
        assert store.find_seen("another", viewer) is None

    def test_what_is_seen_is_the_whole_row(self, store: TaskStore) -> None:
        task_id = add(store, owner="ann", command="backup")
        row = store.find(task_id)
        assert store.find_seen(task_id, Viewer("ann")) == row
        assert store.page(Viewer("ann"), {}, before=None, limit=1) == [row]
        assert row["command"] == "backup"


class TestPages:
    ANN = Viewer("ann")
    ALL = Viewer(None, sees_all=True)

    def test_follow_each_other_the_newest_first(self, store: TaskStore) -> None:
        made = []
        for number in range(5):  # whatever the clocks say
            made.append(add(store, owner="ann", created=100.0 - number))
            add(store, owner="bob")
        pages, before = [], None
        while rows := store.page(self.ANN, {}, before=before, limit=2):
            pages.append([row["task_id"] for row in rows])
            before = rows[-1]["number"]
        assert pages == [made[:2:-1], made[2:0:-1], made[:1]]

    def test_go_on_where_they_were_although_tasks_come_and_go(
        self, store: TaskStore
    ) -> None:
        made = [add(store, owner="ann") for _ in range(4)]
        rows = store.page(self.ANN, {}, before=None, limit=2)
        store.remove([made[1], rows[-1]["task_id"]])
        add(store, owner="ann")
        assert page(store, self.ANN, before=rows[-1]["number"]) == [made[0]]

    @pytest.mark.parametrize("before", [2**31, 2**62 - 1])
    def test_may_begin_beyond_all_numbers(self, store: TaskStore, before: int) -> None:
        task_id = add(store, owner="ann")
        assert page(store, self.ANN, before=before) == [task_id]
        assert page(store, self.ANN, before=0) == []

    def test_are_filtered_by_what_tasks_are(self, store: TaskStore) -> None:
        queued = add(store, owner="ann")
        ended = add_finished(store, 1.0, owner="ann")
        report = add(store, owner="ann", kind="iostat")
        of_bob = add(store, owner="bob")
        for viewer, filters, found in (
            (self.ANN, {}, [report, ended, queued]),
            (self.ANN, {"state": "QUEUED"}, [report, queued]),
            (self.ANN, {"state": "QUEUED", "kind": "exec"}, [queued]),
            (self.ANN, {"state": "LOST"}, []),
            (self.ANN, {"owner": "ann", "kind": "iostat"}, [report]),
            (self.ALL, {"owner": "bob"}, [of_bob]),
            (self.ALL, {"state": "SUCCESS"}, [ended]),
            (self.ALL, {"owner": "' OR 1=1 --"}, []),
        ):
            assert page(store, viewer, **filters) == found, filters

    def test_a_filter_shows_nobody_what_is_another_s(self, store: TaskStore) -> None:
        add(store, owner="bob")
        add(store, owner=None)
        for owner in ("bob", None, "ann"):
            assert page(store, self.ANN, owner=owner) == []

    def test_filters_hold_on_every_page(self, store: TaskStore) -> None:
        made = []
        for _ in range(4):
            made.append(add(store, owner="ann", kind="iostat"))
            add(store, owner="ann")
        rows = store.page(self.ANN, {"kind": "iostat"}, before=None, limit=2)
        assert [row["task_id"] for row in rows] == made[:1:-1]
        rest = page(store, self.ANN, before=rows[-1]["number"], kind="iostat")
        assert rest == made[1::-1]


def newest(store: TaskStore, viewer: Viewer, *, among: int = MANY) -> dict[str, str]:
    rows = store.newest_of_commands(viewer, among=among)
    return {row["command"]: row["task_id"] for row in rows}


def test_of_each_command_the_newest_task_that_has_ended_is_found(
    store: TaskStore,
) -> None:
    add_finished(store, 9.0, command="greet")
    greet = add_finished(store, 3.0, command="greet")
    add(store, command="greet")
    add_finished(store, 4.0, command=None)
    hold = add_finished(store, 1.0, command="hold")
    add(store, command="never ended")
    assert newest(store, EVERYTHING) == {"greet": greet, "hold": hold}


def test_of_a_command_only_what_the_viewer_sees_is_found(store: TaskStore) -> None:
    anns = add_finished(store, 1.0, command="greet", owner="ann")
    add_finished(store, 2.0, command="greet", owner="bob")
    add(store, command="hold", owner="ann")
    add(store, command="hold", owner="bob")
    assert newest(store, Viewer("ann")) == {"greet": anns}
    assert store.running_of_commands(Viewer("ann")) == {"hold": 1}
    assert store.running_of_commands(EVERYTHING) == {"hold": 2}


def test_a_command_that_nobody_has_run_lately_is_not_looked_for(
    store: TaskStore,
) -> None:
    add_finished(store, 1.0, command="long ago", owner="ann")
    lately = add_finished(store, 2.0, command="lately", owner="bob")
    assert newest(store, EVERYTHING, among=1) == {"lately": lately}
    # What others have run does not hide one's own.
    assert newest(store, Viewer("ann"), among=1).keys() == {"long ago"}


def untold(store: TaskStore, now: float = 100.0) -> set[str]:
    return {row["task_id"] for row in store.untold("pelican", now=now)}


def test_what_has_ended_and_is_due_is_to_be_told(store: TaskStore) -> None:
    ended = add_finished(store, 1.0, notify="[]")
    later = add_finished(store, 1.0, notify="[]", tell_at=200.0)
    add_finished(store, 1.0, notify="[]", notified=2.0)
    add_finished(store, 1.0)
    add(store, notify="[]")
    assert untold(store) == {ended}
    assert untold(store, now=200.0) == {ended, later}


@pytest.mark.parametrize("tell_at", [None, 50.123456])
def test_an_end_is_told_by_one_of_those_who_see_it(
    database: Database, other: Database, tell_at: float | None
) -> None:
    store = TaskStore(database)
    task_id = add_finished(store, 1.0, notify="[]", tell_at=tell_at)
    stores = [store, TaskStore(other)] * 4

    def claim(number: int) -> bool:
        return stores[number].tell(task_id, seen=tell_at, tell_at=1000.0 + number)

    won = race_threads(len(stores), claim)
    assert sorted(won) == [False] * 7 + [True]
    assert untold(store) == set()


def test_who_is_late_with_what_was_told_writes_nothing(store: TaskStore) -> None:
    task_id = add_finished(store, 1.0, notify="[]")
    assert store.tell(task_id, seen=None, tell_at=10.0)
    assert store.tell(task_id, seen=10.0, tell_at=20.0)  # the lease was over
    assert not store.tell(task_id, seen=10.0, notify="[1]", notified=11.0)
    assert store.tell(task_id, seen=20.0, notify="[2]", tell_at=None, notified=21.0)
    assert not store.tell(task_id, seen=None, tell_at=30.0)
    found = store.find(task_id)
    assert found is not None
    assert (found["notify"], found["notified"], found["tell_at"]) == ("[2]", 21.0, None)
