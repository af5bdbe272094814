"""The matrix of what is done, with whose things, by which credentials, in which mode.

The tables are written out by hand: nothing of them is taken from the code.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.api.access import SESSION_COOKIE
from app.sms.outbox import Wish
from app.tasks.order import Origin
from config.config import config_map
from tests.api.callers import (
    ADMIN,
    ANN,
    BOB,
    Auth,
    add_user,
    bearer,
    token_of,
    with_users,
)
from tests.servers import wait_until
from tests.vendors import FIRST

# What each is known by. A column of the tables for each kind of them.
#
#   none    nobody, or credentials that are good for nothing (any more)
#   user    a user by password          read, exec, sms   a user's token with that alone
#   all     a user's token with all that a user may
#   admin   an admin by password        every             an admin's token with all
#   only    an admin's token with the scope admin alone
#   less    an admin's token without the scope admin
#   void    a token whose only scope its user has no more

V3 = """
                              none user read exec sms  all  admin every only less void
GET uptime                    401  200  200  403  403  200  200   200   403  200  403
GET hosts                     401  200  200  403  403  200  200   200   403  200  403
GET a host                    401  200  200  403  403  200  200   200   403  200  403
GET another host              401  404  404  403  403  404  404   404   403  404  403
GET a host's uptime           401  200  200  403  403  200  200   200   403  200  403
GET another host's uptime     401  404  404  403  403  404  404   404   403  404  403
GET a host's iostat           401  201  403  201  403  201  201   201   403  201  403
HEAD a host's iostat          401  201  403  201  403  201  201   201   403  201  403
POST a host's iostat          401  201  403  201  403  201  201   201   403  201  403
POST another host's iostat    401  404  403  404  403  404  404   404   403  404  403
GET samples                   401  200  200  403  403  200  200   200   403  200  403
GET another host's samples    401  404  404  403  403  404  404   404   403  404  403
GET commands                  401  200  200  403  403  200  200   200   403  200  403
GET a command                 401  200  200  403  403  200  200   200   403  200  403
GET tasks                     401  200  200  403  403  200  200   200   403  200  403
GET own task                  401  200  200  403  403  200  200   200   403  200  403
GET another's task            401  404  404  403  403  404  200   200   403  404  403
GET nobody's task             401  404  404  403  403  404  200   200   403  404  403
GET a removed user's task     401  404  404  403  403  404  200   200   403  404  403
GET own output                401  200  200  403  403  200  200   200   403  200  403
GET another's output          401  404  404  403  403  404  200   200   403  404  403
GET nobody's output           401  404  404  403  403  404  200   200   403  404  403
GET a removed user's output   401  404  404  403  403  404  200   200   403  404  403
HEAD own task                 401  200  200  403  403  200  200   200   403  200  403
HEAD another's task           401  404  404  403  403  404  200   200   403  404  403
DELETE another's task         401  404  403  404  403  404  204   204   403  404  403
DELETE nobody's task          401  404  403  404  403  404  204   204   403  404  403
DELETE a removed user's task  401  404  403  404  403  404  204   204   403  404  403
DELETE own task               401  204  403  204  403  204  204   204   403  204  403
POST exec                     401  201  403  201  403  201  201   201   403  201  403
GET iostat                    401  201  403  201  403  201  201   201   403  201  403
HEAD iostat                   401  201  403  201  403  201  201   201   403  201  403
POST iostat                   401  201  403  201  403  201  201   201   403  201  403
GET users                     401  200  200  403  403  200  200   200   403  200  403
GET another user              401  200  200  403  403  200  200   200   403  200  403
POST users                    401  403  403  403  403  403  201   201   201  403  403
PUT a user                    401  403  403  403  403  403  200   200   200  403  403
PATCH a user                  401  403  403  403  403  403  200   200   200  403  403
PATCH oneself                 401  403  403  403  403  403  200   200   200  403  403
GET own tokens                401  200  200  403  403  200  200   200   403  200  403
GET another's tokens          401  403  403  403  403  403  200   200   403  403  403
POST own tokens               401  201  403  403  403  403  201   201   201  403  403
POST another's tokens         401  403  403  403  403  403  201   201   201  403  403
DELETE own token              401  204  403  403  403  403  204   204   204  403  403
DELETE another's token        401  403  403  403  403  403  204   204   204  403  403
POST own signing-key          401  201  403  403  403  403  201   201   201  403  403
POST another's signing-key    401  403  403  403  403  403  201   201   201  403  403
DELETE a user                 401  403  403  403  403  403  204   204   204  403  403
GET messages                  401  200  200  403  403  200  200   200   403  200  403
GET own message               401  200  200  403  403  200  200   200   403  200  403
GET another's message         401  404  404  403  403  404  200   200   403  404  403
GET nobody's message          401  404  404  403  403  404  200   200   403  404  403
GET a removed user's message  401  404  404  403  403  404  200   200   403  404  403
HEAD own message              401  200  200  403  403  200  200   200   403  200  403
HEAD another's message        401  404  404  403  403  404  200   200   403  404  403
POST messages                 401  200  403  403  200  200  200   200   403  200  403
POST preview                  401  200  403  403  200  200  200   200   403  200  403
GET audit                     401  403  403  403  403  403  200   200   200  403  403
OPTIONS exec                  401  200  200  200  200  200  200   200   200  200  200
PUT exec                      401  405  405  405  405  405  405   405   405  405  405
GET nothing                   401  404  404  404  404  404  404   404   404  404  404
"""

# The open ones answer everybody alike, also those whose credentials are worth nothing.
BY_MODE = {
    "production": """
                              none user read exec sms  all  admin every only less void
