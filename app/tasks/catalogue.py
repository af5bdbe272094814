"""What may be run here, and how a request's `cmd` becomes a command."""

from collections.abc import Mapping

from app.errors import CommandNotAllowed
from app.processes.command import Command, shell_command


class Catalogue:
    """The commands that may be run: any in a shell, or none where that is off."""

    def __init__(
        self,
        *,
        allow_shell: bool,
        environment: Mapping[str, str],
        timeout_seconds: float,
    ) -> None:
        self._allow_shell = allow_shell
        self._environment = environment
        self._timeout_seconds = timeout_seconds

    def command(self, cmd: str) -> Command:
        """Return the command that `cmd` stands for.

        Raises CommandNotAllowed, naming what is allowed, or InvalidInput.
        """
        if not self._allow_shell:
            raise CommandNotAllowed
        return shell_command(
            cmd,
            environment=self._environment,
            timeout_seconds=self._timeout_seconds,
        )
