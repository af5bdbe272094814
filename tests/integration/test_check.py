"""`flask --app server check`: each misconfiguration is found, with what to do."""

import re
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from app.storage.account_store import AccountStore
from app.storage.audit_store import AuditStore
from app.storage.engine import Database
from app.storage.tables import REVISION
from tests import terminal
from tests.postgres import Postgres
from tests.servers import PROJECT
from tests.unit.storage.rows import account_row, audit_row

AWAY = "postgresql+psycopg://u:canary@127.0.0.1:1/bellhop"


@dataclass
class Place:
    """A folder with a configuration that is sound until a test seeds something."""

    path: Path
    env: dict[str, str] = field(default_factory=dict)
    limited: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.instance.mkdir(mode=0o700)
        self.env = terminal.environment(self.path) | {
            "ADMIN_PASSWORD": "change-me",
            # A file that is cut by a limit of this test must not be found later.
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.list_commands('[commands.true]\nargv = ["/bin/true"]\n')

    @property
    def instance(self) -> Path:
        return self.path / "instance"

    @property
    def database(self) -> Path:
        return self.instance / "bellhop.db"

    def write(self, name: str, text: str, mode: int = 0o600) -> str:
        path = self.path / name
        path.write_text(text)
        path.chmod(mode)
        return str(path)

    def list_commands(self, text: str, mode: int = 0o600) -> None:
        self.env["EXEC_COMMANDS"] = self.write("commands.toml", text, mode)

    def check(self) -> terminal.Ran:
        if self.limited:
            return self.check_alone()
        return terminal.do(self.env, "check")

    def check_alone(self) -> terminal.Ran:
        """Check in a process of its own."""
        return terminal.run(self.env, "check", below=self.limited)


Seed = Callable[[Place], object]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def found_by(ran: terminal.Ran) -> list[str]:
    """Return the lines of a check, whose form and exit code are as they should be."""
    *lines, summary = ran.stdout.splitlines()
    for line in lines:
        assert re.fullmatch(r"(ok   |note |FAULT) [\w. -]+: .+", line), line
        assert line.startswith("ok ") == (" -> " not in line), line
    faults = sum(line.startswith("FAULT") for line in lines)
    notes = sum(line.startswith("note") for line in lines)
    assert re.fullmatch(rf"{faults} faults?, {notes} notes?", summary)
    assert ran.returncode == (1 if faults else 0), ran.stderr
    assert "Traceback" not in ran.stderr
    assert "canary" not in ran.stdout + ran.stderr
    return lines


def both(*seeds: Seed) -> Seed:
    return lambda place: [seed(place) for seed in seeds]


def settings(**env: str) -> Seed:
    return lambda place: place.env.update(env)


def catalogue(text: str, mode: int = 0o600) -> Seed:
    return lambda place: place.list_commands(text, mode)


def entry(line: str) -> Seed:
    return catalogue(f'[commands.x]\nargv = ["/bin/true"]\n{line}\n')


def program(text: str, mode: int = 0o700) -> Seed:
    def seed(place: Place) -> None:
        path = place.write("program", text, mode)
        place.list_commands(f'[commands.x]\nargv = ["{path}"]\n')

    return seed


def templates(text: str, **env: str) -> Seed:
    def seed(place: Place) -> None:
        place.env["SMS_TEMPLATES"] = place.write("templates.toml", text)
        place.env |= env

    return seed


def limit(option: str) -> Seed:
    def seed(place: Place) -> None:
        place.limited = (shutil.which("prlimit") or "", option)

    return seed


def rights(mode: int, name: str = "") -> Seed:
    def seed(place: Place) -> None:
        (place.instance / "secret_key").write_text("c" * 64)
        (place.instance / "secret_key").chmod(0o600)
        (place.instance / name).chmod(mode)

    return seed


def records(change: Callable[[Database], object]) -> Seed:
    def seed(place: Place) -> None:
        database = Database(f"sqlite:///{place.database}")
        with database.read():
            pass
        change(database)
        database.close()

    return seed


def revision(number: str) -> Seed:
    def change(database: Database) -> None:
        database.close()
        with closing(sqlite3.connect(database._path)) as connection, connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (number,))

    return records(change)


