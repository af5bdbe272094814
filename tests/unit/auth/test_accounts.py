from typing import Any

import pytest

from app.auth.accounts import USERNAME_MAX_LENGTH, Accounts, is_username
from app.errors import (
    AccountExists,
    AccountNotFound,
    Fault,
    InvalidInput,
    LastAdmin,
)
from app.storage.account_store import AccountStore, Row
from app.storage.engine import Database
from app.storage.ownership import Viewer
from app.storage.task_store import Admission, Room, TaskStore
from tests.racing import race_threads
from tests.unit.auth.conftest import PASSWORD, MakeAccounts, user
from tests.unit.storage.rows import task_row

NO_NAMES = [
    "",
    ".",
    "..",
    "...",
    "a b",
    " a",
    "a ",
    "a\n",
    "a\0",
    "a:b",
    "a/b",
    "a~1",
    "a%",
    "é",
    "\uff41",
    "\u0661",
    "\ud800",
    "a" * (USERNAME_MAX_LENGTH + 1),
]
NAMES = [
    "a",
    "A1",
    "ann.b",
    ".ann",
    "ann.",
    "..a..",
    "a@b.example",
    "-",
    "_",
    "+",
    "0",
    "a" * USERNAME_MAX_LENGTH,
]


def names(accounts: Accounts) -> list[str]:
    return [row["username"] for row in accounts.page(after=0, limit=1000)]


def admins(accounts: Accounts) -> set[str]:
    rows = accounts.page(after=0, limit=1000)
    return {row["username"] for row in rows if row["admin"]}


def paths(raised: pytest.ExceptionInfo[InvalidInput]) -> list[str]:
    return [fault.path for fault in raised.value.faults]


def verifies(accounts: Accounts, username: str, password: str) -> bool:
    kept_hash = accounts.get(username)["password_hash"]
    return accounts._passwords.verify(kept_hash, password)


class TestAdding:
    def test_a_user_is_kept_as_given_but_for_the_password(
        self, accounts: Accounts
    ) -> None:
        added = accounts.add(user("ann", fullname="Ann 安", admin=True))
        assert accounts.get("ann") == added
        assert (added["username"], added["fullname"]) == ("ann", "Ann 安")
        assert added["admin"] is True
        assert added["signing_nonce"] is None
        assert added["password_hash"].startswith("$argon2id$")
        assert PASSWORD not in str(added)
        assert "password" not in added

    def test_a_user_is_no_admin_where_nothing_is_said(self, ann: Row) -> None:
        assert ann["admin"] is False

    def test_a_name_that_is_taken_is_refused(
        self, accounts: Accounts, ann: Row
    ) -> None:
        with pytest.raises(AccountExists):
            accounts.add(user("ann", password="another one"))
        assert accounts.get("ann") == ann

    def test_names_are_told_apart_as_they_are(self, accounts: Accounts) -> None:
        for name in ("ann", "Ann", "ANN", "ann.", ".ann"):
            accounts.add(user(name))
        assert accounts.get("Ann")["username"] == "Ann"
        assert len(names(accounts)) == 5

    @pytest.mark.parametrize("name", NAMES)
    def test_names_that_can_be_had(self, accounts: Accounts, name: str) -> None:
        assert is_username(name)
        accounts.add(user(name))
        assert accounts.get(name)["username"] == name

    @pytest.mark.parametrize("name", NO_NAMES)
    def test_names_that_cannot_be_had(self, accounts: Accounts, name: str) -> None:
        assert not is_username(name)
        for add in (
            lambda: accounts.add(user(name)),
            lambda: accounts.replace(name, user(name)),
        ):
            with pytest.raises(InvalidInput) as raised:
                add()
            assert paths(raised) == ["username"]
        assert names(accounts) == []
        with pytest.raises(AccountNotFound):
            accounts.get(name)

    def test_nor_in_both_databases(
        self, workers: tuple[Database, Database], make_accounts: MakeAccounts
    ) -> None:
        accounts = make_accounts(workers[0])
        accounts.add(user("ann"))
        for name in NO_NAMES:
            unnamed = {"password": PASSWORD, "fullname": "x"}
            with pytest.raises(InvalidInput):
                accounts.replace(name, unnamed)
            with pytest.raises(InvalidInput):
                accounts.change("ann", {"username": name})
            for act in (
                accounts.get,
                accounts.remove,
                lambda name: accounts.change(name, {"fullname": "x"}),
            ):
                with pytest.raises(AccountNotFound):
                    act(name)
        assert names(accounts) == ["ann"]

    @pytest.mark.parametrize("password", ["", "a", "12345", "安" * 5])
    def test_a_password_that_is_short_is_refused_and_not_shown(
        self, accounts: Accounts, password: str
    ) -> None:
        fault = Fault("password", "is shorter than 6 characters")
        assert accounts.faults(user("ann", password=password)) == [fault]
        with pytest.raises(InvalidInput) as raised:
            accounts.add(user("ann", password=password))
        assert raised.value.faults == (fault,)
        assert names(accounts) == []

    @pytest.mark.parametrize("password", ["123456", "安" * 6, " " * 6, "p" * 1024])
    def test_a_password_that_is_long_enough_is_taken_as_it_is(
        self, accounts: Accounts, password: str
    ) -> None:
        accounts.add(user("ann", password=password))
        assert verifies(accounts, "ann", password)

    def test_a_faulty_name_and_a_faulty_password_are_told_together(
        self, accounts: Accounts
    ) -> None:
        with pytest.raises(InvalidInput) as raised:
            accounts.add(user("", password=""))
        assert sorted(paths(raised)) == ["password", "username"]

    def test_what_is_no_text_is_the_schema_s_to_refuse(
        self, accounts: Accounts
    ) -> None:
        for password in (None, 1, [], {}):
            assert accounts.faults({"password": password}) == []
        assert accounts.faults({}) == []


