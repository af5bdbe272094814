"""Signed uuids: who calls and when, under a key that only that caller has.

``<caller>.<unix seconds>.<hex HMAC-SHA256(signing key, "<caller>.<unix seconds>")>``,
so that a shell can make one with openssl.
"""

import hashlib
import hmac
import re
import secrets
import time
from dataclasses import dataclass

from app.errors import AccountNotFound, UuidRefused
from app.storage.account_store import AccountStore, Row

from .accounts import USERNAME, is_username
from .permissions import Identity, scopes_of

# How far ahead of ours a caller's clock may be.
AHEAD_SECONDS = 30

_SIGNED = re.compile(
    rf"(?P<text>(?P<caller>{USERNAME})\.(?P<time>[0-9]{{1,15}}))\.[0-9a-f]{{64}}"
)


@dataclass(frozen=True)
class SignedUuid:
    """A uuid whose signature was good; `digest` stands for it once it was used."""

    identity: Identity
    digest: str


class SignedCallers:
    """Makes signing keys of accounts, and checks what was signed with them.

    A key is made of the secret key and what is kept with the account, so that
    neither alone is worth anything.
    """

    def __init__(
        self, *, accounts: AccountStore, secret_key: str, max_age_seconds: int
    ) -> None:
        self._accounts = accounts
        self._secret_key = secret_key.encode()
        self._max_age_seconds = max_age_seconds

    def issue_key(self, username: str) -> str:
        """Return a new signing key; the one before is worth nothing from now on.

        Raises AccountNotFound.
        """
        if not is_username(username):
            raise AccountNotFound
        nonce = secrets.token_hex(16)
        return self._key(self._accounts.update(username, {"signing_nonce": nonce}))

    def sign(self, account: Row) -> str:
        """Return a uuid that is good from now on, under a new key if there is none."""
        username = account["username"]
        has_key = account["signing_nonce"] is not None
        key = self._key(account) if has_key else self.issue_key(username)
        text = f"{username}.{int(time.time())}"
        return f"{text}.{_signature(key, text)}"

    def check(self, uuid: str) -> SignedUuid:
        """Return who has signed this; raise UuidRefused where nobody has, or long ago.

        Whether it was used is for others to say.
        """
        parts = _SIGNED.fullmatch(uuid)
        account = self._accounts.find(parts["caller"]) if parts else None
        if parts is None or account is None or account["signing_nonce"] is None:
            raise UuidRefused
        good = _signature(self._key(account), parts["text"])
        if not hmac.compare_digest(good.encode(), uuid.rpartition(".")[2].encode()):
            raise UuidRefused
        age_seconds = time.time() - int(parts["time"])
        if not -AHEAD_SECONDS <= age_seconds <= self._max_age_seconds:
            raise UuidRefused
        return SignedUuid(
            Identity(
                account=account["number"],
                username=account["username"],
                scopes=scopes_of(admin=account["admin"]),
                via="signature",
            ),
            hashlib.sha256(uuid.encode()).hexdigest(),
        )

    def _key(self, account: Row) -> str:
        of_account = f"signing key {account['number']} {account['signing_nonce']}"
        return hmac.digest(self._secret_key, of_account.encode(), hashlib.sha256).hex()


def _signature(key: str, text: str) -> str:
    return hmac.digest(key.encode(), text.encode(), hashlib.sha256).hex()
