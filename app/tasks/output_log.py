"""One log in its file: who writes it, and who reads it.

The file keeps the first `head_bytes` and, in a ring, the last `tail_bytes`; what
lies between is a gap that is counted exactly. One thread of one process writes,
every worker may read at the same time without a lock.

    at 0            header: magic, sizes, end offset
    at 64           head: offset o at 64 + o
    at 64 + head    ring: offset o at (o - head) mod (tail + SLACK_BYTES)

The process of a detached run has no more of the service than this: it imports nothing
that is not Python's.
"""

import os
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

# The ring is larger than the tail by the most that one write replaces: a reader
# that saw end offset E can trust every byte from E - tail on, also while the next
# write is under way.
SLACK_BYTES = 256 * 1024

# The most that one read of the ring takes. A read of a whole large tail would be
# slower than a flood that overwrites it, and would find all of it gone, for ever.
_READ_BYTES = 256 * 1024

#: The longest output that the record of its task can have in it, without a file.
SHORT_BYTES = 4096

_HEADER = struct.Struct("<8sQQ")
_HEADER_BYTES = 64
_MAGIC = b"bellhop1"
# The end offset stands beside its complement, so that a reader knows a torn one.
_END = struct.Struct("<QQ")
_END_AT = _HEADER.size
_ONES = 2**64 - 1
# It is torn for as long as its 16 bytes are copied; for longer, it is damaged.
_TORN_LOOKS = 10_000

#: What is called with what a command wrote.
Sink = Callable[[memoryview], None]
#: ``report(event, **facts)`` is called in the handling of an error.
Report = Callable[..., object]


def _pass_over(_event: str, **_facts: object) -> None:
    """Say nothing: what is lost is counted as dropped."""


def space_bytes(head_bytes: int, tail_bytes: int) -> int:
    """Return how much space a log takes at most."""
    return _HEADER_BYTES + head_bytes + tail_bytes + SLACK_BYTES


@dataclass(frozen=True)
class Chunk:
    """What a read gave: `data` begins at `start`, later than asked after a gap."""

    start: int
    data: bytes


class LogWriter(ABC):
    """The writing end of an output, owned by the one thread that reads its pipe."""

    end_offset: int
    #: Whether all can read it by its task's id.
    is_named: bool

    @property
    @abstractmethod
    def dropped_bytes(self) -> int:
        """Bytes that the command wrote and that are not kept."""

    @property
    @abstractmethod
    def has_overflowed(self) -> bool:
        """Whether more was written than is kept."""

    @abstractmethod
    def append(self, data: memoryview) -> None:
        """Write what the command wrote; never fails, since nothing must stop it."""

    @abstractmethod
    def short(self) -> bytes | None:
        """Return all that was written, if a record is to have it."""

    @abstractmethod
    def settle(self) -> None:
        """Wait until all is kept; what is not in time is counted as dropped."""

    @abstractmethod
    def close(self) -> None:
        """Be done with it; it can be read on. Who follows it is told."""

    def leave(self) -> None:
        """Close it as it is: another process writes on, where one can."""
        self.close()

    def facts(self) -> dict[str, int]:
        """Return what a task's record says of its output."""
        return {"end_offset": self.end_offset, "dropped_bytes": self.dropped_bytes}

    def sink(self, on_overflow: Callable[[], None] | None) -> Sink:
        """Return what appends, and tells where more was written than is kept."""
        if on_overflow is None:
            return self.append

        def append(data: memoryview) -> None:
            self.append(data)
            if self.has_overflowed:
                on_overflow()

        return append


