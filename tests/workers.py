"""Workers of Celery in threads of the tests' own process, one for each app."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from typing import Any

from celery import Celery
from celery.concurrency.thread import TaskPool
from celery.exceptions import WorkerShutdown
from celery.worker import WorkController
from flask import Flask
from kombu.asynchronous import set_event_loop
from kombu.transport.redis import Transport

from app.services.drain import Drain
from app.tasks.celery_backend import RUN, node_of
from app.worker import make_worker
from config.config import BaseConfig
from tests.valkey import Valkey

START_SECONDS = 20
STOP_SECONDS = 30

# A worker that ends waits for its last question for messages to be answered.
Transport.brpop_timeout = 0.05

#: Of the server's databases, one for each test: none sees another's messages.
DATABASES = 100_000
_numbers = count()


class OfApp(TaskPool):
    """A pool whose threads know their app; a process of one app's has but that."""

    def on_apply(self, target: Any, *given: Any, **options: Any) -> Any:
        return super().on_apply(partial(target, app=self.app), *given, **options)


class InThread(WorkController):
    """A worker that says when it is ready, and ends when it is told to."""

    def __init__(self, app: Celery, **options: Any) -> None:
        super().__init__(app=app, **options)
        set_event_loop(None)  # the next worker has its own
        self.is_ready = threading.Event()

    def on_consumer_ready(self, consumer: Any) -> None:  # noqa: ARG002
        self.is_ready.set()

    def end(self) -> None:
        """Have it end as a warm shutdown does."""
        self.hub.call_soon(_shut_down)


def _shut_down() -> None:
    raise WorkerShutdown(0)


@contextmanager
def working(app: Celery, host: str) -> Iterator[None]:
    """Have the worker of a host at work."""
    alone = {f"without_{each}": True for each in ("mingle", "gossip", "heartbeat")}
    worker = InThread(app, hostname=node_of(host), pool=OfApp, **alone)
    thread = threading.Thread(target=worker.start, name="celery-worker")
    thread.start()
    try:
        assert worker.is_ready.wait(START_SECONDS), "the worker did not start"
        yield
    finally:
        worker.end()
        thread.join(STOP_SECONDS)
        assert not thread.is_alive(), "the worker did not end"
        worker.hub.close()


class Workers:
    """The workers of a test's apps; each starts when its app first asks for hosts."""

    def __init__(self, valkey: Valkey) -> None:
        url = valkey.url.removesuffix("/0")
        self.url = f"{url}/{next(_numbers) % DATABASES}"
        self._started = ExitStack()

    def settings(self) -> dict[str, str]:
        """Return what an app is to be told."""
        urls = dict.fromkeys(("CELERY_BROKER_URL", "REDIS_URL"), self.url)
        return {"TASK_BACKEND": "celery", **urls}

    def serve(self, app: Flask, conf: BaseConfig) -> None:
        """Have an app's tasks be run by a worker with the same settings."""
        services, made = app.extensions["bellhop"], []
        hosts, drain = services.hosts, services.drain

        def begin() -> None:
            made.append(make_worker(conf))
            # What is sent is looked for at the app's own stand-ins.
            theirs = made[0].tasks[RUN].work.services.gateway
            theirs.providers = services.gateway.providers
            self._started.enter_context(working(made[0], conf.BELLHOP_HOST))
            services.sweeper.start()  # which tells the ends

        start = _Once(begin)
        for name in ("choose", "all", "find"):
            setattr(hosts, name, _after(start, getattr(hosts, name)))

        def undrain() -> bool:
            """End the drain, and have that known at once: it takes a second or two."""
            was_on = Drain.end(drain)
            for worker in made:
                worker.tasks[RUN].work.services.announcer.announce()
            hosts._seen = {}, 0.0
            return was_on

        drain.end = undrain

    def close(self) -> None:
        """End them."""
        self._started.close()


class _Once:
    def __init__(self, do: Any) -> None:
        self._do = do
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            if self._do is not None:
                self._do()
                self._do = None


def _after(start: _Once, do: Callable[..., Any]) -> Callable[..., Any]:
    def done_then(*given: Any, **options: Any) -> Any:
        start()
        return do(*given, **options)

    return done_then
