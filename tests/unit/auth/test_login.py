import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import sqlalchemy as sa

from app.auth.accounts import Accounts
from app.auth.login import KNOWN_SECONDS, REMEMBERED_SECONDS, PasswordLogin
from app.auth.passwords import Passwords
from app.auth.permissions import Identity, Scope
from app.errors import NotAuthenticated, PasswordChecksExceeded, TooManyAttempts
from app.storage.account_store import AccountStore, Row
from app.storage.engine import Database
from app.storage.login_store import LoginStore
from app.storage.prepared import Prepared
from app.storage.tables import known_credentials, password_attempts
from tests.racing import race_threads
from tests.servers import wait_until
from tests.unit.auth.conftest import PASSWORD, Clock, MakeAccounts, user

KEY = b"the key of one run of the service"
HERE = "192.0.2.1"
MINUTE = 60.0


class CountingPasswords(Passwords):
    """Counts what is checked; the first checks may be held up by `gate`."""

    def __init__(self, *, max_waiting: int = 64) -> None:
        super().__init__(max_waiting=max_waiting)
        self.checked: list[str | None] = []
        self.gate = threading.Event()
        self.gate.set()

    def verify(self, kept_hash: str | None, password: str) -> bool:
        self.checked.append(kept_hash)
        self.gate.wait(30)
        return super().verify(kept_hash, password)


class Worker:
    """The sign-in of one worker; what comes of a try is returned, also an error."""

    def __init__(self, database: Database, key: bytes = KEY) -> None:
        self.passwords = CountingPasswords()
        self.login = PasswordLogin(
            accounts=AccountStore(database),
            logins=LoginStore(database),
            passwords=self.passwords,
            key=key,
            secret_key="kept over restarts",
        )

    def enter(
        self, username: str = "ann", password: str = PASSWORD, address: str = HERE
    ) -> Identity:
        return self.login.authenticate(username, password, address=address)

    def attempt(
        self, username: str = "ann", password: str = "wrong", address: str = HERE
    ) -> type:
        """Return Identity for who is let in, or the class of what was raised."""
        try:
            return type(self.enter(username, password, address))
        except (NotAuthenticated, TooManyAttempts, PasswordChecksExceeded) as error:
            return type(error)

    def attempts(self, count: int, **given: str) -> list[type]:
        return [self.attempt(**given) for _ in range(count)]

    @property
    def hashes(self) -> int:
        return len(self.passwords.checked)


@pytest.fixture
def worker(database: Database) -> Worker:
    return Worker(database)


@pytest.fixture
def second(other: Database) -> Worker:
    return Worker(other)


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """Collect the statements that are executed meanwhile."""
    executed: list[str] = []

    def keep(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        executed.append(statement)

    def first(prepared: Prepared, **values: Any) -> Any:
        executed.append(prepared.text)
        return Database.first(database, prepared, **values)

    sa.event.listen(database._engine, "before_cursor_execute", keep)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "first", first)
        yield executed
    sa.event.remove(database._engine, "before_cursor_execute", keep)


def rows(database: Database, table: sa.Table) -> list[Any]:
    with database.read() as connection:
        return list(connection.execute(sa.select(table)).mappings())


