"""Bellhop as it ships, and each peer as its own documentation starts it."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tests.servers import PROJECT, Server, free_port, running, wait_until
from tests.valkey import running_valkey
from tests.worker_process import running_worker

from .contest import NotThere

PASSWORD = "change-me"
PEERS = Path(__file__).parent / "peers"
#: The environment of the peers that are Python's, which `make bench` makes.
VENV = Path(__file__).parent / ".venv"
START_SECONDS = 60

#: What is run that the shipped catalogue has not: programs with their arguments.
COMMANDS: Mapping[str, list[str]] = {
    "flood": ["/bin/sh", "-c", f"yes {'x' * 63} | head -c {{count}}"],
    # Waits for `gate`, a named pipe, to be opened and closed by the bench.
    "hold": ["/bin/sh", "-c", 'echo begun; read x <"$0"; echo over', "{gate}"],
    # Coloured, as many a second as a busy build writes, and one that is very long.
    "lines": [
        sys.executable,
        "-c",
        "import sys, time\n"
        "out, count, begun = sys.stdout.buffer, int(sys.argv[1]), time.monotonic()\n"
        "for n in range(count):\n"
        "    out.write(b'%06d \\x1b[32mok\\x1b[0m \\xe4\\xb8\\xad\\n' % n)\n"
        "    if n == count // 2:\n"
        "        out.write(b'x' * 1_000_000 + b'\\n')\n"
        "    if n % 500 == 0:\n"
        "        out.flush()\n"
        "        time.sleep(max(0, begun + n / 30_000 - time.monotonic()))\n"
        "print('the end')",
        "{count}",
    ],
    # A line has the moment at which it is written, of the clock that all share; the
    # first is written before the gate is opened.
    "moments": [
        sys.executable,
        "-uc",
        "import sys, time\n"
        "print('begun'); open(sys.argv[3]).read()\n"
        "for _ in range(int(sys.argv[1])):\n"
        "    print(time.monotonic_ns()); time.sleep(float(sys.argv[2]))",
        "{count}",
        "{pause}",
        "{gate}",
    ],
}


@contextmanager
def bellhop(folder: Path, name: str = "bellhop", **settings: str) -> Iterator[Server]:
    """Start Bellhop as it ships, in production, with what `settings` say otherwise."""
    home = folder / name
    home.mkdir()
    shipped = {
        "FLASK_ENV": "production",
        "ADMIN_PASSWORD": PASSWORD,
        "WORKERS": "",  # as many as where nothing is said
    }
    with running(home, **(shipped | settings)) as server:
        yield server


@contextmanager
def workers_of_celery(folder: Path, **settings: str) -> Iterator[Server]:
    """Start Bellhop with a worker of Celery; give the web tier, which runs nothing."""
    with running_valkey(folder) as valkey:
        urls = dict.fromkeys(("CELERY_BROKER_URL", "REDIS_URL"), valkey.url)
        given = {"TASK_BACKEND": "celery", **urls, **settings}
        worker = given | {"FLASK_ENV": "production", "ADMIN_PASSWORD": PASSWORD}
        with (
            bellhop(folder, **given) as server,
            running_worker(folder / "bellhop", **worker),
        ):
            yield server


def commands(folder: Path) -> str:
    """Write the catalogue of what only the bench runs; return its name."""
    path = folder / "commands.toml"
    path.write_text("".join(_entry(name, argv) for name, argv in COMMANDS.items()))
    return str(path)


def bearer(server: Server, *scopes: str) -> dict[str, str]:
    """Return the header that lets in a client of Bellhop, for more if that is said."""
    answer = server.post(
        "/v3/users/admin/tokens",
        json={"scopes": ["read", "exec", "sms", *scopes]},
        auth=("admin", PASSWORD),
    )
    return {"Authorization": f"Bearer {answer.json()['token']}"}


@contextmanager
def webhook(folder: Path, hook: str, *command: str) -> Iterator[Server]:
    """Start Debian's webhook with one hook."""
    if not shutil.which("webhook"):
        raise NotThere("webhook is not installed: apt-get install webhook")
    entry = {
        "id": hook,
        "execute-command": shutil.which(command[0]),
        "pass-arguments-to-command": [
            {"source": "string", "name": text} for text in command[1:]
        ],
        "include-command-output-in-response": True,
    }
    hooks, port = folder / "hooks.json", free_port()
    hooks.write_text(json.dumps([entry]))
    where = ["-ip", "127.0.0.1", "-port", str(port)]
    with _started(["webhook", "-hooks", str(hooks), *where], port, folder) as server:
        yield server


