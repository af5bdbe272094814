"""Has tasks run by Celery's workers, each on its host: see :mod:`app.tasks.station`.

The record is the truth, the message is a nudge: it says which task it is that somebody
is to look at. So one that comes twice is harmless, and one that is lost is sent again.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import structlog
from celery import Celery
from kombu.entity import Queue
from kombu.exceptions import LimitExceeded, OperationalError
from kombu.pools import ProducerPool

from app.errors import BrokerUnavailable, Draining, Fault, HostAway, InvalidInput
from app.storage.order_store import NOBODY, OrderStore
from app.storage.task_store import TaskStore

from .call_job import Call
from .entrance import admission_of, facts_of_order, facts_of_report, new_record
from .hosts import Hosts
from .job import end_of_task
from .order import ANYWHERE, Order, Origin, Place
from .patience import Patience
from .record import TaskRecord
from .report_job import Report
from .states import State
from .written_command import written_command

#: The name of the task that Celery knows, and of what a worker is asked by remote
#: control: that is answered also while all its threads run tasks.
RUN = "bellhop.run"
READING = "bellhop_reading"

# How long a broker may take to take a message, or to say that it cannot.
BROKER_SECONDS = 2.0
# To how many messages at a time; others wait for that.
CONNECTIONS = 8
_WAIT = {"block": True, "timeout": BROKER_SECONDS}
# For how long a broker that was there counts as there.
CHECK_SECONDS = 2.0
# How long a host may take to say how it is, and how often it is asked: what was asked
# before a worker listened, nobody has heard.
READING_SECONDS = 1.0
READING_TRIES = 5
# After a run's own time and grace: by then it has ended, whatever happened.
SPARE_SECONDS = 60.0

# Where the connection is gone, redis and others raise what they like.
_FAILURES = (OperationalError, LimitExceeded, OSError)

log = structlog.get_logger(__name__)


def make_celery(broker_url: str) -> Celery:
    """Return a Celery that knows the broker; it has connected to nothing yet."""
    app = Celery("bellhop", broker=broker_url, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        broker_connection_timeout=BROKER_SECONDS,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "socket_connect_timeout": BROKER_SECONDS,
            "socket_timeout": BROKER_SECONDS,
            "max_retries": 1,
            "interval_start": 0,
            "interval_max": 0.1,
        },
    )
    return app


def queue_of(host: str) -> Queue:
    """Return the queue in which a host's messages wait for its worker."""
    name = f"bellhop.{host}"
    return Queue(name, exchange="", routing_key=name)


def node_of(host: str) -> str:
    """Return what a host's worker is called, unless it is started as another."""
    return f"bellhop@{host}"


