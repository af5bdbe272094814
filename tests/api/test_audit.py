"""The audit over HTTP: every write is there once, with no secret in it."""

import hashlib
import hmac
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.api.rule import plain
from config.config import ProductionConfig
from tests.api.callers import ADMIN, ANN, BOB, bearer, start, token_of, with_users
from tests.api.checks import paths, problem
from tests.sms import send
from tests.vendors import FIRST, SECOND

MEMBERS = {
    *("time", "actor", "via", "address", "action", "target", "outcome", "status"),
    *("detail", "task_id", "request_id"),
}
EVE = {"username": "eve", "password": "eve's own", "fullname": "Eve"}


def _audit(client: FlaskClient, query: str = "") -> list[dict[str, Any]]:
    answer = client.get(f"/v3/audit/?{query}", auth=ADMIN)
    assert answer.status_code == 200, answer.json
    return list(answer.json["audit"])


def _of(client: FlaskClient, request_id: str) -> list[dict[str, Any]]:
    return [row for row in _audit(client) if row["request_id"] == request_id]


# Method, path, body, who, status, and what the row says: actor, target. Of nobody's
# no more than ten are kept in a minute.
WRITES: list[tuple[str, str, Any, Any, int, str | None, str | None]] = [
    ("POST", "/v3/users/", EVE, ADMIN, 201, "admin", "eve"),
    ("POST", "/v3/users/", EVE, ADMIN, 409, "admin", "eve"),
    ("POST", "/v3/users/", {}, ADMIN, 400, "admin", None),
    ("POST", "/v3/users/", EVE, ANN, 403, "ann", None),
    ("POST", "/v3/users/", EVE, None, 401, None, None),
    ("PUT", "/v3/users/eve", EVE, ADMIN, 200, "admin", "eve"),
    ("PATCH", "/v3/users/eve", {"fullname": "E."}, ADMIN, 200, "admin", "eve"),
    ("PATCH", "/v3/users/none", {}, ADMIN, 404, "admin", "none"),
    ("POST", "/v3/users/ann/tokens", None, ANN, 201, "ann", "ann"),
    ("DELETE", "/v3/users/ann/tokens/x", None, ANN, 404, "ann", "ann/x"),
    ("POST", "/v3/users/ann/signing-key", None, ANN, 201, "ann", "ann"),
    ("POST", "/v3/users/ann/signing-key", None, BOB, 403, "bob", "ann"),
    ("DELETE", "/v3/users/eve", None, ADMIN, 204, "admin", "eve"),
    ("DELETE", "/v3/users/admin", None, ADMIN, 409, "admin", "admin"),
    ("POST", "/v3/exec/", {"command": "echo"}, ANN, 201, "ann", "echo"),
    ("POST", "/v3/exec/", {"cmd": "true"}, ANN, 201, "ann", None),
    ("POST", "/v3/exec/", {"command": "rm"}, ANN, 403, "ann", None),
    ("POST", "/v3/exec/", {"x": 1}, ANN, 400, "ann", None),
    ("POST", "/v3/exec/", {"cmd": "true"}, None, 401, None, None),
    ("POST", "/v3/iostat/", None, ANN, 201, "ann", "count 1, wait 1"),
    ("GET", "/v3/iostat/", None, ANN, 201, "ann", "count 1, wait 1"),
    ("DELETE", "/v3/task/x", None, ANN, 404, "ann", "x"),
    ("POST", "/v3/sms/", {"receivers": FIRST, "template": "x"}, ANN, 400, "ann", None),
    ("POST", "/api/sms", {"receivers": FIRST}, None, 400, None, None),
    ("POST", "/v2/iostat/", None, None, 201, None, "count 1, wait 1"),
    ("GET", "/v2/iostat/", None, None, 201, None, "count 1, wait 1"),
    ("DELETE", "/v2/task/x", None, None, 404, None, "x"),
    ("POST", "/v1/user", {"name": "Eve", "age": 7}, None, 201, None, "0"),
    ("PUT", "/v1/user/0", {"age": 8}, None, 200, None, "0"),
    ("DELETE", "/v1/user/0", None, None, 204, None, "0"),
    ("POST", "/api/exec/tom", {"cmd": "true"}, None, 202, "tom", None),
    ("POST", "/api/exec/tom", {}, None, 400, "tom", None),
]

