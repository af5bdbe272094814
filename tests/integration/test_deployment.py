"""What is shipped to run Bellhop with: supervisor's file, the image's recipe."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import PROJECT, Server, alive_with, free_port, running, wait_until
from tests.trees import ADMIN, PASSWORD


@pytest.mark.usefixtures("detached_runs_end")
def test_supervisor_starts_it_and_stops_it_with_all_that_it_runs_but_the_detached(
    tmp_path: Path,
) -> None:
    port = free_port()
    mark, detached = f"{tmp_path}/supervised", f"{tmp_path}/detached"
    log = tmp_path / "supervisord.log"
    with log.open("wb") as output:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-c", _own_copy(tmp_path)],
            env={
                "PATH": os.environ["PATH"],
                "FLASK_ENV": "development",
                "PORT": str(port),
                "INSTANCE_PATH": str(tmp_path / "instance"),
                "ADMIN_PASSWORD": PASSWORD,
            },
            stdout=output,
            stderr=output,
        )
    server = Server(supervisor, f"http://127.0.0.1:{port}", log)
    try:
        wait_until(lambda: "request.answered" in _log_after_asking(server), seconds=30)
        server.exec("bob", f"setsid sh -c 'sleep 300; : {mark}' & sleep 300")
        wait_until(lambda: alive_with(mark))
        wish = {"cmd": f"sleep 300; : {detached}", "detached": True}
        started = server.post("/v3/exec/", json=wish, auth=ADMIN)
        assert started.status_code == 201
        wait_until(lambda: alive_with(detached))
    finally:
        supervisor.send_signal(signal.SIGTERM)
        supervisor.wait(60)
    assert alive_with(mark) == []
    assert alive_with(detached) != []


def _own_copy(folder: Path) -> str:
    """Return a copy of the configuration whose pid file is the test's."""
    here = "%(here)s"
    text = (PROJECT / "supervisord.conf").read_text()
    text = text.replace(f"{here}/supervisord.pid", str(folder / "supervisord.pid"))
    text = text.replace(f"{here}/.venv/bin/gunicorn", f"{sys.executable} -m gunicorn")
    copy = folder / "supervisord.conf"
    copy.write_text(text.replace(here, str(PROJECT)))
    return str(copy)


def _log_after_asking(server: Server) -> str:
    try:
        server.get("/api/health")
    except OSError:
        return ""
    return server.log_path.read_text()


@pytest.fixture(scope="module")
def recipe() -> list[str]:
    text = (PROJECT / "Dockerfile").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def _arguments(recipe: list[str], instruction: str) -> list[str]:
    return [
        line.removeprefix(instruction).strip()
        for line in recipe
        if line.startswith(f"{instruction} ")
    ]


def test_the_image_runs_as_a_user_under_an_init_without_a_shell(
    recipe: list[str],
) -> None:
    assert _arguments(recipe, "USER") == ["bellhop"]
    assert json.loads(_arguments(recipe, "ENTRYPOINT")[0])[0] == "tini"
    assert json.loads(_arguments(recipe, "CMD")[0]) == ["gunicorn", "server:app"]


def test_the_image_gets_every_part_that_runs_and_nothing_that_is_not_there(
    recipe: list[str],
) -> None:
    copied = {
        source
        for arguments in _arguments(recipe, "COPY")
        for source in shlex.split(arguments)[:-1]
    }
    assert all((PROJECT / source).exists() for source in copied)
    needed = {"app", "config", "migrations", "application.py", "server.py", "run.py"}
    assert needed | {"gunicorn.conf.py", "requirements.txt"} <= copied


def test_the_image_s_health_check_tells_a_live_service_from_a_dead_one(
    recipe: list[str], tmp_path: Path
) -> None:
    [arguments] = _arguments(recipe, "HEALTHCHECK")
    check = json.loads(arguments[arguments.index("[") :])
    assert check[0] == "python"
    with running(tmp_path) as server:
        port = {"PORT": server.url.rpartition(":")[2]}
        assert subprocess.run([sys.executable, *check[1:]], env=port).returncode == 0
    failed = subprocess.run([sys.executable, *check[1:]], env=port, capture_output=True)
    assert failed.returncode != 0
