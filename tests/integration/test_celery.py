"""Tasks that workers of Celery run: real servers, brokers, and their deaths."""

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from app.tasks.celery_backend import Broker, make_celery
from tests.callers import ADMIN, PASSWORD
from tests.postgres import Postgres
from tests.servers import PROJECT, Server, running, wait_until
from tests.valkey import Valkey, running_valkey
from tests.worker_process import WorkerProcess, running_worker

HOST = "one"
MAX_RUNNING, MAX_QUEUED = 2, 2


class Place:
    """A server that runs nothing, and the worker beside it."""

    def __init__(self, folder: Path, valkey: Valkey, settings: dict[str, str]) -> None:
        self.folder = folder
        self.valkey = valkey
        self.settings = settings
        self.server: Server
        self.worker: WorkerProcess

    def post(self, script: str, **wish: Any) -> requests.Response:
        return self.server.post("/v3/exec/", json={"cmd": script, **wish}, auth=ADMIN)

    def start(self, script: str, **wish: Any) -> str:
        answer = self.post(script, **wish)
        assert answer.status_code == 201, answer.text
        return answer.json()["task_id"]

    def task(self, task_id: str) -> dict[str, Any]:
        return self.server.get(f"/v3/task/{task_id}", auth=ADMIN).json()

    def end(self, task_id: str, seconds: float = 20) -> dict[str, Any]:
        return wait_until(lambda: self._ended(task_id), seconds=seconds)

    def output(self, task_id: str, **query: Any) -> str:
        path = f"/v3/task/{task_id}/output"
        return self.server.get(path, params=query, auth=ADMIN).json()["text"]

    def cancel(self, task_id: str) -> None:
        url = f"{self.server.url}/v3/task/{task_id}"
        answer = requests.delete(url, auth=ADMIN, timeout=30)
        assert answer.status_code == 204, answer.text

    @contextmanager
    def broker(self) -> Iterator[Broker]:
        with closing(Broker(make_celery(self.valkey.url))) as broker:
            yield broker

    def _ended(self, task_id: str) -> dict[str, Any] | None:
        task = self.task(task_id)
        return task if "finished" in task else None


def appended(file: Path) -> Counter[str]:
    return Counter(file.read_text().split()) if file.exists() else Counter()


def waiting_for(gate: Path) -> str:
    return f"while [ ! -e {gate} ]; do sleep 0.02; done"


@contextmanager
def placed(folder: Path, postgres: Postgres, **more: str) -> Iterator[Place]:
    with ExitStack() as stack:
        valkey = stack.enter_context(running_valkey(folder))
        settings = {
            "TASK_BACKEND": "celery",
            "CELERY_BROKER_URL": valkey.url,
            "REDIS_URL": valkey.url,
            "DATABASE_URL": stack.enter_context(postgres.new_database()),
            "BELLHOP_HOST": HOST,
            "ADMIN_PASSWORD": PASSWORD,
            "EXEC_MAX_RUNNING": str(MAX_RUNNING),
            "EXEC_MAX_QUEUED": str(MAX_QUEUED),
            "EXEC_GRACE_SECONDS": "1",
            **more,
        }
        place = Place(folder, valkey, settings)
        place.server = stack.enter_context(running(folder, **settings))
        yield place


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, postgres: Postgres
) -> Iterator[Place]:
    with (
        placed(tmp_path_factory.mktemp("celery"), postgres) as place,
        running_worker(place.folder, **place.settings) as place.worker,
    ):
        yield place


class TestAtWork:
    def test_the_end_is_waited_for_and_the_output_is_there(self, place: Place) -> None:
        task = place.post("echo hello; exit 3", wait_seconds=20).json()
        assert (task["state"], task["returncode"]) == ("FAILURE", 3)
        assert place.output(task["task_id"]) == "hello\n"

    def test_output_is_read_by_offset_while_it_grows(
        self, place: Place, tmp_path: Path
    ) -> None:
        gate = tmp_path / "gate"
        task_id = place.start(f"echo one; {waiting_for(gate)}; echo two")
        assert place.output(task_id, wait_seconds=20) == "one\n"
        gate.touch()
        assert place.output(task_id, offset=4, wait_seconds=20) == "two\n"
        assert place.end(task_id)["state"] == "SUCCESS"

    def test_what_runs_and_what_waits_is_cancelled(
        self, place: Place, tmp_path: Path
    ) -> None:
        log, gate = tmp_path / "log", tmp_path / "gate"
        holds = f"echo $BELLHOP_TASK_ID >> {log}; {waiting_for(gate)}"
        ids = [place.start(holds) for _ in range(MAX_RUNNING + MAX_QUEUED)]
        running, waiting = ids[:MAX_RUNNING], ids[MAX_RUNNING:]
        wait_until(lambda: len(appended(log)) == MAX_RUNNING)
        assert place.post(holds).status_code == 429
        for task_id in (waiting[0], running[0]):
            place.cancel(task_id)
            assert place.task(task_id)["reason"] == "cancelled"
        # Its place is the next one's.
        wait_until(lambda: waiting[1] in appended(log))
        gate.touch()
        assert {place.end(each)["state"] for each in ids} == {"REVOKED", "SUCCESS"}
        assert set(appended(log)) == {*running, waiting[1]}

    def test_celery_s_own_tools_end_a_task(self, place: Place) -> None:
        task_id = place.start("sleep 60")
        wait_until(lambda: place.task(task_id)["state"] == "STARTED")
        with place.broker() as broker:
            broker.revoke(HOST, task_id)
        assert place.end(task_id)["reason"] == "cancelled"

    def test_a_report_is_made(self, place: Place) -> None:
        query = {"count": 2, "wait": 1}
        path = "/v3/iostat/"
        answer = place.server.post(path, params=query, auth=ADMIN)
        task = place.end(answer.json()["task_id"])
        assert task["state"] == "SUCCESS"

    def test_a_message_is_sent(self, place: Place) -> None:
        wish = {"receivers": "+8613800138000", "template": "captcha"}
        wish["params"] = {"code": "123456"}
        sent = place.server.post("/v3/sms/?async=1", json=wish, auth=ADMIN).json()
        assert place.end(sent["task_id"])["state"] == "SUCCESS"
        path = f"/v3/sms/{sent['id']}"
        assert place.server.get(path, auth=ADMIN).json()["message"] == "send"

    def test_one_that_is_told_of_three_times_runs_once(
        self, place: Place, tmp_path: Path
    ) -> None:
        log, gate = tmp_path / "log", tmp_path / "gate"
        task_id = place.start(f"echo x >> {log}; {waiting_for(gate)}")
        with place.broker() as broker:
            for _ in range(3):
                broker.publish(HOST, task_id)
            gate.touch()
            place.end(task_id)
            broker.publish(HOST, task_id)
        assert place.post("true", wait_seconds=20).json()["state"] == "SUCCESS"
        assert appended(log) == {"x": 1}

    def test_the_broker_is_looked_at(self, place: Place) -> None:
        checks = place.server.get("/api/health/ready").json()["checks"]
        assert checks["broker"] == "ok"


