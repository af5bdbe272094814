"""Sessions, on both databases, as two workers know them."""

import re
from dataclasses import dataclass

import pytest
import sqlalchemy as sa

from app.auth.accounts import Accounts
from app.auth.permissions import ORDINARY, Scope
from app.auth.sessions import Sessions
from app.errors import NotAuthenticated
from app.storage.account_store import Row
from app.storage.engine import Database
from app.storage.session_store import SessionStore
from app.storage.tables import sessions as table
from tests.racing import race_threads
from tests.unit.auth.conftest import PASSWORD, Clock, MakeAccounts, user

SECONDS = 3600


@dataclass
class Here:
    """What two workers have that share a database."""

    database: Database
    accounts: Accounts
    sessions: Sessions
    elsewhere: Sessions
    ann: Row

    def is_good(self, text: str) -> bool:
        """Return whether a session is good, and that both say the same of it."""
        found = []
        for each in (self.sessions, self.elsewhere):
            try:
                each.authenticate(text)
                found.append(True)
            except NotAuthenticated:
                found.append(False)
        assert found[0] == found[1]
        return found[0]

    def rows(self) -> list[Row]:
        with self.database.read() as connection:
            return [
                dict(row) for row in connection.execute(sa.select(table)).mappings()
            ]


@pytest.fixture
def here(workers: tuple[Database, Database], make_accounts: MakeAccounts) -> Here:
    mine, other = workers
    accounts = make_accounts(mine)
    accounts.add(user("root", admin=True))
    ann = accounts.add(user("ann"))
    return Here(mine, accounts, make(mine), make(other), ann)


def make(database: Database, *, secret_key: str = "key") -> Sessions:
    store = SessionStore(database)
    return Sessions(store, seconds=SECONDS, secret_key=secret_key)


def test_a_session_is_known_in_every_worker_with_all_that_its_user_may(
    here: Here,
) -> None:
    identity = here.elsewhere.authenticate(here.sessions.open(here.ann))
    assert identity.username == "ann"
    assert identity.account == here.ann["number"]
    assert identity.via == "session"
    assert identity.scopes == ORDINARY
    root = here.sessions.open(here.accounts.get("root"))
    assert here.elsewhere.authenticate(root).scopes == frozenset(Scope)


def test_a_text_is_long_and_new_each_time_and_not_kept(here: Here) -> None:
    texts = {here.sessions.open(here.ann) for _ in range(20)}
    assert len(texts) == 20
    for text in texts:
        assert re.fullmatch(r"bellhop_[\w-]{43}", text)
    kept = str(here.rows())
    assert not [text for text in texts if text in kept]


@pytest.mark.parametrize("text", ["", "x", "bellhop_", "\0", "\ud800", "é" * 5000])
def test_what_is_no_session_is_nobodys(here: Here, text: str) -> None:
    here.sessions.open(here.ann)
    assert not here.is_good(text)
    here.sessions.close(text)
    assert len(here.rows()) == 1


def test_a_digest_that_was_read_from_the_records_is_no_session(here: Here) -> None:
    here.sessions.open(here.ann)
    assert not here.is_good(here.rows()[0]["digest"])


def test_a_closed_session_is_worth_nothing_and_the_others_go_on(here: Here) -> None:
    first, second = here.sessions.open(here.ann), here.sessions.open(here.ann)
    here.elsewhere.close(first)
    here.sessions.close(first)
    assert not here.is_good(first)
    assert here.is_good(second)


def test_a_session_ends_when_its_time_is_over(here: Here, clock: Clock) -> None:
    text = here.sessions.open(here.ann)
    clock.now += SECONDS - 1
    assert here.is_good(text)
    clock.now += 1
    assert not here.is_good(text)


def test_what_has_expired_is_forgotten_and_nothing_else(
    here: Here, clock: Clock
) -> None:
    here.sessions.open(here.ann)
    clock.now += SECONDS / 2
    young = here.sessions.open(here.ann)
    clock.now += SECONDS / 2
    here.sessions.remove_expired()
    assert len(here.rows()) == 1
    assert here.is_good(young)


def test_a_new_password_ends_all_sessions_of_that_user_alone(here: Here) -> None:
    mine = [here.sessions.open(here.ann), here.elsewhere.open(here.ann)]
    roots = here.sessions.open(here.accounts.get("root"))
    here.accounts.change("ann", {"password": PASSWORD})
    assert [here.is_good(text) for text in mine] == [False, False]
    assert here.is_good(roots)


def test_to_replace_a_user_ends_the_sessions_too(here: Here) -> None:
    text = here.sessions.open(here.ann)
    here.accounts.replace("ann", {"password": PASSWORD, "fullname": "Ann"})
    assert not here.is_good(text)


def test_a_rename_or_another_right_holds_at_once_and_ends_none(here: Here) -> None:
    text = here.sessions.open(here.ann)
    here.accounts.change("ann", {"username": "anna", "admin": True})
    found = here.elsewhere.authenticate(text)
    assert (found.username, found.is_admin) == ("anna", True)
    here.accounts.change("anna", {"admin": False})
    assert not here.sessions.authenticate(text).is_admin


def test_the_sessions_of_a_removed_user_are_gone_with_the_user(here: Here) -> None:
    text = here.sessions.open(here.ann)
    here.accounts.remove("ann")
    assert here.rows() == []
    here.accounts.add(user("ann"))
    assert not here.is_good(text)


def test_none_is_opened_by_a_password_that_has_changed_since(here: Here) -> None:
    here.accounts.change("ann", {"password": PASSWORD})
    with pytest.raises(NotAuthenticated):
        here.sessions.open(here.ann)
    here.accounts.remove("ann")
    with pytest.raises(NotAuthenticated):
        here.sessions.open(here.ann)
    assert here.rows() == []


def test_of_a_sign_in_and_a_new_password_at_once_no_session_is_left(
    here: Here,
) -> None:
    for _ in range(10):
        account = here.accounts.get("ann")

        def act(number: int, account: Row = account) -> None:
            if number == 0:
                here.accounts.change("ann", {"password": PASSWORD})
            else:
                here.elsewhere.open(account)

        race_threads(4, act)
        assert here.rows() == []


def test_the_csrf_token_is_of_one_session_and_one_service(here: Here) -> None:
    first, second = here.sessions.open(here.ann), here.sessions.open(here.ann)
    token = here.sessions.csrf(first)
    assert re.fullmatch("[0-9a-f]{64}", token)
    assert here.elsewhere.csrf(first) == token
    assert here.sessions.csrf(second) != token
    assert make(here.database, secret_key="other").csrf(first) != token
    assert token not in str(here.rows())
