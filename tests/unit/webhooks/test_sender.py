import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager, suppress

import pytest

from app.webhooks import sender as sender_module
from app.webhooks.sender import NoAnswer, Sender
from app.webhooks.target import Target
from tests.servers import free_port, wait_until

OK = b"HTTP/1.1 204 No Content\r\n\r\n"


class Receiver:
    """A server that answers each connection with some bytes, as they are to come."""

    def __init__(self, *parts, pause=0.0, context=None):
        self._parts, self._pause, self._context = parts, pause, context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.seen = []
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self):
        self._closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with client, suppress(OSError):
                    self._answer(client)

    def _answer(self, client):
        if self._context:
            with self._context.wrap_socket(client, server_side=True) as secure:
                self._answer_to(secure)
        else:
            self._answer_to(client)

    def _answer_to(self, client):
        got = b""
        while not got.endswith(b"{}"):
            part = client.recv(65536)
            if not part:
                return
            got += part
        self.seen.append(got)
        for part in self._parts:
            client.sendall(part)
            if self._closing.wait(self._pause):
                return
        client.shutdown(socket.SHUT_RDWR)


@contextmanager
def receiving(*parts, **options):
    receiver = Receiver(*parts, **options)
    try:
        yield receiver
    finally:
        receiver.close()


def target(receiver, path="/hook", *, scheme="http", addresses=("127.0.0.1",)):
    url = f"{scheme}://receiver.test:{receiver.port}{path}"
    return Target(url, "receiver.test", receiver.port, list(addresses))


def tell(to, **options):
    return tell_by(Sender(**options), to).status


def tell_by(sender, to):
    return sender.post(to, headers={"webhook-id": "msg_1"}, body=b"{}")


@pytest.mark.parametrize("status", [200, 204, 301, 302, 307, 410, 429, 500])
def test_the_status_is_what_comes_back_and_nothing_is_followed(status):
    answer = (
        f"HTTP/1.1 {status} Said\r\nLocation: http://127.0.0.1:1/\r\n"
        "Content-Length: 2\r\n\r\n{}"
    )
    with receiving(answer.encode()) as receiver:
        assert tell(target(receiver)) == status
        assert len(receiver.seen) == 1


def test_the_request_is_whole():
    with receiving(OK) as receiver:
        tell(target(receiver, "/hook/a?b=c"))
        head, _, body = receiver.seen[0].partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    assert first == "POST /hook/a?b=c HTTP/1.1"
    headers = dict(line.split(": ") for line in lines)
    assert headers["Host"] == f"receiver.test:{receiver.port}"
    assert headers["Content-Type"] == "application/json"
    assert headers["Content-Length"] == "2"
    assert headers["webhook-id"] == "msg_1"
    assert body == b"{}"


def test_an_address_where_nobody_listens_is_passed_over():
    with receiving(OK) as receiver:
        several = target(receiver, addresses=["127.0.0.2", "127.0.0.1"])
        assert tell(several) == 204


def test_nothing_is_sent_a_second_time_after_a_connection():
    with receiving(b"HTTP/1.1 2", pause=0) as receiver:
        with pytest.raises(NoAnswer):
            tell(target(receiver, addresses=["127.0.0.1", "127.0.0.1"]))
        assert len(receiver.seen) == 1


def test_nobody_there_is_no_answer():
    to = Target("http://receiver.test/", "receiver.test", free_port(), ["127.0.0.1"])
    with pytest.raises(NoAnswer, match="ConnectionRefusedError"):
        tell(to)


@pytest.mark.parametrize(
    "parts",
    [
        [b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 1000],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", *[b"x"] * 999],
    ],
    ids=["header by header", "byte by byte"],
)
def test_of_one_that_never_ends_its_answer_the_status_counts(parts):
    with receiving(*parts, pause=0.05) as receiver:
        assert tell(target(receiver), seconds=0.5) == 200


