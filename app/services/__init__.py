"""Builds what the rooms offer, owns it, and closes it in the reverse order.

Building starts nothing: no thread, no process, no connection.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import structlog

from app.auth.accounts import Accounts
from app.auth.audit import Audit
from app.auth.login import PasswordLogin
from app.auth.permissions import Identity
from app.auth.sessions import Sessions
from app.auth.signatures import SignedCallers
from app.auth.tokens import Tokens
from app.errors import InvalidInput, Unavailable
from app.host.procfs import Procfs
from app.host.sampler import Sampler
from app.host.samples import Samples
from app.host.uptime import UptimeReader
from app.metrics.figures import Figures
from app.metrics.scrape import Scrape
from app.processes.child import check_start
from app.sms.gateway import SmsGateway
from app.sms.limits import SmsLimits
from app.sms.outbox import Outbox
from app.sms.receipts import Receipts
from app.sms.templates import SmsTemplates
from app.storage.engine import Database
from app.storage.idempotency_store import IdempotencyStore
from app.storage.ownership import Viewer
from app.storage.people_store import PeopleStore
from app.storage.task_store import TaskStore
from app.tasks.announcer import Announcer
from app.tasks.backend import TaskBackend
from app.tasks.catalogue import Catalogue
from app.tasks.detached import DetachedRuns
from app.tasks.follow import Follower
from app.tasks.hosts import Hosts
from app.tasks.kept_requests import KeptRequests
from app.tasks.lookup import Lookup
from app.tasks.order import ANYWHERE, Origin, Place
from app.tasks.outputs import Outputs, Watching
from app.tasks.patience import Patience
from app.tasks.record import TaskRecord
from app.tasks.runs import Runs
from app.tasks.station import Station
from app.tasks.sweeper import Sweeper

from .building import (
    CLOSE_SECONDS,
    build_auth,
    build_drain,
    build_endings,
    build_figures,
    build_sampling,
    build_sms,
    build_sweeper,
    build_work,
)
from .counting import Counting
from .drain import Drain
from .endings import Endings
from .engines import connect
from .host_readings import HostReadings
from .hosting import build_announcer, build_hosts
from .messages import Messages
from .places import place
from .readings import Readings
from .reports import iostat_report
from .room import room_of

if TYPE_CHECKING:
    from app.tasks.celery_backend import Broker

log = structlog.get_logger(__name__)


@dataclass
class Services:
    """Everything that lives below the line, by name."""

    procfs: Procfs
    uptime: UptimeReader
    database: Database
    figures: Figures
    scrape: Scrape
    outputs: Outputs
    drain: Drain
    backend: TaskBackend
    station: Station | None
    announcer: Announcer | None
    detached: DetachedRuns
    catalogue: Catalogue
    runs: Runs
    lookup: Lookup
    follower: Follower
    notices: Watching
    accounts: Accounts
    login: PasswordLogin
    tokens: Tokens
    sessions: Sessions
    signed_callers: SignedCallers
    audit: Audit
    requests: KeptRequests
    people: PeopleStore
    templates: SmsTemplates
    limits: SmsLimits
    gateway: SmsGateway
    outbox: Outbox
    receipts: Receipts
    messages: Messages
    endings: Endings
    sweeper: Sweeper
    hosts: Hosts
    host_readings: HostReadings
    samples: Samples
    sampler: Sampler
    close_seconds: float
    waiters: threading.BoundedSemaphore

    @classmethod
    def build(
        cls, settings: Mapping[str, Any], *, broker: "Broker | None" = None
    ) -> Self:
        """Return the services that `settings` describe.

        With a `broker` they are those of a worker, which runs the tasks of its host.
        """
        procfs = Procfs()
        database = Database(settings["DATABASE_URL"])
        auth = build_auth(settings, database)
        figures = build_figures(settings)
        counting = Counting(figures)
        drain = build_drain(settings, database)
        uptime, sampling = UptimeReader(procfs), build_sampling(settings, procfs)
        hosts = build_hosts(settings, database, uptime, drain)
        work = build_work(
            settings, database, counting, drain, hosts=hosts, broker=broker
        )
        drain.refresh = work["backend"].refresh
        sms = build_sms(settings, database, counting)
        messages = Messages(
            outbox=sms["outbox"],
            backend=work["backend"],
            places=threading.BoundedSemaphore(_places_to_send(settings["THREADS"])),
            admits=drain.check,
        )
        endings = build_endings(settings, database, messages, counting)
        readings = HostReadings(
            own=settings["BELLHOP_HOST"],
            uptime=uptime,
            samples=sampling["samples"],
            hosts=hosts,
        )
        connect(
            work, procfs=procfs, messages=messages, endings=endings, readings=readings
        )
        requests = KeptRequests(IdempotencyStore(database))
        services = cls(
            procfs=procfs,
            uptime=uptime,
            hosts=hosts,
            announcer=build_announcer(
                settings, database, work["station"], uptime=uptime, drain=drain
            ),
            host_readings=readings,
            database=database,
            drain=drain,
            figures=figures,
            scrape=Scrape(figures),
            requests=requests,
            messages=messages,
            endings=endings,
            sweeper=build_sweeper(
                settings,
                database,
                work=work,
                housekeeping=[
                    auth["tokens"].remove_expired,
                    auth["sessions"].remove_expired,
                    auth["audit"].remove_old,
                    requests.remove_old,
                    sms["outbox"].settle_lost,
                    sms["outbox"].forget_old,
                ],
                tell_missed=endings.tell_missed,
                counting=counting,
            ),
            close_seconds=settings["EXEC_GRACE_SECONDS"] + CLOSE_SECONDS,
            # Half of a worker's threads at most wait, the others answer.
            waiters=threading.BoundedSemaphore(max(1, settings["THREADS"] // 2)),
            **auth,
            **work,
            **sms,
            **sampling,
        )
        services.scrape.readings = Readings(
            check=services.check,
            tasks=TaskStore(database),
            hosts=hosts,
            host=settings["BELLHOP_HOST"],
            room=room_of(settings),
            instance=settings["INSTANCE_PATH"],
            uptime=services.uptime,
            procfs=procfs,
            is_draining=drain.is_on,
        ).all()
        return services

    def start(self, *, stopping: Callable[[], bool] = lambda: False) -> None:
        """Start what works by itself, in the process that is to serve.

        `stopping` tells whether that is about to end: then nobody waits any longer.
        What is opened on first use is used once, so that no request waits for it.
        """
        self.follower.stopping = stopping
        if self.drain.is_on():
            log.warning("host.draining")
        self._check_storage()
        self.figures.serving()
        self.sweeper.start()
        self.sampler.start()
        if self.announcer is not None:
            self.announcer.start()
        if self.station is not None:
            self.station.start()

    def close(self) -> None:
        """End all runs and threads of this process; safe to call twice."""
        deadline = time.monotonic() + self.close_seconds
        still_running = [
            *(self.station.close(seconds=self.close_seconds) if self.station else ()),
            *self.backend.close(seconds=self.close_seconds),
        ]
        if self.announcer is not None:  # until now what ran here was not lost
            self.announcer.close(seconds=max(0.1, deadline - time.monotonic()))
        bringing = not self.endings.close()
        self.notices.close()
        self.outputs.close()
        self.gateway.close()
        sweeping, sampling = (
            not each.close(seconds=max(0.1, deadline - time.monotonic()))
            for each in (self.sweeper, self.sampler)
        )
        self.samples.close()
        self.database.close()
        if still_running or bringing or sweeping or sampling:
            log.error(
                "services.not_closed",
                runs=still_running,
                webhooks=bringing,
                sweeper=sweeping,
                sampler=sampling,
            )

    def check(self) -> dict[str, bool]:
        """Return by name whether what is needed to take work can be used now.

        Processes are named where none can be started.
        """
        works = self._check_storage() | {"sms": _works("sms", self.templates.check)}
        works |= {
            name: _works(name, each) for name, each in self.backend.needs().items()
        }
        starts = _works("processes", check_start)
        return works if starts else works | {"processes": False}

    def _check_storage(self) -> dict[str, bool]:
        return {
            "database": _works("database", self.database.check),
            "output": _works("output", self.outputs.check),
        }

    def start_iostat(
        self,
        *,
        count: int,
        wait_seconds: int,
        origin: Origin,
        place: Place = ANYWHERE,
    ) -> TaskRecord:
        """Start a task that reports as iostat does; see TaskBackend.submit_report."""
        asked = {"count": count, "wait_seconds": wait_seconds}
        report = iostat_report(self.procfs, asked)
        return self.backend.submit_report(report, origin, place=place)

    def viewer(self, identity: Identity | None) -> Viewer:
        """Return what tasks a caller may see; who is nobody sees those of nobody."""
        if identity is None:
            return Viewer(owner=None)
        return Viewer(owner=identity.username, sees_all=identity.is_admin)

    def origin(self, identity: Identity | None, request_id: str) -> Origin:
        """Return by whom a task is started that is in no slot."""
        if identity is None:
            return Origin(owner=None, request_id=request_id)
        return Origin(identity.username, request_id, account=identity.account)

    def patience(self, seconds: float) -> Patience:
        """Return how long somebody waits: not after this process is to end."""
        return Patience(seconds, has_to_go=self.follower.stopping)

    def wait_for_end(self, task_id: str, patience: Patience) -> TaskRecord | None:
        """Wait for the end of a task that was started here, for as long as one does.

        Return it as it is then; None where only the records know.
        """
        task = self.backend.wait(task_id, seconds=0)
        while task and not task.finished and (seconds := patience.seconds()):
            task = self.backend.wait(task_id, seconds=seconds)
        return task

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Bracket a request that waits; raise WaitersExceeded where too many do."""
        with place(self.waiters), self.figures.watching():
            yield


def _places_to_send(threads: int) -> int:
    """Return how many send at a time: one that hangs leaves some threads free."""
    return max(1, threads - max(1, threads // 8))


def _works(name: str, check: Callable[[], None]) -> bool:
    try:
        check()
    except (Unavailable, InvalidInput, OSError, RuntimeError) as error:
        log.warning("check.failed", check=name, error=str(error.__cause__ or error))
        return False
    return True
