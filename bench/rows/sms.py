"""Text messages by a vendor that answers after five milliseconds."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.client import Work, post
from bench.contest import Contestant, Goal, Outcome, Row, contest
from bench.dose import Dose
from bench.rows.runs import threads_for
from bench.servers import PEERS, bearer, bellhop, python_server, shipped
from tests.servers import free_port

CLIENTS = 32

TEMPLATES = """
[templates.captcha]
params = ["code"]
ids.aliyun = "SMS_1"
"""
MESSAGE = {
    "receivers": "+8613800000000",
    "template": "captcha",
    "params": {"code": "1"},
}
LIMITS = ("RECEIVER", "CALLER", "COUNTRY", "TOTAL")


def _sms(dose: Dose, folder: Path) -> Outcome:
    outcome = Outcome()
    for tls in (True, False):
        kind = "TLS" if tls else "no TLS"
        outcome.lines += _lines(dose, folder, kind, tls=tls)
    outcome.compare("tls", "Bellhop, TLS", "tutorial, TLS", "per_second")
    outcome.compare(
        "tls_threads", "Bellhop, TLS", "tutorial with threads, TLS", "per_second"
    )
    outcome.compare("plain", "Bellhop, no TLS", "tutorial, no TLS", "per_second")
    outcome.compare(
        "plain_threads",
        "Bellhop, no TLS",
        "tutorial with threads, no TLS",
        "per_second",
    )
    return outcome


def _lines(dose: Dose, folder: Path, kind: str, *, tls: bool) -> list[dict]:
    with ExitStack() as stack:
        certificate = _certificate(folder) if tls else []
        settings = _settings(folder, stack.enter_context(_vendor(certificate)))
        if tls:
            names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
            settings |= dict.fromkeys(names, certificate[0])
        ours = stack.enter_context(bellhop(folder, f"ours, {kind}", **settings))
        app = "bench.peers.seed_sms:app"
        threaded = shipped() | {"threads": settings["THREADS"]}
        single = {"workers": threaded["workers"]}
        body = {"headers": bearer(ours)}
        those = [
            Contestant(f"Bellhop, {kind}", ours, _message("/v3/sms/", **body)),
            *(
                Contestant(
                    f"{who}, {kind}",
                    stack.enter_context(python_server(folder, app, settings, **how)),
                    _message("/api/sms"),
                )
                for who, how in (
                    ("tutorial", single),
                    ("tutorial with threads", threaded),
                )
            ),
        ]
        return contest(those, dose, clients=CLIENTS)


def _message(path: str, **step: object) -> Work:
    return post(path, MESSAGE, '"message"', **step)


def _settings(folder: Path, vendor: str) -> dict[str, str]:
    templates = folder / "templates.toml"
    templates.write_text(TEMPLATES)
    return {
        "THREADS": threads_for(CLIENTS),
        "SMS_PROVIDER": "aliyun",
        "SMS_TEMPLATES": str(templates),
        "ALIYUN_SMS_URL": vendor,
        "ALIYUN_SMS_APP_KEY": "testId",
        "ALIYUN_SMS_APP_SECRET": "testSecret",
        "ALIYUN_SMS_SIGN_NAME": "阿里云",
        **{f"SMS_LIMIT_{name}": "off" for name in LIMITS},
    }


@contextmanager
def _vendor(certificate: list[str]) -> Iterator[str]:
    port = str(free_port())
    program = str(PEERS / "vendor.py")
    process = subprocess.Popen([sys.executable, program, port, *certificate])
    try:
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _certificate(folder: Path) -> list[str]:
    """Make a certificate for 127.0.0.1 that signs itself."""
    paths = [str(folder / name) for name in ("certificate.pem", "key.pem")]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    files = ["-out", paths[0], "-keyout", paths[1]]
    subprocess.run([*make, *names, *files], check=True, stderr=subprocess.DEVNULL)
    return paths


ROWS = [
    Row(
        "sms",
        "Text messages",
        f"{CLIENTS} clients send by a vendor that answers after 5 ms, over TLS as "
        "vendors do, and without. Bellhop signs, keeps a connection, and writes each "
        "step down; the tutorial makes a new connection for each message and keeps "
        "nothing. It has as many workers, with one thread as gunicorn has them unless "
        f"told otherwise, or with as many threads as Bellhop (`THREADS="
        f"{threads_for(CLIENTS)}`). The vendor is a process of the same machine. The "
        "limits of production are off.",
        _sms,
        (
            Goal("tls", "rate against the tutorial, TLS", "×", 3, None),
            Goal("tls_threads", "the same, with threads", "×", None, None),
            Goal("plain", "rate against the tutorial, no TLS", "×", None, None),
            Goal("plain_threads", "the same, with threads", "×", None, None),
        ),
    ),
]
