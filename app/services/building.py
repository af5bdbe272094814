"""Makes the parts of the services, by the names that Services has for them."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.auth.accounts import Accounts
from app.auth.audit import Audit
from app.auth.login import PasswordLogin
from app.auth.passwords import Passwords
from app.auth.sessions import Sessions
from app.auth.signatures import SignedCallers
from app.auth.tokens import Tokens
from app.host.procfs import Procfs
from app.host.sampler import Sampler
from app.host.samples import Samples, SampleWriter
from app.metrics.figures import Figures
from app.sms.gateway import SmsGateway
from app.sms.limits import SmsLimits
from app.sms.outbox import Outbox, SmsRetention
from app.sms.receipts import Receipts
from app.sms.registry import load
from app.sms.templates import SmsTemplates
from app.storage.account_store import AccountStore
from app.storage.audit_store import AuditStore
from app.storage.engine import Database
from app.storage.login_store import LoginStore
from app.storage.message_store import MessageStore
from app.storage.people_store import PeopleStore
from app.storage.session_store import SessionStore
from app.storage.task_store import TaskStore
from app.tasks.catalogue import Catalogue
from app.tasks.detached import DetachedRuns
from app.tasks.follow import Follower
from app.tasks.hosts import Hosts
from app.tasks.lookup import Lookup
from app.tasks.notices import Notices
from app.tasks.output import OutputFolder
from app.tasks.outputs import Outputs, Watching
from app.tasks.runs import Runs
from app.tasks.sweeper import Retention, Sweeper
from app.tasks.thread_backend import ThreadBackend
from app.tasks.worker import Worker
from app.webhooks.sender import Sender
from app.webhooks.target import Targets
from app.webhooks.teller import Teller

from .counting import Counting
from .drain import Drain
from .endings import Endings
from .engines import build_backend, build_station, uses_celery
from .hosting import build_lost_hosts
from .messages import Messages
from .room import room_of
from .webhooks import Webhooks

if TYPE_CHECKING:
    from app.tasks.celery_backend import Broker

# To write the ends of runs down and to stop the sweeper, after the runs' own time.
CLOSE_SECONDS = 3.0

# An output is there for as long as its task, which is removed a little late.
KEPT_LONGER_SECONDS = 60.0

# Until a drain is in the next sign of life of its host, and nobody goes by the one
# before that any more.
DRAIN_TOLD_SECONDS = 3.0

# In the instance folder, held by the worker that sweeps up, and by the one that does
# what is not of a host, where workers of Celery sweep up.
SWEEPER_LOCK = "sweeper.lock"
KEEPER_LOCK = "keeper.lock"


def build_auth(settings: Mapping[str, Any], database: Database) -> dict[str, Any]:
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
        "sessions": Sessions(
            SessionStore(database),
            seconds=settings["SESSION_SECONDS"],
            secret_key=settings["SECRET_KEY"],
        ),
        "signed_callers": SignedCallers(
            accounts=store,
            secret_key=settings["SECRET_KEY"],
            max_age_seconds=settings["EXEC_TOKEN_SECONDS"],
        ),
        "audit": Audit(
            AuditStore(database), keep_seconds=settings["AUDIT_RETENTION_SECONDS"]
        ),
    }


def build_drain(settings: Mapping[str, Any], database: Database) -> Drain:
    """Return what says whether the host is being drained."""
    instance = Path(settings["INSTANCE_PATH"])
    return Drain(
        instance / "draining",
        tasks=TaskStore(database),
        host=settings["BELLHOP_HOST"],
        sweeper_lock=instance / SWEEPER_LOCK,
        told_seconds=DRAIN_TOLD_SECONDS if uses_celery(settings) else 0.0,
    )


def build_figures(settings: Mapping[str, Any]) -> Figures:
    """Return what counts; see Figures."""
    return Figures(
        kinds=room_of(settings),
        providers=settings["SMS_PROVIDER"],
        folder=settings["METRICS_FOLDER"],
        seat=settings["METRICS_SEAT"],
    )


def build_outputs(settings: Mapping[str, Any]) -> tuple[Outputs, Watching]:
    """Return what keeps outputs, and what tells that they have changed."""
    sizes = {
        "head_bytes": settings["EXEC_OUTPUT_HEAD_BYTES"],
        "tail_bytes": settings["EXEC_OUTPUT_TAIL_BYTES"],
    }
    if settings["TASK_BACKEND"] == "threads":
        folder = Path(settings["INSTANCE_PATH"]) / "output"
        return OutputFolder(folder, **sizes), Notices()
    # One host needs nothing of Redis, not even installed.
    from app.tasks.streams.outputs import StreamOutputs  # noqa: PLC0415

    keep_seconds = math.ceil(settings["TASK_RETENTION_SECONDS"] + KEPT_LONGER_SECONDS)
    streams = StreamOutputs(settings["REDIS_URL"], **sizes, keep_seconds=keep_seconds)
    return streams, streams.notices


def build_work(
    settings: Mapping[str, Any],
    database: Database,
    counting: Counting,
    drain: Drain,
    *,
    hosts: Hosts,
    broker: "Broker | None",
) -> dict[str, Any]:
    """Return what runs tasks and shows them, by the names that Services has for it."""
    instance = Path(settings["INSTANCE_PATH"])
    store = TaskStore(database)
    outputs, notices = build_outputs(settings)
    detached = DetachedRuns(
        instance / "detached",
        store=store,
        grace_seconds=settings["EXEC_GRACE_SECONDS"],
    )
    parts = {"outputs": outputs, "notices": notices, "detached": detached}
    backend = build_backend(
        settings,
        database,
        parts,
        counting=counting,
        drain=drain,
        hosts=hosts,
        broker=broker,
    )
    station = broker and build_station(
        settings, database, parts, counting=counting, broker=broker
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
        **parts,
        "backend": backend,
        "station": station,
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


def build_sms(
    settings: Mapping[str, Any], database: Database, counting: Counting
) -> dict[str, Any]:
    """Return what sends messages, by the names that Services has for it."""
    store, people = MessageStore(database), PeopleStore(database)
    templates = SmsTemplates(settings["SMS_TEMPLATES"])
    providers = load(settings["SMS_CONF"], settings["SMS_PROVIDER"])
    gateway = SmsGateway(
        providers,
        order=settings["SMS_PROVIDER"],
        receipts_url=partial(_receipts_url, settings),
        observe=counting.sms,
    )
    kinds = ("receiver", "template", "caller", "country", "total")
    limits = SmsLimits(
        **{kind: settings[f"SMS_LIMIT_{kind.upper()}"] for kind in kinds}
    )
    host = settings["BELLHOP_HOST"]
    # Those of a task are sent wherever that runs, of which its record knows.
    tasks = TaskStore(database) if uses_celery(settings) else None

    def is_gone(row: Mapping[str, Any]) -> bool:
        """Return whether a worker is no more; another host's cannot be seen."""
        if tasks and row["task_id"] and (task := tasks.find(row["task_id"])):
            return task["finished"] is not None
        is_here = database.is_sqlite or row["host"] == host
        return is_here and not Worker.parse(row["worker"]).is_alive()

    outbox = Outbox(
        store=store,
        people=people,
        templates=templates,
        gateway=gateway,
        limits=limits,
        retention=SmsRetention(
            contents_seconds=settings["SMS_RETENTION_SECONDS"],
            seconds=settings["AUDIT_RETENTION_SECONDS"],
            key=settings["SECRET_KEY"],
        ),
        host=host,
        worker=lambda: str(Worker.current()),
        is_gone=is_gone,
    )
    secret = settings["SMS_RECEIPTS_SECRET"]
    return {
        "people": people,
        "templates": templates,
        "limits": limits,
        "gateway": gateway,
        "outbox": outbox,
        "receipts": Receipts(
            store=store,
            providers=providers,
            secret=secret,
            observe=counting.receipt,
        ),
    }


