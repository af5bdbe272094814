"""Runs through real gunicorn workers: floods, leftovers, races and deaths."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.servers import (
    Server,
    alive_with,
    children_of,
    running,
    wait_until,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("server"), "-w", "4") as started:
        yield started


def test_a_flood_takes_no_memory_and_health_answers_meanwhile(
    server: Server, soak: bool
) -> None:
    size = "1G" if soak else "200M"
    _warm_up(server)
    before = _memory_bytes(server)
    server.exec("flood", f"yes | head -c {size}")
    polls = [server.poll("flood")]
    while polls[-1]["status"] == "running":
        assert server.get("/api/health").ok
        polls.append(server.poll("flood"))
    written = polls[-1]["next_offset"]
    assert written == {"1G": 2**30, "200M": 200 * 2**20}[size]
    given = sum(len(poll["output"]) + 1 for poll in polls if poll["output"])
    assert given + sum(poll["dropped_bytes"] for poll in polls) == written
    assert _memory_bytes(server) - before < 16 * 2**20


def test_a_background_child_neither_delays_the_end_nor_is_left(
    server: Server, tmp_path: Path
) -> None:
    mark = f"{tmp_path}/left"
    server.exec("bob", f"echo done; sh -c 'sleep 300; : {mark}' &")
    polls = server.poll_until_finished("bob", seconds=3)
    assert "".join(poll["output"] for poll in polls) == "done"
    assert polls[-1]["returncode"] == 0
    assert alive_with(mark) == []


def test_of_twenty_racing_starts_in_a_slot_one_wins(
    server: Server, tmp_path: Path
) -> None:
    over = tmp_path / "over"
    cmd = f"while [ ! -e {over} ]; do sleep 0.05; done"
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: server.exec("racer", cmd), range(20)))
    over.touch()
    server.poll_until_finished("racer")
    assert sorted(answer.status_code for answer in answers) == [202, *[409] * 19]


def test_the_host_s_limit_holds_across_workers(tmp_path: Path) -> None:
    with running(
        tmp_path, "-w", "4", EXEC_MAX_RUNNING="3", EXEC_MAX_QUEUED="0"
    ) as server:
        with ThreadPoolExecutor(12) as pool:
            answers = list(
                pool.map(lambda n: server.exec(f"c{n}", "sleep 2"), range(12))
            )
        codes = sorted(answer.status_code for answer in answers)
        assert codes == [*[202] * 3, *[429] * 9]
        full = next(answer for answer in answers if answer.status_code == 429)
        assert full.json()["status"] == "busy"
        assert int(full.headers["Retry-After"]) >= 1


def test_racing_polls_get_every_line_once(server: Server) -> None:
    server.exec("bob", "for i in $(seq 300); do echo $i; sleep 0.005; done")
    with ThreadPoolExecutor(8) as pool:
        polls = [
            poll
            for polled in pool.map(
                lambda _: server.poll_until_finished("bob"), range(8)
            )
            for poll in polled
        ]
    lines = [
        line for poll in polls for line in poll.get("output", "").split("\n") if line
    ]
    assert sorted(lines, key=int) == [str(number) for number in range(1, 301)]
    assert sum("returncode" in poll for poll in polls) == 1


def test_a_killed_worker_s_run_is_lost_and_gone_and_its_slot_free(
    server: Server, tmp_path: Path
) -> None:
    mark = f"{tmp_path}/orphan"
    server.exec("bob", f"echo begun; setsid sh -c 'sleep 300; : {mark}' & sleep 300")
    wait_until(lambda: alive_with(mark))
    owner = _worker_that_runs_something(server)
    os.kill(owner, signal.SIGKILL)
    polls = server.poll_until_finished("bob", seconds=10)
    assert polls[-1]["state"] == "LOST"
    assert polls[-1]["reason"] == "worker_lost"
    assert polls[-1]["returncode"] is None
    assert "begun" in [poll["output"] for poll in polls]
    assert alive_with(mark) == []
    assert server.exec("bob", "true").status_code == 202


def test_a_killed_server_s_run_is_lost_within_ten_seconds_of_the_next_start(
    tmp_path: Path,
) -> None:
    mark = f"{tmp_path}/orphan"
    with running(tmp_path, "-w", "2") as server:
        server.exec("bob", f"sh -c 'sleep 300; : {mark}'")
        wait_until(lambda: alive_with(mark))
        workers = server.workers()
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        server.process.wait()
    assert alive_with(mark), "nobody was there to end it"
    with running(tmp_path, "-w", "1") as server:
        assert server.poll_until_finished("bob", seconds=10)[-1]["state"] == "LOST"
        assert alive_with(mark) == []


@pytest.mark.parametrize("kind", ["gunicorn", "run.py"])
def test_a_stopped_server_ends_its_runs_and_says_so(tmp_path: Path, kind: str) -> None:
    command = ("run.py",) if kind == "run.py" else ("-m", "gunicorn", "server:app")
    mark = f"{tmp_path}/ended"
    with running(tmp_path, command=command, WORKERS="1") as server:
        begun = tmp_path / "begun"  # the command's own line has the mark as well
        script = f"echo begun; touch {begun}; setsid sh -c 'sleep 300; : {mark}'"
        server.exec("bob", script)
        wait_until(begun.exists)
        assert server.stop() == 0
        assert alive_with(mark) == []
    with running(tmp_path, command=command, WORKERS="1") as server:
        last = server.poll("bob")
        assert (last["status"], last["output"]) == ("finished", "begun")
        assert (last["state"], last["reason"]) == ("REVOKED", "shutdown")


def test_a_command_that_runs_too_long_is_ended(tmp_path: Path) -> None:
    settings = {"EXEC_TIMEOUT_SECONDS": "0.5", "EXEC_GRACE_SECONDS": "0.5"}
    mark = f"{tmp_path}/late"
    with running(tmp_path, "-w", "1", **settings) as server:
        server.exec("bob", f"trap '' TERM; echo begun; sh -c 'sleep 300; : {mark}'")
        last = server.poll_until_finished("bob")[-1]
        assert (last["reason"], last["state"]) == ("timeout", "FAILURE")
        assert last["returncode"] in (137, 143)
        assert alive_with(mark) == []


def _warm_up(server: Server) -> None:
    """Have every worker imported, opened and compiled what it needs."""
    server.exec("flood", "yes | head -c 5M")
    server.poll_until_finished("flood")

    def settled() -> bool:
        before = _memory_bytes(server)
        for _ in range(40):
            server.poll("flood")
        return _memory_bytes(server) - before < 2**20

    wait_until(settled, seconds=30)


def _memory_bytes(server: Server) -> int:
    pages = 0
    for pid in server.workers():
        pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _worker_that_runs_something(server: Server) -> int:
    [owner] = [pid for pid in server.workers()[1:] if children_of(pid)]
    return owner
