"""A command that has been checked: what is run, with what around it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from app.errors import Fault, InvalidInput

# MAX_ARG_STRLEN of Linux, 32 pages, less the closing NUL: execve refuses more.
ARGUMENT_LIMIT_BYTES = 32 * 4096 - 1


@dataclass(frozen=True)
class Command:
    """A program with its arguments, its whole environment and its time limit."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    timeout_seconds: float

    def with_environment(self, **names: str) -> "Command":
        """Return the same command with `names` added to its environment."""
        return replace(self, environment={**self.environment, **names})


def shell_command(
    cmd: str, *, environment: Mapping[str, str], timeout_seconds: float
) -> Command:
    """Return the command that runs `cmd` in /bin/sh.

    Raises InvalidInput where no program can take it as an argument.
    """
    if fault := _argument_fault(cmd):
        raise InvalidInput([Fault("cmd", fault)])
    return Command(("/bin/sh", "-c", cmd), environment, timeout_seconds)


def _argument_fault(argument: str) -> str | None:
    """Return what keeps `argument` from being one argument of a program."""
    if not argument.strip():
        return "is empty"
    if "\0" in argument:
        return "has a NUL character, which no argument can hold"
    try:
        size = len(argument.encode())
    except UnicodeEncodeError:
        return "has a lone surrogate, which is no character"
    if size > ARGUMENT_LIMIT_BYTES:
        return f"is {size} bytes long, the system takes {ARGUMENT_LIMIT_BYTES}"
    return None
