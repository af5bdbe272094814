"""Requests that are answered once, for a day, whatever became of their worker."""

import json
import random
import subprocess
import sys
import time
from dataclasses import replace
from unittest.mock import ANY

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from app.errors import KeyInFlight, KeyReused, StorageUnavailable
from app.storage.idempotency_store import IdempotencyStore
from app.storage.task_store import Admission, Room
from app.tasks import kept_requests
from app.tasks.kept_requests import (
    ANSWER_SECONDS,
    KEPT_SECONDS,
    START_SECONDS,
    Answer,
    KeptRequests,
    digest_of,
)
from app.tasks.worker import Worker
from tests.unit.storage.rows import task_row

DIGEST = digest_of("ann", "a route", "a key")
ASKED = {"cmd": "true", "env": {"A": "中文", "B": ""}, "wait_seconds": 5}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda part: st.lists(part) | st.dictionaries(st.text(), part),
    max_leaves=8,
)


@pytest.fixture
def kept(database):
    return KeptRequests(IdempotencyStore(database))


@pytest.fixture
def as_worker(monkeypatch):
    """Return what has requests come to another worker from now on."""

    def become(**changes):
        other = replace(Worker.current(), **changes)
        monkeypatch.setattr(Worker, "current", lambda: other)

    return become


@pytest.fixture
def later(monkeypatch):
    """Return what moves the clock on."""

    def move(seconds):
        now = time.time()
        monkeypatch.setattr(kept_requests.time, "time", lambda: now + seconds)

    return move


def start(store):
    """Start a task for the request; return its id."""
    row = task_row(slot=None)
    store.add(row, Admission(Room(9), request=DIGEST))
    return row["task_id"]


def answer(kept, body=b"{}\n", **headers):
    kept.keep(DIGEST, status=201, headers=headers, body=body)


def dead_pid():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


class TestAnswer:
    def test_it_is_given_again_byte_for_byte(self, kept):
        assert kept.begin(DIGEST, asked=ASKED) is None
        answer(kept, b'{"a": "\xff\0"}\n', Location="/v3/task/1")
        for _ in range(2):
            again = kept.begin(DIGEST, asked=ASKED)
            headers = {"Location": "/v3/task/1"}
            assert again == Answer(None, 201, headers, b'{"a": "\xff\0"}\n')

    def test_until_there_is_one_the_request_is_in_flight(self, kept, store):
        kept.begin(DIGEST, asked=ASKED)
        with pytest.raises(KeyInFlight):
            kept.begin(DIGEST, asked=ASKED)
        start(store)
        with pytest.raises(KeyInFlight):
            kept.begin(DIGEST, asked=ASKED)

    def test_something_else_is_refused_before_and_after_it(self, kept):
        kept.begin(DIGEST, asked=ASKED)
        with pytest.raises(KeyReused):
            kept.begin(DIGEST, asked=ASKED | {"cmd": "false"})
        answer(kept)
        with pytest.raises(KeyReused):
            kept.begin(DIGEST, asked=ASKED | {"cmd": "false"})

    def test_a_day_later_all_is_forgotten(self, kept, later):
        kept.begin(DIGEST, asked=ASKED)
        answer(kept)
        later(KEPT_SECONDS - 60)
        kept.remove_old()
        assert kept.begin(DIGEST, asked=ASKED) is not None
        later(120)
        kept.remove_old()
        assert kept.begin(DIGEST, asked="something else") is None
        assert KEPT_SECONDS == 24 * 3600


class TestSame:
    @given(asked=JSON, seed=st.integers())
    def test_what_json_says_is_the_same_however_it_is_written(self, asked, seed):
        shuffled = shuffle(asked, random.Random(seed))
        text = json.dumps(shuffled, indent=seed % 4, ensure_ascii=bool(seed % 2))
        assert kept_requests._digest(json.loads(text)) == kept_requests._digest(asked)

    @pytest.mark.parametrize(
        ("one", "other"),
        [(1, 1.0), ([0], [-0.0]), ({"a": 100}, {"a": 1e2}), ((1,), [1])],
    )
    def test_numbers_are_the_same_by_their_value(self, one, other):
        assert kept_requests._digest(one) == kept_requests._digest(other)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (1, True),
            (0, False),
            (0, None),
            (1, "1"),
            (1, 1.5),
            ([1, 2], [2, 1]),
            ({}, []),
            ({"a": None}, {}),
            ({"a": {"b": 1}}, {"a": 1, "b": {}}),
            ("é", "e\u0301"),
            (["a", "b"], ["ab"]),
        ],
    )
    def test_what_is_not_the_same_is_told_apart(self, one, other):
        assert kept_requests._digest(one) != kept_requests._digest(other)

    def test_parts_of_a_key_do_not_run_into_each_other(self):
        texts = [("ab", "c", "d"), ("a", "bc", "d"), ('a", "b', "c", "d")]
        assert len({digest_of(*parts) for parts in texts}) == 3

    def test_a_surrogate_alone_is_a_text_as_any_other(self, kept):
        assert kept.begin(DIGEST, asked={"cmd": "\ud800"}) is None
        with pytest.raises(KeyReused):
            kept.begin(DIGEST, asked={"cmd": "\ud801"})


