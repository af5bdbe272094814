"""Tokens and signing keys: shown once, good for what they are for, ended at once."""

import hashlib
import hmac
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from config.config import ProductionConfig
from tests.api.callers import ADMIN, ANN, BOB, JSON, Auth, bearer, token_of, with_users
from tests.api.checks import paths, problem
from tests.servers import wait_until

ANNS = "/v3/users/ann/tokens"
ORDINARY = ["read", "exec", "sms"]

FAULTY: list[tuple[Any, set[str]]] = [
    ({"scopes": []}, {"scopes"}),
    ({"scopes": ["read", "read"]}, {"scopes"}),
    ({"scopes": ["write"]}, {"scopes.0"}),
    ({"scopes": ["read", "Read", 7]}, {"scopes.1", "scopes.2"}),
    ({"scopes": "read"}, {"scopes"}),
    ({"scopes": None}, {"scopes"}),
    ({"expires_seconds": 0}, {"expires_seconds"}),
    ({"expires_seconds": -1}, {"expires_seconds"}),
    ({"expires_seconds": "60"}, {"expires_seconds"}),
    ({"expires_seconds": True}, {"expires_seconds"}),
    ({"expires_seconds": 1e300}, {"expires_seconds"}),
    ({"expires_seconds": None}, {"expires_seconds"}),
    ({"description": "x" * 201}, {"description"}),
    ({"description": 7}, {"description"}),
    ({"id": "x", "token": "y"}, {"id", "token"}),
    ({"scopes": [], "expires_seconds": 0}, {"expires_seconds", "scopes"}),
    ([], {""}),
]


def _issue(client: FlaskClient, body: Any = None, who: Auth = ANN) -> dict[str, Any]:
    options = {} if body is None else {"json": body}
    answer = client.post(f"/v3/users/{who[0]}/tokens", auth=who, **options)
    assert answer.status_code == 201, answer.json
    return dict(answer.json)


def _is_good(client: FlaskClient, token: str) -> bool:
    answer = client.get("/v3/uptime/", headers=bearer(token))
    assert answer.status_code in (200, 401)
    return answer.status_code == 200


def _listed(client: FlaskClient, who: Auth = ANN) -> list[dict[str, Any]]:
    return list(client.get(f"/v3/users/{who[0]}/tokens", auth=who).json["tokens"])


class TestIssue:
    def test_it_is_shown_with_what_it_is_good_for(self, v3: FlaskClient) -> None:
        body = {"scopes": ["read"], "expires_seconds": 3600, "description": "部署"}
        answer = v3.post(ANNS, json=body, auth=ANN)
        assert answer.status_code == 201
        token = answer.json
        assert token.keys() >= {"id", "token", "scopes", "expires"}
        assert (token["scopes"], token["description"]) == (["read"], "部署")
        assert token["created"] < token["expires"]
        assert token["expires"].endswith("Z")
        assert answer.headers["Cache-Control"] == "no-store"
        assert _is_good(v3, token["token"])

    @pytest.mark.parametrize("body", [None, {}])
    def test_without_a_body_it_is_an_ordinary_one_that_stays(
        self, v3: FlaskClient, body: Any
    ) -> None:
        token = _issue(v3, body)
        assert (token["scopes"], token["expires"]) == (ORDINARY, None)
        assert token["description"] == ""
        of_admin = _issue(v3, body, ADMIN)
        assert of_admin["scopes"] == ORDINARY, "admin has to be asked for"

    def test_no_answer_shows_it_again_and_no_record_has_it(
        self, v3: FlaskClient, tmp_path: Path
    ) -> None:
        token = _issue(v3, {"description": "mine"})
        again = _issue(v3, {"description": "mine"})
        assert token["token"] != again["token"]
        for who in (ANN, ADMIN):
            answer = v3.get(ANNS, auth=who)
            assert [one["id"] for one in answer.json["tokens"]] == [
                token["id"],
                again["id"],
            ]
            assert "token" not in answer.json["tokens"][0]
            assert token["token"] not in answer.text
        assert token["token"] not in v3.get("/v3/audit/", auth=ADMIN).text
        database = sqlite3.connect(tmp_path / "instance" / "bellhop.db")
        dump = "\n".join(database.iterdump())
        database.close()
        assert token["id"] in dump
        assert token["token"].partition("_")[2] not in dump

    def test_a_faulty_body_is_named_and_nothing_issued(self, v3: FlaskClient) -> None:
        for body, expected in FAULTY:
            assert set(paths(v3.post(ANNS, json=body, auth=ANN))) == expected, body
        assert _listed(v3) == []

    def test_what_is_no_json_is_refused_although_none_is_needed(
        self, v3: FlaskClient
    ) -> None:
        problem(v3.post(ANNS, data=b"x", auth=ANN), 415)
        problem(v3.post(ANNS, data=b"{", content_type=JSON, auth=ANN), 400)

    def test_nobody_gets_more_than_the_account_has(self, v3: FlaskClient) -> None:
        wanted = {"scopes": ["read", "admin"]}
        for who in (ANN, ADMIN):
            problem(v3.post(ANNS, json=wanted, auth=who), 403)
        assert _listed(v3) == []
        assert _issue(v3, wanted, ADMIN)["scopes"] == ["read", "admin"]

    def test_an_admin_issues_for_others_and_nobody_else_does(
        self, v3: FlaskClient
    ) -> None:
        answer = v3.post(ANNS, auth=ADMIN)
        assert answer.status_code == 201
        task = v3.post(
            "/v3/exec/", json={"cmd": "true"}, headers=bearer(answer.json["token"])
        )
        assert task.json["owner"] == "ann"
        problem(v3.post(ANNS, auth=BOB), 403)
        problem(v3.get(ANNS, auth=BOB), 403)
        problem(v3.delete(f"{ANNS}/{answer.json['id']}", auth=BOB), 403)
        problem(v3.post("/v3/users/nobody/tokens", auth=ADMIN), 404)
        problem(v3.post("/v3/users/nobody/tokens", auth=BOB), 403)
        assert len(_listed(v3)) == 1

    def test_the_list_goes_by_pages(self, v3: FlaskClient) -> None:
        ids = [_issue(v3)["id"] for _ in range(5)]
        found, href = [], f"{ANNS}?limit=2"
        while href:
            answer = v3.get(href, auth=ANN)
            found += [token["id"] for token in answer.json["tokens"]]
            following = [x["href"] for x in answer.json["links"] if x["rel"] == "next"]
            href = following[0] if following else ""
            assert ("Link" in answer.headers) is bool(href)
        assert found == ids
        assert paths(v3.get(f"{ANNS}?cursor=x", auth=ANN)) == ["cursor"]


