import threading
from typing import Any

import pytest
from argon2 import Type, extract_parameters

from app.auth import passwords
from app.auth.passwords import Passwords
from app.errors import PasswordChecksExceeded
from tests.racing import race_threads
from tests.servers import wait_until

REAL = {
    name: getattr(passwords, name) for name in ("MEMORY_KIB", "PASSES", "LANES")
}  # before a fixture makes them small


class Recorder:
    """Passes on to a hasher what it is asked, and keeps it; `gate` holds it up."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.hashed: list[bytes] = []
        self.verified: list[tuple[str, bytes]] = []
        self.at_once = self.most_at_once = 0
        self.gate = threading.Event()
        self.gate.set()

    def hash(self, password: bytes) -> str:
        self.hashed.append(password)
        return self._real.hash(password)

    def verify(self, kept_hash: str, password: bytes) -> bool:
        self.verified.append((kept_hash, password))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            self.gate.wait(30)
            return self._real.verify(kept_hash, password)
        finally:
            self.at_once -= 1


def make(max_waiting: int = 4) -> tuple[Passwords, Recorder]:
    made = Passwords(max_waiting=max_waiting)
    made._hasher = recorder = Recorder(made._hasher)
    return made, recorder


def test_a_hash_is_argon2id_with_what_owasp_asks_at_least(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in REAL.items():
        monkeypatch.setattr(passwords, name, value)
    made = Passwords(max_waiting=1)
    kept_hash = made.hash("secret")
    parameters = extract_parameters(kept_hash)
    assert kept_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert parameters.type is Type.ID
    assert parameters.memory_cost >= 19 * 1024
    assert parameters.time_cost >= 2
    assert (parameters.salt_len, parameters.hash_len) == (16, 32)
    assert made.verify(kept_hash, "secret")
    assert not made.verify(kept_hash, "Secret")
    assert extract_parameters(made._nobodys) == parameters


def test_two_hashes_of_a_password_differ_and_show_nothing_of_it() -> None:
    made = Passwords(max_waiting=1)
    hashes = {made.hash("secret") for _ in range(5)}
    assert len(hashes) == 5
    assert not any("secret" in each for each in hashes)


@pytest.mark.parametrize(
    "password",
    ["", " ", "a", "p" * 100_000, "a\0b", "中文密码", "\ud800", "e\u0301"],
)
def test_any_text_is_a_password_and_no_other_is_it(password: str) -> None:
    made = Passwords(max_waiting=1)
    kept_hash = made.hash(password)
    assert made.verify(kept_hash, password)
    for other in (f"{password} ", f"{password}\0", f"{password}\n", "?", "\u00e9"):
        assert not made.verify(kept_hash, other)


def test_a_password_is_told_from_what_is_left_of_it_before_a_nul() -> None:
    made = Passwords(max_waiting=1)
    assert not made.verify(made.hash("secret\0tail"), "secret")
    assert not made.verify(made.hash("secret"), "secret\0tail")


@pytest.mark.parametrize(
    "kept_hash", ["", "secret", "!", "$argon2id$", "$argon2id$v=19$m=8,t=1,p=1$x$y"]
)
@pytest.mark.parametrize("password", ["", "secret", "!"])
def test_what_is_no_hash_is_the_hash_of_no_password(
    kept_hash: str, password: str
) -> None:
    assert not Passwords(max_waiting=1).verify(kept_hash, password)


@pytest.mark.parametrize("password", ["", "secret"])
def test_nobody_has_a_password_and_a_hash_is_checked_all_the_same(
    password: str,
) -> None:
    made, recorder = make()
    assert not made.verify(None, password)
    ((checked, given),) = recorder.verified
    assert given == password.encode()
    assert extract_parameters(checked) == extract_parameters(made.hash("any"))


@pytest.mark.parametrize("is_first", [True, False])
def test_a_wrong_password_and_nobody_take_the_same_work(is_first: bool) -> None:
    kept_hash = Passwords(max_waiting=1).hash("secret")
    work = []
    for which in (kept_hash, None):
        made, recorder = make()
        if not is_first:
            made.verify(kept_hash, "secret")
        before = len(recorder.hashed), len(recorder.verified)
        assert not made.verify(which, "wrong")
        after = len(recorder.hashed), len(recorder.verified)
        work.append([now - then for now, then in zip(after, before, strict=True)])
    assert work == [[int(is_first), 1]] * 2


def test_one_hash_is_made_at_a_time() -> None:
    made, recorder = make(max_waiting=16)
    kept_hash = made.hash("secret")
    assert race_threads(12, lambda _: made.verify(kept_hash, "secret")) == [True] * 12
    assert (len(recorder.verified), recorder.most_at_once) == (12, 1)


def test_no_more_wait_for_their_turn_than_may() -> None:
    made, recorder = make(max_waiting=3)
    kept_hash = made.hash("secret")
    recorder.gate.clear()
    results: list[bool] = []

    def check() -> None:
        results.append(made.verify(kept_hash, "secret"))

    threads = [threading.Thread(target=check) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: made._places._value == 0)
    for which in (kept_hash, None):
        with pytest.raises(PasswordChecksExceeded):
            made.verify(which, "secret")
    recorder.gate.set()
    for thread in threads:
        thread.join()
    assert results == [True] * 3
    assert len(recorder.verified) == 3, "no work was done for those who were sent away"
    assert made.verify(kept_hash, "secret"), "there is room again"


def test_a_check_that_fails_gives_its_place_back() -> None:
    made, recorder = make(max_waiting=1)
    recorder._real = None
    for _ in range(3):
        with pytest.raises(AttributeError):
            made.verify("$argon2id$", "secret")
