"""What is measured, against whom: `make bench`.

Each figure is a ratio of medians of interleaved runs on one machine, so that its
speed and its neighbours drop out. The peer and the load come from Debian:
apt-get install webhook wrk
"""

import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.servers import Server, free_port, running, wait_until

ROUNDS = 7
LOAD_SECONDS = 2
FLOOD = "yes | head -c 1G"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        _against_peers(Path(folder))
    _start()


def _against_peers(folder: Path) -> None:
    with running(folder, FLASK_ENV="development") as server:
        _flood(server)
        _uptime(server, folder)


def _uptime(server: Server, folder: Path) -> None:
    """Compare requests a second with adnanh/webhook running uptime(1)."""
    if missing := [tool for tool in ("webhook", "wrk") if not shutil.which(tool)]:
        print(f"uptime: left out, not installed: {', '.join(missing)}")
        return
    with _webhook(folder) as peer:
        for connections in (8, 32):
            for kind, headers in (("kept", []), ("new", ["-H", "Connection: close"])):
                load = ["wrk", "-t1", f"-c{connections}", f"-d{LOAD_SECONDS}", *headers]
                ours, theirs = _interleave(
                    lambda load=load: _rate(load, f"{server.url}/v1/uptime/"),
                    lambda load=load: _rate(load, peer),
                )
                print(
                    f"uptime, {connections} {kind} connections: {ours:.0f}/s, webhook "
                    f"{theirs:.0f}/s, ratio {ours / theirs:.2f}"
                )


def _flood(server: Server) -> None:
    """Compare the drain of a flood with that of the same pipeline into cat."""
    ours, cat = _interleave(
        lambda: _seconds_of_run(server),
        lambda: _seconds(["sh", "-c", f"{FLOOD} | cat >/dev/null"]),
    )
    print(f"flood of 1 GiB: {ours:.2f} s, cat {cat:.2f} s, ratio {cat / ours:.2f}")


def _start() -> None:
    """Time create_app() with its imports in a fresh interpreter."""
    code = "from application import create_app; create_app('testing')"
    with tempfile.TemporaryDirectory() as folder:
        times = [
            _seconds([sys.executable, "-c", code], INSTANCE_PATH=folder)
            for _ in range(ROUNDS)
        ]
    print(f"create_app() with imports and the interpreter: {min(times):.2f} s")


def _interleave(a: Callable[[], float], b: Callable[[], float]) -> tuple[float, float]:
    pairs = [(a(), b()) for _ in range(ROUNDS)]
    return (
        statistics.median(pair[0] for pair in pairs),
        statistics.median(pair[1] for pair in pairs),
    )


def _rate(load: list[str], url: str) -> float:
    done = subprocess.run([*load, url], capture_output=True, text=True, check=True)
    assert "Non-2xx" not in done.stdout, done.stdout
    return float(re.findall(r"Requests/sec:\s+([0-9.]+)", done.stdout)[0])


def _seconds_of_run(server: Server) -> float:
    """Return how long a flood runs, as the service itself has logged it."""
    task_id = server.exec("bench", FLOOD).json()["task_id"]
    # The log is watched, not the service: polls would take their part of the cores.
    times = wait_until(lambda: _times_of_run(server, task_id), seconds=120)
    server.poll_until_finished("bench")
    return times["process.ended"] - times["process.started"]


def _times_of_run(server: Server, task_id: str) -> dict[str, float] | None:
    times = {
        line["event"]: datetime.fromisoformat(line["timestamp"]).timestamp()
        for line in server.log_lines()
        if line.get("task_id") == task_id
    }
    return times if "process.ended" in times else None


def _seconds(command: list[str], **env: str) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, env=env or None, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


@contextmanager
def _webhook(folder: Path) -> Iterator[str]:
    hook = {
        "id": "uptime",
        "execute-command": shutil.which("uptime"),
        "include-command-output-in-response": True,
    }
    hooks, port = folder / "hooks.json", free_port()
    hooks.write_text(json.dumps([hook]))
    process = subprocess.Popen(
        ["webhook", "-hooks", str(hooks), "-ip", "127.0.0.1", "-port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    peer = Server(process, f"http://127.0.0.1:{port}", hooks)
    try:
        wait_until(lambda: _listens(peer))
        yield f"{peer.url}/hooks/uptime"
    finally:
        process.terminate()
        process.wait()


def _listens(peer: Server) -> bool:
    try:
        return peer.get("/hooks/uptime").ok
    except OSError:
        return False


if __name__ == "__main__":
    main()
