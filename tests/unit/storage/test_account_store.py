"""Accounts and their tokens, on both databases."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import sqlalchemy as sa

from app.errors import AccountExists, AccountNotFound, LastAdmin, NotAuthenticated
from app.storage import message_store, ownership, task_store
from app.storage.account_store import AccountStore
from app.storage.engine import Database
from app.storage.message_store import MessageStore, Sender
from app.storage.tables import tokens
from app.storage.task_store import Admission, Room, TaskStore
from tests.racing import race_threads
from tests.unit.storage.rows import (
    NOW,
    account_row,
    message_row,
    task_row,
    token_row,
)

Row = Mapping[str, Any]
Begin = Callable[[Row], Callable[[], Any]]


@pytest.fixture
def accounts(database: Database) -> AccountStore:
    return AccountStore(database)


@pytest.fixture
def elsewhere(other: Database) -> AccountStore:
    return AccountStore(other)


def usernames(accounts: AccountStore) -> list[str]:
    return [row["username"] for row in accounts.page(after=0, limit=1000)]


def count_tokens(database: Database) -> int:
    with database.read() as connection:
        query = sa.select(sa.func.count()).select_from(tokens)
        return connection.execute(query).scalar_one()


class TestAccounts:
    def test_nobody_is_there_at_first(self, accounts: AccountStore) -> None:
        assert accounts.find("ann") is None
        assert accounts.page(after=0, limit=10) == []
        assert not accounts.has_admin()

    def test_an_account_is_found_as_added_by_every_worker(
        self, accounts: AccountStore, elsewhere: AccountStore
    ) -> None:
        row = account_row()
        added = accounts.add(row)
        assert added == row | {"number": added["number"], "signing_nonce": None}
        assert elsewhere.find("ann") == added
        assert elsewhere.find("Ann") is None

    def test_a_name_that_is_taken_is_refused(self, accounts: AccountStore) -> None:
        added = accounts.add(account_row())
        with pytest.raises(AccountExists):
            accounts.add(account_row(fullname="x"))
        with pytest.raises(AccountExists):
            accounts.add_first_admin(account_row(admin=True))
        assert accounts.find("ann") == added
        assert not accounts.has_admin()

    def test_a_number_is_never_used_again(
        self, accounts: AccountStore, elsewhere: AccountStore
    ) -> None:
        numbers = []
        for _ in range(4):
            numbers.append(accounts.add(account_row())["number"])
            elsewhere.remove("ann")
        assert sorted(set(numbers)) == numbers

    def test_nor_after_the_database_was_opened_anew(
        self, accounts: AccountStore, database: Database, url: str
    ) -> None:
        first = accounts.add(account_row())["number"]
        accounts.remove("ann")
        database.close()
        opened = Database(url)
        try:
            assert AccountStore(opened).add(account_row())["number"] > first
        finally:
            opened.close()

    def test_pages_follow_each_other_without_those_that_are_gone(
        self, accounts: AccountStore
    ) -> None:
        for number in range(6):
            accounts.add(account_row(f"user{number}"))
        accounts.remove("user2")
        pages, after = [], 0
        while page := accounts.page(after=after, limit=2):
            pages.append([row["username"] for row in page])
            after = page[-1]["number"]
        assert pages == [["user0", "user1"], ["user3", "user4"], ["user5"]]

    @pytest.mark.parametrize("after", [1, 2**31, 2**62 - 1])
    def test_a_page_beyond_the_last_is_empty(
        self, accounts: AccountStore, after: int
    ) -> None:
        accounts.add(account_row())
        assert accounts.page(after=after, limit=10) == []

    def test_an_update_changes_what_it_names_of_one_account(
        self, accounts: AccountStore
    ) -> None:
        ann, bob = accounts.add(account_row()), accounts.add(account_row("bob"))
        for changes in ({}, {"signing_nonce": "x"}, {"fullname": "A", "admin": True}):
            ann = dict(ann) | changes
            assert accounts.update("ann", changes) == ann
            assert accounts.find("ann") == ann
        assert accounts.find("bob") == bob

    @pytest.mark.parametrize("changes", [{}, {"fullname": "x"}, {"username": "ann"}])
    def test_nobody_is_updated_or_removed(
        self, accounts: AccountStore, changes: dict[str, Any]
    ) -> None:
        ann = accounts.add(account_row())
        with pytest.raises(AccountNotFound):
            accounts.update("bob", changes)
        with pytest.raises(AccountNotFound):
            accounts.remove("bob")
        assert accounts.page(after=0, limit=10) == [ann]

    def test_a_name_that_is_taken_is_not_given_to_another(
        self, accounts: AccountStore
    ) -> None:
        rows = [accounts.add(account_row(name)) for name in ("ann", "bob")]
        with pytest.raises(AccountExists):
            accounts.update("ann", {"username": "bob", "fullname": "x"})
        assert accounts.page(after=0, limit=10) == rows

    def test_an_account_may_be_given_its_own_name(self, accounts: AccountStore) -> None:
        ann = accounts.add(account_row())
        assert accounts.update("ann", {"username": "ann"}) == ann


class TestAdmins:
    def test_the_first_one_is_made_where_there_is_none(
        self, accounts: AccountStore
    ) -> None:
        accounts.add(account_row("bob"))
        made = accounts.add_first_admin(account_row(admin=True))
        assert made == accounts.find("ann")
        assert accounts.has_admin()
        assert accounts.add_first_admin(account_row("carol", admin=True)) is None
        assert usernames(accounts) == ["bob", "ann"]

    def test_of_many_that_make_the_first_one_at_once_one_does(
        self, accounts: AccountStore, elsewhere: AccountStore
    ) -> None:
        stores = accounts, elsewhere

        def make(number: int) -> Any:
            row = account_row(f"root{number}", admin=True)
            return stores[number % 2].add_first_admin(row)

        made = [row for row in race_threads(16, make) if row is not None]
        assert [row["username"] for row in made] == usernames(accounts)
        assert len(made) == 1

    def test_the_last_one_stays(self, accounts: AccountStore) -> None:
        root = accounts.add(account_row("root", admin=True))
        accounts.add(account_row())
        for change in ({"admin": False}, {"admin": False, "username": "x"}):
            with pytest.raises(LastAdmin):
                accounts.update("root", change)
        with pytest.raises(LastAdmin):
            accounts.remove("root")
        assert accounts.find("root") == root
        accounts.update("ann", {"admin": True})
        accounts.remove("root")
        assert accounts.has_admin()

    def test_of_two_who_demote_each_other_at_once_one_stays(
        self, accounts: AccountStore, elsewhere: AccountStore
    ) -> None:
        names = ("ann", "bob")
        for name in names:
            accounts.add(account_row(name, admin=True))
        stores = accounts, elsewhere
        for _ in range(5):
            results = race_threads(
                2, lambda n: stores[n].update(names[1 - n], {"admin": False})
            )
            refused = [each for each in results if isinstance(each, LastAdmin)]
            assert len(refused) == 1, results
            admins = [row["admin"] for row in accounts.page(after=0, limit=9)]
            assert sorted(admins) == [False, True]
            for name in names:
                accounts.update(name, {"admin": True})

    def test_of_many_who_are_removed_at_once_one_stays(
        self, accounts: AccountStore, elsewhere: AccountStore
    ) -> None:
        for number in range(8):
            accounts.add(account_row(f"root{number}", admin=True))
        stores = accounts, elsewhere
        results = race_threads(8, lambda n: stores[n % 2].remove(f"root{n}"))
        assert [type(each) for each in results].count(LastAdmin) == 1, results
        assert len(usernames(accounts)) == 1


class TestTokens:
    @pytest.fixture
    def ann(self, accounts: AccountStore) -> dict[str, Any]:
        return dict(accounts.add(account_row()))

    def test_an_account_is_found_by_its_token_with_the_scopes(
        self, accounts: AccountStore, elsewhere: AccountStore, ann: dict[str, Any]
    ) -> None:
        accounts.add(account_row("bob"))
        accounts.add_token(token_row(ann["number"]))
        found = elsewhere.find_by_token("digest of first", now=NOW)
        assert found == ann | {"scopes": "read exec"}
        assert elsewhere.find_by_token("digest of second", now=NOW) is None
        assert elsewhere.find_by_token("", now=NOW) is None

    def test_a_token_that_has_expired_is_not_found(
        self, accounts: AccountStore, ann: dict[str, Any]
    ) -> None:
        accounts.add_token(token_row(ann["number"], expires=NOW))
        for now, is_found in ((NOW - 0.001, True), (NOW, False), (NOW + 1, False)):
            found = accounts.find_by_token("digest of first", now=now)
            assert (found is not None) is is_found

    def test_expired_ones_are_removed_and_no_others(
        self, accounts: AccountStore, ann: dict[str, Any]
    ) -> None:
        for name, expires in (("a", NOW - 1), ("b", NOW), ("c", NOW + 1), ("d", None)):
            accounts.add_token(token_row(ann["number"], name, expires=expires))
        accounts.remove_expired_tokens(now=NOW)
        left = accounts.tokens(ann["number"], after=0, limit=9)
        assert [row["token_id"] for row in left] == ["id of c", "id of d"]

    def test_tokens_are_removed_once_and_by_their_account(
        self, accounts: AccountStore, ann: dict[str, Any]
    ) -> None:
        bob = accounts.add(account_row("bob"))
        accounts.add_token(token_row(ann["number"]))
        assert not accounts.remove_token(bob["number"], "id of first")
        assert not accounts.remove_token(ann["number"], "id of second")
        assert accounts.remove_token(ann["number"], "id of first")
        assert not accounts.remove_token(ann["number"], "id of first")
        assert accounts.find_by_token("digest of first", now=NOW) is None

    def test_pages_are_of_one_account_the_oldest_first(
        self, accounts: AccountStore, ann: dict[str, Any]
    ) -> None:
        bob = accounts.add(account_row("bob"))
        for number in range(5):
            accounts.add_token(token_row(ann["number"], f"ann {number}"))
            accounts.add_token(token_row(bob["number"], f"bob {number}"))
        pages, after = [], 0
        while page := accounts.tokens(ann["number"], after=after, limit=2):
            pages.append([row["token_id"] for row in page])
            after = page[-1]["number"]
        ids = [f"id of ann {number}" for number in range(5)]
        assert pages == [ids[:2], ids[2:4], ids[4:]]
        assert accounts.tokens(ann["number"], after=2**62 - 1, limit=2) == []

    def test_those_of_a_removed_account_are_gone_and_none_is_added(
        self,
        accounts: AccountStore,
        elsewhere: AccountStore,
        ann: dict[str, Any],
        database: Database,
    ) -> None:
        accounts.add_token(token_row(ann["number"]))
        elsewhere.remove("ann")
        assert count_tokens(database) == 0
        with pytest.raises(AccountNotFound):
            accounts.add_token(token_row(ann["number"], "second"))
        assert count_tokens(database) == 0

    def test_none_is_left_however_adding_and_removing_race(
        self, accounts: AccountStore, elsewhere: AccountStore, database: Database
    ) -> None:
        for turn in range(5):
            number = accounts.add(account_row())["number"]

            def act(n: int, number: int = number, turn: int = turn) -> None:
                if n == 0:
                    elsewhere.remove("ann")
                else:
                    accounts.add_token(token_row(number, f"{turn} {n}"))

            results = race_threads(4, act)
            assert {type(each) for each in results} <= {type(None), AccountNotFound}
            assert results[0] is None
            assert count_tokens(database) == 0


@pytest.fixture(params=["task", "message"])
def begin(request: pytest.FixtureRequest, database: Database) -> Begin:
    """Return what begins a task or a message of an account, and gives its owner."""
    tasks, messages = TaskStore(database), MessageStore(database)

    def task(account: Row) -> Callable[[], Any]:
        row = task_row(owner=account["username"])
        tasks.add(row, Admission(Room(10), account=account["number"]))
        return lambda: tasks.find(row["task_id"])["owner"]

    def message(account: Row) -> Callable[[], Any]:
        row, entry = (
            message_row(),
            Sender(account["username"], account=account["number"]),
        )
        messages.add(row, ["+8613800000000"], entry, uses=[], quotas=[])
        return lambda: messages.find(row["message_id"])["owner"]

    return {"task": task, "message": message}[request.param]


class TestWhatAnAccountBegins:
    @pytest.fixture
    def ann(self, accounts: AccountStore) -> dict[str, Any]:
        return dict(accounts.add(account_row()))

    @pytest.fixture
    def beginning(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[[Callable[[], Any]], threading.Thread]:
        """Return what has something done while the owner of a new thing was looked up.

        It is tried in a thread, which ends before the thing is there unless it waits.
        """
        look = ownership.owner_now

        def meanwhile(act: Callable[[], Any]) -> threading.Thread:
            thread = threading.Thread(target=act)

            def look_and_act(*arguments: Any) -> str | None:
                owner = look(*arguments)
                thread.start()
                thread.join(0.3)
                return owner

            for room in (task_store, message_store):
                monkeypatch.setattr(room, "owner_now", look_and_act)
            # Nothing comes in the middle of one statement.
            monkeypatch.setattr(TaskStore, "_has_room", lambda *_: False)
            return thread

        return meanwhile

    def test_goes_along_with_a_new_name_and_stays_behind_a_removed_one(
        self, accounts: AccountStore, ann: dict[str, Any], begin: Begin
    ) -> None:
        bob = accounts.add(account_row("bob"))
        owner_of_anns, owner_of_bobs = begin(ann), begin(bob)
        accounts.update("ann", {"username": "anna", "fullname": "x"})
        assert owner_of_anns() == "anna"
        accounts.remove("anna")
        assert owner_of_anns() == f"anna~{ann['number']}"
        assert owner_of_bobs() == "bob"

    def test_goes_along_where_its_account_is_renamed_just_then(
        self,
        accounts: AccountStore,
        elsewhere: AccountStore,
        ann: dict[str, Any],
        begin: Begin,
        beginning: Callable[[Callable[[], Any]], threading.Thread],
    ) -> None:
        elsewhere.find("ann")  # or it would open the database in the meanwhile
        thread = beginning(lambda: elsewhere.update("ann", {"username": "anna"}))
        owner = begin(ann)
        thread.join()
        assert usernames(accounts) == ["anna"]
        assert owner() == "anna"

    def test_is_no_next_one_s_where_its_account_is_removed_just_then(
        self,
        accounts: AccountStore,
        elsewhere: AccountStore,
        ann: dict[str, Any],
        begin: Begin,
        beginning: Callable[[Callable[[], Any]], threading.Thread],
    ) -> None:
        elsewhere.find("ann")
        thread = beginning(lambda: elsewhere.remove("ann"))
        owner = begin(ann)
        thread.join()
        assert usernames(accounts) == []
        assert owner() == f"ann~{ann['number']}"

    def test_none_stays_behind_however_renames_and_starts_race(
        self, elsewhere: AccountStore, ann: dict[str, Any], database: Database
    ) -> None:
        store = TaskStore(database)

        def act(number: int) -> Any:
            if number < 2:
                for turn in range(5):
                    name = f"ann{number}{turn}"
                    current = usernames(elsewhere)[0]
                    try:
                        elsewhere.update(current, {"username": name})
                    except AccountNotFound:
                        continue  # the other one has renamed
                return None
            admission = Admission(Room(1000), account=ann["number"])
            for _ in range(5):
                store.add(task_row(owner="ann", host=f"host {number}"), admission)
            return None

        assert race_threads(6, act) == [None] * 6
        with database.read() as connection:
            owners = connection.scalars(
                sa.text("SELECT DISTINCT owner FROM tasks")
            ).all()
        assert owners == usernames(elsewhere)

    def test_starts_of_a_removed_account_are_refused_or_go_along(
        self, accounts: AccountStore, elsewhere: AccountStore, database: Database
    ) -> None:
        store = TaskStore(database)
        for _ in range(3):
            account = accounts.add(account_row())

            def act(n: int, number: int = account["number"]) -> None:
                if n == 0:
                    elsewhere.remove("ann")
                else:
                    admission = Admission(Room(1000), account=number)
                    store.add(task_row(owner="ann", host=f"host {n}"), admission)

            results = race_threads(4, act)
            assert results[0] is None
            assert {type(each) for each in results} <= {type(None), NotAuthenticated}
            with database.read() as connection:
                left = "SELECT count(*) FROM tasks WHERE owner = 'ann'"
                assert connection.scalar(sa.text(left)) == 0
