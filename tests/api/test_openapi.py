"""The OpenAPI document says what the service does: no more, no less."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import validate

from app.api.access import Access, Who
from app.api.errors import status_of, type_of
from app.errors import BellhopError
from app.version import VERSION
from config.config import BaseConfig, DevelopmentConfig, ProductionConfig
from tests.api.callers import ADMIN, ANN, JSON, add_user, start, token_of
from tests.house.test_errors import leaves
from tests.servers import PROJECT

METHODS = {"get", "post", "put", "patch", "delete"}
PROBLEM = "application/problem+json"

#: What only a task of ours would be told.
NOT_TOLD_AS_SUCH = {"MessageExists"}

Document = dict[str, Any]


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    made = make_app(ProductionConfig, EXEC_TOKEN_REQUIRED="0", SMS_PROVIDER="memory")
    add_user(made, *ADMIN, admin=True)
    add_user(made, *ANN)
    return made


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def document(app: Flask) -> Document:
    return document_of(app)


def document_of(app: Flask) -> Document:
    return dict(app.test_client().get("/openapi.json").json)


def operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    """Give the path, the method and the description of every operation."""
    for path, item in document["paths"].items():
        for method in sorted(METHODS & item.keys()):
            yield path, method, item[method]


def rules(app: Flask) -> dict[str, tuple[set[str], Access]]:
    """Return the methods of each path, as the document writes it, and who may."""
    part, policy = r"<(?:\w+(?:\(.*?\))?:)?(\w+)>", app.extensions["bellhop.policy"]
    return {
        re.sub(part, r"{\1}", rule.rule): (
            {name.lower() for name in rule.methods or ()} & METHODS,
            policy[rule.endpoint],
        )
        for rule in app.url_map.iter_rules()
        if not rule.endpoint.startswith("ui.")  # which is for people
    }


def faults(document: Document, schema: Any, value: Any) -> list[str]:
    whole = {**schema, "components": document["components"]}
    checked = Draft202012Validator(whole, format_checker=FormatChecker())
    return [error.message for error in checked.iter_errors(value)]


def shut(schema: Any) -> Any:
    """Return a schema of which an object has no member that is not described."""
    if isinstance(schema, list):
        return [shut(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: shut(value) for name, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "required" in schema:
        found.setdefault("additionalProperties", False)
    return found


def test_it_is_openapi_3_1(document: Document) -> None:
    assert document["openapi"].startswith("3.1.")
    validate(document)


def test_the_release_that_it_names_is_the_projects() -> None:
    assert f'\nversion = "{VERSION}"\n' in (PROJECT / "pyproject.toml").read_text()


def test_it_has_every_route_with_its_methods_and_none_other(
    app: Flask, document: Document
) -> None:
    documented = {
        path: METHODS & item.keys() for path, item in document["paths"].items()
    }
    assert documented == {path: methods for path, (methods, _) in rules(app).items()}


def test_an_operation_has_a_name_of_its_own_and_words(document: Document) -> None:
    found = [operation for _, _, operation in operations(document)]
    names = {operation["operationId"] for operation in found}
    assert len(names) == len(found)
    tags = {tag["name"] for tag in document["tags"]}
    for operation in found:
        assert operation["summary"]
        assert set(operation["tags"]) <= tags


@pytest.mark.parametrize("error", leaves(), ids=lambda error: error.__name__)
def test_a_problem_is_documented_with_its_status(
    make_app: Callable[..., Flask], error: type[BellhopError]
) -> None:
    document = document_of(make_app(ProductionConfig))
    examples = [
        (int(name.partition("-")[0]), example["value"])
        for name, response in document["components"]["responses"].items()
        for example in response["content"][PROBLEM]["examples"].values()
    ]
    found = [each for each in examples if each[1]["type"] == type_of(error)]
    assert bool(found) is (error.__name__ not in NOT_TOLD_AS_SUCH)
    schema = document["components"]["schemas"]["Problem"]
    for status, example in found:
        assert status == status_of(error)
        assert example["status"] in (status, "busy")
        assert not faults(document, schema, example)


def test_what_is_answered_and_what_is_taken_has_an_example_that_fits(
    document: Document,
) -> None:
    schemas = dict(document["components"]["schemas"])
    for path, method, operation in operations(document):
        if body := operation.get("requestBody"):
            schemas[f"{method} {path}"] = body["content"][JSON]["schema"]
    for name, schema in schemas.items():
        if name != "Problem":  # whose examples are those of each kind
            assert schema["examples"], name
        for example in schema.get("examples", []):
            assert not faults(document, shut(schema), example), name


@pytest.mark.parametrize("config", [ProductionConfig, DevelopmentConfig])
def test_it_asks_for_credentials_where_the_policy_does(
    make_app: Callable[..., Flask], config: type[BaseConfig]
) -> None:
    app = make_app(config)
    document = document_of(app)
    asking, signing = {Who.ACCOUNT}, set()
    if config is ProductionConfig:
        asking, signing = {Who.ACCOUNT, Who.ACCOUNT_IN_PRODUCTION}, {Who.SIGNER}
    for path, _, operation in operations(document):
        who = rules(app)[path][1].who
        assert bool(operation["security"]) is (who in asking), path
        assert ("401" in operation["responses"]) is (who in asking | signing), path


def test_every_example_is_answered_as_documented_with_no_other_member(
    client: FlaskClient, document: Document
) -> None:
    state = _state(client)
    shut_document = shut(document)
    # What removes comes last, and first what is removed with another.
    ordered = sorted(
        operations(document),
        key=lambda each: (each[1] == "delete", -len(each[0]) * (each[1] == "delete")),
    )
    for path, method, operation in ordered:
        if "{secret}" in path:
            continue  # in the vendor's own form
        body = operation.get("requestBody", {}).get("content", {}).get(JSON, {})
        for example in body.get("schema", {}).get("examples", [None]):
            sent = {} if example is None else {"json": example}
            url = path.format_map(state | {"task_id": state.get(path[1:3])})
            answer = client.open(url, method=method.upper(), auth=ADMIN, **sent)
            at = (method, url, answer.status_code, answer.data[:300])
            assert answer.status_code < 300, at
            described = operation["responses"][str(answer.status_code)]
            told = answer.headers.keys() & document["components"]["headers"].keys()
            assert told <= described["headers"].keys(), at
            content = described.get("content", {"": {}})
            assert content.keys() & {answer.mimetype or "", "*/*"}, at
            if answer.mimetype == JSON:
                schema = shut(content[JSON]["schema"])
                assert not faults(shut_document, schema, answer.json), at
            answer.close()


def _state(client: FlaskClient) -> dict[str, Any]:
    """Make what the examples are about; return the parts of paths that name it."""
    sent = client.post(
        "/api/sms",
        json={
            "receivers": "+8613800000000",
            "template": "captcha",
            "params": {"code": 1},
        },
        auth=ADMIN,
    )
    client.post("/v1/user", json={"name": "Anna", "age": 30}, auth=ADMIN)
    token_of(client, ANN)
    [token] = client.get("/v3/users/ann/tokens", auth=ANN).json["tokens"]
    return {
        "v2": client.post("/v2/iostat/").json["task_id"],
        "v3": start(client, ADMIN, command="echo", wait_seconds=10)["task_id"],
        "message_id": sent.json["id"],
        "token_id": token["id"],
        "uid": 0,
        "name": "echo",
        "host": client.application.config["BELLHOP_HOST"],
        "username": "ann",
        "user": "anna",
        "uuid": "42",
        "file": "start.js",
    }


def test_the_figures_ask_for_their_token_where_there_is_one(
    make_app: Callable[..., Flask],
) -> None:
    paths = document_of(make_app(METRICS_TOKEN="the figures' own"))["paths"]
    operation = paths["/metrics"]["get"]
    assert operation["security"] == [{"metricsToken": []}]
    assert "401" in operation["responses"]


def test_it_is_kept_until_it_changes(client: FlaskClient) -> None:
    name = client.get("/openapi.json").headers["ETag"]
    again = client.get("/openapi.json", headers={"If-None-Match": name})
    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize("path", ["/", "/v1/", "/v2/", "/v3/"])
def test_an_index_says_where_the_service_is_described(
    client: FlaskClient, path: str
) -> None:
    link = client.get(path).headers["Link"]
    assert '</openapi.json>; rel="service-desc"' in link
    assert '</docs>; rel="service-doc"' in link


def test_the_page_has_all_that_it_needs_from_here(client: FlaskClient) -> None:
    page = client.get("/docs")
    text = page.get_data(as_text=True)
    assert page.mimetype == "text/html"
    assert "script-src 'self';" in page.headers["Content-Security-Policy"]
    assert "<script>" not in text, "the policy would stop it"
    loaded = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert len(loaded) >= 5
    for path in loaded:
        assert path.startswith("/")
        with client.get(path) as part:
            assert part.status_code == 200, path
            assert part.data
    page.close()


@pytest.mark.parametrize("path", ["/docs/none.js", "/docs/..%2froute.py", "/docs/"])
def test_of_the_page_there_is_nothing_else(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.mimetype) == (404, PROBLEM)
