"""Accounts on real servers: what one worker changes holds in all of them at once."""

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.api.checks import problem
from tests.callers import (
    ADMIN,
    Pair,
    add_user,
    bearer,
    each_worker,
    issue_key,
    issue_token,
    production,
    signed,
)
from tests.postgres import Postgres
from tests.servers import GUNICORN, RUN, Server

# A worker keeps the connection of the tests for as long as they take.
FOUR_WORKERS = ("-w", "4", "--keep-alive", "100")

Ask = Callable[..., list[int]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with production(folder, *FOUR_WORKERS) as started:
        yield started


@pytest.fixture(scope="module")
def workers(server: Server) -> Iterator[list[requests.Session]]:
    with each_worker(server) as found:
        assert len(found) == 4
        yield found


@pytest.fixture
def ask(server: Server, workers: list[requests.Session]) -> Ask:
    """Return what GETs a path from every worker, and returns what they say."""

    def get(path: str, **options: Any) -> list[int]:
        asked = [w.get(server.url + path, timeout=60, **options) for w in workers]
        return [answer.status_code for answer in asked]

    return get


@pytest.fixture
def name() -> str:
    """Return the name of nobody yet, at whose password nobody has guessed."""
    return f"user-{secrets.token_hex(4)}"


def change(server: Server, name: str, **members: object) -> requests.Response:
    url = f"{server.url}/v3/users/{name}"
    changed = requests.patch(url, json=members, auth=ADMIN, timeout=60)
    assert changed.status_code == 200, changed.text
    return changed


def remove(server: Server, path: str, auth: Pair = ADMIN) -> None:
    removed = requests.delete(server.url + path, auth=auth, timeout=60)
    assert removed.status_code == 204, removed.text


class TestEveryWorkerKnowsAtOnce:
    def test_a_deleted_user_is_out(self, server: Server, ask: Ask, name: str) -> None:
        pair = add_user(server, name)
        token = bearer(issue_token(server, pair)["token"])
        key = issue_key(server, pair)
        poll = f"/api/poll/{signed(name, key)}"
        assert ask("/v3/task/", auth=pair) == [200] * 4
        assert ask("/v3/task/", headers=token) == [200] * 4
        assert ask(poll) == [200] * 4
        remove(server, f"/v3/users/{name}")
        assert ask("/v3/task/", auth=pair) == [401] * 4
        assert ask("/v3/task/", headers=token) == [401] * 4
        assert ask(poll) == [401] * 4

        add_user(server, name)  # who has the same password, even
        assert ask("/v3/task/", headers=token) == [401] * 4
        assert ask(poll) == [401] * 4, "of another who had that name"
        assert ask(f"/api/poll/{signed(name, key)}") == [401] * 4

    def test_a_changed_password_is_the_only_one(
        self, server: Server, ask: Ask, name: str
    ) -> None:
        pair = add_user(server, name)
        assert ask("/v3/task/", auth=pair) == [200] * 4
        change(server, name, password="another one")
        assert ask("/v3/task/", auth=pair) == [401] * 4
        assert ask("/v3/task/", auth=(name, "another one")) == [200] * 4
        change(server, name, password=pair[1])
        assert ask("/v3/task/", auth=pair) == [200] * 4
        assert ask("/v3/task/", auth=(name, "another one")) == [401] * 4

    def test_a_revoked_token_is_worth_nothing(
        self, server: Server, ask: Ask, name: str
    ) -> None:
        pair = add_user(server, name)
        revoked, kept = issue_token(server, pair), issue_token(server, pair)
        assert ask("/v3/task/", headers=bearer(revoked["token"])) == [200] * 4
        remove(server, f"/v3/users/{name}/tokens/{revoked['id']}", pair)
        assert ask("/v3/task/", headers=bearer(revoked["token"])) == [401] * 4
        assert ask("/v3/task/", headers=bearer(kept["token"])) == [200] * 4

    def test_an_admin_who_is_none_any_more_is_an_ordinary_user(
        self, server: Server, ask: Ask, name: str
    ) -> None:
        pair = add_user(server, name, admin=True)
        token = bearer(issue_token(server, pair, "read", "admin")["token"])
        for admin in ({"auth": pair}, {"headers": token}):
            assert ask("/v3/audit/", **admin) == [200] * 4
        change(server, name, admin=False)
        for ordinary in ({"auth": pair}, {"headers": token}):
            assert ask("/v3/audit/", **ordinary) == [403] * 4
            assert ask("/v3/task/", **ordinary) == [200] * 4
        change(server, name, admin=True)
        assert ask("/v3/audit/", auth=pair) == [200] * 4

    def test_a_renamed_user_signs_in_under_the_new_name(
        self, server: Server, ask: Ask, name: str
    ) -> None:
        old = add_user(server, name)
        token = bearer(issue_token(server, old)["token"])
        key = issue_key(server, old)
        ran = {"command": "append", "params": {"file": "/dev/null"}}
        task = server.post("/v3/exec/", json=ran, auth=old).json()["links"][0]["href"]
        assert ask(task, auth=old) == [200] * 4
        new = (f"{name}-renamed", old[1])
        change(server, name, username=new[0])
        assert ask(task, auth=old) == [401] * 4
        assert ask(task, auth=new) == [200] * 4, "with all that is theirs"
        assert ask(task, headers=token) == [200] * 4
        assert ask(f"/api/poll/{signed(name, key)}") == [401] * 4
        assert ask(f"/api/poll/{signed(new[0], key)}") == [200] * 4

        add_user(server, name)  # somebody else, of the name that is free now
        assert ask(task, auth=old) == [404] * 4

    def test_a_new_signing_key_ends_the_one_before(
        self, server: Server, ask: Ask, name: str
    ) -> None:
        pair = add_user(server, name)
        old = issue_key(server, pair)
        assert ask(f"/api/poll/{signed(name, old)}") == [200] * 4
        new = issue_key(server, pair)
        assert ask(f"/api/poll/{signed(name, old)}") == [401] * 4
        assert ask(f"/api/poll/{signed(name, new)}") == [200] * 4


class TestGuesses:
    def test_ten_wrong_passwords_are_counted_across_workers(
        self, server: Server, workers: list[requests.Session], ask: Ask, name: str
    ) -> None:
        pair = add_user(server, name)
        url = f"{server.url}/v3/task/"
        for number in range(10):
            guess = (name, f"guess {number}")
            problem(workers[number % 4].get(url, auth=guess, timeout=60), 401)
        for worker in workers:
            for password in ("guess 10", "guess 0", "", pair[1]):
                refused = worker.get(url, auth=(name, password), timeout=60)
                problem(refused, 429)
                assert 1 <= int(refused.headers["Retry-After"]) <= 60
        token = bearer(issue_token_by_admin(server, name))
        assert ask("/v3/task/", headers=token) == [200] * 4, "which nobody guesses"
        assert ask("/v3/task/", auth=ADMIN) == [200] * 4

    @pytest.mark.parametrize("is_user", [True, False], ids=["of a user", "of nobody"])
    def test_of_racing_guesses_exactly_ten_are_looked_at(
        self, server: Server, name: str, is_user: bool
    ) -> None:
        if is_user:
            add_user(server, name)

        def guess(number: int) -> int:
            auth = (name, f"guess {number}")
            return server.get("/v3/task/", auth=auth).status_code

        with ThreadPoolExecutor(8) as pool:
            assert sorted(pool.map(guess, range(40))) == [401] * 10 + [429] * 30

    def test_who_was_let_in_before_goes_on_in_every_worker(
        self, server: Server, workers: list[requests.Session], ask: Ask, name: str
    ) -> None:
        pair = add_user(server, name)
        url = f"{server.url}/v3/task/"
        assert workers[0].get(url, auth=pair, timeout=60).status_code == 200
        for number in range(12):
            workers[number % 4].get(url, auth=(name, f"guess {number}"), timeout=60)
        assert ask("/v3/task/", auth=(name, "a guess")) == [429] * 4
        assert ask("/v3/task/", auth=pair) == [200] * 4, "unseen by three of them"
        change(server, name, password="another one")
        assert ask("/v3/task/", auth=pair) == [429] * 4, "it is a guess now"

    def test_guesses_at_nobody_are_answered_alike(
        self, workers: list[requests.Session], server: Server, name: str
    ) -> None:
        def told(of: str) -> list[tuple[int, str]]:
            asked = [
                workers[number % 4].get(
                    f"{server.url}/v3/task/", auth=(of, f"guess {number}"), timeout=60
                )
                for number in range(12)
            ]
            return [(answer.status_code, answer.json()["detail"]) for answer in asked]

        add_user(server, name)
        of_nobody = told(f"no-{name}")
        assert told(name) == of_nobody
        assert [status for status, _ in of_nobody] == [401] * 10 + [429] * 2

    def test_right_passwords_are_no_guesses(
        self, server: Server, ask: Ask, name: str
    ) -> None:
        pair = add_user(server, name)
        for _ in range(4):
            assert ask("/v3/task/", auth=pair) == [200] * 4
        assert ask("/v3/task/", auth=(name, "a guess")) == [401] * 4


def issue_token_by_admin(server: Server, name: str) -> str:
    made = server.post(f"/v3/users/{name}/tokens", json={}, auth=ADMIN)
    assert made.status_code == 201, made.text
    return made.json()["token"]


SERVERS = {
    "gunicorn with gevent": (GUNICORN, ["-w", "2", "-k", "gevent"]),
    "run.py": (RUN, []),
    "run.py with gevent": (RUN, ["--gevent"]),
}


@pytest.mark.parametrize("kind", SERVERS)
def test_passwords_hold_on_every_kind_of_server(kind: str, tmp_path: Path) -> None:
    command, arguments = SERVERS[kind]
    with production(tmp_path, *arguments, command=command) as server:
        # In a function of its own: a response that is kept holds its connection, on
        # which a server that is to stop waits for more.
        sign_in_and_guess(server, tmp_path / "ran")


def sign_in_and_guess(server: Server, ran: Path) -> None:
    problem(server.get("/v3/task/"), 401)
    pair = add_user(server, "bob")

    def told(*passwords: str) -> list[int]:
        with ThreadPoolExecutor(8) as pool:
            guesses = [{"auth": ("bob", password)} for password in passwords]
            asked = pool.map(lambda guess: server.get("/v3/task/", **guess), guesses)
            return sorted(answer.status_code for answer in asked)

    assert told(pair[1]) == [200]
    assert told(*(f"guess {n}" for n in range(16))) == [401] * 10 + [429] * 6
    assert told(*[pair[1]] * 8) == [200] * 8
    rows = server.get("/v3/audit/?outcome=refused", auth=ADMIN).json()["audit"]
    assert {row["detail"] for row in rows} == {"claimed to be bob"}
    assert {row["status"] for row in rows} <= {401, 429}

    wanted = {"command": "append", "params": {"file": str(ran)}, "wait_seconds": 20}
    done = server.post("/v3/exec/", json=wanted, auth=pair)
    assert done.json()["state"] == "SUCCESS"
    assert ran.read_text() == "started\n"
    remove(server, "/v3/users/bob")
    assert told(pair[1]) == [429], "it is a guess at nobody now"


def test_four_workers_with_their_users_in_postgresql(
    postgres: Postgres, tmp_path: Path
) -> None:
    with (
        postgres.new_database() as url,
        production(tmp_path, *FOUR_WORKERS, DATABASE_URL=url) as server,
    ):
        pair = add_user(server, "bob")
        with each_worker(server) as workers:
            path = f"{server.url}/v3/task/"

            def told(auth: Pair) -> list[int]:
                asked = [worker.get(path, auth=auth, timeout=60) for worker in workers]
                return [answer.status_code for answer in asked]

            assert told(pair) == [200] * 4
            with ThreadPoolExecutor(8) as pool:
                guesses = [("bob", f"guess {number}") for number in range(40)]
                asked = pool.map(lambda g: server.get("/v3/task/", auth=g), guesses)
                statuses = sorted(answer.status_code for answer in asked)
            assert statuses == [401] * 10 + [429] * 30
            assert told(pair) == [200] * 4
            change(server, "bob", username="robert")
            assert told(("robert", pair[1])) == [200] * 4
            remove(server, "/v3/users/robert")
            assert 200 not in told(("robert", pair[1]))