GET people                    401  200  200  403  403  200  200   200   403  200  403
GET a person                  401  200  200  403  403  200  200   200   403  200  403
POST people                   401  201  403  403  201  201  201   201   403  201  403
PUT a person                  401  200  403  403  200  200  200   200   403  200  403
DELETE a person               401  204  403  403  204  204  204   204   403  204  403
GET api messages              401  200  200  403  403  200  200   200   403  200  403
GET api own message           401  200  200  403  403  200  200   200   403  200  403
GET api another's message     401  404  404  403  403  404  200   200   403  404  403
GET api nobody's message      401  404  404  403  403  404  200   200   403  404  403
POST api messages             401  200  403  403  200  200  200   200   403  200  403
POST api preview              401  200  403  403  200  200  200   200   403  200  403
POST a receipt                404  404  404  404  404  404  404   404   404  404  404
POST unsigned exec            401  401  401  401  401  401  401   401   401  401  401
GET unsigned poll             401  401  401  401  401  401  401   401   401  401  401
GET v2 nobody's task          200  200  200  200  200  200  200   200   200  200  200
GET v2 own task               404  404  404  404  404  404  404   404   404  404  404
GET v2 another's task         404  404  404  404  404  404  404   404   404  404  404
DELETE v2 own task            404  404  404  404  404  404  404   404   404  404  404
POST v2 iostat                201  201  201  201  201  201  201   201   201  201  201
GET v1 uptime                 200  200  200  200  200  200  200   200   200  200  200
POST echo                     200  200  200  200  200  200  200   200   200  200  200
""",
    "testing": """
                              none user read exec sms  all  admin every only less void