@contextmanager
def shell2http(folder: Path) -> Iterator[Server]:
    """Start Flask-Shell2HTTP with one command: `echo`.

    It keeps its results in one process, so that it is not to be had with more.
    """
    flask, port = _installed("flask"), free_port()
    application = ["--app", str(PEERS / "shell2http.py")]
    command = [flask, *application, "run", "-p", str(port)]
    with _started(command, port, folder) as server:
        yield server


@contextmanager
def glances(folder: Path) -> Iterator[Server]:
    """Start glances with its API and without its pages."""
    port = free_port()
    where = ["-B", "127.0.0.1", "-p", str(port)]
    quiet = ["--disable-webui", "--disable-check-update", "-C", os.devnull]
    command = [_installed("glances"), "-w", *where, *quiet]
    with _started(command, port, folder) as server:
        yield server


@contextmanager
def bare(folder: Path, **options: str) -> Iterator[Server]:
    """Start the bare Flask routes on the gunicorn that Bellhop has."""
    same = shipped() | options
    with python_server(folder, "bench.peers.bare:app", **same) as server:
        yield server


@contextmanager
def keeping(folder: Path, threads: str) -> Iterator[Server]:
    """Start the least that keeps what Bellhop keeps, on the same gunicorn."""
    kept = folder / "keeping"
    kept.mkdir()
    env = {"KEEPING_FOLDER": str(kept)}
    same = shipped() | {"threads": threads}
    with python_server(folder, "bench.peers.keeping:app", env, **same) as server:
        yield server


@contextmanager
def tutorial(folder: Path) -> Iterator[Server]:
    """Start the tutorial's way to run commands: its memory is one process's."""
    same = shipped() | {"workers": "1"}
    with python_server(folder, "bench.peers.tutorial:app", **same) as server:
        yield server


@contextmanager
def python_server(
    folder: Path, app: str, env: Mapping[str, str] | None = None, **options: str
) -> Iterator[Server]:
    """Start an application of ours on gunicorn, which has no configuration file."""
    port = free_port()
    gunicorn = [sys.executable, "-m", "gunicorn", "--config", os.devnull, app]
    given = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
    where = ["-b", f"127.0.0.1:{port}", "--no-control-socket"]
    command = [*gunicorn, *given, *where]
    with _started(command, port, folder, **(env or {})) as server:
        yield server


@cache
def shipped() -> dict[str, str]:
    """Return how Bellhop's gunicorn serves unless it is told otherwise."""
    with tempfile.TemporaryDirectory() as folder:
        printed = subprocess.run(
            [sys.executable, "-m", "gunicorn", "--print-config", "server:app"],
            cwd=PROJECT,
            env={"PATH": os.environ["PATH"], "INSTANCE_PATH": folder},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    found = dict(re.findall(r"^(\w+) += (.+)$", printed, re.MULTILINE))
    keys = ("workers", "threads", "worker_class", "keepalive")
    return {key.replace("keepalive", "keep_alive"): found[key] for key in keys}


@contextmanager
def _started(
    command: list[str], port: int, folder: Path, **env: str
) -> Iterator[Server]:
    log = folder / f"peer-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=PROJECT,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), **env},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    server = Server(process, f"http://127.0.0.1:{port}", log)
    try:
        wait_until(lambda: _answers(server), seconds=START_SECONDS)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(server: Server) -> bool:
    if server.process.poll() is not None:
        raise AssertionError(f"it ended: {server.log_path.read_text()}")
    try:
        return bool(server.get("/").status_code)
    except OSError:
        return False


def _installed(program: str) -> str:
    path = VENV / "bin" / program
    if not path.exists():
        raise NotThere(f"{program} of requirements-bench.txt is not in bench/.venv")
    return str(path)


def _entry(name: str, argv: list[str]) -> str:
    words = json.dumps(argv)
    parameters = "".join(
        f'[commands.{name}.params.{each}]\ntype = "string"\n'
        for each in re.findall(r"\{(\w+)\}", words)
    )
    return f"[commands.{name}]\nargv = {words}\n{parameters}"
