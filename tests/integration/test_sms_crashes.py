"""Servers that die, end, or lose their database while they send: nothing goes twice."""

import os
import random
import signal
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests

from app.sms.fake.server import FakeServer
from app.sms.fake.vendor import Answer, Asked
from app.sms.fake.vendors import all_vendors
from app.tasks.worker import Worker
from tests.postgres import Postgres
from tests.sending import message, send, sending, sends, states
from tests.servers import Server, wait_until
from tests.trees import kill_server
from tests.vendors import FIRST, SECOND, mainland

# How long a key may say that its request is being answered, and some more.
KEY_SECONDS = 15 + 5
PATIENT = {"SMS_TIMEOUT_SECONDS": "30", "LOG_LEVEL": "WARNING"}
# What random vendors do: none of it hangs.
WHATEVER = ("success", "throttle", "balance", "error", "reset", "malformed")

pytestmark = pytest.mark.timeout(900)  # of the long doses


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    """Return one whose silence is longer than any test's."""
    with FakeServer(all_vendors(), timeout_seconds=300) as started:
        yield started


def rows(folder: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(folder / "instance" / "bellhop.db")) as records:
        return records.execute(query).fetchall()


def kill_sender(folder: Path) -> None:
    """Kill the worker that sends the only message that is being sent."""
    [(worker,)] = rows(folder, "SELECT worker FROM messages WHERE finished IS NULL")
    os.kill(Worker.parse(worker).pid, signal.SIGKILL)


def answer_of_key(server: Server, receiver: str, **options: Any) -> requests.Response:
    """Return what is answered to a key that is its receiver, when it is answered."""

    def ask() -> requests.Response | None:
        with suppress(requests.RequestException):
            answer = send(server, receiver, key=receiver, **options)
            return answer if answer.status_code != 409 else None
        return None

    answer = wait_until(ask, seconds=KEY_SECONDS)
    assert answer is not None
    return answer


def check_unknown(server: Server, receiver: str) -> str:
    answer = answer_of_key(server, receiver)
    assert answer.status_code == 202
    assert answer.headers["Idempotent-Replayed"] == "true"
    told = answer.json()
    assert told["message"] == "unknown"
    found = message(server, told["id"])
    assert states(told) == states(found) == ["unknown"]
    assert [event["event"] for event in found["events"]] == ["stored", "lost"]
    return str(found["id"])


def test_a_message_whose_worker_dies_is_unknown_and_never_sent_again(
    fake: FakeServer, tmp_path: Path
) -> None:
    fake.script("aliyun", "timeout", "timeout")
    with ThreadPoolExecutor() as pool:
        with sending(tmp_path, fake, WORKERS="2", **PATIENT) as server:
            dying = pool.submit(send, server, FIRST, key=FIRST)
            wait_until(lambda: len(fake.asked()) == 1)
            assert send(server, FIRST, key=FIRST).status_code == 409
            kill_sender(tmp_path)
            with pytest.raises(requests.ConnectionError):
                dying.result()
            first = check_unknown(server, FIRST)
            # Then all of them at once.
            dying = pool.submit(send, server, SECOND, key=SECOND)
            wait_until(lambda: len(fake.asked()) == 2)
            kill_server(server)
            with pytest.raises(requests.ConnectionError):
                dying.result()
        with sending(tmp_path, fake, WORKERS="1", **PATIENT) as server:
            assert check_unknown(server, FIRST) == first
            check_unknown(server, SECOND)
    assert sends(fake) == {FIRST: 1, SECOND: 1}
    assert len(fake.asked()) == 2