GET people                    200  200  200  200  200  200  200   200   200  200  200
GET a person                  200  200  200  200  200  200  200   200   200  200  200
POST people                   201  201  201  201  201  201  201   201   201  201  201
PUT a person                  200  200  200  200  200  200  200   200   200  200  200
DELETE a person               204  204  204  204  204  204  204   204   204  204  204
GET api messages              200  200  200  200  200  200  200   200   200  200  200
GET api own message           404  404  404  404  404  404  404   404   404  404  404
GET api another's message     404  404  404  404  404  404  404   404   404  404  404
GET api nobody's message      200  200  200  200  200  200  200   200   200  200  200
POST api messages             200  200  200  200  200  200  200   200   200  200  200
POST api preview              200  200  200  200  200  200  200   200   200  200  200
POST a receipt                404  404  404  404  404  404  404   404   404  404  404
POST unsigned exec            202  202  202  202  202  202  202   202   202  202  202
GET unsigned poll             200  200  200  200  200  200  200   200   200  200  200
GET v2 nobody's task          200  200  200  200  200  200  200   200   200  200  200
GET v2 own task               404  404  404  404  404  404  404   404   404  404  404
GET v2 another's task         404  404  404  404  404  404  404   404   404  404  404
DELETE v2 own task            404  404  404  404  404  404  404   404   404  404  404
POST v2 iostat                201  201  201  201  201  201  201   201   201  201  201
GET v1 uptime                 200  200  200  200  200  200  200   200   200  200  200
POST echo                     200  200  200  200  200  200  200   200   200  200  200
""",
}

DORA: Auth = ("dora", "dora's own")
GONE: Auth = ("gone", "gone's own")

MODES = ["production", "testing"]
PREVIEW = {"template": "captcha", "params": {"code": 1}}
MESSAGE = PREVIEW | {"receivers": FIRST}
BODIES: dict[str, Any] = {
    "POST exec": {"command": "echo"},
    "POST users": {"username": "new", "password": "new one's", "fullname": "New"},
    "PUT a user": {"password": "bob's next", "fullname": "Bob"},
    "PATCH a user": {"fullname": "B."},
    "PATCH oneself": {"fullname": "Me"},
    "POST people": {"name": "Eve", "age": 7},
    "PUT a person": {"age": 8},
    "POST unsigned exec": {"cmd": "true"},
    "POST messages": MESSAGE,
    "POST api messages": MESSAGE,
    "POST preview": PREVIEW,
    "POST api preview": PREVIEW,
    "POST echo": {},
}


@dataclass
class Stage:
    """An app in one mode, with users, tasks and messages of theirs, and who calls."""

    client: FlaskClient
    caller: str
    auth: dict[str, Any]
    tasks: dict[str, str] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    asked: int = 0

    def path(self, thing: str) -> str:
        """Return the path of what a row of the tables speaks of."""
        version = "v2" if thing.startswith("v2 ") else "v3"
        host = self.client.application.config["BELLHOP_HOST"]
        thing = thing.removeprefix("v2 ")
        if thing.endswith((" task", " output")):
            owner, _, part = thing.rpartition(" ")
            end = "/output" if part == "output" else ""
            return f"/{version}/task/{self.tasks[owner]}{end}"
        sms = "/api/sms" if thing.startswith("api ") else "/v3/sms/"
        thing = thing.removeprefix("api ")
        if thing.endswith(" message"):
            message_id = self.messages[thing.removesuffix(" message")]
            return f"{sms.rstrip('/')}/{message_id}"
        return {
            "hosts": "/v3/hosts/",
            "a host": f"/v3/hosts/{host}",
            "another host": "/v3/hosts/elsewhere",
            "a host's uptime": f"/v3/hosts/{host}/uptime/",
            "another host's uptime": "/v3/hosts/elsewhere/uptime/",
            "a host's iostat": f"/v3/hosts/{host}/iostat/",
            "another host's iostat": "/v3/hosts/elsewhere/iostat/",
            "samples": f"/v3/hosts/{host}/samples",
            "another host's samples": "/v3/hosts/elsewhere/samples",
            "tasks": "/v3/task/",
            "a command": "/v3/commands/echo",
            "another user": "/v3/users/bob",
            "a user": "/v3/users/bob",
            "oneself": f"/v3/users/{self.caller}",
            "own tokens": f"/v3/users/{self.caller}/tokens",
            "another's tokens": "/v3/users/bob/tokens",
            "own token": f"/v3/users/{self.caller}/tokens/{self.tokens['own']}",
            "another's token": f"/v3/users/bob/tokens/{self.tokens['bob']}",
            "own signing-key": f"/v3/users/{self.caller}/signing-key",
            "another's signing-key": "/v3/users/bob/signing-key",
            "nothing": "/v3/nothing",
            "messages": sms,
            "preview": f"{sms.rstrip('/')}/preview",
            "a receipt": "/api/sms/receipts/memory/x",
            "people": "/v1/user",
            "a person": "/v1/user/0",
            "unsigned exec": "/api/exec/tom",
            "unsigned poll": "/api/poll/tom",
            "v1 uptime": "/v1/uptime/",
            "echo": "/api/tom/1",
        }.get(thing, f"/{version}/{thing}/")

    def ask(self, row: str) -> int:
        """Do what a row of the tables says; return the status."""
        method, _, thing = row.partition(" ")
        body = {"json": BODIES[row]} if row in BODIES else {}
        # From another address each time: guesses are counted by address first.
        self.asked += 1
        environ = {"REMOTE_ADDR": f"10.0.0.{self.asked}"}
        answer = self.client.open(
            self.path(thing),
            method=method,
            environ_overrides=environ,
            **self.auth,
            **body,
        )
        return answer.status_code


def _rows(table: str) -> dict[str, dict[str, int]]:
    """Return the table's statuses by row and column."""
    head, *lines = [line for line in table.splitlines() if line.strip()]
    columns = head.split()
    found = {}
    for line in lines:
        name, *statuses = [line[:30].strip(), *line[30:].split()]
        found[name] = dict(zip(columns, map(int, statuses), strict=True))
    return found


