"""The room's parts over a real database, with hashes that cost little."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.auth import audit, login, passwords, sessions, signatures, tokens
from app.auth.accounts import Accounts
from app.auth.passwords import Passwords
from app.storage.account_store import AccountStore, Row
from app.storage.engine import Database
from tests.unit.storage.conftest import NewDatabase, new_database

__all__ = ["new_database"]  # a fixture, for the tests that take both databases

PASSWORD = "correct horse"

MakeAccounts = Callable[..., Accounts]


class Clock:
    """Stands in for the module `time`; its hands are the test's to move."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stop the room's clock."""
    made = Clock()
    for module in (audit, login, sessions, signatures, tokens):
        monkeypatch.setattr(module, "time", made)
    return made


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make hashes that are real ones and take no time; see test_passwords.py."""
    monkeypatch.setattr(passwords, "MEMORY_KIB", 8)
    monkeypatch.setattr(passwords, "PASSES", 1)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/bellhop.db"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    made = Database(url)
    yield made
    made.close()


@pytest.fixture
def other(url: str) -> Iterator[Database]:
    """Open the same database, as another worker does."""
    made = Database(url)
    yield made
    made.close()


@pytest.fixture
def read_all(database: Database, tmp_path: Path) -> Callable[[], bytes]:
    """Return what reads all bytes of the database's files, its log's too."""

    def read() -> bytes:
        return b"".join(path.read_bytes() for path in tmp_path.glob("bellhop.db*"))

    return read


@pytest.fixture
def workers(new_database: NewDatabase) -> Iterator[tuple[Database, Database]]:
    """Open one new database twice, on SQLite and on PostgreSQL."""
    with new_database() as made:
        both = Database(made), Database(made)
        yield both
        for each in both:
            each.close()


@pytest.fixture
def store(database: Database) -> AccountStore:
    return AccountStore(database)


@pytest.fixture
def make_accounts() -> MakeAccounts:
    """Return what makes the accounts of a worker."""

    def make(
        database: Database, *, first_admin: tuple[str, str | None] = ("admin", None)
    ) -> Accounts:
        return Accounts(
            store=AccountStore(database),
            passwords=Passwords(max_waiting=16),
            password_min_length=6,
            first_admin=first_admin,
        )

    return make


@pytest.fixture
def accounts(database: Database, make_accounts: MakeAccounts) -> Accounts:
    return make_accounts(database)


@pytest.fixture
def ann(accounts: Accounts) -> Row:
    return accounts.add(user("ann"))


def user(username: str, **changes: Any) -> dict[str, Any]:
    """Return what a body says of a user."""
    return {
        "username": username,
        "password": PASSWORD,
        "fullname": f"{username} of the tests",
    } | changes
