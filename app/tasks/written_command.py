"""A command as JSON has it, for a process that did not check it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from app.processes.command import Command
from app.processes.limits import Limits

_NOTHING: Mapping[str, str] = MappingProxyType({})


def written_command(
    command: Command, *, less: Mapping[str, str] = _NOTHING
) -> dict[str, Any]:
    """Return a command as JSON; what its environment has of `less` is left out."""
    own = {n: v for n, v in command.environment.items() if less.get(n) != v}
    stdin = None if command.stdin is None else command.stdin.decode()
    plain = {"environment": own, "stdin": stdin, "limits": vars(command.limits)}
    return {**vars(command), **plain}


def read_command(
    document: Mapping[str, Any], *, base: Mapping[str, str] = _NOTHING
) -> Command:
    """Return the command that was written; its environment stands on `base`."""
    stdin = document["stdin"]
    given = {
        "argv": tuple(document["argv"]),
        "environment": {**base, **document["environment"]},
        "stdin": None if stdin is None else stdin.encode(),
        "limits": Limits(**document["limits"]),
    }
    return Command(**{**document, **given})
