"""The catalogue: what may be run, and with which parameters."""

from typing import Any, ClassVar

from flask import Response, url_for

from app.api.guard import user
from app.api.operation import Answer, Operation
from app.api.rendering import render_json
from app.api.resource import BaseResource, services
from app.api.schemas.answer import a
from app.errors import CommandNotFound
from app.tasks.entry import Entry


class Commands(BaseResource):
    """The commands that the caller may run; all of them for an admin."""

    operations: ClassVar = {
        "get": Operation(
            "The commands that may be run", {200: Answer("By name", a("Commands"))}
        )
    }

    def get(self) -> Response:
        """Return them, by name."""
        caller = user()
        catalogue = services().catalogue
        entries = catalogue.entries(caller.username, every=caller.is_admin)
        return render_json({"commands": [_command(entry) for entry in entries]})


class Command(BaseResource):
    """One of them."""

    operations: ClassVar = {
        "get": Operation(
            "A command, and the schema of its parameters",
            {200: Answer("The command", a("Command"))},
            problems=(CommandNotFound,),
        )
    }

    def get(self, name: str) -> Response:
        """Return it."""
        caller = user()
        entry = services().catalogue.get(name, caller.username, every=caller.is_admin)
        return render_json(_command(entry))


def _command(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "description": entry.description,
        "params": entry.params_schema,
        "timeout_seconds": entry.timeout_seconds,
        "max_running": entry.max_running,
        "stdin": entry.takes_stdin,
        "env_allowed": list(entry.env_allowed),
        "detached": entry.is_detached,
        "links": [
            {"rel": "self", "href": url_for("v3.command", name=entry.name)},
            {"rel": "exec", "href": url_for("v3.exec"), "method": "POST"},
        ],
    }
