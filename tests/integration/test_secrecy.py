"""What is secret is in no line of the log, no answer, no file and no command."""

import base64
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
import requests

from tests.callers import signature
from tests.postgres import Postgres
from tests.racing import run_python
from tests.servers import GUNICORN, RUN, Server, running, wait_until

SECRET_KEY = "canary/secret key+1"
ADMIN = ("admin", "canary: admin's päss&word")
DATABASE_PASSWORD = "canary-database"
GUESS = "canary/guess %41"
NOT_A_TOKEN = "bellhop_canary-NoTokenOfOurs0123456789abcdefghijklm"
SECONDS = 20

CATALOGUE = """
[commands.look]
argv = ["/bin/sh", "-c", '''
tr '\\0' '\\n' < /proc/$$/environ
tr '\\0' '\\n' < /proc/$$/cmdline
ls -l /proc/$$/fd
env
''']

[commands.read]
argv = ["cat", "/proc/{pid}/environ"]
params.pid.type = "integer"

[commands.echo]
argv = ["/bin/echo", "{text}"]
params.text.type = "string"
"""


class Canaries:
    """Secrets, and all that a running server has answered."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.secrets = [SECRET_KEY, ADMIN[1], DATABASE_PASSWORD, GUESS, NOT_A_TOKEN]
        self.answers: list[bytes] = []

    def ask(self, method: str, path: str, **options: object) -> requests.Response:
        """Ask, and keep what is answered."""
        url = self.server.url + path
        answer = requests.request(method, url, timeout=60, **options)
        headers = "\n".join(f"{k}: {v}" for k, v in answer.headers.items())
        self.answers.append(f"{method} {headers}\n".encode() + answer.content)
        return answer

    def send(self, *lines: str, body: str = "") -> None:
        """Send lines as they are; what is answered may quote them to the sender."""
        data = "\r\n".join([*lines, "", body]).encode("latin-1", "replace")
        port = int(self.server.url.rpartition(":")[2])
        to = ("127.0.0.1", port)
        with socket.create_connection(to, SECONDS) as sent, suppress(OSError):
            sent.sendall(data)
            sent.shutdown(socket.SHUT_WR)
            while sent.recv(65536):
                pass

    def forms(self) -> set[bytes]:
        """Return how each secret would look, wherever it were."""
        found = set()
        for secret in self.secrets:
            text = json.dumps(secret)[1:-1]
            unicode_text = json.dumps(secret, ensure_ascii=False)[1:-1]
            for form in (secret, quote(secret), quote(secret, safe=""), text):
                found.add(form.encode())
            found.add(unicode_text.encode())
            for name in ("admin", "bob", "nobody"):
                pair = f"{name}:{secret}".encode()
                found.add(base64.b64encode(pair).rstrip(b"="))
        return found

    def found_in(self, data: bytes) -> list[bytes]:
        """Return the secrets that are in there, each as it is found."""
        return sorted(form for form in self.forms() if form in data)


def header(name: str, password: str) -> str:
    pair = f"{name}:{password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


@pytest.fixture
def database(postgres: Postgres) -> Iterator[str]:
    """Return the URL of a database whose password is a canary, too."""
    with postgres.new_database() as url:
        yield url.replace("//postgres@", f"//postgres:{DATABASE_PASSWORD}@")


@contextmanager
def canary_server(
    folder: Path, *arguments: str, command: tuple[str, ...] = GUNICORN, **env: str
) -> Iterator[Server]:
    catalogue = folder / "commands.toml"
    catalogue.write_text(CATALOGUE)
    settings = {
        "FLASK_ENV": "production",
        "LOG_LEVEL": "DEBUG",
        "SECRET_KEY": SECRET_KEY,
        "ADMIN_PASSWORD": ADMIN[1],
        "EXEC_COMMANDS": str(catalogue),
    }
    with running(folder, *arguments, command=command, **(settings | env)) as server:
        yield server


def basic(pair: tuple[str, str]) -> dict[str, str]:
    return {"Authorization": header(*pair)}


def test_no_secret_leaves_gunicorn(database: str, tmp_path: Path) -> None:
    started = canary_server(tmp_path, "-w", "2", DATABASE_URL=database)
    hold_secrets(started, tmp_path, database)


def test_no_secret_leaves_run_py(tmp_path: Path) -> None:
    hold_secrets(canary_server(tmp_path, command=RUN), tmp_path)


def hold_secrets(
    started: AbstractContextManager[Server], folder: Path, database: str = ""
) -> None:
    with started as server:
        found = Canaries(server)
        bob = ("bob", "canary password of böb")
        found.secrets.append(bob[1])
        user = {"username": "bob", "password": bob[1], "fullname": "Bob"}
        found.ask("POST", "/v3/users/", json=user, headers=basic(ADMIN))
        made = server.post("/v3/users/bob/tokens", json={}, headers=basic(bob))
        token = made.json()["token"]
        made = server.post("/v3/users/bob/signing-key", headers=basic(bob))
        key = made.json()["signing_key"]
        del made
        good = f"bob.{int(time.time())}"
        signed = signature(key, good)
        forged = signature("canary", good)
        found.secrets += [token, token.removeprefix("bellhop_"), key, signed, forged]

        use_well(found, basic(bob), {"Authorization": f"Bearer {token}"}, bob[1])
        use_signed(found, good, signed, forged)
        use_badly(found, basic(bob), token, bob[1])
        send_oddly(found, header(*bob), token, f"{good}.{signed}")

        audit = found.ask("GET", "/v3/audit/?limit=1000", headers=basic(ADMIN))
        assert len(audit.json()["audit"]) > 20
        del audit
        kept = everything_kept(folder / "instance", database)
        told = [answer for answer in found.answers if found.found_in(answer)]
        assert told == []
        assert len(found.answers) > 100
        assert found.found_in(kept) == []
    log = server.log_path.read_bytes()
    lines = [line for line in log.splitlines() if found.found_in(line)]
    assert lines == []
    assert log.count(b"request.answered") > 100
    assert b'"path": "/api/exec/bob"' in log, "the caller is shown"
    assert found.found_in(everything_kept(folder / "instance")) == []


def use_well(
    found: Canaries, password: dict[str, str], token: dict[str, str], secret: str
) -> None:
    for auth in (password, token, basic(ADMIN)):
        for path in ("/v3/users/", "/v3/users/bob", "/v3/task/", "/v3/commands/"):
            for method in ("GET", "HEAD", "OPTIONS"):
                found.ask(method, path, headers=auth)
        found.ask("GET", "/v3/users/bob/tokens", headers=auth)
        found.ask("GET", "/v1/user", headers=auth)
        looked = {"command": "look", "wait_seconds": 20}
        ran = found.ask("POST", "/v3/exec/", json=looked, headers=auth)
        output = ran.json()["result"]["output"]
        assert "BELLHOP_REQUEST_ID" in output
        # Of the service, and of whoever runs it.
        assert "SECRET" not in output
        assert "PASSWORD" not in output
        assert "DATABASE" not in output
        assert re.findall(r" ([0-9]+) -> ", output) == ["0", "1", "2"], "descriptors"
    change = {"password": secret, "fullname": "Bob"}
    for method in ("PATCH", "PUT"):
        found.ask(method, "/v3/users/bob", json=change, headers=basic(ADMIN))


def use_signed(found: Canaries, text: str, good: str, forged: str) -> None:
    echo = {"cmd": "echo text=hello"}
    # Its answer has a link to poll by, for the caller who has signed it.
    accepted = found.server.post(f"/api/exec/{text}.{good}", json=echo)
    assert accepted.status_code == 202
    for signature_of in (good, forged, good.upper(), good[:-1], f"{good}0"):
        uuid = f"{text}.{signature_of}"
        for method in ("GET", "HEAD", "POST"):
            found.ask(method, f"/api/poll/{uuid}")
        for body in (echo, {"cmd": good}, {good: 1}):
            found.ask("POST", f"/api/exec/{uuid}", json=body)
        found.ask("POST", f"/api/exec/{uuid}", data="{")
        for method in ("GET", "DELETE", "PUT"):
            found.ask(method, f"/api/exec/{uuid}")
            found.ask(method, f"/api/exec/{uuid}/")
            found.ask(method, f"/api/nothing/here/{uuid}")
            found.ask(method, f"/api/exec/{uuid}?uuid={uuid}")
        found.ask("GET", f"/v2/task/{uuid}")
        found.ask("GET", f"/api/poll/{uuid.replace('.', '%2E')}")
        found.ask("GET", f"/api/poll/{text.partition('.')[0]}.{signature_of}")
        found.ask("GET", f"/api/poll/{signature_of}")
        found.ask("GET", f"/v3/task/{uuid}", headers=basic(ADMIN))
    # By hand: the answer of the echo is what was sent.
    found.server.get(f"/api/{text}.{good}/1")
    found.server.get(f"/api/bob/{text}.{good}")


def use_badly(found: Canaries, auth: dict[str, str], token: str, secret: str) -> None:
    guesses = [basic((name, GUESS)) for name in ("bob", "nobody", "admin")]
    wrong = [
        {"Authorization": text}
        for text in (
            f"Bearer {NOT_A_TOKEN}",
            f"bearer  {token} {token}",
            f"Basic {token}",
            f"Bearer {header('bob', secret)}",
            f"Basic {secret.encode().hex()}",
            f"Digest username=bob, response={token}",
            token,
            f"Basic bob:{NOT_A_TOKEN}",
        )
    ]
    paths = ["/v3/users/", "/v3/nothing", "/nothing", "/v3/exec/", "/v1/user"]
    for headers in (*guesses, *wrong):
        for path in paths:
            found.ask("GET", path, headers=headers)
        found.ask("POST", "/v3/exec/", json={"cmd": secret}, headers=headers)
    bodies = [
        {"data": f'{{"username": "eve", "password": "{secret}"'.encode()},
        {"data": f'{{"password": "{secret}", "password": "{secret}"}}'.encode()},
        {"data": f"{secret}".encode()},
        {"data": b"\xff\xfe" + secret.encode()},
        {"json": {"username": "eve", "password": secret}},
        {"json": {"username": 3, "password": secret, "fullname": []}},
        {"json": {"username": "bob", "password": [secret], "fullname": "Bob"}},
        {"json": {"username": "bob", "password": {"is": secret}, "fullname": "B"}},
        {"json": {"username": "bob", "password": secret, "fullname": "Bob"}},
        {"json": {"username": "bob", "password": secret * 60, "fullname": "Bob"}},
        {"json": {"username": "bob", "password": f"{secret}\ud800", "fullname": "B"}},
        {"json": [secret]},
    ]
    kind = {"Content-Type": "application/json"}
    for body in bodies:
        for headers in (basic(ADMIN), auth):
            for method, path in (
                ("POST", "/v3/users/"),
                ("PUT", "/v3/users/bob"),
                ("PATCH", "/v3/users/eve"),
                ("POST", "/v3/users/bob/signing-key?x=1"),
                ("DELETE", "/v3/nothing"),
                ("DELETE", "/v3/users/"),
            ):
                if body.get("json", {}) == bodies[8]["json"] and method == "PUT":
                    continue  # which is a good one
                found.ask(method, path, headers=headers | kind, **body)


def send_oddly(found: Canaries, password: str, token: str, uuid: str) -> None:
    """Send what no server takes for a request, and may quote in its log."""
    for secret in (password, f"Bearer {token}"):
        line = f"Authorization: {secret}"
        host = "Host: localhost"
        found.send("GET /v3/users/ HTTP/1.1", host, line.replace(":", "", 1), "")
        found.send("GET /v3/users/ HTTP/1.1", host, f"{line}\x01", "")
        found.send("GET /v3/users/ HTTP/1.1", host, f"{line}\0", "")
        found.send("GET /v3/users/ HTTP/1.1", host, f" {line}", "")
        found.send("GET /v3/users/ HTTP/1.1", host, line.replace(": ", ":\r\n ", 1), "")
        found.send("GET /v3/users/ HTTP/1.1", host, line.replace(":", " :", 1), "")
        found.send("GET /v3/users/ HTTP/1.1", host, f"{secret}: x", "")
        found.send("GET /v3/users/ HTTP/1.1", host, line + "\udcff\xff", line, "")
        found.send("GET /v3/users/ HTTP/9.9", host, line, "")
        found.send("GET /v3/users/ HTTP/1.1", line, "Content-Length: x", "", body="{")
        found.send(f"{line} HTTP/1.1", host, "")
        found.send(line, host, "")
        found.send(f"{secret} /v3/users/ HTTP/1.1", host, "")
        found.send(f"GET /{secret} HTTP/1.1", host, "")
        found.send(f"GET /v3/users/ {secret}", host, "")
        chunked = "Transfer-Encoding: chunked"
        post = ("POST /v3/users/ HTTP/1.1", host, line)
        kind = "Content-Type: application/json"
        found.send(*post, kind, chunked, "", body=f"zz{secret}\r\n")
        found.send(*post, kind, f"Transfer-Encoding: {secret}", "", body="0\r\n\r\n")
        found.send(*post, kind, "Content-Length: 99", "", body=secret)
    for line in (
        f"GET /api/poll/{uuid}",
        f"GET /api/poll/{uuid} HTTP/9.9",
        f"GET /api/poll/{uuid} extra HTTP/1.1",
        f"GET\t/api/poll/{uuid}\tHTTP/1.1",
        f"G\x01T /api/poll/{uuid} HTTP/1.1",
        f"GET http://[/api/poll/{uuid} HTTP/1.1",
        f"GET //[/api/poll/{uuid} HTTP/1.1",
        f"/api/poll/{uuid}",
    ):
        found.send(line, "Host: localhost", "")


def everything_kept(instance: Path, database: str = "") -> bytes:
    """Return all bytes of the instance folder, and of a database elsewhere."""
    files = [path for path in instance.rglob("*") if path.is_file()]
    assert files
    kept = b"\n".join(path.read_bytes() for path in files)
    if database:
        url = database.replace("postgresql+psycopg", "postgresql")
        with psycopg.connect(url) as connection:
            tables = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            ).fetchall()
            assert len(tables) > 5
            for (table,) in tables:
                rows = connection.execute(f"SELECT t::text FROM {table} t").fetchall()
                kept += "\n".join(row[0] for row in rows).encode()
    return kept


VISIBLE = "visible-to-its-user"
# As whom a server runs where the tests are root's, from whom nothing can be hidden.
# It keeps the right to read what is not its own, since the project may be root's.
NOBODY = 65534
DROP = "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"
READ_ALL = 1 << 2  # CAP_DAC_READ_SEARCH, which containers may lack
PROVE = """
import os, sys
from config.secrecy import hide_process