def _receipts_url(settings: Mapping[str, Any], provider: str) -> str | None:
    """Return where a provider reports to, None where it cannot reach this service."""
    if not settings["PUBLIC_URL"]:
        return None
    path = f"/api/sms/receipts/{provider}/{settings['SMS_RECEIPTS_SECRET']}"
    return f"{settings['PUBLIC_URL'].rstrip('/')}{path}"


def build_endings(
    settings: Mapping[str, Any],
    database: Database,
    messages: Messages,
    counting: Counting,
) -> Endings:
    """Return what tells the ends of tasks."""
    teller = Teller(
        Targets(settings["NOTIFY_URL_PREFIXES"]),
        Sender(),
        secret_key=settings["SECRET_KEY"],
    )
    return Endings(
        tasks=TaskStore(database),
        host=None if uses_celery(settings) else settings["BELLHOP_HOST"],
        messages=messages,
        webhooks=Webhooks(
            teller, public_url=settings["PUBLIC_URL"], observe=counting.webhook
        ),
    )


def build_sampling(settings: Mapping[str, Any], procfs: Procfs) -> dict[str, Any]:
    """Return what knows how the host was, by the names that Services has for it."""
    instance = Path(settings["INSTANCE_PATH"])
    path = instance / "samples"
    return {
        "samples": Samples(path),
        "sampler": Sampler(
            procfs=procfs,
            writer=SampleWriter(path),
            lock_path=instance / "sampler.lock",
        ),
    }


def build_sweeper(
    settings: Mapping[str, Any],
    database: Database,
    *,
    work: Mapping[str, Any],
    housekeeping: Sequence[Callable[[], None]],
    tell_missed: Callable[[], None],
    counting: Counting,
) -> Sweeper:
    """Return what sweeps up, with what it has others do now and then.

    Where workers of Celery run tasks, each sweeps up after its host, and what is not
    of a host is left to those who answer.
    """
    backend, is_worker = work["backend"], work["station"] is not None
    is_whole = isinstance(backend, ThreadBackend)
    of_host = is_whole or is_worker
    lock = SWEEPER_LOCK if of_host else KEEPER_LOCK
    return Sweeper(
        store=TaskStore(database),
        outputs=work["outputs"],
        detached=work["detached"],
        take_over=backend.take_over if is_whole else lambda _task: False,
        host=settings["BELLHOP_HOST"] if of_host else None,
        lock_path=Path(settings["INSTANCE_PATH"]) / lock,
        retention=Retention(
            seconds=settings["TASK_RETENTION_SECONDS"],
            count=settings["TASK_RETENTION_COUNT"],
        ),
        housekeeping=() if is_worker else housekeeping,
        tell_missed=(lambda: None) if is_worker else tell_missed,
        observe=counting.task,
        lost_hosts=None
        if of_host
        else build_lost_hosts(settings, database, work, counting),
    )
