import hashlib
import re
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from app.auth.accounts import Accounts
from app.auth.permissions import ORDINARY, Scope
from app.auth.tokens import Token, Tokens
from app.errors import AccountNotFound, NotAuthenticated, NotPermitted, TokenNotFound
from app.storage.account_store import AccountStore, Row
from app.storage.engine import Database
from app.storage.tables import tokens as table
from tests.unit.auth.conftest import Clock, MakeAccounts, user

ALL = frozenset(Scope)


@pytest.fixture
def tokens(store: AccountStore) -> Tokens:
    return Tokens(store)


@pytest.fixture
def elsewhere(other: Database) -> Tokens:
    """Return the tokens as another worker knows them."""
    return Tokens(AccountStore(other))


@pytest.fixture
def root(accounts: Accounts) -> Row:
    accounts.add(user("second", admin=True))
    return accounts.add(user("root", admin=True))


def issue(
    tokens: Tokens,
    account: Row,
    *,
    scopes: list[str] | None = None,
    expires_seconds: float | None = None,
    description: str = "",
) -> tuple[str, Token]:
    return tokens.issue(
        account, scopes=scopes, expires_seconds=expires_seconds, description=description
    )


def is_good(tokens: Tokens, text: str) -> bool:
    try:
        tokens.authenticate(text)
    except NotAuthenticated:
        return False
    return True


def count(database: Database) -> int:
    with database.read() as connection:
        query = sa.select(sa.func.count()).select_from(table)
        return connection.execute(query).scalar_one()


def test_an_account_is_known_by_its_token_in_every_worker(
    tokens: Tokens, elsewhere: Tokens, ann: Row
) -> None:
    text, _ = issue(tokens, ann)
    for each in (tokens, elsewhere):
        identity = each.authenticate(text)
        assert (identity.account, identity.username) == (ann["number"], "ann")
        assert (identity.scopes, identity.via) == (ORDINARY, "bearer")


def test_a_token_cannot_be_guessed_and_is_known_for_one(
    tokens: Tokens, ann: Row
) -> None:
    texts = {issue(tokens, ann)[0] for _ in range(50)}
    assert len(texts) == 50
    for text in texts:
        assert re.fullmatch(r"bellhop_[A-Za-z0-9_-]{43}", text), "256 bits"


def test_nothing_that_is_kept_of_a_token_is_the_token(
    tokens: Tokens, ann: Row, read_all: Callable[[], bytes]
) -> None:
    text, token = issue(tokens, ann, description="of the backup")
    tokens.authenticate(text)
    kept = read_all()
    assert token.token_id.encode() in kept, "the files are the right ones"
    assert hashlib.sha256(text.encode()).hexdigest().encode() in kept
    secret = text.removeprefix("bellhop_")
    for part in (text, secret, secret[:12], secret[-12:], secret[15:27]):
        assert part.encode() not in kept
    assert text not in repr(token)
    assert secret not in repr(token)


def test_what_is_kept_is_not_good_for_a_token(tokens: Tokens, ann: Row) -> None:
    text, token = issue(tokens, ann)
    digest = hashlib.sha256(text.encode()).hexdigest()
    for wrong in (digest, f"bellhop_{digest}", token.token_id):
        assert not is_good(tokens, wrong)


@pytest.mark.usefixtures("ann")
@pytest.mark.parametrize(
    "text",
    ["", "bellhop_", "\0", "\ud800", "bellhop_\udcff", "x" * 100_000, "' OR 1=1 --"],
)
def test_what_was_never_issued_is_nobody_s(tokens: Tokens, text: str) -> None:
    assert not is_good(tokens, text)


def test_a_token_that_was_altered_is_nobody_s(tokens: Tokens, ann: Row) -> None:
    text, _ = issue(tokens, ann)
    flipped = [
        text[:at] + chr(ord(text[at]) ^ (1 << bit)) + text[at + 1 :]
        for at in range(len(text))
        for bit in (0, 5)
    ]
    others = [
        *(text[:length] for length in range(len(text))),
        *(f"{text}{end}" for end in ("\n", " ", "\0", "=", "A")),
        *(f"{start}{text}" for start in (" ", "\n", "b", "bellhop_")),
        text.upper(),
        text.lower(),
        text.swapcase(),
        text.removeprefix("bellhop_"),
        text.replace("bellhop", "\uff42ellhop"),
    ]
    for altered in {*flipped, *others} - {text}:
        assert not is_good(tokens, altered), altered
    assert is_good(tokens, text)