def _expected(mode: str, column: str) -> dict[str, int]:
    rows = _rows(V3) | _rows(BY_MODE[mode])
    return {row: statuses[column] for row, statuses in rows.items()}


Make = Callable[[FlaskClient], dict[str, Any]]


def _basic(*pair: str) -> Make:
    return lambda _: {"auth": pair}


def _bearer(who: Auth, **body: Any) -> Make:
    return lambda client: {"headers": bearer(token_of(client, who, **body))}


def _expired(client: FlaskClient) -> dict[str, Any]:
    made = _bearer(ANN, expires_seconds=0.001)(client)
    wait_until(lambda: client.get("/v3/uptime/", **made).status_code == 401)
    return made


def _revoked(client: FlaskClient) -> dict[str, Any]:
    made = _bearer(ANN)(client)
    [token] = client.get("/v3/users/ann/tokens", auth=ANN).json["tokens"]
    assert client.delete(token["links"][0]["href"], auth=ANN).status_code == 204
    return made


def _session(who: Auth) -> Make:
    """Sign in; what is sent has the token of the pages too."""

    def make(client: FlaskClient) -> dict[str, Any]:
        services = client.application.extensions["bellhop"]
        text = services.sessions.open(services.accounts.get(who[0]))
        # Of this client from now on; what comes with a password goes by that.
        client.set_cookie(SESSION_COOKIE, text)
        return {"headers": {"X-CSRF-Token": services.sessions.csrf(text)}}

    return make


EVERY = ["read", "exec", "sms", "admin"]

#: By name: whose they are, the column of the tables that they are in, what makes them.
#: Tokens are made while their user is there, and an admin.
CREDENTIALS: dict[str, tuple[str, str, Make]] = {
    "none": ("ann", "none", lambda _: {}),
    "wrong password": ("ann", "none", _basic(ANN[0], BOB[1])),
    "unknown user": ("ann", "none", _basic("nobody", ANN[1])),
    "expired token": ("ann", "none", _expired),
    "revoked token": ("ann", "none", _revoked),
    "password of a removed user": ("gone", "none", _basic(*GONE)),
    "token of a removed user": ("gone", "none", _bearer(GONE)),
    "password": ("ann", "user", _basic(*ANN)),
    "session": ("ann", "all", _session(ANN)),
    "session of a removed user": ("gone", "none", _session(GONE)),
    "session of a demoted admin": ("dora", "all", _session(DORA)),
    "token: read": ("ann", "read", _bearer(ANN, scopes=["read"])),
    "token: exec": ("ann", "exec", _bearer(ANN, scopes=["exec"])),
    "token: sms": ("ann", "sms", _bearer(ANN, scopes=["sms"])),
    "token: read exec sms": ("ann", "all", _bearer(ANN, scopes=EVERY[:3])),
    "token of default scopes": ("ann", "all", _bearer(ANN)),
    "password of a demoted admin": ("dora", "user", _basic(*DORA)),
    "token of a demoted admin": ("dora", "all", _bearer(DORA, scopes=EVERY)),
    "demoted admin's token: admin": ("dora", "void", _bearer(DORA, scopes=["admin"])),
    "admin's password": ("admin", "admin", _basic(*ADMIN)),
    "admin's session": ("admin", "every", _session(ADMIN)),
    "admin's token: all": ("admin", "every", _bearer(ADMIN, scopes=EVERY)),
    "admin's token: admin": ("admin", "only", _bearer(ADMIN, scopes=["admin"])),
    "admin's token of default scopes": ("admin", "less", _bearer(ADMIN)),
}


