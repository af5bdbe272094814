"""Tasks of v3: who sees which, in which order, by which filter."""

import time
import uuid
from collections.abc import Callable
from dataclasses import asdict

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.storage.task_store import Admission, Room, TaskStore
from app.tasks.record import TaskRecord
from app.tasks.states import State
from tests.api.callers import (
    ADMIN,
    ANN,
    BOB,
    Auth,
    bearer,
    ended,
    start,
    task_of,
    token_of,
    with_users,
)
from tests.api.checks import paths, problem
from tests.postgres import Postgres

STATES = list(State)


def _put(client: FlaskClient, owner: str | None, number: int = 0) -> str:
    """Put down the record of a task; return its id."""
    state = STATES[number % len(STATES)]
    record = TaskRecord(
        task_id=str(uuid.uuid4()),
        kind=("exec", "iostat")[number % 2],
        state=state,
        owner=owner,
        host="here",
        worker="none",
        request_id=None,
        created=time.time(),
        finished=None if state in ("QUEUED", "STARTED") else time.time(),
    )
    store = TaskStore(client.application.extensions["bellhop"].database)
    store.add(asdict(record), Admission(Room(10**6)))
    return record.task_id


def _ids(client: FlaskClient, query: str = "", who: Auth = ADMIN) -> list[str]:
    answer = client.get(f"/v3/task/?{query}", auth=who)
    assert answer.status_code == 200, answer.json
    return [task["task_id"] for task in answer.json["tasks"]]


@pytest.fixture
def tasks(v3: FlaskClient) -> list[tuple[str | None, str]]:
    """Put down tasks of Ann, Bob and nobody; return owners and ids, newest first."""
    owners = ["ann", "bob", None, "ann", "bob", None, "ann", "ann", "bob", None]
    made = [(owner, _put(v3, owner, number)) for number, owner in enumerate(owners)]
    return made[::-1]


