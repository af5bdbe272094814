"""The tasks of this worker that wait for room, and who wakes them.

Whether it is their turn, the records say. A worker in which some wait has a file in
a folder that all workers know: whoever ends a task touches all of these.
"""

import os
import threading
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from app.errors import StorageUnavailable

from .notices import Notices

# How often to look without being told.
LOOK_SECONDS = 0.5

#: ``claim(task_ids)`` returns those whose turn it is, who run from then on.
Claim = Callable[[Sequence[str]], Sequence[str]]

log = structlog.get_logger(__name__)


class WaitingLine:
    """Waits, and lets those go on whose turn it is; a thread while there are any."""

    def __init__(self, folder: Path, *, notices: Notices) -> None:
        self._folder = folder
        self._notices = notices
        self._lock = threading.Lock()  # guards all below
        self._waiting: dict[str, Callable[[], None]] = {}
        self._thread: threading.Thread | None = None

    def add(
        self,
        task_id: str,
        go_on: Callable[[], None],
        *,
        claim: Claim,
    ) -> None:
        """Have `go_on` called when it is the task's turn, of which `claim` knows."""
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(
                    target=self._attend, args=(claim,), name="waiting-line", daemon=True
                )
                thread.start()  # or nobody waits
                self._thread = thread
            self._waiting[task_id] = go_on

    def take_out(self, task_id: str) -> bool:
        """Let a task wait no more; return whether it did."""
        with self._lock:
            return self._waiting.pop(task_id, None) is not None

    def task_ids(self) -> list[str]:
        """Return the tasks that wait."""
        with self._lock:
            return list(self._waiting)

    def tell(self) -> None:
        """Have all workers look whose turn it is: something has ended."""
        with suppress(OSError), os.scandir(self._folder) as marks:
            for mark in marks:
                with suppress(OSError):
                    os.utime(mark.path)

    def close(self) -> list[str]:
        """Let nobody wait any more; return who did."""
        with self._lock:
            left, self._waiting = list(self._waiting), {}
            thread = self._thread
        self.tell()
        if thread is not None:
            thread.join()
        return left

    def _attend(self, claim: Claim) -> None:
        mark = self._mark()
        with self._notices.of(mark) as notice:
            while True:
                with self._lock:
                    waiting = list(self._waiting)
                    if not waiting:
                        self._thread = None
                        break
                try:
                    self._let_go_on(waiting, claim)
                except Exception:  # the next look may see it, and others wait
                    log.exception("queue.not_seen")
                notice.wait(LOOK_SECONDS)
        with suppress(OSError):
            mark.unlink()

    def _let_go_on(self, waiting: Sequence[str], claim: Claim) -> None:
        try:
            claimed = claim(waiting)
        except StorageUnavailable as error:
            log.warning("queue.not_seen", error=str(error.__cause__))
            return
        for task_id in claimed:
            with self._lock:
                go_on = self._waiting.pop(task_id, None)
            if go_on is not None:  # or it was cancelled just now
                go_on()

    def _mark(self) -> Path:
        mark = self._folder / str(uuid.uuid4())
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            mark.touch(mode=0o600)
        except OSError as error:  # nobody can tell, so that this looks by itself
            log.warning("queue.not_told", error=str(error))
        return mark
