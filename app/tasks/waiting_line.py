"""The tasks of this worker that wait for room, and who wakes them.

Whether it is their turn, the records say. A worker in which some wait has a file by its
name in a folder that all workers know: who lets them in touches that.
"""

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from app.errors import StorageUnavailable

from .notices import Notice, Notices
from .worker import Worker

# How often to look without being told.
LOOK_SECONDS = 0.5

#: ``claim(task_ids)`` returns those whose turn it is, who run from then on.
Claim = Callable[[Sequence[str]], Sequence[str]]

log = structlog.get_logger(__name__)


class WaitingLine:
    """Waits, and lets those go on whose turn it is; a thread while there are any.

    It stays for a moment after that: under load the next one is about to come.
    """

    def __init__(self, folder: Path, *, notices: Notices) -> None:
        self._folder = folder
        self._notices = notices
        self._lock = threading.Lock()  # guards all below
        self._waiting: dict[str, Callable[[], None]] = {}
        self._thread: threading.Thread | None = None
        self._notice: Notice | None = None  # of the thread
        self._closed = False

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
            if self._notice is not None:
                self._notice.tell()  # its turn may have come before it was here

    def take_out(self, task_id: str) -> bool:
        """Let a task wait no more; return whether it did."""
        with self._lock:
            return self._waiting.pop(task_id, None) is not None

    def task_ids(self) -> list[str]:
        """Return the tasks that wait."""
        with self._lock:
            return list(self._waiting)

    def let_in(self, turns: Iterable[tuple[str, str]]) -> None:
        """Have tasks go on whose turn it is, each in its worker."""
        for task_id, worker in turns:
            if not self._go_on(task_id):
                with suppress(OSError):
                    os.utime(self._folder / worker)

    def close(self) -> list[str]:
        """Let nobody wait any more; return who did."""
        with self._lock:
            left, self._waiting = list(self._waiting), {}
            thread, self._closed = self._thread, True
            if self._notice is not None:
                self._notice.tell()
        if thread is not None:
            thread.join()
        return left

    def _attend(self, claim: Claim) -> None:
        mark = self._mark()
        was_idle = False
        with self._notices.of(mark) as notice:
            while True:
                with self._lock:
                    self._notice = notice
                    waiting = list(self._waiting)
                    if not waiting and (was_idle or self._closed):
                        self._thread = self._notice = None
                        # The next thread has a mark of the same name.
                        with suppress(OSError):
                            mark.unlink()
                        break
                try:
                    self._let_go_on(waiting, claim)
                except Exception:  # the next look may see it, and others wait
                    log.exception("queue.not_seen")
                was_idle = not waiting
                notice.wait(LOOK_SECONDS)

    def _let_go_on(self, waiting: Sequence[str], claim: Claim) -> None:
        if not waiting:
            return
        try:
            claimed = claim(waiting)
        except StorageUnavailable as error:
            log.warning("queue.not_seen", error=str(error.__cause__))
            return
        for task_id in claimed:
            self._go_on(task_id)

    def _go_on(self, task_id: str) -> bool:
        """Have a task go on; return False where it does not wait here, or no more."""
        with self._lock:
            go_on = self._waiting.pop(task_id, None)
        if go_on is None:
            return False
        go_on()
        return True

    def _mark(self) -> Path:
        mark = self._folder / str(Worker.current())
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            mark.touch(mode=0o600)
        except OSError as error:  # nobody can tell, so that this looks by itself
            log.warning("queue.not_told", error=str(error))
        return mark
