"""The records of tasks. Rows go in and out as mappings of column to value."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa

from app.errors import (
    CapacityExceeded,
    SlotBusy,
    UuidRefused,
)

from .engine import Database
from .fan_out_store import check_turn
from .line import COLUMNS as LINE_COLUMNS
from .line import Line
from .ownership import Viewer, owner_now, seen_by, tie
from .prepared import Change, Conflict, Prepared
from .tables import (
    UNFINISHED,
    UNTOLD,
    accounts,
    hosts,
    idempotency,
    orders,
    tasks,
    used_uuids,
)

Row = Mapping[str, Any]

#: A task whose turn it is, and the worker in which it waits for that.
Turn = tuple[str, str]

# For how long a signed uuid is known to be used; none is fresh for longer.
USED_SECONDS = 2 * 86400.0

# Made once: to make a statement takes longer than to execute it. What is written goes
# by the names of columns.
_OF_ID = tasks.c.task_id == sa.bindparam("of_id")
_ADD = Change(sa.insert(tasks))
_ADD_ORDER = Change(sa.insert(orders))
_FIND = Prepared(sa.select(tasks).where(_OF_ID))
_UPDATE = sa.update(tasks).where(_OF_ID)
_CHANGE = Change(_UPDATE)
_CHANGE_UNFINISHED = Change(_UPDATE.where(UNFINISHED))
_TAKE_OUTPUT = Change(
    _UPDATE.where(
        tasks.c.polled_offset == sa.bindparam("seen_offset"),
        tasks.c.polled_end.is_(False),
    )
)
_TAKE_OVER = Change(
    _UPDATE.where(
        UNFINISHED,
        tasks.c.worker == sa.bindparam("seen_worker"),
        tasks.c.state == sa.bindparam("seen_state"),
    )
)
# Of a host that has given no sign of life since it was judged to be dead.
_LOSE = Change(
    _UPDATE.where(
        UNFINISHED,
        tasks.c.worker == sa.bindparam("seen_worker"),
        sa.exists().where(
            hosts.c.name == tasks.c.host, hosts.c.beat == sa.bindparam("seen_beat")
        ),
    )
)
_SEEN_TELL_AT = sa.bindparam("seen_tell_at", type_=sa.Double)
_TELL = Change(
    _UPDATE.where(UNTOLD, tasks.c.tell_at.is_not_distinct_from(_SEEN_TELL_AT))
)
_parents = tasks.alias("parents")
_OF_SLOT = tasks.c.slot == sa.bindparam("of_slot")
_HOLDER = Prepared(sa.select(tasks.c.task_id).where(_OF_SLOT, UNFINISHED))
_NEWEST = Prepared(
    sa.select(tasks).where(_OF_SLOT).order_by(tasks.c.number.desc()).limit(1)
)
_OF_LINE = sa.and_(
    tasks.c.host == sa.bindparam("of_host"),
    tasks.c.kind == sa.bindparam("of_kind"),
    UNFINISHED,
)
_ANY_WAIT = Prepared(
    sa.select(tasks.c.task_id).where(_OF_LINE, tasks.c.is_queued).limit(1)
)
_LINE = Prepared(
    sa.select(*(tasks.c[name] for name in LINE_COLUMNS), tasks.c.worker)
    .where(_OF_LINE)
    .order_by(tasks.c.number)
)
_TAKE_TURN = Change(
    sa.update(tasks).where(
        _OF_LINE,
        tasks.c.is_queued,
        tasks.c.owner.is_not_distinct_from(sa.bindparam("of_owner", type_=sa.Text)),
    )
)


@dataclass(frozen=True)
class Room:
    """How many tasks of a kind may run at a time, and how many may wait for that."""

    max_running: int
    max_queued: int = 0


@dataclass(frozen=True)
class Admission:
    """What has to hold for a task to be taken on, across all workers.

    `room` is for tasks of its kind on its host. `account` is the number of the account
    it is started by, `uuid` the digest of the signed uuid that the start uses up,
    `request` the digest of the request that is kept, and starts nothing again.
    """

    room: Room
    account: int | None = None
    uuid: str | None = None
    request: str | None = None


class TaskStore:
    """What every worker knows of every task."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, row: Row, admission: Admission, *, order: bytes | None = None
    ) -> bool:
        """Add a task that has not finished, if it may be taken on.

        With what is to be run, where another process is to find that: see OrderStore.
        Return whether it has to wait for room.

        Raises NotAuthenticated where its account was removed, UuidRefused where its
        uuid was used, SlotBusy where its slot holds another task, CapacityExceeded
        where as many run and wait as may, KeyInFlight where its request has started
        another, or is kept no more, NotItsTurn where its parent is not to have it now.
        """
        if order is None and self._has_room(row, admission):
            return False

        def write(connection: sa.Connection) -> bool:
            self._database.lock(connection, f"admission {row['host']}")
            if row.get("parent") is not None:
                check_turn(self._database, connection, row)
            owner = owner_now(connection, row["owner"], admission.account)
            if order is not None and self._has_room_now(
                connection, {**row, "owner": owner}, admission, order
            ):
                return False
            _use_up(connection, admission)
            if row["slot"] is not None:
                for holder in _HOLDER.rows(connection, of_slot=row["slot"]):
                    raise SlotBusy(holder["task_id"])
            new = {**row, "owner": owner}
            new |= _place(connection, new, admission.room)
            tie(connection, admission.request, row["task_id"])
            try:
                _ADD.execute(connection, new)
            except Conflict as error:  # the slot was taken on another host just now
                raise SlotBusy from error
            if order is not None:
                document = {"task_id": row["task_id"], "document": order}
                _ADD_ORDER.execute(connection, document)
            return bool(new["is_queued"])

        return self._database.write_together(write)

    def _has_room(self, row: Row, admission: Admission) -> bool:
        """Add a task in one statement where nothing is in its way; else do nothing.

        On PostgreSQL those who are added at the same time would not see each other.
        """
        if not (self._database.is_sqlite and _is_plain(row, admission)):
            return False
        values = _values_of(row, admission) | {"of_account": admission.account}
        try:
            return self._database.write_once(_add_if_room(tuple(row)), values) == 1
        except Conflict:  # its slot is taken
            return False

    def _has_room_now(
        self,
        connection: sa.Connection,
        row: Row,
        admission: Admission,
        order: bytes,
    ) -> bool:
        """Do the same on PostgreSQL, with its order, under the lock of those added.

        A slot that is taken would make the transaction be of no more use.
        """
        is_plain = _is_plain(row, admission) and row["slot"] is None
        if self._database.is_sqlite or not is_plain:
            return False
        values = _values_of(row, admission)
        values |= {"of_account": None, "document": order}
        return _add_both_if_room(tuple(row)).execute(connection, values) == 1

    def withdraw(self, task_id: str, admission: Admission) -> None:
        """Forget a task that could not be begun, and what its admission has used up."""
        with self._database.write() as connection:
            take_back(connection, task_id, admission)

    def claim(
        self, host: str, kind: str, task_ids: Collection[str], *, max_running: int
    ) -> Sequence[str]:
        """Return those of the waiting `task_ids` whose turn it is; they run from now.

        Others may be before them in the line: for those room is kept.
        """
        with self._database.read() as connection:
            line = Line(_unfinished(connection, host, kind), max_running=max_running)
        # Somebody may have let them in, and could not tell.
        running = [each for each in line.running() if each in task_ids]
        turns = self._let_in(host, kind, line, only=task_ids)
        return running + [task_id for task_id, _ in turns]

    def let_in(self, host: str, kind: str, *, max_running: int) -> Sequence[Turn]:
        """Return whose turn it is on a host; they run from now."""
        if self._database.first(_ANY_WAIT, of_host=host, of_kind=kind) is None:
            return []
        with self._database.read() as connection:
            line = Line(_unfinished(connection, host, kind), max_running=max_running)
        return self._let_in(host, kind, line)

    def _let_in(
        self,
        host: str,
        kind: str,
        seen: Line,
        *,
        only: Collection[str] | None = None,
    ) -> Sequence[Turn]:
        """Let in whose turn it is by what was seen, and still is."""
        # Most who look have no turn; to write they would have to wait for each other.
        if not any(only is None or each in only for each in seen.next_to_run()):
            return []
        with self._database.write() as connection:
            self._database.lock(connection, f"admission {host}")
            return _let_in(connection, host, kind, seen.max_running, only=only)

    def queue(self, host: str, kind: str) -> Sequence[str]:
        """Return the tasks that wait on a host, in the order of their turns."""
        with self._database.read() as connection:
            return Line(_unfinished(connection, host, kind)).waiting()

    def counts(self, host: str) -> Mapping[tuple[str, bool], int]:
        """Return how many run and wait on a host, by kind and whether they wait."""
        of = tasks.c.kind, tasks.c.is_queued
        query = sa.select(*of, sa.func.count()).where(tasks.c.host == host, UNFINISHED)
        with self._database.read() as connection:
            rows = connection.execute(query.group_by(*of))
            return {(kind, is_queued): number for kind, is_queued, number in rows}

    def counts_of_hosts(self) -> Mapping[str, Mapping[tuple[str, bool], int]]:
        """Return what :meth:`counts` does, of each host on which anything is."""
        of = tasks.c.host, tasks.c.kind, tasks.c.is_queued
        query = sa.select(*of, sa.func.count()).where(UNFINISHED).group_by(*of)
        found: dict[str, dict[tuple[str, bool], int]] = {}
        with self._database.read() as connection:
            for host, kind, is_queued, number in connection.execute(query):
                found.setdefault(host, {})[kind, is_queued] = number
        return found

    def is_used(self, uuid: str) -> bool:
        """Return whether a signed uuid has started a command."""
        with self._database.read() as connection:
            return _is_used(connection, uuid)

    def find(self, task_id: str) -> Row | None:
        """Return a task's row."""
        return self._database.first(_FIND, of_id=task_id)

    def find_seen(self, task_id: str, viewer: Viewer) -> Row | None:
        """Return a task's row, if it is for the viewer to see."""
        row = self.find(task_id)
        return row if row is not None and viewer.sees(row["owner"]) else None

    def page(
        self, viewer: Viewer, filters: Row, *, before: int | None, limit: int
    ) -> Sequence[Row]:
        """Return up to `limit` tasks that the viewer may see, newest first.

        `filters` are columns and their values; `before` is a number of a row.
        """
        conditions = [tasks.c[name] == value for name, value in filters.items()]
        if before is not None:
            conditions.append(tasks.c.number < sa.literal(before, sa.BigInteger))
        query = sa.select(tasks).where(seen_by(viewer, tasks.c.owner), *conditions)
        newest = query.order_by(tasks.c.number.desc()).limit(limit)
        with self._database.read() as connection:
            return [dict(row) for row in connection.execute(newest).mappings()]

    def newest_of_commands(self, viewer: Viewer, *, among: int) -> Sequence[Row]:
        """Return of each command the newest task that has ended.

        Only the newest `among` tasks that the viewer may see are looked through: no
        index is kept up for this.
        """
        seen = sa.select(tasks.c.number, tasks.c.command, tasks.c.finished)
        seen = seen.where(seen_by(viewer, tasks.c.owner))
        lately = seen.order_by(tasks.c.number.desc()).limit(among).subquery()
        newest = (
            sa.select(sa.func.max(lately.c.number))
            .where(lately.c.command.is_not(None), lately.c.finished.is_not(None))
            .group_by(lately.c.command)
        )
        query = sa.select(tasks).where(tasks.c.number.in_(newest))
        with self._database.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def running_of_commands(self, viewer: Viewer) -> Mapping[str, int]:
        """Return how many tasks run of each command, of those that the viewer sees."""
        of = tasks.c.command
        is_one = of.is_not(None), tasks.c.fan_out.is_(None)
        runs = UNFINISHED, tasks.c.is_queued.is_(False), *is_one
        seen = seen_by(viewer, tasks.c.owner)
        number = sa.func.count().label("number")
        query = sa.select(of, number).where(seen, *runs).group_by(of)
        with self._database.read() as connection:
            return {row.command: row.number for row in connection.execute(query)}

    def find_newest(self, slot: str) -> Row | None:
        """Return the newest task of a slot."""
        return self._database.first(_NEWEST, of_slot=slot)

    def start(self, task_id: str, **values: Any) -> bool:
        """Write how far a task has come; return False where it has finished already."""
        return self._change(_CHANGE_UNFINISHED, of_id=task_id, **values)

    def take_over(self, task_id: str, seen_worker: str, *, worker: str) -> bool:
        """Make a task that has not begun another worker's; False: somebody else did."""
        return self._change(
            _TAKE_OVER,
            of_id=task_id,
            seen_worker=seen_worker,
            seen_state="QUEUED",
            worker=worker,
        )

    def request_cancel(self, task_id: str) -> None:
        """Write that a task is to be ended, unless it has finished already."""
        self.start(task_id, cancel_requested=True)

    def cancelled(self, task_ids: Collection[str]) -> Sequence[str]:
        """Return those of `task_ids` that are to be ended.

        Those too that have an end: others took them for lost while their host could
        not be heard of.
        """
        has_to_end = sa.or_(tasks.c.cancel_requested, tasks.c.finished.is_not(None))
        query = sa.select(tasks.c.task_id).where(tasks.c.task_id.in_(task_ids))
        with self._database.read() as connection:
            return connection.scalars(query.where(has_to_end)).all()

    def finish(self, task_id: str, **values: Any) -> bool:
        """Write a task's end; return False where it had one, which then holds."""
        return self._change(_CHANGE_UNFINISHED, of_id=task_id, **values)

    def take_output(
        self, task_id: str, *, from_offset: int, to_offset: int, is_end: bool
    ) -> bool:
        """Mark output as given; return False where another poll was first."""
        return self._change(
            _TAKE_OUTPUT,
            of_id=task_id,
            seen_offset=from_offset,
            polled_offset=to_offset,
            polled_end=is_end,
        )

    def unfinished(self, host: str) -> Sequence[Row]:
        """Return the tasks of a host that have not finished.

        A run on several hosts is nobody's: only its parts are on a host.
        """
        no_parent = tasks.c.fan_out.is_(None)
        query = sa.select(tasks).where(self._of_host(host), UNFINISHED, no_parent)
        with self._database.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def on_host(self, host: str) -> Sequence[Row]:
        """Return the tasks that are to be run on that very host, and have not finished.

        A run on several hosts is on none of them: its parts are.
        """
        of_host = tasks.c.host == host, tasks.c.fan_out.is_(None)
        query = sa.select(tasks).where(*of_host, UNFINISHED).order_by(tasks.c.number)
        with self._database.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def lose(
        self, task_id: str, seen_worker: str, *, seen_beat: int, **values: Any
    ) -> bool:
        """Write the end of a task whose host has died, and forget what it was to run.

        Return False where another wrote its end, where it has begun since it was seen,
        or where its host has given a sign of life after `seen_beat`.
        """
        given = {"of_id": task_id, "seen_worker": seen_worker, "seen_beat": seen_beat}
        with self._database.write() as connection:
            if not _LOSE.execute(connection, given | values):
                return False
            order = orders.c.task_id == task_id
            connection.execute(sa.delete(orders).where(order))
            return True

    def untold(self, host: str | None, *, now: float) -> Sequence[Row]:
        """Return of a host's tasks whose end is to be told now their ids and `notify`.

        None: of all hosts.
        Every two seconds somebody asks: the few that are not told have an index.
        """
        # As such an index of `finished` would be taken, which has all that are kept.
        ended = sa.func.coalesce(tasks.c.finished, 0) > 0
        due = sa.func.coalesce(tasks.c.tell_at, 0) <= now
        query = sa.select(tasks.c.task_id, tasks.c.notify)
        untold = query.where(self._of_host(host), UNTOLD, ended, due)
        with self._database.read() as connection:
            return [dict(row) for row in connection.execute(untold).mappings()]

    def tell(self, task_id: str, *, seen: float | None, **values: Any) -> bool:
        """Write how far the telling of a task's end is, if it is as it was seen.

        `seen` is its `tell_at`. Return False where another was first, or all is told.
        """
        return self._change(_TELL, of_id=task_id, seen_tell_at=seen, **values)

    def expired(
        self, host: str, *, finished_before: float, keep: int, limit: int
    ) -> Sequence[str]:
        """Return up to `limit` tasks past their age, or with `keep` newer ones.

        The parts of a run that goes on are kept: it is counted by them.
        """
        of_host = self._of_host(host)
        age = tasks.c.finished, tasks.c.number  # the number where times are equal
        newest = sa.select(*age).where(of_host, tasks.c.finished.is_not(None))
        cut = newest.order_by(*(column.desc() for column in age)).offset(keep).limit(1)
        old = tasks.c.finished < finished_before
        over = sa.tuple_(*age) <= cut.scalar_subquery()
        parents = sa.select(_parents.c.task_id).where(
            _parents.c.fan_out.is_not(None), _parents.c.finished.is_(None)
        )
        free = sa.or_(tasks.c.parent.is_(None), tasks.c.parent.not_in(parents))
        query = sa.select(tasks.c.task_id).where(of_host, sa.or_(old, over), free)
        query = query.limit(limit)
        with self._database.read() as connection:
            return connection.scalars(query).all()

    def remove(self, task_ids: Collection[str]) -> None:
        """Forget tasks."""
        with self._database.write() as connection:
            connection.execute(sa.delete(tasks).where(tasks.c.task_id.in_(task_ids)))

    def known(self, task_ids: Collection[str]) -> set[str]:
        """Return those of `task_ids` that there are."""
        query = sa.select(tasks.c.task_id).where(tasks.c.task_id.in_(task_ids))
        with self._database.read() as connection:
            return set(connection.scalars(query))

    def _of_host(self, host: str | None) -> sa.ColumnElement[bool]:
        """Return which tasks are that host's to sweep up.

        A file of SQLite is one host's, whatever it was called when a task was made: a
        container has another name after every start.
        """
        if host is None or self._database.is_sqlite:
            return sa.true()
        return tasks.c.host == host

    def _change(self, change: Change, **values: Any) -> bool:
        """Write columns of a task; return whether there was one to be changed."""
        return self._database.write_once(change, values) == 1


