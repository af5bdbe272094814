"""Texts with places for values, and how a value is written in one."""

import json
import re
from collections.abc import Mapping

_PIECE = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}|[{}]")


class Template:
    """One text; `{name}` is where a value goes, `{{` and `}}` are braces.

    Raises ValueError where a brace is neither.
    """

    def __init__(self, text: str) -> None:
        self._literals = [""]
        self._names: list[str] = []
        position = 0
        for piece in _PIECE.finditer(text):
            self._literals[-1] += text[position : piece.start()]
            position = piece.end()
            if piece[1]:
                self._names.append(piece[1])
                self._literals.append("")
            elif len(piece[0]) == 1:
                raise ValueError(f"has a lone {piece[0]}; a brace is written twice")
            else:
                self._literals[-1] += piece[0][0]
        self._literals[-1] += text[position:]

    @property
    def names(self) -> frozenset[str]:
        """The names of the values that it takes."""
        return frozenset(self._names)

    def fill(self, values: Mapping[str, str]) -> str:
        """Return the text, the values in it as they are."""
        rest = zip(self._names, self._literals[1:], strict=True)
        return self._literals[0] + "".join(values[name] + text for name, text in rest)


def written(value: str | float | bool) -> str:
    """Return a single value of JSON as text."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # JSON has one kind of number: 3.0 is the integer 3
    return json.dumps(value)
