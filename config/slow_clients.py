"""Gunicorn's threads, of which none waits for a request that is still on its way.

Gunicorn gives a connection a thread as soon as its first byte is there; as many clients
as there are threads, each with half a request, would keep out all others. Here the
loop of the worker looks at what has arrived, leaves it where it is, and gives a thread
to what is whole.
"""

import errno
import fcntl
import re
import selectors
import socket
import struct
import sys
import termios
import time
from concurrent.futures import Future
from functools import partial
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

# How long a request may take to arrive, from the connection's opening or from the
# answer before it.
ARRIVAL_SECONDS = 30.0
# Of a longer one only the beginning is waited for without a thread.
WHOLE_BYTES = 64 * 1024
# What is answered without waiting for anything, and has to be told when all threads
# are taken, too.
NEVER_WAITS = b"GET /api/health HTTP/1."
# How often a new connection is left to other workers first: with none, eight that stay
# were all of one worker in a third of the runs, and had a third of the rate.
PASSES = 2
# How long a thread then waits for the next part of it, or for an answer's next part to
# be taken.
READ_SECONDS = 10
WRITE_SECONDS = 60

_LENGTH = re.compile(
    rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n", re.IGNORECASE
)
_IN_CHUNKS = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
# Whose sender waits for a word of ours before it sends its body.
_ASKS_FIRST = re.compile(rb"\r\nexpect:", re.IGNORECASE)
# Of a request that has, or may have, more than its head.
_MORE = re.compile(
    rb"\n(?:content-length|transfer-encoding|expect|upgrade)[ \t]*:", re.IGNORECASE
)
_NOTHING_YET = (errno.EAGAIN, errno.ECONNABORTED)


class PatientWorker(ThreadWorker):  # type: ignore[misc]
    """A gthread worker in whose loop connections wait until there is work in them."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._passed = 0

    def accept(self, listener: Any) -> None:
        """Take a connection, and wait for what it will ask.

        All workers are told of it. One that has some already lets it pass for a moment,
        so that few connections that stay are not all of one worker.
        """
        self._passed = (self._passed + 1) % (1 + min(self.nr_conns, PASSES))
        if self._passed:
            return
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno not in _NOTHING_YET:
                raise
            return
        self.nr_conns += 1
        for option, seconds in (
            (socket.SO_RCVTIMEO, READ_SECONDS),
            (socket.SO_SNDTIMEO, WRITE_SECONDS),
        ):
            client.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", seconds, 0))
        conn = TConn(self.cfg, client, address, listener.getsockname())
        conn.arrived, conn.never_waits = 0, False
        self._await(conn)

    def enqueue_req(self, conn: Any) -> None:
        """Give a request a thread, or answer it here where that never waits.

        So a service tells its health also while all its threads are taken.
        """
        if not conn.never_waits:
            super().enqueue_req(conn)
            return
        conn.never_waits = False
        answered: Future[Any] = Future()
        answered.set_result(self.handle(conn))
        self.finish_request(conn, answered)

    def on_client_socket_readable(self, conn: Any, client: Any) -> None:
        """Give the request after an answer a thread, or wait for the rest of it."""
        conn.arrived = 0
        if self.cfg.is_ssl or self._is_all(conn, client):
            super().on_client_socket_readable(conn, client)
        else:
            self.poller.unregister(client)
            self.keepalived_conns.remove(conn)
            self._await(conn)

    def on_pending_socket_readable(self, conn: Any, client: Any) -> None:
        """Give a request a thread once it is whole, or comes no further."""
        if self.cfg.is_ssl or self._is_all(conn, client):
            super().on_pending_socket_readable(conn, client)

    def _await(self, conn: Any) -> None:
        conn.timeout = time.monotonic() + ARRIVAL_SECONDS
        self.pending_conns.append(conn)
        answer = partial(self.on_pending_socket_readable, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, answer)

    def _is_all(self, conn: Any, client: Any) -> bool:
        """Return whether a request is whole; if not, have more of it wake us."""
        try:
            seen = client.recv(WHOLE_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True  # which the thread will find out
        # None is Flask's word for no limit.
        most_bytes = self.wsgi.config["MAX_CONTENT_LENGTH"] or sys.maxsize
        has_more = len(seen) > conn.arrived  # or it has hung up
        if has_more and not is_whole(seen, most_bytes=most_bytes):
            conn.arrived = len(seen)
            _wake_at(client, conn.arrived + 1)
            return False
        if conn.arrived:
            _wake_at(client, 1)
        conn.never_waits = never_waits(seen) and not _has_unsent(client)
        return True

    def _cap_keepalive(self, deadline: float) -> None:
        """Close what has not arrived by then, when the worker is to stop."""
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)


def is_whole(seen: bytes, *, most_bytes: int) -> bool:
    """Return whether nothing more of a request is to be waited for without a thread.

    These are all its bytes, or many, or no request at all, or its body is to be of more
    than `most_bytes`, which is refused unread.
    """
    if len(seen) >= WHOLE_BYTES or not seen[:1].isalpha():
        return True
    head, end, body = seen.partition(b"\r\n\r\n")
    head += b"\r\n"
    if not end or _ASKS_FIRST.search(head):
        return bool(end)
    if _IN_CHUNKS.search(head):
        return _has_last_chunk(body)
    length = _LENGTH.search(head)
    return length is None or not len(body) < int(length[1]) <= most_bytes


def never_waits(seen: bytes) -> bool:
    """Return whether all of one request has arrived, whose answer waits for nothing."""
    head, end, rest = seen.partition(b"\r\n\r\n")
    is_alone = bool(end) and not rest and not _MORE.search(head)
    return is_alone and head.startswith(NEVER_WAITS)


def _has_last_chunk(body: bytes) -> bool:
    """Return whether chunks have come to their end, or are none, which is told."""
    at = 0
    while (end := body.find(b"\r\n", at)) >= 0:
        try:
            size = int(body[at:end].partition(b";")[0], 16)
        except ValueError:
            return True
        if size == 0:
            return b"\r\n\r\n" in body[end:]  # after its trailers
        at = end + 2 + size
        after = body[at : at + 2]
        if size < 0 or not b"\r\n".startswith(after):
            return True
        at += 2
    return False


def _wake_at(client: Any, count: int) -> None:
    """Have the kernel call a connection readable when it has so many bytes."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)


def _has_unsent(client: Any) -> bool:
    """Return whether a client has not taken all of the answers before.

    Else the kernel takes a short answer whole, however slow the client.
    """
    unsent = fcntl.ioctl(client, termios.TIOCOUTQ, bytes(4))
    return unsent != bytes(4)
