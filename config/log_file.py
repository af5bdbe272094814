"""The log's file: several processes write it, and who finds it full rotates it."""

import logging
import os

from concurrent_log_handler import ConcurrentRotatingFileHandler


class LogFile(ConcurrentRotatingFileHandler):
    """A handler that takes the file's lock to open and to rotate it, not for each line.

    A line is one write to the end of the file, of which the kernel makes one piece. A
    thread that had the lock for it, and then waited for its turn in Python, would have
    all processes wait.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; the stdlib has threads do so one after the other."""
        if not self._has_room():
            super().emit(record)
            return
        try:
            self.do_write(self.format(record))
        except Exception:  # noqa: BLE001 - as all handlers do
            self.handleError(record)

    def _has_room(self) -> bool:
        """Return whether the file is open, not full, and still the one of its name."""
        if self.stream is None:
            return False
        try:
            named = os.stat(self.baseFilename)  # noqa: PTH116 - before every line
            opened = os.fstat(self.stream.fileno())
        except (OSError, ValueError):
            return False
        return named.st_size < self.maxBytes and os.path.samestat(named, opened)
