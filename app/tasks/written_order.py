"""An order as it is kept: JSON, from which another process makes it again.

It may have secrets, in the environment and in what the command reads: it is for who
runs it, and is shown to nobody.
"""

import json
from collections.abc import Mapping
from typing import Any

from app.processes.command import Command
from app.processes.limits import Limits

from .order import Order


def write(order: Order, *, base: Mapping[str, str] | None = None) -> bytes:
    """Return an order as JSON; what its environment has of `base` is left out."""
    command = written_command(order.command)
    items = command["environment"].items() - (base or {}).items()
    # In an order that is the same each time.
    own = {**command, "environment": dict(sorted(items))}
    document = {**vars(order), "command": own, "notify": list(order.notify)}
    return json.dumps(document).encode()


def read(written: bytes, *, base: Mapping[str, str] | None = None) -> Order:
    """Return the order that was written, with the reader's own `base` around it."""
    document = json.loads(written)
    command = document["command"]
    environment = {**(base or {}), **command["environment"]}
    of_command = read_command({**command, "environment": environment})
    notify = tuple(document["notify"])
    return Order(**{**document, "command": of_command, "notify": notify})


def written_command(command: Command) -> dict[str, Any]:
    """Return a command as JSON has it."""
    plain = {
        "environment": dict(command.environment),
        "stdin": None if command.stdin is None else command.stdin.decode(),
        "limits": vars(command.limits),
    }
    return {**vars(command), **plain}


def read_command(written: Mapping[str, Any]) -> Command:
    """Return the command that was written."""
    stdin = written["stdin"]
    given = {
        "argv": tuple(written["argv"]),
        "stdin": None if stdin is None else stdin.encode(),
        "limits": Limits(**written["limits"]),
    }
    return Command(**{**written, **given})
