"""Workers of Celery in threads of the tests' own process, one for each app."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery
from celery.exceptions import WorkerShutdown
from celery.worker import WorkController
from kombu.asynchronous import set_event_loop

START_SECONDS = 20
STOP_SECONDS = 30


class InThread(WorkController):
    """A worker that says when it is ready, and ends when a pipe is written to."""

    def __init__(self, app: Celery, **options: Any) -> None:
        super().__init__(app=app, **options)
        self.is_ready = threading.Event()
        self.stop_reader, self.stop_writer = os.pipe()

    def on_consumer_ready(self, consumer: Any) -> None:  # noqa: ARG002
        self.hub.add_reader(self.stop_reader, _shut_down)
        self.is_ready.set()


def _shut_down() -> None:
    raise WorkerShutdown(0)


@contextmanager
def working(app: Celery) -> Iterator[None]:
    """Have the worker of an app at work."""
    alone = ("mingle", "gossip", "heartbeat")
    worker = InThread(app, **{f"without_{each}": True for each in alone})
    thread = threading.Thread(target=worker.start, name="celery-worker")
    thread.start()
    try:
        assert worker.is_ready.wait(START_SECONDS), "the worker did not start"
        yield
    finally:
        os.write(worker.stop_writer, b"x")
        thread.join(STOP_SECONDS)
        for descriptor in (worker.stop_reader, worker.stop_writer):
            os.close(descriptor)
        set_event_loop(None)
        app.close()
