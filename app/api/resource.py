"""What every resource has in common: guard, validate, call, render."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from flask import current_app, request
from flask_restful import Resource

from app.api.validation import NO_QUERY, Schema, check_query, read_body
from app.errors import InvalidInput
from app.services import Services


@dataclass(frozen=True)
class Takes:
    """What a method takes: the schema of its query, and of its body if it has one."""

    query: Schema = NO_QUERY
    body: Schema | None = None


class BaseResource(Resource):  # type: ignore[misc]
    """A resource whose methods get a checked `query` and `body` where they take one.

    `takes` says by method what that is. A method that is not there takes nothing: a
    body is then not read, any member of the query is refused.
    """

    takes: ClassVar[Mapping[str, Takes]] = {}

    def dispatch_request(self, **in_path: Any) -> Any:
        """Guard, validate, then call the method."""
        self.guard(in_path)
        return super().dispatch_request(**in_path, **self._checked())

    def guard(self, in_path: dict[str, Any]) -> None:
        """Raise where the caller may not; called before anything is read.

        It may take out of `in_path` what the method has no need to know.
        """

    def _checked(self) -> dict[str, Any]:
        method = request.method.lower()
        takes = self.takes.get("get" if method == "head" else method, Takes())
        body = None if takes.body is None else read_body()
        query, faults = check_query(takes.query)
        if takes.body is not None:
            faults += takes.body.faults(body)
        if faults:
            raise InvalidInput(faults)
        checked = {} if takes.query is NO_QUERY else {"query": query}
        return checked if takes.body is None else checked | {"body": body}


def services() -> Services:
    """Return what lives below the line."""
    found: Services = current_app.extensions["bellhop"]
    return found