# What changes nothing, or what its caller alone is concerned with.
READS = [
    *(
        "GET /",
        "GET /v1/user",
        "GET /v3/task/",
        "GET /v3/users/ann",
        "HEAD /v3/iostat/",
    ),
    *("GET /v3/audit/", "OPTIONS /v3/exec/", "GET /v3/task/x", "GET /v3/commands/"),
    *("GET /api/poll/tom", "POST /api/poll/tom", "HEAD /v2/iostat/", "GET /v3/nothing"),
    *("POST /v3/sms/preview", "GET /v3/sms/x", "POST /api/sms/receipts/memory/x"),
    *("POST /api/tom/1", "PUT /", "PUT /v3/exec/", "POST /v3/nothing", "POST /nothing"),
]


class TestWrites:
    def test_each_is_there_once_whatever_came_of_it(self, v3: FlaskClient) -> None:
        for number, (method, path, body, who, status, actor, target) in enumerate(
            WRITES
        ):
            request_id = f"write-{number}"
            sent = {} if body is None else {"json": body}
            headers = {"X-Request-ID": request_id}
            answer = v3.open(path, method=method, auth=who, headers=headers, **sent)
            assert answer.status_code == status, (method, path)
            [row] = _of(v3, request_id)
            assert row.keys() == MEMBERS
            endpoint, _ = v3.application.url_map.bind("x").match(path, method=method)
            [rule] = v3.application.url_map.iter_rules(endpoint)
            expected = {
                "actor": actor,
                "action": f"{method} {plain(rule.rule)}",
                "target": target,
                "outcome": "success" if status < 400 else "refused",
                "status": status,
                "address": "127.0.0.1",
                "via": "basic" if who else "name" if actor else "nothing",
            }
            assert {name: row[name] for name in expected} == expected
            if status in (201, 202) and "task_id" in answer.json:
                assert row["task_id"] == answer.json["task_id"]
            assert row["time"].endswith("Z")
        assert len(_audit(v3)) == len(WRITES)

    def test_reads_and_polls_and_what_changes_nothing_are_not(
        self, v3: FlaskClient
    ) -> None:
        for line in READS:
            method, path = line.split()
            body = {"json": {}} if method in ("POST", "PUT") else {}
            v3.open(path, method=method, auth=ADMIN, **body)
            v3.open(path, method=method, **body)
        assert _audit(v3) == []

    def test_the_end_of_a_task_is_told_with_its_id(self, v3: FlaskClient) -> None:
        task_id = start(v3, ANN, cmd="sleep 300")["task_id"]
        v3.delete(f"/v3/task/{task_id}", auth=BOB)
        v3.delete(f"/v3/task/{task_id}", auth=ADMIN)
        rows = _audit(v3, f"task_id={task_id}")
        assert [(row["actor"], row["status"]) for row in rows] == [
            ("admin", 204),
            ("bob", 404),
            ("ann", 201),
        ]

    def test_by_which_credentials_it_was_done_is_told(self, v3: FlaskClient) -> None:
        token = token_of(v3, ANN, scopes=["exec"])
        v3.post("/v3/iostat/", headers=bearer(token))
        [by_token, made] = _audit(v3)
        assert (by_token["actor"], by_token["via"]) == ("ann", "bearer")
        assert made["detail"].endswith("exec")

    def test_a_message_is_there_by_its_id_and_how_many_it_is_for(
        self, v3: FlaskClient
    ) -> None:
        ids = [
            send(v3, FIRST, SECOND, path=f"/v3/sms/{query}", auth=ANN).json
            for query in ("", "?async=1")
        ]
        later, now = _audit(v3)
        for row, answer in zip((now, later), ids, strict=True):
            assert row["target"] == answer["id"]
            assert row["task_id"] == answer.get("task_id")
            assert (row["actor"], row["outcome"]) == ("ann", "success")
            assert row["detail"] == "captcha to 2"
        assert FIRST not in str([now, later])

    def test_a_signed_start_is_its_signer_s(
        self, make_app: Callable[..., Flask]
    ) -> None:
        client = with_users(make_app(ProductionConfig))
        uuid = _signed(client)
        body = {"cmd": "echo hi"}
        task_id = client.post(f"/api/exec/{uuid}", json=body).json["task_id"]
        assert client.post(f"/api/exec/{uuid}", json=body).status_code == 401
        assert client.get(f"/api/poll/{uuid}").status_code == 200
        refused, started, _ = _audit(client)
        assert (started["actor"], started["via"]) == ("ann", "signature")
        assert (started["task_id"], started["target"]) == (task_id, "echo")
        assert (refused["actor"], refused["status"]) == ("ann", 401)

    def test_what_was_renamed_can_be_followed(self, v3: FlaskClient) -> None:
        v3.patch("/v3/users/ann", json={"username": "anna"}, auth=ADMIN)
        body = {"username": "bobby", "password": "another one", "fullname": "B."}
        v3.put("/v3/users/bob", json=body, auth=ADMIN)
        put, patch = _audit(v3)
        assert (patch["target"], patch["detail"]) == ("ann", "username; now anna")
        assert (put["target"], put["detail"][-11:]) == ("bob", "; now bobby")
        assert "password" in put["detail"], "that it was changed"

    def test_a_foreign_page_s_try_is_there(self, v3: FlaskClient) -> None:
        headers = {"Sec-Fetch-Site": "cross-site"}
        for method in ("GET", "POST"):
            v3.open("/v3/iostat/", method=method, auth=ANN, headers=headers)
        found = [(row["actor"], row["outcome"], row["status"]) for row in _audit(v3)]
        assert found == [("ann", "refused", 403)] * 2

    def test_a_fault_of_ours_is_there(
        self, v3: FlaskClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        runs = v3.application.extensions["bellhop"].runs
        monkeypatch.setattr(type(runs), "grant", lambda *_: 1 / 0)
        body = {"command": "echo"}
        assert v3.post("/v3/exec/", json=body, auth=ANN).status_code == 500
        [row] = _audit(v3)
        assert (row["outcome"], row["status"]) == ("failed", 500)
        assert row["target"] == "echo"


class TestWrongPasswords:
    def test_they_are_there_with_whom_they_were_for(self, v3: FlaskClient) -> None:
        for auth in (("ann", "Wrong-Guess"), ("Typed-Secret", "Wrong-Guess")):
            assert v3.get("/v3/users/", auth=auth).status_code == 401
        headers = {"Authorization": "Bearer bellhop_Wrong-Guess"}
        assert v3.get("/v3/nothing", headers=headers).status_code == 401
        by_token, unknown, known = _audit(v3)
        for row in (by_token, unknown, known):
            assert row["actor"] is None
            assert row["outcome"] == "refused"
            assert row["status"] == 401
        assert known["detail"] == "claimed to be ann"
        assert known["action"] == "GET /v3/users/"
        assert unknown["detail"] == by_token["detail"]
        text = v3.get("/v3/audit/", auth=ADMIN).text
        assert "Guess" not in text
        assert "Typed" not in text, "some type it where the name belongs"

    def test_who_is_let_in_nowhere_cannot_fill_the_disk(self, v3: FlaskClient) -> None:
        for _ in range(30):
            v3.post("/v3/exec/", json={"cmd": "true"})
        assert 1 <= len(_audit(v3)) <= 10
        v3.post("/v3/iostat/", auth=ANN)
        assert _audit(v3)[0]["actor"] == "ann", "users are not bounded by nobody"


SECRETS = re.compile("Canary|argon2|[0-9a-f]{64}|bellhop_[A-Za-z0-9]")


class TestSecrets:
    def test_nothing_that_was_sent_or_shown_is_in_it(self, v3: FlaskClient) -> None:
        token = token_of(v3, ANN)
        v3.post("/v3/users/ann/signing-key", auth=ANN)
        canary = "Canary password"
        eve = {"username": "eve", "password": canary, "fullname": "Eve Canary"}
        v3.post("/v3/users/", json=eve, auth=ADMIN)
        for body in ([eve], eve | {"password": [canary]}, {canary: 1}, canary):
            v3.post("/v3/users/", json=body, auth=ADMIN)
            v3.put("/v3/users/bob", json=body, auth=ADMIN)
        for wish in (
            {"cmd": "echo Canary"},
            {"argv": ["echo", "Canary"]},
            {"command": "echo", "params": {"text": "Canary"}},
            {"command": "mysql -pCanary"},
            {"command": "Canary"},
            {"command": "echo", "env": {"Canary": "Canary"}, "stdin": "Canary"},
            {"Canary": "Canary"},
        ):
            v3.post("/v3/exec/", json=wish, auth=ANN)
            v3.post("/v3/exec/", json=wish, headers=bearer(token))
            v3.post("/api/exec/tom", json=wish)
        v3.post("/v1/user", json={"name": "Canary", "age": 7, "phone": "+861380000"})
        v3.delete(f"/v3/users/ann/tokens/{token}", auth=ANN)
        v3.delete(f"/v3/users/ann/tokens/x{token}", auth=ADMIN)
        v3.post("/v3/exec/?Canary=Canary", json={}, auth=ANN)
        answer = v3.get("/v3/audit/?limit=1000", auth=ADMIN)
        assert len(answer.json["audit"]) > 20
        assert not SECRETS.search(answer.text.replace("bellhop_***", ""))

    def test_nor_a_signature_wherever_it_was_sent(
        self, make_app: Callable[..., Flask]
    ) -> None:
        client = with_users(make_app())
        signature = _signed(client).rpartition(".")[2]
        for uuid in (f"ann.1700000000.{signature}", f"ann.1.{signature}", "a\0" * 9):
            for path in (f"/api/exec/{uuid}", f"/api/{uuid}/x", f"/v3/task/{uuid}"):
                for method in ("POST", "DELETE"):
                    client.open(path, method=method, json={"cmd": "true"}, auth=ANN)
        text = client.get("/v3/audit/", auth=ADMIN).text
        assert "ann" in text
        assert signature[:16] not in text

    def test_long_texts_are_cut(self, v3: FlaskClient) -> None:
        v3.delete(f"/v3/users/{'x' * 5000}", auth=ADMIN)
        v3.post(f"/api/exec/{'y' * 5000}", json={})
        for row in _audit(v3):
            assert max(len(str(value)) for value in row.values()) <= 300


class TestReading:
    def test_it_is_for_admins(self, v3: FlaskClient) -> None:
        problem(v3.get("/v3/audit/"), 401)
        for who in (ANN, BOB):
            problem(v3.get("/v3/audit/", auth=who), 403)
        for scopes in (["read", "exec", "sms"], ["read"]):
            headers = bearer(token_of(v3, ADMIN, scopes=scopes))
            problem(v3.get("/v3/audit/", headers=headers), 403)
        headers = bearer(token_of(v3, ADMIN, scopes=["admin"]))
        assert v3.get("/v3/audit/", headers=headers).status_code == 200
        head = v3.head("/v3/audit/", auth=ADMIN)
        assert (head.status_code, head.data) == (200, b"")

    def test_nobody_writes_or_removes_of_it(self, v3: FlaskClient) -> None:
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            problem(v3.open("/v3/audit/", method=method, json={}, auth=ADMIN), 405)

    def test_its_pages_lead_to_the_end_newest_first_while_more_come(
        self, v3: FlaskClient
    ) -> None:
        for number in range(7):
            v3.delete(f"/v3/task/{number}", auth=(ANN, BOB)[number % 2])
        assert [row["target"] for row in _audit(v3)] == list("6543210")
        found, href, pages = [], "/v3/audit/?limit=2&actor=ann", 0
        while href:
            answer = v3.get(href, auth=ADMIN)
            found += [row["target"] for row in answer.json["audit"]]
            pages += 1
            following = [x["href"] for x in answer.json["links"] if x["rel"] == "next"]
            href = following[0] if following else ""
            link = f'<{href}>; rel="next"' if href else None
            assert answer.headers.get("Link") == link
            v3.delete("/v3/task/new", auth=ANN)
        assert (found, pages) == (list("6420"), 2)

    def test_its_filters_go_together(self, v3: FlaskClient) -> None:
        start(v3, ANN, command="echo")
        v3.delete("/v3/task/x", auth=ANN)
        v3.delete("/v3/task/x", auth=BOB)
        assert len(_audit(v3, "actor=ann")) == 2
        assert len(_audit(v3, "outcome=refused")) == 2
        [row] = _audit(v3, "actor=ann&outcome=refused")
        assert (row["actor"], row["target"]) == ("ann", "x")
        assert _audit(v3, "actor=nobody") == _audit(v3, "outcome=failed") == []

    def test_a_faulty_query_is_refused(self, v3: FlaskClient) -> None:
        for query, expected in (
            ("limit=0&outcome=x&z=1", ["limit", "outcome", "z"]),
            ("cursor=x", ["cursor"]),
            ("limit=1001", ["limit"]),
            ("actor=a&actor=b", ["actor"]),
        ):
            assert sorted(set(paths(v3.get(f"/v3/audit/?{query}", auth=ADMIN)))) == (
                expected
            )


def _signed(client: FlaskClient) -> str:
    """Return a uuid that Ann has signed just now."""
    key = client.post("/v3/users/ann/signing-key", auth=ANN).json["signing_key"]
    text = f"ann.{int(time.time())}"
    signature = hmac.new(key.encode(), text.encode(), hashlib.sha256)
    return f"{text}.{signature.hexdigest()}"