def shuffle(value, chance):
    if isinstance(value, dict):
        members = [(name, shuffle(each, chance)) for name, each in value.items()]
        chance.shuffle(members)
        return dict(members)
    if isinstance(value, list):
        return [shuffle(each, chance) for each in value]
    return value


class TestRefused:
    def test_it_comes_for_the_first_time_again(self, kept):
        kept.begin(DIGEST, asked=ASKED)
        kept.forget(DIGEST)
        assert kept.begin(DIGEST, asked="something else") is None

    def test_what_has_started_a_task_is_answered_with_that(self, kept, store):
        kept.begin(DIGEST, asked=ASKED)
        task_id = start(store)
        kept.forget(DIGEST)
        for _ in range(2):
            assert kept.begin(DIGEST, asked=ASKED) == Answer(task_id, None, {}, b"")
        with pytest.raises(KeyReused):
            kept.begin(DIGEST, asked="something else")


class TestDeath:
    @pytest.mark.parametrize("identity", [{"pid": dead_pid()}, {"start_ticks": 1}])
    def test_before_a_start_the_key_can_be_used_again(
        self, kept, as_worker, identity, monkeypatch
    ):
        with monkeypatch.context():
            as_worker(**identity)
            kept.begin(DIGEST, asked=ASKED)
        monkeypatch.undo()
        assert kept.begin(DIGEST, asked=ASKED) is None
        with pytest.raises(KeyInFlight):
            kept.begin(DIGEST, asked=ASKED)

    def test_after_a_start_the_task_is_the_answer(
        self, kept, store, as_worker, monkeypatch
    ):
        as_worker(start_ticks=1)
        kept.begin(DIGEST, asked=ASKED)
        task_id = start(store)
        monkeypatch.undo()
        assert kept.begin(DIGEST, asked=ASKED) == Answer(task_id, None, {}, b"")

    def test_of_another_boot_it_is_known_when_the_time_for_it_is_over(
        self, kept, store, as_worker, later, monkeypatch
    ):
        as_worker(boot="another")
        kept.begin(DIGEST, asked=ASKED)
        monkeypatch.undo()
        later(START_SECONDS - 1)
        with pytest.raises(KeyInFlight):
            kept.begin(DIGEST, asked=ASKED)
        task_id = start(store)
        later(1)
        with pytest.raises(KeyInFlight):
            kept.begin(DIGEST, asked=ASKED)
        later(ANSWER_SECONDS)
        assert kept.begin(DIGEST, asked=ASKED) == Answer(task_id, None, {}, b"")

    def test_one_thought_dead_starts_nothing_beside_who_took_its_place(
        self, kept, store, later
    ):
        kept.begin(DIGEST, asked=ASKED)
        later(START_SECONDS)
        assert kept.begin(DIGEST, asked=ASKED) is None
        task_id = start(store)
        with pytest.raises(KeyInFlight):
            start(store)
        later(ANSWER_SECONDS)
        assert kept.begin(DIGEST, asked=ASKED) == Answer(task_id, None, {}, b"")


class TestWithoutTheRecords:
    @pytest.fixture
    def away(self, monkeypatch):
        def fail(*args, **values):
            raise StorageUnavailable from OSError("away")

        def go(name):
            monkeypatch.setattr(IdempotencyStore, name, fail)

        return go

    def test_nothing_is_begun(self, kept, away):
        away("begin")
        with pytest.raises(StorageUnavailable):
            kept.begin(DIGEST, asked=ASKED)

    def test_an_answer_that_cannot_be_kept_is_told_and_the_task_is_the_answer(
        self, kept, store, away, later
    ):
        kept.begin(DIGEST, asked=ASKED)
        task_id = start(store)
        away("answer")
        with capture_logs() as logs:
            answer(kept)
        fact = {"event": "request.not_kept", "error": "away", "log_level": ANY}
        assert logs == [fact]
        later(ANSWER_SECONDS)
        assert kept.begin(DIGEST, asked=ASKED) == Answer(task_id, None, {}, b"")

    def test_a_refusal_that_cannot_be_forgotten_is_told_and_is_soon(
        self, kept, away, later
    ):
        kept.begin(DIGEST, asked=ASKED)
        away("forget")
        with capture_logs() as logs:
            kept.forget(DIGEST)
        assert [entry["event"] for entry in logs] == ["request.not_forgotten"]
        later(START_SECONDS)
        assert kept.begin(DIGEST, asked=ASKED) is None