class OutputLog(LogWriter):
    """The writing end of a file."""

    def __init__(
        self,
        descriptor: int,
        head_bytes: int,
        tail_bytes: int,
        end_offset: int,
        *,
        is_named: bool = True,
        report: Report = _pass_over,
    ) -> None:
        self._descriptor = descriptor
        self._report = report
        self.is_named = is_named
        self._head_bytes = head_bytes
        self._tail_bytes = tail_bytes
        self._ring_bytes = tail_bytes + SLACK_BYTES
        self._failed = False
        self._lost_bytes = 0
        self.end_offset = end_offset

    @classmethod
    def begin(
        cls, descriptor: int, head_bytes: int, tail_bytes: int, **options: Any
    ) -> Self:
        """Return the log of an empty file, after giving that its header."""
        header = _HEADER.pack(_MAGIC, head_bytes, tail_bytes)
        os.pwrite(descriptor, header + _END.pack(0, _ONES), 0)
        return cls(descriptor, head_bytes, tail_bytes, 0, **options)

    @classmethod
    def resume(cls, descriptor: int, *, report: Report = _pass_over) -> Self:
        """Return the log of a file that another one has begun."""
        sizes = _sizes(descriptor)
        return cls(descriptor, *sizes, _end_offset(descriptor), report=report)

    @property
    def dropped_bytes(self) -> int:
        """Bytes that the command wrote and that are not kept."""
        gap = self.end_offset - self._head_bytes - self._tail_bytes
        return max(0, gap) + self._lost_bytes

    @property
    def has_overflowed(self) -> bool:
        """Whether more was written than is kept."""
        return self.dropped_bytes > 0

    def append(self, data: memoryview) -> None:
        """Write what the command wrote; never fails, since nothing must stop it.

        Where the file cannot be written, the bytes are counted as dropped.
        """
        if self._failed:
            self._lost_bytes += len(data)
            return
        try:
            while data:
                piece = data[: self._room()]
                self._write(piece)
                data = data[len(piece) :]
        except OSError:
            self._failed = True
            self._lost_bytes += len(data)
            self._report("output.write_failed", lost_from_offset=self.end_offset)

    def short(self) -> bytes | None:
        """Return all that was written, if it is short and there is no name."""
        if self.is_named or self._failed or self.end_offset > SHORT_BYTES:
            return None
        if self.end_offset > self._head_bytes:  # in the ring, if that is not all
            return None
        return os.pread(self._descriptor, self.end_offset, _HEADER_BYTES)

    def settle(self) -> None:
        """Do nothing: what is written is kept."""

    def link(self, path: Path) -> None:
        """Give the file a name. Raises OSError."""
        link(self._descriptor, path)
        self.is_named = True

    def clear(self) -> bool:
        """Be as new; return False where that cannot be."""
        try:
            os.pwrite(self._descriptor, _END.pack(0, _ONES), _END_AT)
        except OSError:
            return False
        self.end_offset = 0
        return not self._failed

    def leave(self) -> None:
        """Close it as it is: another process writes on."""
        os.close(self._descriptor)

    def close(self) -> None:
        """Give back the space that was not used; the file can be read on."""
        used = min(self.end_offset, self._head_bytes + self._ring_bytes)
        try:
            os.ftruncate(self._descriptor, _HEADER_BYTES + used)
        except OSError:  # the run's end must be told all the same
            self._report("output.cut_failed", end_offset=self.end_offset)
        finally:
            os.close(self._descriptor)

    def _room(self) -> int:
        """Return how many bytes fit where the next one goes, before a jump."""
        if self.end_offset < self._head_bytes:
            return self._head_bytes - self.end_offset
        slot = (self.end_offset - self._head_bytes) % self._ring_bytes
        return min(self._ring_bytes - slot, SLACK_BYTES)

    def _write(self, piece: memoryview) -> None:
        place = _place(self.end_offset, self._head_bytes, self._ring_bytes)
        written = 0
        while written < len(piece):
            written += os.pwrite(self._descriptor, piece[written:], place + written)
        end = self.end_offset + len(piece)
        os.pwrite(self._descriptor, _END.pack(end, end ^ _ONES), _END_AT)
        self.end_offset = end


@dataclass(frozen=True)
class TaskOutput:
    """The logs of one task: what it writes to stderr has one if it is kept apart."""

    stdout: LogWriter
    stderr: LogWriter | None = None

    def facts(self) -> dict[str, int]:
        """Return what a task's record says of them."""
        facts = self.stdout.facts()
        if self.stderr is not None:
            apart = self.stderr.facts()
            facts |= {f"stderr_{name}": value for name, value in apart.items()}
        return facts

    def ended(self) -> dict[str, Any]:
        """Return what the record says of them at the end; a short one it has itself.

        Otherwise all is kept by then, or counted as dropped.
        """
        short = self.stdout.short() if self.stderr is None else None
        if short is not None:
            return {"end_offset": len(short), "dropped_bytes": 0, "output": short}
        self.stdout.settle()
        if self.stderr is not None:
            self.stderr.settle()
        return {**self.facts(), "output": None}

    def sinks(self, on_overflow: Callable[[], None] | None) -> tuple[Sink, Sink | None]:
        """Return what appends to each, and tells where more comes than is kept."""
        stderr = self.stderr.sink(on_overflow) if self.stderr is not None else None
        return self.stdout.sink(on_overflow), stderr

    def leave(self) -> None:
        """Close them as they are: another process writes on."""
        self.stdout.leave()
        if self.stderr is not None:
            self.stderr.leave()

    def close(self) -> None:
        """Close them; they can be read on."""
        self.stdout.close()
        if self.stderr is not None:
            self.stderr.close()


class LogReader(ABC):
    """A reading end of an output; a context manager. Reads do not consume."""

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(self, *exc_info: object) -> None: ...

    @abstractmethod
    def end_offset(self) -> int:
        """Return how many bytes have been written so far."""

    def knows_end(self) -> bool:
        """Return whether the end is not behind one that it has said before."""
        return True

    @abstractmethod
    def facts(self) -> dict[str, int]:
        """Return what a task's record would say of its output now."""

    @abstractmethod
    def read(self, offset: int, limit: int) -> Chunk:
        """Return up to `limit` bytes from `offset`, or from where they are kept.

        Empty at the end. Fewer bytes than asked for do not mean the end.
        """

    def read_until_gap(self, offset: int, limit: int) -> Chunk:
        """Return up to `limit` bytes from `offset`, or from where they are kept.

        Fewer mean that there the output ends so far, or a gap begins.
        """
        chunk = self.read(offset, limit)
        start, pieces, left = chunk.start, list[bytes](), limit
        while chunk.data:
            pieces.append(chunk.data)
            left -= len(chunk.data)
            position = chunk.start + len(chunk.data)
            chunk = self.read(position, left)
            if chunk.start > position:
                break
        return Chunk(start, b"".join(pieces))

    def read_until(self, offset: int, end: int) -> Chunk:
        """Return all bytes up to `end` that follow without a gap, at most."""
        start, pieces = offset, list[bytes]()
        position = offset
        while position < end:
            chunk = self.read(position, end - position)
            if not chunk.data:
                break
            if chunk.start > position:
                start, pieces = chunk.start, []
            pieces.append(chunk.data)
            position = chunk.start + len(chunk.data)
        return Chunk(start, b"".join(pieces))