class TestDeaths:
    def test_a_killed_worker_s_task_is_lost_and_never_run_twice(
        self, tmp_path: Path, postgres: Postgres
    ) -> None:
        log = tmp_path / "log"
        with placed(tmp_path, postgres) as place:
            with running_worker(tmp_path, **place.settings) as worker:
                script = f"echo $BELLHOP_TASK_ID >> {log}; sleep 300"
                ids = [place.start(script) for _ in range(MAX_RUNNING + 1)]
                wait_until(lambda: len(appended(log)) == MAX_RUNNING)
                worker.kill()
            with running_worker(tmp_path, **place.settings) as worker:
                ends = [place.end(each) for each in ids[:MAX_RUNNING]]
                assert {end["state"] for end in ends} == {"LOST"}
                assert {end["reason"] for end in ends} == {"worker_lost"}
                # The one that waited has not been begun: it runs now.
                wait_until(lambda: ids[-1] in appended(log))
                assert worker.stop() == 0
            assert place.end(ids[-1])["reason"] == "shutdown"
            assert appended(log) == dict.fromkeys(ids, 1)

    def test_nothing_is_accepted_that_nobody_can_be_told_of(
        self, tmp_path: Path, postgres: Postgres
    ) -> None:
        with placed(tmp_path, postgres) as place:
            place.valkey.kill()
            refused = place.post("true")
            assert (refused.status_code, "Retry-After" in refused.headers) == (
                503,
                True,
            )
            listed = place.server.get("/v3/task/", auth=ADMIN).json()
            assert not listed["tasks"]
            checks = place.server.get("/api/health/ready").json()["checks"]
            assert checks["broker"] != "ok"
            place.valkey.start()
            with running_worker(tmp_path, **place.settings):
                assert place.post("true", wait_seconds=20).json()["state"] == "SUCCESS"

    @pytest.mark.timeout(900)
    def test_a_broker_that_dies_costs_nothing_that_was_accepted(
        self, tmp_path: Path, postgres: Postgres, soak: bool
    ) -> None:
        log = tmp_path / "log"
        with (
            placed(tmp_path, postgres, EXEC_MAX_QUEUED="1000") as place,
            running_worker(tmp_path, **place.settings),
        ):
            accepted: list[str] = []
            over = threading.Event()

            def load() -> None:
                while not over.wait(0.05):
                    answer = place.post(f"echo $BELLHOP_TASK_ID >> {log}")
                    if answer.status_code == 201:
                        accepted.append(answer.json()["task_id"])
                    else:
                        assert answer.status_code == 503, answer.text

            with ThreadPoolExecutor(3) as pool:
                loads = [pool.submit(load) for _ in range(3)]
                for _ in range(20 if soak else 3):
                    had = len(accepted)
                    wait_until(lambda had=had: len(accepted) > had + 5, seconds=60)
                    place.valkey.kill()
                    over.wait(0.5)
                    place.valkey.start()
                over.set()
            for each in loads:
                each.result()
            ends = Counter(place.end(each, seconds=120)["state"] for each in accepted)
            assert ends == {"SUCCESS": len(accepted)}
            assert appended(log) == dict.fromkeys(accepted, 1)


def test_a_pool_of_another_kind_is_refused(tmp_path: Path) -> None:
    settings = {
        "FLASK_ENV": "testing",
        "INSTANCE_PATH": str(tmp_path),
        "TASK_BACKEND": "celery",
        "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
        "REDIS_URL": "redis://127.0.0.1:1/0",
    }
    worker = (sys.executable, "-m", "celery", "-A", "app.worker", "worker")
    for changed, options, words in (
        ({}, ("--pool", "solo"), "threads"),
        ({"TASK_BACKEND": "threads"}, (), "TASK_BACKEND"),
    ):
        ended = subprocess.run(
            [*worker, *options],
            cwd=PROJECT,
            env=settings | changed,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ended.returncode == 1
        assert words in ended.stderr
