"""Text messages: written down before they leave, then what became of them."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app.errors import MessageExists, SmsLimitExceeded

from .engine import Database
from .ownership import Viewer, owner_now, seen_by, tie
from .prepared import Change, Conflict, Prepared
from .tables import (
    REMEMBERED,
    UNSENT,
    idempotency,
    message_events,
    message_receivers,
    message_usage,
    messages,
)

Row = Mapping[str, Any]

# Subjects of one query: SQLite takes 32766 parameters.
_SUBJECTS = 10_000
# So many rows SQLite is asked for one by one: of more SQLAlchemy's own cost is small.
_SOME = 10


@dataclass(frozen=True)
class Settled:
    """What became of a message at the receiver of that position."""

    position: int
    state: str
    provider: str
    provider_id: str | None = None
    segments: int | None = None
    category: str | None = None
    provider_code: str | None = None
    provider_message: str | None = None
    per_number: bool = False


@dataclass(frozen=True)
class Use:
    """What one message uses of a limit: so many, of that subject's."""

    subject: str
    count: int


@dataclass(frozen=True)
class Quota:
    """So many of a subject's in so many seconds; `shown` names it to the caller."""

    subject: str
    shown: str
    most: int
    seconds: float


@dataclass(frozen=True)
class Sender:
    """By whom a message is sent, and by which request.

    `account` is the number of the account, `request` the digest of the request that is
    kept, and sends nothing again.
    """

    owner: str | None
    request_id: str | None = None
    account: int | None = None
    request: str | None = None


_QUEUED = message_receivers.c.state == "queued"
# By whom it was sent is news even of what a receipt was faster to tell.
_NEWS = ("provider", "provider_id", "segments")
_OF_STATE = (
    "state",
    "changed",
    "category",
    "provider_code",
    "provider_message",
    "per_number",
)


class _Rows:
    """A statement that writes rows: one by one, or by SQLAlchemy at once."""

    def __init__(self, statement: sa.Insert | sa.Update) -> None:
        self._statement = statement
        self._change = Change(statement)

    def execute(self, connection: sa.Connection, rows: Sequence[Row]) -> None:
        """Execute it for each row."""
        if not _is_quicker_singly(connection, len(rows)):
            connection.execute(self._statement, rows)
            return
        for row in rows:
            self._change.execute(connection, row)


def _is_quicker_singly(connection: sa.Connection, count: int) -> bool:
    """Return whether so many statements take less than SQLAlchemy's one of them all.

    PostgreSQL is asked over a wire: as seldom as can be.
    """
    return connection.dialect.name == "sqlite" and count <= _SOME


def _unless_told(name: str) -> sa.ColumnElement[Any]:
    """Return what settling sets: what is delivered or lost by now stays so."""
    told = message_receivers.c[name]
    # Names of columns are not free for what is no column's value.
    new = sa.bindparam(f"new_{name}", type_=told.type)
    if name in _NEWS:
        return sa.func.coalesce(told, new)
    return sa.case((_QUEUED, new), else_=told)


# Made once: to make a statement takes longer than to execute it. What is written goes
# by the names of columns.
_ADD_MESSAGE = Change(sa.insert(messages))
_NUMBER = Prepared(
    sa.select(messages.c.number).where(
        messages.c.message_id == sa.bindparam("of_message")
    )
)
_ADD_RECEIVERS = _Rows(sa.insert(message_receivers))
_ADD_USES = _Rows(sa.insert(message_usage))
_ADD_EVENT = Change(sa.insert(message_events))
_TOTAL = sa.func.sum(message_usage.c.count).label("total")
_SINCE = message_usage.c.at > sa.bindparam("since")
_USED = Prepared(
    sa.select(_TOTAL).where(
        message_usage.c.subject == sa.bindparam("of_subject"), _SINCE
    )
)
_CHANGE = sa.update(messages).where(messages.c.number == sa.bindparam("of_number"))
_ASK = Change(_CHANGE)
# What was given up as lost is not finished any more.
_FINISH = Change(_CHANGE.where(UNSENT))
_SETTLE = _Rows(
    sa.update(message_receivers)
    .where(
        message_receivers.c.message == sa.bindparam("of_message"),
        message_receivers.c.position == sa.bindparam("of_position"),
    )
    .values({name: _unless_told(name) for name in (*_NEWS, *_OF_STATE)})
)


