"""Runs on several hosts: whatever ends, dies or is asked when, on both databases."""

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import (
    BrokerUnavailable,
    CapacityExceeded,
    CommandNotAllowed,
    Draining,
    HostAway,
    InvalidInput,
    NotAuthenticated,
)
from app.processes.command import Command
from app.storage.account_store import AccountStore
from app.storage.engine import Database
from app.storage.fan_out_store import FanOutStore
from app.storage.ownership import ANYBODYS
from app.storage.task_store import Admission, Room, TaskStore
from app.tasks.fan_out import FanOut
from app.tasks.order import Order, Origin, Place
from app.tasks.output import OutputFolder
from app.tasks.record import TaskRecord
from app.tasks.spread import Spread
from app.tasks.states import State
from tests.racing import race_threads
from tests.unit.storage.conftest import database, new_database, other, url
from tests.unit.storage.rows import account_row

__all__ = ["database", "new_database", "other", "url"]  # fixtures: both databases

BASE = {"PATH": "/bin"}
ORDER = Order(
    Command(("true",), {**BASE, "TOKEN": "secret"}, 60.0, stdin=b"secret"),
    cmd="true",
    params={"a": 1},
)
ANN = Origin("ann", "request-1")
HOSTS = tuple("abcde")


class Killed(BaseException):
    """The process was killed at this point."""


@dataclass(frozen=True)
class Host:
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)


class Hosts:
    """Hosts with labels."""

    def __init__(self, **labels: Mapping[str, str]) -> None:
        self._hosts = [Host(name, of) for name, of in labels.items()]

    def matching(self, labels: Mapping[str, str]) -> Sequence[Host]:
        return [host for host in self._hosts if labels.items() <= host.labels.items()]


class Backend:
    """Takes parts on as a real one does, and runs nothing."""

    def __init__(self, tasks: TaskStore) -> None:
        self._tasks = tasks
        self.began: Counter[str] = Counter()
        self.orders: list[tuple[Order, Origin]] = []
        self.refusals: dict[str, Exception] = {}
        self.step: Callable[[], None] = lambda: None

    def submit(self, order: Order, origin: Origin, *, place: Place) -> TaskRecord:
        self.step()
        host = place.host or ""
        if host in self.refusals:
            raise self.refusals[host]
        task = TaskRecord(
            task_id=origin.task_id_on(host),
            kind="exec",
            state=State.QUEUED,
            owner=origin.owner,
            host=host,
            worker="a worker",
            request_id=origin.request_id,
            created=1.0,
            parent=origin.parent,
        )
        admission = Admission(Room(1000), account=origin.account)
        self._tasks.add(vars(task), admission)
        self.began[task.task_id] += 1
        self.orders.append((order, origin))
        self.step()
        return task

    def cancel(self, task_id: str) -> None:
        self.step()
        self._tasks.request_cancel(task_id)


