"""Faulty settings end the real programs: at once, with every fault, no trace."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.racing import run_python
from tests.servers import GUNICORN, PROJECT, RUN

START_SECONDS = 30

CREATE = """
import json, os, sys, threading
from pathlib import Path

def held():
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())

happened = []
watched = {
    "os.fork", "os.posix_spawn", "subprocess.Popen",
    "socket.connect", "socket.bind", "sqlite3.connect",
}
sys.addaudithook(lambda name, _: happened.append(name) if name in watched else None)

start = threading.Thread.start

def start_watched(thread):
    happened.append("a thread's start")
    start(thread)

threading.Thread.start = start_watched

from application import create_app

before = held()
app = create_app(*sys.argv[1:])
report = {
    "happened": list(happened),
    "descriptors": held() == before,
    "threads": [thread.name for thread in threading.enumerate()],
    "modules": sorted(sys.modules),
    "files": sorted(p.name for p in Path(os.environ["INSTANCE_PATH"]).iterdir()),
}
happened.clear()
thread = threading.Thread(target=app.extensions["bellhop"].check)
thread.start()
thread.join()
report["seen afterwards"] = happened
print(json.dumps(report))
"""


def start(
    command: tuple[str, ...], tmp_path: Path, *arguments: str, **env: str
) -> subprocess.CompletedProcess[str]:
    """Start a program that ends by itself."""
    settings = {"PATH": os.environ["PATH"], "INSTANCE_PATH": str(tmp_path / "instance")}
    return subprocess.run(
        [sys.executable, *command, *arguments],
        cwd=PROJECT,
        env=settings | env,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a program that would not start has said."""
    said = done.stdout + done.stderr
    assert done.returncode != 0, said
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("command", [RUN, GUNICORN], ids=["run.py", "gunicorn"])
def test_every_faulty_setting_is_told(command: tuple[str, ...], tmp_path: Path) -> None:
    said = refused(
        start(
            command,
            tmp_path,
            PORT="nonsense",
            LOG_LEVEL="loud",
            DATABASE_URL="mysql://bob:hunter2@db.example/bellhop",
        )
    )
    assert "PORT='nonsense' is not an integer" in said
    assert "LOG_LEVEL='loud' is not one of DEBUG, INFO" in said
    assert "DATABASE_URL does not begin with one of sqlite" in said
    assert "hunter2" not in said
    assert not (tmp_path / "instance").exists(), "nothing was made"


@pytest.mark.parametrize("command", [RUN, GUNICORN], ids=["run.py", "gunicorn"])
def test_an_unknown_environment_is_told_with_the_three(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    said = refused(start(command, tmp_path, FLASK_ENV="nonsense"))
    assert "FLASK_ENV='nonsense'" in said
    assert "development, testing, production" in said


@pytest.mark.parametrize("command", [RUN, GUNICORN], ids=["run.py", "gunicorn"])
def test_an_instance_folder_that_cannot_be_used_is_told(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "instance").write_text("a file")
    assert "INSTANCE_PATH=" in refused(start(command, tmp_path))


def test_a_log_file_that_cannot_be_written_is_told_by_run_py(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing" / "bellhop.log")
    assert f"LOG_FILE={missing!r}" in refused(start(RUN, tmp_path, LOG_FILE=missing))


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["-p", "x"], "'x' is not a valid integer"),
        (["-p", "0"], "not in the range"),
        (["-p", "65536"], "not in the range"),
        (["-e", "nonsense"], "is not one of development, testing, production"),
        (["-f", "/nonexistent/.env"], "does not exist"),
        (["--nonsense"], "No such option"),
    ],
)
def test_a_faulty_argument_of_run_py_is_told(
    arguments: list[str], fault: str, tmp_path: Path
) -> None:
    assert fault in refused(start(RUN, tmp_path, *arguments))


def test_a_faulty_file_of_settings_is_told_by_run_py(tmp_path: Path) -> None:
    env_file = tmp_path / "settings.env"
    env_file.write_text("PORT=nonsense\nLOG_LEVEL=loud\n")
    said = refused(start(RUN, tmp_path, "-f", str(env_file), LOG_LEVEL="INFO"))
    assert "PORT='nonsense'" in said
    assert "LOG_LEVEL" not in said, "the real environment wins"
    env_file.write_text("PORT 5000\n")
    said = refused(start(RUN, tmp_path, "-f", str(env_file)))
    assert "line 1 is no NAME=VALUE" in said


@pytest.mark.parametrize("env", ["development", "testing", "production"])
def test_making_an_app_starts_nothing_and_imports_no_optional_part(
    env: str, tmp_path: Path
) -> None:
    done = run_python(CREATE, env, INSTANCE_PATH=str(tmp_path / "instance"))

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["happened"] == []
    assert report["descriptors"], "the same as before"
    assert report["threads"] == ["MainThread"]
    assert report["files"] == ["output", "secret_key", "sms_receipts_secret"]
    optional = {"gevent", "alembic", "psycopg", "concurrent_log_handler", "celery"}
    assert optional.isdisjoint(report["modules"])
    assert "redis" not in report["modules"]
    seen = set(report["seen afterwards"])
    watched = {"a thread's start", "sqlite3.connect", "subprocess.Popen"}
    assert seen == watched