def take_back(
    connection: sa.Connection,
    task_id: str,
    admission: Admission,
    *conditions: sa.ColumnElement[bool],
) -> bool:
    """Forget a task if the conditions hold, and what its admission has used up."""
    of_id = tasks.c.task_id == task_id
    if not connection.execute(sa.delete(tasks).where(of_id, *conditions)).rowcount:
        return False
    of_uuid = used_uuids.c.digest == admission.uuid
    connection.execute(sa.delete(used_uuids).where(of_uuid))
    tied = idempotency.c.task_id == task_id
    of_request = idempotency.c.digest == admission.request
    untied = sa.update(idempotency).where(of_request, tied)
    connection.execute(untied.values(task_id=None))
    return True


def _is_plain(row: Row, admission: Admission) -> bool:
    """Return whether nothing but room has to be looked at, or used up, for a task."""
    more = admission.uuid, admission.request, row.get("parent")
    return all(each is None for each in more)


def _values_of(row: Row, admission: Admission) -> dict[str, Any]:
    """Return what is given to add a task if it has room, but for whose it is."""
    of_line = {"of_host": row["host"], "of_kind": row["kind"]}
    return {
        **row,
        "is_queued": False,
        **of_line,
        "of_room": admission.room.max_running,
    }


@cache
def _add_if_room(names: tuple[str, ...]) -> Change:
    """Return what adds a task of these columns if nobody waits, and it has room."""
    return Change(_insert_if_room(names))


