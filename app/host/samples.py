"""The last ten minutes of how the host was, where every worker can read them.

A line of JSON for each second, in two files: what is full becomes the older one, and
what that was goes. A line is written at once and to its end, so that whoever reads
meanwhile sees whole lines; what a crash has torn is no line, and is passed over.
"""

import json
import os
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from app.errors import HostReadingFailed

#: How many are kept: one a second, for ten minutes. The files have up to twice as many.
KEPT = 600

Sample = Mapping[str, Any]


class SampleWriter:
    """Writes samples down; there is one at a time for a path."""

    def __init__(self, path: Path, *, keep: int = KEPT) -> None:
        self._path = path
        self._keep = keep
        self._count: int | None = None

    def append(self, sample: Sample) -> None:
        """Write a sample; raise OSError, and leave no part of it, where that fails."""
        if self._count is None:
            self._count = self._repair()
        if self._count >= self._keep:
            self._path.replace(older_than(self._path))
            self._count = 0
        _append_line(self._path, json.dumps(sample, separators=(",", ":")).encode())
        self._count += 1

    def _repair(self) -> int:
        """Cut off a line that has no end, and return how many there are."""
        content = _content(self._path)
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(self._path, whole)
        return content.count(b"\n")


class Samples:
    """Reads them, each once: what has been read is kept."""

    def __init__(self, path: Path, *, keep: int = KEPT) -> None:
        self._path = path
        self._lock = threading.Lock()  # guards the three below
        self._kept: deque[Sample] = deque(maxlen=keep)
        self._file: int | None = None  # held, so that no other gets its inode's number
        self._offset = 0

    def newer_than(self, time: str | None, *, limit: int = KEPT) -> Sequence[Sample]:
        """Return the samples since a time, or all of them: the newest, oldest first.

        A time that a sample has means what came after that sample, also where the
        clock has been set back meanwhile. Raises HostReadingFailed.
        """
        with self._lock:
            try:
                self._catch_up()
            except OSError as error:
                self._let_go()
                raise HostReadingFailed(f"no samples can be read: {error}") from error
            kept = list(self._kept)
        newer = list(takewhile(lambda each: each["time"] != time, reversed(kept)))
        if time is not None and len(newer) == len(kept):
            newer = [each for each in newer if each["time"] > time]
        return newer[:limit][::-1]

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._let_go()

    def _catch_up(self) -> None:
        """Read what has been written since the last time, or all where that is gone."""
        if self._file is None or not self._is_current(self._file):
            self._reopen()
        if self._file is not None:
            size = os.fstat(self._file).st_size
            if size > self._offset:
                self._read(os.pread(self._file, size - self._offset, self._offset))

    def _is_current(self, file: int) -> bool:
        try:
            found = self._path.stat()
        except OSError:
            return False
        return os.path.samestat(found, os.fstat(file)) and found.st_size >= self._offset

    def _reopen(self) -> None:
        self._let_go()
        try:
            self._file = os.open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            pass
        self._read(_content(older_than(self._path), unless=self._file))
        self._offset = 0

    def _let_go(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file, self._offset = None, 0
        self._kept.clear()

    def _read(self, content: bytes) -> None:
        """Keep the whole lines; one that has no end is read again when it has."""
        whole = content.rfind(b"\n") + 1
        self._kept.extend(filter(None, map(_parsed, content[:whole].splitlines())))
        self._offset += whole


def older_than(path: Path) -> Path:
    """Return where the older half is."""
    return path.with_name(f"{path.name}.older")


def _append_line(path: Path, line: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(file).st_size
        try:
            written = os.write(file, line + b"\n")
        except OSError:
            os.ftruncate(file, size)
            raise
        if written <= len(line):
            os.ftruncate(file, size)
            raise OSError(f"{path} has no room for a sample")
    finally:
        os.close(file)


def _content(path: Path, *, unless: int | None = None) -> bytes:
    """Return what is in a file; nothing where that is `unless`, under its next name."""
    try:
        with path.open("rb") as file:
            if unless is not None and os.path.sameopenfile(file.fileno(), unless):
                return b""
            return file.read()
    except FileNotFoundError:
        return b""


def _parsed(line: bytes) -> Sample | None:
    """Return a line's sample; None for what is left of one after the power was cut."""
    try:
        sample = json.loads(line)
    except ValueError:
        return None
    is_one = isinstance(sample, dict) and isinstance(sample.get("time"), str)
    return sample if is_one else None
