"""Tells those who wait that an output has changed, whichever host has changed it.

The server does: one connection and one thread for all who wait in this worker. Only
that thread has to do with the connection; it is woken by a message to itself.
"""

import os
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, Final

import structlog

from app.tasks.notices import Notice

from .connection import ConnectionFailed, PubSub, Redis, RedisError

#: How long silence may last before the server is asked whether it is there.
SILENCE_SECONDS: Final = 1.0
#: Between attempts while the server is away.
RETRY_SECONDS: Final = 0.2

log = structlog.get_logger(__name__)


class StreamNotices:
    """Who waits for which channel. Nothing is connected before somebody waits."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._own_channel = f"bellhop:wake:{os.urandom(16).hex()}"
        self._closed = threading.Event()
        self._is_away = False  # the thread's own
        self._lock = threading.Lock()  # guards all below
        self._waiting: dict[str, set[Notice]] = defaultdict(set)
        self._thread: threading.Thread | None = None

    @contextmanager
    def of(self, channel: str) -> Iterator[Notice]:
        """Give what waits for changes that are told on a channel, from now on.

        It is told once more than there are changes: when the server listens to it.
        """
        notice = Notice(is_told=True, is_told_soon=True)
        with self._lock:
            is_new = channel not in self._waiting
            self._waiting[channel].add(notice)
            if not is_new:
                notice.tell()  # the server may not listen yet
            self._start()
        if is_new:
            self._wake()
        try:
            yield notice
        finally:
            with self._lock:
                self._waiting[channel].discard(notice)
                if not self._waiting[channel]:
                    del self._waiting[channel]

    def close(self) -> None:
        """End the thread; who still waits is told no more."""
        self._closed.set()
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._wake()
            thread.join()

    def _start(self) -> None:
        if self._thread is None and not self._closed.is_set():
            self._thread = threading.Thread(
                target=self._listen, name="stream-notices", daemon=True
            )
            self._thread.start()

    def _wake(self) -> None:
        with suppress(RedisError):  # where it is away, the thread looks by itself
            self._client.publish(self._own_channel, "")

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                with closing(self._client.pubsub()) as pubsub:
                    self._serve(pubsub)
            except RedisError as error:
                if not self._is_away:
                    log.warning("notices.server_away", error=str(error))
                self._is_away = True
                self._tell_all()
                self._closed.wait(RETRY_SECONDS)

    def _serve(self, pubsub: PubSub) -> None:
        listened = {self._own_channel}
        pubsub.subscribe(self._own_channel)
        is_asked = False
        while not self._closed.is_set():
            message = pubsub.get_message(timeout=SILENCE_SECONDS)
            if message is None and is_asked:
                raise ConnectionFailed("No answer.")
            is_asked = message is None
            if is_asked:
                pubsub.ping()
            else:
                self._is_away = False
            self._tell(message)
            listened = self._listen_to_wanted(pubsub, listened)

    def _listen_to_wanted(self, pubsub: PubSub, listened: set[str]) -> set[str]:
        with self._lock:
            wanted = {self._own_channel, *self._waiting}
        if new := wanted - listened:
            pubsub.subscribe(*new)
        if old := listened - wanted:
            pubsub.unsubscribe(*old)
        return wanted

    def _tell(self, message: Any) -> None:
        """Tell who waits for the channel of a message, also one that says: I listen."""
        if message is None or message["type"] not in ("message", "subscribe"):
            return
        with self._lock:
            for notice in self._waiting.get(message["channel"].decode(), ()):
                notice.tell()

    def _tell_all(self) -> None:
        with self._lock:
            for notices in self._waiting.values():
                for notice in notices:
                    notice.tell()