class MessageStore:
    """What every worker knows of every message."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        row: Row,
        receivers: Sequence[str],
        sender: Sender,
        *,
        uses: Sequence[Use],
        quotas: Sequence[Quota],
    ) -> int:
        """Add a message that is about to be sent; return its number.

        Raises SmsLimitExceeded where a quota would be exceeded, NotAuthenticated where
        its account was removed, KeyInFlight where its request has sent another,
        MessageExists where its id is taken.
        """

        def write(connection: sa.Connection) -> int:
            if quotas:
                self._database.lock(connection, "message usage")
                _check(connection, uses, quotas, row["created"])
            owner = owner_now(connection, sender.owner, sender.account)
            tie(connection, sender.request, row["message_id"])
            number = _insert(connection, {**row, "owner": owner})
            new = {"message": number, "state": "queued", "changed": row["created"]}
            rows = [
                {**new, "position": position, "receiver": receiver}
                for position, receiver in enumerate(receivers)
            ]
            _ADD_RECEIVERS.execute(connection, rows)
            if quotas:
                used = {"message_id": row["message_id"], "at": row["created"]}
                _ADD_USES.execute(connection, [{**used, **vars(use)} for use in uses])
            return number

        return self._database.write_together(write)

    def remove(self, message_id: str) -> None:
        """Forget a message that was not sent after all."""
        with self._database.write() as connection:
            of_id = messages.c.message_id == message_id
            connection.execute(sa.delete(messages).where(of_id))
            _give_back(connection, message_id)

    def settle(
        self,
        number: int,
        settled: Sequence[Settled],
        *,
        provider: str,
        worker: str,
        at: float,
        is_next: bool,
    ) -> None:
        """Write down what became of receivers, and that `provider` is asked for others.

        It `is_next` where another one was asked before.
        """
        asked = {"touched": at, "provider": provider, "worker": worker}
        with self._database.write() as connection:
            _ASK.execute(connection, {"of_number": number, **asked})
            _settle(connection, number, settled, at)
            if is_next:
                _note(connection, number, at, "asked", provider=provider)

    def finish(
        self,
        number: int,
        settled: Sequence[Settled],
        *,
        verdict: str,
        attempts: str,
        at: float,
        counts: bool,
    ) -> None:
        """Write down what became of receivers, and that nothing more is sent.

        Where it does not count, it is against no limit and its request may come again.
        """
        said = {"verdict": verdict, "attempts": attempts}
        finished = {"of_number": number, "touched": at, "finished": at, **said}

        def write(connection: sa.Connection) -> None:
            _FINISH.execute(connection, finished)
            _settle(connection, number, settled, at)
            if not counts:
                of_number = messages.c.number == number
                query = sa.select(messages.c.message_id).where(of_number)
                _give_back(connection, connection.execute(query).scalar_one())

        self._database.write_together(write)

    def lose(self, number: int, *, at: float) -> None:
        """Write down that a message's worker died: what it did not tell is unknown."""
        unsent = messages.c.number == number, UNSENT
        values = {"touched": at, "finished": at, "verdict": "unknown"}
        with self._database.write() as connection:
            lost = sa.update(messages).where(*unsent).values(**values)
            if connection.execute(lost).rowcount == 0:
                return
            queued = message_receivers.c.state == "queued"
            theirs = message_receivers.c.message == number, queued
            changed = sa.update(message_receivers).where(*theirs)
            connection.execute(changed.values(state="unknown", changed=at))
            _note(connection, number, at, "lost", state="unknown")

    def find(self, message_id: str) -> Row | None:
        """Return a message's row."""
        return self._one(messages.c.message_id == message_id)

    def find_seen(self, message_id: str, viewer: Viewer) -> Row | None:
        """Return a message's row, if it is for the viewer to see."""
        of_id = messages.c.message_id == message_id
        return self._one(of_id, seen_by(viewer, messages.c.owner))

    def find_of_task(self, task_id: str) -> str | None:
        """Return the id of the message that a task sends."""
        row = self._one(messages.c.task_id == task_id)
        return None if row is None else str(row["message_id"])

    def page(
        self, viewer: Viewer, filters: Row, *, before: int | None, limit: int
    ) -> Sequence[Row]:
        """Return up to `limit` messages that the viewer may see, newest first.

        `filters` are columns and their values; `before` is a number of a row.
        """
        conditions = [messages.c[name] == value for name, value in filters.items()]
        if before is not None:
            conditions.append(messages.c.number < sa.literal(before, sa.BigInteger))
        mine = sa.select(messages).where(seen_by(viewer, messages.c.owner), *conditions)
        newest = mine.order_by(messages.c.number.desc()).limit(limit)
        return self._rows(newest)

    def states(self, numbers: Collection[int]) -> Mapping[int, Mapping[str, int]]:
        """Return how many receivers of each message are in which state."""
        columns = message_receivers.c.message, message_receivers.c.state
        theirs = message_receivers.c.message.in_(numbers)
        query = sa.select(*columns, sa.func.count()).where(theirs).group_by(*columns)
        found: dict[int, dict[str, int]] = {number: {} for number in numbers}
        with self._database.read() as connection:
            for number, state, count in connection.execute(query):
                found[number][state] = count
        return found

    def receivers(self, number: int) -> Sequence[Row]:
        """Return the receivers of a message, in their order."""
        theirs = message_receivers.c.message == number
        query = sa.select(message_receivers).where(theirs)
        return self._rows(query.order_by(message_receivers.c.position))

    def events(self, number: int) -> Sequence[Row]:
        """Return what happened to a message, in its order."""
        theirs = sa.select(message_events).where(message_events.c.message == number)
        return self._rows(theirs.order_by(message_events.c.number))

    def unsent(self) -> Sequence[Row]:
        """Return the messages that are not finished."""
        return self._rows(sa.select(messages).where(UNSENT))

    def candidates(
        self,
        provider: str,
        *,
        message_id: str | None,
        provider_id: str | None,
        since: float,
    ) -> Sequence[Row]:
        """Return the receivers that a provider may mean by its receipt.

        By our id, else by its own, else those newer than `since` whose id is not known.
        None that another provider has answered for.
        """
        columns = sa.select(message_receivers, messages.c.message_id)
        query = columns.join(messages, messages.c.number == message_receivers.c.message)
        if message_id is not None:
            by_ours = messages.c.message_id == message_id
            answered_by = message_receivers.c.provider
            is_its = sa.or_(answered_by.is_(None), answered_by == provider)
            return self._rows(query.where(by_ours, is_its))
        if provider_id is not None:
            by_id = message_receivers.c.provider_id == provider_id
            of_provider = message_receivers.c.provider == provider
            if found := self._rows(query.where(by_id, of_provider)):
                return found
        nameless = (
            message_receivers.c.provider_id.is_(None),
            message_receivers.c.state.in_(("queued", "unknown")),
            messages.c.provider == provider,
            messages.c.created >= since,
        )
        return self._rows(query.where(*nameless))

    def change_receiver(
        self,
        number: int,
        change: Callable[[Row], Row | None],
        *,
        at: float,
        event: str,
        provider: str,
        detail: str,
    ) -> bool:
        """Change a receiver by its row as it is now; None leaves it. Return whether."""
        of_number = message_receivers.c.number == number
        query = sa.select(message_receivers).where(of_number).with_for_update()
        with self._database.write() as connection:
            row = connection.execute(query).mappings().one_or_none()
            values = None if row is None else change(dict(row))
            if row is None or values is None:
                return False
            changed = sa.update(message_receivers).where(of_number)
            connection.execute(changed.values(changed=at, **values))
            _note(
                connection,
                row["message"],
                at,
                event,
                provider=provider,
                position=row["position"],
                state=values.get("state", row["state"]),
                detail=detail,
            )
            return True

    def forget_contents(
        self, before: float, digest: Callable[[str], str], *, limit: int, at: float
    ) -> int:
        """Put digests in the place of old messages' numbers and texts; return how many.

        Only of those that are finished.
        """
        old = messages.c.finished < before, REMEMBERED
        query = sa.select(messages).where(*old).limit(limit)
        with self._database.write() as connection:
            rows = connection.execute(query).mappings().all()
            for row in rows:
                theirs = message_receivers.c.message == row["number"]
                found = connection.execute(sa.select(message_receivers).where(theirs))
                for each in found.mappings().all():
                    of_one = message_receivers.c.number == each["number"]
                    receiver = digest(each["receiver"])
                    changed = sa.update(message_receivers).where(of_one)
                    # Which may quote the number.
                    gone = {"receiver": receiver, "provider_message": None}
                    connection.execute(changed.values(**gone))
                of_number = messages.c.number == row["number"]
                values = {name: digest(row[name]) for name in ("params", "text")}
                changed = sa.update(messages).where(of_number).values(**values)
                connection.execute(changed.values(forgotten=at, attempts="[]"))
            return len(rows)

    def remove_before(self, moment: float) -> None:
        """Remove messages that finished before that."""
        old = messages.c.finished < moment
        with self._database.write() as connection:
            connection.execute(sa.delete(messages).where(old))

    def remove_usage_before(self, moment: float) -> None:
        """Forget what counts against no limit any more."""
        old = message_usage.c.at < moment
        with self._database.write() as connection:
            connection.execute(sa.delete(message_usage).where(old))

    def _one(self, *conditions: sa.ColumnElement[bool]) -> Row | None:
        found = self._rows(sa.select(messages).where(*conditions))
        return found[0] if found else None

    def _rows(self, query: sa.Select[Any]) -> Sequence[Row]:
        with self._database.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]


