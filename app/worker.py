"""What `celery -A app.worker worker` imports: the door for what came in elsewhere.

One for each host: it runs what the host's queue tells of, in threads, with the services
that it builds and closes. All of Celery's own switches stay as they are.
"""

import sys
import threading
from typing import Any

import structlog
from celery import Celery, bootsteps, signals
from celery.concurrency.thread import TaskPool
from celery.utils.nodenames import default_nodename
from celery.worker.control import inspect_command
from celery.worker.request import Request

from app.services import Services
from app.sms.registry import FaultyProvider
from app.tasks.celery_backend import (
    READING,
    RUN,
    Broker,
    make_celery,
    node_of,
    queue_of,
)
from config.config import BaseConfig, prepare_instance, read_config
from config.logger import config_logger, log_settings
from config.memory import give_back_large_blocks
from config.secrecy import hide_process
from config.settings import SettingsError

_NOT_CELERY = "TASK_BACKEND is not celery: the service itself runs its tasks"
_NOT_THREADS = (
    "Bellhop's worker runs with Celery's threads pool alone: leave --pool out, or set "
    "it to threads"
)

log = structlog.get_logger(__name__)


class Work:
    """The services of a worker, started once and closed once, whoever says so first."""

    def __init__(self, services: Services) -> None:
        if services.station is None:
            raise SettingsError([_NOT_CELERY])
        self.services = services
        self.station = services.station
        self._lock = threading.Lock()  # guards _is_closed, and is held while it closes
        self._is_closed = False

    def start(self) -> None:
        """Start what works by itself."""
        self.services.start()

    def close(self) -> None:
        """End all that runs here; who comes second waits for the first."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self.services.close()

    def close_soon(self, **_facts: object) -> None:
        """Begin to close, as Celery has been told to end: that takes its own time."""
        threading.Thread(target=self.close, name="closing").start()


class _Request(Request):  # type: ignore[misc]
    """A message that Celery's own tools may revoke, though its task is a thread's."""

    def terminate(self, pool: Any, signal: Any = None) -> None:  # noqa: ARG002
        """End the task that it tells of."""
        self.task.work.station.stop(self.id)

    def revoked(self) -> bool:
        """Return whether nobody is to look at it; then its task has ended as well."""
        is_revoked = bool(super().revoked())
        if is_revoked:
            self.task.work.station.stop(self.id)
        return is_revoked


class _Step(bootsteps.StartStopStep):  # type: ignore[misc]
    """Starts the work with Celery's pool, and closes it before that."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        if not issubclass(worker.pool_cls, TaskPool):
            sys.exit(_NOT_THREADS)

    def start(self, worker: Any) -> None:
        """Start the work."""
        worker.app.tasks[RUN].work.start()

    def stop(self, worker: Any) -> None:
        """Close the work, or wait until it is closed."""
        worker.app.tasks[RUN].work.close()

    terminate = stop


@inspect_command(name=READING)  # type: ignore[untyped-decorator]
def _read_host(state: Any, name: str, params: dict[str, Any]) -> Any:
    """Say how this host is, to one that asks; see HostReadings."""
    return state.app.tasks[RUN].work.services.host_readings.answer(name, params)


def make_worker(conf: BaseConfig) -> Celery:
    """Return the Celery of the host that `conf` describes.

    It has started no thread, process or connection. Raises SettingsError.
    """
    if conf.TASK_BACKEND != "celery":
        raise SettingsError([_NOT_CELERY])
    app = make_celery(conf.CELERY_BROKER_URL)
    try:
        work = Work(Services.build(vars(conf), broker=Broker(app)))
    except FaultyProvider as error:
        raise SettingsError([str(error)]) from error
    queue = queue_of(conf.BELLHOP_HOST)
    app.conf.update(
        task_queues=[queue],
        task_default_queue=queue.name,
        worker_pool="threads",
        worker_concurrency=work.station.concurrency,
        worker_prefetch_multiplier=1,
        worker_redirect_stdouts=False,
    )
    run = app.task(work.station.run, name=RUN, Request=_Request, shared=False)
    run.work = work
    app.steps["worker"].add(_Step)
    return app


def _program() -> Celery:
    """Return the Celery of this host, and have this process be its worker."""
    conf = read_config()
    prepare_instance(conf)
    config_logger(**log_settings(vars(conf)))
    hide_process()
    give_back_large_blocks()
    app = make_worker(conf)
    connected = {"weak": False}
    signals.setup_logging.connect(lambda **_: None, **connected)  # ours is set up
    signals.celeryd_init.connect(
        lambda instance, **_: _name(instance, node_of(conf.BELLHOP_HOST)), **connected
    )
    work = app.tasks[RUN].work
    signals.worker_init.connect(lambda **_: work.station.guard.start(), **connected)
    signals.worker_shutting_down.connect(work.close_soon, **connected)
    return app


def _name(worker: Any, name: str) -> None:
    """Give a worker its name, unless whoever starts it has."""
    if worker.hostname == default_nodename(None):
        worker.hostname = name


def __getattr__(name: str) -> Celery:
    """Return `app`, made when Celery asks for it; end the process where it cannot be.

    Who imports this module for what it is made of needs no settings.
    """
    if name != "app":
        raise AttributeError(name)
    try:
        app = globals()["app"] = _program()
    except SettingsError as error:
        sys.exit(str(error))
    return app