class Storm:
    """Callers who ask again until they are answered, of servers that are killed."""

    def __init__(self, folder: Path, fake: FakeServer, dice: random.Random) -> None:
        self._folder = folder
        self._fake = fake
        self._dice = dice
        self._stack = ExitStack()
        self._over = threading.Event()
        self._next = count()
        self._taken: dict[str, str] = {}  # the message's id, by its receiver
        self._refused = set[str]()
        self.server = self._started()

    def run(self, rounds: int) -> None:
        """Have callers ask, and kill after some of their answers, now and again."""
        with self._stack, ThreadPoolExecutor(6) as pool:
            callers = [pool.submit(self._call) for _ in range(6)]
            try:
                for number in range(rounds):
                    asked = len(self._fake.asked()) + self._dice.randint(1, 20)
                    wait_until(lambda asked=asked: len(self._fake.asked()) >= asked)
                    if number % 3 == 2:
                        kill_server(self.server)
                        self.server = self._started()
                    else:
                        worker = self._dice.choice(self.server.workers()[1:])
                        with suppress(ProcessLookupError):
                            os.kill(worker, signal.SIGKILL)
            finally:
                self._over.set()
            for caller in callers:
                caller.result()

    def check(self) -> None:
        """Check that nobody was sent to twice, and that all is told as it was."""
        times = sends(self._fake)
        assert set(times.values()) == {1}
        assert self._refused.isdisjoint(times)
        unsure = 0
        for receiver, message_id in self._taken.items():
            [state] = self._settled(message_id)
            if state in ("sent", "rejected"):
                assert times[receiver] == (state == "sent"), (receiver, state)
            else:
                assert state == "unknown"
                unsure += 1
        assert unsure > 0
        queued = rows(self._folder, "SELECT 1 FROM messages WHERE finished IS NULL")
        assert queued == []

    def _settled(self, message_id: str) -> list[str]:
        def settled() -> list[str] | None:
            found = states(message(self.server, message_id))
            return None if "queued" in found else found

        return wait_until(settled) or []

    def _started(self) -> Server:
        order = {"SMS_PROVIDER": "aliyun,huawei", "WORKERS": "2"}
        started = sending(self._folder, self._fake, **order, LOG_LEVEL="CRITICAL")
        return self._stack.enter_context(started)

    def _call(self) -> None:
        while not self._over.is_set():
            number = next(self._next)
            receiver = f"+8613800{number:06}"
            query = "?async=1" if number % 3 == 0 else ""
            answer = self._asked(receiver, query)
            if answer.status_code in (200, 202):
                self._taken[receiver] = answer.json()["id"]
            else:  # which both refused
                assert answer.status_code == 502, answer.text
                self._refused.add(receiver)

    def _asked(self, receiver: str, query: str) -> requests.Response:
        """Ask, whichever server there is by then."""

        def ask() -> requests.Response | None:
            with suppress(requests.RequestException):
                answer = send(self.server, receiver, key=receiver, query=query)
                return answer if answer.status_code not in (409, 503) else None
            return None

        answer = wait_until(ask, seconds=60)
        assert answer is not None
        return answer


def test_whenever_servers_are_killed_nobody_is_sent_to_twice(
    tmp_path: Path, soak: bool
) -> None:
    dice = random.Random(5)
    with FakeServer(all_vendors(), delay_seconds=0.02) as fake:
        for vendor in ("aliyun", "huawei"):
            fake.script(vendor, *dice.choices(WHATEVER, k=2000))
        storm = Storm(tmp_path, fake, dice)
        storm.run(60 if soak else 3)
        with sending(tmp_path, fake, WORKERS="1", LOG_LEVEL="WARNING") as server:
            storm.server = server
            storm.check()


def test_at_the_end_of_a_server_the_rest_of_a_message_is_not_sent(
    tmp_path: Path,
) -> None:
    receivers = mainland(6)
    one = {"SMS_MAX_RUNNING": "1", "WORKERS": "1", "SMS_PROVIDER": "twilio"}
    with FakeServer(all_vendors(), timeout_seconds=2) as fake:
        fake.script("twilio", "success", "timeout")
        with sending(tmp_path, fake, **one) as server:
            begun = send(server, *receivers, query="?async=1").json()["id"]
            waits = send(server, SECOND, query="?async=1").json()["id"]
            wait_until(lambda: len(fake.asked()) == 2)
            assert server.stop() == 0
        asked = len(fake.asked())
        queued = "SELECT 1 FROM message_receivers WHERE state = 'queued'"
        assert rows(tmp_path, queued) == []
        with sending(tmp_path, fake, **one) as server:
            found = message(server, begun)
            assert states(found) == ["sent", "unknown", *["rejected"] * 4]
            for each in [*found["receivers"][2:], *message(server, waits)["receivers"]]:
                assert each["category"] == "request"
                assert each["provider_code"] in ("cancelled", "shutdown")
        assert asked == len(fake.asked()) == 2


class Cutting(FakeServer):
    """Takes the database away once a vendor has taken a message."""

    def __init__(self, cut: Any) -> None:
        super().__init__(all_vendors())
        self._cut = cut

    def handle(self, asked: Asked) -> Answer | None:
        answer = super().handle(asked)
        self._cut()
        return answer


def test_a_database_that_is_away_after_a_send_does_not_change_what_is_told(
    postgres: Postgres, tmp_path: Path
) -> None:
    with postgres.new_database() as url, ThreadPoolExecutor() as pool:
        name = url.partition("@/")[2].partition("?")[0]

        def allow(is_allowed: bool) -> None:
            postgres.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {is_allowed}")

        def cut() -> None:
            allow(False)
            postgres.execute(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                f" WHERE datname = '{name}'"
            )

        vendors = {"SMS_PROVIDER": "aliyun,twilio", "WORKERS": "2"}
        with (
            Cutting(cut) as fake,
            sending(tmp_path, fake, DATABASE_URL=url, **vendors) as server,
        ):
            sent = pool.submit(send, server, FIRST, key=FIRST)
            log = server.log_path
            wait_until(lambda: "sms.not_written" in log.read_text())
            allow(True)
            answer = sent.result()
            assert answer.status_code == 200
            assert states(answer.json()) == ["sent"]
            assert states(message(server, answer.json()["id"])) == ["sent"]
            # For longer than that is waited for: the second one is not asked for.
            partial = send(server, *mainland(2), provider="twilio")
            allow(True)
            assert partial.status_code == 207
            assert states(partial.json()) == ["sent", "rejected"]
            assert [each.vendor for each in fake.sent()] == ["aliyun", "twilio"]