class Broker:
    """Brings messages to hosts; raises BrokerUnavailable where it cannot.

    Nothing is opened before the first one.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._lock = threading.Lock()  # guards _connections and _producers
        self._connections: Any = None
        self._producers: Any = None
        self._checked = -CHECK_SECONDS  # on the monotonic clock

    def publish(
        self, host: str, task_id: str, *, time_limit: float | None = None
    ) -> None:
        """Tell a host's worker to look at a task; the limit is for Celery's tools."""
        with self._reached(), self._opened()[1].acquire(**_WAIT) as producer:
            self._app.send_task(
                RUN,
                (task_id,),
                task_id=task_id,
                queue=queue_of(host),
                time_limit=time_limit,
                producer=producer,
                retry=False,
            )

    def revoke(self, host: str, task_id: str) -> None:
        """Have a host's worker end a task at once; it would see that by itself."""
        with self._reached(), self._opened()[0].acquire(**_WAIT) as connection:
            self._app.control.revoke(
                task_id,
                terminate=True,
                destination=[node_of(host)],
                connection=connection,
                channel=connection.default_channel,
            )

    def ask(self, host: str, name: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what a host's worker says of how that is: see HostReadings.answer.

        Raises HostAway where it does not in time.
        """
        for _ in range(READING_TRIES):
            for reply in self._replies(host, {"name": name, "params": params}):
                answer: Mapping[str, Any] = reply[node_of(host)]
                return {"failed": answer["error"]} if "error" in answer else answer
        raise HostAway(host)

    def _replies(self, host: str, asked: Mapping[str, Any]) -> Sequence[Any]:
        """Ask once, by a connection that no message waits for meanwhile."""
        with self._reached(), self._app.connection_for_write() as connection:
            found: Sequence[Any] = self._app.control.broadcast(
                READING,
                arguments=asked,
                destination=[node_of(host)],
                connection=connection,
                reply=True,
                timeout=READING_SECONDS,
                limit=1,
            )
        return found

    def check(self) -> None:
        """Look whether the broker can be reached, unless it was a moment ago."""
        if time.monotonic() - self._checked < CHECK_SECONDS:
            return
        with self._reached(), self._app.connection_for_write() as connection:
            connection.ensure_connection(
                max_retries=1, timeout=BROKER_SECONDS, interval_start=0
            )
        self._checked = time.monotonic()

    def close(self) -> None:
        """Close what is open; the next message opens it again."""
        with self._lock:
            connections, self._connections = self._connections, None
            self._producers = None
            if connections is not None:
                connections.force_close_all()
        self._app.close()

    def _opened(self) -> tuple[Any, Any]:
        """Return the connections and what publishes by them: this broker's own."""
        with self._lock:
            if self._connections is None:
                connection = self._app.connection_for_write()
                self._connections = connection.Pool(limit=CONNECTIONS)
                self._producers = ProducerPool(self._connections, limit=CONNECTIONS)
            return self._connections, self._producers

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except _FAILURES as error:
            raise BrokerUnavailable from error


class CeleryBackend:
    """A TaskBackend whose tasks other processes run.

    `base` is the environment that every command has anyway, on each host its own.
    `admits` raises Draining where no new command or report is taken on.
    """

    def __init__(
        self,
        *,
        store: TaskStore,
        orders: OrderStore,
        broker: Broker,
        hosts: Hosts,
        base: Mapping[str, str],
        grace_seconds: float,
        admits: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._orders = orders
        self._broker = broker
        self._hosts = hosts
        self._base = base
        self._grace_seconds = grace_seconds
        self._admits = admits
        #: Returns the call of a kind that was asked for, to be given up.
        self.calls: Mapping[str, Callable[[Mapping[str, Any]], Call]] = {}

    def submit(
        self,
        order: Order,
        origin: Origin,
        *,
        place: Place = ANYWHERE,
        patience: Patience | None = None,  # noqa: ARG002 - nothing runs here
    ) -> TaskRecord:
        """Have a command run on a host; see TaskBackend."""
        if order.is_detached:
            raise InvalidInput([Fault("detached", _NOT_DETACHED)])
        record = self._new("exec", origin, place, **facts_of_order(order))
        command = written_command(order.command, less=self._base)
        document = {"command": command, "ends_on_overflow": order.ends_on_overflow}
        seconds = order.command.timeout_seconds + self._grace_seconds + SPARE_SECONDS
        return self._admit(record, origin, document, self._admits, time_limit=seconds)

    def submit_report(
        self, report: Report, origin: Origin, *, place: Place = ANYWHERE
    ) -> TaskRecord:
        """Have a report made of a host; see TaskBackend."""
        record = self._new(report.kind, origin, place, **facts_of_report(report))
        return self._admit(record, origin, report.asked, self._admits)

    def submit_call(self, call: Call, origin: Origin, *, task_id: str) -> TaskRecord:
        """Have a call made by a host; see TaskBackend."""
        record = self._new(call.kind, origin, ANYWHERE, task_id=task_id)
        return self._admit(record, origin, call.asked)

    def wait(self, task_id: str, *, seconds: float) -> TaskRecord | None:  # noqa: ARG002
        """Return None: no task is one of this process."""
        return None

    def cancel(self, task_id: str) -> None:
        """Have a task ended by its worker, or end it where none has begun it."""
        if ended := self._orders.end(
            task_id, **end_of_task(State.REVOKED, "cancelled")
        ):
            row, document = ended
            self._give_up(row["kind"], document)
            self._let_next_in(row["host"], row["kind"])
            return
        self._store.request_cancel(task_id)
        if found := self._store.find(task_id):
            with suppress(BrokerUnavailable):
                self._broker.revoke(found["host"], task_id)

    def refresh(self, task: TaskRecord) -> TaskRecord:
        """Return the task: its end is nowhere but in the records."""
        return task

    def ask(self, host: str, name: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return how a host is, by its worker; see Broker."""
        return self._broker.ask(host, name, params)

    def needs(self) -> Mapping[str, Callable[[], None]]:
        """Return what else has to work; see TaskBackend."""
        return {"broker": self._broker.check}

    def close(self, *, seconds: float) -> list[str]:  # noqa: ARG002 - it takes none
        """Let go of the broker; nothing runs here."""
        self._broker.close()
        return []

    def _new(self, kind: str, origin: Origin, place: Place, **facts: Any) -> TaskRecord:
        host = self._hosts.choose(place)
        waits = {"waits_for_host": place.waits}
        return new_record(kind, origin, host=host, worker=NOBODY, **facts | waits)

    def _admit(
        self,
        record: TaskRecord,
        origin: Origin,
        document: Mapping[str, Any],
        admits: Callable[[], None] = lambda: None,
        *,
        time_limit: float | None = None,
    ) -> TaskRecord:
        """Write a task down if it may run, and say so where it may now."""
        admits()
        task_id = record.task_id
        room = self._hosts.room(record.host, record.kind)
        admission = admission_of(room, origin)
        order = json.dumps(document).encode()
        waits = self._store.add(vars(record), admission, order=order)
        try:
            admits()  # who drains the host may have looked just before it was there
            if not waits:
                self._broker.publish(record.host, task_id, time_limit=time_limit)
        except (BrokerUnavailable, Draining):
            if self._orders.withdraw(task_id, admission):
                raise
            # Somebody has looked by themselves, and begun it.
        return replace(record, is_queued=waits)

    def _give_up(self, kind: str, document: bytes) -> None:
        if kind in self.calls:
            self.calls[kind](json.loads(document)).give_up("cancelled")

    def _let_next_in(self, host: str, kind: str) -> None:
        """Have those go on who have room now; where it fails, their worker looks."""
        most = self._hosts.room(host, kind).max_running
        with suppress(BrokerUnavailable):
            for task_id, _ in self._store.let_in(host, kind, max_running=most):
                self._broker.publish(host, task_id)


_NOT_DETACHED = (
    "is not possible with TASK_BACKEND=celery: its workers end what they run"
)