@pytest.mark.parametrize("scope", sorted(ORDINARY))
def test_a_token_is_good_for_its_scopes_alone(
    tokens: Tokens, ann: Row, scope: Scope
) -> None:
    text, token = issue(tokens, ann, scopes=[scope])
    assert token.scopes == (scope,)
    assert tokens.authenticate(text).scopes == {scope}


def test_without_scopes_it_is_good_for_all_but_admin_also_an_admin_s(
    tokens: Tokens, root: Row
) -> None:
    text, token = issue(tokens, root)
    assert token.scopes == (Scope.READ, Scope.EXEC, Scope.SMS)
    assert tokens.authenticate(text).scopes == ORDINARY
    assert not tokens.authenticate(text).is_admin


def test_scopes_are_kept_once_each_in_their_order(tokens: Tokens, root: Row) -> None:
    _, token = issue(tokens, root, scopes=["admin", "read", "read"])
    assert token.scopes == (Scope.READ, Scope.ADMIN)
    assert tokens.page(root, after=0, limit=1)[0].scopes == token.scopes


def test_a_scope_that_there_is_not_makes_no_token(
    tokens: Tokens, root: Row, database: Database
) -> None:
    for wrong in (["root"], ["read", "ADMIN"], ["read exec"], [""]):
        with pytest.raises(ValueError, match="is not a valid Scope"):
            issue(tokens, root, scopes=wrong)
    assert count(database) == 0


@pytest.mark.parametrize("scopes", [["admin"], ["read", "admin"], [*ALL]])
def test_the_scope_admin_is_refused_to_who_is_none(
    tokens: Tokens, ann: Row, database: Database, scopes: list[str]
) -> None:
    with pytest.raises(NotPermitted):
        issue(tokens, ann, scopes=scopes)
    assert count(database) == 0, "none was made"


class TestOfAnAdminWhoIsNoneAnyMore:
    def test_the_scope_is_lost_at_once(
        self, tokens: Tokens, elsewhere: Tokens, accounts: Accounts, root: Row
    ) -> None:
        text, _ = issue(tokens, root, scopes=[*ALL])
        assert elsewhere.authenticate(text).is_admin
        accounts.change("root", {"admin": False})
        for each in (tokens, elsewhere):
            assert each.authenticate(text).scopes == ORDINARY

    def test_a_token_for_nothing_else_is_good_for_nothing(
        self, tokens: Tokens, accounts: Accounts, root: Row
    ) -> None:
        text, _ = issue(tokens, root, scopes=["admin"])
        accounts.change("root", {"admin": False})
        assert tokens.authenticate(text).scopes == frozenset()

    def test_one_issued_by_what_was_known_before_is_no_admin_s(
        self, tokens: Tokens, accounts: Accounts, root: Row
    ) -> None:
        accounts.change("root", {"admin": False})
        text, _ = issue(tokens, root, scopes=[*ALL])  # root as he was
        assert not tokens.authenticate(text).is_admin


class TestOfWhoBecomesAnAdmin:
    def test_a_token_is_good_for_no_more_than_before(
        self, tokens: Tokens, accounts: Accounts, ann: Row
    ) -> None:
        text, _ = issue(tokens, ann)
        accounts.change("ann", {"admin": True})
        assert tokens.authenticate(text).scopes == ORDINARY


