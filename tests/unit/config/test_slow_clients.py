"""When a request has arrived: its last byte is there, or waiting for it is no use."""

from functools import partial

import pytest

from config import slow_clients
from config.slow_clients import WHOLE_BYTES

MOST_BYTES = 1_000_000

is_whole = partial(slow_clients.is_whole, most_bytes=MOST_BYTES)

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
SIZED = b"POST / HTTP/1.1\r\nContent-length:  4 \r\nHost: x\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
LARGE = b"POST / HTTP/1.1\r\nContent-Length: 999999\r\n\r\n"
ASKING = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"


@pytest.mark.parametrize(
    "whole",
    [
        GET,
        GET + GET,  # the next one is there as well
        SIZED + b"body",
        CHUNKED + b"4\r\nbody\r\n0\r\n\r\n",
        CHUNKED + b"0\r\n\r\n",
        CHUNKED + b"4\r\nbody\r\n000;x=y\r\nTrailer: 1\r\nAnother: 2\r\n\r\n",
    ],
)
def test_one_is_whole_with_its_last_byte_and_not_before(whole: bytes) -> None:
    assert is_whole(whole)
    end = len(GET) if whole.startswith(GET) else len(whole)
    assert not [n for n in range(1, end) if is_whole(whole[:n])]


@pytest.mark.parametrize(
    "seen",
    [
        LARGE + b"x" * (WHOLE_BYTES - len(LARGE)),
        b"GET /" + b"a" * WHOLE_BYTES,
        ASKING,
        b"",
        b"\x16\x03\x01",  # somebody speaks TLS
        b"POST / HTTP/1.1\r\nContent-Length: 1000001\r\n\r\n",
        CHUNKED + b"zz\r\n",
        CHUNKED + b"-2\r\n{}",
        CHUNKED + b"\r\n",
        CHUNKED + b"2\r\n{}0",
    ],
)
def test_it_is_not_waited_for_where_that_is_no_use(seen: bytes) -> None:
    assert is_whole(seen)


def test_the_beginning_of_a_large_one_is_waited_for() -> None:
    assert not is_whole(LARGE + b"x" * 1000)


class TestNeverWaits:
    HEALTH = b"GET /api/health HTTP/1.1\r\nHost: x\r\n"

    @pytest.mark.parametrize(
        "seen",
        [
            HEALTH + b"\r\n",
            b"GET /api/health HTTP/1.0\r\n\r\n",
            HEALTH + b"X-Content-Length: 5\r\n\r\n",
        ],
    )
    def test_a_look_at_its_health_does_not(self, seen):
        assert slow_clients.never_waits(seen)

    @pytest.mark.parametrize(
        "seen",
        [
            HEALTH,
            HEALTH[:20],
            b"",
            HEALTH + b"Content-Length: 5\r\n\r\n",
            HEALTH + b"content-length : 5\r\n\r\n",
            HEALTH.replace(b"\r\n", b"\n") + b"Content-Length: 5\r\n\r\n",
            HEALTH + b"Transfer-Encoding: chunked\r\n\r\n",
            HEALTH + b"Expect: 100-continue\r\n\r\n",
            HEALTH + b"Upgrade: h2c\r\n\r\n",
            (HEALTH + b"\r\n") * 2,
            b"GET /api/health/ready HTTP/1.1\r\n\r\n",
            b"GET /api/health?x=1 HTTP/1.1\r\n\r\n",
            b"POST /api/health HTTP/1.1\r\n\r\n",
        ],
    )
    def test_anything_else_may(self, seen):
        assert not slow_clients.never_waits(seen)
