"""Text messages by real servers: many workers, vendors that fail, what is told."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests

from app.sms.fake.server import FakeServer
from app.sms.fake.vendor import Push, Scenario
from app.sms.fake.vendors import all_vendors
from tests.callers import ADMIN, PASSWORD
from tests.racing import race_threads
from tests.sending import TEMPLATES, message, send, sending, sends, states
from tests.servers import Server, free_port, wait_until
from tests.vendors import FIRST, SECOND, mainland

FOUR = {"WORKERS": "4", "THREADS": "40", "LOG_LEVEL": "WARNING"}
TWO = FOUR | {"WORKERS": "2"}
RACERS = 20
JSON = {"Content-Type": "application/json"}
# Of readiness, when what was away is back.
RECOVERY_SECONDS = 6

pytestmark = pytest.mark.timeout(600)  # of the long doses


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer(all_vendors()) as started:
        yield started


class TestManyWorkers:
    """Several of them, whichever database they share."""

    @pytest.fixture
    def fake(self) -> Iterator[FakeServer]:
        """Return one that takes a while, so that requests meet."""
        with FakeServer(all_vendors(), delay_seconds=0.05) as started:
            yield started

    @pytest.fixture(params=["sqlite", "postgresql"])
    def server(
        self, request: pytest.FixtureRequest, fake: FakeServer, tmp_path: Path
    ) -> Iterator[Server]:
        limits = {"SMS_LIMIT_RECEIVER": "5/3600"}
        if request.param == "sqlite":
            with sending(tmp_path, fake, **FOUR, **limits) as started:
                yield started
            return
        with (
            request.getfixturevalue("postgres").new_database() as url,
            sending(tmp_path, fake, DATABASE_URL=url, **TWO, **limits) as started,
        ):
            yield started

    def test_one_key_sends_once_and_a_receiver_gets_no_more_than_it_may(
        self, server: Server, fake: FakeServer, soak: bool
    ) -> None:
        for receiver in mainland(200 if soak else 2):
            self.check_one_key(server, fake, receiver)
        for receiver in mainland(220 if soak else 3)[200 if soak else 2 :]:
            self.check_limit(server, fake, receiver)

    def check_one_key(self, server: Server, fake: FakeServer, receiver: str) -> None:
        def ask(_number: int = 0) -> tuple[int, str]:
            answer = send(server, receiver, key=receiver)
            return answer.status_code, answer.text

        answers = race_threads(RACERS, ask)
        assert {status for status, _ in answers} <= {200, 409}, answers
        good = {answer for answer in answers if answer[0] == 200}
        assert len(good) == 1
        assert ask() in good
        assert sends(fake)[receiver] == 1

    def check_limit(self, server: Server, fake: FakeServer, receiver: str) -> None:
        answers = race_threads(30, lambda _: send(server, receiver))
        statuses = Counter(answer.status_code for answer in answers)
        assert statuses == {200: 5, 429: 25}
        limited = [answer for answer in answers if answer.status_code == 429]
        assert all(0 < int(each.headers["Retry-After"]) <= 3601 for each in limited)
        assert sends(fake)[receiver] == 5


def test_readiness_is_about_the_templates_and_not_about_the_vendors(
    fake: FakeServer, tmp_path: Path
) -> None:
    templates = tmp_path / "templates.toml"
    away = {"HUAWEI_URL": f"http://127.0.0.1:{free_port()}"}
    order = {"SMS_PROVIDER": "huawei,aliyun", "WORKERS": "1"}
    with sending(tmp_path, fake, **away, **order) as server:
        assert send(server, FIRST, provider="huawei").status_code == 503
        assert server.get("/api/health/ready").ok
        for fault in ("[templates.captcha]\ntext = 3", None):
            templates.write_text(fault) if fault else templates.unlink()
            ready = server.get("/api/health/ready")
            assert ready.status_code == 503
            checks = ready.json()["checks"]
            assert [name for name in checks if checks[name] != "ok"] == ["sms"]
            sent = send(server, FIRST)
            assert sent.status_code == 200, "by the ones from before"
            assert sent.json()["receivers"][0]["provider"] == "aliyun"
            templates.write_text(TEMPLATES)
            wait_until(
                lambda: server.get("/api/health/ready").ok, seconds=RECOVERY_SECONDS
            )
    assert sends(fake) == {FIRST: 2}


def test_a_vendor_that_hangs_leaves_threads_that_answer(
    fake: FakeServer, tmp_path: Path
) -> None:
    few = {"WORKERS": "1", "THREADS": "4", "SMS_TIMEOUT_SECONDS": "60"}
    fake.script("aliyun", *["timeout"] * 4)
    with sending(tmp_path, fake, **few) as server, ThreadPoolExecutor() as pool:
        try:
            waiting = [pool.submit(send, server, each) for each in mainland(3)]
            wait_until(lambda: len(fake.asked()) == 3)
            for _ in range(5):
                assert server.get("/api/health").ok
                assert server.get("/api/health/ready").ok
                surplus = send(server, SECOND)
                assert surplus.status_code == 503
                assert int(surplus.headers["Retry-After"]) >= 1
        finally:
            fake.close()
        answers = [each.result() for each in waiting]
    assert [answer.status_code for answer in answers] == [202] * 3
    assert [states(answer.json()) for answer in answers] == [["unknown"]] * 3
    assert sends(fake) == dict.fromkeys(mainland(3), 1)


def test_a_worker_of_gevent_s_sends_as_well(fake: FakeServer, tmp_path: Path) -> None:
    with sending(tmp_path, fake, "-k", "gevent", WORKERS="2") as server:
        answered = race_threads(10, lambda n: send(server, mainland(10)[n]).status_code)
        assert answered == [200] * 10
        message_id = send(server, SECOND, query="?async=1").json()["id"]
        wait_until(lambda: states(message(server, message_id)) == ["sent"])
    assert sends(fake) == dict.fromkeys([*mainland(10), SECOND], 1)


class Canary:
    """What nobody may read in a log: put everywhere where a caller may put it."""

    numbers = ("+8613912345678", "+14155550123")
    code = "Kanari7351金丝雀"
    secret = "canary-receipts-secret"

    def __init__(self, server: Server, fake: FakeServer) -> None:
        self._server = server
        self._fake = fake

    def found_in(self, kept: bytes) -> list[bytes]:
        """Return the lines that have any of it, however it is written."""
        found = {number[-10:].encode() for number in self.numbers}
        for text in (self.code[:10], self.code[10:], self.secret, "code is"):
            found |= {text.encode(), quote(text).encode(), ascii(text)[1:-1].encode()}
        return [line for line in kept.splitlines() if any(f in line for f in found)]

    def send(self, *receivers: str, query: str = "", **options: Any) -> int:
        answer = send(
            self._server,
            *(receivers or self.numbers),
            query=query,
            code=self.code,
            auth=ADMIN,
            **options,
        )
        return answer.status_code

    def use_every_vendor(self) -> set[int]:
        """Send by each, whatever becomes of it; return the statuses."""
        statuses = set()
        for name in self._fake.vendors:
            for scenario in Scenario:
                self._fake.script(name, scenario)
                statuses.add(self.send(provider=name))
            self._fake.script(name)
            statuses.add(self.send(provider=name, query="?async=1"))
        return statuses

    def use_badly(self) -> None:
        """Send what is refused, then more than may be sent."""
        number = self.numbers[0]
        bad = [
            ({"receivers": [f"{number}x", f"00{number[1:]}", number[3:]]}, 400),
            ({"receivers": f"{number};{number}"}, 400),
            ({"receivers": [number], "params": {"code": self.code, "x": 1}}, 400),
            ({"receivers": [number], "params": {"code": [self.code]}}, 400),
            ({"receivers": [number], "params": {self.code: number}}, 400),
            ({"receivers": [number], "template": self.code}, 400),
            ({"receivers": [number], "provider": number}, 400),
            ({"receivers": [number], number: self.code}, 400),
            ({"receivers": {number: self.code}}, 400),
        ]
        for body, status in bad:
            told = self._post("/api/sms", {"template": "captcha"} | body)
            assert told == status, body
        broken = f'{{"receivers": "{number}", "code": "{self.code}"'.encode()
        self._server.post("/api/sms", data=broken, auth=ADMIN, headers=JSON)
        for body in ({"code": self.code}, {"code": self.code, "x": number}):
            self._post("/api/sms/preview", {"template": "captcha", "params": body})
        for path in (number, quote(number, safe=""), f"?template={quote(number)}"):
            self._server.get(f"/api/sms/{path}", auth=ADMIN)
        wait_until(lambda: self.send(number) == 429)

    def use_the_directory(self) -> None:
        person = {"name": "Ann", "age": 3, "phone": self.numbers[1]}
        added = self._server.post("/v1/user", json=person, auth=ADMIN)
        assert self.send(f"user:{added.json()['uid']}") == 200

    def report(self) -> set[int]:
        """Deliver receipts as vendors do, and as others may; return the statuses."""
        statuses = set()
        base = f"{self._server.url}/api/sms/receipts"
        for sent in self._fake.sent():
            vendor, url = self._fake.vendors[sent.vendor], f"{base}/{sent.vendor}"
            with suppress(NotImplementedError):
                for secret in (self.secret, f"{self.secret}x"):
                    push = vendor.receipt(sent, delivered=True, url=f"{url}/{secret}")
                    statuses.add(told(push.method, push.url, push))
                statuses.add(told("POST", f"{url}/{self.secret}", push))
                statuses.add(told("POST", f"{url}//{self.secret}/?x=1", push))
        return statuses

    def _post(self, path: str, body: dict[str, Any]) -> int:
        return self._server.post(path, json=body, auth=ADMIN).status_code


def told(method: str, url: str, push: Push) -> int:
    return requests.request(
        method, url, headers=push.headers, data=push.body, timeout=60
    ).status_code


def test_no_number_no_text_and_no_secret_gets_into_log_or_audit(
    tmp_path: Path,
) -> None:
    settings = {
        "FLASK_ENV": "production",
        "ADMIN_PASSWORD": PASSWORD,
        "LOG_LEVEL": "DEBUG",
        "WORKERS": "2",
        "SMS_RECEIPTS_SECRET": Canary.secret,
        "SMS_TIMEOUT_SECONDS": "0.3",
        "SMS_LIMIT_RECEIVER": "60/3600",
    }
    with FakeServer(all_vendors(), timeout_seconds=0.6) as fake:
        order = ",".join(fake.vendors)
        with sending(tmp_path, fake, SMS_PROVIDER=order, **settings) as server:
            canary = Canary(server, fake)
            assert canary.use_every_vendor() >= {200, 202, 207, 422, 429, 502}
            canary.use_the_directory()
            canary.use_badly()
            assert canary.report() >= {200, 400, 403, 404}
    records = tmp_path / "instance" / "bellhop.db"
    with closing(sqlite3.connect(records)) as database:
        audit = database.execute("SELECT * FROM audit").fetchall()
        sent = database.execute("SELECT params, text FROM messages").fetchall()
    assert canary.found_in(repr(sent).encode()), "where they belong, they are found"
    log = server.log_path.read_bytes()
    assert canary.found_in(log) == canary.found_in(repr(audit).encode()) == []
    assert len(audit) > 80
    assert log.count(b"sms.answered") > 60
    assert b"+8613****5678" in log, "it can still be told whom a receipt was about"