class TestExpiry:
    @pytest.mark.parametrize("seconds", [1, 60, 0.5, 10**10])
    def test_a_token_is_good_until_its_time_and_not_at_it(
        self, tokens: Tokens, ann: Row, clock: Clock, seconds: float
    ) -> None:
        text, token = issue(tokens, ann, expires_seconds=seconds)
        assert (token.created, token.expires) == (clock.now, clock.now + seconds)
        clock.now = token.expires - 0.25
        assert is_good(tokens, text)
        clock.now = token.expires
        assert not is_good(tokens, text)
        clock.now += 1
        assert not is_good(tokens, text)

    def test_one_without_a_time_does_not_expire(
        self, tokens: Tokens, ann: Row, clock: Clock
    ) -> None:
        text, token = issue(tokens, ann)
        assert token.expires is None
        clock.now += 100 * 365 * 86400
        tokens.remove_expired()
        assert is_good(tokens, text)

    def test_expired_ones_are_removed_and_no_others(
        self, tokens: Tokens, ann: Row, clock: Clock
    ) -> None:
        made = {
            seconds: issue(tokens, ann, expires_seconds=seconds)[1].token_id
            for seconds in (10, 20, 30, None)
        }
        tokens.remove_expired()
        clock.now += 20
        tokens.remove_expired()
        left = [token.token_id for token in tokens.page(ann, after=0, limit=9)]
        assert left == [made[30], made[None]]


class TestRevoking:
    def test_it_is_effective_at_once_in_every_worker(
        self, tokens: Tokens, elsewhere: Tokens, ann: Row
    ) -> None:
        (text, token), (kept, _) = issue(tokens, ann), issue(tokens, ann)
        assert is_good(elsewhere, text)
        tokens.revoke(ann, token.token_id)
        for each in (tokens, elsewhere):
            assert not is_good(each, text)
            assert is_good(each, kept)

    def test_it_is_done_once(self, tokens: Tokens, ann: Row) -> None:
        _, token = issue(tokens, ann)
        tokens.revoke(ann, token.token_id)
        with pytest.raises(TokenNotFound):
            tokens.revoke(ann, token.token_id)

    def test_another_user_s_token_is_none_of_ann_s(
        self, tokens: Tokens, accounts: Accounts, ann: Row
    ) -> None:
        bob = accounts.add(user("bob"))
        text, token = issue(tokens, bob)
        with pytest.raises(TokenNotFound):
            tokens.revoke(ann, token.token_id)
        assert is_good(tokens, text)
        assert tokens.page(ann, after=0, limit=9) == []

    def test_an_id_that_is_none_is_not_there_in_both_databases(
        self, workers: tuple[Database, Database], make_accounts: MakeAccounts
    ) -> None:
        ann = make_accounts(workers[0]).add(user("ann"))
        tokens = Tokens(AccountStore(workers[0]))
        text, token = issue(tokens, ann)
        for wrong in ("", "\0", "\ud800", "a" * 100_000, token.token_id.upper(), "%"):
            with pytest.raises(TokenNotFound):
                tokens.revoke(ann, wrong)
        assert is_good(tokens, text)


class TestOfARemovedUser:
    def test_tokens_are_nobody_s_at_once_in_every_worker(
        self, tokens: Tokens, elsewhere: Tokens, accounts: Accounts, ann: Row
    ) -> None:
        text, _ = issue(tokens, ann)
        assert is_good(elsewhere, text)
        accounts.remove("ann")
        accounts.add(user("ann"))
        for each in (tokens, elsewhere):
            assert not is_good(each, text)

    def test_no_token_is_issued(
        self, tokens: Tokens, accounts: Accounts, ann: Row, database: Database
    ) -> None:
        issue(tokens, ann)
        accounts.remove("ann")
        with pytest.raises(AccountNotFound):
            issue(tokens, ann)
        assert count(database) == 0


def test_a_renamed_user_keeps_the_tokens(
    tokens: Tokens, accounts: Accounts, ann: Row
) -> None:
    text, _ = issue(tokens, ann)
    accounts.change("ann", {"username": "anna"})
    assert tokens.authenticate(text).username == "anna"


def test_pages_follow_each_other_the_oldest_first(tokens: Tokens, ann: Row) -> None:
    made = [issue(tokens, ann, description=f"中 {n}")[1] for n in range(5)]
    found: list[Token] = []
    while page := tokens.page(ann, after=found[-1].number if found else 0, limit=2):
        assert len(page) <= 2
        found += page
    assert [token.token_id for token in found] == [token.token_id for token in made]
    assert [token.description for token in found] == [f"中 {n}" for n in range(5)]
    assert tokens.page(ann, after=2**62 - 1, limit=2) == []
