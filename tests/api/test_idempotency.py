"""Idempotency-Key: a request that comes again is answered again, and done once."""

import json
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.storage import engine
from app.tasks.runs import Runs
from tests.api.callers import (
    ADMIN,
    ANN,
    BOB,
    JSON,
    bearer,
    ended,
    task_of,
    token_of,
    with_users,
)
from tests.api.checks import paths, problem
from tests.callers import signed
from tests.servers import wait_until

KEY = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"

#: A route that starts something, with a body for it and another body.
ROUTES: list[tuple[str, Any, Any]] = [
    ("/v3/exec/", {"cmd": "echo a"}, {"cmd": "echo b"}),
    ("/v3/exec/", {"cmd": "echo a", "wait_seconds": 20}, {"cmd": "echo a"}),
    ("/api/exec/ann", {"cmd": "echo a"}, {"cmd": "echo b"}),
    ("/v2/iostat/?count=1", None, "/v2/iostat/"),
    ("/v3/iostat/?count=2&wait=1", None, "/v3/iostat/?count=2&wait=2"),
]

FAULTY = [
    *("", "x" * 256, '""', '"', '"a', 'a"', 'a"b', "a b", "a\tb", "\x7f", "a\0"),
    *("é", "schlüssel", '"' + "x" * 256 + '"'),
]


def post(
    client: FlaskClient, key: str | None, body: Any, path: str = "/v3/exec/", **of: Any
) -> Any:
    headers = {**of.pop("headers", {}), **({} if key is None else {KEY: key})}
    auth = of.pop("auth", ANN if path.startswith("/v3/") else None)
    sent = {} if body is None else {"json": body}
    return client.post(path, headers=headers, auth=auth, **sent, **of)


def replayed(response: Any) -> bool:
    assert response.headers.get(REPLAYED) in (None, "true")
    return REPLAYED in response.headers


def same(one: Any, other: Any) -> bool:
    """Return whether two answers are the same, but for what is each one's own."""
    kept = ("Content-Type", "Location", "Preference-Applied", "Content-Length")
    return (one.status_code, one.data, [one.headers.get(n) for n in kept]) == (
        other.status_code,
        other.data,
        [other.headers.get(name) for name in kept],
    )


def tasks(client: FlaskClient) -> list[dict[str, Any]]:
    return list(client.get("/v3/task/", auth=ADMIN).json["tasks"])


