"""What a method takes and answers: checked before it, told in the document."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.api.rendering import JSON
from app.errors import BellhopError
from app.schema import NO_MEMBERS, Schema

IDEMPOTENCY_KEY = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"

# What the text alone does not say of the task that has written it.
STATE = "X-Task-State"
RETURNCODE = "X-Returncode"


@dataclass(frozen=True)
class Answer:
    """An answer that is no problem: what it means, its body and its headers.

    `body` has a JSON Schema by media type, and is empty where there is none; a schema
    alone is that of JSON. `headers` are names, which the document explains.
    """

    meaning: str
    body: Mapping[str, Any] = field(default_factory=dict)
    headers: tuple[str, ...] = ()

    @property
    def content(self) -> dict[str, Any]:
        """The schema of the body by media type."""
        is_by_type = all("/" in name for name in self.body)
        return dict(self.body) if is_by_type else {JSON: self.body}


@dataclass(frozen=True)
class Operation:
    """A method of a resource: what it is for, what it takes, what it answers.

    No body is the same as an empty object where it is optional. `problems` are those
    of its own, beside those that every method has which takes the same. `headers` are
    the ones of a request that mean something to it. `is_stored` tells whether it
    reads or writes records, which may be away.
    """

    summary: str
    answers: Mapping[int, Answer]
    query: Schema = NO_MEMBERS
    body: Schema | None = None
    body_optional: bool = False
    problems: tuple[type[BellhopError], ...] = ()
    headers: tuple[str, ...] = ()
    is_stored: bool = True

    @property
    def answered_headers(self) -> tuple[str, ...]:
        """Headers that all its answers may have, for what it takes."""
        return (REPLAYED,) if IDEMPOTENCY_KEY in self.headers else ()