class TestEnd:
    def test_a_revoked_token_is_worth_nothing_at_once(self, v3: FlaskClient) -> None:
        kept, token = _issue(v3), _issue(v3)
        [_, shown] = _listed(v3)
        [link] = [x for x in shown["links"] if x["rel"] == "revoke"]
        assert (link["method"], link["href"]) == ("DELETE", f"{ANNS}/{token['id']}")
        assert _is_good(v3, token["token"])
        answer = v3.delete(link["href"], auth=ANN)
        assert (answer.status_code, answer.data) == (204, b"")
        assert not _is_good(v3, token["token"])
        assert _is_good(v3, kept["token"])
        problem(v3.delete(link["href"], auth=ANN), 404)
        assert [one["id"] for one in _listed(v3)] == [kept["id"]]

    def test_another_s_token_is_not_found_under_one_s_own_name(
        self, v3: FlaskClient
    ) -> None:
        token = _issue(v3)
        for token_id in (token["id"], "x", "%00", "x" * 5000, token["token"]):
            problem(v3.delete(f"/v3/users/bob/tokens/{token_id}", auth=BOB), 404)
        assert _is_good(v3, token["token"])

    def test_an_expired_token_is_worth_nothing(self, v3: FlaskClient) -> None:
        token = _issue(v3, {"expires_seconds": 0.2})
        wait_until(lambda: not _is_good(v3, token["token"]))
        assert _is_good(v3, _issue(v3, {"expires_seconds": 10**10})["token"])

    def test_a_changed_password_ends_no_token(self, v3: FlaskClient) -> None:
        token = _issue(v3)
        v3.patch("/v3/users/ann", json={"password": "another one"}, auth=ADMIN)
        assert _is_good(v3, token["token"])
        answer = v3.delete(f"{ANNS}/{token['id']}", auth=("ann", "another one"))
        assert answer.status_code == 204
        assert not _is_good(v3, token["token"])


class TestBearer:
    def test_what_is_not_the_token_is_refused(self, v3: FlaskClient) -> None:
        token = _issue(v3)["token"]
        for value in (
            *("Bearer", "Bearer ", f"Bearer {token}x", f"Bearer {token[:-1]}"),
            *(f"Bearer {token.swapcase()}", f"Bearer {token} x", f"Bearer  x{token}"),
            *(f"Token {token}", f"Basic {token}", f"Digest {token}", token),
            *(f'Bearer "{token}"', f"Bearer token={token}", "Bearer \xe9"),
        ):
            answer = v3.get("/v3/uptime/", headers={"Authorization": value})
            problem(answer, 401)
        assert _is_good(v3, token)

    def test_the_scheme_may_be_in_any_case(self, v3: FlaskClient) -> None:
        token = _issue(v3)["token"]
        for scheme in ("Bearer", "bearer", "BEARER"):
            headers = {"Authorization": f"{scheme} {token}"}
            assert v3.get("/v3/uptime/", headers=headers).status_code == 200

    def test_a_token_is_no_password_and_a_password_no_token(
        self, v3: FlaskClient
    ) -> None:
        token = _issue(v3)
        for auth in (("ann", token["token"]), (token["id"], token["token"])):
            problem(v3.get("/v3/uptime/", auth=auth), 401)
        problem(v3.get("/v3/uptime/", headers=bearer("password")), 401)
        problem(v3.get("/v3/uptime/", headers=bearer(token["id"])), 401)