def _insert(connection: sa.Connection, row: Row) -> int:
    try:
        _ADD_MESSAGE.execute(connection, row)
    except Conflict as error:
        raise MessageExists from error
    found = _NUMBER.rows(connection, of_message=row["message_id"])
    return int(found[0]["number"])


def _check(
    connection: sa.Connection, uses: Sequence[Use], quotas: Sequence[Quota], now: float
) -> None:
    """Raise SmsLimitExceeded for a quota that would be exceeded."""
    wanted = {use.subject: use.count for use in uses}
    for seconds in sorted({quota.seconds for quota in quotas}):
        those = [quota for quota in quotas if quota.seconds == seconds]
        used = _used(connection, [q.subject for q in those], since=now - seconds)
        for quota in those:
            over = used.get(quota.subject, 0) + wanted[quota.subject] - quota.most
            if over > 0:
                left = _seconds_left(connection, quota, over, now)
                raise SmsLimitExceeded(quota.shown, retry_after_seconds=left)


def _used(
    connection: sa.Connection, subjects: Sequence[str], *, since: float
) -> dict[str, int]:
    """Return how many were used of each subject."""
    if _is_quicker_singly(connection, len(subjects)):
        return {
            subject: found["total"] or 0
            for subject in subjects
            for found in _USED.rows(connection, of_subject=subject, since=since)
        }
    used: dict[str, int] = {}
    for first in range(0, len(subjects), _SUBJECTS):
        some = message_usage.c.subject.in_(subjects[first : first + _SUBJECTS])
        query = sa.select(message_usage.c.subject, _TOTAL).where(some, _SINCE)
        by_subject = query.group_by(message_usage.c.subject)
        found = connection.execute(by_subject, {"since": since})
        used |= {subject: int(total) for subject, total in found}
    return used