class TestRightCredentials:
    def test_a_user_is_known_by_the_password(self, worker: Worker, ann: Row) -> None:
        assert worker.enter() == Identity(
            account=ann["number"],
            username="ann",
            scopes=frozenset({Scope.READ, Scope.EXEC, Scope.SMS}),
            via="basic",
        )

    def test_an_admin_is_known_for_one_and_no_longer_after_that(
        self, worker: Worker, accounts: Accounts
    ) -> None:
        accounts.add(user("root", admin=True))
        accounts.add(user("ann", admin=True))
        assert worker.enter().is_admin
        accounts.change("ann", {"admin": False})
        assert not worker.enter().is_admin
        assert worker.hashes == 1

    @pytest.mark.usefixtures("ann")
    def test_the_hash_is_paid_once_by_identical_credentials(
        self, worker: Worker
    ) -> None:
        assert worker.attempts(50, password=PASSWORD) == [Identity] * 50
        assert worker.hashes == 1

    @pytest.mark.usefixtures("ann")
    def test_the_hash_is_paid_once_by_many_that_come_at_once(
        self, worker: Worker
    ) -> None:
        assert race_threads(16, lambda _: worker.attempt("ann", PASSWORD)) == (
            [Identity] * 16
        )
        assert worker.hashes == 1

    @pytest.mark.usefixtures("ann")
    def test_those_who_come_at_once_in_two_workers_are_all_let_in(
        self, worker: Worker, second: Worker
    ) -> None:
        both = (worker, second)
        entered = race_threads(16, lambda n: both[n % 2].attempt("ann", PASSWORD))
        assert entered == [Identity] * 16
        assert worker.hashes + second.hashes <= 2

    @pytest.mark.usefixtures("ann")
    def test_what_is_remembered_lasts_its_time_and_no_longer(
        self, worker: Worker, clock: Clock
    ) -> None:
        worker.enter()
        clock.now += REMEMBERED_SECONDS - 1
        worker.enter()
        assert worker.hashes == 1
        clock.now += 1
        worker.enter()
        assert worker.hashes == 2

    @pytest.mark.usefixtures("ann")
    def test_what_is_remembered_is_bounded_in_number(
        self, worker: Worker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("app.auth.login.REMEMBERED_COUNT", 3)
        for number in range(10):
            worker.login._remember(b"%d" % number)
            assert len(worker.login._remembered) <= 3
        worker.enter()
        worker.enter()
        assert worker.hashes == 1

    @pytest.mark.usefixtures("ann")
    def test_wrong_ones_are_not_remembered(self, worker: Worker) -> None:
        for _ in range(3):
            worker.attempt()
            worker.attempt("nobody")
        assert worker.login._remembered == {}
        assert worker.hashes == 6

    def test_what_is_remembered_tells_where_the_name_ends(
        self, worker: Worker, ann: Row
    ) -> None:
        digests = {
            worker.login._digest(name, password, account, HERE)
            for account in (ann, None)
            for name, password in (("ab", "c"), ("a", "bc"), ("abc", ""), ("", "abc"))
        }
        assert len(digests) == 8

    @pytest.mark.usefixtures("ann")
    def test_who_is_known_at_one_address_is_not_guessed_at_from_another(
        self, worker: Worker
    ) -> None:
        worker.enter()
        guesses = worker.attempts(20, address="203.0.113.9")
        assert guesses == [NotAuthenticated] * 10 + [TooManyAttempts] * 10
        assert worker.attempt(password=PASSWORD, address="203.0.113.9") is (
            TooManyAttempts
        ), "even the right one"
        assert worker.attempt(password=PASSWORD) is Identity


@pytest.mark.usefixtures("ann")
class TestWhatChangesIsEffectiveAtOnce:
    @pytest.fixture(params=["in the same worker", "in another worker"])
    def entered(self, request: pytest.FixtureRequest) -> Worker:
        """Return a worker in which ann is remembered."""
        is_same = request.param == "in the same worker"
        worker = request.getfixturevalue("worker" if is_same else "second")
        assert worker.attempts(2, password=PASSWORD) == [Identity] * 2
        return worker

    def test_a_changed_password(self, entered: Worker, accounts: Accounts) -> None:
        accounts.change("ann", {"password": "another one"})
        assert entered.attempt("ann", PASSWORD) is NotAuthenticated
        assert entered.attempt("ann", "another one") is Identity
        accounts.replace("ann", user("ann", password="a third one"))
        assert entered.attempt("ann", "another one") is NotAuthenticated
        assert entered.attempt("ann", PASSWORD) is NotAuthenticated
        assert entered.attempt("ann", "a third one") is Identity

    def test_a_password_changed_to_itself_is_hashed_again(
        self, entered: Worker, accounts: Accounts
    ) -> None:
        accounts.change("ann", {"password": PASSWORD})
        before = entered.hashes
        assert entered.attempt("ann", PASSWORD) is Identity
        assert entered.hashes == before + 1

    def test_a_removed_user(self, entered: Worker, accounts: Accounts) -> None:
        accounts.remove("ann")
        assert entered.attempt("ann", PASSWORD) is NotAuthenticated

    def test_a_user_removed_and_made_again_with_another_password(
        self, entered: Worker, accounts: Accounts
    ) -> None:
        accounts.remove("ann")
        accounts.add(user("ann", password="another one"))
        assert entered.attempt("ann", PASSWORD) is NotAuthenticated
        assert entered.attempt("ann", "another one") is Identity

    def test_a_user_removed_and_made_again_with_the_same_password_is_another_one(
        self, entered: Worker, accounts: Accounts, ann: Row
    ) -> None:
        accounts.remove("ann")
        again = accounts.add(user("ann"))
        before = entered.hashes
        assert entered.enter().account == again["number"] != ann["number"]
        assert entered.hashes == before + 1

    def test_a_new_name(self, entered: Worker, accounts: Accounts, ann: Row) -> None:
        accounts.change("ann", {"username": "anna"})
        assert entered.attempt("ann", PASSWORD) is NotAuthenticated
        identity = entered.enter("anna")
        assert (identity.account, identity.username) == (ann["number"], "anna")

    def test_a_new_name_that_was_another_s(
        self, entered: Worker, accounts: Accounts, ann: Row
    ) -> None:
        bob = accounts.add(user("bob", password="bob's own"))
        assert entered.attempt("bob", "bob's own") is Identity
        accounts.change("ann", {"username": "carol"})
        accounts.change("bob", {"username": "ann"})
        assert entered.attempt("ann", PASSWORD) is NotAuthenticated
        assert entered.enter("ann", "bob's own").account == bob["number"]
        assert entered.enter("carol").account == ann["number"]

    def test_a_change_of_another_user_costs_no_hash(
        self, entered: Worker, accounts: Accounts
    ) -> None:
        accounts.add(user("bob"))
        accounts.change("bob", {"password": "another one"})
        accounts.change("ann", {"fullname": "Ann", "admin": False})
        before = entered.hashes
        entered.enter()
        assert entered.hashes == before


@pytest.mark.usefixtures("ann")
class TestNothingTellsWhetherThereIsAUser:
    @pytest.fixture(params=["first", "later"])
    def warm(self, request: pytest.FixtureRequest, worker: Worker) -> Worker:
        if request.param == "later":
            worker.enter()
        else:
            worker.login._accounts.find("ann")  # or the migrations would be seen
        return worker

    @pytest.mark.parametrize("password", ["wrong", "", "p" * 1000, "\ud800"])
    def test_a_wrong_password_and_an_unknown_name_take_the_same_path(
        self, warm: Worker, database: Database, password: str
    ) -> None:
        paths = []
        for name in ("ann", "bob"):
            before = warm.hashes
            with statements(database) as executed:
                assert warm.attempt(name, password) is NotAuthenticated
            paths.append((executed, warm.hashes - before))
        assert paths[0] == paths[1]
        assert paths[0][1] == 1, "a hash is checked once"
        assert any("FROM accounts" in statement for statement in paths[0][0])

    def test_so_do_those_who_are_throttled(
        self, worker: Worker, database: Database
    ) -> None:
        paths = []
        for name in ("ann", "bob"):
            worker.attempts(10, username=name)
            before = worker.hashes
            with statements(database) as executed:
                assert worker.attempt(name) is TooManyAttempts
            paths.append((executed, worker.hashes - before))
        assert paths[0] == paths[1]
        assert paths[0][1] == 0, "no hash is paid for them"

    def test_what_is_raised_reads_the_same_and_tells_the_audit_alone(
        self, worker: Worker
    ) -> None:
        told = []
        for name in ("ann", "bob"):
            for count in (1, 10):
                for _ in range(count):
                    with pytest.raises((NotAuthenticated, TooManyAttempts)) as raised:
                        worker.enter(name, "wrong")
                told.append((type(raised.value), str(raised.value)))
                assert raised.value.username == ("ann" if name == "ann" else None)
        assert told[:2] == told[2:]
        assert [kind for kind, _ in told[:2]] == [NotAuthenticated, TooManyAttempts]

    @pytest.mark.parametrize(
        "name",
        [
            "",
            "ann\0",
            "\0",
            "\ud800",
            "ann\udcff",
            "a" * 10_240,
            "ann:",
            ":ann",
            "ann ",
            " ann",
            "ann\n",
            "Ann",
            "ANN",
            "\uff41nn",  # a fullwidth letter
            "ann\u200b",
            ".",
            "..",
            "ann~1",
            "ann/../ann",
            "%61nn",
            "ann' OR '1'='1",
            "ann%",
            "_nn",
        ],
    )
    def test_a_name_that_nobody_has_is_simply_unknown(
        self, worker: Worker, second: Worker, name: str
    ) -> None:
        for _ in range(5):
            assert worker.attempt(name, PASSWORD) is NotAuthenticated
            assert second.attempt(name, PASSWORD) is NotAuthenticated
        assert worker.attempt(name, PASSWORD) is TooManyAttempts
        assert worker.hashes == 5
        assert worker.attempt("ann", PASSWORD) is Identity

    def test_such_names_are_unknown_in_both_databases(
        self, workers: tuple[Database, Database], make_accounts: MakeAccounts
    ) -> None:
        database, _ = workers
        make_accounts(database).add(user("ann"))
        worker = Worker(database)
        for name in ("ann\0", "\ud800", "a" * 10_240, "ann:", ""):
            assert worker.attempt(name, PASSWORD) is NotAuthenticated
            assert worker.attempt(name, "\0\ud800") is NotAuthenticated
        assert worker.attempt("ann", PASSWORD) is Identity


@pytest.mark.usefixtures("ann")
class TestThrottling:
    def test_ten_wrong_passwords_in_a_minute_are_answered_and_no_eleventh(
        self, worker: Worker, clock: Clock
    ) -> None:
        for _ in range(10):
            assert worker.attempt() is NotAuthenticated
            clock.now += 1
        assert worker.attempts(5) == [TooManyAttempts] * 5
        assert worker.hashes == 10

    def test_then_the_right_password_is_not_looked_at_either(
        self, worker: Worker
    ) -> None:
        worker.attempts(10)
        assert worker.attempt("ann", PASSWORD) is TooManyAttempts
        assert worker.hashes == 10

    def test_they_are_counted_over_all_workers(
        self, worker: Worker, second: Worker
    ) -> None:
        tries = [each.attempt() for _ in range(5) for each in (worker, second)]
        assert tries == [NotAuthenticated] * 10
        assert [each.attempt() for each in (worker, second)] == [TooManyAttempts] * 2

    @pytest.mark.parametrize("name", ["ann", "nobody"])
    def test_no_more_than_ten_guesses_are_answered_however_they_race(
        self,
        workers: tuple[Database, Database],
        make_accounts: MakeAccounts,
        name: str,
    ) -> None:
        make_accounts(workers[0]).add(user("ann"))
        both = [Worker(database) for database in workers]

        def guess(number: int) -> list[type]:
            guesser = both[number % 2]
            return [guesser.attempt(name, f"guess {number} {n}") for n in range(3)]

        answers = [answer for some in race_threads(10, guess) for answer in some]

        assert answers.count(NotAuthenticated) == 10
        assert answers.count(TooManyAttempts) == 20
        assert both[0].hashes + both[1].hashes == 10

    def test_another_name_is_not_concerned(
        self, worker: Worker, accounts: Accounts
    ) -> None:
        accounts.add(user("bob"))
        worker.attempts(11)
        assert worker.attempt("bob", PASSWORD) is Identity
        assert worker.attempt("nobody") is NotAuthenticated

    def test_another_address_is_not_concerned(self, worker: Worker) -> None:
        worker.attempts(11)
        for address in ("192.0.2.2", "2001:db8::1", ""):
            assert worker.attempt(address=address) is NotAuthenticated
        assert worker.attempt("ann", PASSWORD, "192.0.2.2") is Identity

    def test_a_hundred_from_all_addresses_are_answered_and_no_more(
        self, worker: Worker, accounts: Accounts
    ) -> None:
        accounts.add(user("bob"))
        tries = [
            worker.attempt(address=f"192.0.2.{number}")
            for number in range(20)
            for _ in range(5)
        ]
        assert tries == [NotAuthenticated] * 100
        assert worker.attempt(address="198.51.100.1") is TooManyAttempts
        assert worker.attempt("ann", PASSWORD, "198.51.100.1") is TooManyAttempts
        assert worker.attempt("bob", PASSWORD, "198.51.100.1") is Identity

    def test_a_name_that_nobody_has_is_throttled_alike(self, worker: Worker) -> None:
        for name in ("nobody", "no\0body", "\ud800", "n" * 10_240):
            tries = worker.attempts(12, username=name)
            assert tries == [NotAuthenticated] * 10 + [TooManyAttempts] * 2

    def test_names_are_told_apart_as_they_are(self, worker: Worker) -> None:
        worker.attempts(10)
        for name in ("ANN", "ann ", "ann\0", "nn"):
            assert worker.attempt(name) is NotAuthenticated

    def test_the_window_slides(self, worker: Worker, clock: Clock) -> None:
        began = clock.now
        for second in range(10):
            clock.now = began + second
            assert worker.attempt() is NotAuthenticated
        clock.now = began + MINUTE
        assert worker.attempt() is TooManyAttempts, "a minute is not over yet"
        for second in range(10):
            clock.now = began + MINUTE + second + 0.5
            assert worker.attempts(2) == [NotAuthenticated, TooManyAttempts]
        clock.now += MINUTE + 0.5
        assert worker.attempts(11) == [NotAuthenticated] * 10 + [TooManyAttempts]

    def test_those_who_are_sent_away_do_not_wait_longer_for_having_tried(
        self, worker: Worker, clock: Clock
    ) -> None:
        worker.attempts(10)
        for _ in range(60):
            clock.now += 1
            worker.attempt()
        clock.now += 1
        assert worker.attempt("ann", PASSWORD) is Identity

    def test_it_is_told_when_to_come_again_and_holds(
        self, worker: Worker, clock: Clock
    ) -> None:
        began = clock.now
        for second in range(10):
            clock.now = began + second * 2.5
            worker.attempt()
        told = []
        while True:
            with pytest.raises((TooManyAttempts, NotAuthenticated)) as raised:
                worker.enter("ann", "wrong")
            if isinstance(raised.value, NotAuthenticated):
                break
            told.append(raised.value.retry_after_seconds)
            assert clock.now + told[-1] >= began + MINUTE
            clock.now += 1.5
        assert told[0] == 38, "of a minute that began 22.5 s ago"
        assert all(isinstance(each, int) and 1 <= each <= 60 for each in told)
        assert sorted(told, reverse=True) == told
        assert told[-1] == 1

    @pytest.mark.usefixtures("clock")
    def test_who_guesses_at_once_is_told_to_come_in_a_minute(
        self, worker: Worker
    ) -> None:
        worker.attempts(10)
        with pytest.raises(TooManyAttempts) as raised:
            worker.enter()
        assert raised.value.retry_after_seconds == 60

    def test_a_right_password_is_no_attempt(
        self, worker: Worker, second: Worker, accounts: Accounts, database: Database
    ) -> None:
        names = [f"user{number}" for number in range(3)]
        for name in names:
            accounts.add(user(name))
            for address in range(5):
                for each in (worker, second):
                    each.login._remembered.clear()
                    assert (
                        each.attempt(name, PASSWORD, f"192.0.2.{address}") is Identity
                    )
        assert rows(database, password_attempts) == []
        tries = worker.attempts(11, username=names[0])
        assert tries == [NotAuthenticated] * 10 + [TooManyAttempts]

    def test_many_passwords_given_anew_are_no_attempts(
        self, worker: Worker, accounts: Accounts
    ) -> None:
        for number in range(15):
            accounts.change("ann", {"password": f"secret {number}"})
            assert worker.attempt("ann", f"secret {number}") is Identity
        assert worker.attempts(10) == [NotAuthenticated] * 10

    def test_what_could_not_be_checked_is_no_attempt(
        self, worker: Worker, database: Database
    ) -> None:
        worker.passwords._places = threading.BoundedSemaphore(1)
        worker.passwords._places.acquire()
        assert worker.attempts(15) == [PasswordChecksExceeded] * 15
        worker.passwords._places.release()
        assert rows(database, password_attempts) == []
        assert worker.attempts(10) == [NotAuthenticated] * 10

    def test_guesses_that_are_being_checked_count_already(
        self, worker: Worker, second: Worker
    ) -> None:
        worker.login._stripes = [nullcontext()] * 64  # or some wait for each other
        worker.passwords.gate.clear()
        with ThreadPoolExecutor(10) as pool:
            for number in range(10):
                pool.submit(worker.attempt, "ann", f"guess {number}")
            try:
                wait_until(lambda: worker.hashes == 10)
                assert second.attempt() is TooManyAttempts
                assert second.attempt("ann", PASSWORD) is TooManyAttempts
            finally:
                worker.passwords.gate.set()


@pytest.mark.usefixtures("ann")
class TestNobodyIsLockedOutByGuessing:
    def test_credentials_that_were_right_go_on_working_in_every_worker(
        self, worker: Worker, second: Worker
    ) -> None:
        assert worker.attempt("ann", PASSWORD) is Identity
        assert second.attempts(10) == [NotAuthenticated] * 10
        assert second.attempt() is TooManyAttempts
        assert second.attempt("ann", PASSWORD) is Identity, "never verified by it"
        assert worker.attempt("ann", PASSWORD) is Identity

    def test_also_where_a_hundred_were_given_from_all_addresses(
        self, worker: Worker, second: Worker
    ) -> None:
        worker.enter()
        for number in range(10):
            worker.attempts(10, address=f"192.0.2.{number}")
        assert worker.attempt(address="198.51.100.1") is TooManyAttempts
        assert second.attempt("ann", PASSWORD) is Identity

    def test_a_password_that_was_changed_is_not_among_them(
        self, worker: Worker, second: Worker, accounts: Accounts
    ) -> None:
        worker.enter()
        accounts.change("ann", {"password": "another one"})
        worker.attempts(10)
        for each in (worker, second):
            assert each.attempt("ann", PASSWORD) is TooManyAttempts
            assert each.attempt("ann", "another one") is TooManyAttempts

    def test_they_are_no_more_after_a_day_without_use(
        self, worker: Worker, second: Worker, clock: Clock
    ) -> None:
        worker.enter()
        clock.now += KNOWN_SECONDS - 1
        second.attempts(10)
        assert worker.attempt("ann", PASSWORD) is Identity
        clock.now += KNOWN_SECONDS
        second.attempts(10)
        assert worker.attempt("ann", PASSWORD) is TooManyAttempts

    def test_who_signs_in_every_hour_is_never_locked_out(
        self, worker: Worker, second: Worker, clock: Clock
    ) -> None:
        worker.enter()
        for _ in range(30):
            clock.now += 3600
            second.attempts(11)
            assert worker.attempt("ann", PASSWORD) is Identity

    def test_under_another_key_nothing_is_known(
        self, worker: Worker, other: Database
    ) -> None:
        worker.enter()
        stranger = Worker(other, key=b"another run's")
        stranger.attempts(10)
        assert stranger.attempt("ann", PASSWORD) is TooManyAttempts

    def test_credentials_that_are_known_cost_the_hash_in_each_worker_once(
        self, worker: Worker, second: Worker
    ) -> None:
        for each in (worker, second):
            each.enter()
            each.enter()
        assert (worker.hashes, second.hashes) == (1, 1)


class TestWhatIsKept:
    def test_nothing_that_is_kept_shows_names_passwords_or_what_they_hash_to(
        self, worker: Worker, ann: Row, database: Database
    ) -> None:
        worker.enter()
        worker.attempt("ann", "a wrong guess")
        worker.attempt("somebody", "another guess")
        known, attempts = (
            rows(database, table) for table in (known_credentials, password_attempts)
        )
        assert (len(known), len(attempts)) == (1, 2)
        shown = f"{known} {attempts}"
        for secret in ("ann", PASSWORD, "guess", "somebody", ann["password_hash"]):
            assert secret not in shown
        for digest in (known[0]["digest"], *(row["subject"] for row in attempts)):
            assert len(digest) == 64

    @pytest.mark.usefixtures("ann")
    def test_old_attempts_and_what_is_no_longer_known_go_away(
        self, worker: Worker, database: Database, clock: Clock
    ) -> None:
        worker.enter()
        worker.attempts(5)
        clock.now += KNOWN_SECONDS + 1
        worker.attempt("bob", "wrong")
        worker.enter()
        assert len(rows(database, password_attempts)) == 1
        assert len(rows(database, known_credentials)) == 1

    def test_passwords_are_kept_nowhere_in_the_file(
        self,
        worker: Worker,
        accounts: Accounts,
        read_all: Callable[[], bytes],
    ) -> None:
        accounts.add(user("ann", password="a-canary-of-9e2f"))
        worker.enter("ann", "a-canary-of-9e2f")
        worker.attempt("ann", "a-wrong-canary-of-9e2f")
        accounts.change("ann", {"password": "a-new-canary-of-9e2f"})
        kept = read_all()
        assert b"$argon2id$" in kept
        assert b"canary" not in kept
