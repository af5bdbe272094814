"""The users of the service: made, shown, changed and removed."""

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from app.errors import AccountExists, AccountNotFound, Fault, InvalidInput
from app.storage.account_store import AccountStore, Row

from .passwords import Passwords

# Letters, digits and few signs: a name stands in paths, in signed uuids before a
# dot, in front of the colon of HTTP Basic, and in lines of the log. Not dots alone:
# clients take them out of a path.
USERNAME = r"\.*[A-Za-z0-9_@+-][A-Za-z0-9._@+-]*"
USERNAME_MAX_LENGTH = 128
# Longer ones are no better, and cost those who check them.
PASSWORD_MAX_LENGTH = 1024

log = structlog.get_logger(__name__)


def is_username(text: str) -> bool:
    """Return whether a user can have that name; no other is looked for anywhere."""
    is_short = len(text) <= USERNAME_MAX_LENGTH
    return is_short and re.fullmatch(USERNAME, text) is not None


class Accounts:
    """Accounts by the names of their users.

    `first_admin` is the name and the password of the admin that is made where there
    is none yet; the password may be None.
    """

    def __init__(
        self,
        *,
        store: AccountStore,
        passwords: Passwords,
        password_min_length: int,
        first_admin: tuple[str, str | None],
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._password_min_length = password_min_length
        self._first_admin = first_admin
        self._first_admin_made = False

    def get(self, username: str) -> Row:
        """Return an account; raise AccountNotFound."""
        row = self._store.find(username) if is_username(username) else None
        if row is None:
            raise AccountNotFound
        return row

    def page(self, *, after: int, limit: int) -> Sequence[Row]:
        """Return up to `limit` accounts with a number above `after`, in that order."""
        return self._store.page(after=after, limit=limit)

    def add(self, user: Mapping[str, Any]) -> Row:
        """Add a user, with username, password, fullname and, perhaps, admin.

        Raises InvalidInput or AccountExists.
        """
        self._check(user)
        if self._store.find(user["username"]):  # before the work of hashing
            raise AccountExists
        row = {"admin": False} | self._columns(user) | {"created": time.time()}
        return self._store.add(row)

    def replace(self, username: str, user: Mapping[str, Any]) -> tuple[Row, bool]:
        """Make `user` of that name, whoever was; return it, and if it was made anew.

        One that there was may be given another name. Raises InvalidInput,
        AccountExists or LastAdmin.
        """
        whole = {"username": username, "admin": False} | dict(user)
        if is_username(username) and self._store.find(username):
            return self.change(username, whole), False
        if whole["username"] != username:
            fault = f"is not {username!r}, and there is no such user to be renamed"
            raise InvalidInput([Fault("username", fault)])
        try:
            return self.add(whole), True
        except AccountExists:  # another was quicker
            return self.change(username, whole), False

    def change(self, username: str, changes: Mapping[str, Any]) -> Row:
        """Change what is given of a user; return the account after that.

        Raises InvalidInput, AccountNotFound, AccountExists or LastAdmin.
        """
        self._check(changes)
        self.get(username)  # before the work of hashing
        return self._store.update(username, self._columns(changes))

    def remove(self, username: str) -> None:
        """Remove a user; raise AccountNotFound or LastAdmin."""
        self.get(username)
        self._store.remove(username)

    def faults(self, user: Mapping[str, Any]) -> list[Fault]:
        """Return what no schema can say of a user's members."""
        password = user.get("password")
        if isinstance(password, str) and len(password) < self._password_min_length:
            fault = f"is shorter than {self._password_min_length} characters"
            return [Fault("password", fault)]
        return []

    def has_admin(self) -> bool:
        """Return whether there is an admin, after making the first one if need be."""
        self.make_first_admin()
        return self.knows_admin()

    def knows_admin(self) -> bool:
        """Return whether there is an admin as it is."""
        return self._store.has_admin()

    def make_first_admin(self) -> None:
        """Make the first admin, if its password is set and there is no admin."""
        username, password = self._first_admin
        if self._first_admin_made or not password:
            return
        if not self._store.has_admin():
            row = self._columns({"username": username, "password": password})
            made = row | {"fullname": username, "admin": True, "created": time.time()}
            try:
                if self._store.add_first_admin(made):
                    log.info("account.first_admin_made", username=username)
            except AccountExists:  # who is no admin, and is not made one unasked
                log.warning("account.first_admin_not_made", username=username)
        self._first_admin_made = True

    def _check(self, user: Mapping[str, Any]) -> None:
        faults = self.faults(user)
        if "username" in user and not is_username(user["username"]):
            faults.append(Fault("username", "is no name that a user can have"))
        if faults:
            raise InvalidInput(faults)

    def _columns(self, user: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is kept of a user's members: of the password, its hash."""
        row = {name: value for name, value in user.items() if name != "password"}
        if "password" in user:
            row["password_hash"] = self._passwords.hash(user["password"])
        return row
