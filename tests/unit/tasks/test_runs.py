import threading
from itertools import pairwise

import pytest

from app.errors import CommandNotAllowed, InvalidInput, SlotBusy
from app.tasks.catalogue import Catalogue
from app.tasks.lines import Lines
from app.tasks.order import Origin
from app.tasks.runs import Poll, Runs
from app.tasks.states import State
from tests.commands import ENVIRONMENT
from tests.servers import wait_until

BOBS = Origin(owner="bob", slot="bob", request_id=None)

# Prints what is written into the file `line`, once for each time it is there.
ECHOING = """
while :; do
    if [ -e {folder}/line ]; then cat {folder}/line; rm {folder}/line; fi
    if [ -e {folder}/end ]; then exit 0; fi
    sleep 0.02
done
"""


@pytest.fixture
def make_runs(backend, store, outputs):
    def make(*, allow_shell=True, line_count=100):
        catalogue = Catalogue(
            "/no/such/file",
            allow_shell=allow_shell,
            environment=ENVIRONMENT,
            timeout_seconds=60,
        )
        return Runs(
            catalogue=catalogue,
            backend=backend,
            store=store,
            outputs=outputs,
            line_count=line_count,
        )

    return make


@pytest.fixture
def runs(make_runs):
    return make_runs()


@pytest.fixture
def start(runs, end_of):
    """Start a command of bob's; wait for its end unless it goes on."""

    def start(cmd, *, to_the_end=True):
        record = runs.start(cmd, BOBS)
        return end_of(record.task_id) if to_the_end else record

    return start


class Echo:
    """A run that says what it is told to say."""

    def __init__(self, folder, outputs, start):
        self.folder = folder
        self.outputs = outputs
        self.task_id = start(ECHOING.format(folder=folder), to_the_end=False).task_id

    def say(self, text):
        """Have it print `text`; return when that is in its output."""
        with self.outputs.open(self.task_id) as reader:
            end = reader.end_offset() + len(text)
            new = self.folder / "new"
            new.write_text(text)
            new.rename(self.folder / "line")
            wait_until(lambda: reader.end_offset() == end)

    def end(self):
        (self.folder / "end").touch()


@pytest.fixture
def echo(tmp_path, outputs, start):
    return Echo(tmp_path, outputs, start)


class TestStart:
    def test_a_cmd_is_run_in_its_callers_slot(self, runs, start):
        record = start("echo a; exit 3")
        assert (record.slot, record.cmd) == ("bob", "echo a; exit 3")
        assert record.returncode == 3
        assert runs.poll("bob").lines.text == "a"
        assert runs.poll("alice") == Poll(None, None)

    def test_a_faulty_one_is_refused_before_anything_is_kept(self, runs):
        with pytest.raises(InvalidInput):
            runs.start(" ", BOBS)
        assert runs.poll("bob").task is None

    def test_one_that_is_not_allowed_likewise(self, make_runs):
        runs = make_runs(allow_shell=False)
        with pytest.raises(CommandNotAllowed):
            runs.start("true", BOBS)
        assert runs.poll("bob").task is None

    def test_one_at_a_time(self, echo, start):
        with pytest.raises(SlotBusy) as refused:
            start("true")
        assert refused.value.task_id == echo.task_id


