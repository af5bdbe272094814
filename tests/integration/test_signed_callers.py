"""Signed uuids on real servers: who is let in, and how often."""

import base64
import hashlib
import hmac
import os
import random
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_from_bytes

import pytest
import requests

from tests.api.checks import problem
from tests.callers import (
    ADMIN,
    add_user,
    each_worker,
    issue_key,
    production,
    signature,
    signed,
)
from tests.racing import race_threads
from tests.servers import PROJECT, Server, wait_until

SEED = 20
# Of which a small dose has every fifth.
ALTERED = 2000
MAX_RUNNING = 3

# The shape of openssl's line, for machines that have none.
OPENSSL = """#!{python}
import hashlib, hmac, sys
assert sys.argv[1:4] == ["dgst", "-sha256", "-hmac"] and sys.argv[5:] == ["-r"]
key, text = sys.argv[4].encode(), sys.stdin.buffer.read()
print(hmac.new(key, text, hashlib.sha256).hexdigest(), "*stdin")
"""
RECIPE = """
ts=$(date +%s)
uuid="bob.$ts.$(printf %s "bob.$ts" | openssl dgst -sha256 -hmac "$key" -r | \
cut -d' ' -f1)"
echo "$uuid"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    workers = ("-w", "4", "--keep-alive", "100")
    room = {"EXEC_MAX_RUNNING": str(MAX_RUNNING), "EXEC_MAX_QUEUED": "0"}
    with production(folder, *workers, **room) as started:
        yield started


@pytest.fixture(scope="module")
def workers(server: Server) -> Iterator[list[requests.Session]]:
    with each_worker(server) as found:
        assert len(found) == 4
        yield found


class Caller:
    """A user who signs; each uuid has a time of its own, and so is another one."""

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.pair = add_user(server, name)
        self.name = name
        self.key = issue_key(server, self.pair)
        self._ago_seconds = 0

    def uuid(self) -> str:
        """Return a uuid that was not given before."""
        self._ago_seconds += 2  # the clock may tick once in between
        return signed(self.name, self.key, ago_seconds=self._ago_seconds)

    def poll_until_finished(self) -> dict[str, Any]:
        """Return the last poll."""
        return self.server.poll_until_finished(self.uuid())[-1]


@pytest.fixture
def caller(server: Server) -> Caller:
    return Caller(server, f"user-{secrets.token_hex(4)}")


def start(
    server: Server, uuid: str, cmd: str, session: Any = requests
) -> requests.Response:
    url = f"{server.url}/api/exec/{quote(uuid, safe='')}"
    return session.post(url, json={"cmd": cmd}, timeout=60)


def append_to(path: Path) -> str:
    """Return the command whose effects can be counted."""
    return f"append file={path}"


def effects(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


class Altered:
    """Uuids that nobody has signed just now, made of good ones."""

    def __init__(self, of: Caller, others: dict[str, str], retired_key: str) -> None:
        self.name, self.key = of.name, of.key
        self.others = others
        self.retired_key = retired_key
        self.random = random.Random(SEED)
        self.now = int(time.time())

    def all(self) -> list[str]:
        """Return the path's last part of each, quoted, in any order."""
        texts = [
            *self._other_callers(),
            *self._other_times(),
            *self._other_keys(),
            *self._other_alphabets(),
            *self._torn(),
        ]
        found = {quote(text, safe="") for text in texts if "/" not in text}
        while len(found) < ALTERED:
            flipped = self._flipped()
            if b"/" not in flipped:  # or it is another path
                found.add(quote_from_bytes(flipped, safe=""))
        paths = sorted(found)
        self.random.shuffle(paths)
        return paths

    def _good(self, ago_seconds: int = 0) -> tuple[str, str, str]:
        time_text = str(self.now - ago_seconds)
        signature_of = signature(self.key, f"{self.name}.{time_text}")
        return self.name, time_text, signature_of

    def _other_callers(self) -> Iterator[str]:
        name, moment, good = self._good()
        homoglyph = f"{name[:-1]}\u0430"
        for other in (*self.others, "nobody", name.upper(), f"{name}.", homoglyph):
            yield f"{other}.{moment}.{good}"
        for other, key in self.others.items():
            yield f"{name}.{moment}.{signature(key, f'{name}.{moment}')}"
            yield f"{name}.{moment}.{signature(key, f'{other}.{moment}')}"
            yield f"{other}.{moment}.{signature(self.key, f'{other}.{moment}')}"
            yield f"{other}.{name}.{moment}.{good}"
            yield f"{name}.{other}.{moment}.{signature(key, f'{name}.{moment}')}"

    def _other_times(self) -> Iterator[str]:
        old = [301, 302, 330, 400, 3600, 86400, 10**9, self.now, self.now - 1]
        ahead = [200, 300, 301, 3600, 86400, 10**9, 10**13]
        for ago_seconds in (*old, *(-seconds for seconds in ahead)):
            yield ".".join(self._good(ago_seconds))
        name, moment, good = self._good()
        for other in range(1, 200):
            yield f"{name}.{self.now + other}.{good}"
            yield f"{name}.{self.now - other}.{good}"
        for text in ("", "-1", f"-{moment}", f"+{moment}", f"0{moment}", f"{moment}.0"):
            yield f"{name}.{text}.{good}"
        for text in (f"{moment}e0", "9" * 16, "9" * 400, "0x1", "1_0", "inf", "nan"):
            # Signed as they are, which does not make them a time.
            yield f"{name}.{text}.{signature(self.key, f'{name}.{text}')}"

    def _other_keys(self) -> Iterator[str]:
        name, moment, _ = self._good()
        text = f"{name}.{moment}"
        for key in (self.retired_key, "", self.key[:-1], self.key.upper(), name, "0"):
            yield f"{text}.{signature(key, text)}"
        for _ in range(100):
            yield f"{text}.{signature(secrets.token_hex(32), text)}"
        raw = bytes.fromhex(self.key)
        yield f"{text}.{hmac.new(raw, text.encode(), hashlib.sha256).hexdigest()}"
        for algorithm in ("md5", "sha1", "sha512", "sha3_256"):
            made = hmac.new(self.key.encode(), text.encode(), algorithm)
            yield f"{text}.{made.hexdigest()}"
        for plain in (text, self.key + text, text + self.key):
            yield f"{text}.{hashlib.sha256(plain.encode()).hexdigest()}"
        for part in (name, moment, f"{name}{moment}", f"{text}.", f"{text}\n"):
            yield f"{text}.{signature(self.key, part)}"

    def _other_alphabets(self) -> Iterator[str]:
        name, moment, good = self._good()
        raw = bytes.fromhex(good)
        wide = good.translate({ord(d): ord(d) + 0xFEE0 for d in "0123456789"})
        for text in (
            good.upper(),
            base64.b64encode(raw).decode(),
            base64.urlsafe_b64encode(raw).decode(),
            base64.b32encode(raw).decode(),
            wide,
            good[::-1],
            f"0x{good}",
            f"sha256={good}",
            str(int(good, 16)),
            "0" * 64,
            "",
            good * 2,
        ):
            yield f"{name}.{moment}.{text}"
        arabic = moment.translate({ord("0") + n: 0x660 + n for n in range(10)})
        yield f"{name}.{arabic}.{good}"
        whole = f"{name}.{moment}.{good}"
        for extra in (" ", "\t", "\n", "\r\n", "\0", "\u2028", "=", ".", ";", "é", "0"):
            yield whole + extra
            yield extra + whole
        for sign in ("-", ":", "_", " ", "..", "%2e", "\0"):
            yield sign.join([name, moment, good])

    def _torn(self) -> Iterator[str]:
        whole = ".".join(self._good())
        for at in range(1, len(whole)):
            yield whole[:at]
            yield whole[at:]

    def _flipped(self) -> bytes:
        whole = bytearray(".".join(self._good(self.random.randrange(250))).encode())
        count = self.random.choice((1, 1, 1, 2, 3))
        for bit in self.random.sample(range(8 * len(whole)), count):
            whole[bit // 8] ^= 1 << bit % 8
        return bytes(whole)


def test_altered_uuids_are_refused_and_the_good_one_is_not(
    server: Server, tmp_path: Path, soak: bool
) -> None:
    ann = Caller(server, "ann")
    retired, ann.key = ann.key, issue_key(server, ann.pair)
    others = {name: Caller(server, name).key for name in ("anna", "alice")}
    others["admin"] = issue_key(server, ADMIN)
    altered = Altered(ann, others, retired).all()
    assert len(altered) >= ALTERED
    altered = altered[:: 1 if soak else 5]

    mark = tmp_path / "started"
    with ThreadPoolExecutor(8) as pool:
        parts = [altered[first::8] for first in range(8)]
        told = list(pool.map(partial(_statuses, server, append_to(mark)), parts))
    let_in = {path: found for of_one in told for path, found in of_one.items()}
    assert let_in == {}
    assert not mark.exists()

    assert start(server, ann.uuid(), append_to(mark)).status_code == 202
    assert ann.poll_until_finished()["returncode"] == 0
    assert effects(mark) == 1


def _statuses(server: Server, cmd: str, paths: list[str]) -> dict[str, set[int]]:
    """Return what each is told that is not told 401 by a start, a poll, a HEAD."""
    found = {}
    with requests.Session() as session:
        for number, path in enumerate(paths):
            url = f"{server.url}/api/exec/{path}"
            statuses = {session.post(url, json={"cmd": cmd}, timeout=60).status_code}
            if number % 4 == 0:
                poll = url.replace("/exec/", "/poll/")
                statuses |= {
                    session.request(method, poll, timeout=60).status_code
                    for method in ("GET", "POST", "HEAD")
                }
            if statuses != {401}:
                found[path] = statuses
    return found


class TestOneStart:
    def test_of_twenty_racing_uses_over_four_workers_one_starts(
        self,
        server: Server,
        workers: list[requests.Session],
        caller: Caller,
        tmp_path: Path,
    ) -> None:
        for number in range(5):
            uuid, mark = caller.uuid(), tmp_path / f"race-{number}"
            # Four of them on a connection to each worker, the others where they come.
            sessions = [*workers, *[requests] * 16]

            def use(racer: int, uuid: str = uuid, mark: Path = mark) -> int:
                answer = start(server, uuid, append_to(mark), sessions[racer])  # noqa: B023
                return answer.status_code

            statuses = race_threads(20, use)
            assert statuses.count(202) == 1
            assert set(statuses) <= {202, 401, 409}
            assert caller.poll_until_finished()["returncode"] == 0
            assert [use(racer) for racer in range(8)] == [401] * 8, "it was used"
            assert effects(mark) == 1

    def test_racing_uuids_of_a_caller_start_one_and_the_others_stay_good(
        self, server: Server, caller: Caller, tmp_path: Path
    ) -> None:
        mark, gate = tmp_path / "started", tmp_path / "gate"
        assert start(server, caller.uuid(), f"hold gate={gate}").status_code == 202
        uuids = [caller.uuid() for _ in range(8)]

        def use(number: int) -> int:
            return start(server, uuids[number], append_to(mark)).status_code

        assert race_threads(8, use) == [409] * 8
        gate.touch()
        for number in range(8):
            caller.poll_until_finished()
            assert use(number) == 202, "a refused start has not used it up"
        assert caller.poll_until_finished()["returncode"] == 0
        assert effects(mark) == 8

    def test_a_used_uuid_polls_on(self, server: Server, caller: Caller) -> None:
        uuid = caller.uuid()
        assert start(server, uuid, "append file=/dev/null").status_code == 202
        assert server.poll_until_finished(uuid)[-1]["returncode"] == 0
        assert start(server, uuid, "append file=/dev/null").status_code == 401
        assert server.poll(uuid) == {"mode": "poll", "status": "finished"}

    def test_polls_use_none_up(
        self,
        server: Server,
        workers: list[requests.Session],
        caller: Caller,
        tmp_path: Path,
    ) -> None:
        uuid = caller.uuid()
        url = f"{server.url}/api/poll/{uuid}"
        for worker in workers:
            for method in ("GET", "POST", "HEAD", "OPTIONS"):
                assert worker.request(method, url, timeout=60).status_code == 200
        assert start(server, uuid, append_to(tmp_path / "ran")).status_code == 202
        assert caller.poll_until_finished()["returncode"] == 0

    @pytest.mark.parametrize(
        ("status", "request_"),
        [
            (400, {"data": "{", "headers": {"Content-Type": "application/json"}}),
            (400, {"json": {"cmd": "append file=/dev/null", "colour": "red"}}),
            (400, {"json": {"cmd": "append"}}),
            (400, {"json": {"cmd": "append 'torn"}}),
            (400, {"json": {"cmd": 3}}),
            (403, {"json": {"cmd": "rm -rf /nonexistent"}}),
            (403, {"json": {"cmd": "true"}, "headers": {"Origin": "http://a.test"}}),
            (413, {"json": {"cmd": "x" * 1024 * 1024}}),
            (415, {"data": "cmd=true", "headers": {"Content-Type": "text/plain"}}),
        ],
        ids=lambda value: str(value) if isinstance(value, int) else "",
    )
    def test_a_refused_start_does_not_use_it_up(
        self, server: Server, caller: Caller, status: int, request_: dict[str, Any]
    ) -> None:
        uuid = caller.uuid()
        problem(server.post(f"/api/exec/{uuid}", **request_), status)
        assert start(server, uuid, "append file=/dev/null").status_code == 202
        assert caller.poll_until_finished()["returncode"] == 0

    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH"])
    def test_no_other_method_uses_it_up(
        self, server: Server, caller: Caller, method: str
    ) -> None:
        uuid = caller.uuid()
        url = f"{server.url}/api/exec/{uuid}"
        assert requests.request(method, url, timeout=60).status_code == 405
        forged = requests.request(method, f"{url[:-1]}x", timeout=60)
        assert forged.status_code == 401, "who may not learns no methods"
        assert start(server, uuid, "append file=/dev/null").status_code == 202
        assert caller.poll_until_finished()["returncode"] == 0

    def test_where_the_server_is_full_it_is_not_used_up(
        self, server: Server, caller: Caller, tmp_path: Path
    ) -> None:
        gate, uuid = tmp_path / "gate", caller.uuid()
        hold = {"command": "hold", "params": {"gate": str(gate)}}
        held = [
            server.post("/v3/exec/", json=hold, auth=ADMIN).json()["task_id"]
            for _ in range(MAX_RUNNING)
        ]
        for _ in range(3):
            full = start(server, uuid, "append file=/dev/null")
            assert problem(full, 429, shown="busy")["mode"] == "exec"
        gate.touch()

        def free() -> bool:
            tasks = [server.get(f"/v3/task/{held_id}", auth=ADMIN) for held_id in held]
            return all("finished" in task.json() for task in tasks)

        wait_until(free)
        assert start(server, uuid, "append file=/dev/null").status_code == 202
        assert caller.poll_until_finished()["returncode"] == 0

    def test_many_distinct_uuids_start_one_each(
        self, server: Server, caller: Caller, tmp_path: Path
    ) -> None:
        mark = tmp_path / "started"
        uuids = [caller.uuid() for _ in range(15)]
        for uuid in uuids:
            assert start(server, uuid, append_to(mark)).status_code == 202
            assert start(server, uuid, append_to(mark)).status_code == 401
            assert caller.poll_until_finished()["returncode"] == 0
        assert effects(mark) == len(uuids)


def test_the_slot_is_the_caller_s_whatever_uuid_it_has(
    server: Server, caller: Caller, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    accepted = start(server, caller.uuid(), f"hold gate={gate}")
    task = accepted.json()["links"][1]["href"]
    assert server.poll(caller.uuid())["status"] == "running"
    assert server.get(task, auth=caller.pair).json()["owner"] == caller.name
    other = Caller(server, f"{caller.name}-other")
    assert server.poll(other.uuid()) == {"mode": "poll", "status": "finished"}
    assert server.get(task, auth=other.pair).status_code == 404
    gate.touch()
    assert caller.poll_until_finished()["task_id"] == accepted.json()["task_id"]


def test_a_used_uuid_stays_used_and_others_stay_good_over_a_restart(
    tmp_path: Path,
) -> None:
    mark = tmp_path / "started"
    with production(tmp_path, "-w", "1") as server:
        bob = Caller(server, "bob")
        used, unused = bob.uuid(), bob.uuid()
        assert start(server, used, append_to(mark)).status_code == 202
        assert bob.poll_until_finished()["returncode"] == 0
    with production(tmp_path, "-w", "1") as server:
        assert start(server, used, append_to(mark)).status_code == 401
        assert start(server, unused, append_to(mark)).status_code == 202
        bob.server = server
        assert bob.poll_until_finished()["returncode"] == 0
    assert effects(mark) == 2


class TestRecipe:
    @pytest.fixture
    def path(self, tmp_path: Path) -> str:
        """Return a PATH on which there is an openssl."""
        if shutil.which("openssl"):
            return os.environ["PATH"]
        (tmp_path / "openssl").write_text(OPENSSL.format(python=sys.executable))
        (tmp_path / "openssl").chmod(0o755)
        return f"{tmp_path}:{os.environ['PATH']}"

    def test_a_shell_makes_a_uuid_with_openssl(
        self, server: Server, path: str, tmp_path: Path
    ) -> None:
        pair = add_user(server, "bob")
        made = subprocess.run(
            ["/bin/sh", "-euc", RECIPE],
            env={"PATH": path, "key": issue_key(server, pair)},
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=True,
        )
        uuid = made.stdout.strip()
        mark = tmp_path / "started"
        assert start(server, uuid, append_to(mark)).status_code == 202
        assert server.poll_until_finished(uuid)[-1]["returncode"] == 0
        assert effects(mark) == 1
