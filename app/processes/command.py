"""A command that has been checked: what is run, with what around it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from .limits import Limits

# MAX_ARG_STRLEN of Linux, 32 pages, less the closing NUL: execve refuses more.
ARGUMENT_LIMIT_BYTES = 32 * 4096 - 1
# What arguments and environment may have together, each string with its NUL and its
# pointer, less what is still added to them. Of a stack without a limit they get no
# more than 6 MiB (bprm_stack_limits in fs/exec.c), which an old sysconf does not know.
TOTAL_LIMIT_BYTES = min(os.sysconf("SC_ARG_MAX"), 6 * 2**20) - 8192
_POINTER_BYTES = 8


@dataclass(frozen=True)
class Command:
    """A program with its arguments, its whole environment and its bounds.

    `stdin` is all that it may read, None an empty input; `cwd` None is the
    service's own folder. `separate_stderr` keeps what it writes there apart.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    timeout_seconds: float
    cwd: str | None = None
    stdin: bytes | None = field(default=None, repr=False)
    limits: Limits = field(default_factory=Limits)
    separate_stderr: bool = False

    def with_environment(self, **names: str) -> "Command":
        """Return the same command with `names` added to its environment."""
        return replace(self, environment={**self.environment, **names})


def argument_fault(argument: str, *, name: str = "") -> str | None:
    """Return what keeps `argument` from being one argument of a program.

    With a `name`, from being the value of that variable of its environment.
    """
    if "\0" in argument:
        return "has a NUL character, which no argument can hold"
    try:
        size = len(argument.encode())
    except UnicodeEncodeError:
        return "has a lone surrogate, which is no character"
    # A name with a lone surrogate is refused elsewhere, for not being a name.
    taken = len(name.encode(errors="surrogatepass")) + 1 if name else 0
    limit = ARGUMENT_LIMIT_BYTES - taken
    if size > limit:
        return f"is {size} bytes long, the system takes {limit}"
    return None


def total_fault(argv: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """Return what keeps arguments and environment from being taken together."""
    strings = [*argv, *(f"{name}={value}" for name, value in environment.items())]
    # The service's own environment need not be UTF-8: its bytes are surrogates here.
    encoded = (text.encode(errors="surrogateescape") for text in strings)
    size = sum(len(text) + 1 + _POINTER_BYTES for text in encoded)
    if size > TOTAL_LIMIT_BYTES:
        return f"makes {size} bytes in all, the system takes {TOTAL_LIMIT_BYTES}"
    return None
