"""Asks a receiver once: no redirect is followed, and no name is looked up again."""

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from urllib.parse import urlsplit

import certifi

from .target import Target

CONNECT_SECONDS = 5.0
# All of it: a receiver that answers byte by byte would never be too slow for one.
ATTEMPT_SECONDS = 15.0
# Of an answer only the status counts; with its body read, the other side ends well.
ANSWER_BYTES = 64 * 1024


class NoAnswer(Exception):
    """There was no answer, or no whole one; what was sent may have been taken."""


def post(
    target: Target,
    *,
    headers: Mapping[str, str],
    body: bytes,
    seconds: float = ATTEMPT_SECONDS,
) -> int:
    """Return the status that a receiver answers with; raises NoAnswer.

    Its addresses are tried in turn, but none after one that could be connected to.
    """
    failures: list[Exception] = []
    for address in target.addresses:
        connection = _Connection(target, address)
        try:
            with _ended_after(seconds, connection):
                return _ask(connection, target, headers, body)
        except (OSError, http.client.HTTPException) as error:
            failures.append(error)
            if connection.is_made:
                break
    first = failures[0]
    # The text of an error may have the address, which is not the caller's affair.
    raise NoAnswer(type(first).__name__) from first


def _ask(
    connection: "_Connection", target: Target, headers: Mapping[str, str], body: bytes
) -> int:
    path, query = urlsplit(target.url)[2:4]
    asked = f"{path or '/'}?{query}" if query else path or "/"
    sent = {"User-Agent": "bellhop", "Content-Type": "application/json", **headers}
    connection.request("POST", asked, body, sent)
    response = connection.getresponse()
    response.read(ANSWER_BYTES)
    return response.status


class _Connection(http.client.HTTPConnection):
    """A connection to one address of a target, whatever its name says by then."""

    def __init__(self, target: Target, address: str) -> None:
        super().__init__(target.host, target.port)
        self._address = address
        self._context = _context() if target.url.startswith("https:") else None
        self.is_made = False

    def connect(self) -> None:
        """Connect to the address, and have it prove the name by its certificate."""
        where = (self._address, self.port)
        self.sock = socket.create_connection(where, CONNECT_SECONDS)
        self.is_made = True
        if self._context is not None:
            self.sock = self._context.wrap_socket(
                self.sock, server_hostname=self.host, do_handshake_on_connect=False
            )
            self.sock.do_handshake()  # of a socket that `cut` can reach
        self.sock.settimeout(None)  # there is one for all of it

    def cut(self) -> None:
        """End whatever is going on, from another thread."""
        with suppress(OSError, AttributeError):
            self.sock.shutdown(socket.SHUT_RDWR)


@contextmanager
def _ended_after(seconds: float, connection: _Connection) -> Iterator[None]:
    timer = threading.Timer(seconds, connection.cut)
    timer.name = "webhook-deadline"
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        connection.close()


@cache
def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())  # some images have none
    return context
