"""The one thread of a worker that brings outputs to the server.

While one request is on its way, what is written meanwhile gathers for the next: a line
goes at once, a flood in large pieces.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final

import structlog

from .connection import Redis, RedisError, run_of
from .parcel import Parcel, Source

#: Between requests that have little in them: what is written meanwhile goes in one.
PAUSE_SECONDS: Final = 0.002
LITTLE_BYTES: Final = 32 * 1024
#: The most outputs in a request.
MOST_PARCELS: Final = 16
#: How often all is told again: a server that was restarted has forgotten, and the keys
#: of a silent command must not expire.
BEAT_SECONDS: Final = 5.0
#: Between attempts while the server is away.
RETRY_SECONDS: Final = 0.2

log = structlog.get_logger(__name__)


class Sender:
    """Sends what outputs have; its thread is started with the first thing."""

    def __init__(self, client: Redis, *, keep_seconds: int) -> None:
        self._client = client
        self._keep_seconds = keep_seconds
        self.lock = threading.Lock()  # guards all below, and what outputs hold
        self._work = threading.Condition(self.lock)
        self._answer = threading.Condition(self.lock)
        self._sources: list[Source] = []
        self._words: list[Sequence[str]] = []
        self._thread: threading.Thread | None = None
        self._is_idle = False
        self._is_away = False
        self._is_closed = False
        self._next_beat = 0.0
        self._server = ""  # which run of it answers, once it was asked; the thread's

    def add(self, source: Source) -> None:
        """Send what an output has from now on, until it is forgotten."""
        with self.lock:
            self._sources.append(source)
            self._start()
            self.wake()

    def forget(self, source: Source) -> None:
        """Send nothing more of an output; under the lock."""
        if source in self._sources:
            self._sources.remove(source)

    def say(self, *command: str) -> None:
        """Send a command after all that is on its way, once if it comes to that.

        What would be told is seen a little later without it, and what is not removed
        expires.
        """
        with self.lock:
            self._start()
            if self._thread is not None:
                self._words.append(command)
                self._is_idle = False
                self._work.notify()

    def wake(self) -> None:
        """Have what is there sent; under the lock."""
        if self._is_idle:
            self._is_idle = False
            self._work.notify()

    def wait_for(self, done: Callable[[], bool], seconds: float) -> None:
        """Wait for an answer that makes it so, unless the server is away; as above."""
        self._answer.wait_for(lambda: done() or self._is_away, seconds)

    def wait_for_answer(self, done: Callable[[], bool], seconds: float) -> None:
        """Wait for an answer that makes it so, also while the server is away."""
        self._answer.wait_for(lambda: done() or self._is_closed, seconds)

    def close(self) -> None:
        """End the thread; what is not sent is lost."""
        with self.lock:
            self._end()
            self._work.notify()
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def _start(self) -> None:
        """Start the thread, if that is still to be done; under the lock."""
        if self._thread is None and not self._is_closed:
            self._thread = threading.Thread(
                target=self._run, name="output-sender", daemon=True
            )
            self._thread.start()

    def _run(self) -> None:
        try:
            while work := self._next():
                self._send(*work)
        except Exception:
            log.exception("output.sender_ended")
        finally:
            with self.lock:
                self._end()

    def _end(self) -> None:
        """Have nobody wait any more."""
        self._is_closed = self._is_away = True
        self._answer.notify_all()

    def _next(self) -> tuple[dict[Source, Parcel], list[Sequence[str]]] | None:
        """Wait for something to send; None means that this is the end."""
        with self.lock:
            while not self._is_closed:
                self._beat()
                parcels = dict(islice(self._parcels(), MOST_PARCELS))
                words, self._words = self._words, []
                if parcels or words:
                    # Who is served goes to the back of the line.
                    self._sources.sort(key=parcels.__contains__)
                    return parcels, words
                self._is_idle = True
                self._work.wait(self._next_beat - time.monotonic())
            return None

    def _parcels(self) -> Iterator[tuple[Source, Parcel]]:
        for source in self._sources:
            if parcel := source.next_parcel():
                yield source, parcel

    def _beat(self) -> None:
        if time.monotonic() < self._next_beat:
            return
        self._next_beat = time.monotonic() + BEAT_SECONDS
        self._server = ""
        for source in self._sources:
            source.tell_again()

    def _send(
        self, parcels: dict[Source, Parcel], words: Sequence[Sequence[str]]
    ) -> None:
        try:
            ends = self._request(list(parcels.values()), words)
        except RedisError as error:
            self._failed(error)
            return
        with self.lock:
            self._answered()
            for (source, parcel), end in zip(parcels.items(), ends, strict=True):
                if source in self._sources:  # not closed meanwhile
                    source.arrived(parcel, end)
            self._answer.notify_all()
        if sum(len(parcel.data) for parcel in parcels.values()) < LITTLE_BYTES:
            self._pause()

    def _pause(self) -> None:
        """Let little things gather, unless there is something to be told of an end."""
        with self.lock:
            self._work.wait_for(lambda: self._words or self._is_closed, PAUSE_SECONDS)

    def _request(
        self, parcels: list[Parcel], words: Sequence[Sequence[str]]
    ) -> list[int]:
        """Send parcels, all or nothing; return where each output ended before."""
        self._server = self._server or run_of(self._client)
        with self._client.pipeline(transaction=True) as pipe:
            keep, server = self._keep_seconds, self._server
            counts = [
                parcel.queue(pipe, keep_seconds=keep, server=server)
                for parcel in parcels
            ]
            for command in words:
                pipe.execute_command(*command)
            answers = iter(pipe.execute(raise_on_error=False))
        return [
            parcel.end_before(list(islice(answers, count)))
            for parcel, count in zip(parcels, counts, strict=True)
        ]

    def _failed(self, error: RedisError) -> None:
        """Note that the server is away, and wait before it is asked again."""
        self._server = ""
        with self.lock:
            if not self._is_away:
                log.warning("output.server_away", error=str(error))
            self._is_away = True
            self._answer.notify_all()
            self._work.wait_for(lambda: self._is_closed, RETRY_SECONDS)

    def _answered(self) -> None:
        if self._is_away and not self._is_closed:
            log.info("output.server_back")
            self._is_away = False