class TestReplacing:
    def test_who_is_not_there_is_made(self, accounts: Accounts) -> None:
        row, is_new = accounts.replace("ann", {"password": PASSWORD, "fullname": "A"})
        assert is_new
        assert (row["username"], row["admin"]) == ("ann", False)

    def test_who_is_there_becomes_what_is_given_and_stays_the_same_one(
        self, accounts: Accounts, store: AccountStore, ann: Row
    ) -> None:
        store.update("ann", {"signing_nonce": "abc"})
        whole = user("ann", fullname="Anna", password="another one", admin=True)
        row, is_new = accounts.replace("ann", whole)
        assert not is_new
        assert (row["number"], row["created"]) == (ann["number"], ann["created"])
        assert (row["fullname"], row["admin"]) == ("Anna", True)
        assert row["signing_nonce"] == "abc"
        assert verifies(accounts, "ann", "another one")
        assert accounts.get("ann") == row

    def test_an_admin_is_one_no_longer_where_nothing_is_said(
        self, accounts: Accounts
    ) -> None:
        for name in ("root", "second"):
            accounts.add(user(name, admin=True))
        row, _ = accounts.replace("root", {"password": PASSWORD, "fullname": "R"})
        assert row["admin"] is False

    def test_the_last_admin_is_not_made_an_ordinary_user(
        self, accounts: Accounts
    ) -> None:
        before = accounts.add(user("root", admin=True))
        with pytest.raises(LastAdmin):
            accounts.replace("root", user("root", password="another one"))
        assert accounts.get("root") == before, "nothing of it was written"

    def test_it_may_rename(self, accounts: Accounts, ann: Row) -> None:
        row, is_new = accounts.replace("ann", user("anna"))
        assert (is_new, row["number"]) == (False, ann["number"])
        assert names(accounts) == ["anna"]

    def test_a_name_that_is_taken_is_refused_and_nothing_written(
        self, accounts: Accounts, ann: Row
    ) -> None:
        bob = accounts.add(user("bob"))
        with pytest.raises(AccountExists):
            accounts.replace("ann", user("bob", fullname="x", password="another one"))
        assert [accounts.get("ann"), accounts.get("bob")] == [ann, bob]

    @pytest.mark.usefixtures("ann")
    def test_who_is_not_there_is_not_renamed(self, accounts: Accounts) -> None:
        for name in ("ann", "carol"):
            with pytest.raises(InvalidInput) as raised:
                accounts.replace("bob", user(name))
            assert paths(raised) == ["username"]
        assert names(accounts) == ["ann"]

    def test_of_many_that_replace_at_once_one_makes_and_all_succeed(
        self, workers: tuple[Database, Database], make_accounts: MakeAccounts
    ) -> None:
        both = [make_accounts(database) for database in workers]
        results = race_threads(8, lambda n: both[n % 2].replace("ann", user("ann")))
        assert sorted(is_new for _, is_new in results) == [False] * 7 + [True]
        assert names(both[0]) == ["ann"]


