"""The recipe for HTTP: what has certainly not been sent, and what cannot be known."""

import socket
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

import pytest

from app.sms import http_provider
from app.sms.http_provider import ANSWER_BYTES, HttpProvider, Reply, Request
from app.sms.message import Accepted, Filled, Outcome
from app.sms.provider import OutcomeUnknown, ProviderUnreachable

NUMBER = "+8613800000000"
SECRETS = ("13800000000", "a-secret", "a-text")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
# How long a peer waits between bytes, and for how many it does.
DRIP_SECONDS = 0.02
DRIPS = 200

Act = Callable[["Peer", socket.socket], None]


def address_of(server: socket.socket) -> str:
    address, port = server.getsockname()
    return f"{address}:{port}"


class Peer:
    """A server that does with each request what it is told; one connection at a time.

    A connection goes on while `act` leaves it open and the client does.
    """

    def __init__(self, act: Act) -> None:
        self.heads: list[bytes] = []
        self.connections = 0
        self.over = threading.Event()
        self._act = act
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, name="peer")
        self.address = address_of(self._listener)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed
                return
            self.connections += 1
            with connection:
                try:
                    self._talk(connection)
                except OSError:  # the client has gone
                    continue

    def _talk(self, connection: socket.socket) -> None:
        while head := _request(connection):
            self.heads.append(head)
            self._act(self, connection)


def _request(connection: socket.socket) -> bytes:
    """Return a request's head, b"" when there is no more; its body is a-text."""
    received = b""
    while not received.endswith(b"a-text"):
        more = connection.recv(65536)
        if not more:
            return b""
        received += more
    return received


class Vendor(HttpProvider):
    """A vendor whose answer is its id."""

    def __init__(self, url: str, timeout_seconds: float = 20) -> None:
        super().__init__(timeout_seconds=timeout_seconds)
        self._url = url

    def build(self, template: Filled, receivers: Sequence[str], **_: object) -> Request:
        url = f"{self._url}/a-secret?to={receivers[0]}"
        return Request("POST", url, {"Authorization": "ours"}, template.text.encode())

    def read(self, reply: Reply, receivers: Sequence[str]) -> Sequence[Outcome]:
        return [Accepted(reply.text) for _ in receivers]


def send(vendor: Vendor) -> Sequence[Outcome]:
    template = Filled("captcha", None, {}, "a-text")
    return vendor.send(template, [NUMBER], message_id="m-1")


def failure(vendor: Vendor, kind: type[Exception]) -> str:
    """Send; return the words of the failure, which tell nothing of the request."""
    with pytest.raises(kind) as caught:
        send(vendor)
    vendor.close()
    shown = "".join(traceback.format_exception(caught.value))
    assert not [secret for secret in SECRETS if secret in shown]
    return str(caught.value)


def saying(*parts: bytes) -> Act:
    """Say these and close."""

    def act(peer: Peer, connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)
        connection.shutdown(socket.SHUT_RDWR)

    return act


def silence(peer: Peer, connection: socket.socket) -> None:
    peer.over.wait(20)


def reset(peer: Peer, connection: socket.socket) -> None:
    linger = (1).to_bytes(4, "little") + bytes(4)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    connection.close()


