"""Makes the document of an application."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from apispec import APISpec
from flask import Flask

from app.api.access import Access, Who
from app.api.operation import Answer, Operation
from app.api.rendering import JSON
from app.api.schemas import answer, command, host, people, sms, task, user
from app.api.schemas import exec as start
from app.version import VERSION

from . import problems
from .route import Route
from .words import CALLER, DESCRIPTION, HEADERS, IN_PATH, SECURITY, SENT_HEADERS, TAGS

_SCHEMAS = (answer, host, task, start, command, people, user, sms)

Object = dict[str, Any]


def make_document(app: Flask) -> Object:
    """Return the OpenAPI document of all routes of `app`."""
    spec = APISpec(
        title="Bellhop",
        version=VERSION,
        openapi_version="3.1.0",
        info={"description": DESCRIPTION, "license": {"name": "MIT"}},
        tags=[{"name": name, "description": words} for name, words in TAGS.items()],
    )
    _describe_components(spec)
    for route in sorted(_routes(app), key=lambda route: route.path):
        spec.path(
            path=route.path,
            operations={
                method: _operation(spec, route, method, operation)
                for method, operation in route.operations.items()
            },
            parameters=_parameters(route),
        )
    return spec.to_dict()


def _routes(app: Flask) -> Iterator[Route]:
    policy: Mapping[str, Access] = app.extensions["bellhop.policy"]
    for rule in app.url_map.iter_rules():
        view: Any = app.view_functions[rule.endpoint]
        if hasattr(view, "view_class"):  # a page is for people
            yield Route(rule, policy[rule.endpoint], view.view_class, app.config)


def _describe_components(spec: APISpec) -> None:
    for module in _SCHEMAS:
        for name, document in module.ANSWERS.items():
            spec.components.schema(name, dict(document))
    for name, header in HEADERS.items():
        spec.components.header(name, header)
    for name, scheme in SECURITY.items():
        spec.components.security_scheme(name, scheme)
    for name, header in SENT_HEADERS.items():
        spec.components.parameter(name, "header", {"name": name, **header})


def _operation(
    spec: APISpec, route: Route, method: str, operation: Operation
) -> Object:
    found = problems.by_status(route, method.upper(), operation)
    answers = {status: _answer(a, operation) for status, a in operation.answers.items()}
    refusals = {status: _refusal(spec, status, kinds) for status, kinds in found}
    return {
        "operationId": f"{method}_{re.sub(r'[^a-z0-9]', '_', route.endpoint)}",
        "summary": operation.summary,
        "tags": [route.endpoint.partition(".")[0]],
        "security": [{name: []} for name in route.security],
        "parameters": [*_query(operation), *operation.headers],
        **_request_body(operation),
        "responses": {**answers, **refusals},
    }


def _parameters(route: Route) -> list[Any]:
    """Return what all methods of a route take, the parts of its path first."""
    known = IN_PATH | ({"uuid": CALLER} if route.access.who is Who.SIGNER else {})
    parts = [
        {"name": name, "in": "path", "required": True, **known[name]}
        for name in route.parts
    ]
    return [*parts, "X-Request-ID"]


def _query(operation: Operation) -> list[Object]:
    members = operation.query.document.get("properties", {})
    return [
        {"name": name, "in": "query", "schema": _published(schema)}
        for name, schema in members.items()
    ]


def _request_body(operation: Operation) -> Object:
    if operation.body is None:
        return {}
    schema = _published(operation.body.document)
    is_required = not operation.body_optional
    return {
        "requestBody": {"required": is_required, "content": {JSON: {"schema": schema}}}
    }


def _answer(answer: Answer, operation: Operation) -> Object:
    names = ("X-Request-ID", *answer.headers, *operation.answered_headers)
    described: Object = {
        "description": answer.meaning,
        "headers": {name: name for name in names},
    }
    content = {kind: {"schema": schema} for kind, schema in answer.content.items()}
    return described | ({"content": content} if content else {})


def _refusal(spec: APISpec, status: int, kinds: problems.Kinds) -> str:
    """Return the name of the component that such a response is, made once."""
    name = problems.component_of(status, kinds)
    if name not in spec.components.responses:
        spec.components.response(name, problems.response(status, kinds))
    return name


def _published(document: Any) -> Any:
    """Return a schema in which a pattern matches the whole value, as ours do."""
    if isinstance(document, Mapping):
        found = {name: _published(value) for name, value in document.items()}
        if isinstance(pattern := document.get("pattern"), str):
            found["pattern"] = f"^(?:{pattern})$"
        return found
    return [*map(_published, document)] if isinstance(document, list) else document
