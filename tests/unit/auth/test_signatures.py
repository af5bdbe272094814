import ast
import hashlib
import hmac
import itertools
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from app import auth
from app.auth.accounts import Accounts
from app.auth.permissions import ORDINARY, Scope
from app.auth.signatures import SignedCallers
from app.errors import AccountNotFound, UuidRefused
from app.storage.account_store import AccountStore, Row
from app.storage.engine import Database
from tests.unit.auth.conftest import Clock, MakeAccounts, user

SECRET_KEY = "the secret key of the service"
MAX_AGE_SECONDS = 300
# Also where openssl is not installed: the formula is the same.
SIGNERS = ["hmac", *(["openssl"] if shutil.which("openssl") else [])]


def make(database: Database, secret_key: str = SECRET_KEY) -> SignedCallers:
    return SignedCallers(
        accounts=AccountStore(database),
        secret_key=secret_key,
        max_age_seconds=MAX_AGE_SECONDS,
    )


@pytest.fixture
def callers(database: Database) -> SignedCallers:
    return make(database)


@pytest.fixture
def elsewhere(other: Database) -> SignedCallers:
    return make(other)


def signature(key: str, text: str, signer: str = "hmac") -> str:
    if signer == "hmac":
        return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()
    told = subprocess.run(
        ["openssl", "dgst", "-sha256", "-hmac", key],
        input=text,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return told.split()[-1]


def signed(key: str, caller: str, seconds: float, signer: str = "hmac") -> str:
    text = f"{caller}.{int(seconds)}"
    return f"{text}.{signature(key, text, signer)}"


def is_good(callers: SignedCallers, uuid: str) -> bool:
    try:
        callers.check(uuid)
    except UuidRefused:
        return False
    return True


class TestTheFormula:
    @pytest.mark.parametrize("signer", SIGNERS)
    @pytest.mark.parametrize(
        "name",
        ["ann", "a", "ann.b", "ann.1700000000", ".ann", "a..b.", "a@b.example", "-_+"],
    )
    def test_a_uuid_that_the_caller_has_signed_tells_the_caller(
        self,
        callers: SignedCallers,
        accounts: Accounts,
        clock: Clock,
        name: str,
        signer: str,
    ) -> None:
        row = accounts.add(user(name))
        key = callers.issue_key(name)
        uuid = signed(key, name, clock.now, signer)

        found = callers.check(uuid)

        assert (found.identity.account, found.identity.username) == (
            row["number"],
            name,
        )
        assert (found.identity.via, found.identity.scopes) == ("signature", ORDINARY)
        assert found.digest == hashlib.sha256(uuid.encode()).hexdigest()

    @pytest.mark.usefixtures("ann")
    def test_what_the_service_signs_is_what_the_formula_says(
        self, callers: SignedCallers, accounts: Accounts, clock: Clock
    ) -> None:
        key = callers.issue_key("ann")
        clock.now += 0.75
        assert callers.sign(accounts.get("ann")) == signed(key, "ann", clock.now)

    def test_a_key_is_text_that_any_shell_can_hold(
        self, callers: SignedCallers, ann: Row
    ) -> None:
        key = callers.issue_key(ann["username"])
        assert len(key) == 64
        assert set(key) <= set("0123456789abcdef")

    def test_the_key_s_text_is_the_key_not_the_bytes_it_spells(
        self, callers: SignedCallers, ann: Row, clock: Clock
    ) -> None:
        key = callers.issue_key(ann["username"])
        text = f"ann.{int(clock.now)}"
        spelt = hmac.new(bytes.fromhex(key), text.encode(), hashlib.sha256).hexdigest()
        assert not is_good(callers, f"{text}.{spelt}")

    def test_every_worker_knows_the_caller(
        self, callers: SignedCallers, elsewhere: SignedCallers, ann: Row, clock: Clock
    ) -> None:
        uuid = signed(callers.issue_key(ann["username"]), "ann", clock.now)
        assert callers.check(uuid) == elsewhere.check(uuid)

    def test_an_admin_is_known_for_one_for_as_long_as_that_lasts(
        self, callers: SignedCallers, accounts: Accounts, clock: Clock
    ) -> None:
        for name in ("root", "second"):
            accounts.add(user(name, admin=True))
        uuid = signed(callers.issue_key("root"), "root", clock.now)
        assert Scope.ADMIN in callers.check(uuid).identity.scopes
        accounts.change("root", {"admin": False})
        assert callers.check(uuid).identity.scopes == ORDINARY

    @pytest.mark.usefixtures("ann")
    def test_uuids_of_two_seconds_or_callers_do_not_stand_for_each_other(
        self, callers: SignedCallers, accounts: Accounts, clock: Clock
    ) -> None:
        accounts.add(user("bob"))
        keys = {name: callers.issue_key(name) for name in ("ann", "bob")}
        digests = {
            callers.check(signed(key, name, clock.now - age)).digest
            for name, key in keys.items()
            for age in (0, 1)
        }
        assert len(digests) == 4


@pytest.mark.usefixtures("ann")
class TestFreshness:
    @pytest.mark.parametrize(
        ("age_seconds", "good"),
        [
            (0, True),
            (MAX_AGE_SECONDS - 1, True),
            (MAX_AGE_SECONDS, True),
            (MAX_AGE_SECONDS + 1, False),
            (86400, False),
            (-30, True),
            (-31, False),
            (-86400, False),
        ],
    )
    def test_a_uuid_is_good_from_a_little_ahead_until_its_age(
        self, callers: SignedCallers, clock: Clock, age_seconds: int, good: bool
    ) -> None:
        key = callers.issue_key("ann")
        uuid = signed(key, "ann", clock.now - age_seconds)
        assert is_good(callers, uuid) is good

    def test_it_ages_by_the_clock(self, callers: SignedCallers, clock: Clock) -> None:
        uuid = signed(callers.issue_key("ann"), "ann", clock.now)
        clock.now += MAX_AGE_SECONDS
        assert is_good(callers, uuid)
        clock.now += 0.001
        assert not is_good(callers, uuid)

    @pytest.mark.parametrize(
        "seconds",
        [
            "0",
            "1",
            "000000000000000",
            "999999999999999",
            "9" * 16,
            "9" * 5000,
            "-1800000000",
            "+1800000000",
            "1800000000.0",
            "1.8e9",
            "0x6b49d200",
            "1_800_000_000",
            " 1800000000",
            "1800000000 ",
            "1800000000\n",
            "",
            "now",
            "\uff11\uff18" + "\uff10" * 8,  # fullwidth digits
            "\u0661\u0668" + "\u0660" * 8,  # arabic digits
            "\u00b2",
        ],
    )
    def test_a_time_that_is_none_or_is_not_now_is_refused_although_signed(
        self, callers: SignedCallers, clock: Clock, seconds: str
    ) -> None:
        assert int(clock.now) == 1_800_000_000
        text = f"ann.{seconds}"
        uuid = f"{text}.{signature(callers.issue_key('ann'), text)}"
        assert not is_good(callers, uuid)


class TestAlteredOnes:
    @pytest.fixture
    def good(self, callers: SignedCallers, ann: Row, clock: Clock) -> str:
        return signed(callers.issue_key(ann["username"]), "ann", clock.now)

    def test_a_bit_flipped_anywhere(self, callers: SignedCallers, good: str) -> None:
        flipped = {
            good[:at] + chr(ord(good[at]) ^ (1 << bit)) + good[at + 1 :]
            for at in range(len(good))
            for bit in range(7)
        }
        assert len(flipped) == 7 * len(good)
        assert [uuid for uuid in flipped if is_good(callers, uuid)] == []
        assert is_good(callers, good)

    def test_another_character_anywhere(
        self, callers: SignedCallers, good: str
    ) -> None:
        caller, seconds, hex_digits = good.split(".")
        for at, digit in itertools.product(range(64), "0123456789abcdef"):
            altered = hex_digits[:at] + digit + hex_digits[at + 1 :]
            uuid = f"{caller}.{seconds}.{altered}"
            assert is_good(callers, uuid) is (altered == hex_digits)

    def test_truncated_or_extended(self, callers: SignedCallers, good: str) -> None:
        ends = ["\n", "\r\n", " ", "\t", "\0", ".", "0", "a", "\u200b", "\ud800", "é"]
        altered = [
            *(good[:length] for length in range(len(good))),
            *(good[at:] for at in range(1, len(good) + 1)),
            *(good + end for end in ends),
            *(end + good for end in ends),
            *(good[:-1] + end for end in ends if end != good[-1]),
            good + good,
            f"{good}.{good}",
            good.replace(".", ".."),
            good.replace(".", "\uff0e"),
            good.replace(".", ","),
            good.replace(".", "%2e"),
        ]
        assert [uuid for uuid in altered if is_good(callers, uuid)] == []

    def test_in_other_alphabets(self, callers: SignedCallers, good: str) -> None:
        text, _, hex_digits = good.rpartition(".")
        wide = {ord(c): ord(c) + 0xFEE0 for c in "0123456789abcdef"}
        altered = [
            f"{text}.{hex_digits.upper()}",
            f"{text}.{hex_digits.translate(wide)}",
            f"{text.translate(wide)}.{hex_digits}",
            f"{text.upper()}.{hex_digits}",
            f"{text}.{bytes.fromhex(hex_digits).decode('latin-1')}",
            f"{text}.0x{hex_digits}",
            f"{text}.{int(hex_digits, 16)}",
            f"{text}.sha256={hex_digits}",
            f"{text}.{hex_digits[:32]}\u0661{hex_digits[33:]}",
            f"{text}.{'0' * 64}",
            f"{text}.{' ' * 64}",
            f"{text}.{'é' * 64}",
            f"{text}.{hashlib.sha256(text.encode()).hexdigest()}",
            f"{text}.{signature('', text)}",
        ]
        assert [uuid for uuid in altered if is_good(callers, uuid)] == []

    def test_another_caller_s_name_or_time(
        self, callers: SignedCallers, accounts: Accounts, good: str, clock: Clock
    ) -> None:
        accounts.add(user("bob"))
        callers.issue_key("bob")
        accounts.add(user("ann.x"))
        _, _, hex_digits = good.partition(".")[2].partition(".")
        now = int(clock.now)
        for text in (f"bob.{now}", f"ann.{now + 1}", f"ann.{now - 1}", f"ann.x.{now}"):
            assert not is_good(callers, f"{text}.{hex_digits}")

    def test_by_chance(self, callers: SignedCallers, good: str) -> None:
        chance = random.Random(4711)
        for _ in range(300):
            altered = list(good)
            for _ in range(chance.randint(1, 4)):
                at = chance.randrange(len(altered))
                altered[at] = chr(chance.choice([*range(128), 0xE9, 0xFF11, 0xD800]))
            uuid = "".join(altered)
            assert is_good(callers, uuid) is (uuid == good), uuid

    def test_of_what_is_no_uuid_at_all_in_both_databases(
        self, workers: tuple[Database, Database], make_accounts: MakeAccounts
    ) -> None:
        make_accounts(workers[0]).add(user("ann"))
        callers = make(workers[0])
        callers.issue_key("ann")
        digits = "0" * 64
        for uuid in (
            "",
            ".",
            "..",
            "ann",
            "ann..",
            f"..{digits}",
            f".1.{digits}",
            f"ann.1.{digits}",
            f"nobody.1.{digits}",
            f"\0.1.{digits}",
            f"ann\0.1.{digits}",
            f"\ud800.1.{digits}",
            "a" * 100_000,
            "." * 100_000,
            f"{'a' * 100_000}.1.{digits}",
            f"{'.a' * 50_000}.1.{digits}",
        ):
            assert not is_good(callers, uuid), uuid[:20]


class TestKeys:
    def test_a_new_key_ends_the_one_before_in_every_worker(
        self, callers: SignedCallers, elsewhere: SignedCallers, ann: Row, clock: Clock
    ) -> None:
        old = signed(callers.issue_key(ann["username"]), "ann", clock.now)
        assert is_good(elsewhere, old)
        new = signed(elsewhere.issue_key("ann"), "ann", clock.now)
        for each in (callers, elsewhere):
            assert not is_good(each, old)
            assert is_good(each, new)

    def test_two_accounts_have_two_keys(
        self, callers: SignedCallers, accounts: Accounts, ann: Row, clock: Clock
    ) -> None:
        accounts.add(user("bob"))
        of_ann, of_bob = callers.issue_key(ann["username"]), callers.issue_key("bob")
        assert of_ann != of_bob
        assert not is_good(callers, signed(of_ann, "bob", clock.now))
        assert not is_good(callers, signed(of_bob, "ann", clock.now))

    def test_an_account_made_again_under_the_name_has_another_key(
        self,
        callers: SignedCallers,
        accounts: Accounts,
        store: AccountStore,
        ann: Row,
        clock: Clock,
    ) -> None:
        key = callers.issue_key(ann["username"])
        nonce = accounts.get("ann")["signing_nonce"]
        uuid = signed(key, "ann", clock.now)
        accounts.remove("ann")
        assert not is_good(callers, uuid)
        accounts.add(user("ann"))
        assert not is_good(callers, uuid), "there is no key yet"
        assert callers.issue_key("ann") != key
        assert not is_good(callers, uuid)
        # Not the nonce alone makes the key.
        store.update("ann", {"signing_nonce": nonce})
        assert not is_good(callers, uuid)

    def test_a_renamed_caller_keeps_the_key_under_the_new_name_alone(
        self, callers: SignedCallers, accounts: Accounts, ann: Row, clock: Clock
    ) -> None:
        key = callers.issue_key(ann["username"])
        accounts.change("ann", {"username": "anna"})
        accounts.add(user("ann"))
        assert not is_good(callers, signed(key, "ann", clock.now))
        assert (
            callers.check(signed(key, "anna", clock.now)).identity.account
            == (ann["number"])
        )

    def test_a_changed_password_leaves_the_key(
        self, callers: SignedCallers, accounts: Accounts, ann: Row, clock: Clock
    ) -> None:
        uuid = signed(callers.issue_key(ann["username"]), "ann", clock.now)
        accounts.replace("ann", user("ann", password="another one"))
        assert is_good(callers, uuid)

    def test_who_has_no_key_yet_signs_nothing(
        self, callers: SignedCallers, ann: Row, clock: Clock
    ) -> None:
        number = ann["number"]
        for nonce in ("None", "", "null"):
            of_account = f"signing key {number} {nonce}".encode()
            key = hmac.digest(SECRET_KEY.encode(), of_account, hashlib.sha256).hex()
            assert not is_good(callers, signed(key, "ann", clock.now))
        assert not is_good(callers, signed("", "ann", clock.now))

    def test_what_is_kept_gives_nothing_without_the_secret_key(
        self, callers: SignedCallers, accounts: Accounts, ann: Row, clock: Clock
    ) -> None:
        key = callers.issue_key(ann["username"])
        row = accounts.get("ann")
        nonce, number = row["signing_nonce"], row["number"]
        of_account = f"signing key {number} {nonce}"
        guesses = [
            nonce,
            of_account,
            hashlib.sha256(nonce.encode()).hexdigest(),
            hashlib.sha256(of_account.encode()).hexdigest(),
            *(
                hmac.digest(of.encode(), of_account.encode(), hashlib.sha256).hex()
                for of in ("", nonce, row["password_hash"], "the secret key")
            ),
        ]
        for guess in guesses:
            assert guess != key
            assert not is_good(callers, signed(guess, "ann", clock.now))
        assert key not in str(row)

    def test_under_another_secret_key_it_is_another_key(
        self, callers: SignedCallers, other: Database, ann: Row, clock: Clock
    ) -> None:
        uuid = signed(callers.issue_key(ann["username"]), "ann", clock.now)
        assert not is_good(make(other, "another secret key"), uuid)

    def test_signing_makes_a_key_where_there_is_none_and_keeps_one_there_is(
        self, callers: SignedCallers, accounts: Accounts, ann: Row
    ) -> None:
        first = callers.sign(ann)
        nonce = accounts.get("ann")["signing_nonce"]
        second = callers.sign(accounts.get("ann"))
        assert nonce == accounts.get("ann")["signing_nonce"]
        assert is_good(callers, first)
        assert is_good(callers, second)

    def test_nobody_s_key_is_not_made_in_both_databases(
        self, workers: tuple[Database, Database]
    ) -> None:
        callers = make(workers[0])
        for name in ("nobody", "", "\0", "\ud800", "a" * 10_240):
            with pytest.raises(AccountNotFound):
                callers.issue_key(name)


SECRETS = ("signature", "token", "digest", "password", "secret", "key", "nonce", "good")
ORDERINGS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)


