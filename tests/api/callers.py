"""Users of the tests, and the ways in which they call."""

from functools import cache
from typing import Any

from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient

from app.storage.account_store import AccountStore
from app.storage.task_store import _CHANGE, TaskStore
from tests.servers import wait_until

Auth = tuple[str, str]

ADMIN: Auth = ("admin", "the admin's own")
ANN: Auth = ("ann", "ann's own: 安")
BOB: Auth = ("bob", "bob's own")

JSON = "application/json"


def with_users(app: Flask, *others: str) -> FlaskClient:
    """Return a client of an app that has an admin, Ann, Bob and others."""
    for name, password in (ADMIN, ANN, BOB, *((name, name) for name in others)):
        add_user(app, name, password, admin=name == ADMIN[0])
    return app.test_client()


def add_user(app: Flask, name: str, password: str, *, admin: bool = False) -> None:
    """Add a user, without the time that hashes are made to take."""
    row = {"username": name, "fullname": name.title(), "admin": admin, "created": 0.0}
    store = AccountStore(app.extensions["bellhop"].database)
    store.add(row | {"password_hash": _hash(password)})


def bearer(token: str) -> dict[str, str]:
    """Return the headers that show a token."""
    return {"Authorization": f"Bearer {token}"}


def token_of(client: FlaskClient, who: Auth, **body: Any) -> str:
    """Return a new token of a user, who makes it."""
    answer = client.post(f"/v3/users/{who[0]}/tokens", json=body, auth=who)
    assert answer.status_code == 201, answer.json
    return str(answer.json["token"])


def start(client: FlaskClient, who: Auth, **wish: Any) -> dict[str, Any]:
    """Start a command; return its task."""
    answer = client.post("/v3/exec/", json=wish, auth=who)
    assert answer.status_code == 201, answer.json
    return dict(answer.json)


def task_of(client: FlaskClient, who: Auth, task_id: str) -> dict[str, Any]:
    """Return a task as it is now."""
    answer = client.get(f"/v3/task/{task_id}", auth=who)
    assert answer.status_code == 200, answer.json
    return dict(answer.json)


def ended(client: FlaskClient, who: Auth, task_id: str) -> dict[str, Any]:
    """Return a task when it has ended."""
    wait_until(lambda: "finished" in task_of(client, who, task_id))
    return task_of(client, who, task_id)


@cache
def _hash(password: str) -> str:
    # The cheapest there is: what a hash costs is told by itself.
    return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(password)


def change_record(client: FlaskClient, task_id: str, values: dict[str, Any]) -> None:
    """Change the record of a task, as no worker would."""
    store = TaskStore(client.application.extensions["bellhop"].database)
    assert store._change(_CHANGE, of_id=task_id, **values)
