"""Clients that are slow, or that stop, keep nobody else from being answered."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import requests

from bench.servers import bare
from tests.servers import Server, running, wait_until

HALVES = {
    "nothing": b"",
    "half a head": b"GET /api/health HTTP/1.1\r\nHost: x\r\nX-A: ",
    "half a body": (
        b"POST /api/exec/bob HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: 100\r\n\r\n{"
    ),
    "a chunk of some": (
        b"POST /api/exec/bob HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"
    ),
}


OPTIONS = ("-w", "2", "--threads", "2")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with running(folder, *OPTIONS, FLASK_ENV="development") as started:
        yield started


def connected(server: Server) -> socket.socket:
    host, _, port = server.url.partition("//")[2].partition(":")
    made = socket.create_connection((host, int(port)), timeout=30)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def answer(client: socket.socket) -> bytes:
    """Read an answer whose connection is then closed, or that has come whole."""
    got = b""
    while b"\r\n\r\n" not in got or not got.endswith(b"}\n"):
        part = client.recv(65536)
        if not part:
            break
        got += part
    return got


@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES)
def test_many_with_half_a_request_take_no_thread(server: Server, half: bytes) -> None:
    with ExitStack() as opened:
        clients = [opened.enter_context(connected(server)) for _ in range(40)]
        for client in clients:
            client.sendall(half)
        for _ in range(10):
            assert server.get("/api/health").status_code == 200


def test_a_request_that_comes_byte_by_byte_is_answered(server: Server) -> None:
    body = b'{"cmd": "echo slowly"}'
    request = (
        b"POST /api/exec/bob HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    )
    with connected(server) as client:
        for n in range(len(request)):
            client.sendall(request[n : n + 1])
        assert answer(client).startswith(b"HTTP/1.1 202 ")
        # The next one on the same connection as well.
        for part in (b"GET /api/hea", b"lth HTTP/1.1\r\nHost: x\r\n", b"\r\n"):
            client.sendall(part)
            time.sleep(0.01)  # or they might arrive as one
        assert answer(client).startswith(b"HTTP/1.1 200 ")


def test_two_requests_that_come_at_once_are_both_answered(server: Server) -> None:
    with connected(server) as client:
        client.sendall(b"GET /api/health HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
        got = answer(client)
        while got.count(b"HTTP/1.1 200 ") < 2:
            got += answer(client)


def test_who_hangs_up_in_the_middle_is_forgotten(server: Server) -> None:
    for half in HALVES.values():
        with connected(server) as client:
            client.sendall(half)
    with connected(server) as client:
        client.sendall(HALVES["half a head"])
        client.shutdown(socket.SHUT_WR)
        assert answer(client) == b""
    assert server.get("/api/health").status_code == 200


def test_a_large_body_arrives_although_it_is_not_waited_for(server: Server) -> None:
    large = {"any": "x" * 500_000}
    answered = server.post("/api/anna/42", json=large)
    assert answered.json()["content"] == large


def test_a_body_whose_sender_asks_first_is_asked_for(server: Server) -> None:
    head = (
        b"POST /api/anna/42 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    )
    with connected(server) as client:
        client.sendall(head)
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")
        client.sendall(b"{}")
        assert answer(client).startswith(b"HTTP/1.1 200 ")


def test_a_body_that_is_too_large_is_refused_before_it_comes(server: Server) -> None:
    head = (
        b"POST /api/anna/42 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: 99999999\r\n\r\n"
    )
    with connected(server) as client:
        client.sendall(head)
        assert answer(client).startswith(b"HTTP/1.1 413 ")


def test_an_application_without_a_limit_waits_for_any_body(tmp_path: Path) -> None:
    with bare(tmp_path, workers="1") as other, connected(other) as client:
        client.sendall(b"POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{")
        time.sleep(0.05)  # or its body might arrive at once
        client.sendall(b"}")
        assert answer(client).startswith(b"HTTP/1.1 200 ")


def test_what_is_no_http_is_refused_at_once(server: Server) -> None:
    with connected(server) as client:
        client.sendall(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
        assert b" 400 " in client.recv(1000).partition(b"\r\n")[0]


def test_connections_that_ask_nothing_do_not_hold_up_its_end(tmp_path: Path) -> None:
    with running(tmp_path, *OPTIONS) as server, ExitStack() as opened:
        for half in (HALVES["nothing"], HALVES["half a head"]):
            opened.enter_context(connected(server)).sendall(half)
        wait_until(lambda: server.get("/api/health").status_code == 200)
        assert server.stop() == 0


def test_its_health_is_told_while_every_thread_is_taken(tmp_path: Path) -> None:
    options = ("-w", "1", "--threads", "2")
    # More than is waited for without a thread, and not all of it.
    half = (
        b"POST /api/exec/bob HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: 500000\r\n\r\n" + b" " * 100_000
    )
    with running(tmp_path, *options) as server, ExitStack() as opened:
        for _ in range(2):
            opened.enter_context(connected(server)).sendall(half)
        with pytest.raises(requests.Timeout):
            requests.get(f"{server.url}/api/health/ready", timeout=1)
        health = requests.get(f"{server.url}/api/health", timeout=5)
        assert health.status_code == 200


def test_who_takes_no_answers_does_not_hold_up_others(server: Server) -> None:
    request = b"GET /api/health HTTP/1.1\r\nHost: x\r\n\r\n"
    with ExitStack() as opened:
        for _ in range(4):
            client = opened.enter_context(connected(server))
            client.setblocking(False)
            with suppress(BlockingIOError):
                for _ in range(20_000):
                    client.sendall(request)
        for _ in range(10):
            health = requests.get(f"{server.url}/api/health", timeout=5)
            assert health.status_code == 200