class TestPoll:
    def test_where_there_never_was_a_task_nothing_runs(self, runs):
        assert runs.poll("bob").finished

    def test_new_lines_are_given_once(self, runs, echo):
        assert runs.poll("bob").lines == Lines("", 0, 0)
        echo.say("a\nb\n")
        poll = runs.poll("bob")
        assert poll.lines == Lines("a\nb", 0, 4)
        assert not poll.finished
        assert runs.poll("bob").lines == Lines("", 0, 4)
        echo.say("c\n")
        assert runs.poll("bob").lines == Lines("c", 0, 6)

    def test_a_partial_line_waits_for_the_end(self, runs, echo, end_of):
        echo.say("a\nb")
        assert runs.poll("bob").lines.text == "a"
        echo.end()
        end_of(echo.task_id)
        assert runs.poll("bob").lines == Lines("b", 0, 3)

    def test_the_end_is_told_once_with_the_last_lines(self, runs, start):
        start("echo a; exit 7")
        poll = runs.poll("bob")
        assert (poll.finished, poll.lines.text) == (True, "a")
        assert (poll.task.state, poll.task.returncode) == (State.FAILURE, 7)
        again = runs.poll("bob")
        assert (again.finished, again.lines) == (True, None)
        assert again.task.task_id == poll.task.task_id

    def test_the_end_of_a_silent_run_is_told_once(self, runs, start):
        start("true")
        assert runs.poll("bob").lines == Lines("", 0, 0)
        assert runs.poll("bob").lines is None

    def test_the_next_run_begins_anew(self, runs, start):
        for text in ("first", "second"):
            start(f"echo {text}")
            assert runs.poll("bob").lines.text == text
        assert runs.poll("bob").lines is None

    def test_what_was_not_polled_is_passed_over_by_the_next_run(self, runs, start):
        start("echo first")
        start("echo second")
        assert runs.poll("bob").lines == Lines("second", 0, 7)

    def test_the_newest_lines_are_given_and_the_others_counted(self, make_runs, start):
        start("seq 1000 1099")
        assert make_runs(line_count=2).poll("bob").lines == Lines(
            "1098\n1099", 490, 500
        )

    def test_to_look_consumes_nothing(self, runs, start):
        start("echo a")
        seen = [runs.poll("bob", take=False) for _ in range(3)]
        assert seen[0] == seen[1] == seen[2]
        assert seen[0].lines.text == "a"
        assert runs.poll("bob") == seen[0]
        assert runs.poll("bob", take=False).lines is None

    def test_to_look_while_it_runs_consumes_nothing(self, runs, echo):
        echo.say("a\n")
        assert runs.poll("bob", take=False).lines.text == "a"
        assert runs.poll("bob").lines.text == "a"

    def test_without_its_output_a_task_is_still_told(self, runs, start, outputs):
        outputs.remove(start("echo a").task_id)
        poll = runs.poll("bob")
        assert (poll.finished, poll.lines) == (True, Lines("", 0, 0))
        assert runs.poll("bob").lines is None

    def test_with_a_damaged_output_a_task_is_still_told(self, runs, start, tmp_path):
        (tmp_path / "output" / start("echo a").task_id).write_bytes(b"\0" * 100)
        assert runs.poll("bob").lines == Lines("", 0, 0)
        assert runs.poll("bob").lines is None


class TestRacingPolls:
    def test_no_line_is_given_to_two(self, make_runs, start, end_of):
        runs = make_runs(line_count=3)
        task_id = start(
            "i=0; while [ $i -lt 300 ]; do echo $i; i=$((i+1)); sleep 0.002; done",
            to_the_end=False,
        ).task_id
        polls = self._poll_from_many_threads(runs)
        end_of(task_id)
        spans = [self._span(poll.lines) for poll in polls if poll.lines.text]
        spans.sort()
        assert len(spans) > 10, "they polled while it ran"
        for (_, end), (begin, _) in pairwise(spans):
            assert end <= begin
        lines = [line for poll in polls for line in poll.lines.text.split("\n") if line]
        assert len(lines) == len(set(lines))
        assert sum(poll.finished for poll in polls) == 1, "the end is told to one"
        written = sum(len(f"{number}\n") for number in range(300))
        given = sum(
            p.lines.dropped_bytes + len(p.lines.text) + 1 for p in polls if p.lines.text
        )
        assert given == written

    def test_who_is_second_is_given_what_came_after(
        self, runs, echo, store, monkeypatch
    ):
        echo.say("a\n")
        take, others = store.take_output, []

        def second(task_id, **offsets):
            if not others:
                others.append(None)
                others.append(runs.poll("bob"))
                echo.say("b\n")
            return take(task_id, **offsets)

        monkeypatch.setattr(store, "take_output", second)
        assert runs.poll("bob").lines == Lines("b", 0, 4)
        assert others[1].lines == Lines("a", 0, 2)

    def _poll_from_many_threads(self, runs):
        polls = []

        def poll_on():
            while (poll := runs.poll("bob")).lines is not None:
                polls.append(poll)

        threads = [threading.Thread(target=poll_on) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return polls

    def _span(self, lines):
        """Return where lines begin and end in the output."""
        return lines.next_offset - len(lines.text) - 1, lines.next_offset
