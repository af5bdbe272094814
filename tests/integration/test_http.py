"""What the server in front of the application has a part in, on each kind of it."""

import json
import os
import re
import signal
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.api.checks import problem
from tests.servers import GUNICORN, RUN, Server, alive_with, running, wait_until

LIMIT = 10_000
SECONDS = 20
SERVERS = {
    "gunicorn": (GUNICORN, ["-w", "2"]),
    "gunicorn with gevent": (GUNICORN, ["-w", "2", "-k", "gevent"]),
    "run.py": (RUN, []),
    "run.py with gevent": (RUN, ["--gevent"]),
}
ID = re.compile(rb"X-Request-ID: ([A-Za-z0-9._-]+)\r\n")


@pytest.fixture(scope="module", params=SERVERS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    command, arguments = SERVERS[request.param]
    folder = tmp_path_factory.mktemp("server")
    limit = {"MAX_CONTENT_LENGTH": str(LIMIT)}
    with running(folder, *arguments, command=command, **limit) as started:
        yield started


def send(server: Server, data: bytes, *, no_more: bool = False) -> bytes:
    """Send bytes as they are on one connection; return all that comes back.

    A server may refuse without reading on: what it has answered before it resets the
    connection can be read all the same.
    """
    host, port = server.url.removeprefix("http://").split(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=SECONDS) as connection:
        with suppress(OSError):
            connection.sendall(data)
            if no_more:
                connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            while part := connection.recv(65536):
                received += part
    return received


def head(first: str, *headers: str) -> bytes:
    lines = [f"{first} HTTP/1.1", "Host: localhost", *headers, "", ""]
    return "\r\n".join(lines).encode()


def post_head(*headers: str) -> bytes:
    return head("POST /api/bob/1", "Content-Type: application/json", *headers)


def in_chunks(body: bytes, size: int = 1000) -> bytes:
    """Return `body` chunked, with its last chunk."""
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    chunks = [b"%x\r\n%b\r\n" % (len(part), part) for part in parts]
    return b"".join([*chunks, b"0\r\n\r\n"])


def status_of(received: bytes) -> int:
    return int(received.split(b" ", 2)[1])


def padded(size: int) -> bytes:
    body = b'{"a": 1}'
    return body + b" " * (size - len(body))


BODIES = {
    "one less than the limit": (padded(LIMIT - 1), 200),
    "the limit": (padded(LIMIT), 200),
    "one more than the limit": (padded(LIMIT + 1), 413),
    "JSON, padding to the limit, garbage": (padded(LIMIT) + b"garbage", 413),
    "JSON, padding, a second JSON": (padded(LIMIT) + b'{"b": 2}', 413),
    "far more than the limit": (padded(50 * LIMIT), 413),
    "malformed": (b"{" * 100, 400),
    "empty": (b"", 400),
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("way", ["whole", "chunked", "in one chunk"])
def test_the_limit_of_a_body_holds(server: Server, name: str, way: str) -> None:
    body, status = BODIES[name]
    if way == "whole":
        length = f"Content-Length: {len(body)}"
        sent = post_head(length, "Connection: close") + body
    else:
        size = 1000 if way == "chunked" else max(1, len(body))
        chunked = post_head("Transfer-Encoding: chunked", "Connection: close")
        sent = chunked + in_chunks(body, size)
    # Werkzeug's server reads what it has refused until nothing more can come.
    received = send(server, sent, no_more=True)
    assert status_of(received) == status, received
    answered = json.loads(received.partition(b"\r\n\r\n")[2])
    if status == 200:
        assert answered["content"] == {"a": 1}
    else:
        assert answered["status"] == status
        assert b"application/problem+json" in received
    assert server.get("/api/health").ok


def test_the_limit_of_a_body_holds_for_clients_as_they_are(server: Server) -> None:
    """With requests, which sends all before it reads."""
    kind = {"Content-Type": "application/json"}
    fine = server.post("/api/bob/1", data=iter([b'{"a"', b": 1}"]), headers=kind)
    assert fine.json()["content"] == {"a": 1}
    over = server.post("/api/bob/1", data=padded(LIMIT + 1), headers=kind)
    problem(over, 413)
    parts = iter([padded(LIMIT), b"garbage"])
    problem(server.post("/api/bob/1", data=parts, headers=kind), 413)


CHUNKED = "Transfer-Encoding: chunked"
BROKEN = {
    "a size that is no number": (CHUNKED, b"zz\r\n{}\r\n0\r\n\r\n"),
    "a negative size": (CHUNKED, b"-2\r\n{}\r\n0\r\n\r\n"),
    "no size": (CHUNKED, b"\r\n{}\r\n0\r\n\r\n"),
    "a chunk longer than its size": (CHUNKED, b"2\r\n{}XX\r\n0\r\n\r\n"),
    "no end of a chunk": (CHUNKED, b"2\r\n{}0\r\n\r\n"),
    "a faulty trailer": (CHUNKED, b"2\r\n{}\r\n0\r\nno trailer\r\n\r\n"),
}
SHORT = {
    "a chunk shorter than its size": (CHUNKED, b"ff\r\n{}\r\n"),
    "no last chunk": (CHUNKED, b"2\r\n{}\r\n"),
    "no chunk": (CHUNKED, b""),
    "less than its length": ("Content-Length: 10", b"{}"),
    "nothing of its length": ("Content-Length: 10", b""),
}


@pytest.mark.parametrize("name", [*BROKEN, *SHORT])
def test_a_broken_body_is_never_parsed(server: Server, name: str) -> None:
    header, body = (BROKEN | SHORT)[name]
    # What follows a faulty chunk is no request: it gets no answer of its own.
    after = b"" if name in SHORT else head("GET /api/health", "Connection: close")
    received = send(server, post_head(header) + body + after, no_more=name in SHORT)
    assert b'"content"' not in received
    assert received.count(b"HTTP/1.1 ") == 1, "one answer"
    assert status_of(received) == 400
    assert b'"message": "ok"' not in received
    assert server.get("/api/health").ok


@pytest.mark.parametrize("value", ["abc", "-1", "1.5", "0x2"])
def test_a_faulty_length_is_never_parsed(server: Server, value: str) -> None:
    received = send(server, post_head(f"Content-Length: {value}") + b"{}", no_more=True)
    assert b'"content"' not in received
    assert received == b"" or status_of(received) == 400
    assert server.get("/api/health").ok


def test_a_head_has_no_body_and_the_next_answer_is_in_step(server: Server) -> None:
    paths = ("/v1/uptime/", "/api/poll/bob", "/v1/iostat/?count=31", "/nothing")
    asked = [head(f"HEAD {path}") for path in paths]
    last = head("GET /api/health", "Connection: close")
    if b"Connection: close" in send(server, asked[0], no_more=True):
        # Werkzeug's own server answers one request a connection.
        received = [send(server, one) for one in (*asked, last)]
    else:
        received = [send(server, b"".join([*asked, last]))]
    answers = re.split(rb"(?=HTTP/1\.1 \d)", b"".join(received))[1:]
    assert [status_of(answer) for answer in answers] == [200, 200, 200, 404, 200]
    bodies = [answer.partition(b"\r\n\r\n")[2] for answer in answers]
    assert bodies == [b"", b"", b"", b"", b'{"message": "ok"}\n']


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/v1", "/v1/"),
        ("/v1/uptime?a=1", "/v1/uptime/?a=1"),
        ("//evil.example/..", None),
        ("//evil.example/%2e%2e/v1", None),
        ("//evil.example//v1", None),
        ("//v1", "/"),
        ("//v1/uptime", "/"),
        ("/%2f/evil.example/v1", None),
        ("/\\evil.example/v1", None),
        ("//api//evil.example//x", "/"),
    ],
)
@pytest.mark.parametrize("host", ["localhost", "evil.example"])
def test_no_redirect_leaves_the_site(
    server: Server, target: str, location: str | None, host: str
) -> None:
    lines = [f"GET {target} HTTP/1.1", f"Host: {host}", "Connection: close", "", ""]
    received = send(server, "\r\n".join(lines).encode())
    found = re.search(rb"\r\nLocation: ([^\r]*)\r\n", received)
    if location is None or found is None:
        assert status_of(received) in (200, 400, 404)
        assert found is None
        assert location in (None, "/")
        return
    assert status_of(received) == 308
    told = found[1].decode()
    assert re.match(r"/(?![/\\])", told)
    if location != "/":
        assert told == location


