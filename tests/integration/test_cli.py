"""The terminal's commands beside a running server, on one database."""

import json
import os
import pty
import re
import select
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask

from app.webhooks.signature import read_secret
from tests import terminal
from tests.callers import ADMIN, PASSWORD, issue_token, production
from tests.postgres import Postgres
from tests.servers import PROJECT, Server

# What is typed, what is asked for, and a word of why it cannot be.
WRONG = [
    ("", "user add bob --password short", "password"),
    ("secre\n", "user add bob", "password"),
    ("", "user add bob", "password"),
    ("", f"user add bob --password {'secret' * 171}", "password"),
    ("", "user add bob/eve --password secret", "username"),
    ("", "user add .. --password secret", "username"),
    ("", "user add  --password secret", "username"),
    ("", "user add admin --password secret", "already"),
    ("", "user add bob --fullname a\nb --password secret", "fullname"),
    ("", "user password admin --password short", "password"),
    ("\n", "user password admin", "password"),
    ("", "user password nobody --password secret", "no user"),
    ("", "user remove nobody", "no user"),
    ("", "user remove admin", "only admin"),
    ("", "token nobody", "no user"),
    ("", "token bob/../eve", "no user"),
]

Run = Callable[..., terminal.Ran]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return what a terminal on the server's host has set."""
    return terminal.environment(tmp_path)


@pytest.fixture
def flask(environment: dict[str, str]) -> Run:
    def do(*arguments: str, typed: str = "", **env: str) -> terminal.Ran:
        return terminal.do(environment | env, *arguments, typed=typed)

    return do


@pytest.fixture
def process(environment: dict[str, str]) -> Run:
    """Return what runs a command as an operator does."""

    def run(*arguments: str, typed: str = "", **env: str) -> terminal.Ran:
        return terminal.run(environment | env, *arguments, typed=typed)

    return run


def done(ran: terminal.Ran) -> list[str]:
    """Return the lines that a command has printed, which did what it should."""
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr
    return ran.stdout.splitlines()


def refused(ran: terminal.Ran) -> str:
    """Return the one line by which a command says why it did nothing."""
    assert ran.returncode != 0
    assert ran.stdout == ""
    # Beside the log, whose lines are JSON.
    told = [line for line in ran.stderr.splitlines() if not line.startswith("{")]
    assert len(told) == 1, ran.stderr
    assert told[0].startswith("Error: ")
    return told[0]


def make_admin(flask: Run) -> None:
    assert done(flask("user", "add", "admin", "--password", PASSWORD))


class TestUsers:
    def test_the_first_user_is_an_admin_and_the_next_is_none(
        self, flask: Run, process: Run
    ) -> None:
        [said] = done(process("user", "add", "ann", "--password", "ann's password"))
        assert "admin" in said
        [said] = done(flask("user", "add", "bob", "--password", "bob's password"))
        assert "admin" not in said
        done(flask("user", "add", "eve", "--admin", "--password", "eve's password"))
        assert done(flask("user", "list")) == ["ann (admin)", "bob", "eve (admin)"]

    def test_the_first_user_is_none_where_that_is_said(self, flask: Run) -> None:
        done(flask("user", "add", "bob", "--no-admin", "--password", "bob's password"))
        assert done(flask("user", "list")) == ["bob"]

    def test_the_secret_of_webhooks_is_that_of_the_service(
        self, flask: Run, process: Run
    ) -> None:
        [secret] = done(flask("webhook-secret"))
        assert len(read_secret(secret)) == 32
        assert done(process("webhook-secret")) == [secret]
        assert done(flask("webhook-secret", SECRET_KEY="another")) != [secret]

    def test_what_cannot_be_done_is_told_in_one_line(
        self, flask: Run, process: Run
    ) -> None:
        make_admin(flask)
        told = refused(process("user", "add", "admin", "--password", "secret"))
        assert told == "Error: There is a user of that name already."
        refused(flask("user", "add", "bob", typed="secre\n"))
        assert done(flask("user", "list")) == ["admin (admin)"]

    @pytest.mark.parametrize(("typed", "asked", "why"), WRONG)
    def test_all_that_cannot_be_done_is_told(
        self, make_app: Callable[..., Flask], typed: str, asked: str, why: str
    ) -> None:
        runner = make_app().test_cli_runner()
        admin = ["user", "add", "admin", "--password", PASSWORD]
        assert runner.invoke(args=admin).exit_code == 0
        ran = runner.invoke(args=asked.split(" "), input=typed)
        assert ran.exit_code == 1
        assert ran.stdout == ""
        assert ran.stderr.startswith("Error: ")
        assert ran.stderr.count("\n") == 1
        assert why in ran.stderr
        assert "secre" not in ran.stderr
        assert runner.invoke(args=["user", "list"]).output == "admin (admin)\n"

    def test_a_database_that_is_away_is_told_in_one_line(self, flask: Run) -> None:
        away = {"DATABASE_URL": "postgresql+psycopg://u:canary@127.0.0.1:1/bellhop"}
        for arguments in (["user", "list"], ["token", "bob"]):
            ran = flask(*arguments, **away)
            refused(ran)
            assert "canary" not in ran.stderr

    def test_faulty_settings_are_told_without_a_trace(self, process: Run) -> None:
        ran = process("user", "list", PORT="nonsense")
        assert ran.returncode != 0
        assert ran.stdout == ""
        assert "PORT='nonsense'" in ran.stderr
        assert "Traceback" not in ran.stderr

    def test_a_password_is_asked_for_twice_at_a_terminal_and_not_shown(
        self, flask: Run, environment: dict[str, str]
    ) -> None:
        with opened_terminal() as (master, end):
            typing = subprocess.Popen(
                terminal.command("user", "add", "admin"),
                cwd=PROJECT,
                env=environment,
                stdin=end,
                stdout=end,
                stderr=end,
            )
            shown = b""
            with typing:
                for asked in (b"Password: ", b"Repeat for confirmation: "):
                    shown += read_until(master, asked)
                    os.write(master, PASSWORD.encode() + b"\n")
                shown += read_until(master, b"admin was added")
            assert typing.returncode == 0
        assert PASSWORD.encode() not in shown
        assert done(flask("user", "list")) == ["admin (admin)"]


