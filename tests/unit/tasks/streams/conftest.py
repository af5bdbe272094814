"""A real server for outputs in streams, and what is written to them."""

import uuid

import pytest

from app.tasks.streams.outputs import StreamOutputs
from tests.servers import wait_until

HEAD_BYTES = 100
TAIL_BYTES = 1000
KEEP_SECONDS = 300

# What stands at an offset can be told from it.
_BLOCK = b"".join(bytes((n >> 8 & 255, n & 255, n % 251)) for n in range(2**16))


def content(start, count):
    """Return what stands at these offsets."""
    first = start % len(_BLOCK)
    times = (first + count) // len(_BLOCK) + 1
    return (_BLOCK * times)[first : first + count]


def write(log, count):
    """Append what comes next at these offsets."""
    log.append(memoryview(content(log.end_offset, count)))


def settle(log):
    """Wait until the server has all."""

    def is_told():
        with log._sender.lock:
            return log._is_told()

    wait_until(is_told, seconds=20)


def check_kept(log, reader):
    """Check that what is kept is right, and that all else is counted; return the gaps.

    Gaps are pairs of offsets.
    """
    end, position, kept, gaps = log.end_offset, 0, 0, []
    while position < end:
        chunk = reader.read(position, 10_000)
        start = chunk.start if chunk.data else end
        assert chunk.data == content(chunk.start, len(chunk.data))
        if start > position:
            gaps.append((position, start))
        kept += len(chunk.data)
        position = start + len(chunk.data)
    assert position == end
    assert log.facts() == {"end_offset": end, "dropped_bytes": end - kept}
    assert reader.facts() == log.facts()
    return gaps


@pytest.fixture
def task_id():
    return str(uuid.uuid4())


@pytest.fixture
def make_outputs():
    """Make outputs on a server, and close them in the end."""
    made = []

    def make(server, head_bytes=HEAD_BYTES, tail_bytes=TAIL_BYTES):
        sizes = {"head_bytes": head_bytes, "tail_bytes": tail_bytes}
        made.append(StreamOutputs(server.url, **sizes, keep_seconds=KEEP_SECONDS))
        return made[-1]

    yield make
    for outputs in made:
        outputs.close()


@pytest.fixture
def outputs(make_outputs, valkey):
    return make_outputs(valkey)