def test_every_request_has_one_line_and_its_id(server: Server) -> None:
    asked = {
        ("GET", "/"): 200,
        ("HEAD", "/api/health"): 200,
        ("OPTIONS", "/v1/uptime/"): 200,
        ("GET", "/v1"): 308,
        ("GET", "/nothing"): 404,
        ("POST", "/"): 405,
        ("PUT", "/api/health"): 405,
    }
    for (method, path), status in asked.items():
        mine = f"id-{uuid.uuid4()}"
        close = "Connection: close"
        extra = [close] if method != "POST" else [close, "Content-Length: 0"]
        received = send(
            server, head(f"{method} {path}", f"X-Request-ID: {mine}", *extra)
        )
        assert ID.search(received)[1].decode() == mine
        [line] = wait_until(lambda mine=mine: _lines_with(server, mine))
        assert line["event"] == "request.answered"
        assert line["level"] == "info"
        assert (line["method"], line["path"]) == (method, path)
        assert line["status"] == status == status_of(received)


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a/b", "{}", "a\x80b"])
def test_an_id_that_does_not_fit_is_replaced(server: Server, given: str) -> None:
    asked = head("GET /", f"X-Request-ID: {given}", "Connection: close")
    received = send(server, asked.decode().encode("latin-1"))
    assert status_of(received) in (200, 400)
    if status_of(received) == 200:
        made = ID.search(received)[1].decode()
        assert str(uuid.UUID(made)) == made


