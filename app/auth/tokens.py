"""Bearer tokens: shown once, kept as a digest, good for their scopes and their time."""

import hashlib
import re
import secrets
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from app.errors import NotAuthenticated, NotPermitted, TokenNotFound
from app.storage.account_store import AccountStore, Row

from .permissions import ORDINARY, Identity, Scope, scopes_of

#: So that a token that leaked is known for one, by people and by scanners.
PREFIX = "bellhop_"
# 256 bits cannot be guessed, so that a fast digest is enough.
SECRET_BYTES = 32

# Anything else has never been given out; a database may refuse to look for it.
_TOKEN_ID = re.compile(r"[0-9a-f-]{36}")


@dataclass(frozen=True)
class Token:
    """What is known of a token, except itself; times are seconds since the epoch."""

    number: int
    token_id: str
    scopes: tuple[Scope, ...]
    description: str
    created: float
    expires: float | None


class Tokens:
    """Issues tokens to accounts, and knows accounts by them."""

    def __init__(self, accounts: AccountStore) -> None:
        self._accounts = accounts

    def issue(
        self,
        account: Row,
        *,
        scopes: Iterable[str] | None,
        expires_seconds: float | None,
        description: str,
    ) -> tuple[str, Token]:
        """Return a new token of an account, and what is known of it.

        Raises NotPermitted where the account is not good for one of the scopes.
        """
        wanted = ORDINARY if scopes is None else frozenset(map(Scope, scopes))
        if not wanted <= scopes_of(admin=account["admin"]):
            raise NotPermitted("A token with the scope admin is for admins.")
        text = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        now = time.time()
        row = {
            "token_id": str(uuid.uuid4()),
            "account": account["number"],
            "digest": _digest(text),
            "scopes": " ".join(scope for scope in Scope if scope in wanted),
            "description": description,
            "created": now,
            "expires": None if expires_seconds is None else now + expires_seconds,
        }
        self._accounts.add_token(row)
        return text, _token(row | {"number": 0})

    def authenticate(self, text: str) -> Identity:
        """Return whose token this is; raise NotAuthenticated where it is nobody's."""
        found = self._accounts.find_by_token(_digest(text), now=time.time())
        if found is None:
            raise NotAuthenticated
        return Identity(
            account=found["number"],
            username=found["username"],
            scopes=_scopes(found["scopes"]) & scopes_of(admin=found["admin"]),
            via="bearer",
        )

    def page(self, account: Row, *, after: int, limit: int) -> Sequence[Token]:
        """Return up to `limit` of an account's tokens, oldest first."""
        rows = self._accounts.tokens(account["number"], after=after, limit=limit)
        return [_token(row) for row in rows]

    def revoke(self, account: Row, token_id: str) -> None:
        """Make a token worth nothing; raise TokenNotFound."""
        is_id = _TOKEN_ID.fullmatch(token_id)
        if not (is_id and self._accounts.remove_token(account["number"], token_id)):
            raise TokenNotFound

    def remove_expired(self) -> None:
        """Forget the tokens that are no longer good."""
        self._accounts.remove_expired_tokens(now=time.time())


def _token(row: Row) -> Token:
    return Token(
        number=row["number"],
        token_id=row["token_id"],
        scopes=tuple(map(Scope, row["scopes"].split())),
        description=row["description"],
        created=row["created"],
        expires=row["expires"],
    )


@cache
def _scopes(text: str) -> frozenset[Scope]:
    """Return the scopes that are kept as `text`, of which there are few."""
    return frozenset(map(Scope, text.split()))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
