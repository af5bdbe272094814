"""`flask --app server db …`, on both databases."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import Result
from flask import Flask

from app.storage.revisions import history, known_revisions
from app.storage.tables import REVISION
from tests.postgres import Postgres
from tests.racing import race_processes

Db = Callable[..., Result]

APP = "from server import app"
UPGRADE = "print(app.test_cli_runner().invoke(args=['db', 'upgrade']).stdout)"


@pytest.fixture
def migrations() -> None:
    """Have Alembic migrate each new database: that is what is tested here."""


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> Postgres | None:
    """Start PostgreSQL where it is wanted, before a test's leaks are counted."""
    wanted = request.param == "postgresql"
    return request.getfixturevalue("postgres") if wanted else None


@pytest.fixture
def url(server: Postgres | None, tmp_path: Path) -> Iterator[str]:
    if server is None:
        yield f"sqlite:///{tmp_path}/bellhop.db"
    else:
        with server.new_database() as made:
            yield made


@pytest.fixture
def db(make_app: Callable[..., Flask], url: str) -> Db:
    runner = make_app(DATABASE_URL=url).test_cli_runner()
    return lambda *arguments: runner.invoke(args=["db", *arguments])


def execute(url: str, statement: str) -> None:
    """Change a database by hand."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


def test_an_empty_database_is_made_and_told_once(db: Db) -> None:
    steps = [f"{name} {brought}" for name, brought in history().items()]
    assert db("current").output == "none\n"
    assert db("check").exit_code == 1
    assert db("history").output.splitlines() == steps
    now = f"The tables have revision {REVISION}"
    assert db("upgrade").stdout.splitlines() == [*steps, f"{now}."]
    again = db("upgrade")
    assert (again.exit_code, again.stdout) == (0, f"{now} already.\n")
    assert db("current").output == f"{REVISION}\n"
    assert db("check").exit_code == 0


def test_each_revision_is_reached_and_none_is_gone_back_to(db: Db) -> None:
    for name in known_revisions():
        assert db("upgrade", "--to", name).exit_code == 0
        assert db("current").output == f"{name}\n"
        assert db("check").exit_code == int(name != REVISION)
    back = db("upgrade", "--to", "0001")
    assert (back.exit_code, back.stdout) == (1, "")
    assert "no way back to 0001" in back.stderr
    assert db("current").output == f"{REVISION}\n"


def test_what_this_release_does_not_know_is_told(db: Db, url: str) -> None:
    unknown = db("upgrade", "--to", "9999")
    assert unknown.exit_code == 2
    assert "'9999' is none of 0001, " in unknown.stderr

    assert db("upgrade").exit_code == 0
    execute(url, "UPDATE alembic_version SET version_num = '9999'")
    assert db("current").output == "9999\n"
    assert db("check").exit_code == 1
    newer = db("upgrade")
    assert (newer.exit_code, newer.stdout) == (1, "")
    assert "revision 9999 is of a later release than this one" in newer.stderr


@pytest.mark.parametrize("command", ["upgrade", "current", "check"])
def test_a_database_that_is_away_is_told_in_one_line(
    make_app: Callable[..., Flask], command: str
) -> None:
    away = "postgresql+psycopg://u:canary@127.0.0.1:1/bellhop"
    runner = make_app(DATABASE_URL=away).test_cli_runner()
    ran = runner.invoke(args=["db", command])
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert ran.stderr.startswith("Error: The database cannot be used: connection")
    assert ran.stderr.count("\n") == 1
    assert "canary" not in ran.stderr


def test_nothing_but_the_database_has_to_be_up(
    make_app: Callable[..., Flask], url: str
) -> None:
    """With celery neither the broker nor the outputs are asked."""
    nowhere = "redis://127.0.0.1:1/0"
    engines = {"CELERY_BROKER_URL": nowhere, "REDIS_URL": nowhere}
    app = make_app(DATABASE_URL=url, TASK_BACKEND="celery", **engines)
    assert app.test_cli_runner().invoke(args=["db", "upgrade"]).exit_code == 0


def test_of_upgrades_at_once_one_does_it(url: str, tmp_path: Path) -> None:
    env = {"DATABASE_URL": url, "INSTANCE_PATH": str(tmp_path / "instance")}
    ended = race_processes(3, APP, UPGRADE, FLASK_ENV="testing", **env)
    now = f"The tables have revision {REVISION}"
    assert sorted(each.split("\n")[-3] for each in ended) == [
        *[f"{now} already."] * 2,
        f"{now}.",
    ]
