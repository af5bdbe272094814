"""Makes the parts of the services, by the names that Services has for them."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

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
from app.storage.task_store import Room, TaskStore
from app.tasks.catalogue import Catalogue
from app.tasks.detached import DetachedRuns
from app.tasks.follow import Follower
from app.tasks.lookup import Lookup
from app.tasks.notices import Notices
from app.tasks.output import OutputFolder
from app.tasks.outputs import Outputs, Watching
from app.tasks.runs import Runs
from app.tasks.sweeper import Retention, Sweeper
from app.tasks.thread_backend import ThreadBackend
from app.tasks.waiting_line import WaitingLine
from app.tasks.worker import Worker
from app.webhooks.sender import Sender
from app.webhooks.target import Targets
from app.webhooks.teller import Teller

from .counting import Counting
from .drain import Drain
from .endings import Endings
from .messages import Messages
from .webhooks import Webhooks

# To write the ends of runs down and to stop the sweeper, after the runs' own time.
CLOSE_SECONDS = 3.0

# An output is there for as long as its task, which is removed a little late.
KEPT_LONGER_SECONDS = 60.0

# In the instance folder, held by the worker that sweeps up.
SWEEPER_LOCK = "sweeper.lock"


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


def room_of(settings: Mapping[str, Any]) -> dict[str, Room]:
    """Return how many tasks of each kind may run and wait."""
    return {
        "exec": Room(settings["EXEC_MAX_RUNNING"], settings["EXEC_MAX_QUEUED"]),
        "iostat": Room(settings["IOSTAT_MAX_RUNNING"], 0),
        "sms": Room(settings["SMS_MAX_RUNNING"], settings["SMS_MAX_QUEUED"]),
    }


def build_drain(settings: Mapping[str, Any], database: Database) -> Drain:
    """Return what says whether the host is being drained."""
    instance = Path(settings["INSTANCE_PATH"])
    return Drain(
        instance / "draining",
        tasks=TaskStore(database),
        host=settings["BELLHOP_HOST"],
        sweeper_lock=instance / SWEEPER_LOCK,
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
    line_notices = notices if isinstance(notices, Notices) else Notices()
    backend = ThreadBackend(
        store=store,
        outputs=outputs,
        host=settings["BELLHOP_HOST"],
        room=room_of(settings),
        observe=counting.task,
        grace_seconds=settings["EXEC_GRACE_SECONDS"],
        line=WaitingLine(instance / "queue", notices=line_notices),
        detached=detached,
        admits=drain.check,
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
        "detached": detached,
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

    def is_gone(row: Mapping[str, Any]) -> bool:
        """Return whether a worker is no more; another host's cannot be seen."""
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
        host=settings["BELLHOP_HOST"],
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
    """Return what sweeps up, with what it has others do now and then."""
    return Sweeper(
        store=TaskStore(database),
        outputs=work["outputs"],
        detached=work["detached"],
        take_over=work["backend"].take_over,
        host=settings["BELLHOP_HOST"],
        lock_path=Path(settings["INSTANCE_PATH"]) / SWEEPER_LOCK,
        retention=Retention(
            seconds=settings["TASK_RETENTION_SECONDS"],
            count=settings["TASK_RETENTION_COUNT"],
        ),
        housekeeping=housekeeping,
        tell_missed=tell_missed,
        observe=counting.task,
    )
