"""A server that is all the vendors at once, and can be told what to answer.

Whom a request is for, its own form says: each vendor has paths or headers of its own.
Below `/_/` it is told what to do, and tells what it was sent.
"""

import json
import socket
import struct
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from .vendor import Answer, Asked, FakeVendor, Scenario, Sent

# For how long an answer is held back by Scenario.TIMEOUT, unless it is told.
TIMEOUT_SECONDS = 30.0

_TRANSPORT = (Scenario.ERROR, Scenario.TIMEOUT, Scenario.RESET, Scenario.MALFORMED)


class FakeServer:
    """The vendors at one address of this machine, from :meth:`start` to close.

    `delay_seconds` is how long each answer takes.
    """

    def __init__(
        self,
        vendors: Iterable[FakeVendor],
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        delay_seconds: float = 0.0,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self.vendors = {vendor.name: vendor for vendor in vendors}
        self._delay_seconds = delay_seconds
        self._timeout_seconds = timeout_seconds
        self._closing = threading.Event()
        self._lock = threading.Lock()  # guards _scripts, _sent, _news and _asked
        self._scripts: dict[str, deque[Scenario]] = defaultdict(deque)
        self._sent: list[Sent] = []
        self._news: list[Sent] = []
        self._asked: list[tuple[str, Asked]] = []
        handler = type("Handler", (_Handler,), {"fake": self})
        self._server = _Server((address, port), handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.05},
            name="fake-vendors",
            daemon=True,
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        address, port = self._server.server_address[:2]
        return f"http://{address!s}:{port}"

    def start(self) -> None:
        """Start answering."""
        self._thread.start()

    def close(self) -> None:
        """Stop; answers that are held back are given up."""
        self._closing.set()
        if self._thread.ident is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def script(self, vendor: str, *scenarios: str) -> None:
        """Say what becomes of a vendor's next requests; the ones after succeed."""
        with self._lock:
            self._scripts[vendor] = deque(Scenario(each) for each in scenarios)

    def sent(self, vendor: str | None = None) -> Sequence[Sent]:
        """Return what was taken, by one vendor or by all."""
        with self._lock:
            return [s for s in self._sent if vendor in (None, s.vendor)]

    def news(self) -> Sequence[Sent]:
        """Return what was taken since this was asked the last time."""
        with self._lock:
            news, self._news = self._news, []
            return news

    def asked(self, vendor: str | None = None) -> Sequence[Asked]:
        """Return the requests that came, to one vendor or to all."""
        with self._lock:
            return [asked for name, asked in self._asked if vendor in (None, name)]

    def clear(self) -> None:
        """Forget what was sent, asked and scripted."""
        with self._lock:
            self._scripts.clear()
            self._sent.clear()
            self._asked.clear()

    def handle(self, asked: Asked) -> Answer | None:
        """Return the answer to a vendor's request; None: the connection is reset."""
        vendor = next((v for v in self.vendors.values() if v.is_for(asked)), None)
        if vendor is None:
            return Answer(404, "no vendor has this", "text/plain")
        with self._lock:
            self._asked.append((vendor.name, asked))
            script = self._scripts[vendor.name]
            scenario = script.popleft() if script else Scenario.SUCCESS
        answer, sent = vendor.answer(
            asked, Scenario.SUCCESS if scenario in _TRANSPORT else scenario
        )
        with self._lock:
            self._sent += sent
            self._news += sent
        return self._played(answer, scenario)

    def told(self, asked: Asked) -> Answer:
        """Do what a request below `/_/` says."""
        words = asked.path.strip("/").split("/")[1:]
        if asked.method == "PUT" and words[:-1] == ["script"]:
            return self._scripted(words[1], asked.body)
        if asked.method == "GET" and words == ["sent"]:
            return Answer(200, json.dumps([vars(sent) for sent in self.sent()]))
        if asked.method == "DELETE" and words == ["sent"]:
            self.clear()
            return Answer(200, "{}")
        return Answer(404, "{}")

    def _scripted(self, vendor: str, body: bytes) -> Answer:
        if vendor not in self.vendors:
            return Answer(404, "{}")
        try:
            self.script(vendor, *json.loads(body))
        except (TypeError, ValueError) as error:
            return Answer(400, json.dumps({"message": str(error)}))
        return Answer(200, "{}")

    def _played(self, answer: Answer, scenario: Scenario) -> Answer | None:
        if self._delay_seconds:
            time.sleep(self._delay_seconds)
        if scenario is Scenario.TIMEOUT:
            self._closing.wait(self._timeout_seconds)
        if scenario in (Scenario.RESET, Scenario.TIMEOUT):
            return None
        if scenario is Scenario.ERROR:
            return Answer(500, "<html>Internal Server Error</html>", "text/html")
        if scenario is Scenario.MALFORMED:
            return Answer(200, '{"Code":', answer.content_type)
        return answer


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *arguments: Any) -> None:
        self._lock = threading.Lock()  # guards _open
        self._open: set[socket.socket] = set()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Close the connections that clients keep open, and wait for their threads."""
        with self._lock:
            still_open = list(self._open)
        for each in still_open:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:  # the client was first
                pass
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that have gone."""


class _Handler(BaseHTTPRequestHandler):
    fake: FakeServer
    protocol_version = "HTTP/1.1"
    # Or an answer's head and body, written apart, wait for each other.
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Log nothing: the requests have numbers and texts."""

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        asked = Asked(
            self.command,
            self.path,
            {name.lower(): value for name, value in self.headers.items()},
            self.rfile.read(length),
        )
        is_told = asked.path.startswith("/_/")
        answer = self.fake.told(asked) if is_told else self.fake.handle(asked)
        if answer is None:
            self._reset()
            return
        body = answer.body.encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - the stdlib's names

    def _reset(self) -> None:
        """Have the kernel send a RST in the place of an answer."""
        now = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
        self.close_connection = True
        self.connection.close()