class TestList:
    def test_it_has_what_the_caller_may_see_newest_first(
        self, v3: FlaskClient, tasks: list[tuple[str | None, str]]
    ) -> None:
        assert _ids(v3) == [task_id for _, task_id in tasks]
        for who in (ANN, BOB):
            own = [task_id for owner, task_id in tasks if owner == who[0]]
            assert _ids(v3, who=who) == own

    def test_each_is_as_by_itself_without_its_result(self, v3: FlaskClient) -> None:
        start(v3, ANN, cmd="echo one", wait_seconds=20)
        [listed] = v3.get("/v3/task/", auth=ANN).json["tasks"]
        alone = task_of(v3, ANN, listed["task_id"])
        assert alone.pop("result")["output"] == "one\n"
        assert listed == alone
        [seen] = v3.get("/v3/task/", auth=ADMIN).json["tasks"]
        assert seen == listed

    @pytest.mark.usefixtures("tasks")
    def test_filters_are_of_all_and_of_each_other(self, v3: FlaskClient) -> None:
        every = v3.get("/v3/task/", auth=ADMIN).json["tasks"]
        for query, holds in (
            ("state=STARTED", lambda t: t["state"] == "STARTED"),
            ("state=LOST", lambda t: t["state"] == "LOST"),
            ("kind=iostat", lambda t: t["kind"] == "iostat"),
            ("kind=sms", lambda _: False),
            ("owner=ann", lambda t: t["owner"] == "ann"),
            ("owner=nobody", lambda _: False),
            ("owner=", lambda _: False),
            ("owner=None", lambda _: False),
            (
                "kind=exec&owner=ann",
                lambda t: (t["kind"], t["owner"]) == ("exec", "ann"),
            ),
        ):
            expected = [task["task_id"] for task in every if holds(task)]
            assert _ids(v3, query) == expected, query
        assert _ids(v3, "state=STARTED&kind=exec") == []

    @pytest.mark.usefixtures("tasks")
    def test_another_s_are_none_for_who_is_no_admin(self, v3: FlaskClient) -> None:
        assert _ids(v3, "owner=bob", ANN) == []
        assert _ids(v3, "owner=admin", ANN) == []
        assert _ids(v3, "owner=ann", ANN) == _ids(v3, "", ANN)
        headers = bearer(token_of(v3, ADMIN, scopes=["read", "exec"]))
        answer = v3.get("/v3/task/", headers=headers)
        assert answer.json["tasks"] == [], "by a token that is good for less"

    @pytest.mark.parametrize("limit", [1, 3, 10, 1000])
    def test_its_pages_lead_to_the_end(
        self, v3: FlaskClient, tasks: list[tuple[str | None, str]], limit: int
    ) -> None:
        found, href = [], f"/v3/task/?limit={limit}"
        while href:
            answer = v3.get(href, auth=ADMIN)
            found.append([task["task_id"] for task in answer.json["tasks"]])
            following = [x["href"] for x in answer.json["links"] if x["rel"] == "next"]
            href = following[0] if following else ""
            link = f'<{href}>; rel="next"' if href else None
            assert answer.headers.get("Link") == link
        assert [i for page in found for i in page] == [task_id for _, task_id in tasks]
        assert [len(page) for page in found[:-1]] == [limit] * (len(found) - 1)
        assert found[-1] != []

    @pytest.mark.usefixtures("tasks")
    def test_pages_keep_their_filters_and_stay_while_new_ones_come(
        self, v3: FlaskClient
    ) -> None:
        own = _ids(v3, "owner=ann&kind=exec")
        found, href = [], "/v3/task/?owner=ann&kind=exec&limit=1"
        while href:
            _put(v3, "ann")
            answer = v3.get(href, auth=ADMIN)
            found += [task["task_id"] for task in answer.json["tasks"]]
            following = [x["href"] for x in answer.json["links"] if x["rel"] == "next"]
            href = following[0] if following else ""
        assert found[1:] == own, "after the first, which came just before"

    def test_without_a_limit_a_page_is_bounded(self, v3: FlaskClient) -> None:
        for _ in range(101):
            _put(v3, "ann", number=2)
        answer = v3.get("/v3/task/", auth=ANN)
        assert len(answer.json["tasks"]) == 100
        [following] = answer.json["links"]
        rest = v3.get(following["href"], auth=ANN).json
        assert (len(rest["tasks"]), rest["links"]) == (1, [])

    @pytest.mark.usefixtures("tasks")
    def test_a_cursor_shows_nobody_more(self, v3: FlaskClient) -> None:
        [following] = v3.get("/v3/task/?limit=1", auth=ADMIN).json["links"]
        answer = v3.get(following["href"].replace("limit=1", "limit=50"), auth=ANN)
        assert {task["owner"] for task in answer.json["tasks"]} == {"ann"}

    def test_a_faulty_query_is_refused(self, v3: FlaskClient) -> None:
        for query, expected in (
            ("state=finished", {"state"}),
            ("state=success", {"state"}),
            ("state=", {"state"}),
            ("kind=x&state=y", {"kind", "state"}),
            ("limit=0", {"limit"}),
            ("limit=1001", {"limit"}),
            ("limit=1.0", {"limit"}),
            ("limit=", {"limit"}),
            ("cursor=garbage", {"cursor"}),
            ("cursor=", {"cursor"}),
            ("cursor=MA", {"cursor"}),
            ("cursor=LTE%3D", {"cursor"}),
            ("cursor=OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk%3D", {"cursor"}),
            ("cursor=%00", {"cursor"}),
            ("owner=ann&owner=bob", {"owner"}),
            ("offset=1", {"offset"}),
        ):
            answer = v3.get(f"/v3/task/?{query}", auth=ADMIN)
            assert set(paths(answer)) == expected, query

    def test_a_cursor_from_before_the_first_or_after_the_last_is_good(
        self, v3: FlaskClient, tasks: list[tuple[str | None, str]]
    ) -> None:
        assert _ids(v3, "cursor=MA%3D%3D") == []
        assert len(_ids(v3, "cursor=OTk5OTk5OTk5OTk%3D")) == len(tasks)

    def test_it_is_read_only(self, v3: FlaskClient) -> None:
        for method in ("POST", "DELETE", "PUT"):
            problem(v3.open("/v3/task/", method=method, auth=ADMIN), 405)
        head = v3.head("/v3/task/", auth=ANN)
        assert (head.status_code, head.data) == (200, b"")