def readable(pid):
    try:
        open(f"/proc/{pid}/environ").read()
        return True
    except OSError:
        return False

def seen_by_a_child():
    there, back = os.pipe()
    if os.fork() == 0:
        os.write(back, b"1" if readable(os.getppid()) else b"0")
        os._exit(0)
    os.wait()
    return os.read(there, 1)

if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    import ctypes
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # a change of user hides it as well
before = seen_by_a_child()
hide_process()
print((before + seen_by_a_child()).decode())
"""


def test_a_hidden_process_cannot_be_looked_into_by_its_own_user() -> None:
    done = run_python(PROVE)
    assert done.stdout == "10\n", done.stderr


def as_ordinary_user(folder: Path, *command: str) -> tuple[str, ...]:
    """Return what runs a Python command as a user who is not root."""
    if os.getuid() != 0:
        return command
    shutil.chown(folder, NOBODY, NOBODY)
    bounds = Path("/proc/self/status").read_text().partition("CapBnd:\t")[2]
    right = "read_search" if int(bounds[:16], 16) & READ_ALL else "override"
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    rights = [f"--inh-caps=+dac_{right}", f"--ambient-caps=+dac_{right}"]
    return ("-c", DROP, *user, *rights, sys.executable, *command)


SERVERS = {"gunicorn": (GUNICORN, ["-w", "2"]), "run.py": (RUN, [])}


@pytest.mark.parametrize("kind", SERVERS)
def test_a_command_cannot_read_what_the_server_was_started_with(
    kind: str, tmp_path: Path
) -> None:
    command, arguments = SERVERS[kind]
    (tmp_path / "instance").mkdir()
    command = as_ordinary_user(tmp_path / "instance", *command)
    other = as_ordinary_user(tmp_path / "instance", "-c", "input()")
    with (
        canary_server(tmp_path, *arguments, command=command) as server,
        subprocess.Popen(
            [sys.executable, *other], stdin=subprocess.PIPE, env={"VISIBLE": VISIBLE}
        ) as visible,
    ):

        def read(pid: int) -> str:
            wanted = {"command": "read", "params": {"pid": pid}, "wait_seconds": 20}
            ran = server.post("/v3/exec/", json=wanted, headers=basic(ADMIN))
            return ran.json()["result"]["output"]

        wait_until(lambda: VISIBLE in read(visible.pid))
        pids = server.workers()
        assert len(pids) == 1 + (kind == "gunicorn") * 2
        for pid in pids:
            assert "denied" in read(pid)
        visible.communicate(b"\n")
