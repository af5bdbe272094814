"""Hashes of passwords: argon2id, a bounded number at a time."""

import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from app.errors import PasswordChecksExceeded

# What OWASP's cheat sheet on the storage of passwords asks at least of argon2id:
# 19 MiB, two passes, one lane; about 20 ms.
MEMORY_KIB = 19 * 1024
PASSES = 2
LANES = 1


class Passwords:
    """Makes and checks hashes, one at a time in this worker.

    Each takes a processor and 19 MiB for as long as it takes, so that those who
    guess could otherwise have all of both.
    """

    def __init__(self, *, max_waiting: int) -> None:
        self._hasher = PasswordHasher(PASSES, MEMORY_KIB, LANES)
        self._turn = threading.Lock()
        self._places = threading.BoundedSemaphore(max_waiting)
        # Of no password: what is checked where there is no such user.
        self._nobodys: str | None = None

    def hash(self, password: str) -> str:
        """Return the hash that is kept of a password."""
        with self._turn:
            return self._hasher.hash(_bytes(password))

    def verify(self, kept_hash: str | None, password: str) -> bool:
        """Return whether the password is the one of the hash; None has none.

        It takes the same time either way. Raises PasswordChecksExceeded where too
        many wait for their turn already.
        """
        if not self._places.acquire(blocking=False):
            raise PasswordChecksExceeded
        try:
            with self._turn:
                return self._verify(kept_hash, password)
        finally:
            self._places.release()

    def _verify(self, kept_hash: str | None, password: str) -> bool:
        if self._nobodys is None:
            self._nobodys = self._hasher.hash("")
        try:
            self._hasher.verify(kept_hash or self._nobodys, _bytes(password))
        except (VerificationError, InvalidHashError):
            return False
        return bool(kept_hash)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
