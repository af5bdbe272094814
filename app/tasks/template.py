"""Arguments of a program with places for values, each of which stays one argument."""

import re
from collections.abc import Mapping

_PIECE = re.compile(r"\{\{|\}\}|\{([a-z][a-z0-9_]*)\}|[{}]")


class Template:
    """One argument; `{name}` is where a value goes, `{{` and `}}` are braces.

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
        """Return the argument, the values in it as they are."""
        rest = zip(self._names, self._literals[1:], strict=True)
        return self._literals[0] + "".join(values[name] + text for name, text in rest)
