"""Production does not start open: somebody can sign in, or it says what to do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.api.checks import problem
from tests.callers import ADMIN, PASSWORD, add_user, production
from tests.postgres import Postgres
from tests.servers import GUNICORN, PROJECT, RUN, Server, free_port, running, wait_until

SECONDS = 30
KINDS = {
    "gunicorn": (GUNICORN, ["-w", "2"]),
    "gunicorn with gevent": (GUNICORN, ["-w", "1", "-k", "gevent"]),
    "run.py": (RUN, ["-e", "production"]),
    "run.py with gevent": (RUN, ["-e", "production", "--gevent"]),
}


def start_and_end(
    command: tuple[str, ...], *arguments: str, folder: Path, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run a program that ends by itself."""
    settings = {
        "PATH": os.environ["PATH"],
        "INSTANCE_PATH": str(folder / "instance"),
        "PORT": str(free_port()),
    }
    return subprocess.run(
        [sys.executable, *command, *arguments],
        cwd=PROJECT,
        env=settings | env,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def status_of(server: Server, *auth: str) -> int:
    return server.get("/v3/users/", auth=auth or None).status_code


@pytest.mark.parametrize("kind", KINDS)
def test_production_does_not_start_where_nobody_could_sign_in(
    kind: str, tmp_path: Path
) -> None:
    command, arguments = KINDS[kind]
    ended = start_and_end(command, *arguments, folder=tmp_path, ADMIN_PASSWORD="")
    assert ended.returncode != 0
    said = ended.stdout + ended.stderr
    assert "Traceback" not in said
    [line] = [line for line in said.splitlines() if "ADMIN_PASSWORD" in line]
    assert "there is no admin" in line
    assert "flask --app server user add" in line
    assert "istening" not in said


def test_an_ordinary_user_is_nobody_who_could_administer(tmp_path: Path) -> None:
    flask = ("-m", "flask", "--app", "server")
    add = ["user", "add", "bob", "--no-admin", "--password", "bob's password"]
    assert start_and_end(flask, *add, folder=tmp_path).returncode == 0
    ended = start_and_end(GUNICORN, folder=tmp_path)
    assert ended.returncode != 0
    assert "there is no admin" in ended.stderr + ended.stdout


def test_the_first_admin_comes_from_the_settings_and_stays(tmp_path: Path) -> None:
    with production(tmp_path, "-w", "1") as server:
        problem(server.get("/v3/users/"), 401)
        assert status_of(server, *ADMIN) == 200
        ann = add_user(server, "ann", admin=True)

    another = {"ADMIN_USERNAME": "root", "ADMIN_PASSWORD": "another password"}
    with production(tmp_path, "-w", "1", **another) as server:
        assert status_of(server, *ADMIN) == 200
        assert status_of(server, "admin", "another password") == 401
        assert status_of(server, "root", "another password") == 401
        url = f"{server.url}/v3/users/admin"
        assert requests.delete(url, auth=ann, timeout=60).status_code == 204

    with production(tmp_path, "-w", "1") as server:
        assert status_of(server, *ADMIN) == 401, "who was removed is not made again"
        assert status_of(server, *ann) == 200
        assert PASSWORD not in server.log_path.read_text()


def test_an_admin_of_the_terminal_is_enough(tmp_path: Path) -> None:
    flask = ("-m", "flask", "--app", "server")
    add = ["user", "add", "ann", "--password", "ann's password"]
    assert start_and_end(flask, *add, folder=tmp_path).returncode == 0
    with production(tmp_path, "-w", "1", ADMIN_PASSWORD="") as server:
        assert status_of(server, "ann", "ann's password") == 200
        assert status_of(server, *ADMIN) == 401


def test_a_user_with_the_admin_s_name_is_not_made_one(tmp_path: Path) -> None:
    flask = ("-m", "flask", "--app", "server")
    add = ["user", "add", "admin", "--no-admin", "--password", "their own password"]
    assert start_and_end(flask, *add, folder=tmp_path).returncode == 0
    ended = start_and_end(GUNICORN, folder=tmp_path, ADMIN_PASSWORD=PASSWORD)
    assert ended.returncode != 0
    assert PASSWORD not in ended.stdout + ended.stderr


def test_a_password_that_is_too_short_is_told(tmp_path: Path) -> None:
    for command in (GUNICORN, RUN):
        env = {"FLASK_ENV": "production", "ADMIN_PASSWORD": "short"}
        ended = start_and_end(command, folder=tmp_path, **env)
        assert ended.returncode != 0
        assert "ADMIN_PASSWORD is shorter than 6 characters" in ended.stderr


@pytest.mark.parametrize(
    ("kind", "password"), [("gunicorn", PASSWORD), ("gunicorn", ""), ("run.py", "")]
)
def test_a_database_that_is_away_lets_it_start_and_nobody_in(
    kind: str, password: str, tmp_path: Path
) -> None:
    command, arguments = KINDS[kind]
    away = {
        "ADMIN_PASSWORD": password,
        "DATABASE_URL": f"postgresql+psycopg://u:p@127.0.0.1:{free_port()}/bellhop",
    }
    with production(tmp_path, *arguments, command=command, **away) as server:
        for auth in (None, ADMIN, ("admin", ""), ("", "")):
            for path in ("/v3/users/", "/v3/task/", "/v1/user"):
                status = 401 if auth is None else 503
                problem(server.get(path, auth=auth), status)
        problem(server.exec(f"admin.1.{'0' * 64}", "echo"), 503)
        problem(server.exec("admin", "echo"), 401)
        bearer = {"Authorization": "Bearer bellhop_x"}
        problem(server.get("/v3/users/", headers=bearer), 503)
        problem(server.get("/api/health/ready"), 503)
        assert server.get("/api/health").status_code == 200
        assert server.get("/v1/uptime/").status_code == 200


def test_the_first_admin_is_made_when_the_database_is_there(
    postgres: Postgres, tmp_path: Path
) -> None:
    with postgres.new_database() as url:
        name = url.partition("@/")[2].partition("?")[0]
        postgres.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        with production(tmp_path, "-w", "2", DATABASE_URL=url) as server:
            assert status_of(server, *ADMIN) == 503
            postgres.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
            assert status_of(server, *ADMIN) == 200
            assert status_of(server, "admin", "a guess") == 401


def test_in_development_it_starts_without_any_admin(tmp_path: Path) -> None:
    with running(tmp_path, "-w", "1", FLASK_ENV="development") as server:
        assert server.get("/v1/user").status_code == 200
        assert server.exec("bob", "exit 3").status_code == 202
        assert server.poll_until_finished("bob")[-1]["returncode"] == 3
        assert status_of(server) == 401, "v3 takes an account everywhere"


def test_a_worker_that_dies_is_followed_by_one_that_knows_the_same(
    tmp_path: Path,
) -> None:
    with production(tmp_path, "-w", "1") as server:
        pair = add_user(server, "bob")
        [worker] = server.workers()[1:]
        os.kill(worker, 9)
        wait_until(lambda: _workers_but(server, worker))
        wait_until(lambda: _asked(server, pair) == 200)
        for _ in range(10):
            assert status_of(server, "bob", "a guess") == 401
        assert status_of(server, "bob", "a guess") == 429
        [worker] = _workers_but(server, worker)
        os.kill(worker, 9)
        wait_until(lambda: _workers_but(server, worker))
        wait_until(lambda: _asked(server, ("bob", "a guess")) == 429)
        assert status_of(server, *pair) == 200, "who was let in before"


def _workers_but(server: Server, *old: int) -> list[int]:
    return [pid for pid in server.workers()[1:] if pid not in old]


def _asked(server: Server, auth: tuple[str, str]) -> int:
    try:
        return status_of(server, *auth)
    except requests.ConnectionError:  # it had reached the worker that died
        return 0
