"""Says every second that this host's worker lives, and how the host is."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from app.errors import StorageUnavailable
from app.storage.host_store import HostStore

from .hosts import AWAY_SECONDS
from .worker import Worker

INTERVAL_SECONDS = 1.0

log = structlog.get_logger(__name__)


class Announcer:
    """A thread of a worker; `announcement` returns what is told beside its name.

    `also` is called once a second as well: what else the worker looks after.
    """

    def __init__(
        self,
        store: HostStore,
        *,
        host: str,
        announcement: Callable[[], Mapping[str, Any]],
        also: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._host = host
        self._announcement = announcement
        self._also = also
        self._fault = ""  # what was logged last, so that it is not every second
        self._beat: int | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(
            target=self._announce_on, name="announcer", daemon=True
        )

    def start(self) -> None:
        """Announce the host, and go on with it."""
        self._try(self.announce)  # whoever asks next is to know of it
        self._thread.start()

    def close(self, *, seconds: float) -> bool:
        """Say that the host is away; return whether that has ended within the time."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def announce(self) -> None:
        """Give one sign of life; raise StorageUnavailable."""
        told = self._announcement()
        beat = self._store.beat(self._host, worker=str(Worker.current()), **told)
        expected, self._beat = self._beat, beat
        # Whoever else beats by this name would be judged by our processes, and we by
        # theirs.
        if expected is not None and beat != expected + 1:
            if self._is_news("name taken"):
                log.error("host.name_taken", host=self._host)
        else:
            self._be_well()

    def _announce_on(self) -> None:
        due = time.monotonic() + INTERVAL_SECONDS
        while not self._closing.wait(due - time.monotonic()):
            self._try(self.announce)
            self._try(self._also)
            due = max(due + INTERVAL_SECONDS, time.monotonic())
        self._try(self._leave)

    def _leave(self) -> None:
        self._store.leave(
            self._host, worker=str(Worker.current()), away_seconds=AWAY_SECONDS
        )

    def _try(self, do: Callable[[], None]) -> None:
        try:
            do()
        except StorageUnavailable as error:
            self._beat = None  # it may have been written all the same
            if self._is_news("not announced"):
                log.warning("host.not_announced", error=str(error.__cause__))
        except Exception:
            log.exception("host.announcing_failed")

    def _is_news(self, fault: str) -> bool:
        """Return whether that is wrong now, and was not before."""
        known, self._fault = self._fault, fault
        return known != fault

    def _be_well(self) -> None:
        if self._fault:
            self._fault = ""
            log.info("host.announced", host=self._host)