class TestOwnership:
    def test_another_s_task_is_not_there(self, v3: FlaskClient) -> None:
        task_id = start(v3, ANN, cmd="echo private; sleep 300")["task_id"]
        for path in (f"/v3/task/{task_id}", f"/v3/task/{task_id}/output"):
            for method in ("GET", "HEAD"):
                assert v3.open(path, method=method, auth=BOB).status_code == 404
                assert v3.open(path, method=method, auth=ANN).status_code == 200
                assert v3.open(path, method=method, auth=ADMIN).status_code == 200
        found = problem(v3.delete(f"/v3/task/{task_id}", auth=BOB), 404)
        none = problem(v3.delete(f"/v3/task/{uuid.uuid4()}", auth=BOB), 404)
        for member in ("type", "title", "detail"):
            assert found[member] == none[member], "nor is it told that there is one"
        assert task_of(v3, ANN, task_id)["state"] in ("QUEUED", "STARTED")

    def test_the_owner_and_admins_end_it(self, v3: FlaskClient) -> None:
        for who in (ANN, ADMIN):
            task_id = start(v3, ANN, cmd="sleep 300")["task_id"]
            path = f"/v3/task/{task_id}"
            answer = v3.delete(path, auth=who)
            assert (answer.status_code, answer.data) == (204, b"")
            task = task_of(v3, ANN, task_id)
            assert (task["state"], task["reason"]) == ("REVOKED", "cancelled")
            assert v3.delete(path, auth=who).status_code == 204
            assert task_of(v3, ANN, task_id) == task

    def test_v2_shows_none_of_v3_also_to_its_owner(self, v3: FlaskClient) -> None:
        task_ids = [start(v3, ANN, cmd="sleep 300")["task_id"]]
        task_ids.append(v3.post("/v3/iostat/?count=99", auth=ANN).json["task_id"])
        for task_id in task_ids:
            for options in ({}, {"auth": ANN}, {"auth": ADMIN}):
                path = f"/v2/task/{task_id}"
                problem(v3.get(path, **options), 404)
                problem(v3.get(f"{path}/output", **options), 404)
                problem(v3.delete(path, **options), 404)
            assert "finished" not in task_of(v3, ANN, task_id)

    def test_v3_shows_none_of_v2_but_to_admins(self, v3: FlaskClient) -> None:
        task_id = v3.post("/v2/iostat/?count=99").json["task_id"]
        path = f"/v3/task/{task_id}"
        for who in (ANN, BOB):
            problem(v3.get(path, auth=who), 404)
            problem(v3.delete(path, auth=who), 404)
            assert _ids(v3, who=who) == []
        assert _ids(v3) == [task_id]
        assert task_of(v3, ADMIN, task_id)["owner"] is None
        assert v3.delete(path, auth=ADMIN).status_code == 204
        assert v3.get(f"/v2/task/{task_id}").json["state"] == "REVOKED"

    def test_credentials_that_come_to_v2_make_no_task_of_theirs(
        self, v3: FlaskClient
    ) -> None:
        task_id = v3.post("/v2/iostat/?count=99", auth=ANN).json["task_id"]
        assert v3.get(f"/v2/task/{task_id}").json["owner"] is None
        problem(v3.get(f"/v3/task/{task_id}", auth=ANN), 404)

    def test_a_removed_user_s_go_on_for_admins(self, v3: FlaskClient) -> None:
        task_id = start(v3, ANN, cmd="sleep 300")["task_id"]
        v3.delete("/v3/users/ann", auth=ADMIN)
        problem(v3.get(f"/v2/task/{task_id}"), 404)
        problem(v3.get(f"/v3/task/{task_id}", auth=BOB), 404)
        owner = task_of(v3, ADMIN, task_id)["owner"]
        assert owner not in (None, "ann")
        assert _ids(v3, f"owner={owner}") == [task_id]
        assert v3.delete(f"/v3/task/{task_id}", auth=ADMIN).status_code == 204

    def test_who_is_nobody_owns_nothing_of_nobody_s(
        self, make_app: Callable[..., Flask]
    ) -> None:
        client = with_users(make_app(), "None", "null")
        task_id = client.post("/v2/iostat/").json["task_id"]
        for name in ("None", "null"):
            assert _ids(client, who=(name, name)) == []
            problem(client.get(f"/v3/task/{task_id}", auth=(name, name)), 404)


