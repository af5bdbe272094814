"""Clients that begin and do not go on."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.contest import Goal, Outcome, Row
from bench.dose import Dose
from bench.servers import bellhop
from bench.usage import asked_for_health
from tests.servers import Server

# What is sent before nothing more comes.
BEGINNINGS = {
    "nothing": b"",
    "half a head": b"GET /api/health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Half",
    "half a body": (
        b"POST /api/ann/1 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n"
        b'Content-Type: application/json\r\n\r\n{"content":'
    ),
}
SETTLE_SECONDS = 0.5
LOOK_SECONDS = 6


def _slow(dose: Dose, folder: Path) -> Outcome:
    with bellhop(folder) as server:
        lines = [
            _line(dose, server, what, beginning)
            for what, beginning in BEGINNINGS.items()
        ]
    worst = max(line["health_p99_ms"] for line in lines)
    return Outcome(lines, {"health_p99_ms": worst})


def _line(dose: Dose, server: Server, what: str, beginning: bytes) -> dict[str, Any]:
    with _half_open(server.url, beginning, dose.half_open):
        time.sleep(SETTLE_SECONDS)
        with asked_for_health(server.url) as health:
            time.sleep(min(LOOK_SECONDS, dose.seconds * 4))
    return {
        "who": f"{dose.half_open} that send {what}",
        "asked": len(health.milliseconds),
        "health_p99_ms": health.p99_ms(),
    }


@contextmanager
def _half_open(url: str, beginning: bytes, count: int) -> Iterator[None]:
    where = urlsplit(url)
    with ExitStack() as stack:
        for _ in range(count):
            address = (where.hostname, where.port)
            connection = stack.enter_context(socket.create_connection(address))
            connection.sendall(beginning)
        yield


ROWS = [
    Row(
        "slow",
        "Clients that do not go on",
        "Connections that send a beginning and then nothing, to Bellhop as it ships, "
        "while others ask for health 50 times a second on connections of their own. An "
        "answer that takes 10 s is not waited for any longer.",
        _slow,
        (
            Goal(
                "health_p99_ms",
                "health meanwhile, p99, at worst",
                "ms",
                250,
                None,
                False,
            ),
        ),
    ),
]
