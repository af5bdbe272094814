"""Sessions of browsers: a random text in a cookie, kept as a digest."""

import hashlib
import hmac
import secrets
import time

from app.errors import NotAuthenticated
from app.storage.account_store import Row
from app.storage.session_store import SessionStore

from .permissions import Identity, scopes_of
from .tokens import PREFIX, SECRET_BYTES


class Sessions:
    """Opens sessions for accounts, knows accounts by them, and closes them.

    One is good for `seconds`, and no longer than its account's password stays what it
    is. `secret_key` makes what pages prove by that they are ours.
    """

    def __init__(self, store: SessionStore, *, seconds: float, secret_key: str) -> None:
        self._store = store
        self._seconds = seconds
        self._secret_key = secret_key.encode()

    def open(self, account: Row) -> str:
        """Return the text of a new session.

        Raises NotAuthenticated where the account has another password than the row
        says, or is gone.
        """
        text, now = PREFIX + secrets.token_urlsafe(SECRET_BYTES), time.time()
        row = {
            "digest": _digest(text),
            "account": account["number"],
            "created": now,
            "expires": now + self._seconds,
        }
        if not self._store.add(row, password_hash=account["password_hash"]):
            raise NotAuthenticated
        return text

    def authenticate(self, text: str) -> Identity:
        """Return whose session this is; raise NotAuthenticated where it is nobody's."""
        account = self._store.find_account(_digest(text), now=time.time())
        if account is None:
            raise NotAuthenticated
        return Identity(
            account=account["number"],
            username=account["username"],
            scopes=scopes_of(admin=account["admin"]),
            via="session",
        )

    def close(self, text: str) -> None:
        """Make a session worth nothing, if it was worth something."""
        self._store.remove(_digest(text))

    def csrf(self, text: str) -> str:
        """Return what proves that a request comes from a page of this session."""
        of_session = b"csrf token " + _bytes(text)
        return hmac.digest(self._secret_key, of_session, hashlib.sha256).hex()

    def remove_expired(self) -> None:
        """Forget the sessions that are no longer good."""
        self._store.remove_expired(now=time.time())


def _digest(text: str) -> str:
    return hashlib.sha256(_bytes(text)).hexdigest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
