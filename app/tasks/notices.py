"""Tells those who wait that a file has changed, whichever process has changed it.

The kernel does (inotify): one descriptor and one thread for all who wait in this
worker. Where it will not, those who wait look again by themselves.
"""

import ctypes
import os
import selectors
import struct
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import structlog

# From linux/inotify.h: written to, closed after that, and touched or removed.
_IN_MODIFY, _IN_ATTRIB, _IN_CLOSE_WRITE, _IN_DELETE_SELF = 0x2, 0x4, 0x8, 0x400
_MASK = _IN_MODIFY | _IN_ATTRIB | _IN_CLOSE_WRITE | _IN_DELETE_SELF
_EVENT = struct.Struct("iIII")
_EVENTS_BYTES = 64 * 1024

# Between looks of those who wait where the kernel does not tell.
LOOK_SECONDS = 0.02

log = structlog.get_logger(__name__)


class Notice:
    """Waits for changes of one file; each wait ends with the next change."""

    def __init__(self, *, is_told: bool, is_told_soon: bool = False) -> None:
        self._is_told = is_told
        self._is_told_soon = is_told_soon  # that what comes from then on is told
        self._event = threading.Event()

    def tell(self) -> None:
        """Say that it has changed."""
        self._event.set()

    def wait_to_be_heard(self, seconds: float) -> None:
        """Wait until changes are told, where that takes a moment, or for the time.

        Who looks only then has to look once.
        """
        if self._is_told_soon:
            self.wait(seconds)

    def wait(self, seconds: float) -> None:
        """Wait for a change since the last wait, or for the time."""
        self._event.wait(seconds if self._is_told else min(seconds, LOOK_SECONDS))
        self._event.clear()


class Notices:
    """Who waits for which file. Nothing is opened or started before somebody waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards all below
        self._waiting: dict[int, set[Notice]] = defaultdict(set)
        self._inotify = -1
        self._wake = -1
        self._thread: threading.Thread | None = None
        self._opened = ExitStack()
        self._closed = False

    @contextmanager
    def of(self, path: Path | str) -> Iterator[Notice]:
        """Give what waits for changes of the file, from now on."""
        notice, watch = self._add(path)
        try:
            yield notice
        finally:
            self._remove(notice, watch)

    def close(self) -> None:
        """End the thread; who still waits goes on looking."""
        with self._lock:
            self._closed = True
            thread, self._thread = self._thread, None
            if thread is not None:
                os.eventfd_write(self._wake, 1)
        if thread is not None:
            thread.join()

    def _add(self, path: Path | str) -> tuple[Notice, int]:
        with self._lock:
            watch = -1
            if self._is_started():
                watch = _LIBC.inotify_add_watch(self._inotify, os.fsencode(path), _MASK)
            notice = Notice(is_told=watch >= 0)
            if watch >= 0:
                self._waiting[watch].add(notice)
            return notice, watch

    def _remove(self, notice: Notice, watch: int) -> None:
        with self._lock:
            others = self._waiting.get(watch)
            if others is None:
                return
            others.discard(notice)
            if not others:
                del self._waiting[watch]
                if self._inotify >= 0:
                    _LIBC.inotify_rm_watch(self._inotify, watch)

    def _is_started(self) -> bool:
        if self._thread is not None or self._closed:
            return not self._closed
        try:
            self._start()
        except (OSError, RuntimeError) as error:  # no descriptor, no thread to be had
            log.warning("notices.not_told", error=str(error))
            return False
        return True

    def _start(self) -> None:
        with ExitStack() as opened:
            inotify = _LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
            if inotify < 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            opened.callback(os.close, inotify)
            wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            opened.callback(os.close, wake)
            selector = opened.enter_context(selectors.DefaultSelector())
            for descriptor in (inotify, wake):
                selector.register(descriptor, selectors.EVENT_READ)
            thread = threading.Thread(
                target=self._listen, args=(selector,), name="notices", daemon=True
            )
            thread.start()
            self._inotify, self._wake, self._thread = inotify, wake, thread
            self._opened = opened.pop_all()

    def _listen(self, selector: selectors.BaseSelector) -> None:
        while not self._closed:
            selector.select()
            self._tell()
        with self._lock:
            self._waiting.clear()
            self._opened.close()
            self._inotify = self._wake = -1

    def _tell(self) -> None:
        try:
            events = os.read(self._inotify, _EVENTS_BYTES)
        except BlockingIOError:
            return
        position = 0
        with self._lock:
            while position < len(events):
                watch, _, _, name_bytes = _EVENT.unpack_from(events, position)
                position += _EVENT.size + name_bytes
                # -1: the kernel has lost some; whoever waits looks.
                told = [watch] if watch >= 0 else list(self._waiting)
                for number in told:
                    for notice in self._waiting.get(number, ()):
                        notice.tell()


_LIBC = ctypes.CDLL(None, use_errno=True)