class TestChanging:
    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"fullname": "Anna"},
            {"admin": True},
            {"username": "anna"},
            {"username": "ann"},
            {"username": "anna", "fullname": "Anna", "admin": True},
        ],
    )
    def test_what_is_named_is_changed_and_nothing_else(
        self, accounts: Accounts, ann: Row, changes: dict[str, Any]
    ) -> None:
        bob = accounts.add(user("bob"))
        changed = accounts.change("ann", changes)
        assert changed == dict(ann) | changes
        assert accounts.get(changed["username"]) == changed
        assert accounts.get("bob") == bob

    def test_a_new_password_is_hashed(self, accounts: Accounts, ann: Row) -> None:
        changed = accounts.change("ann", {"password": "another one"})
        assert changed == dict(ann) | {"password_hash": changed["password_hash"]}
        assert verifies(accounts, "ann", "another one")
        assert not verifies(accounts, "ann", PASSWORD)

    def test_a_short_password_changes_nothing(
        self, accounts: Accounts, ann: Row
    ) -> None:
        with pytest.raises(InvalidInput):
            accounts.change("ann", {"password": "short", "fullname": "x"})
        assert accounts.get("ann") == ann

    @pytest.mark.parametrize("changes", [{}, {"fullname": "x"}, {"username": "ann"}])
    def test_nobody_is_not_changed(
        self, accounts: Accounts, ann: Row, changes: dict[str, Any]
    ) -> None:
        with pytest.raises(AccountNotFound):
            accounts.change("bob", changes)
        assert names(accounts) == ["ann"]
        assert accounts.get("ann") == ann

    def test_the_name_of_a_renamed_user_is_free_and_another_one_s_then(
        self, accounts: Accounts, ann: Row
    ) -> None:
        accounts.change("ann", {"username": "anna"})
        with pytest.raises(AccountNotFound):
            accounts.get("ann")
        assert accounts.add(user("ann"))["number"] != ann["number"]

    def test_of_many_that_take_a_name_at_once_one_has_it(
        self, workers: tuple[Database, Database], make_accounts: MakeAccounts
    ) -> None:
        both = [make_accounts(database) for database in workers]
        for number in range(8):
            both[0].add(user(f"user{number}"))

        def rename(number: int) -> Row:
            return both[number % 2].change(f"user{number}", {"username": "ann"})

        results = race_threads(8, rename)

        assert [type(each) for each in results].count(AccountExists) == 7
        assert len(names(both[0])) == 8
        assert names(both[0]).count("ann") == 1

    def test_of_many_that_are_added_under_a_name_at_once_one_has_it(
        self, workers: tuple[Database, Database], make_accounts: MakeAccounts
    ) -> None:
        both = [make_accounts(database) for database in workers]
        results = race_threads(8, lambda number: both[number % 2].add(user("ann")))
        assert [type(each) for each in results].count(AccountExists) == 7
        assert names(both[0]) == ["ann"]


class TestRemoving:
    def test_who_is_removed_is_gone_and_no_other(
        self, accounts: Accounts, ann: Row
    ) -> None:
        accounts.add(user("bob"))
        accounts.remove("bob")
        assert names(accounts) == ["ann"]
        with pytest.raises(AccountNotFound):
            accounts.remove("bob")
        assert accounts.get("ann") == ann

    def test_a_number_is_not_used_again(self, accounts: Accounts, ann: Row) -> None:
        accounts.remove("ann")
        assert accounts.add(user("ann"))["number"] > ann["number"]