@cache
def _add_both_if_room(names: tuple[str, ...]) -> Change:
    """Return what does so, and adds the task's order."""
    added = _insert_if_room(names).returning(tasks.c.task_id).cte("added")
    document = sa.bindparam("document", type_=sa.LargeBinary)
    both = sa.select(added.c.task_id, document)
    add = sa.insert(orders).from_select(["task_id", "document"], both)
    return Change(add.execution_options(preserve_rowcount=True))


def _insert_if_room(names: tuple[str, ...]) -> sa.Insert:
    given = {name: sa.bindparam(name, type_=tasks.c[name].type) for name in names}
    of_line = sa.select(sa.func.count()).where(_OF_LINE)
    of_command = of_line.where(tasks.c.command == given["command"])
    last_turn = sa.select(sa.func.coalesce(sa.func.max(tasks.c.turn), 0)).where(
        _OF_LINE
    )
    account = sa.bindparam("of_account", type_=sa.Integer)
    known = sa.exists().where(
        accounts.c.number == account, accounts.c.username == given["owner"]
    )
    new = sa.select(*given.values(), 1 + last_turn.scalar_subquery()).where(
        ~sa.exists().where(_OF_LINE, tasks.c.is_queued),
        of_line.scalar_subquery() < sa.bindparam("of_room"),
        sa.or_(
            given["max_running"].is_(None),
            of_command.scalar_subquery() < given["max_running"],
        ),
        sa.or_(account.is_(None), known),
    )
    return sa.insert(tasks).from_select([*names, "turn"], new)


