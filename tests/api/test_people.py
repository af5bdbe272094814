"""The directory of people, on SQLite and as the contract has it."""

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from config.config import ProductionConfig
from tests.api.callers import BOB, with_users

ANN = {"name": "Ann 安", "age": 30, "phone": "+8613800000000"}


def _add(client: FlaskClient, **members: object) -> int:
    answer = client.post("/v1/user", json=ANN | members)
    assert answer.status_code == 201, answer.json
    return answer.json["uid"]


def test_uids_start_at_zero_and_are_never_used_again(client: FlaskClient) -> None:
    assert [_add(client), _add(client)] == [0, 1]
    assert client.delete("/v1/user/1").status_code == 204
    assert _add(client) == 2


def test_a_person_added_is_where_the_location_says(client: FlaskClient) -> None:
    answer = client.post("/v1/user", json=ANN)
    assert set(answer.json) == {"msg", "uid"}
    assert client.get(answer.headers["Location"]).json == {"uid": 0} | ANN


def test_a_person_without_a_phone_has_no_such_member(client: FlaskClient) -> None:
    client.post("/v1/user", json={"name": "Bob", "age": 0})
    assert client.get("/v1/user/0").json == {"uid": 0, "name": "Bob", "age": 0}


def test_put_merges_what_is_given(client: FlaskClient) -> None:
    uid = _add(client)
    answer = client.put(f"/v1/user/{uid}", json={"age": 31})
    assert answer.json == {"uid": uid} | ANN | {"age": 31}
    assert client.put(f"/v1/user/{uid}", json={}).json == answer.json
    assert client.put(f"/v1/user/{uid}", json={"age": 140}).status_code == 400
    assert client.get(f"/v1/user/{uid}").json == answer.json


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"age": -1}, "age"),
        ({"age": 140}, "age"),
        ({"age": 1.5}, "age"),
        ({"age": "30"}, "age"),
        ({"age": True}, "age"),
        ({"name": ""}, "name"),
        ({"name": 7}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "\ud800"}, "name"),
        ({"phone": "13800000000"}, "phone"),
        ({"phone": "+86138000000\n"}, "phone"),
        ({"phone": "+0123"}, "phone"),
        ({"phone": "+1234567890123456"}, "phone"),
        ({"uid": 7}, "uid"),
    ],
)
def test_a_faulty_member_is_named_and_nothing_is_kept(
    client: FlaskClient, change: dict[str, object], path: str
) -> None:
    answer = client.post("/v1/user", json=ANN | change)
    assert answer.status_code == 400
    assert [fault["path"] for fault in answer.json["errors"]] == [path]
    assert client.get("/v1/user").json["user-count"] == 0


def test_what_is_missing_is_named_all_at_once(client: FlaskClient) -> None:
    faults = client.post("/v1/user", json={}).json["errors"]
    assert {fault["path"] for fault in faults} == {"name", "age"}


@pytest.mark.parametrize("method", ["get", "put", "delete"])
@pytest.mark.parametrize("uid", ["0", "7", "2147483646"])
def test_nobody_is_404_with_a_msg(client: FlaskClient, method: str, uid: str) -> None:
    body = {"json": {}} if method == "put" else {}
    answer = getattr(client, method)(f"/v1/user/{uid}", **body)
    assert answer.status_code == 404
    assert answer.content_type == "application/problem+json"
    assert answer.json["msg"] == answer.json["detail"]


@pytest.mark.parametrize("uid", ["-1", "x", "2147483647", "9" * 40])
def test_what_can_be_no_uid_is_no_route(client: FlaskClient, uid: str) -> None:
    assert client.get(f"/v1/user/{uid}").status_code == 404


def test_the_list_is_paged_and_its_links_lead_to_the_end(client: FlaskClient) -> None:
    uids = [_add(client) for _ in range(7)]
    found, href = [], "/v1/user?limit=3"
    while href:
        answer = client.get(href)
        assert answer.json["user-count"] == 7
        found += [person["uid"] for person in answer.json["users"]]
        following = [link for link in answer.json["links"] if link.get("rel") == "next"]
        href = following[0]["href"] if following else None
        assert (f'<{href}>; rel="next"' == answer.headers.get("Link")) is bool(href)
    assert found == uids


def test_the_list_tells_what_can_be_done(client: FlaskClient) -> None:
    answer = client.get("/v1/user").json
    assert set(answer) == {"description", "user-count", "users", "links"}
    for link in answer["links"]:
        assert set(link) == {"uri", "method", "description"}
    methods = {(link["method"], link["uri"]) for link in answer["links"]}
    assert ("POST", "/v1/user") in methods


@pytest.mark.parametrize(
    "cursor", ["x", "", "LTE=", "MA", "MA==\n", "OTk5OTk5OTk5OTk="]
)
def test_a_cursor_that_no_page_gave_is_refused(
    client: FlaskClient, cursor: str
) -> None:
    answer = client.get("/v1/user", query_string={"cursor": cursor})
    if cursor == "OTk5OTk5OTk5OTk=":
        assert answer.json["users"] == [], "beyond the end, but well-formed"
    else:
        assert answer.status_code == 400
        assert answer.json["errors"][0]["path"] == "cursor"


@pytest.mark.parametrize("limit", ["0", "1001", "x"])
def test_a_limit_has_limits(client: FlaskClient, limit: str) -> None:
    assert client.get(f"/v1/user?limit={limit}").status_code == 400


def test_in_production_the_directory_takes_an_account(
    make_app: Callable[..., Flask],
) -> None:
    client = with_users(make_app(ProductionConfig))
    for answer in (
        client.get("/v1/user"),
        client.post("/v1/user", data="no json"),
        client.get("/v1/user/0"),
        client.patch("/v1/user/0"),
    ):
        assert answer.status_code == 401
        assert "Basic" in answer.headers["WWW-Authenticate"]
    answer = client.post("/v1/user", json=ANN, auth=BOB)
    assert answer.status_code == 201
    assert client.get(answer.headers["Location"], auth=BOB).json == {"uid": 0} | ANN