def test_one_that_says_nothing_is_left():
    with receiving(*[b""] * 1000, pause=0.05) as receiver, pytest.raises(NoAnswer):
        tell(target(receiver), seconds=0.5)


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\0" * 100_000]
)
def test_what_is_no_http_is_no_answer(answer):
    with receiving(answer) as receiver, pytest.raises(NoAnswer):
        tell(target(receiver))


def test_a_long_answer_is_not_read_to_its_end():
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"
    with receiving(head, b"x" * 1_000_000) as receiver:
        assert tell(target(receiver)) == 200


class TestTls:
    @pytest.fixture
    def certificate(self, tmp_path, monkeypatch):
        """Make a certificate for receiver.test that is trusted here."""
        cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
        make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes"]
        names = ["-subj", "/CN=x", "-addext", "subjectAltName=DNS:receiver.test"]
        files = ["-out", cert, "-keyout", key]
        subprocess.run([*make, *names, *files], check=True, stderr=subprocess.DEVNULL)
        monkeypatch.setenv("SSL_CERT_FILE", cert)
        sender_module._context.cache_clear()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(cert, key)
        yield context
        sender_module._context.cache_clear()

    def test_the_name_is_proved_although_an_address_is_connected_to(self, certificate):
        with receiving(OK, context=certificate) as receiver:
            assert tell(target(receiver, scheme="https")) == 204

    def test_another_name_is_not_told(self, certificate):
        with receiving(OK, context=certificate) as receiver:
            url = f"https://other.test:{receiver.port}/"
            to = Target(url, "other.test", receiver.port, ["127.0.0.1"])
            with pytest.raises(NoAnswer, match="SSLCertVerificationError"):
                tell(to)
            assert receiver.seen == []

    def test_a_handshake_that_does_not_end_is_left(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url, port = "https://receiver.test/", silent.getsockname()[1]
            to = Target(url, "receiver.test", port, ["127.0.0.1"])
            with pytest.raises(NoAnswer):
                tell(to, seconds=0.5)

    def test_a_handshake_is_cut_with_its_sender(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url, port = "https://receiver.test/", silent.getsockname()[1]
            to = Target(url, "receiver.test", port, ["127.0.0.1"])
            cut_while_it_tells(Sender(), to)

    def test_the_usual_port_is_not_in_the_name(self):
        to = Target("https://receiver.test/", "receiver.test", 443, ["127.0.0.1"])
        connection = sender_module._Connection(to, "127.0.0.1", seconds=1)
        sent = []
        connection.send = sent.append
        connection.request("POST", "/")
        assert b"\r\nHost: receiver.test\r\n" in b"".join(sent)


def cut_while_it_tells(sender, to):
    """Close a sender while it waits for an answer; it has to come back."""
    failures = []

    def work():
        try:
            tell_by(sender, to)
        except NoAnswer as error:
            failures.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    wait_until(lambda: any(c.sock for c in list(sender._open)))
    sender.close()
    thread.join(5)
    assert not thread.is_alive()
    assert len(failures) == 1


def test_what_is_going_on_is_cut_with_its_sender():
    with receiving(*[b""] * 1000, pause=0.05) as receiver:
        cut_while_it_tells(Sender(), target(receiver))


def test_a_closed_sender_asks_nobody():
    sender = Sender()
    sender.close()
    with receiving(OK) as receiver:
        with pytest.raises(NoAnswer):
            tell_by(sender, target(receiver))
        assert receiver.seen == []


def test_when_to_ask_again_is_told_as_it_was_said():
    head = b"HTTP/1.1 503 Busy\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n"
    with receiving(head) as receiver:
        assert tell_by(Sender(), target(receiver)).retry_after == "120"


def test_a_time_is_for_all_addresses_together():
    with pytest.raises(NoAnswer, match="TimeoutError"):
        tell(Target("http://r.test/", "r.test", 80, ["127.0.0.1"] * 9), seconds=0)
