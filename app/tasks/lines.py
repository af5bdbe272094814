"""The newest lines of an output: what a poll shows of a log of bytes."""

from dataclasses import dataclass

from .output_log import LogReader
from .text import continuation_bytes, torn_bytes

# Looked at first, from the end: the newest hundred lines are nearly always in it.
_FIRST_LOOK_BYTES = 64 * 1024
# A line that is longer without an end is given in pieces.
_LONG_LINE_BYTES = 64 * 1024


@dataclass(frozen=True)
class Lines:
    """The newest lines after an offset, and where they stand in the output."""

    text: str
    dropped_bytes: int
    next_offset: int


def newest_lines(
    reader: LogReader, offset: int, *, count: int, finished: bool
) -> Lines:
    """Return the newest `count` lines that begin at `offset` or later.

    While the run goes on a line is one that has its end: what stands after the
    last newline is left for the next time, unless it is very long. Invalid UTF-8
    becomes U+FFFD, and no character is torn.
    """
    end = reader.end_offset()
    look_bytes = _FIRST_LOOK_BYTES
    while True:
        asked = max(offset, end - look_bytes)
        chunk = reader.read_until(asked, end)
        given = _complete(chunk.data, finished=finished)
        no_more = asked == offset or chunk.start > asked
        if no_more or given.count(b"\n") > count:
            break
        look_bytes *= 4
    start = chunk.start + _first_byte(given, count, torn=chunk.start > offset)
    data = given[start - chunk.start :]
    if not data:
        return Lines("", 0, offset)
    return Lines(
        text=data.removesuffix(b"\n").decode(errors="replace"),
        dropped_bytes=start - offset,
        next_offset=start + len(data),
    )


def _complete(data: bytes, *, finished: bool) -> bytes:
    """Return the part of `data` that may be given now."""
    if finished:
        return data
    complete = data[: data.rfind(b"\n") + 1]
    if len(data) - len(complete) <= _LONG_LINE_BYTES:
        return complete
    return data[: len(data) - torn_bytes(data)]


def _first_byte(data: bytes, count: int, *, torn: bool) -> int:
    """Return where the newest `count` lines begin, of which the first may be torn."""
    position = len(data) - data.endswith(b"\n")
    for _ in range(count):
        position = data.rfind(b"\n", 0, position)
        if position < 0:
            break
    if position >= 0:
        return position + 1
    if not torn:
        return 0
    line_end = data.find(b"\n")
    if 0 <= line_end < len(data) - 1:
        return line_end + 1
    return continuation_bytes(data)
