"""What may be run here: the commands of a file, and a shell's where that is on."""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from app.errors import CommandNotAllowed, CommandNotFound, Fault, InvalidInput
from app.processes.command import Command, argument_fault, total_fault
from app.schema import Schema
from app.watched_file import WatchedFile

from .entry import VARIABLE, Entry, words_of
from .order import Order, Wish

_ENV = Schema({"propertyNames": {"pattern": VARIABLE}})

log = structlog.get_logger(__name__)


class Catalogue:
    """The commands that may be run; the file is read again when it has changed.

    A faulty file leaves the commands as they were and is logged, once. What is in an
    order when it is given stays in it.
    """

    def __init__(
        self,
        path: str,
        *,
        allow_shell: bool,
        environment: Mapping[str, str],
        timeout_seconds: float,
    ) -> None:
        self._allow_shell = allow_shell
        self._environment = environment
        self._timeout_seconds = timeout_seconds
        self._file = WatchedFile(
            path,
            tables="commands",
            make=self._entry,
            on_read=lambda names: log.info("catalogue.read", commands=names),
            on_refused=lambda **facts: log.error("catalogue.refused", **facts),
        )

    @property
    def allows_shell(self) -> bool:
        """Whether whoever may run commands may run anything."""
        return self._allow_shell

    def check(self) -> None:
        """Raise InvalidInput naming every fault of the file as it is now."""
        self._file.check()

    def entries(self, user: str | None, *, every: bool = False) -> Sequence[Entry]:
        """Return the commands that are for a user, or every one, by name."""
        found = self._file.current().items()
        return [entry for _, entry in sorted(found) if every or entry.is_for(user)]

    def get(self, name: str, user: str | None, *, every: bool = False) -> Entry:
        """Return a command; raise CommandNotFound, also where it is not the user's."""
        for entry in self.entries(user, every=every):
            if entry.name == name:
                return entry
        raise CommandNotFound

    def order(self, wish: Wish, *, user: str | None) -> Order:
        """Return what is run of a wish.

        Raises CommandNotAllowed, naming what is allowed, or InvalidInput.
        """
        if wish.command is not None:
            return self._allowed(wish.command, user).order(wish)
        if not self._allow_shell:
            raise CommandNotAllowed([entry.name for entry in self.entries(user)])
        return self._free_order(wish)

    def order_of_cmd(self, cmd: str, *, user: str | None) -> Order:
        """Return what is run of a text: by a shell, or as the catalogue has it.

        Without a shell its first word is the command's name, the others are its
        parameters. Raises as :meth:`order`.
        """
        if self._allow_shell:
            return self.order(Wish(cmd=cmd), user=user)
        words = words_of(cmd)
        entry = self._allowed(words[0] if words else "", user)
        wish = Wish(command=entry.name, params=entry.params_of(words[1:]))
        return entry.order(wish, cmd=cmd)

    def _allowed(self, name: str, user: str | None) -> Entry:
        entry = self._file.current().get(name)
        if entry is None or not entry.is_for(user):
            raise CommandNotAllowed([entry.name for entry in self.entries(user)])
        return entry

    def _free_order(self, wish: Wish) -> Order:
        """Return the order of whoever may run anything."""
        argv = ("/bin/sh", "-c", wish.cmd) if wish.cmd is not None else wish.argv or ()
        environment = {**self._environment, **wish.env}
        if faults := self._free_faults(wish, argv, environment):
            raise InvalidInput(faults)
        command = Command(
            tuple(argv),
            environment,
            wish.timeout_seconds or self._timeout_seconds,
            cwd=wish.cwd,
            stdin=None if wish.stdin is None else wish.stdin.encode(),
            separate_stderr=wish.stderr == "separate",
        )
        return Order(command, cmd=wish.cmd, is_detached=bool(wish.detached))

    def _free_faults(
        self, wish: Wish, argv: Sequence[str], environment: Mapping[str, str]
    ) -> list[Fault]:
        faults = [Fault("env", f.message) for f in _ENV.faults(wish.env)]
        texts = {"cmd": wish.cmd, "cwd": wish.cwd} | {
            f"argv.{number}": text for number, text in enumerate(wish.argv or ())
        }
        for path, text in texts.items():
            if text is not None and (fault := argument_fault(text)):
                faults.append(Fault(path, fault))
        for name, value in wish.env.items():
            if fault := argument_fault(value, name=name):
                faults.append(Fault(f"env.{name}", fault))
        program = wish.cmd if wish.argv is None else wish.argv[0]
        if program is not None and not program.strip():
            faults.append(Fault("cmd" if wish.argv is None else "argv.0", "is empty"))
        if (wish.timeout_seconds or 0) > self._timeout_seconds:
            fault = f"is more than the {self._timeout_seconds:g} that commands may run"
            faults.append(Fault("timeout_seconds", fault))
        if not faults and (fault := total_fault(argv, environment)):
            faults.append(Fault("argv" if wish.cmd is None else "cmd", fault))
        return faults

    def _entry(self, name: str, table: Mapping[str, Any]) -> Entry:
        return Entry(
            name,
            table,
            environment=self._environment,
            timeout_seconds=self._timeout_seconds,
        )