class Cluster:
    """A run on several hosts, whose parts are ended from here."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.tasks, self.store = TaskStore(database), FanOutStore(database)
        self.database = database
        folder.mkdir(exist_ok=True)
        self.outputs = OutputFolder(folder, head_bytes=100, tail_bytes=100)
        self.backend = Backend(self.tasks)
        self.told: list[TaskRecord] = []
        self.observed: list[TaskRecord] = []
        self.fan_out = self.another()

    def another(self, host: str = "web", *, is_everybodys: bool = True) -> FanOut:
        """Return what another process has of it."""
        labels = {"a": {"role": "web", "zone": "1"}, "b": {"role": "web"}, "c": {}}
        made = FanOut(
            tasks=self.tasks,
            store=self.store,
            outputs=self.outputs,
            hosts=Hosts(**labels),
            host=host,
            base=BASE,
            is_everybodys=is_everybodys,
            observe=self.observed.append,
        )
        made.backend = self.backend
        made.tell_end = self.told.append
        return made

    def start(self, hosts: Sequence[str] = HOSTS, **most: int | None) -> str:
        record = self.fan_out.start(ORDER, ANN, Spread(list(hosts), **most))
        return record.task_id

    def find(self, task_id: str) -> TaskRecord:
        row = self.tasks.find(task_id)
        assert row is not None
        return TaskRecord.from_row(row)

    def parts(self, parent: str) -> dict[str, TaskRecord]:
        rows = self.tasks.page(ANYBODYS, {"parent": parent}, before=None, limit=100)
        return {row["host"]: TaskRecord.from_row(row) for row in reversed(rows)}

    def going_on(self, parent: str) -> list[str]:
        parts = self.parts(parent)
        return [host for host, part in parts.items() if part.finished is None]

    def end(self, parent: str, host: str, state: State = State.SUCCESS) -> TaskRecord:
        """End a part in the records alone: who did it has died since."""
        part = self.parts(parent)[host]
        reasons = {State.LOST: "worker_lost", State.REVOKED: "cancelled"}
        code = {State.SUCCESS: 0, State.FAILURE: 3}.get(state)
        facts = {"state": state, "reason": reasons.get(state, "exit")}
        assert self.tasks.finish(part.task_id, **facts, returncode=code, finished=2.0)
        return self.find(part.task_id)

    def ended(self, parent: str, host: str, state: State = State.SUCCESS) -> None:
        """End a part, and have that noted."""
        self.fan_out.note(self.end(parent, host, state))

    def counts(self, parent: str) -> dict[str, int]:
        counts = self.fan_out.counts(self.find(parent))
        return {name: number for name, number in counts.items() if number}


@pytest.fixture
def cluster(database: Database, tmp_path: Path) -> Cluster:
    return Cluster(database, tmp_path / "output")


class TestStart:
    def test_all_parts_begin_at_once_unless_fewer_are_wanted(self, cluster) -> None:
        parent = cluster.start()
        assert cluster.going_on(parent) == list(HOSTS)
        assert cluster.counts(parent) == {"total": 5, "queued": 5}
        parent = cluster.start(max_parallel=2)
        assert cluster.going_on(parent) == ["a", "b"]
        assert cluster.counts(parent) == {"total": 5, "queued": 2, "pending": 3}

    def test_what_is_run_comes_with_the_environment_of_whoever_begins_it(
        self, cluster
    ) -> None:
        cluster.start(["a"])
        [(order, origin)] = cluster.backend.orders
        assert order == ORDER
        assert (origin.owner, origin.request_id) == ("ann", "request-1")
        assert (origin.request, origin.uuid, origin.slot) == (None, None, None)

    def test_only_the_parent_is_told_of(self, cluster) -> None:
        notice = {"on": ["success"], "webhook": {"url": "https://example.com"}}
        order = replace(ORDER, notify=(notice,))
        parent = cluster.fan_out.start(order, ANN, Spread(["a"])).task_id
        assert cluster.backend.orders[0][0].notify == ()
        cluster.ended(parent, "a")
        assert [task.task_id for task in cluster.told] == [parent]
        assert json.loads(cluster.find(parent).notify) == [notice]

    def test_the_parent_is_observed_twice(self, cluster) -> None:
        parent = cluster.start(["a"])
        cluster.ended(parent, "a")
        seen = [(task.task_id, task.state) for task in cluster.observed]
        assert seen == [(parent, State.STARTED), (parent, State.SUCCESS)]

    def test_it_takes_no_room_of_the_commands(self, cluster) -> None:
        parent = cluster.start(["a"])
        assert cluster.tasks.queue("web", "fan_out") == []
        assert cluster.tasks.unfinished("web") == [
            row for row in cluster.tasks.unfinished("web") if row["task_id"] != parent
        ]

    def test_one_that_outlives_the_service_is_refused(self, cluster) -> None:
        with pytest.raises(InvalidInput) as refused:
            cluster.fan_out.start(replace(ORDER, is_detached=True), ANN, Spread(["a"]))
        assert [fault.path for fault in refused.value.faults] == ["detached"]
        assert cluster.store.unfinished(None) == []

    def test_of_a_removed_account_nothing_is_started(self, cluster, tmp_path) -> None:
        with pytest.raises(NotAuthenticated):
            cluster.fan_out.start(ORDER, replace(ANN, account=7), Spread(["a"]))
        assert cluster.store.unfinished(None) == []
        assert list((tmp_path / "output").iterdir()) == []


class TestMatching:
    @pytest.mark.parametrize(
        ("labels", "names", "found"),
        [
            ({}, None, "abc"),
            ({"role": "web"}, None, "ab"),
            ({"role": "web", "zone": "1"}, None, "a"),
            (None, ["c", "a"], "ca"),
            ({"role": "web"}, ["c", "b"], "b"),
        ],
    )
    def test_all_labels_have_to_match(self, cluster, labels, names, found) -> None:
        assert cluster.fan_out.matching(labels, names) == list(found)

    @pytest.mark.parametrize(
        ("labels", "names", "where"),
        [
            ({"role": "db"}, None, ["hosts"]),
            ({"zone": "1"}, ["b"], ["hosts"]),
            (None, ["a", "x", "y"], ["hosts.names.1", "hosts.names.2"]),
        ],
    )
    def test_no_host_is_a_fault(self, cluster, labels, names, where) -> None:
        with pytest.raises(InvalidInput) as refused:
            cluster.fan_out.matching(labels, names)
        assert [fault.path for fault in refused.value.faults] == where


class TestEnds:
    def test_it_succeeds_where_all_parts_do(self, cluster) -> None:
        parent = cluster.start(["a", "b"])
        cluster.ended(parent, "a")
        assert cluster.find(parent).state is State.STARTED
        cluster.ended(parent, "b")
        found = cluster.find(parent)
        assert (found.state, found.reason, found.returncode) == ("SUCCESS", "exit", 0)
        assert found.output == b"a SUCCESS 0\nb SUCCESS 0\n"
        assert (found.progress_done, found.progress_total) == (2, 2)
        assert cluster.counts(parent) == {"total": 2, "success": 2}

    def test_otherwise_it_fails_and_says_why(self, cluster) -> None:
        parent = cluster.start("abcd")
        states = (State.FAILURE, State.LOST, State.SUCCESS, State.REVOKED)
        for host, state in zip("abcd", states, strict=True):
            cluster.ended(parent, host, state)
        found = cluster.find(parent)
        assert (found.state, found.reason, found.returncode) == (
            "FAILURE",
            "children",
            1,
        )
        assert found.output.decode().splitlines() == [
            "a FAILURE 3",
            "b LOST worker_lost",
            "c SUCCESS 0",
            "d REVOKED cancelled",
        ]

    def test_the_next_begins_when_one_has_ended(self, cluster) -> None:
        parent = cluster.start(max_parallel=2)
        for host, then in zip("abcd", ("bc", "cd", "de", "e"), strict=True):
            cluster.ended(parent, host)
            assert cluster.going_on(parent) == list(then)
        cluster.ended(parent, "e")
        assert cluster.find(parent).state is State.SUCCESS

    def test_after_too_many_errors_no_more_begin(self, cluster) -> None:
        parent = cluster.start(max_parallel=2, max_errors=1)
        cluster.ended(parent, "a", State.FAILURE)
        assert cluster.going_on(parent) == ["b", "c"]
        cluster.ended(parent, "b", State.LOST)
        assert cluster.going_on(parent) == ["c"], "it goes on, and none comes after"
        assert cluster.counts(parent) == {
            "total": 5,
            "failure": 1,
            "lost": 1,
            "queued": 1,
            "skipped": 2,
        }
        cluster.ended(parent, "c")
        found = cluster.find(parent)
        assert (found.state, found.reason) == ("FAILURE", "max_errors")
        assert found.output.decode().splitlines()[3:] == [
            "d SKIPPED max_errors",
            "e SKIPPED max_errors",
        ]
        assert found.progress_done == 3

    def test_its_order_is_forgotten_with_its_end(self, cluster) -> None:
        parent = cluster.start(["a"])
        assert b"secret" in cluster.store.order(parent)
        assert b"PATH" not in cluster.store.order(parent)
        cluster.ended(parent, "a")
        assert cluster.store.order(parent) is None

    def test_it_is_counted_after_its_parts_were_forgotten(self, cluster) -> None:
        parent = cluster.start(["a"])
        cluster.ended(parent, "a", State.FAILURE)
        cluster.tasks.remove([cluster.parts(parent)["a"].task_id])
        assert cluster.counts(parent) == {"total": 1, "failure": 1}

    def test_the_parts_of_one_that_goes_on_are_not_forgotten(self, cluster) -> None:
        parent = cluster.start(max_parallel=1)
        cluster.ended(parent, "a")

        def expired(host: str) -> list[str]:
            limits = {"finished_before": 9e9, "keep": 0, "limit": 100}
            return list(cluster.tasks.expired(host, **limits))

        assert expired("a") == []
        cluster.fan_out.cancel(parent)
        cluster.ended(parent, "b", State.REVOKED)
        assert cluster.parts(parent)["a"].task_id in expired("a")


class TestRefusals:
    @pytest.mark.parametrize(
        ("refusal", "reason"),
        [
            (HostAway("b"), "host_away"),
            (CapacityExceeded(retry_after_seconds=1), "capacity"),
            (Draining(), "draining"),
            (CommandNotAllowed(), "refused"),
            (NotAuthenticated(), "refused"),
            (ValueError("of ours"), "internal_error"),
        ],
    )
    def test_a_host_that_refuses_counts_as_failed(
        self, cluster, refusal, reason
    ) -> None:
        cluster.backend.refusals["b"] = refusal
        parent = cluster.start("abc", max_parallel=1)
        cluster.ended(parent, "a")
        part = cluster.parts(parent)["b"]
        assert (part.state, part.reason) == ("FAILURE", reason)
        if reason != "internal_error":
            assert part.detail == str(refusal)
        assert (part.owner, part.cmd, part.started) == ("ann", "true", None)
        assert part.finished is not None
        assert cluster.going_on(parent) == ["c"], "others have its place"

    def test_where_all_refuse_it_ends_at_once(self, cluster) -> None:
        cluster.backend.refusals = dict.fromkeys(HOSTS, Draining())
        parent = cluster.start(max_parallel=1, max_errors=2)
        found = cluster.find(parent)
        assert (found.state, found.reason) == ("FAILURE", "max_errors")
        assert cluster.counts(parent) == {"total": 5, "failure": 3, "skipped": 2}

    def test_where_hosts_run_their_own_nobody_else_begins_any(self, cluster) -> None:
        cluster.backend.refusals = dict.fromkeys(HOSTS, BrokerUnavailable())
        parent = cluster.start("ab")
        cluster.backend.refusals = {}
        cluster.another("db", is_everybodys=False).advance_all()
        is_one_host = cluster.database.is_sqlite
        assert len(cluster.parts(parent)) == (2 if is_one_host else 0)
        cluster.another("web", is_everybodys=False).advance_all()
        assert cluster.going_on(parent) == ["a", "b"]

    def test_what_is_no_refusal_of_the_host_is_tried_again(self, cluster) -> None:
        cluster.backend.refusals = dict.fromkeys(HOSTS, BrokerUnavailable())
        parent = cluster.start("ab")
        assert cluster.parts(parent) == {}
        cluster.backend.refusals = {}
        cluster.fan_out.advance_all()
        assert cluster.going_on(parent) == ["a", "b"]

    def test_a_removed_account_has_nothing_more_started(
        self, cluster, database
    ) -> None:
        accounts = AccountStore(database)
        for name in ("ann", "an admin"):
            accounts.add(account_row(name, admin=name != "ann"))
        account = accounts.find("ann")["number"]
        origin = replace(ANN, account=account)
        spread = Spread(["a", "b"], max_parallel=1)
        parent = cluster.fan_out.start(ORDER, origin, spread).task_id
        accounts.remove("ann")
        cluster.ended(parent, "a")
        part = cluster.parts(parent)["b"]
        assert (part.reason, part.owner) == ("refused", f"ann~{account}")


class TestCancel:
    def test_all_its_parts_are_cancelled_and_no_more_begin(self, cluster) -> None:
        parent = cluster.start(max_parallel=2)
        cluster.fan_out.cancel(parent)
        parts = cluster.parts(parent)
        assert {host: part.cancel_requested for host, part in parts.items()} == {
            "a": True,
            "b": True,
        }
        assert cluster.find(parent).state is State.STARTED
        cluster.ended(parent, "a", State.REVOKED)
        cluster.ended(parent, "b")
        found = cluster.find(parent)
        assert (found.state, found.reason) == ("REVOKED", "cancelled")
        assert cluster.counts(parent) == {
            "total": 5,
            "revoked": 1,
            "success": 1,
            "skipped": 3,
        }
        assert "c SKIPPED cancelled" in found.output.decode()

    def test_too_late_it_has_succeeded(self, cluster) -> None:
        parent = cluster.start("a")
        cluster.tasks.request_cancel(parent)
        cluster.ended(parent, "a")
        assert cluster.find(parent).state is State.SUCCESS

    def test_one_that_was_only_written_down_is_seen_by_who_sweeps_up(
        self, cluster
    ) -> None:
        parent = cluster.start("ab")
        cluster.tasks.request_cancel(parent)
        cluster.fan_out.advance_all()
        parts = cluster.parts(parent).values()
        assert all(part.cancel_requested for part in parts)


class TestAtOnce:
    def test_many_that_bring_it_further_begin_each_part_once(
        self, cluster, other
    ) -> None:
        elsewhere = Cluster(other, cluster.outputs.path("x").parent)
        fan_outs = (cluster.fan_out, elsewhere.fan_out)

        def advance(parent: str, number: int) -> None:
            fan_outs[number % 2].advance(parent)

        for _ in range(5):
            parent = cluster.start(max_parallel=2)
            for host in HOSTS:
                cluster.end(parent, host)
                race_threads(6, partial(advance, parent))
                assert len(cluster.going_on(parent)) <= 2
            began = cluster.backend.began + elsewhere.backend.began
            assert set(began.values()) == {1}
            ends = cluster.observed + elsewhere.observed
            ended = [task for task in ends if task.task_id == parent]
            assert [task.state for task in ended] == [State.STARTED, State.SUCCESS]
            cluster.backend.began.clear()


class TestStale:
    """Who has seen whose turn it is, and acts on it when that is no more."""

    @pytest.fixture
    def late(self, cluster) -> Callable[[str, Callable[[], None]], None]:
        """Do something between the look at a run and the beginning of its next part."""

        def late(parent: str, meanwhile: Callable[[], None]) -> None:
            def step() -> None:
                cluster.backend.step = lambda: None
                meanwhile()

            cluster.backend.step = step
            cluster.fan_out.advance(parent)

        return late

    def test_none_is_begun_after_a_cancel(self, cluster, late) -> None:
        parent = cluster.start(max_parallel=2)
        cluster.end(parent, "a")
        late(parent, lambda: cluster.another().cancel(parent))
        assert list(cluster.parts(parent)) == ["a", "b"]
        cluster.ended(parent, "b", State.REVOKED)
        assert cluster.find(parent).state is State.REVOKED

    def test_none_is_begun_after_too_many_errors(self, cluster, late) -> None:
        parent = cluster.start("abcd", max_parallel=3, max_errors=0)
        cluster.end(parent, "a")
        late(parent, lambda: cluster.ended(parent, "b", State.FAILURE))
        assert list(cluster.parts(parent)) == ["a", "b", "c"]
        cluster.ended(parent, "c")
        assert cluster.find(parent).reason == "max_errors"

    def test_no_more_than_may_go_on_at_a_time(self, cluster, late) -> None:
        parent = cluster.start(max_parallel=2)
        cluster.end(parent, "a")
        cluster.end(parent, "b")  # now it is the turn of c and d

        def meanwhile() -> None:
            cluster.another().advance(parent)
            cluster.ended(parent, "c")

        late(parent, meanwhile)
        assert cluster.going_on(parent) == ["d", "e"]
        assert set(cluster.backend.began.values()) == {1}

    def test_a_part_that_was_forgotten_is_not_begun_again(self, cluster, late) -> None:
        parent = cluster.start("ab", max_parallel=1)
        cluster.end(parent, "a")

        def meanwhile() -> None:
            another = cluster.another()
            another.advance(parent)
            another.note(cluster.end(parent, "b"))
            cluster.tasks.remove([p.task_id for p in cluster.parts(parent).values()])

        late(parent, meanwhile)
        assert cluster.parts(parent) == {}

    def test_none_has_come_to_nothing_that_was_begun(self, cluster, late) -> None:
        parent = cluster.start("ab", max_parallel=1)
        cluster.end(parent, "a")

        def meanwhile() -> None:
            cluster.another().advance(parent)
            cluster.backend.refusals["b"] = Draining()

        late(parent, meanwhile)
        assert cluster.parts(parent)["b"].state is State.QUEUED


STATES = st.sampled_from([State.SUCCESS, State.SUCCESS, State.FAILURE, State.LOST])
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("end"), STATES),
        st.tuples(st.just("cancel"), st.none()),
        st.tuples(st.just("sweep"), st.none()),
        # The process dies so many steps later.
        st.tuples(st.just("kill"), st.integers(0, 12)),
        st.tuples(st.just("refuse"), st.sampled_from(HOSTS)),
    ),
    max_size=25,
)


class Dying:
    """Kills the process that does the next steps, after some of them."""

    def __init__(self, cluster: Cluster) -> None:
        self.left: int | None = None
        cluster.backend.step = self.step
        for store, names in (
            (
                cluster.store,
                ("find", "next_hosts", "order", "add_ended", "request_cancel", "end"),
            ),
            (cluster.tasks, ("add",)),
        ):
            for name in names:
                setattr(store, name, self._stepping(getattr(store, name)))

    def step(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise Killed

    def _stepping(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(*given: Any, **named: Any) -> Any:
            self.step()
            result = call(*given, **named)
            self.step()
            return result

        return stepping


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=settings.default.max_examples // 3,  # with a server it is slow
)
@given(
    actions=ACTIONS,
    most=st.fixed_dictionaries(
        {
            "max_parallel": st.none() | st.integers(1, 5),
            "max_errors": st.none() | st.integers(0, 3),
        }
    ),
    seed=st.randoms(use_true_random=False),
)
def test_whatever_ends_and_dies_it_comes_to_the_right_end(
    database: Database,
    tmp_path: Path,
    actions: list[tuple[str, Any]],
    most: dict[str, Any],
    seed: random.Random,
) -> None:
    cluster = Cluster(database, tmp_path / "output")
    dying = Dying(cluster)
    run = Run(cluster, seed, **most)
    for action in actions:
        with run.process():
            if action[0] == "kill":
                dying.left = action[1]
            run.do(*action)
        run.check()
    dying.left = None
    run.finish()


class Run:
    """A run on several hosts, and what has to hold for it at any time."""

    def __init__(self, cluster: Cluster, seed: random.Random, **most: Any) -> None:
        self._cluster, self._seed = cluster, seed
        self._most = most
        self._stopped_with: set[str] | None = None
        self._cancelled = False
        self.parent = cluster.start(**most)

    def process(self) -> "Run":
        return self

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, *_: object) -> bool:
        return kind is Killed

    def do(self, action: str, what: Any) -> None:
        cluster = self._cluster
        if action == "refuse":
            cluster.backend.refusals[what] = Draining()
        elif action == "sweep":
            cluster.fan_out.advance_all()
        elif action == "cancel":
            self._cancelled = self._cancelled or not cluster.find(self.parent).finished
            cluster.fan_out.cancel(self.parent)
        elif action == "end" and (hosts := cluster.going_on(self.parent)):
            cluster.ended(self.parent, self._seed.choice(hosts), what)

    def check(self) -> None:
        """Check what holds in between."""
        cluster, parent = self._cluster, self.parent
        assert set(cluster.backend.began.values()) <= {1}, "none is begun twice"
        most = self._most["max_parallel"] or len(HOSTS)
        assert len(cluster.going_on(parent)) <= most
        parts = cluster.parts(parent)
        if self._stopped_with is not None:
            assert set(parts) == self._stopped_with, "none is begun after the end of it"
        if self._is_stopped(parts):
            self._stopped_with = set(parts)
        if cluster.find(parent).finished:
            assert cluster.going_on(parent) == []

    def finish(self) -> None:
        """Let all end, with nobody but who sweeps up; check what came of it."""
        cluster, parent = self._cluster, self.parent
        cluster.fan_out.advance_all()
        while hosts := cluster.going_on(parent):
            cluster.end(parent, hosts[0])
            cluster.fan_out.advance_all()
            self.check()
        found, parts = cluster.find(parent), cluster.parts(parent)
        states = Counter(str(part.state) for part in parts.values())
        if states["SUCCESS"] == len(HOSTS):
            expected = ("SUCCESS", "exit")
        elif found.cancel_requested:
            expected = ("REVOKED", "cancelled")
        else:
            is_whole = len(parts) == len(HOSTS)
            expected = ("FAILURE", "children" if is_whole else "max_errors")
        assert (found.state, found.reason) == expected
        assert len(found.output.splitlines()) == len(HOSTS)
        counts = dict(cluster.fan_out.counts(found))
        assert counts.pop("total") == sum(counts.values()) == len(HOSTS)
        assert counts["success"] == states["SUCCESS"]
        assert cluster.store.order(parent) is None
        assert parent not in cluster.store.unfinished(None)

    def _is_stopped(self, parts: Mapping[str, TaskRecord]) -> bool:
        ended = [part for part in parts.values() if part.finished]
        failed = [part for part in ended if part.state is not State.SUCCESS]
        most = self._most["max_errors"]
        has_failed = most is not None and len(failed) > most
        return has_failed or self._cluster.find(self.parent).cancel_requested
