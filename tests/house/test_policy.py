"""Who may use which route: all are in the policy, none is open by accident."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient
from werkzeug.routing import Rule

from app.api.access import Access, Who
from config.config import DevelopmentConfig, ProductionConfig
from tests.api.callers import ADMIN, with_users

METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"]

#: All that anybody may ask in production.
OPEN = {
    "/",
    "/v1/",
    "/v2/",
    "/v3/",
    "/v1/uptime/",
    "/v1/iostat/",
    "/v2/uptime/",
    "/v2/iostat/",
    "/v2/task/<task_id>",
    "/v2/task/<task_id>/output",
    "/api/health",
    "/api/health/ready",
    # Unless METRICS_TOKEN is set.
    "/metrics",
    "/openapi.json",
    "/docs",
    "/docs/<file>",
    "/api/<user>/<uuid>",
    # To whoever knows the secret in it.
    "/api/sms/receipts/<provider>/<secret>",
}

#: Of the pages, what anybody may: to sign in, and to see that.
OPEN_PAGES = {"/ui/sign-in", "/ui/choose", "/ui/static/<version>/<file>"}

JSON = "application/json"
BODIES: list[dict[str, Any]] = [
    {},
    {"data": b"{", "content_type": JSON},
    {"data": b"x" * (1024 * 1024 + 1), "content_type": JSON},
    {"data": b"x", "content_type": "text/plain"},
    {"json": {"unknown": 1}, "query_string": "limit=x&unknown=1"},
    {"headers": {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}},
]


@pytest.fixture
def production(make_app: Callable[..., Flask]) -> Flask:
    return make_app(ProductionConfig)


def _policy(app: Flask) -> dict[str, Access]:
    return dict(app.extensions["bellhop.policy"])


def _rule(text: str) -> str:
    return re.sub(r"<\w+(?:\(.*?\))?:(\w+)>", r"<\1>", text)


def _path(text: str) -> str:
    """Return a path of a rule: every part that may be anything is 1."""
    return re.sub(r"<.*?>", "1", text)


def _rules(app: Flask, *, pages: bool = False) -> list[Rule]:
    """Return the rules of the API, or of the pages."""
    rules = app.url_map.iter_rules()
    return [rule for rule in rules if rule.rule.startswith("/ui/") is pages]


def test_every_route_is_in_the_policy_and_nothing_else(production: Flask) -> None:
    rules = list(production.url_map.iter_rules())
    assert {rule.endpoint for rule in rules} == _policy(production).keys()
    assert len({rule.endpoint for rule in rules}) == len(rules), "a row for each rule"


def test_what_anybody_may_ask_in_production_is_this_and_no_more(
    production: Flask,
) -> None:
    client = production.test_client()
    found = set()
    for rule in _rules(production):
        answers = {
            client.open(_path(rule.rule), method=method).status_code
            for method in METHODS
        }
        assert answers == {401} or 401 not in answers, rule
        if answers != {401}:
            found.add(_rule(rule.rule))
    assert found == OPEN


def test_a_page_leads_who_has_no_session_to_sign_in(production: Flask) -> None:
    client = production.test_client()
    found = set()
    for rule in _rules(production, pages=True):
        answers = [client.open(_path(rule.rule), method=method) for method in METHODS]
        leads = [
            answer.headers.get("Location", "").startswith("/ui/sign-in?next=%2Fui%2F")
            for answer in answers
        ]
        assert all(leads) or not any(leads), rule
        assert {answer.status_code for answer in answers} == {303} or not any(leads)
        if not any(leads):
            found.add(_rule(rule.rule))
    assert found == OPEN_PAGES


def test_no_other_credentials_open_a_page(production: Flask) -> None:
    client = with_users(production)
    for rule in _rules(production, pages=True):
        if _rule(rule.rule) not in OPEN_PAGES:
            assert client.get(_path(rule.rule), auth=ADMIN).status_code == 303, rule


def test_an_account_is_asked_for_before_all_else(production: Flask) -> None:
    client = production.test_client()
    guarded = [
        _path(rule.rule) for rule in _rules(production) if _rule(rule.rule) not in OPEN
    ]
    unknown = ["/v3/nothing", "/v3/exec/x", "/v3/users/1/2/3", "/v3/v3/", "/v3/%00"]
    without_slash = ["/v3/exec", "/v3/task", "/v3/users", "/v3/audit", "/v3/iostat"]
    assert len(guarded) >= 17
    for path in (*guarded, *unknown, *without_slash):
        for method in METHODS:
            for body in BODIES if method != "TRACE" else BODIES[:1]:
                _assert_unknown(client, path, method, body)


def _assert_unknown(client: FlaskClient, path: str, method: str, body: Any) -> None:
    answer = client.open(path, method=method, **body)
    assert answer.status_code == 401, (method, path, body)
    challenge = answer.headers["WWW-Authenticate"]
    assert "Basic realm=" in challenge
    assert "Bearer" in challenge
    if method != "HEAD":
        assert answer.content_type == "application/problem+json"
        assert "errors" not in answer.json


def test_who_is_known_is_told_what_is_wrong(make_app: Callable[..., Flask]) -> None:
    client = with_users(make_app(ProductionConfig))
    for method, path, status in (
        ("GET", "/v3/nothing", 404),
        ("POST", "/v3/nothing", 404),
        ("GET", "/v3/users", 308),
        ("PUT", "/v3/exec/", 405),
        ("BREW", "/v3/task/1", 405),
        ("POST", "/v3/exec/", 415),
    ):
        answer = client.open(path, method=method, auth=ADMIN)
        assert answer.status_code == status, path


def test_every_method_of_an_account_s_route_has_a_scope(production: Flask) -> None:
    policy = _policy(production)
    for rule in production.url_map.iter_rules():
        access = policy[rule.endpoint]
        if access.who in (Who.ACCOUNT, Who.ACCOUNT_IN_PRODUCTION, Who.SESSION):
            methods = (rule.methods or set()) - {"HEAD", "OPTIONS"}
            assert methods <= access.scopes.keys(), rule
        else:
            assert not access.scopes, f"{rule} asks for none, so that they say nothing"


def test_every_get_that_starts_or_takes_is_marked_as_one(production: Flask) -> None:
    marked = {
        name for name, access in _policy(production).items() if access.changes("GET")
    }
    iostat = {"v2.iostat", "v3.iostat", "v3.host_iostat"}
    assert marked == {*iostat, "api.poll", "api.receipts"}


@pytest.mark.parametrize("config", [DevelopmentConfig, ProductionConfig])
@pytest.mark.parametrize("rule", ["/new", "/v1/new", "/v3/new/<name>", "/api/new"])
def test_a_route_that_somebody_forgot_in_the_policy_is_not_served(
    make_app: Callable[..., Flask], config: Any, rule: str
) -> None:
    app, served = make_app(config), []

    def view(**_in_path: str) -> Response:
        served.append(1)
        return Response("open by accident")

    app.add_url_rule(rule, "new", view, methods=["GET", "POST"])
    client = with_users(app)
    for method in ("GET", "HEAD", "POST", "OPTIONS", "DELETE"):
        for options in ({}, {"auth": ADMIN}):
            answer = client.open(_path(rule), method=method, **options)
            assert answer.status_code in (401, 500), method
            assert b"accident" not in answer.data
    assert served == []