def account(name: str, *, admin: bool) -> Seed:
    row = account_row(name, admin=admin)
    return records(lambda database: AccountStore(database).add(row))


def entry_of_the_future(database: Database) -> None:
    AuditStore(database).add(audit_row(at=time.time() + 3600))


def a_disk_that_is_too_small(place: Place) -> None:
    tail = min(10**9, shutil.disk_usage(place.path).free // 5000)
    place.env |= {"EXEC_MAX_RUNNING": "10000", "EXEC_OUTPUT_TAIL_BYTES": str(tail)}


def a_garbled_database(place: Place) -> None:
    place.database.write_bytes(b"no database" * 1000)


def a_folder_that_others_write(place: Place) -> None:
    folder = place.path / "catalogue"
    folder.mkdir()
    folder.chmod(0o775)
    place.env["EXEC_COMMANDS"] = place.write("catalogue/commands.toml", "")


ALL_OPEN = {"EXEC_TOKEN_REQUIRED": "0", "EXEC_ALLOW_SHELL": "1"}
STRANGERS = {"BIND_ADDRESS": "0.0.0.0"}

#: Where it is seeded, what the line is about, and words of that line.
FAULTS: dict[str, tuple[Seed, str, str]] = {
    "development for strangers": (
        settings(FLASK_ENV="development", **STRANGERS),
        "FLASK_ENV",
        "whoever reaches 0.0.0.0",
    ),
    "starts unsigned": (
        settings(EXEC_TOKEN_REQUIRED="0"),
        "EXEC_TOKEN_REQUIRED",
        "nobody has to sign",
    ),
    "a shell unsigned": (settings(**ALL_OPEN), "EXEC_ALLOW_SHELL", "anybody at all"),
    "a folder that others read": (rights(0o750), "instance folder", "0750"),
    "a key that others read": (rights(0o640, "secret_key"), "secret_key", "0640"),
    "a disk that is full": (
        limit("--fsize=524288"),
        "instance folder",
        "cannot be written",
    ),
    "a disk too small": (a_disk_that_is_too_small, "free space", "EXEC_MAX_RUNNING"),
    "a database away": (
        settings(DATABASE_URL=AWAY, BELLHOP_HOST="pelican"),
        "database",
        "cannot be used: connection",
    ),
    "a database nowhere": (
        settings(DATABASE_URL="sqlite:////nonexistent/x.db"),
        "database",
        "/nonexistent is no folder",
    ),
    "no database": (a_garbled_database, "database", "file is not a database"),
    "a newer database": (revision("9999"), "database", "has revision 9999"),
    "no admin": (settings(ADMIN_PASSWORD=""), "admin", "there is none"),
    "no admin among users": (
        both(settings(ADMIN_PASSWORD=""), account("ann", admin=False)),
        "admin",
        "there is none",
    ),
    "an admin's name that is taken": (
        account("admin", admin=False),
        "admin",
        "admin is a user who is none",
    ),
    "a catalogue that is not there": (
        settings(EXEC_COMMANDS="/nonexistent/commands.toml"),
        "EXEC_COMMANDS",
        "No such file",
    ),
    "a catalogue with a typing error": (
        entry("time_out = 3"),
        "EXEC_COMMANDS",
        "commands.x.time_out",
    ),
    "a catalogue that others write": (
        catalogue("", 0o620),
        "EXEC_COMMANDS",
        "can be changed by others (its rights are 0620)",
    ),
    "a catalogue in a folder that others write": (
        a_folder_that_others_write,
        "EXEC_COMMANDS",
        "catalogue can be changed by others (its rights are 0775)",
    ),
    "a program that is not there": (
        catalogue('[commands.x]\nargv = ["no-such-program"]\n'),
        "command x",
        "no-such-program is not there",
    ),
    "a program that is not in its own path": (
        catalogue('[commands.x]\nargv = ["true"]\nenv = {PATH = "/nonexistent"}\n'),
        "command x",
        "looked for in /nonexistent",
    ),
    "a program that is no program": (
        program("#!/bin/sh\n", 0o600),
        "command x",
        "may not execute it",
    ),
    "a program that others write": (
        program("#!/bin/sh\n", 0o707),
        "command x",
        "can be changed by anybody",
    ),
    "a script without its interpreter": (
        program("#!/opt/nonexistent/python -u\n"),
        "command x",
        "names /opt/nonexistent/python,",
    ),
    "a script without what env is to find": (
        program("#!/usr/bin/env -S A=b no-such-python -u\n"),
        "command x",
        "names no-such-python,",
    ),
    "a script with the line ends of Windows": (
        program("#!/bin/sh\r\n"),
        "command x",
        "names /bin/sh\\r,",
    ),
    "a folder to run in that is not there": (
        entry('cwd = "/nonexistent"'),
        "command x",
        "its cwd /nonexistent",
    ),
    "limits that nothing can set": (
        both(entry("limits = {processes = 9}"), settings(PATH="/nonexistent")),
        "command x",
        "no prlimit",
    ),
    "an end that nobody can be told": (
        entry('notify = {on = ["lost"], webhook = {url = "https://x.test/canary"}}'),
        "command x",
        "notify.webhook.url is below none of NOTIFY_URL_PREFIXES",
    ),
    "templates with a typing error": (
        templates("[templates.x]\ntext = 3\n"),
        "SMS_TEMPLATES",
        "templates.x.text 3",
    ),
    "a template that nobody sends": (
        templates('[templates.x]\nids = {aliyun = "1"}\n', SMS_PROVIDER="console"),
        "template x",
        "has no text for console",
    ),
    "a clock that is behind": (
        records(entry_of_the_future),
        "clock",
        "behind the newest record",
    ),
    "too few open files": (limit("--nofile=256:256"), "open files", "256 are allowed"),
}

NOTES: dict[str, tuple[Seed, str, str]] = {
    "development": (settings(FLASK_ENV="development"), "FLASK_ENV", "is development"),
    "a shell": (
        settings(EXEC_ALLOW_SHELL="1"),
        "EXEC_ALLOW_SHELL",
        "whoever may start commands",
    ),
    "strangers": (settings(**STRANGERS), "open routes", "/v1/uptime/"),
    "figures for strangers": (settings(**STRANGERS), "METRICS_TOKEN", "is not set"),
    "a key that can be guessed": (
        settings(SECRET_KEY="canary"),
        "SECRET_KEY",
        "fewer than 32",
    ),
    "an older database": (
        revision("0004"),
        "database",
        f"has revision 0004; the first worker makes it {REVISION}",
    ),
    "a host whose name may change": (
        settings(DATABASE_URL=AWAY),
        "BELLHOP_HOST",
        "the name of this host",
    ),
    "a password that is used no more": (
        account("ann", admin=True),
        "ADMIN_PASSWORD",
        "used no more",
    ),
    "no commands": (catalogue(""), "EXEC_COMMANDS", "has no entry"),
    "a command for nobody": (
        both(account("ann", admin=True), entry('users = ["ann", "bob"]')),
        "command x",
        "name nobody that there is: bob",
    ),
    "nobody who sends": (settings(), "SMS_PROVIDER", "is not set"),
    "a provider that sends to nobody": (
        settings(SMS_PROVIDER="console"),
        "SMS_PROVIDER",
        "names console",
    ),
    "receipts in the clear": (
        settings(PUBLIC_URL="http://sms.example"),
        "PUBLIC_URL",
        "is not https",
    ),
    "no place for messages that wait": (
        limit("--nofile=1024:1024"),
        "open files",
        "1016 messages may wait",
    ),
}


#: What is seeded by more than one fault.
FAULTS_BESIDE = {"a shell unsigned", "a disk too small"}


def faults_of(lines: list[str]) -> set[str]:
    return {line for line in lines if line.startswith("FAULT")}


def lines_of(lines: list[str], level: str, about: str) -> list[str]:
    return [line for line in lines if line.startswith(f"{level:5} {about}: ")]


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_and_is_the_only_one(place: Place, name: str) -> None:
    seed, about, words = FAULTS[name]
    seed(place)
    lines = found_by(place.check())
    [line] = lines_of(lines, "FAULT", about)
    assert words in line
    others = faults_of(lines) - {line}
    assert not others or name in FAULTS_BESIDE
    assert any(" clock: " in each for each in lines), "the other checks went on"


@pytest.mark.parametrize("name", NOTES)
def test_a_doubt_is_told_and_is_no_fault(place: Place, name: str) -> None:
    seed, about, words = NOTES[name]
    seed(place)
    lines = found_by(place.check())
    [line] = lines_of(lines, "note", about)
    assert words in line
    assert not faults_of(lines) or place.env.get("DATABASE_URL") == AWAY


@pytest.mark.parametrize("environment", ["development", "production"])
def test_what_is_sound_has_no_fault(place: Place, environment: str) -> None:
    place.env["FLASK_ENV"] = environment
    account("ann", admin=True)(place)
    del place.env["ADMIN_PASSWORD"]
    place.env |= {"PUBLIC_URL": "https://sms.example", "SMS_RECEIPTS_SECRET": "canary"}
    place.env |= {"SMS_PROVIDER": "twilio", "TWILIO_ACCOUNT_SID": "AC1"}
    place.env |= {"TWILIO_AUTH_TOKEN": "canary", "TWILIO_FROM": "+15005550006"}
    lines = found_by(place.check_alone())
    assert not faults_of(lines)
    for line in (
        "ok    admin: there is one",
        f"ok    database: has revision {REVISION}, as this release",
        "ok    command true: runs /bin/true",
        "ok    template captcha: is sent by twilio",
        "ok    twilio: reports deliveries to "
        "https://sms.example/api/sms/receipts/twilio/…",
    ):
        assert line in lines


@pytest.mark.parametrize(
    ("env", "fault"),
    [
        ({"PORT": "nonsense"}, "PORT='nonsense' is not an integer"),
        ({"LOG_FILE": "/nonexistent/bellhop.log"}, "LOG_FILE"),
        ({"SMS_PROVIDER": "twilio"}, "TWILIO_AUTH_TOKEN is needed"),
        ({"INSTANCE_PATH": "/proc/nonexistent"}, "INSTANCE_PATH"),
    ],
)
def test_faulty_settings_are_told_with_where_to_look(
    place: Place, env: dict[str, str], fault: str
) -> None:
    place.env |= env
    ran = place.check_alone()
    assert (ran.returncode, ran.stdout) == (1, "")
    assert fault in ran.stderr
    assert ran.stderr.endswith("docs/settings.md has all of them.\n")
    assert "Traceback" not in ran.stderr


def kept(place: Place) -> list[str]:
    """Return all that is in the database."""
    with closing(sqlite3.connect(place.database)) as connection:
        return list(connection.iterdump())


def test_no_database_is_made(place: Place) -> None:
    lines = found_by(place.check())
    assert "has no tables yet" in lines_of(lines, "ok", "database")[0]
    assert "first start makes admin" in lines_of(lines, "ok", "admin")[0]
    assert not place.database.exists()


def test_no_table_is_made_on_a_server(place: Place, postgres: Postgres) -> None:
    with postgres.new_database() as url:
        place.env |= {"DATABASE_URL": url, "BELLHOP_HOST": "pelican"}
        lines = found_by(place.check())
        assert "has no tables yet" in lines_of(lines, "ok", "database")[0]
        plain = url.replace("+psycopg", "")
        with psycopg.connect(plain) as connection:
            of_ours = "SELECT FROM pg_tables WHERE schemaname = 'public'"
            assert connection.execute(of_ours).fetchall() == []


@pytest.mark.parametrize("number", ["0004", REVISION])
def test_a_database_is_left_as_it_is_and_nobody_is_added(
    place: Place, number: str
) -> None:
    revision(number)(place)
    before = kept(place)
    found_by(place.check_alone())
    assert kept(place) == before


def test_all_that_can_be_found_is_documented_with_what_to_do() -> None:
    text = (PROJECT / "docs" / "going-live.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.*?) \|.*\|.*\| (.*) \|$", text, re.MULTILINE)
    named = {name for row, _ in rows for name in re.findall(r"`(.+?)`", row)}
    assert all(remedy for _, remedy in rows)
    for _, about, _ in [*FAULTS.values(), *NOTES.values()]:
        assert {about, f"{about.split(' ')[0]} …"} & named, about