def _message_of(app: Flask, owner: str | None) -> str:
    """Send a message; return its id."""
    services = app.extensions["bellhop"]
    account = services.accounts.get(owner)["number"] if owner else None
    wish = Wish(FIRST, "captcha", {"code": 1})
    return str(services.messages.send(wish, Origin(owner, None, account)).message_id)


def _report_of(app: Flask, owner: str | None) -> str:
    """Start a task that runs for as long as nobody ends it; return its id."""
    services = app.extensions["bellhop"]
    account = services.accounts.get(owner)["number"] if owner else None
    origin = Origin(owner=owner, request_id=None, account=account)
    return str(services.start_iostat(count=1000, wait_seconds=1, origin=origin).task_id)


@pytest.fixture
def stage(
    make_app: Callable[..., Flask],
) -> Callable[[str, str], Stage]:
    def make(mode: str, credentials: str) -> Stage:
        limits = {
            "IOSTAT_MAX_RUNNING": "99",
            "EXEC_MAX_RUNNING": "99",
            "SMS_PROVIDER": "memory",
            "SMS_LIMIT_RECEIVER": "off",
        }
        app = make_app(config_map[mode], **limits)
        client = with_users(app)
        for name, password in (GONE, DORA):
            add_user(app, name, password, admin=name == "dora")
        owner, _, auth = CREDENTIALS[credentials]
        made = Stage(client, owner, auth(client))
        owners = {
            "own": owner,
            "another's": "bob",
            "nobody's": None,
            "a removed user's": "gone",
        }
        made.tasks = {whose: _report_of(app, name) for whose, name in owners.items()}
        made.messages = {
            whose: _message_of(app, name) for whose, name in owners.items()
        }
        for name, who in (("own", owner), ("bob", "bob")):
            answer = client.post(f"/v3/users/{who}/tokens", auth=ADMIN)
            made.tokens[name] = answer.json["id"]
        client.patch("/v3/users/dora", json={"admin": False}, auth=ADMIN)
        client.delete("/v3/users/gone", auth=ADMIN)
        app.extensions["bellhop"].people.add({"name": "Tom", "age": 7})
        return made

    return make


def test_the_tables_are_of_the_same_rows_and_columns() -> None:
    tables = [_rows(V3), *map(_rows, BY_MODE.values())]
    columns = {tuple(row) for table in tables for row in table.values()}
    assert len(columns) == 1
    assert {column for _, column, _ in CREDENTIALS.values()} == set(*columns)
    assert tables[1].keys() == tables[2].keys()


@pytest.mark.parametrize("credentials", CREDENTIALS)
@pytest.mark.parametrize("mode", MODES)
def test_everybody_is_answered_as_the_tables_say(
    stage: Callable[[str, str], Stage], mode: str, credentials: str
) -> None:
    column = CREDENTIALS[credentials][1]
    here = stage(mode, credentials)
    _assert_listed(here, column)
    expected = _expected(mode, column)
    found = {row: here.ask(row) for row in expected}
    assert found == expected
    ended = {row.removeprefix("DELETE ") for row, s in found.items() if s == 204}
    for owner, task_id in here.tasks.items():
        task = here.client.get(f"/v3/task/{task_id}", auth=ADMIN).json
        was_ended = f"{owner} task" in ended
        assert (task["state"] == "REVOKED") is was_ended, owner
        assert ("finished" in task) is was_ended, owner


def _assert_listed(here: Stage, column: str) -> None:
    """Assert that whoever may list things is shown their own, and admins all."""
    for path, name, key, things in (
        ("/v3/task/", "tasks", "task_id", here.tasks),
        ("/v3/sms/", "messages", "id", here.messages),
    ):
        answer = here.client.get(path, **here.auth)
        if answer.status_code == 200:
            listed = {thing[key] for thing in answer.json[name]}
            sees_all = column in ("admin", "every")
            assert listed == (set(things.values()) if sees_all else {things["own"]})
