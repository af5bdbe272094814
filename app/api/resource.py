"""What every resource has in common: it validates, calls one service, and renders."""

from collections.abc import Mapping
from typing import Any, ClassVar

from flask import current_app, request
from flask_restful import Resource

from app.api.operation import Operation
from app.api.validation import check_query, has_body, read_body
from app.errors import Fault, InvalidInput
from app.schema import NO_MEMBERS
from app.services import Services


class BaseResource(Resource):  # type: ignore[misc]
    """A resource whose methods get a checked `query` and `body` where they take one.

    `operations` says by method what that is. Of what takes nothing any member of a body
    or of the query is refused, and no body is the same as an empty object.
    """

    operations: ClassVar[Mapping[str, Operation]]

    def dispatch_request(self, **in_path: Any) -> Any:
        """Validate, then call the method; who may not was refused before."""
        self.permit(in_path)
        return super().dispatch_request(**in_path, **self._checked(in_path))

    def permit(self, in_path: dict[str, Any]) -> None:
        """Raise where the caller may not because of whom the path is about."""

    def path_faults(self, in_path: dict[str, Any]) -> list[Fault]:  # noqa: ARG002
        """Return what is wrong with the path's own parts."""
        return []

    def body_faults(self, body: dict[str, Any]) -> list[Fault]:  # noqa: ARG002
        """Return what is wrong with a body that meets its schema."""
        return []

    def _checked(self, in_path: dict[str, Any]) -> dict[str, Any]:
        method = request.method.lower()
        takes = self.operations["get" if method == "head" else method]
        wants_body = takes.body is not None
        is_given = (wants_body and not takes.body_optional) or has_body()
        body = read_body() if is_given else {}
        query, query_faults = check_query(takes.query)
        body_schema = takes.body or NO_MEMBERS
        body_faults = body_schema.faults(body) if wants_body or is_given else []
        if wants_body and isinstance(body, dict):
            body_faults += self.body_faults(body)
        if faults := [*self.path_faults(in_path), *query_faults, *body_faults]:
            raise InvalidInput(faults)
        checked = {} if takes.query is NO_MEMBERS else {"query": query}
        return checked | {"body": body} if wants_body else checked


def services() -> Services:
    """Return what lives below the line."""
    found: Services = current_app.extensions["bellhop"]
    return found
