"""Accounts and their tokens. Rows go in and out as mappings of column to value."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from app.errors import AccountExists, AccountNotFound, LastAdmin

from .engine import Database
from .prepared import Prepared
from .tables import accounts, messages, sessions, tasks, tokens

Row = Mapping[str, Any]


_NOT_EXPIRED = sa.or_(
    tokens.c.expires.is_(None), tokens.c.expires > sa.bindparam("now")
)
_BY_NAME = Prepared(
    sa.select(accounts).where(accounts.c.username == sa.bindparam("of_name"))
)
_BY_TOKEN = Prepared(
    sa.select(accounts, tokens.c.scopes)
    .join(tokens, tokens.c.account == accounts.c.number)
    .where(tokens.c.digest == sa.bindparam("of_digest"), _NOT_EXPIRED)
)


class AccountStore:
    """Users by name; their numbers are never used again, their names may be."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, row: Row) -> Row:
        """Add an account; raise AccountExists where its name is taken."""
        with self._writing() as connection:
            return _insert(connection, row)

    def add_first_admin(self, row: Row) -> Row | None:
        """Add an account if there is no admin yet; return it, or None."""
        with self._writing() as connection:
            return None if _admins(connection) else _insert(connection, row)

    def has_admin(self) -> bool:
        """Return whether anybody is an admin."""
        with self._database.read() as connection:
            return _admins(connection) > 0

    def find(self, username: str) -> Row | None:
        """Return the account of that name."""
        return self._database.first(_BY_NAME, of_name=username)

    def page(self, *, after: int, limit: int) -> Sequence[Row]:
        """Return up to `limit` accounts with a number above `after`, in that order."""
        above = sa.literal(after, sa.BigInteger)  # may be beyond all numbers
        query = sa.select(accounts).where(accounts.c.number > above)
        with self._database.read() as connection:
            found = connection.execute(query.order_by(accounts.c.number).limit(limit))
            return [dict(row) for row in found.mappings()]

    def update(self, username: str, changes: Row) -> Row:
        """Change an account, its name perhaps, with which its tasks and messages go.

        Another password ends its sessions, wherever they were opened.
        Raises AccountNotFound, AccountExists and LastAdmin.
        """
        with self._writing() as connection:
            row = _existing(connection, username)
            if not changes:
                return row
            if row["admin"] and not changes.get("admin", True):
                _keep_an_admin(connection)
            name = changes.get("username", username)
            if name != username and _find(connection, name):
                raise AccountExists
            of_number = accounts.c.number == row["number"]
            connection.execute(sa.update(accounts).where(of_number).values(**changes))
            if "password_hash" in changes:
                of_account = sessions.c.account == row["number"]
                connection.execute(sa.delete(sessions).where(of_account))
            if name != username:
                # Last: the statement before has waited for tasks that begin just now.
                _hand_over(connection, username, name)
            return dict(row) | dict(changes)

    def remove(self, username: str) -> None:
        """Remove an account with its tokens and sessions.

        Its tasks and messages stay, under a name that no account can have. Raises
        AccountNotFound or LastAdmin.
        """
        with self._writing() as connection:
            row = _existing(connection, username)
            if row["admin"]:
                _keep_an_admin(connection)
            of_number = accounts.c.number == row["number"]
            connection.execute(sa.delete(accounts).where(of_number))
            _hand_over(connection, username, f"{username}~{row['number']}")

    def add_token(self, row: Row) -> None:
        """Add a token; raise AccountNotFound where its account was just removed."""
        with self._database.write() as connection:
            try:
                connection.execute(sa.insert(tokens).values(**row))
            except sa.exc.IntegrityError as error:
                raise AccountNotFound from error

    def find_by_token(self, digest: str, *, now: float) -> Row | None:
        """Return the account of a token that has not expired, with its scopes."""
        return self._database.first(_BY_TOKEN, of_digest=digest, now=now)

    def tokens(self, account: int, *, after: int, limit: int) -> Sequence[Row]:
        """Return up to `limit` tokens with a number above `after`, in that order."""
        above = sa.literal(after, sa.BigInteger)
        mine = tokens.c.account == account, tokens.c.number > above
        query = sa.select(tokens).where(*mine).order_by(tokens.c.number).limit(limit)
        with self._database.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def remove_token(self, account: int, token_id: str) -> bool:
        """Remove a token; return whether there was one."""
        mine = tokens.c.account == account, tokens.c.token_id == token_id
        with self._database.write() as connection:
            return connection.execute(sa.delete(tokens).where(*mine)).rowcount == 1

    def remove_expired_tokens(self, *, now: float) -> None:
        """Remove the tokens that are no longer good."""
        with self._database.write() as connection:
            expired = sa.delete(tokens).where(sa.not_(_NOT_EXPIRED))
            connection.execute(expired, {"now": now})

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """Give a connection; no other worker changes accounts meanwhile."""
        with self._database.write() as connection:
            self._database.lock(connection, "accounts")
            yield connection


def _find(connection: sa.Connection, username: str) -> Row | None:
    found = connection.execute(_BY_NAME.query, {"of_name": username})
    row = found.mappings().one_or_none()
    return None if row is None else dict(row)


def _existing(connection: sa.Connection, username: str) -> Row:
    row = _find(connection, username)
    if row is None:
        raise AccountNotFound
    return row


def _insert(connection: sa.Connection, row: Row) -> Row:
    if _find(connection, row["username"]):
        raise AccountExists
    statement = sa.insert(accounts).values(**row).returning(accounts)
    return dict(connection.execute(statement).mappings().one())


def _admins(connection: sa.Connection) -> int:
    query = sa.select(sa.func.count()).select_from(accounts).where(accounts.c.admin)
    return int(connection.execute(query).scalar_one())


def _keep_an_admin(connection: sa.Connection) -> None:
    """Raise LastAdmin where one admin less would be none."""
    if _admins(connection) == 1:
        raise LastAdmin


def _hand_over(connection: sa.Connection, old: str, new: str) -> None:
    for table in (tasks, messages):
        of_old = sa.update(table).where(table.c.owner == old)
        connection.execute(of_old.values(owner=new))