def _let_in(
    connection: sa.Connection,
    host: str,
    kind: str,
    max_running: int,
    *,
    only: Collection[str] | None = None,
) -> list[Turn]:
    """Let those of the line run for whom there is room; return them.

    With `only` no others are let in, but room is kept for those before them.
    """
    rows = _unfinished(connection, host, kind)
    line = Line(rows, max_running=max_running)
    of_id = {row["task_id"]: row for row in rows}
    let_in: list[Turn] = []
    for task_id in line.next_to_run():
        if only is not None and task_id not in only:
            continue
        of_owner = of_id[task_id]["owner"]
        theirs = {"of_host": host, "of_kind": kind, "of_owner": of_owner}
        turn = line.next_turn + len(let_in)
        _TAKE_TURN.execute(connection, {**theirs, "turn": turn})
        _CHANGE.execute(connection, {"of_id": task_id, "is_queued": False})
        let_in.append((task_id, of_id[task_id]["worker"]))
    return let_in


def _place(connection: sa.Connection, row: Row, room: Room) -> dict[str, Any]:
    """Return a new task's place in the line; raise CapacityExceeded if it has none."""
    others = _unfinished(connection, row["host"], row["kind"])
    place = {"is_queued": True, "turn": Line(others).next_turn}
    newest = {name: row.get(name) for name in LINE_COLUMNS} | place
    line = Line([*others, newest], max_running=room.max_running)
    # Those do not wait for room, only for their worker to see it.
    have_room = list(line.next_to_run())
    if row["task_id"] in have_room:
        return place | {"is_queued": False}
    if len(line.waiting()) - len(have_room) > room.max_queued:
        raise CapacityExceeded(retry_after_seconds=1)
    return place


def _unfinished(connection: sa.Connection, host: str, kind: str) -> Sequence[Row]:
    return _LINE.rows(connection, of_host=host, of_kind=kind)


def _use_up(connection: sa.Connection, admission: Admission) -> None:
    if admission.uuid is None:
        return
    if _is_used(connection, admission.uuid):
        raise UuidRefused
    now = time.time()
    old = used_uuids.c.used < now - USED_SECONDS
    connection.execute(sa.delete(used_uuids).where(old))
    try:
        used = {"digest": admission.uuid, "used": now}
        connection.execute(sa.insert(used_uuids).values(**used))
    except sa.exc.IntegrityError as error:  # on another host just now
        raise UuidRefused from error


def _is_used(connection: sa.Connection, uuid: str) -> bool:
    used = sa.select(used_uuids.c.digest).where(used_uuids.c.digest == uuid)
    return connection.execute(used).first() is not None