WRITES = [
    ("POST", ANNS),
    ("DELETE", f"{ANNS}/x"),
    ("POST", "/v3/users/ann/signing-key"),
]


BODIES: list[dict[str, Any]] = [
    {},
    {"json": {"scopes": ["read"]}},
    {"json": {"x": 1}},
    {"data": b"{", "content_type": JSON},
    {"data": b"x", "content_type": "text/plain"},
    {"query_string": "x=1"},
]


class TestNoCredentialsFromAToken:
    def test_whatever_is_asked_it_is_refused_first(self, v3: FlaskClient) -> None:
        for who in (ANN, ADMIN):
            headers = bearer(token_of(v3, who))
            for method, path in WRITES:
                own = path.replace("ann", who[0])
                for body in BODIES:
                    answer = v3.open(own, method=method, headers=headers, **body)
                    problem(answer, 403)
            assert len(_listed(v3, who)) == 1

    def test_one_with_the_scope_admin_may(self, v3: FlaskClient) -> None:
        headers = bearer(token_of(v3, ADMIN, scopes=["admin"]))
        made = v3.post(ANNS, headers=headers)
        assert made.status_code == 201
        path = f"{ANNS}/{made.json['id']}"
        assert v3.delete(path, headers=headers).status_code == 204
        for name in ("ann", "admin"):
            key = v3.post(f"/v3/users/{name}/signing-key", headers=headers)
            assert key.status_code == 201


class TestSigningKey:
    @pytest.fixture
    def production(self, make_app: Callable[..., Flask]) -> FlaskClient:
        return with_users(make_app(ProductionConfig))

    def test_it_is_shown_once(self, v3: FlaskClient) -> None:
        answer = v3.post("/v3/users/ann/signing-key", auth=ANN)
        assert answer.status_code == 201
        assert answer.json.keys() == {"signing_key"}
        assert answer.headers["Cache-Control"] == "no-store"
        key = answer.json["signing_key"]
        for path in ("/v3/users/ann", ANNS, "/v3/users/?detail=1", "/v3/audit/"):
            assert key not in v3.get(path, auth=ADMIN).text
        assert v3.post("/v3/users/ann/signing-key", auth=ANN).json != answer.json

    def test_what_it_signs_is_taken_until_there_is_another(
        self, production: FlaskClient
    ) -> None:
        keys = [_key(production, ANN) for _ in range(2)]
        uuids = [_sign("ann", key) for key in keys]
        problem(production.get(f"/api/poll/{uuids[0]}"), 401)
        assert production.get(f"/api/poll/{uuids[1]}").status_code == 200
        problem(production.get(f"/api/poll/{_sign('bob', keys[1])}"), 401)
        body = {"cmd": "echo text=hello"}
        started = production.post(f"/api/exec/{uuids[1]}", json=body)
        assert started.status_code == 202
        _key(production, ANN)
        problem(production.get(f"/api/poll/{uuids[1]}"), 401)

    def test_what_it_starts_is_the_user_s(self, production: FlaskClient) -> None:
        uuid = _sign("ann", _key(production, ANN))
        started = production.post(f"/api/exec/{uuid}", json={"cmd": "echo hi"})
        links = {link["rel"]: link["href"] for link in started.json["links"]}
        assert links["poll"] == f"/api/poll/{uuid}"
        task = production.get(links["task"], auth=ANN)
        assert (task.status_code, task.json["owner"]) == (200, "ann")
        assert task.json["links"][0]["href"] == links["task"]
        problem(production.get(links["task"], auth=BOB), 404)
        problem(production.post(f"/api/exec/{uuid}", json={"cmd": "echo"}), 401)

    def test_it_is_for_the_user_and_for_admins(self, v3: FlaskClient) -> None:
        problem(v3.post("/v3/users/ann/signing-key", auth=BOB), 403)
        problem(v3.post("/v3/users/nobody/signing-key", auth=BOB), 403)
        problem(v3.post("/v3/users/nobody/signing-key", auth=ADMIN), 404)
        assert v3.post("/v3/users/ann/signing-key", auth=ADMIN).status_code == 201

    def test_it_takes_nothing(self, v3: FlaskClient) -> None:
        answer = v3.post("/v3/users/ann/signing-key?a=1", json={"key": "x"}, auth=ANN)
        assert paths(answer) == ["a", "key"]
        problem(v3.get("/v3/users/ann/signing-key", auth=ANN), 405)


def _key(client: FlaskClient, who: Auth) -> str:
    answer = client.post(f"/v3/users/{who[0]}/signing-key", auth=who)
    return str(answer.json["signing_key"])


def _sign(name: str, key: str) -> str:
    text = f"{name}.{int(time.time())}"
    signature = hmac.new(key.encode(), text.encode(), hashlib.sha256)
    return f"{text}.{signature.hexdigest()}"
