"""Makes what runs tasks: this process, or workers of Celery."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.host.procfs import Procfs
from app.storage.engine import Database
from app.storage.order_store import OrderStore
from app.storage.task_store import TaskStore
from app.tasks.backend import TaskBackend
from app.tasks.hosts import Hosts
from app.tasks.station import Station
from app.tasks.thread_backend import ThreadBackend
from app.tasks.waiting_line import WaitingLine

from .counting import Counting
from .drain import Drain
from .endings import Endings
from .host_readings import HostReadings
from .messages import Messages
from .reports import iostat_report
from .room import room_of

if TYPE_CHECKING:
    from app.tasks.celery_backend import Broker


def uses_celery(settings: Mapping[str, Any]) -> bool:
    """Return whether tasks are run by Celery's workers."""
    return bool(settings["TASK_BACKEND"] == "celery")


def build_backend(
    settings: Mapping[str, Any],
    database: Database,
    work: Mapping[str, Any],
    *,
    counting: Counting,
    drain: Drain,
    hosts: Hosts,
    broker: "Broker | None",
) -> TaskBackend:
    """Return what takes tasks on; Celery is imported where it is used."""
    if uses_celery(settings):
        return _celery_backend(settings, database, drain, hosts, broker)
    return ThreadBackend(
        store=TaskStore(database),
        outputs=work["outputs"],
        host=settings["BELLHOP_HOST"],
        room=room_of(settings),
        observe=counting.task,
        grace_seconds=settings["EXEC_GRACE_SECONDS"],
        line=WaitingLine(
            Path(settings["INSTANCE_PATH"]) / "queue", notices=work["notices"]
        ),
        detached=work["detached"],
        admits=drain.check,
    )


def build_station(
    settings: Mapping[str, Any],
    database: Database,
    work: Mapping[str, Any],
    *,
    counting: Counting,
    broker: "Broker",
) -> Station:
    """Return what runs the tasks of this host in a worker of Celery."""
    return Station(
        store=TaskStore(database),
        orders=OrderStore(database),
        outputs=work["outputs"],
        broker=broker,
        host=settings["BELLHOP_HOST"],
        room=room_of(settings),
        base=settings["EXEC_ENVIRONMENT"],
        grace_seconds=settings["EXEC_GRACE_SECONDS"],
        observe=counting.task,
    )


def connect(
    work: Mapping[str, Any],
    *,
    procfs: Procfs,
    messages: Messages,
    endings: Endings,
    readings: HostReadings,
) -> None:
    """Tell what runs tasks of that which was made after it."""
    backend, station = work["backend"], work["station"]
    calls = {"sms": messages.call_of}
    if isinstance(backend, ThreadBackend):
        backend.tell_end = endings.tell_end
    else:
        backend.calls = calls
        readings.ask = backend.ask
    if station is not None:
        station.calls = calls
        station.reports = {"iostat": lambda asked: iostat_report(procfs, asked)}


def _celery_backend(
    settings: Mapping[str, Any],
    database: Database,
    drain: Drain,
    hosts: Hosts,
    broker: "Broker | None",
) -> TaskBackend:
    from app.tasks.celery_backend import (  # noqa: PLC0415 - where it is used
        Broker,
        CeleryBackend,
        make_celery,
    )

    return CeleryBackend(
        store=TaskStore(database),
        orders=OrderStore(database),
        broker=broker or Broker(make_celery(settings["CELERY_BROKER_URL"])),
        hosts=hosts,
        base=settings["EXEC_ENVIRONMENT"],
        grace_seconds=settings["EXEC_GRACE_SECONDS"],
        admits=drain.check,
    )
