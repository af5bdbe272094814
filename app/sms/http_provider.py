"""The recipe for vendors that are asked over HTTP: what was sent, and what is sure.

A connection that is refused has sent nothing. Whatever goes wrong once a request may
have been written leaves its outcome unknown: it is asked once, and never again.
"""

import logging
import ssl
import threading
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
from urllib3 import (
    BaseHTTPResponse,
    HTTPConnectionPool,
    PoolManager,
    ProxyManager,
    Retry,
    Timeout,
)
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationValueError,
    NewConnectionError,
    ProxyError,
    SSLError,
)

from .message import Filled, Outcome
from .provider import OutcomeUnknown, ProviderUnreachable, SmsProvider
from .reading import read_json

# A TCP connection that is not there after this will not come; one lost SYN is sent
# again after one second, the next one two later.
CONNECT_SECONDS = 3.2
# Connections of a worker to one vendor: as many as it has threads, which is 16 by
# default, and some for tasks.
POOL_CONNECTIONS = 32
# Vendors, and routers in between, drop connections after a minute or so of silence. A
# request that meets that would end unknown, so older ones are not used, idle or not:
# while one is busy others may be silent.
IDLE_SECONDS = 20.0
# Every request is sent once.
_NEVER_AGAIN = Retry(total=False, redirect=False)
# What errors of TLS say while a connection is made; they may also come in an answer.
_HANDSHAKE = ("HANDSHAKE", "CERTIFICATE", "WRONG_VERSION_NUMBER")
# An answer is a few hundred bytes for each receiver, of whom there are up to 1000.
ANSWER_BYTES = 4 * 1024 * 1024

# Its debug lines and some of its warnings have targets: Kannel's and Aliyun's have
# numbers, texts and a password.
logging.getLogger("urllib3").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Request:
    """One request to a vendor, signed and ready."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Reply:
    """A vendor's whole answer."""

    status: int
    body: bytes

    @property
    def is_failure(self) -> bool:
        """Whether the status neither grants nor refuses."""
        return not (200 <= self.status < 300 or 400 <= self.status < 500)

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")

    @property
    def json(self) -> Any:
        """The body's JSON object; raises OutcomeUnknown where it is none."""
        try:
            document = read_json(self.body)
        except ValueError as error:
            raise OutcomeUnknown("the answer is not JSON") from error
        if not isinstance(document, dict):
            raise OutcomeUnknown("the answer is not a JSON object")
        return document


class HttpProvider(SmsProvider):
    """A vendor that is sent a request for each batch: build it, read the answer."""

    #: Failures by their status that the vendor documents as not taken.
    refusing_statuses: ClassVar[frozenset[int]] = frozenset()

    def __init__(self, *, timeout_seconds: float = 10.0) -> None:
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()  # guards _pool and _opened
        self._pool: HTTPConnectionPool | None = None
        self._opened = 0.0

    @abstractmethod
    def build(
        self,
        template: Filled,
        receivers: Sequence[str],
        *,
        message_id: str,
        validity_seconds: int | None,
        receipts_url: str | None,
    ) -> Request:
        """Return the request that sends to one batch."""

    @abstractmethod
    def read(self, reply: Reply, receivers: Sequence[str]) -> Sequence[Outcome]:
        """Return what a grant or a refusal says of each receiver.

        Raises OutcomeUnknown where it cannot be read.
        """

    def send(
        self,
        template: Filled,
        receivers: Sequence[str],
        *,
        message_id: str,
        validity_seconds: int | None = None,
        receipts_url: str | None = None,
    ) -> Sequence[Outcome]:
        """Send to one batch; see SmsProvider."""
        request = self.build(
            template,
            receivers,
            message_id=message_id,
            validity_seconds=validity_seconds,
            receipts_url=receipts_url,
        )
        reply = self.ask(request)
        if reply.is_failure and reply.status not in self.refusing_statuses:
            raise OutcomeUnknown(f"the answer is a {reply.status}")
        return self.read(reply, receivers)

    def ask(self, request: Request) -> Reply:
        """Send a request, once; raises ProviderUnreachable or OutcomeUnknown."""
        try:
            return self._exchange(request)
        except (HTTPError, OSError) as error:
            # Its text has the URL, and with that numbers: it is not told.
            name = type(error).__name__
            if _is_before_sending(error):
                raise ProviderUnreachable(name) from None
            raise OutcomeUnknown(name) from None

    def close(self) -> None:
        """Close the connections, those in use when they are not any more."""
        with self._lock:
            self._pool = None

    def _exchange(self, request: Request) -> Reply:
        deadline = time.monotonic() + self._timeout_seconds
        connect_seconds = min(CONNECT_SECONDS, self._timeout_seconds)
        pool = self._open_pool(request.url)
        response = pool.urlopen(
            request.method,
            _target(request.url, pool),
            headers={"User-Agent": "bellhop", **request.headers},
            body=request.body or None,
            timeout=Timeout(connect=connect_seconds, read=self._timeout_seconds),
            retries=_NEVER_AGAIN,
            redirect=False,
            assert_same_host=False,  # it is its host's, and a proxy's is another
            preload_content=False,
        )
        try:
            reply = Reply(response.status, _body(response, deadline))
        except BaseException:
            response.close()  # what is left of it is in the connection
            raise
        response.release_conn()
        return reply

    def _open_pool(self, url: str) -> HTTPConnectionPool:
        """Return what has fresh connections to the vendor's host, or opens one."""
        with self._lock:
            now = time.monotonic()
            if self._pool is None or now - self._opened > IDLE_SECONDS:
                # The one before is not closed, or whoever is about to use it would
                # fail; its connections are closed when nobody has it any more.
                self._pool, self._opened = _new_pool(url), now
            return self._pool


def is_handshake_failure(error: Exception) -> bool:
    """Return whether an error of TLS is of before anything could be sent."""
    return any(word in str(error).upper() for word in _HANDSHAKE)


def _new_pool(url: str) -> HTTPConnectionPool:
    """Return what connects to a URL's host, by the proxy that the system has for it."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())  # some images have none
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    manager = PoolManager(maxsize=POOL_CONNECTIONS, ssl_context=context)
    if proxy and not proxy_bypass(parts.netloc):
        manager = ProxyManager(proxy, maxsize=POOL_CONNECTIONS, ssl_context=context)
    return manager.connection_from_url(url)


def _target(url: str, pool: HTTPConnectionPool) -> str:
    """Return what a request asks for: of a proxy without a tunnel, the whole URL."""
    parts = urlsplit(url)
    if pool.proxy is not None and parts.scheme == "http":
        return url
    return f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"


def _body(response: BaseHTTPResponse, deadline: float) -> bytes:
    """Return the whole body, unless it is too long or too slow in coming.

    It is read as it comes, or a byte at a time would never be too slow.
    """
    body = b""
    while part := response.read1(65536, decode_content=True):
        body += part
        if len(body) > ANSWER_BYTES:
            raise OutcomeUnknown("the answer is too long")
        if time.monotonic() > deadline:
            raise OutcomeUnknown("the answer took too long")
    return body


def _is_before_sending(error: Exception) -> bool:
    """Return whether no byte of the request can have left."""
    if isinstance(error, SSLError):
        return is_handshake_failure(error)
    before = (NewConnectionError, ConnectTimeoutError, ProxyError, LocationValueError)
    return isinstance(error, before)
