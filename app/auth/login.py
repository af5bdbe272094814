"""Names and passwords: checked once, remembered for a while, never guessed."""

import hashlib
import hmac
import threading
import time
from contextlib import ExitStack

from app.errors import NotAuthenticated, TooManyAttempts
from app.storage.account_store import AccountStore, Row
from app.storage.login_store import Bounds, LoginStore

from .accounts import is_username
from .passwords import Passwords
from .permissions import Identity, scopes_of

# How long a worker takes credentials without hashing them again.
REMEMBERED_SECONDS = 300.0
# How long credentials that were right are let in although others guess.
KNOWN_SECONDS = 86400.0
# Credentials that a worker remembers; beyond it begins anew.
REMEMBERED_COUNT = 10_000

BOUNDS = Bounds(seconds=60.0, one_address=10, all_addresses=100)

# Identical credentials wait for each other, so that only the first are hashed.
_STRIPES = 64


class PasswordLogin:
    """Knows users by their passwords.

    What is remembered is a keyed digest of name, password and the hash that is kept,
    so that it is worth nothing once the password was changed or the user removed;
    both are read from the records every time. It is of one address: what is known
    goes past the bounds on guesses, which from elsewhere must hold. `key` is of this
    run of the service and is written nowhere; attempts are counted under `secret_key`,
    over restarts.
    """

    def __init__(
        self,
        *,
        accounts: AccountStore,
        logins: LoginStore,
        passwords: Passwords,
        key: bytes,
        secret_key: str,
    ) -> None:
        self._accounts = accounts
        self._logins = logins
        self._passwords = passwords
        self._key = key
        self._secret_key = secret_key.encode()
        self._remembered: dict[bytes, float] = {}
        self._stripes = [threading.Lock() for _ in range(_STRIPES)]

    def authenticate(self, username: str, password: str, *, address: str) -> Identity:
        """Return whose name and password these are.

        Raises NotAuthenticated, TooManyAttempts for that name from that address, or
        PasswordChecksExceeded.
        """
        account = self._accounts.find(username) if is_username(username) else None
        digest = self._digest(username, password, account, address)
        if not self._remembers(digest):
            with self._stripes[digest[0] % _STRIPES]:
                if not self._remembers(digest):
                    self._check(username, password, account, digest, address)
        if account is None:  # which is never remembered
            raise NotAuthenticated
        return _identity(account)

    def _check(
        self,
        username: str,
        password: str,
        account: Row | None,
        digest: bytes,
        address: str,
    ) -> None:
        """Remember the credentials, or raise where they are not right."""
        known = self._logins.is_known(digest.hex(), now=time.time())
        attempt = None if known else self._begin_attempt(username, account, address)
        with ExitStack() as at_last:
            if attempt is not None:
                at_last.callback(self._logins.forget_attempt, attempt)
            hashed = account["password_hash"] if account else None
            if not self._passwords.verify(hashed, password):
                at_last.pop_all()  # this one counts
                raise NotAuthenticated(username if account else None)
        now = time.time()
        self._logins.remember(digest.hex(), now=now, expires=now + KNOWN_SECONDS)
        self._remember(digest)

    def _begin_attempt(self, username: str, account: Row | None, address: str) -> int:
        name = b"guessed at " + _bytes(username)
        subject = hmac.digest(self._secret_key, name, hashlib.sha256)
        try:
            return self._logins.begin_attempt(
                subject.hex(), address, now=time.time(), bounds=BOUNDS
            )
        except TooManyAttempts as error:
            error.username = username if account else None
            raise

    def _digest(
        self, username: str, password: str, account: Row | None, address: str
    ) -> bytes:
        kept_hash = account["password_hash"] if account else ""
        texts = (username, password, kept_hash, address)
        parts = [_bytes(part) for part in texts]
        # Each with its length, or "ab", "c" would be "a", "bc".
        message = b"".join(b"%d:%s" % (len(part), part) for part in parts)
        return hmac.digest(self._key, message, hashlib.sha256)

    def _remembers(self, digest: bytes) -> bool:
        return self._remembered.get(digest, 0.0) > time.monotonic()

    def _remember(self, digest: bytes) -> None:
        if len(self._remembered) >= REMEMBERED_COUNT:
            self._remembered.clear()
        self._remembered[digest] = time.monotonic() + REMEMBERED_SECONDS


def _identity(account: Row) -> Identity:
    return Identity(
        account=account["number"],
        username=account["username"],
        scopes=scopes_of(admin=account["admin"]),
        via="basic",
    )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