def comparisons_of_secrets(source: str) -> list[str]:
    """Return where a secret is compared by an operator, which stops at a difference."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Compare) or isinstance(node.ops[0], ORDERINGS):
            continue
        sides = [node.left, *node.comparators]
        if any(isinstance(side, ast.Constant) for side in sides):
            continue  # None, or the name of something
        text = ast.unparse(node)
        if any(secret in text.lower() for secret in SECRETS):
            found.append(text)
    return found


class TestNothingIsComparedCharacterByCharacter:
    def test_no_secret_of_the_room_is(self) -> None:
        modules = list(Path(auth.__path__[0]).glob("*.py"))
        assert len(modules) > 5
        for module in modules:
            assert comparisons_of_secrets(module.read_text()) == [], module.name

    @pytest.mark.parametrize(
        "source",
        [
            "signature == given",
            "given != _signature(key, text)",
            "token in tokens",
            "a == row['digest']",
            "given is password",
        ],
    )
    def test_one_that_is_would_be_seen(self, source: str) -> None:
        assert comparisons_of_secrets(source) == [source]

    def test_signatures_are_compared_in_constant_time(
        self, callers: SignedCallers, ann: Row, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        uuid = callers.sign(ann)
        compared: list[tuple[bytes, bytes]] = []
        compare = hmac.compare_digest

        def keep(first: bytes, second: bytes) -> bool:
            compared.append((first, second))
            return compare(first, second)

        monkeypatch.setattr(hmac, "compare_digest", keep)
        wrong = uuid[:-1] + ("0" if uuid[-1] != "0" else "1")
        assert is_good(callers, uuid)
        assert not is_good(callers, wrong)
        given = [second.decode() for _, second in compared]
        assert given == [each.rpartition(".")[2] for each in (uuid, wrong)]
