"""How long the host has been up: asked often, by monitoring."""

from base64 import b64encode
from pathlib import Path

from bench.client import Work, get
from bench.contest import Contestant, Goal, Outcome, Row, Stage, contest
from bench.dose import Dose
from bench.servers import PASSWORD, bare, bearer, bellhop, glances, webhook

CLIENTS = 16


def read_uptime() -> Work:
    """Return the work of one reading."""
    return get("/v1/uptime/", "load average")


def _uptime(dose: Dose, folder: Path) -> Outcome:
    with Stage() as stage:
        peer = stage.start(webhook(folder, "uptime", "uptime"))
        those = [
            Contestant("Bellhop", stage.start(bellhop(folder)), read_uptime()),
            Contestant("webhook", peer, get("/hooks/uptime", "load average")),
            Contestant("bare Flask", stage.start(bare(folder)), get("/uptime", "load")),
            Contestant(
                "glances", stage.start(glances(folder)), get("/api/4/uptime", ":")
            ),
        ]
        outcome = Outcome(contest(those, dose, clients=CLIENTS))
        outcome.left_out = stage.left_out
    outcome.compare("webhook", "Bellhop", "webhook", "per_second")
    outcome.compare("bare", "Bellhop", "bare Flask", "per_second")
    outcome.compare("glances", "Bellhop", "glances", "per_second")
    return outcome


def _credentials(dose: Dose, folder: Path) -> Outcome:
    line = "load average"
    with bellhop(folder) as server:
        token, password = bearer(server), {"Authorization": _basic()}
        those = [
            Contestant("nobody asked", server, get("/v1/uptime/", line)),
            Contestant("bearer", server, get("/v3/uptime/", line, headers=token)),
            Contestant("Basic", server, get("/v3/uptime/", line, headers=password)),
        ]
        outcome = Outcome(contest(those, dose, clients=CLIENTS))
    outcome.compare("bearer", "bearer", "nobody asked", "per_second")
    outcome.compare("basic", "Basic", "nobody asked", "per_second")
    return outcome


def _basic() -> str:
    return f"Basic {b64encode(f'admin:{PASSWORD}'.encode()).decode()}"


ROWS = [
    Row(
        "uptime",
        "The uptime of the host",
        f"Asked by {CLIENTS} clients on connections that are kept. webhook runs "
        "uptime(1); the bare Flask route gives two files of the kernel as they are; "
        "glances answers from what it has collected before.",
        _uptime,
        (
            Goal("webhook", "rate against webhook", "×", 4, 5),
            Goal("bare", "rate against a bare Flask route", "×", 0.6, 0.8),
            Goal("glances", "rate against glances", "×", None, None),
        ),
        chart="per_second",
    ),
    Row(
        "credentials",
        "What it costs to be known",
        "The same reading on the open route, and on the one that takes a bearer token "
        "or a name with its password. The account is read with every request.",
        _credentials,
        (
            Goal("bearer", "rate with a bearer token", "×", 0.7, 0.9),
            Goal("basic", "rate with name and password", "×", 0.7, 0.9),
        ),
    ),
]