def test_a_run_carries_the_id_of_its_request(server: Server) -> None:
    mine = f"id-{uuid.uuid4()}"
    body, headers = {"cmd": "echo $BELLHOP_REQUEST_ID"}, {"X-Request-ID": mine}
    caller = f"caller-{uuid.uuid4()}"
    started = server.post(f"/api/exec/{caller}", json=body, headers=headers)
    assert started.status_code == 202
    [*_, last] = polls = server.poll_until_finished(caller)
    assert "".join(poll["output"] for poll in polls) == mine
    assert last["returncode"] == 0
    events = [line["event"] for line in _lines_with(server, mine)]
    assert sorted(events) == ["process.ended", "process.started", "request.answered"]


def test_what_a_client_sends_forges_no_line(server: Server) -> None:
    forged = b'\n{"event": "forged", "level": "info"}\n'
    quoted = "%0a%7b%22event%22%3a%22forged%22%7d%0d%0a%1b%5b31m%e2%80%a8%c2%85"
    for sent in (
        head(f"GET /{quoted}?{quoted}=1", "Connection: close"),
        head(f"GET /api/bob/{quoted}", "Connection: close"),
        head(f"POST /api/exec/{quoted}", "Connection: close"),
        head(
            "GET /", f"User-Agent: {quoted}", f"X-Request-ID: {quoted}", "A: \x1b[31m"
        ),
        b"GET /" + forged + b" HTTP/1.1\r\n\r\n",
        b"GET /\x0b\x1b[31m HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"\x1b[31m\x00" + forged + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: a" + forged + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nno header\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        post_head("Content-Length: abc") + b"{}",
        post_head(CHUNKED) + b"zz\r\n" + forged,
    ):
        send(server, sent, no_more=True)
    mark = f"id-{uuid.uuid4()}"
    server.get("/", headers={"X-Request-ID": mark})
    wait_until(lambda: _lines_with(server, mark))
    text = server.log_path.read_text()
    assert text.isascii()
    assert "\x1b" not in text
    for line in text.splitlines():
        if not line.startswith(" * "):
            assert json.loads(line)["event"] != "forged", "JSON, and ours"


def test_a_line_of_the_server_has_no_others_id(server: Server) -> None:
    mine = f"id-{uuid.uuid4()}"
    ask = head("GET /", f"X-Request-ID: {mine}", "Connection: close")
    for _ in range(20):  # more than there are threads that serve
        send(server, ask)
        send(server, b"GET / HTTP/9.9\r\n\r\n", no_more=True)
    wait_until(lambda: len(_lines_with(server, mine)) >= 20)
    events = {line["event"] for line in _lines_with(server, mine)}
    assert events == {"request.answered"}


def test_a_signature_never_reaches_the_log(server: Server) -> None:
    signature = uuid.uuid4().hex * 2
    for path in ("exec", "poll", "bob"):
        for shown in ("", "%0a", "/x"):
            target = f"/api/{path}/bob.1700000000.{signature}{shown}"
            server.get(target)
            server.post(target, json={"cmd": "true"})
    mark = f"id-{uuid.uuid4()}"
    server.get("/", headers={"X-Request-ID": mark})
    wait_until(lambda: _lines_with(server, mark))
    text = server.log_path.read_text()
    assert '"path": "/api/poll/bob"' in text
    assert signature not in text


@pytest.mark.parametrize("env", ["development", "production"])
def test_a_fault_of_the_host_shows_no_trace_on_a_real_server(
    tmp_path: Path, env: str
) -> None:
    settings = {"FLASK_ENV": env, "ADMIN_PASSWORD": "a password"}
    with running(tmp_path, "-w", "1", RESPONSE_UUID="1", **settings) as started:
        for path, status in (("/nothing", 404), ("/v1/uptime/?a=1", 400)):
            found = problem(started.get(path), status)
            assert found["uuid"] == found["request_id"]
        problem(started.post("/"), 405)
        asked = started.exec("bob", "true")
        if env == "production":
            problem(asked, 401)
        else:
            assert asked.status_code == 202


def test_a_folder_that_goes_away_is_noticed_and_its_return_too(tmp_path: Path) -> None:
    instance, away, mark = (tmp_path / name for name in ("instance", "away", "mark"))
    with running(tmp_path, "-w", "2") as started:
        wait_until(lambda: _who_serves(started) == {*started.workers()[1:]})
        # Both workers have the database open.
        for _ in range(20):
            assert started.get("/api/health/ready").ok
            assert started.poll("bob") == {"mode": "poll", "status": "finished"}
        for _ in range(2):
            instance.rename(away)
            for _ in range(6):
                checks = problem(started.get("/api/health/ready"), 503)["checks"]
                assert checks == {"database": "failed", "output": "failed", "sms": "ok"}
                problem(started.exec("bob", f"touch {mark}"), 503)
                problem(started.get("/api/poll/bob"), 503)
                assert started.get("/api/health").ok
            assert not instance.exists(), "it is not made anew, and empty"
            away.rename(instance)
            wait_until(lambda: started.get("/api/health/ready").ok, seconds=6)
            assert all(started.get("/api/health/ready").ok for _ in range(6))
            assert started.exec("bob", "echo back").status_code == 202
            assert started.poll_until_finished("bob")[-1]["returncode"] == 0
        assert not mark.exists(), "nothing of what was refused was started"


def _who_serves(started: Server) -> set[int]:
    """Return the workers that answer: one that is late would make the folder anew."""
    callers = [str(uuid.uuid4()) for _ in range(8)]
    for caller in callers:
        started.exec(caller, "echo $PPID")
    return {
        int(started.poll_until_finished(caller)[-1]["output"] or 0)
        for caller in callers
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("arguments", [[], ["--gevent"]])
def test_run_py_ends_with_all_it_runs_whatever_it_is_at(
    tmp_path: Path, arguments: list[str], number: signal.Signals
) -> None:
    mark = f"mark-{uuid.uuid4()}"
    with running(tmp_path, *arguments, command=RUN, EXEC_GRACE_SECONDS="1") as started:
        for caller in ("a", "b", "c"):
            flood = f"while :; do echo {mark}; done"
            assert started.exec(caller, flood).status_code == 202
        wait_until(lambda: started.poll("a").get("output"))
        started.process.send_signal(number)
        assert started.process.wait(SECONDS) == 0
        assert not alive_with(mark)
        events = [line["event"] for line in started.log_lines()]
        assert events.count("process.ended") == 3
        assert not {"thread.failed", "services.not_closed"} & set(events)


@contextmanager
def small_disk(path: Path, *, megabytes: int) -> Iterator[Path]:
    """Mount a disk of that size; skip the test where that is not allowed."""
    path.mkdir()
    options = f"size={megabytes}m,mode=0700"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
        pytest.skip("needs to be allowed to mount a tmpfs")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_full_disk_is_told_and_what_runs_keeps_its_output(tmp_path: Path) -> None:
    gate, mark = tmp_path / "gate", tmp_path / "mark"
    lines = 20_000
    with small_disk(tmp_path / "instance", megabytes=12) as disk:
        filler = disk / "filler"
        with running(tmp_path, "-w", "2") as started:
            waiting = f"while [ ! -e {gate} ]; do sleep 0.05; done"
            accepted = started.exec("early", f"{waiting}; seq {lines}; exit 3")
            assert accepted.status_code == 202
            assert started.get("/api/health/ready").ok

            _fill(filler)
            problem(started.get("/api/health/ready"), 503)
            for number in range(4):
                problem(started.exec(f"late-{number}", f"touch {mark}"), 503)
            assert started.get("/api/health").ok
            gate.touch()
            wait_until(lambda: _ended(started, accepted.json()["task_id"]))
            assert not mark.exists()

            filler.unlink()
            polls = started.poll_until_finished("early")
            assert polls[-1]["returncode"] == 3
            given = [poll["output"] for poll in polls if poll["output"]]
            assert given[-1].endswith(f"\n{lines - 1}\n{lines}")
            written = len("".join(f"{number}\n" for number in range(1, lines + 1)))
            assert polls[-1]["next_offset"] == written
            wait_until(lambda: started.get("/api/health/ready").ok, seconds=6)
            assert started.exec("late-0", f"echo x; touch {mark}").status_code == 202
            assert started.poll_until_finished("late-0")[-1]["returncode"] == 0
            assert mark.exists()


def _fill(path: Path) -> None:
    """Write until the disk takes not another byte."""
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue


def _ended(server: Server, task_id: str) -> bool:
    lines = server.log_lines()
    ended = [line for line in lines if line["event"] == "process.ended"]
    return any(line["task_id"] == task_id for line in ended)


def _lines_with(server: Server, request_id: str) -> list[dict]:
    """Return the log's lines of a request; the newest may be half-written yet."""
    text = server.log_path.read_text().splitlines()
    whole = [line for line in text if request_id in line and line.endswith("}")]
    lines = [json.loads(line) for line in whole]
    return [line for line in lines if line.get("request_id") == request_id]
