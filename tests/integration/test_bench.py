"""Each row and curve can be measured, by whichever client there is."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench import client, document, servers
from bench.client import Step, Work, WrongAnswer, drive, get
from bench.curves import CURVES
from bench.dose import TINY
from bench.rows import ROWS
from bench.scale import __main__ as scale
from bench.usage import descendants
from tests.servers import PROJECT, Server, running, wait_until

LOAD = {"clients": 2, "seconds": 0.2}

#: Those that are measured in every run; the long dose has all.
FEW = {"row": ["exec"], "curve": ["history"]}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for what, every in {"row": ROWS, "curve": CURVES}.items():
        if what in metafunc.fixturenames:
            soaks = metafunc.config.getoption("--soak")
            metafunc.parametrize(what, list(every) if soaks else FEW[what])


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the client that is there everywhere, a browser, and no peer but ours."""
    there = {"chromium": shutil.which("chromium")}
    monkeypatch.setattr(client.shutil, "which", there.get)
    monkeypatch.setattr(servers, "VENV", tmp_path / "no-venv")


@pytest.mark.usefixtures("plain")
def test_a_row_can_be_measured(row: str, tmp_path: Path) -> None:
    outcome = ROWS[row].measure(TINY, tmp_path)
    missing = {goal.figure for goal in ROWS[row].goals} - outcome.figures.keys()
    assert not missing or outcome.left_out, missing
    assert all(line.keys() & document.COLUMNS.keys() for line in outcome.lines)
    charted = ROWS[row].chart
    assert all(line[charted] > 0 for line in outcome.lines if charted)


@pytest.mark.usefixtures("plain")
def test_a_curve_can_be_measured(curve: str, tmp_path: Path) -> None:
    lines = CURVES[curve].measure(TINY, tmp_path).lines
    assert all(line[CURVES[curve].key] > 0 for line in lines)
    assert len({line["who"] for line in lines if "x" in line}) >= 1


def test_a_fleet_of_hosts_can_be_simulated(
    soak: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Takes a quarter of a minute, to start engines and to have them count."""
    if not soak:
        pytest.skip("a long dose")
    monkeypatch.setattr(scale, "PIECES", 100)
    result = scale.measure([16], runs=5, seconds=2)
    costs = {
        name: round(cost["transactions"]) for name, cost in result["model"].items()
    }
    assert costs == {"beat": 1, "look": 6, "run": 4}, "docs/scale.md has them"
    [fleet] = result["fleets"]
    assert fleet["measured"]["run"] > 0
    assert fleet["measured"]["not_run"] == fleet["measured"]["failed"] == 0


def test_who_interrupts_it_has_nothing_left_behind(tmp_path: Path) -> None:
    bench = subprocess.Popen(
        [sys.executable, "-m", "bench.run", "--quick", "slow"],
        cwd=PROJECT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until(lambda: len(descendants(bench.pid)) > 3, seconds=90)
        started = descendants(bench.pid)
        os.killpg(bench.pid, signal.SIGINT)  # as a terminal does
    finally:
        bench.terminate()
        bench.wait(30)
    assert [pid for pid in started if Path(f"/proc/{pid}").exists()] == []
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    with running(tmp_path_factory.mktemp("measured")) as server:
        yield server


class TestClient:
    """Both clients, where there are two."""

    @pytest.fixture(params=["the one that is there", "ours"], autouse=True)
    def _client(self, request: pytest.FixtureRequest) -> None:
        if request.param == "ours":
            request.getfixturevalue("plain")

    def test_work_of_several_requests_counts_once(self, server: Server) -> None:
        key = '"task_id": ?"([^"]*)"'
        start = Step("/v2/iostat/", "POST", status=201, capture=key)
        end = Step("/v2/task/{}", until='"SUCCESS"')
        before = _starts(server)
        pace = drive(server.url, Work((start, end), ("links", "iostat")), **LOAD)
        assert pace.works <= _starts(server) - before <= pace.works + LOAD["clients"]

    @pytest.mark.parametrize(
        "wrong", [get("/api/health", status=201), get("/api/health", "absent")]
    )
    def test_a_wrong_answer_ends_it(self, server: Server, wrong: Work) -> None:
        with pytest.raises(WrongAnswer):
            drive(server.url, wrong, **LOAD)


def _starts(server: Server) -> int:
    return sum(line.get("method") == "POST" for line in server.log_lines())
