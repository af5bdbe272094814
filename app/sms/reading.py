"""Reads what vendors answer and report; none is trusted to keep to its own form."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .message import Category, Outcome, Rejected, Unknown
from .provider import OutcomeUnknown

# No message has more parts, and none is billed as more.
_COUNT = re.compile(r"[0-9]{1,4}")


@dataclass(frozen=True)
class Codes:
    """What a vendor's codes mean, by the whole code or by what it begins with."""

    category_of: Mapping[str, Category]
    category_of_prefix: Mapping[str, Category] = field(default_factory=dict)
    #: Limits of the receiver's.
    phone_limits: tuple[str, ...] = ()
    #: Of the vendor itself, but for what is in `category_of`: it may have been sent.
    internal: tuple[str, ...] = ()

    def outcome(self, code: object, words: object) -> Rejected | Unknown:
        """Return what a code that is no success says of one receiver."""
        words = str(words or "")
        if not isinstance(code, str) or not code:
            return Unknown("the answer has no code")
        if code in self.category_of:
            return Rejected(self.category_of[code], code, words)
        if code.startswith(self.phone_limits):
            return Rejected(Category.RATE_LIMITED, code, words, per_number=True)
        if code.startswith(self.internal):
            return Unknown(code)
        for prefix, category in self.category_of_prefix.items():
            if code.startswith(prefix):
                return Rejected(category, code, words)
        return Rejected(Category.UNKNOWN, code, words)

    def rejection(self, code: object, words: object) -> Rejected:
        """Return what a code says of a whole request; raises OutcomeUnknown."""
        outcome = self.outcome(code, words)
        if isinstance(outcome, Unknown):
            raise OutcomeUnknown(outcome.reason)
        return outcome


def by_number(
    told: Iterable[tuple[str, Outcome]], receivers: Sequence[str]
) -> list[Outcome]:
    """Return the outcomes of receivers from those that an answer names by number.

    Of two for one number the first counts; a number of nobody's is let be.
    """
    outcome_of: dict[str, Outcome] = {}
    for number, outcome in told:
        outcome_of.setdefault(number.lstrip("+"), outcome)
    missing = Unknown("the answer does not mention the number")
    return [outcome_of.get(number.lstrip("+"), missing) for number in receivers]


def read_json(body: bytes) -> Any:
    """Return what a body has; raises ValueError, for too much depth as well."""
    try:
        return json.loads(body)
    except RecursionError as error:
        raise ValueError("is too deep") from error


def read_objects(document: Any) -> list[Mapping[str, Any]]:
    """Return an array of objects; raises ValueError where it is none."""
    if not isinstance(document, list):
        raise ValueError("is not an array")
    if not all(isinstance(each, dict) for each in document):
        raise ValueError("has what is not an object")
    return document


def read_word(report: Mapping[str, Any], name: str) -> str:
    """Return a member that is a word or a number, "" without one.

    Raises ValueError where it is of another kind, or has what no database takes.
    """
    value = report.get(name)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{name} is not a word")
    if not str(value).isprintable():
        raise ValueError(f"{name} has control characters")
    return str(value)


def require_word(report: Mapping[str, Any], name: str) -> str:
    """Return a member as read_word does; raises ValueError without one, too."""
    word = read_word(report, name)
    if not word:
        raise ValueError(f"{name} is missing")
    return word


def read_count(value: Any) -> int | None:
    """Return a small number, which vendors write as such or as a word."""
    is_count = not isinstance(value, bool) and _COUNT.fullmatch(str(value))
    return int(value) if is_count else None
