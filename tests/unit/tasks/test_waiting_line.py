"""Who waits goes on when told that it is its turn, in whichever worker it waits."""

import threading
from collections.abc import Sequence
from functools import partial

import pytest
from structlog.testing import capture_logs

from app.errors import StorageUnavailable
from app.tasks import waiting_line
from app.tasks.waiting_line import WaitingLine
from app.tasks.worker import Worker
from tests.servers import wait_until


class Turns:
    """Says whose turn it is; what is not known of a line's task is not its turn."""

    def __init__(self) -> None:
        self.free: set[str] = set()
        self.looks: list[list[str]] = []
        self.faults: list[Exception] = []

    def claim(self, task_ids: Sequence[str]) -> list[str]:
        self.looks.append(list(task_ids))
        if self.faults:
            raise self.faults.pop()
        return [each for each in task_ids if each in self.free]


@pytest.fixture
def turns():
    return Turns()


@pytest.fixture
def make_line(tmp_path, notices):
    lines = []

    def make():
        lines.append(WaitingLine(tmp_path / "queue", notices=notices))
        return lines[-1]

    yield make
    for line in lines:
        line.close()


@pytest.fixture
def line(make_line):
    return make_line()


@pytest.fixture
def gone():
    """Return who went on, in order."""
    return []


@pytest.fixture
def only_when_told(monkeypatch):
    monkeypatch.setattr(waiting_line, "LOOK_SECONDS", 60)


def add(line, task_id, turns, gone):
    line.add(task_id, partial(gone.append, task_id), claim=turns.claim)


def let_in(line, *task_ids):
    line.let_in((task_id, str(Worker.current())) for task_id in task_ids)


def threads():
    return [t for t in threading.enumerate() if t.name == "waiting-line"]


def marks(tmp_path):
    return list((tmp_path / "queue").glob("*"))


class TestTurn:
    def test_they_go_on_in_the_order_of_their_turns_and_once(self, line, turns, gone):
        def claim(task_ids):
            return sorted(turns.claim(task_ids), reverse=True)

        for task_id in "abc":
            line.add(task_id, partial(gone.append, task_id), claim=claim)
        wait_until(lambda: turns.looks)
        turns.free = set("abc")
        wait_until(lambda: len(gone) == 3)
        assert gone == ["c", "b", "a"]
        assert line.task_ids() == []

    def test_who_is_not_let_in_waits_on(self, line, turns, gone):
        add(line, "a", turns, gone)
        add(line, "b", turns, gone)
        let_in(line, "b")
        assert gone == ["b"]
        assert line.task_ids() == ["a"]
        looks = len(turns.looks)
        wait_until(lambda: len(turns.looks) > looks)
        assert turns.looks[-1] == ["a"]

    @pytest.mark.usefixtures("only_when_told")
    def test_another_worker_s_word_is_heard(self, make_line, turns, gone, tmp_path):
        one, other = make_line(), make_line()
        add(one, "a", turns, gone)
        wait_until(lambda: turns.looks and marks(tmp_path))
        turns.free = {"a"}
        wait_until(lambda: let_in(other, "a") or gone)

    def test_nobody_s_word_is_needed(self, line, turns, gone):
        add(line, "a", turns, gone)
        turns.free = {"a"}
        wait_until(lambda: gone)

    def test_nobody_s_word_is_heard_where_no_mark_can_be_made(
        self, line, turns, gone, tmp_path
    ):
        (tmp_path / "queue").write_text("a file, where the folder should be")
        with capture_logs() as logs:
            add(line, "a", turns, gone)
            wait_until(lambda: turns.looks)
        turns.free = {"a"}
        wait_until(lambda: gone)
        assert [entry["event"] for entry in logs] == ["queue.not_told"]

    @pytest.mark.parametrize("fault", [StorageUnavailable(), ValueError("of ours")])
    def test_a_look_that_fails_is_logged_and_the_next_one_sees(
        self, line, turns, gone, fault
    ):
        turns.free, turns.faults = {"a"}, [fault, fault]
        with capture_logs() as logs:
            add(line, "a", turns, gone)
            wait_until(lambda: gone)
        assert [entry["event"] for entry in logs] == ["queue.not_seen"] * 2

    def test_one_that_cannot_go_on_does_not_hold_up_others(self, line, turns, gone):
        def fail():
            raise ValueError("a fault of ours")

        turns.free = set("ab")
        with capture_logs() as logs:
            line.add("a", fail, claim=turns.claim)
            add(line, "b", turns, gone)
            wait_until(lambda: gone == ["b"])
        assert "queue.not_seen" in {entry["event"] for entry in logs}


class TestTakenOut:
    def test_who_is_taken_out_does_not_go_on(self, line, turns, gone):
        add(line, "a", turns, gone)
        add(line, "b", turns, gone)
        assert line.take_out("a")
        assert not line.take_out("a")
        turns.free = set("ab")
        wait_until(lambda: gone == ["b"])

    def test_also_between_its_turn_and_its_going_on(self, line, gone):
        def claim(task_ids):
            line.take_out("a")
            return list(task_ids)

        for task_id in "ab":
            line.add(task_id, partial(gone.append, task_id), claim=claim)
        wait_until(lambda: gone == ["b"])

    def test_who_has_gone_on_is_not_taken_out(self, line, turns, gone):
        turns.free = {"a"}
        add(line, "a", turns, gone)
        wait_until(lambda: gone)
        assert not line.take_out("a")


class TestThread:
    def test_there_is_one_while_any_waits_and_none_else(
        self, line, turns, gone, tmp_path
    ):
        let_in(line, "a")
        assert threads() == []
        for _ in range(2):
            turns.free = set()
            add(line, "a", turns, gone)
            add(line, "b", turns, gone)
            assert len(threads()) == 1
            let_in(line, "a", "b")
            wait_until(lambda: threads() == [])
            assert marks(tmp_path) == []
        assert gone == ["a", "b"] * 2

    def test_one_that_comes_when_the_last_one_goes_is_not_forgotten(
        self, line, turns, gone
    ):
        turns.free = {str(number) for number in range(300)}
        for number in range(300):
            add(line, str(number), turns, gone)
        wait_until(lambda: len(gone) == 300)
        assert sorted(gone) == sorted(turns.free)

    def test_without_one_nobody_waits_and_the_next_one_can(
        self, line, turns, gone, monkeypatch
    ):
        def refuse(thread):
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError):
                add(line, "a", turns, gone)
        assert line.task_ids() == []
        turns.free = set("ab")
        add(line, "b", turns, gone)
        wait_until(lambda: gone == ["b"])


class TestClose:
    @pytest.mark.usefixtures("only_when_told")
    def test_who_waits_is_named_and_does_not_go_on(self, line, turns, gone, tmp_path):
        add(line, "a", turns, gone)
        wait_until(lambda: turns.looks)
        assert line.close() == ["a"]
        turns.free = {"a"}
        assert threads() == []
        assert marks(tmp_path) == []
        assert gone == []

    def test_twice_and_unused_is_safe(self, line, turns, gone):
        assert line.close() == []
        add(line, "a", turns, gone)
        assert line.close() == ["a"]
        assert line.close() == []