class TestTheLastAdmin:
    @pytest.fixture(autouse=True)
    def root(self, accounts: Accounts) -> Row:
        accounts.add(user("bob"))
        return accounts.add(user("root", admin=True))

    def test_is_not_removed_or_made_an_ordinary_user(
        self, accounts: Accounts, root: Row
    ) -> None:
        with pytest.raises(LastAdmin):
            accounts.remove("root")
        for changes in ({"admin": False}, {"admin": False, "username": "x"}):
            with pytest.raises(LastAdmin):
                accounts.change("root", changes)
        assert accounts.get("root") == root

    def test_may_be_changed_and_renamed_else(self, accounts: Accounts) -> None:
        changed = accounts.change(
            "root", {"username": "chief", "password": "another one", "admin": True}
        )
        assert changed["admin"] is True
        assert admins(accounts) == {"chief"}

    def test_may_go_once_there_is_another(self, accounts: Accounts) -> None:
        accounts.change("bob", {"admin": True})
        accounts.change("root", {"admin": False})
        with pytest.raises(LastAdmin):
            accounts.remove("bob")
        accounts.change("root", {"admin": True})
        accounts.remove("bob")
        assert admins(accounts) == {"root"}

    def test_ordinary_users_are_removed_and_changed_as_ever(
        self, accounts: Accounts
    ) -> None:
        accounts.change("bob", {"admin": False})
        accounts.remove("bob")
        assert admins(accounts) == {"root"}


@pytest.mark.parametrize("how", ["change", "remove", "replace", "mixed"])
def test_of_admins_who_demote_each_other_at_once_one_stays(
    workers: tuple[Database, Database], make_accounts: MakeAccounts, how: str
) -> None:
    both = [make_accounts(database) for database in workers]
    ways = {
        "change": lambda each, name: each.change(name, {"admin": False}),
        "remove": lambda each, name: each.remove(name),
        "replace": lambda each, name: each.replace(name, user(name)),
    }
    for number in range(4):
        both[0].add(user(f"root{number}", admin=True))

    def act(number: int) -> Any:
        way = how if how != "mixed" else [*ways][number % 3]
        return ways[way](both[number % 2], f"root{(number + 1) % 4}")

    results = race_threads(4, act)

    assert [type(each) for each in results].count(LastAdmin) == 1, results
    assert len(admins(both[0])) == 1


class TestTheFirstAdmin:
    FIRST = ("chief", "a first password")

    def test_is_made_where_there_is_none(
        self, database: Database, make_accounts: MakeAccounts
    ) -> None:
        accounts = make_accounts(database, first_admin=self.FIRST)
        assert accounts.has_admin()
        row = accounts.get("chief")
        assert (row["username"], row["fullname"], row["admin"]) == (
            "chief",
            "chief",
            True,
        )
        assert verifies(accounts, *self.FIRST)

    def test_is_not_made_without_a_password(
        self, database: Database, make_accounts: MakeAccounts
    ) -> None:
        for password in (None, ""):
            accounts = make_accounts(database, first_admin=("chief", password))
            accounts.make_first_admin()
            assert not accounts.has_admin()
            assert names(accounts) == []

    def test_is_not_made_where_there_is_an_admin_of_any_name(
        self, accounts: Accounts, other: Database, make_accounts: MakeAccounts
    ) -> None:
        accounts.add(user("root", admin=True))
        later = make_accounts(other, first_admin=self.FIRST)
        assert later.has_admin()
        assert names(later) == ["root"]

    def test_is_made_where_there_are_ordinary_users_alone(
        self, accounts: Accounts, ann: Row, other: Database, make_accounts: MakeAccounts
    ) -> None:
        later = make_accounts(other, first_admin=self.FIRST)
        later.make_first_admin()
        assert admins(accounts) == {"chief"}
        assert accounts.get("ann") == ann

    def test_is_not_made_of_an_ordinary_user_of_the_name(
        self, accounts: Accounts, other: Database, make_accounts: MakeAccounts
    ) -> None:
        before = accounts.add(user("chief"))
        later = make_accounts(other, first_admin=self.FIRST)
        later.make_first_admin()
        assert not later.has_admin()
        assert accounts.get("chief") == before, "nor is the password another"

    def test_keeps_the_password_that_was_changed_after_a_new_start(
        self, database: Database, other: Database, make_accounts: MakeAccounts
    ) -> None:
        accounts = make_accounts(database, first_admin=self.FIRST)
        accounts.make_first_admin()
        accounts.change("chief", {"password": "another one"})
        make_accounts(other, first_admin=self.FIRST).make_first_admin()
        assert verifies(accounts, "chief", "another one")

    def test_is_not_made_again_after_another_admin_removed_it(
        self, database: Database, other: Database, make_accounts: MakeAccounts
    ) -> None:
        accounts = make_accounts(database, first_admin=self.FIRST)
        accounts.make_first_admin()
        accounts.add(user("root", admin=True))
        accounts.remove("chief")
        for each in (accounts, make_accounts(other, first_admin=self.FIRST)):
            each.make_first_admin()
        assert names(accounts) == ["root"]

    def test_is_made_once_however_workers_race(
        self, workers: tuple[Database, Database], make_accounts: MakeAccounts
    ) -> None:
        all_of_them = [
            make_accounts(database, first_admin=("chief", f"password {number}"))
            for number in range(4)
            for database in workers
        ]
        results = race_threads(8, lambda number: all_of_them[number].has_admin())
        assert results == [True] * 8
        assert names(all_of_them[0]) == ["chief"]

    def test_of_two_names_that_race_one_is_made(
        self, workers: tuple[Database, Database], make_accounts: MakeAccounts
    ) -> None:
        both = [
            make_accounts(database, first_admin=(name, PASSWORD))
            for database, name in zip(workers, ("chief", "root"), strict=True)
        ]
        race_threads(2, lambda number: both[number].make_first_admin())
        assert len(names(both[0])) == 1