def _seconds_left(
    connection: sa.Connection, quota: Quota, over: int, now: float
) -> int:
    """Return after how many seconds a quota has room for what is over it now."""
    query = sa.select(message_usage.c.at, message_usage.c.count).where(
        message_usage.c.subject == quota.subject,
        message_usage.c.at > now - quota.seconds,
    )
    for at, count in connection.execute(query.order_by(message_usage.c.at)):
        over -= count
        if over <= 0:
            return int(at + quota.seconds - now) + 1
    return int(quota.seconds)  # it is more than the whole quota at once


def _give_back(connection: sa.Connection, message_id: str) -> None:
    """Have a message count against no limit, and let its request come again."""
    used = message_usage.c.message_id == message_id
    connection.execute(sa.delete(message_usage).where(used))
    tied = idempotency.c.task_id == message_id
    connection.execute(sa.delete(idempotency).where(tied))


def _settle(
    connection: sa.Connection, number: int, settled: Sequence[Settled], at: float
) -> None:
    if not settled:
        return
    _SETTLE.execute(connection, [_settling(number, each, at) for each in settled])
    counts = Counter((each.provider, each.state) for each in settled)
    for (provider, state), count in counts.items():
        facts = {"provider": provider, "state": state, "detail": str(count)}
        _note(connection, number, at, "answered", **facts)


def _settling(number: int, settled: Settled, at: float) -> Row:
    """Return the values of what settles a receiver."""
    facts = vars(settled) | {"changed": at}
    new = {f"new_{name}": facts[name] for name in (*_NEWS, *_OF_STATE)}
    return {"of_message": number, "of_position": settled.position, **new}


def _note(
    connection: sa.Connection, number: int, at: float, event: str, **facts: Any
) -> None:
    row = {"message": number, "at": at, "event": event, **facts}
    _ADD_EVENT.execute(connection, row)