class TestVersions:
    def test_links_keep_their_version(self, v3: FlaskClient) -> None:
        for version, who in (("v2", None), ("v3", ANN)):
            made = v3.post(f"/{version}/iostat/?count=99", auth=who)
            href = f"/{version}/task/{made.json['task_id']}"
            assert made.headers["Location"] == href
            assert made.json["links"] == [{"rel": "task", "href": href}]
            expected = [
                {"rel": "self", "href": href},
                {"rel": "output", "href": f"{href}/output"},
                {"rel": "cancel", "href": href, "method": "DELETE"},
            ]
            assert v3.get(href, auth=who).json["links"] == expected
            assert v3.get(f"{href}/output", auth=who).status_code == 200
            assert v3.delete(href, auth=who).status_code == 204
            assert v3.get(href, auth=who).json["links"] == expected[:2]

    def test_an_admin_s_list_of_v3_links_to_v3_whatever_made_them(
        self, v3: FlaskClient
    ) -> None:
        v3.post("/v2/iostat/")
        v3.post("/api/exec/bob", json={"cmd": "true"})
        start(v3, ANN, cmd="true")
        for task in v3.get("/v3/task/", auth=ADMIN).json["tasks"]:
            for link in task["links"]:
                assert link["href"].startswith("/v3/task/")
                if link["rel"] in ("self", "output"):
                    assert v3.get(link["href"], auth=ADMIN).status_code == 200

    def test_iostat_of_v3_is_that_of_v2_with_an_owner(self, v3: FlaskClient) -> None:
        for method in ("GET", "POST"):
            made = v3.open("/v3/iostat/?count=1", method=method, auth=ANN)
            task = ended(v3, ANN, made.json["task_id"])
            assert (task["kind"], task["owner"]) == ("iostat", "ann")
            assert task["result"].keys() == {"iostat", "samples"}
            assert task["progress"] == {"done": 1, "total": 1}
        assert paths(v3.post("/v3/iostat/?count=0", auth=ANN)) == ["count"]

    def test_head_of_iostat_starts_nothing(self, v3: FlaskClient) -> None:
        assert v3.head("/v3/iostat/", auth=ANN).status_code == 201
        assert _ids(v3) == []

    def test_uptime_of_v3_is_that_of_v2(self, v3: FlaskClient) -> None:
        answers = [v3.get(f"/{n}/uptime/", auth=ANN).json for n in ("v2", "v3")]
        assert answers[0].keys() == answers[1].keys()
        text = v3.get("/v3/uptime/", auth=ANN, headers={"Accept": "text/plain"})
        assert "load average" in text.text

    def test_the_index_links_to_what_is_there(self, v3: FlaskClient) -> None:
        links = v3.get("/v3/").json["links"]
        assert {link["rel"] for link in links} >= {
            *("uptime", "iostat", "task", "exec", "commands", "users", "audit")
        }
        for link in links:
            method = "OPTIONS" if link["rel"] == "exec" else "HEAD"
            answer = v3.open(link["href"], method=method, auth=ADMIN)
            assert answer.status_code in (200, 201), link


def test_no_text_of_a_caller_s_is_one_that_postgresql_cannot_look_for(
    make_app: Callable[..., Flask], postgres: Postgres
) -> None:
    with postgres.new_database() as url:
        app = make_app(DATABASE_URL=url)
        client = with_users(app)
        for method, path in (
            ("GET", "/v3/task/?owner=%00"),
            ("GET", "/v3/task/%00"),
            ("DELETE", "/v3/task/%00"),
            ("GET", "/v3/task/%00/output"),
            ("GET", "/v3/audit/?actor=%00"),
            ("GET", "/v3/audit/?task_id=a%00"),
            ("GET", "/v3/users/%00"),
            ("PUT", "/v3/users/%00"),
            ("PATCH", "/v3/users/%00"),
            ("DELETE", "/v3/users/%00"),
            ("GET", "/v3/users/%00/tokens"),
            ("POST", "/v3/users/%00/tokens"),
            ("DELETE", "/v3/users/%00/tokens/x"),
            ("DELETE", "/v3/users/ann/tokens/%00"),
            ("POST", "/v3/users/%00/signing-key"),
            ("GET", "/v3/commands/%00"),
            ("POST", "/api/exec/%00"),
            ("GET", "/api/poll/%00"),
        ):
            whole = {"password": "eve's own", "fullname": "Eve"}
            bodies = {"PUT": whole, "PATCH": {}, "POST": {}}
            body = {"json": bodies[method]} if method in bodies else {}
            answer = client.open(path, method=method, auth=ADMIN, **body)
            assert answer.status_code in (400, 404), (method, path)
        problem(client.get("/v3/users/", auth=("a\0", "b\0")), 401)
        problem(client.get("/v3/users/", headers=bearer("a\0")), 401)
        rows = client.get("/v3/audit/", auth=ADMIN).json["audit"]
        assert "\\0" in {row["target"] for row in rows}
        assert "\\0" in {row["actor"] for row in rows}
        app.extensions["bellhop"].close()
