"""Somebody who is told by webhook, on this host."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook


@dataclass(frozen=True)
class Told:
    """One request: its path, its headers by names in lower case, its body."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The id that it has in each attempt."""
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> dict[str, Any]:
        """Return what it says, once the published library has found it to be true."""
        said: dict[str, Any] = Webhook(secret).verify(self.body, self.headers)
        return said


class Receiver(ThreadingHTTPServer):
    """Answers with `statuses` in turn, then with 204; waits for `open` before that."""

    daemon_threads = True
    # Those that were left in the middle have ended when this one is closed.
    block_on_close = True

    def __init__(
        self,
        *statuses: int,
        headers: Sequence[tuple[str, str]] = (),
        port: int = 0,
    ) -> None:
        self.got: list[Told] = []
        self.statuses = list(statuses)
        self.headers = headers
        self.open = threading.Event()
        self.open.set()
        super().__init__(("127.0.0.1", port), _Handler)
        self.port = self.server_port
        self.url = f"http://127.0.0.1:{self.port}/"

    def handle_error(self, *_: Any) -> None:
        """Say nothing where somebody did not wait for the answer."""


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.got.append(Told(self.path, headers, body))
        self.server.open.wait()
        statuses = self.server.statuses
        self.send_response(statuses.pop(0) if statuses else 204)
        for name, value in self.server.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def receiving(*statuses: int, **options: Any) -> Iterator[Receiver]:
    """Start a receiver, and stop it in the end."""
    with Receiver(*statuses, **options) as receiver:
        thread = threading.Thread(target=receiver.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield receiver
        finally:
            receiver.open.set()
            receiver.shutdown()
            thread.join()
