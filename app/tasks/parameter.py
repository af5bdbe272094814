"""One parameter of a command: what it takes, and how a value is written."""

import json
import re
from collections.abc import Mapping
from math import isfinite
from typing import Any

from app.errors import Fault
from app.processes.command import argument_fault
from app.schema import Schema
from app.template import written

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


class Parameter:
    """A parameter by its JSON Schema, which a single value has to meet."""

    def __init__(self, name: str, document: Mapping[str, Any]) -> None:
        self.name = name
        self.document = document
        self.is_required = "default" not in document
        self.default = document.get("default")
        self._schema = Schema(document)
        # A pattern or a list says what may begin with a hyphen.
        self._takes_hyphen = "pattern" in document or "enum" in document

    @property
    def is_secret(self) -> bool:
        """Whether no value of it is kept, or shown."""
        is_password = self.document.get("format") == "password"
        return is_password or bool(self.document.get("writeOnly"))

    @property
    def variable(self) -> str:
        """The variable of the environment that has the value too."""
        return f"BELLHOP_PARAM_{self.name.upper()}"

    def faults(self, value: Any) -> list[Fault]:
        """Return what is wrong with a value; the paths begin with its name."""
        if found := self._schema.faults(value):
            paths = [".".join(filter(None, (self.name, f.path))) for f in found]
            named = zip(paths, found, strict=True)
            return [Fault(path, fault.message) for path, fault in named]
        fault = self._argument_fault(value)
        return [Fault(self.name, fault)] if fault else []

    def from_text(self, text: str) -> Any:
        """Return the value that a word of a command line stands for.

        That is the word itself where the parameter takes it, and a number or a boolean
        only where it does not.
        """
        values = [text, *_value_in(text)]
        for value in values:
            if not self.faults(value):
                return value
        is_text = "string" in self.document.get("type", "string")
        return text if is_text else values[-1]

    def _argument_fault(self, value: Any) -> str | None:
        if not isinstance(value, str | int | float):
            return "is not a single value"
        if isinstance(value, str) and value.startswith("-") and not self._takes_hyphen:
            return "begins with a hyphen, which a program may take for an option"
        return argument_fault(written(value), name=self.variable)


def _value_in(text: str) -> list[Any]:
    """Return the number or the boolean that a text is in JSON, if it is one."""
    is_number = _NUMBER.fullmatch(text) and isfinite(float(text))
    return [json.loads(text)] if is_number or text in ("true", "false") else []
