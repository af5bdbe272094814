"""A request with a key is done once, whatever races it and whoever dies of it."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.callers import ADMIN, production
from tests.postgres import Postgres
from tests.servers import Server, running, wait_until

SHELL = {"EXEC_ALLOW_SHELL": "1", "EXEC_GRACE_SECONDS": "1"}
RACERS = 50

# The service, with a place at which a worker stops for ever: beside the admission of
# a task, while there is a file that says so.
STOPPING = """
import os, pathlib, threading
from server import app
from app.storage.task_store import TaskStore

FOLDER = pathlib.Path({folder!r})
admit = TaskStore.add

def stop(place):
    if (FOLDER / place).exists():
        (FOLDER / "stopped").write_text(str(os.getpid()))
        threading.Event().wait()

def add(store, *arguments):
    stop("before")
    waits = admit(store, *arguments)
    stop("after")
    return waits

TaskStore.add = add
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with production(folder, "-w", "4", **SHELL) as started:
        yield started


def post(server: Server, key: str, body: Any, path: str = "/v3/exec/") -> Any:
    headers, auth = {"Idempotency-Key": key}, ADMIN if "/v3/" in path else None
    return server.post(path, json=body, headers=headers, auth=auth)


def is_replay(answer: requests.Response) -> bool:
    return answer.headers.get("Idempotent-Replayed") == "true"


def note(path: Path) -> str:
    return f"echo ran >> {path}"


def effects(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


def race(server: Server, path: Path) -> None:
    """Send one request from many sides at once; see it done once."""
    body = {"cmd": f"{note(path)}; sleep 0.2", "wait_seconds": 20}
    gate = threading.Barrier(RACERS)

    def send(number: int) -> requests.Response:
        gate.wait(60)
        return post(server, "one-key", body)

    with ThreadPoolExecutor(RACERS) as pool:
        answers = list(pool.map(send, range(RACERS)))
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) <= {201, 409}, statuses
    good = [answer for answer in answers if answer.status_code == 201]
    assert [is_replay(answer) for answer in good].count(False) == 1
    assert len({answer.text for answer in good}) == 1
    later = post(server, "one-key", body)
    assert is_replay(later)
    assert later.text == good[0].text
    assert effects(path) == 1


def test_of_racing_requests_with_one_key_one_is_done(
    server: Server, tmp_path: Path
) -> None:
    race(server, tmp_path / "ran")


def test_with_the_records_in_postgresql_too(postgres: Postgres, tmp_path: Path) -> None:
    with (
        postgres.new_database() as url,
        production(tmp_path, "-w", "2", DATABASE_URL=url, **SHELL) as server,
    ):
        race(server, tmp_path / "ran")


def test_an_answer_is_kept_over_a_restart(tmp_path: Path) -> None:
    body = {"cmd": f"{note(tmp_path / 'ran')}; echo 中文", "wait_seconds": 20}
    with production(tmp_path, "-w", "1", **SHELL) as server:
        first = post(server, "a", body)
        assert first.status_code == 201
        assert not is_replay(first)
    with production(tmp_path, "-w", "1", **SHELL) as server:
        again = post(server, "a", body)
        assert is_replay(again)
        assert (again.status_code, again.content) == (201, first.content)
        for name in ("Location", "Content-Type"):
            assert again.headers[name] == first.headers[name]
        assert post(server, "a", body | {"cmd": "true"}).status_code == 422
    assert effects(tmp_path / "ran") == 1


def test_a_worker_that_dies_while_it_waits_leaves_its_task_as_the_answer(
    server: Server, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    body = {
        "cmd": f"{note(ran)}; echo $PPID > {tmp_path}/worker; sleep 300",
        "wait_seconds": 60,
    }
    sending = sent(server, "dies-while-it-waits", body)
    worker = wait_until(lambda: pid_in(tmp_path / "worker"))
    os.kill(worker, signal.SIGKILL)
    sending.join()
    answer = wait_until(lambda: replay_or_none(server, "dies-while-it-waits", body))
    task_id = answer.json()["task_id"]
    href = f"/v3/task/{task_id}"
    assert answer.headers["Location"] == href

    def is_lost() -> bool:
        found = replay_or_none(server, "dies-while-it-waits", body)
        return found is not None and found.json()["state"] == "LOST"

    wait_until(is_lost, seconds=10)
    again = post(server, "dies-while-it-waits", body)
    assert again.json() == server.get(href, auth=ADMIN).json()
    assert effects(ran) == 1


@contextmanager
def stopping(tmp_path: Path, place: str) -> Iterator[Server]:
    """Start a server whose workers stop beside an admission while a file is there."""
    (tmp_path / place).touch()
    (tmp_path / "stopping.py").write_text(STOPPING.format(folder=str(tmp_path)))
    gunicorn = ("-m", "gunicorn", "stopping:app", "--pythonpath", str(tmp_path))
    with running(tmp_path, "-w", "2", command=gunicorn) as server:
        yield server


def sent(server: Server, key: str, body: Any, path: str = "/v3/exec/") -> Any:
    """Send a request from a thread; its worker dies before it answers."""

    def send() -> None:
        with pytest.raises(requests.ConnectionError):
            post(server, key, body, path)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def killed(server: Server, tmp_path: Path, place: str, body: Any) -> None:
    """Have a worker stop at a place, and kill it there."""
    sending = sent(server, "a", body, "/api/exec/bob")
    worker = wait_until(lambda: pid_in(tmp_path / "stopped"))
    (tmp_path / place).unlink()
    assert post(server, "a", body, "/api/exec/bob").status_code == 409
    os.kill(worker, signal.SIGKILL)
    sending.join()


def test_a_key_can_be_used_again_after_a_death_before_the_start(
    tmp_path: Path,
) -> None:
    body = {"cmd": note(tmp_path / "ran")}
    with stopping(tmp_path, "before") as server:
        killed(server, tmp_path, "before", body)
        answer = wait_until(lambda: answered(server, "a", body))
        assert answer.status_code == 202
        assert not is_replay(answer)
        assert is_replay(post(server, "a", body, "/api/exec/bob"))
        server.poll_until_finished("bob")
    assert effects(tmp_path / "ran") == 1


def test_after_a_death_past_the_admission_the_task_is_the_answer(
    tmp_path: Path,
) -> None:
    body = {"cmd": note(tmp_path / "ran")}
    with stopping(tmp_path, "after") as server:
        killed(server, tmp_path, "after", body)
        answer = wait_until(lambda: answered(server, "a", body))
        assert answer.status_code == 202
        assert is_replay(answer)
        poll = server.poll_until_finished("bob", seconds=10)[-1]
        assert poll["task_id"] == answer.json()["task_id"]
        assert poll["state"] == "LOST"
        assert is_replay(post(server, "a", body, "/api/exec/bob"))
        other = {"cmd": "true"}
        assert post(server, "a", other, "/api/exec/bob").status_code == 422
    assert effects(tmp_path / "ran") == 0


def answered(server: Server, key: str, body: Any) -> requests.Response | None:
    """Return the answer, None while the dead worker's connections break."""
    try:
        found = post(server, key, body, "/api/exec/bob")
    except requests.ConnectionError:
        return None
    return found if found.status_code != 409 else None


def replay_or_none(server: Server, key: str, body: Any) -> requests.Response | None:
    try:
        found = post(server, key, body)
    except requests.ConnectionError:
        return None
    if found.status_code == 409:
        return None
    assert found.status_code == 201, found.text
    assert is_replay(found)
    return found


def pid_in(path: Path) -> int:
    text = path.read_text().strip() if path.exists() else ""
    return int(text) if text else 0
