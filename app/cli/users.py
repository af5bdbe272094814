"""`flask --app server user …` and `flask --app server token`."""

import sys
from typing import Any

import click
from flask import Flask
from flask.cli import AppGroup

from app.api.schemas.user import USER, USER_CHANGES
from app.errors import InvalidInput
from app.schema import Schema
from app.services import Services

from .door import Command, Served, keep


def register(app: Flask, served: Served) -> None:
    """Give `app` the commands of users."""
    users = AppGroup("user", help="The users of the service.")
    users.command("add")(_with_password(served(_add), admin=True))
    users.command("list")(served(_list))
    users.command("password")(_with_password(served(_password)))
    users.command("remove")(click.argument("name")(served(_remove)))
    app.cli.add_command(users)
    app.cli.command("token")(click.argument("name")(served(_token)))


def _with_password(command: Command, *, admin: bool = False) -> Command:
    """Have a command take a name and a password, and what else there is of a user."""
    command = click.option(
        "--password", help="Others on this host may see it here; asked for if left out."
    )(command)
    if admin:
        command = click.option("--fullname", help="The name as it is shown.")(command)
        command = click.option(
            "--admin/--no-admin",
            default=None,
            help="Whether it is an admin; the first user is, if this is left out.",
        )(command)
    return click.argument("name")(command)


def _add(
    services: Services,
    name: str,
    fullname: str | None,
    admin: bool | None,
    password: str | None,
) -> None:
    """Add the user NAME."""
    if admin is None:
        admin = not services.accounts.has_admin()
    user = {"username": name, "fullname": fullname or name, "admin": admin}
    _check(USER, user | {"password": ""})
    user["password"] = password or _ask()
    _check(USER, user)
    services.accounts.add(user)
    keep(services, "user add", name)
    click.echo(f"{name} was added{', as an admin' if admin else ''}.")


def _list(services: Services) -> None:
    """List the users, admins marked."""
    after = 0
    while page := services.accounts.page(after=after, limit=100):
        for row in page:
            mark = " (admin)" if row["admin"] else ""
            click.echo(f"{row['username']}{mark}")
        after = page[-1]["number"]


def _password(services: Services, name: str, password: str | None) -> None:
    """Give the user NAME a new password."""
    services.accounts.get(name)
    change = {"password": password or _ask()}
    _check(USER_CHANGES, change)
    services.accounts.change(name, change)
    keep(services, "user password", name)
    click.echo(f"{name} has a new password.")


def _remove(services: Services, name: str) -> None:
    """Remove the user NAME, who is out at once."""
    services.accounts.remove(name)
    keep(services, "user remove", name)
    click.echo(f"{name} was removed.")


def _token(services: Services, name: str) -> None:
    """Print a signed uuid of the user NAME, for one start or for polls."""
    uuid = services.signed_callers.sign(services.accounts.get(name))
    keep(services, "token", name)
    click.echo(uuid)


def _ask() -> str:
    """Return a password from the terminal, or from the first line of a pipe."""
    if sys.stdin.isatty():
        asked: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
        return asked
    return sys.stdin.readline().removesuffix("\n")


def _check(schema: Schema, value: dict[str, Any]) -> None:
    if faults := schema.faults(value):
        raise InvalidInput(faults)
