"""A TOML file of named tables that is read again when it has changed."""

import threading
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from app.errors import Fault, InvalidInput
from app.schema import Schema

_NAME = "[A-Za-z0-9._-]{1,64}"

Made = TypeVar("Made")


class OnRefused(Protocol):
    """Is told why a file is not used, and what is kept of the one before."""

    def __call__(
        self, *, path: str, faults: Sequence[str], kept: Sequence[str]
    ) -> None:
        """Log it."""


class WatchedFile(Generic[Made]):
    """What is made of the tables of a file, `[tables.NAME]`; kept while it is faulty.

    `make` is given a name and its table, and raises InvalidInput with paths within
    that. A faulty file leaves what was there. `on_read` is told the names, and
    `on_refused` the faults, once for each change.
    """

    def __init__(
        self,
        path: str,
        *,
        tables: str,
        make: Callable[[str, Mapping[str, Any]], Made],
        on_read: Callable[[Sequence[str]], None],
        on_refused: OnRefused,
    ) -> None:
        self._path = Path(path)
        self._tables = tables
        self._make = make
        self._on_read = on_read
        self._on_refused = on_refused
        self._schema = Schema(
            {
                "type": "object",
                "properties": {
                    tables: {"type": "object", "propertyNames": {"pattern": _NAME}}
                },
                "additionalProperties": False,
            }
        )
        self._lock = threading.Lock()  # guards _read and _made
        self._read: tuple[int, ...] | None = None
        self._made: Mapping[str, Made] = {}

    def current(self) -> Mapping[str, Made]:
        """Return what there is by name, from the file where that has changed."""
        with self._lock:
            try:
                stat = self._path.stat()
                seen = (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino)
                if seen != self._read:
                    self._read_again(seen)
            except OSError as error:  # which may pass without a change of the file
                self._refuse((), [_unreadable(error)])
            return self._made

    def check(self) -> None:
        """Raise InvalidInput naming every fault of the file as it is now."""
        try:
            self._load()
        except OSError as error:
            raise InvalidInput([_unreadable(error)]) from error

    def _read_again(self, seen: tuple[int, ...]) -> None:
        try:
            self._made = self._load()
        except InvalidInput as error:
            self._refuse(seen, error.faults)
        else:
            self._read = seen
            self._on_read(sorted(self._made))

    def _load(self) -> Mapping[str, Made]:
        """Return what the file has; raise InvalidInput naming every fault.

        Raises OSError where it cannot be read.
        """
        try:
            return self._made_of(self._document())
        except RecursionError as error:
            raise InvalidInput([Fault("", "is nested too deeply")]) from error

    def _document(self) -> Mapping[str, Any]:
        try:
            return tomllib.loads(self._path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InvalidInput([Fault("", str(error))]) from error

    def _made_of(self, document: Mapping[str, Any]) -> Mapping[str, Made]:
        faults = self._schema.faults(document)
        made = {}
        for name, table in document.get(self._tables, {}).items() if not faults else ():
            try:
                made[name] = self._make(name, table)
            except InvalidInput as error:
                paths = [f"{self._tables}.{name}.{f.path}" for f in error.faults]
                named = zip(paths, error.faults, strict=True)
                faults += [replace(f, path=path.rstrip(".")) for path, f in named]
        if faults:
            raise InvalidInput(faults)
        return made

    def _refuse(self, seen: tuple[int, ...], faults: Sequence[Fault]) -> None:
        """Say once of each state of the file that it cannot be used."""
        if seen != self._read:
            self._read = seen
            shown = [": ".join(filter(None, (f.path, f.message))) for f in faults]
            kept = sorted(self._made)
            self._on_refused(path=str(self._path), faults=shown, kept=kept)


def _unreadable(error: OSError) -> Fault:
    return Fault("", error.strerror or str(error))
