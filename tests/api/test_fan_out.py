"""Commands on several hosts: one task for all, and one for each."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.api.callers import ADMIN, ANN, BOB, ended, start, task_of, with_users
from tests.api.checks import paths, problem
from tests.api.test_command_pages import page
from tests.api.test_task_pages import shown

LABELS = "role=web,zone=a"
EVERYWHERE: dict[str, Any] = {"labels": {}}


@pytest.fixture
def client(make_app: Callable[..., Flask]) -> FlaskClient:
    app = make_app(BELLHOP_HOST="web1", BELLHOP_LABELS=LABELS, EXEC_ALLOW_SHELL="true")
    return with_users(app)


def children(client: FlaskClient, who: tuple[str, str], parent: str) -> list[dict]:
    answer = client.get(f"/v3/task/?parent={parent}", auth=who)
    assert answer.status_code == 200, answer.json
    return list(answer.json["tasks"])


@pytest.mark.parametrize(
    "hosts",
    [
        EVERYWHERE,
        {"labels": {"role": "web"}},
        {"labels": {"role": "web", "zone": "a"}},
        {"names": ["web1"]},
        {"names": ["web1"], "labels": {"zone": "a"}},
    ],
)
def test_a_command_runs_on_all_hosts_that_match(client: FlaskClient, hosts) -> None:
    parent = start(client, ANN, cmd="echo $0", hosts=hosts, wait_seconds=20)
    assert parent["state"] == "SUCCESS"
    assert parent["kind"] == "fan_out"
    assert parent["host"] == "web1"
    assert parent["reason"] == "exit"
    assert parent["returncode"] == 0
    assert parent["result"] == {"returncode": 0, "output": "web1 SUCCESS 0\n"}
    assert parent["progress"] == {"done": 1, "total": 1}
    states = ("pending", "queued", "running", "failure", "revoked", "lost", "skipped")
    assert parent["hosts"] == {"total": 1, "success": 1, **dict.fromkeys(states, 0)}


def test_each_host_has_a_task_of_its_own(client: FlaskClient) -> None:
    parent = start(client, ANN, cmd="echo hello", hosts=EVERYWHERE, wait_seconds=20)
    links = {link["rel"]: link["href"] for link in parent["links"]}
    answer = client.get(links["children"], auth=ANN)
    (child,) = answer.json["tasks"]
    assert child["parent"] == parent["task_id"]
    assert (child["kind"], child["host"], child["owner"]) == ("exec", "web1", "ann")
    assert child["request_id"] == parent["request_id"]
    assert {"rel": "parent", "href": links["self"]} in child["links"]
    shown = task_of(client, ANN, child["task_id"])
    assert shown["result"] == {"returncode": 0, "output": "hello\n"}


def test_one_that_fails_makes_all_of_it_fail(client: FlaskClient) -> None:
    parent = start(client, ANN, cmd="exit 3", hosts=EVERYWHERE, wait_seconds=20)
    assert (parent["state"], parent["reason"]) == ("FAILURE", "children")
    assert parent["result"] == {"returncode": 1, "output": "web1 FAILURE 3\n"}
    assert parent["hosts"]["failure"] == 1


def test_as_text_it_is_a_line_for_each_host(client: FlaskClient) -> None:
    answer = client.post(
        "/v3/exec/",
        json={"cmd": "echo unseen", "hosts": EVERYWHERE, "wait_seconds": 20},
        headers={"Accept": "text/plain"},
        auth=ANN,
    )
    assert answer.text == "web1 SUCCESS 0\n"
    assert answer.headers["X-Task-State"] == "SUCCESS"


def test_cancelled_it_ends_on_all_hosts(client: FlaskClient) -> None:
    parent = start(client, ANN, cmd="sleep 60", hosts=EVERYWHERE)
    assert parent["state"] == "STARTED"
    assert "result" not in parent
    answer = client.delete(f"/v3/task/{parent['task_id']}", auth=ANN)
    assert answer.status_code == 204, answer.json
    shown = task_of(client, ANN, parent["task_id"])
    assert (shown["state"], shown["reason"]) == ("REVOKED", "cancelled")
    assert shown["hosts"]["revoked"] == 1
    (child,) = children(client, ANN, parent["task_id"])
    assert child["state"] == "REVOKED"


def test_the_same_key_starts_it_once(client: FlaskClient) -> None:
    body = {"cmd": "true", "hosts": EVERYWHERE, "wait_seconds": 20}
    answers = [
        client.post(
            "/v3/exec/", json=body, auth=ANN, headers={"Idempotency-Key": "once"}
        )
        for _ in range(2)
    ]
    assert answers[0].json == answers[1].json
    assert answers[1].headers["Idempotent-Replayed"] == "true"
    tasks = client.get("/v3/task/", auth=ANN).json["tasks"]
    assert [task["kind"] for task in tasks] == ["exec", "fan_out"]


def test_the_key_is_tied_to_the_parent(client: FlaskClient) -> None:
    headers = {"Idempotency-Key": "tied"}
    body = {"cmd": "true", "hosts": EVERYWHERE}
    parent = client.post("/v3/exec/", json=body, auth=ANN, headers=headers).json
    ended(client, ANN, parent["task_id"])
    again = client.post("/v3/exec/", json=body, auth=ANN, headers=headers)
    assert again.json["task_id"] == parent["task_id"]


def test_its_tasks_are_for_those_who_may_see_it(client: FlaskClient) -> None:
    parent = start(client, ANN, cmd="true", hosts=EVERYWHERE, wait_seconds=20)
    assert len(children(client, ADMIN, parent["task_id"])) == 1
    assert children(client, BOB, parent["task_id"]) == []
    answer = client.get(f"/v3/task/{parent['task_id']}", auth=BOB)
    assert answer.status_code == 404


def test_a_host_that_is_named_runs_it(client: FlaskClient) -> None:
    task = start(client, ANN, cmd="echo here", host="web1", wait_seconds=20)
    assert (task["host"], task["state"]) == ("web1", "SUCCESS")
    assert "parent" not in task
    task = start(
        client, ANN, cmd="true", host="web1", host_away="wait", wait_seconds=20
    )
    assert task["state"] == "SUCCESS"


FAULTY: list[tuple[dict[str, Any], list[str]]] = [
    ({"host": "web9"}, ["host"]),
    ({"host": ""}, ["host"]),
    ({"host": 1}, ["host"]),
    ({"host": "web1", "hosts": EVERYWHERE}, ["hosts"]),
    ({"host_away": "wait"}, ["host_away"]),
    ({"host": "web1", "host_away": "maybe"}, ["host_away"]),
    ({"hosts": EVERYWHERE, "host_away": "wait"}, ["host_away"]),
    ({"max_parallel": 1}, ["max_parallel"]),
    ({"host": "web1", "max_errors": 0}, ["max_errors"]),
    ({"hosts": EVERYWHERE, "max_parallel": 0}, ["max_parallel"]),
    ({"hosts": EVERYWHERE, "max_errors": -1}, ["max_errors"]),
    ({"hosts": {}}, ["hosts"]),
    ({"hosts": []}, ["hosts"]),
    ({"hosts": {"names": []}}, ["hosts.names"]),
    ({"hosts": {"names": ["web1", "web1"]}}, ["hosts.names"]),
    ({"hosts": {"labels": {"role": 1}}}, ["hosts.labels.role"]),
    ({"hosts": {"labels": {}, "zone": "a"}}, ["hosts.zone"]),
    ({"hosts": {"labels": {"role": "db"}}}, ["hosts"]),
    ({"hosts": {"names": ["web1"], "labels": {"role": "db"}}}, ["hosts"]),
    ({"hosts": {"names": ["web1", "web9"]}}, ["hosts.names.1"]),
    ({"hosts": EVERYWHERE, "cmd": " "}, ["cmd"]),
]


@pytest.mark.parametrize(("body", "where"), FAULTY)
def test_what_is_faulty_is_named_and_starts_nothing(
    client: FlaskClient, body: dict[str, Any], where: list[str]
) -> None:
    answer = client.post("/v3/exec/", json={"cmd": "true", **body}, auth=ANN)
    assert answer.status_code == 400, answer.json
    assert paths(answer) == where
    assert client.get("/v3/task/", auth=ANN).json["tasks"] == []


def test_one_that_outlives_the_service_is_for_one_host(client: FlaskClient) -> None:
    body = {"cmd": "true", "hosts": EVERYWHERE, "detached": True}
    answer = client.post("/v3/exec/", json=body, auth=ADMIN)
    assert answer.status_code == 400
    assert paths(answer) == ["detached"]


def test_where_the_host_is_drained_none_is_started(client: FlaskClient) -> None:
    services = client.application.extensions["bellhop"]
    services.drain.begin()
    answer = client.post(
        "/v3/exec/", json={"cmd": "true", "hosts": EVERYWHERE}, auth=ANN
    )
    problem(answer, 503)
    assert answer.headers["Retry-After"] == "30"


def test_the_audit_has_what_and_on_how_many_hosts(client: FlaskClient) -> None:
    parent = start(client, ANN, command="echo", params={"text": "x"}, hosts=EVERYWHERE)
    ended(client, ANN, parent["task_id"])
    kept = client.get("/v3/audit/", auth=ADMIN).json["audit"][0]
    assert kept["task_id"] == parent["task_id"]
    assert (kept["target"], kept["detail"]) == ("echo", "hosts: 1")


def test_a_secret_is_shown_nowhere(client: FlaskClient) -> None:
    parent = start(
        client,
        ANN,
        cmd="cat; echo $TOKEN >/dev/null",
        stdin="of-stdin",
        env={"TOKEN": "of-env"},
        hosts=EVERYWHERE,
        wait_seconds=20,
    )
    assert "of-env" not in str(parent)
    assert "of-stdin" not in str(parent)
    database = client.application.extensions["bellhop"].database
    with database.read() as connection:
        left = connection.exec_driver_sql("SELECT count(*) FROM orders").scalar()
    assert left == 0, "it is forgotten with the end"


def test_tasks_are_found_by_their_kind(client: FlaskClient) -> None:
    parent = start(client, ANN, cmd="true", hosts=EVERYWHERE, wait_seconds=20)
    found = client.get("/v3/task/?kind=fan_out", auth=ANN).json["tasks"]
    assert [task["task_id"] for task in found] == [parent["task_id"]]


def test_its_page_shows_what_became_of_it(client: FlaskClient) -> None:
    parent = start(client, ANN, cmd="true", hosts=EVERYWHERE, wait_seconds=20)
    assert parent["output"] == {"end_offset": 15, "dropped_bytes": 0}
    answer = client.get(f"/v3/task/{parent['task_id']}/output", auth=ANN)
    assert answer.json["text"] == "web1 SUCCESS 0\n"
    assert answer.json["eof"] is True


def test_the_page_of_it_lists_its_parts(client: FlaskClient) -> None:
    parent = start(client, ANN, cmd="exit 3", hosts=EVERYWHERE, wait_seconds=20)
    (part,) = children(client, ANN, parent["task_id"])
    html = page(client, f"/ui/tasks/{parent['task_id']}", ANN)
    assert shown(html) == [part["task_id"]]
    assert ">web1</a>" in html
    assert "Run again" not in html
    html = page(client, f"/ui/tasks/{part['task_id']}", ANN)
    assert f'href="/ui/tasks/{parent["task_id"]}"' in html
    html = page(client, f"/ui/tasks/?parent={parent['task_id']}", ANN)
    assert shown(html) == [part["task_id"]]
    html = page(client, "/ui/tasks/", ANN)
    assert shown(html) == [part["task_id"], parent["task_id"]]
