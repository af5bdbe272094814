"""What was found by whoever looks at a configuration, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Level(StrEnum):
    """How bad it is, in the word that is shown."""

    OK = "ok"
    NOTE = "note"
    FAULT = "FAULT"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; a fault keeps something from working, or safe.

    `remedy` says what to do, and is empty where there is nothing to be done.
    """

    about: str
    words: str
    level: Level = Level.OK
    remedy: str = ""

    @classmethod
    def note(cls, about: str, words: str, remedy: str) -> Self:
        """Return what may be meant, and should be known."""
        return cls(about, words, Level.NOTE, remedy)

    @classmethod
    def fault(cls, about: str, words: str, remedy: str) -> Self:
        """Return what is wrong."""
        return cls(about, words, Level.FAULT, remedy)

    @property
    def is_fault(self) -> bool:
        """Whether something does not work, or is not safe."""
        return self.level is Level.FAULT