def dripping(head: bytes, drip: bytes) -> Act:
    """Say a body a byte at a time."""

    def act(peer: Peer, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n")
        for _ in range(DRIPS):
            connection.sendall(drip)
            peer.over.wait(DRIP_SECONDS)

    return act


def answering(peer: Peer, connection: socket.socket) -> None:
    connection.sendall(OK)


@contextmanager
def full_line() -> Iterator[str]:
    """Give the address of a server that takes no more connections."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield address_of(server)


def test_a_refused_connection_has_sent_nothing() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        vendor = Vendor(f"http://{address_of(unheard)}")
        assert failure(vendor, ProviderUnreachable)


def test_a_connection_that_nobody_takes_has_sent_nothing() -> None:
    with full_line() as address:
        vendor = Vendor(f"http://{address}", timeout_seconds=0.2)
        assert failure(vendor, ProviderUnreachable) == "ConnectTimeoutError"


def test_a_name_that_is_unknown_has_sent_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(*_: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert failure(Vendor("http://vendor.example"), ProviderUnreachable)


@pytest.mark.parametrize("url", ["http://", "http://a:b"])
def test_an_address_that_is_none_has_sent_nothing(url: str) -> None:
    assert failure(Vendor(url), ProviderUnreachable)


def test_a_port_without_tls_has_been_sent_nothing() -> None:
    def plain() -> None:
        with listener.accept()[0] as connection:
            received.append(connection.recv(65536))
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=plain)
        thread.start()
        vendor = Vendor(f"https://{address_of(listener)}")
        assert failure(vendor, ProviderUnreachable) == "SSLError"
        thread.join()
    assert b"a-secret" not in received[0]


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (silence, "ReadTimeout"),
        (reset, "ProtocolError"),
        (saying(), "ProtocolError"),
        (saying(b"SSH-2.0-OpenSSH_9.2\r\n"), "ProtocolError"),
        (saying(OK[:-1]), "ProtocolError"),
        (saying(b"HTTP/1.1 500 No\r\n\r\n"), "the answer is a 500"),
        (saying(b"HTTP/1.1 302 No\r\nLocation: /\r\n\r\n"), "the answer is a 302"),
        (saying(b"HTTP/1.1 304 No\r\n\r\n"), "the answer is a 304"),
        (saying(OK.replace(b"Con", b"Content-Encoding: gzip\r\nCon")), "DecodeError"),
        (saying(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * (ANSWER_BYTES + 1)), "too long"),
        (dripping(b"Content-Length: %d" % DRIPS, b"x"), "took too long"),
        (dripping(b"Transfer-Encoding: chunked", b"1\r\nx\r\n"), "took too long"),
    ],
    ids=[
        "silence",
        "reset",
        "close",
        "no HTTP",
        "cut body",
        "failure",
        "redirect",
        "not modified",
        "no gzip",
        "huge",
        "dripping",
        "dripping chunks",
    ],
)
def test_what_goes_wrong_with_the_answer_is_unknown_and_not_asked_again(
    act: Act, words: str
) -> None:
    seconds = 0.3 if act is silence or "dripping" in act.__qualname__ else 20
    with Peer(act) as peer:
        vendor = Vendor(f"http://{peer.address}", timeout_seconds=seconds)
        assert words in failure(vendor, OutcomeUnknown)
        assert peer.connections == len(peer.heads) == 1


def test_a_connection_serves_again_but_not_when_it_is_old(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Peer(answering) as peer:
        vendor = Vendor(f"http://{peer.address}")
        for _ in range(3):
            assert send(vendor) == [Accepted("ok")]
        assert (peer.connections, len(peer.heads)) == (1, 3)
        monkeypatch.setattr(http_provider, "IDLE_SECONDS", -1)
        # The peer has one at a time: it has to be closed for the next.
        assert send(vendor) == send(vendor) == [Accepted("ok")]
        assert peer.connections == 3
        vendor.close()
        vendor.close()


def test_a_connection_that_the_vendor_has_closed_is_not_used_again() -> None:
    closed = threading.Event()

    def act(peer: Peer, connection: socket.socket) -> None:
        connection.sendall(OK)
        connection.shutdown(socket.SHUT_RDWR)
        closed.set()

    with Peer(act) as peer:
        vendor = Vendor(f"http://{peer.address}")
        assert send(vendor) == [Accepted("ok")]
        assert closed.wait(20)
        assert send(vendor) == [Accepted("ok")]
        assert peer.connections == 2
        vendor.close()


def test_a_proxy_of_the_system_is_asked_for_the_whole_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Peer(answering) as peer:
        monkeypatch.setenv("http_proxy", f"http://{peer.address}")
        vendor = Vendor("http://vendor.example:81")
        assert send(vendor) == [Accepted("ok")]
        vendor.close()
    where = b"POST http://vendor.example:81/a-secret?to=+8613800000000 HTTP/1.1\r\n"
    assert peer.heads[0].startswith(where)
    assert b"\r\nHost: vendor.example:81\r\n" in peer.heads[0]


def test_a_netrc_does_not_sign_in_our_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with Peer(answering) as peer:
        vendor = Vendor(f"http://{peer.address}")
        assert send(vendor) == [Accepted("ok")]
        vendor.close()
        assert b"\r\nAuthorization: ours\r\n" in peer.heads[0]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000],
    ids=lambda body: repr(body[:9]),
)
def test_an_answer_that_is_no_object_is_unknown(body: bytes) -> None:
    with pytest.raises(OutcomeUnknown):
        _ = Reply(200, body).json
