"""What may be run here: the commands of a file, and a shell's where that is on."""

import threading
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from app.errors import CommandNotAllowed, CommandNotFound, Fault, InvalidInput
from app.processes.command import Command, argument_fault, total_fault
from app.schema import Schema

from .entry import VARIABLE, Entry, words_of
from .order import Order, Wish

_FILE = Schema(
    {
        "type": "object",
        "properties": {
            "commands": {
                "type": "object",
                "propertyNames": {"pattern": "[A-Za-z0-9._-]{1,64}"},
            }
        },
        "additionalProperties": False,
    }
)
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
        self._path = Path(path)
        self._allow_shell = allow_shell
        self._environment = environment
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()  # guards _read and _entries
        self._read: tuple[int, ...] | None = None
        self._entries: Mapping[str, Entry] = {}

    def entries(self, user: str | None, *, every: bool = False) -> Sequence[Entry]:
        """Return the commands that are for a user, or every one, by name."""
        found = self._current().items()
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
        entry = self._current().get(name)
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
        return Order(command, cmd=wish.cmd)

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

    def _current(self) -> Mapping[str, Entry]:
        """Return the commands by name, from the file where it has changed."""
        with self._lock:
            try:
                stat = self._path.stat()
                seen = (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino)
                if seen != self._read:
                    self._read_again(seen)
            except OSError as error:  # which may pass without a change of the file
                self._refuse((), [Fault("", error.strerror or str(error))])
            return self._entries

    def _read_again(self, seen: tuple[int, ...]) -> None:
        try:
            self._entries = self._load()
        except InvalidInput as error:
            self._refuse(seen, error.faults)
        except RecursionError:
            self._refuse(seen, [Fault("", "is nested too deeply")])
        else:
            self._read = seen
            log.info("catalogue.read", commands=sorted(self._entries))

    def _load(self) -> Mapping[str, Entry]:
        """Return the file's commands; raise InvalidInput naming every fault.

        Raises OSError where it cannot be read.
        """
        try:
            document = tomllib.loads(self._path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InvalidInput([Fault("", str(error))]) from error
        faults = _FILE.faults(document)
        entries = {}
        for name, table in document.get("commands", {}).items() if not faults else ():
            try:
                entries[name] = self._entry(name, table)
            except InvalidInput as error:
                paths = [f"commands.{name}.{f.path}" for f in error.faults]
                named = zip(paths, error.faults, strict=True)
                faults += [replace(f, path=path.rstrip(".")) for path, f in named]
        if faults:
            raise InvalidInput(faults)
        return entries

    def _entry(self, name: str, table: Mapping[str, Any]) -> Entry:
        return Entry(
            name,
            table,
            environment=self._environment,
            timeout_seconds=self._timeout_seconds,
        )

    def _refuse(self, seen: tuple[int, ...], faults: Sequence[Fault]) -> None:
        """Say once of each state of the file that it cannot be used."""
        if seen != self._read:
            self._read = seen
            shown = [": ".join(filter(None, (f.path, f.message))) for f in faults]
            kept = sorted(self._entries)
            log.error(
                "catalogue.refused", path=str(self._path), faults=shown, kept=kept
            )
