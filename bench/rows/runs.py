"""A command that prints one word, run and answered."""

from pathlib import Path

from bench.client import Step, Work, get, post
from bench.contest import Contestant, Goal, Outcome, Row, Stage, contest
from bench.dose import Dose
from bench.servers import (
    bare,
    bearer,
    bellhop,
    keeping,
    shell2http,
    tutorial,
    webhook,
)
from tests.servers import Server

CLIENTS = 16
ROOMY = f"Bellhop, room for {CLIENTS}"
KEEPING = "the least that keeps the same"
TOKEN = "bench"  # of that one


def threads_for(clients: int) -> str:
    """Return the threads of a worker that may get all of the clients that wait.

    Half of them are for those who wait, and nobody spreads clients over workers evenly.
    """
    return str(max(16, 2 * clients))


def run_echo(server: Server) -> Work:
    """Return the work of a command of the shipped catalogue, run in one call."""
    body = {"command": "echo", "params": {"text": "hello"}, "wait_seconds": 30}
    wanted = ('"SUCCESS"', "hello\\n")
    return post("/v3/exec/", body, *wanted, headers=bearer(server), status=201)


def bare_echo() -> Work:
    """Return the same work of the bare route."""
    return post("/run", {}, "hello\\n")


def _keeping_echo() -> Work:
    """Return the same work of the route that keeps what Bellhop keeps."""
    token = {"Authorization": f"Bearer {TOKEN}"}
    body = {"params": {"text": "hello"}}
    return post("/run", body, "hello\\n", headers=token, status=201)


def webhook_echo() -> Work:
    """Return the same work of webhook."""
    return get("/hooks/echo", "hello")


def _shell2http_echo() -> Work:
    """Return the same work of Flask-Shell2HTTP: started, then waited for."""
    json = {"Content-Type": "application/json"}
    body = '{"args": ["hello"], "force_unique_key": true}'
    key = '"key": ?"([^"]*)"'
    start = Step("/commands/echo", "POST", body, json, status=202, capture=key)
    return Work((start, Step("/commands/echo?key={}&wait=true")), ("hello\\n",))


def _tutorial_echo() -> Work:
    """Return the same work of the tutorial: started, then polled to its end."""
    json = {"Content-Type": "application/json"}
    start = Step("/exec", "POST", '{"cmd": "/bin/echo hello"}', json)
    return Work((start, Step("/poll", until='"finished"')), ("accepted", "hello"))


def _with_many(dose: Dose, folder: Path) -> Outcome:
    with Stage() as stage:
        threads = threads_for(CLIENTS)
        ours = stage.start(bellhop(folder, THREADS=threads))
        room = {"THREADS": threads, "EXEC_MAX_RUNNING": str(CLIENTS)}
        roomy = stage.start(bellhop(folder, "roomy", **room))
        peer = stage.start(bare(folder, threads=threads))
        those = [
            Contestant("Bellhop", ours, run_echo(ours)),
            Contestant(ROOMY, roomy, run_echo(roomy)),
            Contestant("webhook", stage.start(webhook_server(folder)), webhook_echo()),
            Contestant("bare Flask", peer, bare_echo()),
            Contestant(KEEPING, stage.start(keeping(folder, threads)), _keeping_echo()),
            Contestant(
                "Flask-Shell2HTTP", stage.start(shell2http(folder)), _shell2http_echo()
            ),
        ]
        outcome = Outcome(contest(those, dose, clients=CLIENTS))
        outcome.left_out = stage.left_out
    outcome.compare("webhook", "Bellhop", "webhook", "per_second")
    outcome.compare("webhook_roomy", ROOMY, "webhook", "per_second")
    outcome.compare("webhook_p99", "Bellhop", "webhook", "p99_ms")
    outcome.compare("bare", "Bellhop", "bare Flask", "per_second")
    outcome.compare("bare_roomy", ROOMY, "bare Flask", "per_second")
    outcome.compare("keeping", "Bellhop", KEEPING, "per_second")
    outcome.compare("keeping_webhook", KEEPING, "webhook", "per_second")
    outcome.compare("bare_webhook", "bare Flask", "webhook", "per_second")
    outcome.compare("shell2http", "Bellhop", "Flask-Shell2HTTP", "per_second")
    return outcome


def _with_one(dose: Dose, folder: Path) -> Outcome:
    with Stage() as stage:
        ours = stage.start(bellhop(folder))
        those = [
            Contestant("Bellhop", ours, run_echo(ours)),
            Contestant("webhook", stage.start(webhook_server(folder)), webhook_echo()),
            Contestant("bare Flask", stage.start(bare(folder)), bare_echo()),
            Contestant(
                "Flask-Shell2HTTP", stage.start(shell2http(folder)), _shell2http_echo()
            ),
            Contestant("tutorial", stage.start(tutorial(folder)), _tutorial_echo()),
        ]
        outcome = Outcome(contest(those, dose, clients=1), left_out=stage.left_out)
    outcome.compare("bare", "Bellhop", "bare Flask", "p50_ms")
    outcome.compare("tutorial", "Bellhop", "tutorial", "per_second")
    return outcome


def webhook_server(folder: Path):
    """Return webhook with the hook that prints the word."""
    return webhook(folder, "echo", "/bin/echo", "hello")


ROWS = [
    Row(
        "exec",
        "A command in one call",
        f"`/bin/echo hello` of the shipped catalogue, asked for by {CLIENTS} clients "
        "who wait for its output in the same call. Bellhop asks for a token, records "
        "and audits each run; webhook and the bare Flask route run it and keep "
        "nothing; Flask-Shell2HTTP takes two calls. “The least that keeps the same” "
        "is a bare route that looks a token up, records the run before and after, and "
        "writes its output, the audit and the log, by SQLite's own driver: it has no "
        "limit, queue, timeout or check, and nobody can watch a run or end it. That "
        "is what Python and SQLite leave to be had. Bellhop as it ships runs 8 at a "
        "time and has the others wait; its second line has "
        f"`EXEC_MAX_RUNNING={CLIENTS}`. "
        f"`THREADS={threads_for(CLIENTS)}`, here and for the bare route, so that a "
        "worker has room for all who wait. The tutorial's one slot serves one client "
        "at a time: it is in the next row.",
        _with_many,
        (
            Goal("webhook", "rate against webhook", "×", 0.75, 1.0),
            Goal("webhook_roomy", f"the same, room for {CLIENTS}", "×", None, None),
            Goal("webhook_p99", "p99 against webhook's", "×", None, 1.0, False),
            Goal("bare", "rate against a bare Flask route", "×", 0.8, 0.95),
            Goal("bare_roomy", f"the same, room for {CLIENTS}", "×", None, None),
            Goal("keeping", f"rate against {KEEPING}", "×", None, None),
            Goal(
                "bare_webhook", "a bare Flask route's against webhook", "×", None, None
            ),
            Goal("keeping_webhook", f"{KEEPING}, against webhook", "×", None, None),
            Goal("shell2http", "rate against Flask-Shell2HTTP", "×", None, None),
        ),
        chart="per_second",
    ),
    Row(
        "exec-alone",
        "The same by one client",
        "What one run takes when nothing else is going on. The tutorial starts it by "
        "one call and is polled, without a pause, until it has finished.",
        _with_one,
        (
            Goal("bare", "p50 against a bare Flask route's", "×", None, None, False),
            Goal("tutorial", "rate against the tutorial", "×", None, None),
        ),
    ),
]
