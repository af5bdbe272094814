"""Wrong passwords and known credentials, on both databases."""

from typing import Any

import pytest
import sqlalchemy as sa

from app.errors import TooManyAttempts
from app.storage.engine import Database
from app.storage.login_store import Bounds, LoginStore
from app.storage.tables import known_credentials, password_attempts
from tests.racing import race_threads

NOW = 1_800_000_000.0
BOUNDS = Bounds(seconds=60.0, one_address=3, all_addresses=5)


@pytest.fixture
def logins(database: Database) -> LoginStore:
    return LoginStore(database)


@pytest.fixture
def elsewhere(other: Database) -> LoginStore:
    return LoginStore(other)


def begin(
    logins: LoginStore,
    subject: str = "ann",
    address: str = "here",
    *,
    now: float = NOW,
    bounds: Bounds = BOUNDS,
) -> int:
    return logins.begin_attempt(subject, address, now=now, bounds=bounds)


def retry_after(logins: LoginStore, **given: Any) -> int:
    with pytest.raises(TooManyAttempts) as raised:
        begin(logins, **given)
    return raised.value.retry_after_seconds


def count(database: Database, table: sa.Table) -> int:
    with database.read() as connection:
        query = sa.select(sa.func.count()).select_from(table)
        return connection.execute(query).scalar_one()


class TestAttempts:
    def test_as_many_begin_as_may_in_all_workers(
        self, logins: LoginStore, elsewhere: LoginStore
    ) -> None:
        numbers = [begin(each) for each in (logins, elsewhere, logins)]
        assert len(set(numbers)) == 3
        for each in (logins, elsewhere):
            assert retry_after(each) == 60

    def test_another_subject_or_address_has_its_own(self, logins: LoginStore) -> None:
        for _ in range(3):
            begin(logins)
        begin(logins, "bob")
        begin(logins, address="there")
        assert retry_after(logins) == 60

    def test_all_addresses_have_one_bound_together(self, logins: LoginStore) -> None:
        for number in range(5):
            begin(logins, address=f"address {number}", now=NOW + number)
        assert retry_after(logins, address="another", now=NOW + 10) == 50
        begin(logins, "bob", "another", now=NOW + 10)
        begin(logins, address="another", now=NOW + 60.5)

    def test_one_that_was_refused_is_not_counted(
        self, logins: LoginStore, database: Database
    ) -> None:
        for _ in range(3):
            begin(logins)
        for _ in range(5):
            retry_after(logins)
        assert count(database, password_attempts) == 3

    def test_one_that_is_forgotten_leaves_its_room_to_another(
        self, logins: LoginStore
    ) -> None:
        numbers = [begin(logins) for _ in range(3)]
        logins.forget_attempt(numbers[1])
        logins.forget_attempt(numbers[1])
        begin(logins)
        assert retry_after(logins) == 60

    @pytest.mark.parametrize(
        ("seconds", "told"),
        [(0, 60), (0.5, 60), (1, 59), (30.25, 30), (59, 1), (59.9, 1), (60, 1)],
    )
    def test_it_is_told_after_how_many_seconds_there_is_room(
        self, logins: LoginStore, seconds: float, told: int
    ) -> None:
        for _ in range(3):
            begin(logins)
        assert retry_after(logins, now=NOW + seconds) == told
        begin(logins, now=NOW + seconds + told + 0.5)

    def test_the_oldest_of_the_last_ones_says_when(self, logins: LoginStore) -> None:
        for now in (0, 10, 20):
            begin(logins, now=NOW + now)
        assert retry_after(logins, now=NOW + 25) == 35
        begin(logins, now=NOW + 60.5)
        assert retry_after(logins, now=NOW + 60.5) == 10  # 9.5, rounded up

    def test_those_of_a_host_whose_clock_is_ahead_count_as_of_now(
        self, logins: LoginStore
    ) -> None:
        for _ in range(3):
            begin(logins, now=NOW + 20)
        assert retry_after(logins) == 60

    def test_old_ones_are_removed_of_all_subjects(
        self, logins: LoginStore, database: Database
    ) -> None:
        for subject in ("ann", "bob", "carol"):
            begin(logins, subject)
        begin(logins, "dave", now=NOW + 60)
        assert count(database, password_attempts) == 4, "a minute is not over"
        begin(logins, "dave", now=NOW + 60.5)
        assert count(database, password_attempts) == 2

    def test_no_more_begin_than_may_however_they_race(
        self, logins: LoginStore, elsewhere: LoginStore, database: Database
    ) -> None:
        stores = logins, elsewhere
        results = race_threads(16, lambda n: begin(stores[n % 2]))
        assert sum(isinstance(each, int) for each in results) == 3
        assert [type(each) for each in results].count(TooManyAttempts) == 13
        assert count(database, password_attempts) == 3

    def test_nor_from_all_addresses(
        self, logins: LoginStore, elsewhere: LoginStore
    ) -> None:
        stores = logins, elsewhere
        results = race_threads(
            16, lambda n: begin(stores[n % 2], address=f"address {n}")
        )
        assert sum(isinstance(each, int) for each in results) == 5


class TestKnownCredentials:
    def test_what_was_right_is_known_to_all_workers_until_its_time(
        self, logins: LoginStore, elsewhere: LoginStore
    ) -> None:
        logins.remember("a", now=NOW, expires=NOW + 10)
        for each in (logins, elsewhere):
            assert each.is_known("a", now=NOW)
            assert each.is_known("a", now=NOW + 9.9)
            assert not each.is_known("a", now=NOW + 10)
            assert not each.is_known("b", now=NOW)

    def test_what_is_right_again_is_known_for_longer(
        self, logins: LoginStore, database: Database
    ) -> None:
        logins.remember("a", now=NOW, expires=NOW + 10)
        logins.remember("a", now=NOW + 5, expires=NOW + 15)
        assert logins.is_known("a", now=NOW + 12)
        assert count(database, known_credentials) == 1

    def test_what_is_no_longer_known_is_removed(
        self, logins: LoginStore, database: Database
    ) -> None:
        for digest, expires in (("a", 1), ("b", 2), ("c", 3)):
            logins.remember(digest, now=NOW, expires=NOW + expires)
        logins.remember("d", now=NOW + 2, expires=NOW + 4)
        assert count(database, known_credentials) == 2

    def test_many_that_are_right_at_once_are_all_known(
        self, logins: LoginStore, elsewhere: LoginStore, database: Database
    ) -> None:
        stores = logins, elsewhere

        def remember(number: int) -> None:
            stores[number % 2].remember(f"{number % 4}", now=NOW, expires=NOW + 9)

        assert race_threads(16, remember) == [None] * 16
        assert count(database, known_credentials) == 4