class TestTasks:
    def add(self, tasks: TaskStore, account: Row) -> str:
        row = task_row(owner=account["username"])
        tasks.add(row, Admission(Room(100), account=account["number"]))
        return row["task_id"]

    def seen(self, tasks: TaskStore, owner: str) -> list[str]:
        rows = tasks.page(Viewer(owner), {}, before=None, limit=100)
        return [row["task_id"] for row in rows]

    def test_of_a_removed_user_are_seen_by_no_new_user_of_the_name(
        self, workers: tuple[Database, Database], make_accounts: MakeAccounts
    ) -> None:
        accounts, tasks = make_accounts(workers[0]), TaskStore(workers[1])
        task_ids = []
        for _ in range(3):
            task_ids.append(self.add(tasks, accounts.add(user("ann"))))
            accounts.remove("ann")
        accounts.add(user("ann"))
        assert self.seen(tasks, "ann") == []
        for task_id in task_ids:
            assert tasks.find_seen(task_id, Viewer("ann")) is None
            assert tasks.find_seen(task_id, Viewer("ann", sees_all=True)) is not None
        owners = {tasks.find(task_id)["owner"] for task_id in task_ids}
        assert len(owners) == 3, "nor are they each other's"
        assert not any(is_username(owner) for owner in owners)

    def test_of_a_renamed_user_go_along(
        self, workers: tuple[Database, Database], make_accounts: MakeAccounts
    ) -> None:
        accounts, tasks = make_accounts(workers[0]), TaskStore(workers[1])
        ann, bob = accounts.add(user("ann")), accounts.add(user("bob"))
        task_id, of_bob = self.add(tasks, ann), self.add(tasks, bob)
        accounts.change("ann", {"username": "anna"})
        accounts.add(user("ann"))
        assert self.seen(tasks, "anna") == [task_id]
        assert self.seen(tasks, "ann") == []
        assert self.seen(tasks, "bob") == [of_bob]

    def test_stay_where_they_are_when_a_rename_is_refused(
        self, accounts: Accounts, ann: Row, database: Database
    ) -> None:
        tasks = TaskStore(database)
        task_id = self.add(tasks, ann)
        accounts.add(user("bob"))
        with pytest.raises(AccountExists):
            accounts.change("ann", {"username": "bob"})
        assert self.seen(tasks, "ann") == [task_id]
        assert self.seen(tasks, "bob") == []
