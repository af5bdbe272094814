"""Asks a receiver once: no redirect is followed, and no name is looked up again."""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Answer:
    """What a receiver has answered; `retry_after` as its header has it."""

    status: int
    retry_after: str | None = None


class Sender:
    """Asks receivers, each within `seconds`, until it is closed."""

    def __init__(self, *, seconds: float = ATTEMPT_SECONDS) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()  # guards what follows
        self._open = set[_Connection]()
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """Whether nobody is asked any more."""
        return self._is_closed

    def post(
        self, target: Target, *, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        """Return what a receiver answers; raises NoAnswer.

        Its addresses are tried in turn, but none after one that could be connected to.
        """
        deadline = time.monotonic() + self._seconds
        failure: Exception = TimeoutError()
        for address in target.addresses:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            connection = _Connection(target, address, seconds=left)
            try:
                with self._held(connection), _ended_after(left, connection):
                    return _ask(connection, target, headers, body)
            except (OSError, http.client.HTTPException) as error:
                failure = error
                if connection.is_made:
                    break
        # The text of an error may have the address, which is not the caller's affair.
        raise NoAnswer(type(failure).__name__) from failure

    def close(self) -> None:
        """Cut whatever is going on; safe to call twice."""
        with self._lock:
            self._is_closed = True
            for connection in self._open:
                connection.cut()

    @contextmanager
    def _held(self, connection: "_Connection") -> Iterator[None]:
        """Bracket what is cut where the sender is closed."""
        with self._lock:
            if self._is_closed:
                raise ConnectionAbortedError
            self._open.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(connection)


def _ask(
    connection: "_Connection", target: Target, headers: Mapping[str, str], body: bytes
) -> Answer:
    path, query = urlsplit(target.url)[2:4]
    asked = f"{path or '/'}?{query}" if query else path or "/"
    sent = {"User-Agent": "bellhop", "Content-Type": "application/json", **headers}
    connection.request("POST", asked, body, sent)
    response = connection.getresponse()
    response.read(ANSWER_BYTES)
    return Answer(response.status, response.getheader("Retry-After"))


class _Connection(http.client.HTTPConnection):
    """A connection to one address of a target, whatever its name says by then."""

    def __init__(self, target: Target, address: str, *, seconds: float) -> None:
        super().__init__(target.host, target.port)
        self._address = address
        self._connect_seconds = min(CONNECT_SECONDS, seconds)
        self._context = None
        if target.url.startswith("https:"):
            self._context = _context()
            self.default_port = http.client.HTTPS_PORT  # which `Host` leaves out
        self._is_cut = False
        self.is_made = False

    def connect(self) -> None:
        """Connect to the address, and have it prove the name by its certificate."""
        where = (self._address, self.port)
        self.sock = socket.create_connection(where, self._connect_seconds)
        self.is_made = True
        if self._context is not None:
            self.sock = self._context.wrap_socket(
                self.sock, server_hostname=self.host, do_handshake_on_connect=False
            )
        if self._is_cut:  # when there was no socket to be cut yet
            raise ConnectionAbortedError
        if isinstance(self.sock, ssl.SSLSocket):
            self.sock.do_handshake()
        self.sock.settimeout(None)  # there is one for all of it

    def cut(self) -> None:
        """End whatever is going on, from another thread."""
        self._is_cut = True
        with suppress(OSError):
            if self.sock is not None:
                # Not as TLS does it: what is sent after that is sent in the clear.
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


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