class ShortOutput(LogReader):
    """What is read of an output that its task's record has, as of a file."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __exit__(self, *exc_info: object) -> None:
        pass

    def end_offset(self) -> int:
        """Return how many bytes were written."""
        return len(self._data)

    def facts(self) -> dict[str, int]:
        """Return what a task's record says of it."""
        return {"end_offset": len(self._data), "dropped_bytes": 0}

    def read(self, offset: int, limit: int) -> Chunk:
        """Return up to `limit` bytes from `offset`."""
        return Chunk(offset, self._data[offset : offset + limit])


class OutputReader(LogReader):
    """A reading end of a file."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._head_bytes, self._tail_bytes = _sizes(descriptor)
        self._ring_bytes = self._tail_bytes + SLACK_BYTES

    def __exit__(self, *exc_info: object) -> None:
        os.close(self._descriptor)

    def end_offset(self) -> int:
        """Return how many bytes have been written so far."""
        return _end_offset(self._descriptor)

    def facts(self) -> dict[str, int]:
        """Return what a task's record would say of its output now."""
        end = self.end_offset()
        dropped_bytes = max(0, end - self._head_bytes - self._tail_bytes)
        return {"end_offset": end, "dropped_bytes": dropped_bytes}

    def read(self, offset: int, limit: int) -> Chunk:
        """Return up to `limit` bytes from `offset`, or from where they are kept.

        Empty at the end. Fewer bytes than asked for do not mean the end.
        """
        end = self.end_offset()
        if offset < self._head_bytes:
            count = min(limit, end - offset, self._head_bytes - offset)
            return Chunk(offset, self._pread(offset, count))
        while offset < end:
            start = max(offset, self._oldest(end))
            data = self._read_ring(start, min(limit, end - start, _READ_BYTES))
            end = self.end_offset()
            # A flood overwrites the oldest meanwhile: what it left is given.
            lost = max(0, self._oldest(end) - start)
            if lost == 0 or lost < len(data):
                return Chunk(start + lost, data[lost:])
            # Nothing is left. Try again further on.
        return Chunk(offset, b"")

    def _oldest(self, end: int) -> int:
        """Return the first offset that the ring keeps when `end` is the end."""
        return max(self._head_bytes, end - self._tail_bytes)

    def _read_ring(self, start: int, count: int) -> bytes:
        slot = (start - self._head_bytes) % self._ring_bytes
        first = min(count, self._ring_bytes - slot)
        data = self._pread(start, first)
        if first < count:
            data += self._pread(start + first, count - first)
        return data

    def _pread(self, offset: int, count: int) -> bytes:
        place = _place(offset, self._head_bytes, self._ring_bytes)
        return os.pread(self._descriptor, max(0, count), place)


def is_log(descriptor: int) -> bool:
    """Return whether a file begins as a log does."""
    for _ in range(_TORN_LOOKS):
        header = os.pread(descriptor, _END_AT + _END.size, 0)
        if len(header) < _END_AT + _END.size or not header.startswith(_MAGIC):
            return False
        end, complement = _END.unpack_from(header, _END_AT)
        if end ^ complement == _ONES:
            return True
    return False


def _sizes(descriptor: int) -> tuple[int, int]:
    """Return the bytes of head and tail that a file was made for."""
    _, head_bytes, tail_bytes = _HEADER.unpack(os.pread(descriptor, _HEADER.size, 0))
    return head_bytes, tail_bytes


def _end_offset(descriptor: int) -> int:
    """Return how many bytes a file's writer has written."""
    while True:
        end: int
        end, complement = _END.unpack(os.pread(descriptor, _END.size, _END_AT))
        if end ^ complement == _ONES:
            return end


def _place(offset: int, head_bytes: int, ring_bytes: int) -> int:
    """Return where in the file the byte of that offset stands."""
    if offset < head_bytes:
        return _HEADER_BYTES + offset
    return _HEADER_BYTES + head_bytes + (offset - head_bytes) % ring_bytes


def link(descriptor: int, path: Path) -> None:
    """Give an open file without a name one; raise OSError where that cannot be."""
    # Python follows a link, which this is, only where a folder is given as well; of a
    # whole path it is not looked at.
    where = f"/proc/self/fd/{descriptor}"
    os.link(where, path, src_dir_fd=descriptor, follow_symlinks=True)
