"""The echo: whom it takes for a user, and what comes back."""

import pytest
from flask.testing import FlaskClient

from tests.api.checks import problem


@pytest.mark.parametrize(
    ("path", "user", "uuid"),
    [
        ("/api/bob/1", "bob", "1"),
        ("/api/%E4%B8%AD%E6%96%87/%C3%A9", "中文", "é"),
        ("/api/a%20b/c%25d", "a b", "c%d"),
        ("/api/%0a%1b/%00", "\n\x1b", "\0"),
        ("/api/%ff/%c3", "\ufffd", "\ufffd"),
        ("/api/%22%5c/%7B%7D", '"\\', "{}"),
        ("/api/Exec/1", "Exec", "1"),
        ("/api/exec2/1", "exec2", "1"),
        ("/api/xpoll/1", "xpoll", "1"),
        ("/api/healthy/1", "healthy", "1"),
        ("/api/uuid/exec", "uuid", "exec"),
        ("/api/a%3Fb/c%23d", "a?b", "c#d"),
        (f"/api/{'u' * 1000}/{'v' * 1000}", "u" * 1000, "v" * 1000),
    ],
)
def test_the_parts_of_the_path_come_back(
    anywhere: FlaskClient, path: str, user: str, uuid: str
) -> None:
    assert anywhere.get(path).json == {"user": user, "uuid": uuid}
    posted = anywhere.post(path, json=[1]).json
    assert posted == {"user": user, "uuid": uuid, "content": [1]}


@pytest.mark.parametrize("name", ["exec", "poll", "health", "sms"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_name_of_a_route_is_no_user(
    client: FlaskClient, name: str, method: str
) -> None:
    json = {"a": 1} if method == "POST" else None
    answer = client.open(f"/api/{name}/x", method=method, json=json)
    assert "user" not in answer.json
    assert "content" not in answer.json
    spelled = client.open(f"/api/%{ord(name[0]):x}{name[1:]}/x", method=method)
    assert "user" not in spelled.json, "percent-encoded neither"
    if name == "health" or (name, method) == ("sms", "GET"):
        problem(answer, 404)


@pytest.mark.parametrize("path", ["/api/a/b/c", "/api/a%2Fb/c", "/api/a/", "/api//a"])
def test_a_slash_is_no_part_of_a_name(client: FlaskClient, path: str) -> None:
    problem(client.get(path), 404)
