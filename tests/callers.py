"""Callers of a server in production: an admin, users, what they prove it by."""

import hashlib
import hmac
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import requests

from tests.servers import Server, running, wait_until

PASSWORD = "the admin's password"
ADMIN = ("admin", PASSWORD)

Pair = tuple[str, str]

# Tells which worker has answered: it is the parent of what it runs.
_CATALOGUE = """
[commands.parent]
argv = ["/bin/sh", "-c", "echo $PPID"]

[commands.append]
argv = ["/bin/sh", "-c", 'echo "$1" >> "$0"', "{file}", "{text}"]
params.file.type = "string"
params.text = {type = "string", default = "started"}

[commands.hold]
argv = ["/bin/sh", "-c", 'while [ ! -e "$0" ]; do sleep 0.02; done', "{gate}"]
params.gate.type = "string"
"""


@contextmanager
def production(tmp_path: Path, *arguments: str, **settings: object) -> Iterator[Server]:
    """Start a server in production, with an admin and the commands of the tests."""
    catalogue = tmp_path / "commands.toml"
    catalogue.write_text(_CATALOGUE)
    admin = {"FLASK_ENV": "production", "ADMIN_PASSWORD": PASSWORD}
    commands = {"EXEC_COMMANDS": str(catalogue)}
    with running(tmp_path, *arguments, **(admin | commands | settings)) as server:
        yield server


def add_user(server: Server, name: str, *, admin: bool = False) -> Pair:
    """Add a user; return its credentials."""
    pair = (name, f"the password of {name}")
    user = {"username": name, "password": pair[1], "fullname": name, "admin": admin}
    added = server.post("/v3/users/", json=user, auth=ADMIN)
    assert added.status_code == 201, added.text
    return pair


def issue_token(server: Server, pair: Pair, *scopes: str) -> dict[str, str]:
    """Return a new token of a user's, and its id."""
    wanted = {"scopes": scopes} if scopes else {}
    made = server.post(f"/v3/users/{pair[0]}/tokens", json=wanted, auth=pair)
    assert made.status_code == 201, made.text
    return made.json()


def bearer(token: str) -> dict[str, str]:
    """Return the headers of a request with a token."""
    return {"Authorization": f"Bearer {token}"}


def issue_key(server: Server, pair: Pair) -> str:
    """Return a new signing key of a user's."""
    made = server.post(f"/v3/users/{pair[0]}/signing-key", auth=pair)
    assert made.status_code == 201, made.text
    return made.json()["signing_key"]


def signed(name: str, key: str, *, ago_seconds: int = 0) -> str:
    """Return a uuid that `name` has signed."""
    text = f"{name}.{int(time.time()) - ago_seconds}"
    return f"{text}.{signature(key, text)}"


def signature(key: str, text: str) -> str:
    """Return the signature of a text, as openssl prints it."""
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()


@contextmanager
def each_worker(server: Server) -> Iterator[list[requests.Session]]:
    """Give a connection to each worker; fail where one was closed meanwhile.

    The server has to be started with a --keep-alive that is longer than the test.
    """
    workers = set(server.workers()[1:])
    with ExitStack() as opened:
        sessions: dict[int, requests.Session] = {}

        def reached_all() -> bool:
            session = opened.enter_context(requests.Session())
            sessions.setdefault(worker_of(server, session), session)
            return sessions.keys() == workers

        wait_until(reached_all, seconds=30)
        yield list(sessions.values())
        for pid, session in sessions.items():
            assert worker_of(server, session) == pid
            pools = session.get_adapter(server.url).poolmanager.pools
            [pool] = [pools[key] for key in pools.keys()]  # noqa: SIM118
            assert pool.num_connections == 1


def worker_of(server: Server, session: requests.Session) -> int:
    """Return the pid of the worker that a connection leads to."""
    wanted = {"command": "parent", "wait_seconds": 20}
    ran = session.post(f"{server.url}/v3/exec/", json=wanted, auth=ADMIN, timeout=60)
    assert ran.status_code == 201, ran.text
    return int(ran.json()["result"]["output"])
