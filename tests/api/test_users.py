"""Users over HTTP: made, shown, changed, removed, and what a body may get wrong."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.api.callers import (
    ADMIN,
    ANN,
    BOB,
    JSON,
    Auth,
    bearer,
    start,
    task_of,
    token_of,
    with_users,
)
from tests.api.checks import paths, problem

EVE = {"username": "eve", "password": "eve's own", "fullname": "Eve 夏娃"}
AT_PATH = {"password": "eve's own", "fullname": "Eve"}
SECRET = "Correct-Horse-Battery"

# What is in a path or in front of a colon, looks like two names, or like none.
NO_NAMES = [
    *("", " ", "a b", " a", "a ", "a:b", "a/b", "a~1", "a%b", "a\\b", "a,b", "a'b"),
    *("é", "安", "a\n", "\na", "a\0", ".", "..", "...", "x" * 129),
]


def _add(client: FlaskClient, **members: Any) -> Any:
    return client.post("/v3/users/", json=EVE | members, auth=ADMIN)


def _names(client: FlaskClient) -> list[str]:
    return list(client.get("/v3/users/", auth=ADMIN).json["users"])


def _signs_in(client: FlaskClient, *who: str) -> bool:
    answer = client.get("/v3/uptime/", auth=(who[0], who[1]))
    assert answer.status_code in (200, 401)
    return answer.status_code == 200


class TestCreate:
    def test_a_user_added_is_where_the_location_says(self, v3: FlaskClient) -> None:
        answer = _add(v3)
        assert answer.status_code == 201
        assert answer.headers["Location"] == "/v3/users/eve"
        shown = {name: answer.json[name] for name in ("username", "fullname", "admin")}
        assert shown == {"username": "eve", "fullname": "Eve 夏娃", "admin": False}
        assert answer.json.keys() == {*shown, "links"}
        assert v3.get("/v3/users/eve", auth=ADMIN).json == answer.json
        assert _signs_in(v3, "eve", "eve's own")
        assert "夏娃" in answer.text

    def test_an_admin_is_one_at_once(self, v3: FlaskClient) -> None:
        assert _add(v3, admin=True).json["admin"] is True
        eve = ("eve", "eve's own")
        assert v3.get("/v3/audit/", auth=eve).status_code == 200

    def test_the_links_of_a_user_lead_somewhere(self, v3: FlaskClient) -> None:
        links = _add(v3).json["links"]
        assert {link["rel"] for link in links} >= {"self", "tokens"}
        for link in links:
            method = link.get("method", "GET")
            answer = v3.open(link["href"], method=method, auth=ADMIN)
            assert answer.status_code in (200, 201), link

    def test_a_taken_name_is_refused_and_the_user_stays(self, v3: FlaskClient) -> None:
        _add(v3)
        again = _add(v3, password="another one", fullname="Another", admin=True)
        assert problem(again, 409)["type"] == "urn:bellhop:problem:account-exists"
        assert v3.get("/v3/users/eve", auth=ADMIN).json["fullname"] == "Eve 夏娃"
        assert _signs_in(v3, "eve", "eve's own")
        assert not _signs_in(v3, "eve", "another one")

    def test_a_name_may_be(self, v3: FlaskClient) -> None:
        good = ["a", "7", ".a", "..a", "a.", "a.b", "A@b+c-d_e", "-", "x" * 128]
        for name in good:
            answer = _add(v3, username=name)
            assert answer.status_code == 201, name
            assert v3.get(answer.headers["Location"], auth=ADMIN).json == answer.json
            assert _signs_in(v3, name, "eve's own")

    def test_names_that_differ_in_case_are_of_different_users(
        self, v3: FlaskClient
    ) -> None:
        assert _add(v3, username="Ann").status_code == 201
        assert not _signs_in(v3, "ann", "eve's own")
        assert not _signs_in(v3, "Ann", ANN[1])

    def test_a_name_may_not_be(self, v3: FlaskClient) -> None:
        for name in (*NO_NAMES, None, 7, True, ["a"], {"a": 1}):
            assert set(paths(_add(v3, username=name))) == {"username"}, name
        assert _names(v3) == ["admin", "ann", "bob"]

    @pytest.mark.parametrize(
        ("member", "values"),
        [
            ("fullname", ["", "a\nb", "a\0", "\x7f", "x" * 201, None, 7, ["a"], {}]),
            ("admin", [0, 1, "true", "", None, [], {}]),
            ("password", ["", "12345", "x" * 1025, None, 123456, True, [SECRET], {}]),
        ],
    )
    def test_a_faulty_member_is_named_and_nobody_made(
        self, v3: FlaskClient, member: str, values: list[Any]
    ) -> None:
        for value in values:
            assert set(paths(_add(v3, **{member: value}))) == {member}, value
        assert _names(v3) == ["admin", "ann", "bob"]

    def test_all_faults_are_told_at_once(self, v3: FlaskClient) -> None:
        assert paths(v3.post("/v3/users/", json={}, auth=ADMIN)) == [
            *("fullname", "password", "username")
        ]
        body = {"username": "", "password": "x", "fullname": 1, "admin": 0, "id": 1}
        assert paths(v3.post("/v3/users/?a=1", json=body, auth=ADMIN)) == [
            *("a", "admin", "fullname", "id", "password", "username")
        ]

    def test_characters_of_a_password_count_not_bytes(self, v3: FlaskClient) -> None:
        assert paths(_add(v3, password="安安")) == ["password"]
        assert _add(v3, password="安安安安安安").status_code == 201
        assert _signs_in(v3, "eve", "安安安安安安")

    def test_how_long_a_password_is_at_least_can_be_set(
        self, make_app: Callable[..., Flask]
    ) -> None:
        client = with_users(make_app(PASSWORD_MIN_LENGTH="10"))
        for change in (client.patch, client.put):
            answer = change("/v3/users/ann", json=AT_PATH, auth=ADMIN)
            assert paths(answer) == ["password"]
            assert "10" in answer.json["detail"]
        assert paths(_add(client)) == ["password"]
        assert _add(client, password="0123456789").status_code == 201


def _bodies() -> list[Any]:
    user = EVE | {"password": SECRET}
    long = {"password": SECRET * 50}
    return [
        [user],
        [SECRET],
        SECRET,
        {"user": user},
        user | {"password": [SECRET]},
        user | {"password": {"is": SECRET}},
        user | {"password": {"is": [{"too": SECRET}]}},
        user | {"Password": SECRET},
        user | long,
        user | {"password": SECRET + "\ud800"},
        user | {"username": ""},
        user | {"fullname": 7},
        user | {"admin": SECRET[:0]},
        user | {"more": 1},
    ]


class TestPasswordsAreNotEchoed:
    @pytest.mark.parametrize(
        "request_line", ["POST /v3/users/", "PUT /v3/users/eve", "PATCH /v3/users/ann"]
    )
    def test_whatever_is_wrong_with_it(
        self, log_of: Callable[[], list[dict]], v3: FlaskClient, request_line: str
    ) -> None:
        method, path = request_line.split()
        for body in _bodies():
            sent = {"data": json.dumps(body), "content_type": JSON}
            answer = v3.open(path, method=method, auth=ADMIN, **sent)
            assert answer.status_code == 400, body
            assert SECRET not in answer.text + str(answer.headers)
        assert SECRET not in str(log_of())
        assert SECRET not in v3.get("/v3/audit/", auth=ADMIN).text

    def test_when_the_body_cannot_be_read(self, v3: FlaskClient) -> None:
        for data, content_type, status in (
            (f'{{"password": "{SECRET}"', JSON, 400),
            (f'{{"password": "{SECRET}", "password": "{SECRET}"}}', JSON, 400),
            (f'{{"password": {SECRET}}}', JSON, 400),
            (f'{{"password": "{SECRET}"}}', "text/plain", 415),
            (f"password={SECRET}", "application/x-www-form-urlencoded", 415),
        ):
            sent = {"data": data, "content_type": content_type}
            answer = v3.post("/v3/users/", auth=ADMIN, **sent)
            problem(answer, status)
            assert SECRET not in answer.text + str(answer.headers)

    def test_when_all_is_well(self, v3: FlaskClient) -> None:
        texts = [_add(v3, password=SECRET).text]
        texts.append(v3.get("/v3/users/?detail=1", auth=ADMIN).text)
        new = {"password": SECRET + "!"}
        texts.append(v3.patch("/v3/users/eve", json=new, auth=ADMIN).text)
        texts.append(v3.put("/v3/users/eve", json=EVE | new, auth=ADMIN).text)
        texts.append(v3.get("/v3/audit/", auth=ADMIN).text)
        assert SECRET not in "".join(texts)
        assert "argon2" not in "".join(texts), "nor what is kept of it"


class TestPut:
    def test_it_makes_who_is_not_there_and_replaces_who_is(
        self, v3: FlaskClient
    ) -> None:
        made = v3.put("/v3/users/eve", json=AT_PATH | {"admin": True}, auth=ADMIN)
        assert (made.status_code, made.json["admin"]) == (201, True)
        assert made.headers["Location"] == "/v3/users/eve"
        body = {"password": "another one", "fullname": "E."}
        replaced = v3.put("/v3/users/eve", json=body, auth=ADMIN)
        assert replaced.status_code == 200
        assert (replaced.json["fullname"], replaced.json["admin"]) == ("E.", False)
        assert v3.get("/v3/users/eve", auth=ADMIN).json == replaced.json
        assert not _signs_in(v3, "eve", "eve's own")
        assert _signs_in(v3, "eve", "another one")

    def test_twice_the_same_leaves_the_same(self, v3: FlaskClient) -> None:
        answers = [v3.put("/v3/users/eve", json=EVE, auth=ADMIN) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [201, 200]
        assert answers[0].json == answers[1].json

    def test_another_name_in_the_body_renames(self, v3: FlaskClient) -> None:
        answer = v3.put("/v3/users/ann", json=EVE, auth=ADMIN)
        assert (answer.status_code, answer.json["username"]) == (200, "eve")
        assert v3.get(answer.json["links"][0]["href"], auth=ADMIN).json == answer.json
        problem(v3.get("/v3/users/ann", auth=ADMIN), 404)
        assert _signs_in(v3, "eve", "eve's own")
        assert not _signs_in(v3, "ann", "eve's own")
        assert not _signs_in(v3, *ANN)

    def test_nobody_cannot_be_renamed(self, v3: FlaskClient) -> None:
        answer = v3.put("/v3/users/zoe", json=EVE, auth=ADMIN)
        assert paths(answer) == ["username"]
        assert _names(v3) == ["admin", "ann", "bob"]

    def test_onto_a_taken_name_is_refused_and_all_stay(self, v3: FlaskClient) -> None:
        body = AT_PATH | {"username": "bob"}
        found = problem(v3.put("/v3/users/ann", json=body, auth=ADMIN), 409)
        assert found["type"] == "urn:bellhop:problem:account-exists"
        assert _signs_in(v3, *ANN)
        assert _signs_in(v3, *BOB)
        assert v3.get("/v3/users/ann", auth=ADMIN).json["fullname"] == "Ann"

    def test_what_is_missing_or_faulty_is_named(self, v3: FlaskClient) -> None:
        for body, expected in (
            ({}, ["fullname", "password"]),
            ({"fullname": "E."}, ["password"]),
            ({"password": "eve's own"}, ["fullname"]),
            (AT_PATH | {"username": "e e"}, ["username"]),
            (AT_PATH | {"admin": None}, ["admin"]),
            (AT_PATH | {"password": "short"}, ["password"]),
        ):
            for name in ("ann", "eve"):
                answer = v3.put(f"/v3/users/{name}", json=body, auth=ADMIN)
                assert paths(answer) == expected
        assert _names(v3) == ["admin", "ann", "bob"]
        assert _signs_in(v3, *ANN)

    def test_a_name_in_the_path_is_no_other_than_one_in_a_body(
        self, v3: FlaskClient
    ) -> None:
        for name in [n for n in NO_NAMES if n not in ("", "a/b")]:
            answer = v3.put(f"/v3/users/{quote(name)}", json=AT_PATH, auth=ADMIN)
            assert paths(answer) == ["username"], name
        assert _names(v3) == ["admin", "ann", "bob"]

    def test_nobody_becomes_the_owner_of_a_removed_user_s_tasks(
        self, v3: FlaskClient
    ) -> None:
        task = start(v3, ANN, cmd="echo private")
        v3.delete("/v3/users/ann", auth=ADMIN)
        owner = task_of(v3, ADMIN, task["task_id"])["owner"]
        for name in (owner, "ann"):
            v3.put(f"/v3/users/{owner}", json=AT_PATH, auth=ADMIN)
            answer = v3.get(
                f"/v3/task/{task['task_id']}", auth=(name, AT_PATH["password"])
            )
            assert answer.status_code in (401, 404)


class TestPatch:
    @pytest.mark.parametrize(
        "change",
        [
            {},
            {"fullname": "Ann B."},
            {"password": "another one"},
            {"admin": True},
            {"username": "anna"},
            {"username": "anna", "password": "another one", "fullname": "A."},
        ],
    )
    def test_what_is_given_changes_the_rest_stays(
        self, v3: FlaskClient, change: dict[str, Any]
    ) -> None:
        before = v3.get("/v3/users/ann", auth=ADMIN).json
        answer = v3.patch("/v3/users/ann", json=change, auth=ADMIN)
        assert answer.status_code == 200
        for name in ("username", "fullname", "admin"):
            assert answer.json[name] == change.get(name, before[name])
        name = answer.json["username"]
        assert v3.get(f"/v3/users/{name}", auth=ADMIN).json == answer.json
        assert _signs_in(v3, name, change.get("password", ANN[1]))
        if "password" in change:
            assert not _signs_in(v3, name, ANN[1])
        if "username" in change:
            assert not _signs_in(v3, *ANN)

    def test_of_nobody_is_not_found(self, v3: FlaskClient) -> None:
        for name in ("eve", "e%20e", "%00", "ann~2", "x" * 5000):
            path = f"/v3/users/{name}"
            problem(v3.patch(path, json={"admin": True}, auth=ADMIN), 404)
            problem(v3.get(path, auth=ADMIN), 404)
            problem(v3.delete(path, auth=ADMIN), 404)

    def test_onto_a_taken_name_changes_nothing_at_all(self, v3: FlaskClient) -> None:
        change = {"username": "bob", "password": "another one", "admin": True}
        problem(v3.patch("/v3/users/ann", json=change, auth=ADMIN), 409)
        assert _signs_in(v3, *ANN)
        assert _signs_in(v3, *BOB)
        assert v3.get("/v3/users/ann", auth=ADMIN).json["admin"] is False

    def test_to_the_same_name_is_no_conflict(self, v3: FlaskClient) -> None:
        answer = v3.patch("/v3/users/ann", json={"username": "ann"}, auth=ADMIN)
        assert answer.status_code == 200

    def test_what_was_a_user_s_stays_with_the_renamed_one(
        self, v3: FlaskClient
    ) -> None:
        token = token_of(v3, ANN)
        task_id = start(v3, ANN, cmd="sleep 300")["task_id"]
        v3.patch("/v3/users/ann", json={"username": "anna"}, auth=ADMIN)
        anna = ("anna", ANN[1])
        assert task_of(v3, anna, task_id)["owner"] == "anna"
        path = f"/v3/task/{task_id}"
        assert v3.get(path, headers=bearer(token)).status_code == 200
        with_new_name = v3.get("/v3/users/anna/tokens", auth=anna).json["tokens"]
        assert len(with_new_name) == 1
        assert v3.delete(path, auth=anna).status_code == 204
        _add(v3, username="ann")
        problem(v3.get(path, auth=("ann", "eve's own")), 404)

    def test_an_admin_no_more_is_none_at_once(self, v3: FlaskClient) -> None:
        _add(v3, admin=True)
        eve: Auth = ("eve", "eve's own")
        token = token_of(v3, eve, scopes=["read", "admin"])
        assert v3.get("/v3/audit/", headers=bearer(token)).status_code == 200
        v3.patch("/v3/users/eve", json={"admin": False}, auth=ADMIN)
        problem(v3.get("/v3/audit/", auth=eve), 403)
        problem(v3.get("/v3/audit/", headers=bearer(token)), 403)
        assert v3.get("/v3/task/", headers=bearer(token)).status_code == 200


class TestDelete:
    def test_who_is_removed_is_out_at_once(self, v3: FlaskClient) -> None:
        token = token_of(v3, ANN)
        assert _signs_in(v3, *ANN)
        answer = v3.delete("/v3/users/ann", auth=ADMIN)
        assert (answer.status_code, answer.data) == (204, b"")
        assert not _signs_in(v3, *ANN)
        problem(v3.get("/v3/uptime/", headers=bearer(token)), 401)
        problem(v3.delete("/v3/users/ann", auth=ADMIN), 404)
        assert _names(v3) == ["admin", "bob"]

    def test_the_next_of_that_name_inherits_nothing(self, v3: FlaskClient) -> None:
        token = token_of(v3, ANN)
        task_id = start(v3, ANN, cmd="echo private")["task_id"]
        v3.delete("/v3/users/ann", auth=ADMIN)
        _add(v3, username="ann")
        ann: Auth = ("ann", "eve's own")
        problem(v3.get("/v3/uptime/", headers=bearer(token)), 401)
        assert not _signs_in(v3, *ANN)
        assert v3.get("/v3/users/ann/tokens", auth=ann).json["tokens"] == []
        problem(v3.get(f"/v3/task/{task_id}", auth=ann), 404)
        problem(v3.get(f"/v3/task/{task_id}/output", auth=ann), 404)
        assert v3.get("/v3/task/", auth=ann).json["tasks"] == []

    @pytest.mark.parametrize(
        ("method", "body"),
        [
            ("DELETE", None),
            ("PATCH", {"admin": False}),
            ("PUT", AT_PATH),
            ("PUT", AT_PATH | {"admin": False, "username": "chief"}),
        ],
    )
    def test_the_last_admin_stays_one(
        self, v3: FlaskClient, method: str, body: dict | None
    ) -> None:
        options = {} if body is None else {"json": body}
        answer = v3.open("/v3/users/admin", method=method, auth=ADMIN, **options)
        assert problem(answer, 409)["type"] == "urn:bellhop:problem:last-admin"
        assert v3.get("/v3/users/admin", auth=ADMIN).json["admin"] is True
        _add(v3, admin=True)
        again = v3.open("/v3/users/admin", method=method, auth=ADMIN, **options)
        assert again.status_code in (200, 204)

    def test_it_takes_no_body_and_no_query(self, v3: FlaskClient) -> None:
        answer = v3.delete("/v3/users/ann?force=1", json={"x": 1}, auth=ADMIN)
        assert paths(answer) == ["force", "x"]
        assert _signs_in(v3, *ANN)


class TestRights:
    def test_writing_is_for_admins_whatever_is_written(self, v3: FlaskClient) -> None:
        before = v3.get("/v3/users/?detail=1", auth=ADMIN).json
        faulty = {"data": b"{", "content_type": "text/plain"}
        for method, path, body in (
            ("POST", "/v3/users/", EVE),
            ("POST", "/v3/users/", {}),
            ("POST", "/v3/users/?x=1", [1]),
            ("PUT", "/v3/users/eve", AT_PATH),
            ("PUT", "/v3/users/ann", AT_PATH),
            ("PUT", "/v3/users/a%20b", AT_PATH),
            ("PATCH", "/v3/users/ann", {"admin": True}),
            ("PATCH", "/v3/users/ann", {"password": "another one"}),
            ("PATCH", "/v3/users/bob", {}),
            ("PATCH", "/v3/users/nobody", {}),
            ("DELETE", "/v3/users/ann", {}),
            ("DELETE", "/v3/users/bob", {}),
            ("DELETE", "/v3/users/nobody", {}),
        ):
            for sent in ({"json": body}, faulty):
                problem(v3.open(path, method=method, auth=ANN, **sent), 403)
        assert v3.get("/v3/users/?detail=1", auth=ADMIN).json == before
        assert _signs_in(v3, *ANN)

    def test_reading_is_for_users(self, v3: FlaskClient) -> None:
        for path in ("/v3/users/", "/v3/users/bob"):
            assert v3.get(path, auth=ANN).status_code == 200


class TestList:
    @pytest.fixture
    def many(self, make_app: Callable[..., Flask]) -> FlaskClient:
        return with_users(make_app(), "u1", "u2", "u3", "u4")

    def test_it_has_the_names_in_the_order_of_their_making(
        self, many: FlaskClient
    ) -> None:
        answer = many.get("/v3/users/", auth=ANN).json
        assert answer == {
            "users": ["admin", "ann", "bob", "u1", "u2", "u3", "u4"],
            "links": [],
        }
        assert many.get("/v3/users/?detail=0", auth=ANN).json == answer

    def test_in_detail_it_has_what_each_user_shows(self, many: FlaskClient) -> None:
        found = many.get("/v3/users/?detail=1", auth=ANN).json["users"]
        assert [user["username"] for user in found] == _names(many)
        for user in found:
            assert many.get(f"/v3/users/{user['username']}", auth=ANN).json == user

    @pytest.mark.parametrize("detail", ["", "&detail=1"])
    def test_its_pages_lead_to_the_end(self, many: FlaskClient, detail: str) -> None:
        found, href, pages = [], f"/v3/users/?limit=3{detail}", 0
        while href:
            answer = many.get(href, auth=ANN)
            found += answer.json["users"]
            pages += 1
            following = [x["href"] for x in answer.json["links"] if x["rel"] == "next"]
            href = following[0] if following else ""
            link = f'<{href}>; rel="next"' if href else None
            assert answer.headers.get("Link") == link
        assert pages == 3
        names = [user["username"] if detail else user for user in found]
        assert names == _names(many)

    def test_a_page_that_holds_the_rest_is_the_last(self, many: FlaskClient) -> None:
        answer = many.get("/v3/users/?limit=7", auth=ANN)
        assert (len(answer.json["users"]), answer.json["links"]) == (7, [])

    def test_a_faulty_query_is_refused(self, v3: FlaskClient) -> None:
        for query, expected in (
            ("limit=0", {"limit"}),
            ("limit=1001", {"limit"}),
            ("limit=x&detail=2&cursor=!", {"detail", "limit"}),
            ("detail=yes", {"detail"}),
            ("cursor=x", {"cursor"}),
            ("cursor=", {"cursor"}),
            ("cursor=LTE=", {"cursor"}),
            ("limit=1&limit=2", {"limit"}),
            ("offset=1", {"offset"}),
        ):
            assert set(paths(v3.get(f"/v3/users/?{query}", auth=ANN))) == expected
