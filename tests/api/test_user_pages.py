"""The pages of people, users and the audit: who may see which, and names as text."""

import re

import pytest
from flask.testing import FlaskClient

from tests.api.callers import ADMIN, ANN, BOB, token_of
from tests.api.test_message_pages import AWKWARD, page, signed_in


@pytest.mark.parametrize("path", ["/ui/users/", "/ui/users/bob", "/ui/audit/"])
def test_pages_of_admins_are_no_others(v3: FlaskClient, path: str) -> None:
    assert "<table" not in page(signed_in(v3, ANN), path, 403)
    page(signed_in(v3, ADMIN), path)


@pytest.mark.parametrize("name", ["users", "audit"])
def test_they_are_refused_before_they_are_made(v3: FlaskClient, name: str) -> None:
    made: list[int] = []
    v3.application.view_functions[f"ui.{name}"] = lambda: made.append(1) or "made"
    signed_in(v3, ANN)
    for method in ("GET", "HEAD"):
        assert v3.open(f"/ui/{name}/", method=method).status_code == 403
    assert not made
    assert signed_in(v3, ADMIN).get(f"/ui/{name}/").text == "made"


def test_users_see_their_own_tokens_and_how_to_make_some(v3: FlaskClient) -> None:
    token_of(v3, ANN, description="for the night")
    seen = page(signed_in(v3, ANN), "/ui/users/ann")
    assert "for the night" in seen
    assert "curl -u ann http://localhost/v3/users/ann/tokens" in seen
    assert 'id="make-token"' not in seen
    assert 'data-do="revoke"' not in seen


def test_admins_make_and_end_anybodys_tokens(v3: FlaskClient) -> None:
    token_of(v3, BOB)
    seen = page(signed_in(v3, ADMIN), "/ui/users/bob")
    assert 'id="make-token"' in seen
    assert 'data-do="revoke"' in seen
    assert 'value="admin"' not in seen, "a scope that Bob cannot have"
    assert 'value="admin"' in page(v3, "/ui/users/admin")


def test_there_is_no_page_of_nobody(v3: FlaskClient) -> None:
    page(signed_in(v3, ADMIN), "/ui/users/nobody", 404)


def test_names_are_text_and_do_not_turn_what_stands_beside_them(
    v3: FlaskClient,
) -> None:
    changes = {"fullname": AWKWARD}
    assert v3.patch("/v3/users/bob", json=changes, auth=ADMIN).status_code == 200
    token_of(v3, BOB, description=AWKWARD)
    assert v3.post("/v1/user", json={"name": AWKWARD, "age": 1}).status_code == 201
    assert v3.delete(f"/v3/users/{AWKWARD}", auth=ADMIN).status_code == 404
    signed_in(v3, ADMIN)
    for path in ("/ui/people/", "/ui/users/", "/ui/users/bob", "/ui/audit/"):
        seen = page(v3, path)
        assert "<b>" not in seen
        assert re.search(r"<bdi[^>]*>&lt;b&gt;\u202e&#34;&#39;安</bdi>", seen), path


def test_the_audit_is_found_by_who_and_what_came_of_it(v3: FlaskClient) -> None:
    token_of(v3, BOB)
    v3.delete("/v3/users/admin", auth=ADMIN)
    seen = page(signed_in(v3, ADMIN), "/ui/audit/?actor=admin&outcome=refused&task_id=")
    assert "DELETE /v3/users/&lt;username&gt;" in seen
    assert "signing" not in seen
    assert "/tokens" not in seen.partition("<table")[2]
    page(v3, "/ui/audit/?outcome=whatever", 400)


def test_the_audit_leads_to_the_task(v3: FlaskClient) -> None:
    answer = v3.post("/v3/exec/", json={"cmd": "true", "wait_seconds": 9}, auth=ANN)
    seen = page(signed_in(v3, ADMIN), "/ui/audit/")
    assert f'href="/ui/tasks/{answer.json["task_id"]}"' in seen