class TestAgain:
    @pytest.mark.parametrize(("path", "body", "other"), ROUTES)
    def test_the_first_answer_is_given_and_nothing_else_is_done(
        self, v3: FlaskClient, path: str, body: Any, other: Any
    ) -> None:
        first = post(v3, "a", body, path)
        assert first.status_code in (201, 202), first.data
        assert not replayed(first)
        for _ in range(2):
            again = post(v3, "a", body, path)
            assert same(first, again)
            assert replayed(again)
            assert again.headers["X-Request-ID"] != first.headers["X-Request-ID"]
        reused = post(v3, "a", None if isinstance(other, str) else other, path)
        if isinstance(other, str):
            reused = post(v3, "a", body, other)
        found = problem(reused, 422)
        assert found["type"] == "urn:bellhop:problem:key-reused"
        assert not replayed(reused)
        assert same(first, post(v3, "a", body, path))
        assert len(tasks(v3)) == 1

    def test_the_same_json_is_the_same_body(self, v3: FlaskClient) -> None:
        first = post(v3, "a", {"cmd": "echo 中", "timeout_seconds": 5, "env": {}})
        texts = [
            '{"timeout_seconds": 5, "env": {}, "cmd": "echo 中"}',
            '\n{"cmd":"echo \\u4e2d" ,"env":{}, "timeout_seconds":5.0}\r\n',
        ]
        for text in texts:
            headers = {"Content-Type": f"{JSON}; charset=utf-8", KEY: "a"}
            again = v3.post("/v3/exec/", data=text, headers=headers, auth=ANN)
            assert same(first, again)
            assert replayed(again)

    @pytest.mark.parametrize(
        "change",
        [
            {"cmd": "echo a "},
            {"timeout_seconds": 6},
            {"env": {"A": "2"}},
            {"wait_seconds": 0},
            {"stdin": ""},
        ],
    )
    def test_anything_else_is_another_body(
        self, v3: FlaskClient, change: dict[str, Any]
    ) -> None:
        body = {"cmd": "echo a", "timeout_seconds": 5, "env": {"A": "1"}}
        post(v3, "a", body)
        problem(post(v3, "a", body | change), 422)

    def test_what_has_come_of_the_task_since_is_not_in_it(
        self, v3: FlaskClient
    ) -> None:
        first = post(v3, "a", {"cmd": "echo a"})
        ended(v3, ANN, first.json["task_id"])
        assert same(first, post(v3, "a", {"cmd": "echo a"}))

    def test_a_wait_is_not_waited_again(self, v3: FlaskClient, tmp_path: Path) -> None:
        body = {"cmd": f"echo a >> {tmp_path}/ran; echo a", "wait_seconds": 60}
        first = post(v3, "a", body)
        assert first.json["result"]["output"] == "a\n"
        assert same(first, post(v3, "a", body))
        assert (tmp_path / "ran").read_text() == "a\n"

    def test_a_preference_that_was_applied_is_told_again(self, v3: FlaskClient) -> None:
        headers = {"Prefer": "wait=20"}
        first = post(v3, "a", {"cmd": "echo a"}, headers=headers)
        assert first.headers["Preference-Applied"] == "wait=20"
        assert same(first, post(v3, "a", {"cmd": "echo a"}, headers=headers))

    def test_the_id_that_is_in_bodies_is_the_first_one(
        self, make_app: Callable[..., Flask]
    ) -> None:
        client = with_users(make_app(RESPONSE_UUID="1"))
        first = post(client, "a", {"cmd": "true"}, headers={"X-Request-ID": "first"})
        again = post(client, "a", {"cmd": "true"}, headers={"X-Request-ID": "again"})
        assert same(first, again)
        assert again.json["uuid"] == "first"
        assert again.headers["X-Request-ID"] == "again"

    def test_after_a_restart_too(self, make_app: Callable[..., Flask]) -> None:
        app = make_app()
        first = post(with_users(app), "a", {"cmd": "echo a"})
        app.extensions["bellhop"].close()
        client = make_app().test_client()
        assert same(first, post(client, "a", {"cmd": "echo a"}))

    def test_a_day_later_it_is_forgotten(
        self, v3: FlaskClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = post(v3, "a", {"cmd": "echo a"})
        requests = v3.application.extensions["bellhop"].requests
        now = time.time()
        for seconds, is_kept in ((86_000, True), (86_500, False)):
            monkeypatch.setattr(time, "time", lambda s=seconds: now + s)
            requests.remove_old()
            again = post(v3, "a", {"cmd": "echo a"})
            assert replayed(again) == is_kept
            assert (again.json["task_id"] == first.json["task_id"]) == is_kept

    def test_many_at_once_start_one(self, v3: FlaskClient, tmp_path: Path) -> None:
        answers = []
        body = {"cmd": f"echo a >> {tmp_path}/ran", "wait_seconds": 20}

        def send() -> None:
            client = v3.application.test_client()
            answers.append(post(client, "a", body, auth=ADMIN))

        threads = [threading.Thread(target=send) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        good = [answer for answer in answers if answer.status_code == 201]
        assert [replayed(answer) for answer in good].count(False) == 1
        assert len({answer.json["task_id"] for answer in good}) == 1
        for answer in answers:
            if answer not in good:
                problem(answer, 409)
        assert (tmp_path / "ran").read_text() == "a\n"


class TestKey:
    @pytest.mark.parametrize("key", FAULTY)
    def test_a_faulty_one_is_told_and_starts_nothing(
        self, v3: FlaskClient, key: str
    ) -> None:
        for path, body in (("/v3/exec/", {"cmd": "true"}), ("/v2/iostat/", None)):
            assert paths(post(v3, key, body, path)) == [KEY]
        assert tasks(v3) == []

    @pytest.mark.parametrize("key", ["x", "x" * 255, "a,b;c=d", "!#$%&'*+-./~"])
    def test_it_is_the_same_bare_and_quoted(self, v3: FlaskClient, key: str) -> None:
        first = post(v3, key, {"cmd": "true"})
        assert first.status_code == 201
        assert same(first, post(v3, f'"{key}"', {"cmd": "true"}))

    def test_keys_are_told_apart_by_case(self, v3: FlaskClient) -> None:
        for key in ("a", "A", '" a"', '"a a"'):
            assert not replayed(post(v3, key, {"cmd": "true"}))
        assert len(tasks(v3)) == 4

    def test_without_one_each_is_another(self, v3: FlaskClient) -> None:
        for _ in range(2):
            assert post(v3, None, {"cmd": "true"}).status_code == 201
        assert len(tasks(v3)) == 2

    def test_a_get_that_starts_something_passes_it_over(self, v3: FlaskClient) -> None:
        for key in ("a", "a", ""):
            for path, auth in (("/v2/iostat/", None), ("/v3/iostat/", ANN)):
                answer = v3.get(path, headers={KEY: key}, auth=auth)
                assert answer.status_code == 201
                assert not replayed(answer)
        assert len(tasks(v3)) == 6

    def test_a_head_has_none(self, v3: FlaskClient) -> None:
        for _ in range(2):
            assert v3.head("/v2/iostat/", headers={KEY: "a"}).status_code == 201
        assert not replayed(post(v3, "a", None, "/v2/iostat/"))
        assert len(tasks(v3)) == 1

    def test_what_starts_nothing_passes_it_over(self, v3: FlaskClient) -> None:
        for _ in range(2):
            answer = post(v3, "", {"a": 1}, "/api/ann/1")
            assert answer.json["content"] == {"a": 1}
            assert not replayed(answer)


class TestWhose:
    def test_another_caller_s_key_is_another(self, v3: FlaskClient) -> None:
        first = post(v3, "a", {"cmd": "true"})
        for who in (BOB, ADMIN):
            other = post(v3, "a", {"cmd": "true"}, auth=who)
            assert not replayed(other)
            assert other.json["task_id"] != first.json["task_id"]

    def test_a_caller_is_the_same_by_a_password_and_by_a_token(
        self, v3: FlaskClient
    ) -> None:
        first = post(v3, "a", {"cmd": "true"})
        token = bearer(token_of(v3, ANN))
        assert same(first, post(v3, "a", {"cmd": "true"}, auth=None, headers=token))

    def test_and_by_another_name(self, v3: FlaskClient) -> None:
        first = post(v3, "a", {"cmd": "true"})
        v3.patch("/v3/users/ann", json={"username": "anna"}, auth=ADMIN)
        assert same(first, post(v3, "a", {"cmd": "true"}, auth=("anna", ANN[1])))

    def test_who_has_the_name_of_one_who_is_gone_is_another(
        self, v3: FlaskClient
    ) -> None:
        post(v3, "a", {"cmd": "true"})
        v3.delete("/v3/users/ann", auth=ADMIN)
        user = {"username": "ann", "password": "another's", "fullname": "Ann"}
        assert v3.post("/v3/users/", json=user, auth=ADMIN).status_code == 201
        other = post(v3, "a", {"cmd": "true"}, auth=("ann", "another's"))
        assert not replayed(other)

    def test_another_route_is_another(self, v3: FlaskClient) -> None:
        answers = [
            post(v3, "a", {"cmd": "true"}),
            post(v3, "a", {"cmd": "true"}, "/api/exec/ann"),
            post(v3, "a", {"cmd": "true"}, "/api/exec/bob"),
            post(v3, "a", None, "/v2/iostat/"),
            post(v3, "a", None, "/v3/iostat/"),
        ]
        assert not any(replayed(answer) for answer in answers)
        assert len(tasks(v3)) == 5

    def test_who_may_not_learns_nothing_of_it(self, v3: FlaskClient) -> None:
        post(v3, "a", {"cmd": "true"})
        reader = bearer(token_of(v3, ANN, scopes=["read"]))
        for key in ("a", ""):
            problem(post(v3, key, {"cmd": "true"}, auth=None), 401)
            problem(post(v3, key, {"cmd": "true"}, auth=("ann", "wrong")), 401)
            problem(post(v3, key, {"cmd": "true"}, auth=None, headers=reader), 403)


class TestRefused:
    def test_what_was_refused_can_be_asked_again(
        self, make_app: Callable[..., Flask]
    ) -> None:
        room = {"EXEC_MAX_RUNNING": "1", "EXEC_MAX_QUEUED": "0"}
        client = with_users(make_app(**room))
        first = post(client, None, {"cmd": "sleep 300"}).json["task_id"]
        for _ in range(2):
            problem(post(client, "a", {"cmd": "true"}), 429)
            problem(
                post(client, "a", {"cmd": "true"}, "/api/exec/bob"), 429, shown="busy"
            )
        client.delete(f"/v3/task/{first}", auth=ANN)
        for path in ("/v3/exec/", "/api/exec/bob"):
            good = post(client, "a", {"cmd": "true", **wait(path)}, path)
            assert good.status_code in (201, 202)
            assert not replayed(good)
            assert same(good, post(client, "a", {"cmd": "true", **wait(path)}, path))

    def test_a_busy_slot_is_not_kept(self, v3: FlaskClient) -> None:
        post(v3, None, {"cmd": "sleep 300"}, "/api/exec/bob")
        problem(post(v3, "a", {"cmd": "true"}, "/api/exec/bob"), 409, shown="busy")
        [task] = tasks(v3)
        v3.delete(f"/v3/task/{task['task_id']}", auth=ADMIN)
        good = post(v3, "a", {"cmd": "true"}, "/api/exec/bob")
        assert good.status_code == 202
        assert not replayed(good)

    def test_a_command_that_is_not_allowed_is_not_kept(
        self, make_app: Callable[..., Flask], tmp_path: Path
    ) -> None:
        path = tmp_path / "commands.toml"
        path.write_text("")
        client = with_users(make_app(EXEC_COMMANDS=str(path)))
        problem(post(client, "a", {"command": "hello"}), 403)
        path.write_text(
            '[commands.hello]\nargv = ["/bin/echo", "{name}"]\n'
            'params.name.type = "string"\n'
        )

        def status() -> int:
            return int(post(client, "a", {"command": "hello"}).status_code)

        wait_until(lambda: status() == 400)
        body = {"command": "hello", "params": {"name": "x"}}
        good = post(client, "a", body)
        assert good.status_code == 201
        assert not replayed(good)

    def test_what_is_faulty_is_not_kept(self, v3: FlaskClient) -> None:
        problem(post(v3, "a", {"cmd": ""}), 400)
        problem(post(v3, "a", {"cmd": "true", "x": 1}), 400)
        problem(post(v3, "a", None, "/v2/iostat/?count=x"), 400)
        assert post(v3, "a", {"cmd": "true"}).status_code == 201
        assert post(v3, "a", None, "/v2/iostat/").status_code == 201

    def test_where_too_many_wait_it_is_not_kept(
        self, make_app: Callable[..., Flask]
    ) -> None:
        app = make_app(THREADS="2")
        client, body = with_users(app), {"cmd": "true", "wait_seconds": 20}
        with app.extensions["bellhop"].waiting():
            problem(post(client, "a", body), 503)
        good = post(client, "a", body)
        assert good.json["state"] == "SUCCESS"
        assert not replayed(good)


def wait(path: str) -> dict[str, Any]:
    return {"wait_seconds": 20} if path == "/v3/exec/" else {}


class TestInFlight:
    def test_until_the_first_is_answered_the_others_are_refused(
        self, v3: FlaskClient, tmp_path: Path
    ) -> None:
        gate, answers = tmp_path / "gate", []
        held = f"while [ ! -e {gate} ]; do sleep 0.02; done"
        body = {"cmd": held, "wait_seconds": 60}

        def send() -> None:
            answers.append(post(v3.application.test_client(), "a", body))

        waiting = threading.Thread(target=send)
        waiting.start()
        try:
            wait_until(lambda: tasks(v3))
            found = problem(post(v3, "a", body), 409)
            assert found["type"] == "urn:bellhop:problem:key-in-flight"
            problem(post(v3, "a", {"cmd": "true"}), 422)
            assert post(v3, "b", {"cmd": "true"}).status_code == 201
        finally:
            gate.touch()
            waiting.join()
        assert not replayed(answers[0])
        assert same(answers[0], post(v3, "a", body))


class TestFaultsOfOurs:
    def test_after_the_start_the_task_is_the_answer(
        self, v3: FlaskClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        grant = Runs.grant

        def fail(*args: Any, **values: Any) -> None:
            grant(*args, **values)
            raise ValueError("a fault of ours")

        body = {"cmd": "echo a", "wait_seconds": 20}
        with monkeypatch.context() as patch:
            patch.setattr(Runs, "grant", fail)
            problem(post(v3, "a", body), 500)
        [task] = tasks(v3)
        ended(v3, ANN, task["task_id"])
        for _ in range(2):
            again = post(v3, "a", body)
            assert (again.status_code, replayed(again)) == (201, True)
            assert again.headers["Location"] == f"/v3/task/{task['task_id']}"
            assert again.json == task_of(v3, ANN, task["task_id"])
        problem(post(v3, "a", {"cmd": "echo b"}), 422)
        assert len(tasks(v3)) == 1

    def test_before_the_start_nothing_is_kept(
        self, v3: FlaskClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*args: Any, **values: Any) -> None:
            raise ValueError("a fault of ours")

        services = v3.application.extensions["bellhop"]
        with monkeypatch.context() as patch:
            patch.setattr(services.backend._store, "add", fail)
            for path in ("/v3/exec/", "/api/exec/ann"):
                problem(post(v3, "a", {"cmd": "true"}, path), 500)
        for path in ("/v3/exec/", "/api/exec/ann"):
            good = post(v3, "a", {"cmd": "true"}, path)
            assert good.status_code in (201, 202)
            assert not replayed(good)


class TestStorageAway:
    @pytest.fixture(autouse=True)
    def little_patience(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(engine, "BUSY_SECONDS", 0.1)

    def test_without_the_records_nothing_is_done_or_kept(
        self, v3: FlaskClient, tmp_path: Path
    ) -> None:
        path = tmp_path / "instance" / "bellhop.db"
        assert path.exists()
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            for where in ("/api/exec/ann", "/v2/iostat/"):
                body = {"cmd": "true"} if "exec" in where else None
                problem(post(v3, "a", body, where), 503)
            connection.execute("ROLLBACK")
        for where in ("/api/exec/ann", "/v2/iostat/"):
            body = {"cmd": "echo another"} if "exec" in where else None
            good = post(v3, "a", body, where)
            assert good.status_code in (201, 202)
            assert not replayed(good)

    @pytest.mark.threads_only("with Celery no room is taken before it is run")
    def test_without_room_for_output_nothing_is_done_or_kept(
        self, v3: FlaskClient, tmp_path: Path
    ) -> None:
        folder, aside = tmp_path / "instance" / "output", tmp_path / "aside"
        folder.rename(aside)
        problem(post(v3, "a", {"cmd": "true"}), 503)
        aside.rename(folder)
        good = post(v3, "a", {"cmd": "echo another"})
        assert good.status_code == 201
        assert not replayed(good)
        assert len(tasks(v3)) == 1

    def test_an_answer_that_cannot_be_kept_is_given_all_the_same(
        self, v3: FlaskClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        path, store = (
            tmp_path / "instance" / "bellhop.db",
            v3.application.extensions["bellhop"].requests._store,
        )
        answer = store.answer

        def locked(*args: Any, **values: Any) -> None:
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                wait_until(lambda: begun(connection))
                answer(*args, **values)

        with monkeypatch.context() as patch:
            patch.setattr(store, "answer", locked)
            first = post(v3, "a", {"cmd": "echo a"})
        assert first.status_code == 201
        ended(v3, ANN, first.json["task_id"])
        problem(post(v3, "a", {"cmd": "echo a"}), 409)
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 300)
        again = post(v3, "a", {"cmd": "echo a"})
        assert replayed(again)
        assert again.json["task_id"] == first.json["task_id"]
        assert len(tasks(v3)) == 1


def begun(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:  # a run is writing just now
        return False
    return True


class TestSigned:
    @pytest.fixture
    def client(self, make_app: Callable[..., Flask]) -> FlaskClient:
        return with_users(make_app(EXEC_TOKEN_REQUIRED="1"))

    @pytest.fixture
    def uuids(self, client: FlaskClient) -> Callable[[int], str]:
        """Return what signs for Ann, some seconds ago."""
        made = client.post("/v3/users/ann/signing-key", auth=ANN)
        key = made.json["signing_key"]
        return lambda ago: signed("ann", key, ago_seconds=ago)

    def exec(
        self, client: FlaskClient, uuid: str, key: str | None, cmd: str = "true"
    ) -> Any:
        return post(client, key, {"cmd": cmd}, f"/api/exec/{uuid}")

    def test_a_used_uuid_with_its_key_is_answered_again(
        self, client: FlaskClient, uuids: Callable[[int], str]
    ) -> None:
        uuid = uuids(5)
        first = self.exec(client, uuid, "a")
        assert first.status_code == 202
        assert same(first, self.exec(client, uuid, "a"))
        problem(self.exec(client, uuid, "a", "echo b"), 422)
        problem(self.exec(client, uuid, "b"), 401)
        problem(self.exec(client, uuid, None), 401)
        assert same(first, self.exec(client, uuid, "a"))
        assert len(tasks(client)) == 1

    def test_a_fresh_uuid_of_the_caller_is_the_caller_s_too(
        self, client: FlaskClient, uuids: Callable[[int], str]
    ) -> None:
        first, fresh = self.exec(client, uuids(5), "a"), uuids(10)
        again = self.exec(client, fresh, "a")
        assert replayed(again)
        assert same(first, again)
        ended(client, ANN, first.json["task_id"])
        started = self.exec(client, fresh, "b")
        assert started.status_code == 202, "the replay has not used it up"

    def test_a_refused_start_has_used_neither_up(
        self, client: FlaskClient, uuids: Callable[[int], str]
    ) -> None:
        first = self.exec(client, uuids(5), None, "sleep 300")
        uuid = uuids(10)
        problem(self.exec(client, uuid, "a"), 409, shown="busy")
        client.delete(f"/v3/task/{first.json['task_id']}", auth=ANN)
        good = self.exec(client, uuid, "a")
        assert good.status_code == 202
        assert not replayed(good)

    @pytest.mark.parametrize("change", ["expired", "forged"])
    def test_a_uuid_that_is_not_good_is_refused_whatever_the_key(
        self, client: FlaskClient, uuids: Callable[[int], str], change: str
    ) -> None:
        uuid = uuids(5)
        first = self.exec(client, uuid, "a")
        bad = uuids(400) if change == "expired" else uuid[:-1] + "?"
        for key in ("a", "b", "", None):
            problem(self.exec(client, bad, key), 401)
        assert same(first, self.exec(client, uuid, "a"))


def test_a_key_is_in_no_table_or_log_as_it_is(
    v3: FlaskClient, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    post(v3, "canary-of-a-key", {"cmd": "echo canary-of-a-body", "wait_seconds": 20})
    path = tmp_path / "instance" / "bellhop.db"
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT digest, fingerprint FROM idempotency")
        [row] = rows.fetchall()
    assert "canary" not in json.dumps(row)
    out, err = capfd.readouterr()
    assert "canary" not in out + err
