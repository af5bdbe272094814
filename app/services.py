"""Builds what the rooms offer, owns it, and closes it in the reverse order.

Building starts nothing: no thread, no process, no connection.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import structlog

from app.auth.accounts import Accounts
from app.auth.audit import Audit
from app.auth.login import PasswordLogin
from app.auth.passwords import Passwords
from app.auth.permissions import Identity
from app.auth.signatures import SignedCallers
from app.auth.tokens import Tokens
from app.errors import StorageUnavailable, WaitersExceeded
from app.host.iostat import iostat_samples, render_header, render_sample
from app.host.procfs import Procfs
from app.host.uptime import UptimeReader
from app.processes.child import check_start
from app.storage.account_store import AccountStore
from app.storage.audit_store import AuditStore
from app.storage.engine import Database
from app.storage.idempotency_store import IdempotencyStore
from app.storage.login_store import LoginStore
from app.storage.people_store import PeopleStore
from app.storage.task_store import Room, TaskStore, Viewer
from app.tasks.catalogue import Catalogue
from app.tasks.follow import LOOK_SECONDS, Follower
from app.tasks.kept_requests import KeptRequests
from app.tasks.lookup import Lookup
from app.tasks.notices import Notices
from app.tasks.order import Origin
from app.tasks.output import OutputFolder
from app.tasks.record import TaskRecord
from app.tasks.report_job import Piece, Report, Wait
from app.tasks.runs import Runs
from app.tasks.sweeper import Retention, Sweeper
from app.tasks.thread_backend import ThreadBackend
from app.tasks.waiting_line import WaitingLine

# To write the ends of runs down and to stop the sweeper, after the runs' own time.
CLOSE_SECONDS = 3.0

log = structlog.get_logger(__name__)


@dataclass
class Services:
    """Everything that lives below the line, by name."""

    procfs: Procfs
    uptime: UptimeReader
    database: Database
    outputs: OutputFolder
    backend: ThreadBackend
    catalogue: Catalogue
    runs: Runs
    lookup: Lookup
    follower: Follower
    notices: Notices
    accounts: Accounts
    login: PasswordLogin
    tokens: Tokens
    signed_callers: SignedCallers
    audit: Audit
    requests: KeptRequests
    people: PeopleStore
    sweeper: Sweeper
    close_seconds: float
    waiters: threading.BoundedSemaphore

    @classmethod
    def build(cls, settings: Mapping[str, Any]) -> Self:
        """Return the services that `settings` describe."""
        procfs = Procfs()
        database = Database(settings["DATABASE_URL"])
        auth = _auth(settings, database)
        work = _work(settings, database)
        requests = KeptRequests(IdempotencyStore(database))
        tokens, audit = auth["tokens"], auth["audit"]
        return cls(
            procfs=procfs,
            uptime=UptimeReader(procfs),
            database=database,
            people=PeopleStore(database),
            requests=requests,
            sweeper=Sweeper(
                store=TaskStore(database),
                outputs=work["outputs"],
                host=settings["BELLHOP_HOST"],
                lock_path=Path(settings["INSTANCE_PATH"]) / "sweeper.lock",
                retention=Retention(
                    seconds=settings["TASK_RETENTION_SECONDS"],
                    count=settings["TASK_RETENTION_COUNT"],
                ),
                housekeeping=[
                    tokens.remove_expired,
                    audit.remove_old,
                    requests.remove_old,
                ],
            ),
            close_seconds=settings["EXEC_GRACE_SECONDS"] + CLOSE_SECONDS,
            # Half of a worker's threads at most wait, the others answer.
            waiters=threading.BoundedSemaphore(max(1, settings["THREADS"] // 2)),
            **auth,
            **work,
        )

    def start(self, *, stopping: Callable[[], bool] = lambda: False) -> None:
        """Start what works by itself, in the process that is to serve.

        `stopping` tells whether that is about to end: then nobody waits any longer.
        What is opened on first use is used once, so that no request waits for it.
        """
        self.follower.stopping = stopping
        self._check_storage()
        self.sweeper.start()

    def close(self) -> None:
        """End all runs and threads of this process; safe to call twice."""
        deadline = time.monotonic() + self.close_seconds
        still_running = self.backend.close(seconds=self.close_seconds)
        self.notices.close()
        swept = self.sweeper.close(seconds=max(0.1, deadline - time.monotonic()))
        self.database.close()
        if still_running or not swept:
            log.error("services.not_closed", runs=still_running, sweeper=not swept)

    def check(self) -> dict[str, bool]:
        """Return by name whether what is needed to take work can be used now.

        Processes are named where none can be started.
        """
        works = self._check_storage()
        starts = _works("processes", check_start)
        return works if starts else works | {"processes": False}

    def _check_storage(self) -> dict[str, bool]:
        return {
            "database": _works("database", self.database.check),
            "output": _works("output", self.outputs.check),
        }

    def start_iostat(
        self, *, count: int, wait_seconds: int, origin: Origin
    ) -> TaskRecord:
        """Start a task that reports as iostat does; see TaskBackend.submit_report."""

        def pieces(wait: Wait) -> Iterator[Piece]:
            yield Piece(render_header(self.procfs))
            for sample in iostat_samples(
                self.procfs, count=count, wait_seconds=wait_seconds, sleep=wait
            ):
                yield Piece(render_sample(sample), sample.members())

        report = Report("iostat", total=count, pieces=pieces)
        return self.backend.submit_report(report, origin)

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

    def wait_for_end(self, task_id: str, *, seconds: float) -> None:
        """Wait for the end of a task that was started here, or for the time."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            ended = self.backend.wait(task_id, seconds=min(left, LOOK_SECONDS))
            if ended or self.follower.stopping():
                return

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Bracket a request that waits; raise WaitersExceeded where too many do."""
        if not self.waiters.acquire(blocking=False):
            raise WaitersExceeded
        try:
            yield
        finally:
            self.waiters.release()


def _auth(settings: Mapping[str, Any], database: Database) -> dict[str, Any]:
    """Return what knows who calls, by the names that Services has for it."""
    store = AccountStore(database)
    # Half of a worker's threads at most check passwords, the others answer.
    passwords = Passwords(max_waiting=max(1, settings["THREADS"] // 2))
    return {
        "accounts": Accounts(
            store=store,
            passwords=passwords,
            password_min_length=settings["PASSWORD_MIN_LENGTH"],
            first_admin=(settings["ADMIN_USERNAME"], settings["ADMIN_PASSWORD"]),
        ),
        "login": PasswordLogin(
            accounts=store,
            logins=LoginStore(database),
            passwords=passwords,
            key=settings["RUN_KEY"],
            secret_key=settings["SECRET_KEY"],
        ),
        "tokens": Tokens(store),
        "signed_callers": SignedCallers(
            accounts=store,
            secret_key=settings["SECRET_KEY"],
            max_age_seconds=settings["EXEC_TOKEN_SECONDS"],
        ),
        "audit": Audit(
            AuditStore(database), keep_seconds=settings["AUDIT_RETENTION_SECONDS"]
        ),
    }


def _work(settings: Mapping[str, Any], database: Database) -> dict[str, Any]:
    """Return what runs tasks and shows them, by the names that Services has for it."""
    instance = Path(settings["INSTANCE_PATH"])
    store, notices = TaskStore(database), Notices()
    outputs = OutputFolder(
        instance / "output",
        head_bytes=settings["EXEC_OUTPUT_HEAD_BYTES"],
        tail_bytes=settings["EXEC_OUTPUT_TAIL_BYTES"],
    )
    backend = ThreadBackend(
        store=store,
        outputs=outputs,
        host=settings["BELLHOP_HOST"],
        room={
            "exec": Room(settings["EXEC_MAX_RUNNING"], settings["EXEC_MAX_QUEUED"]),
            "iostat": Room(settings["IOSTAT_MAX_RUNNING"], 0),
        },
        grace_seconds=settings["EXEC_GRACE_SECONDS"],
        line=WaitingLine(instance / "queue", notices=notices),
    )
    catalogue = Catalogue(
        settings["EXEC_COMMANDS"],
        allow_shell=settings["EXEC_ALLOW_SHELL"],
        environment=settings["EXEC_ENVIRONMENT"],
        timeout_seconds=settings["EXEC_TIMEOUT_SECONDS"],
    )
    lookup = Lookup(
        store=store,
        outputs=outputs,
        backend=backend,
        cancel_seconds=settings["EXEC_GRACE_SECONDS"] + CLOSE_SECONDS,
    )
    return {
        "outputs": outputs,
        "notices": notices,
        "backend": backend,
        "catalogue": catalogue,
        "runs": Runs(
            catalogue=catalogue,
            backend=backend,
            store=store,
            outputs=outputs,
            line_count=settings["CMD_LINE_NUM"],
        ),
        "lookup": lookup,
        "follower": Follower(lookup=lookup, outputs=outputs, notices=notices),
    }


def _works(name: str, check: Callable[[], None]) -> bool:
    try:
        check()
    except (StorageUnavailable, OSError, RuntimeError) as error:
        log.warning("check.failed", check=name, error=str(error.__cause__ or error))
        return False
    return True