@contextmanager
def opened_terminal() -> Iterator[tuple[int, int]]:
    master, end = pty.openpty()
    try:
        yield master, end
    finally:
        os.close(end)
        os.close(master)


def read_until(master: int, awaited: bytes) -> bytes:
    shown = b""
    while awaited not in shown:
        assert select.select([master], [], [], terminal.SECONDS)[0], shown
        shown += os.read(master, 4096)
    return shown


def test_the_terminal_and_a_server_share_their_records(
    flask: Run, tmp_path: Path
) -> None:
    make_admin(flask)
    with without_admin_password(tmp_path) as server:
        hold_users(server, flask)
        uuid = start_with_token(server, flask, tmp_path / "started")
        kept = server.get(f"/v3/audit/?actor=uid+{os.getuid()}", auth=ADMIN).text
        rows = json.loads(kept)["audit"]
        assert [(row["action"], row["target"]) for row in rows] == [
            ("token", "ann"),
            ("user add", "ann"),
            ("user remove", "bob"),
            ("user password", "bob"),
            ("user add", "bob"),
            ("user add", "admin"),
        ]
        assert {row["outcome"] for row in rows} == {"success"}
        assert {row["via"] for row in rows} == {"terminal"}
        for secret in ("piped", "another password", uuid.split(".")[2], PASSWORD):
            assert secret not in kept


def test_the_terminal_and_a_server_share_postgresql(
    postgres: Postgres, process: Run, tmp_path: Path
) -> None:
    with postgres.new_database() as url:

        def there(*arguments: str, **options: str) -> terminal.Ran:
            return process(*arguments, DATABASE_URL=url, **options)

        make_admin(there)
        with without_admin_password(tmp_path, DATABASE_URL=url) as server:
            start_with_token(server, there, tmp_path / "started")


@contextmanager
def without_admin_password(folder: Path, **settings: str) -> Iterator[Server]:
    """Start a server whose admin was made at the terminal."""
    with production(folder, "-w", "2", ADMIN_PASSWORD="", **settings) as started:
        yield started


def hold_users(server: Server, flask: Run) -> None:
    """Assert that users of the terminal are the server's at once."""
    added = ["user", "add", "bob", "--fullname", "Bob Sand"]
    assert done(flask(*added, typed="päßword, piped \nanother line\n"))
    pair = ("bob", "päßword, piped ".encode())
    assert server.get("/v3/users/bob", auth=pair).json()["fullname"] == "Bob Sand"
    token = issue_token(server, pair)["token"]
    bearer = {"Authorization": f"Bearer {token}"}
    assert server.get("/v3/audit/", auth=pair).status_code == 403

    assert done(flask("user", "password", "bob", typed="another password"))
    assert server.get("/v3/users/bob", auth=pair).status_code == 401
    pair = ("bob", "another password")
    assert server.get("/v3/users/bob", auth=pair).status_code == 200
    assert server.get("/v3/users/bob", headers=bearer).status_code == 200

    assert done(flask("user", "remove", "bob"))
    assert server.get("/v3/users/bob", auth=pair).status_code == 401
    assert server.get("/v3/users/bob", headers=bearer).status_code == 401
    assert done(flask("user", "list")) == ["admin (admin)"]


def start_with_token(server: Server, flask: Run, mark: Path) -> str:
    """Assert that a uuid of the terminal starts one command; return it."""
    done(flask("user", "add", "ann", "--password", "ann's password"))
    printed = flask("token", "ann")
    [uuid] = done(printed)
    assert re.fullmatch(r"ann\.[0-9]+\.[0-9a-f]{64}", uuid)
    assert printed.stdout == f"{uuid}\n"
    assert server.exec(uuid, f"append file={mark}").status_code == 202
    assert server.poll_until_finished(uuid)[-1]["returncode"] == 0
    assert server.exec(uuid, f"append file={mark}").status_code == 401
    assert mark.read_text() == "started\n"
    return uuid
