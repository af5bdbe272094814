"""Four workers with their records in PostgreSQL."""

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.storage.engine import POOL_CONNECTIONS
from tests.postgres import Postgres
from tests.servers import Server, alive_with, children_of, running, wait_until


@pytest.fixture
def server(postgres: Postgres, tmp_path: Path) -> Iterator[Server]:
    with (
        postgres.new_database() as url,
        running(tmp_path, "-w", "4", DATABASE_URL=url) as started,
    ):
        yield started


def test_one_of_racing_starts_wins_and_racing_polls_get_each_line_once(
    server: Server,
) -> None:
    command = "for i in $(seq 100); do echo $i; sleep 0.01; done; exit 7"
    with ThreadPoolExecutor(8) as pool:
        started = pool.map(lambda _: server.exec("bob", command).status_code, range(8))
        assert sorted(started) == [202, *[409] * 7]
        polled = pool.map(lambda _: server.poll_until_finished("bob"), range(8))
        polls = [poll for of_one in polled for poll in of_one]
    lines = "\n".join(poll["output"] for poll in polls if poll.get("output"))
    assert sorted(map(int, lines.split())) == list(range(1, 101))
    assert [poll["returncode"] for poll in polls if "returncode" in poll] == [7]


def test_a_killed_worker_s_run_is_lost_and_its_slot_free(
    server: Server, tmp_path: Path
) -> None:
    mark = f"{tmp_path}/orphan"
    server.exec("bob", f"setsid sh -c 'sleep 300; : {mark}'")
    wait_until(lambda: alive_with(mark))
    [owner] = [pid for pid in server.workers()[1:] if children_of(pid)]
    os.kill(owner, signal.SIGKILL)
    assert server.poll_until_finished("bob", seconds=10)[-1]["state"] == "LOST"
    assert alive_with(mark) == []
    assert server.exec("bob", "true").status_code == 202


def test_without_the_database_nothing_is_started_and_readiness_says_so(
    postgres: Postgres, tmp_path: Path
) -> None:
    with postgres.new_database() as url, running(tmp_path, DATABASE_URL=url) as server:
        name = url.partition("@/")[2].partition("?")[0]
        postgres.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        postgres.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE datname = '{name}'"
        )
        ready = server.get("/api/health/ready")
        assert ready.status_code == 503
        assert ready.json()["checks"] == {
            "database": "failed",
            "output": "ok",
            "sms": "ok",
        }
        refused = server.exec("bob", f"touch {tmp_path}/started")
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) >= 1
        assert server.get("/api/health").ok

        postgres.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        wait_until(lambda: server.get("/api/health/ready").ok, seconds=6)
        assert not (tmp_path / "started").exists()
        assert server.exec("bob", "true").status_code == 202


def test_a_restart_of_the_database_loses_no_run_and_needs_none_of_the_service(
    postgres: Postgres, server: Server
) -> None:
    """Nor are more connections taken than docs/scale.md says, before or after it."""
    ours = "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'test_%'"
    most = 4 * 2 * POOL_CONNECTIONS
    over = threading.Event()

    def run_on(number: int) -> list[tuple[int, str]]:
        answers = []
        while not over.is_set():
            caller = f"caller-{number}-{len(answers)}"
            answers.append((server.exec(caller, "true").status_code, caller))
        return answers

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(run_on, number) for number in range(4)]
        assert 0 < postgres.execute(ours)[0][0] <= most
        postgres.restart("fast")
        postgres.restart("immediate")
        wait_until(lambda: server.get("/api/health/ready").ok)
        assert 0 < postgres.execute(ours)[0][0] <= most
        over.set()
        answers = [answer for client in clients for answer in client.result()]
    assert {status for status, _ in answers} <= {202, 503}
    for caller in [caller for status, caller in answers if status == 202][-40:]:
        assert server.poll_until_finished(caller)[-1]["state"] == "SUCCESS"
