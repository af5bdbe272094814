import threading
import time
import uuid
from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import InvalidInput, NotEndedYet, TaskNotFound
from app.storage.ownership import Viewer
from app.storage.task_store import TaskStore
from app.tasks import output_log
from app.tasks.lookup import Lookup
from app.tasks.output import OutputFolder
from app.tasks.output_log import OutputReader
from app.tasks.record import TaskRecord
from app.tasks.states import State
from app.tasks.text import continuation_bytes
from tests.unit.tasks.conftest import NoBackend

# So that a few bytes go round the ring.
SMALL_SLACK_BYTES = 16

written_texts = st.lists(
    st.one_of(
        st.text(max_size=6).map(str.encode),
        st.sampled_from(["中", "😀", "é", "\r\n", "\r", "\ufffd"]).map(str.encode),
        st.binary(max_size=4),
        st.sampled_from([b"\xff", b"\xe4", b"\xe4\xb8", b"\xf0\x9f", b"\x80\x80"]),
    ),
    max_size=25,
).map(b"".join)
valid_texts = st.text(
    st.sampled_from("a中😀é\n") | st.characters(exclude_categories=["Cs"]),
    min_size=10,
    max_size=60,
).map(str.encode)
limits = st.lists(st.integers(1, 20), min_size=1, max_size=5)


class RecordingBackend(NoBackend):
    """Tells what it was asked to cancel, after doing what it was told to do then."""

    def __init__(self, then=lambda _: None):
        self.cancelled = []
        self._then = then

    def cancel(self, task_id):
        self.cancelled.append(task_id)
        self._then(task_id)


def lookup_of(outputs=None, *, store=None, backend=None, cancel_seconds=5.0):
    return Lookup(
        store=store,
        outputs=outputs,
        backend=backend or NoBackend(),
        cancel_seconds=cancel_seconds,
    )


def task_of(task_id="t", *, finished=True, **facts):
    return TaskRecord(
        task_id=task_id,
        kind="iostat",
        state=State.SUCCESS if finished else State.STARTED,
        owner=None,
        host="pelican",
        worker="1",
        request_id=None,
        created=1.0,
        finished=2.0 if finished else None,
        **facts,
    )


FINISHED, RUNNING = task_of(), task_of(finished=False)


def read(lookup, task, offset, limit=1000, *, whole_characters=True):
    part = lookup.read(
        task, offset=offset, limit=limit, whole_characters=whole_characters
    )
    assert part.offset == offset
    assert part.next_offset == offset + part.dropped_bytes + len(part.data)
    return part


def read_all(lookup, widths, *, task=FINISHED, whole_characters=True):
    """Read part after part with these limits in turn until one says that it is all."""
    parts, offset = [], 0
    for limit in cycle(widths):
        part = read(lookup, task, offset, limit, whole_characters=whole_characters)
        # A character is four bytes at most, if the limit is narrower.
        assert len(part.data) <= max(limit, 4 if whole_characters else 1)
        parts.append(part)
        if part.eof:
            return parts
        assert part.next_offset > offset, "it goes on"
        offset = part.next_offset
    raise AssertionError("the cycle has no end")


@pytest.fixture
def write(outputs):
    """Write to the log of "t", and give it back, to be closed in the end."""
    logs = []

    def append(data):
        if not logs:
            logs.append(outputs.create("t"))
        logs[0].append(memoryview(data))
        return logs[0]

    yield append
    for log in logs:
        log.close()


@pytest.fixture
def lookup(outputs):
    return lookup_of(outputs)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return what gives a lookup of a log of these sizes with that in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output_log, "SLACK_BYTES", SMALL_SLACK_BYTES)
        folder = tmp_path_factory.mktemp("output")

        def make(data, head_bytes=10_000, tail_bytes=10_000):
            outputs = OutputFolder(folder, head_bytes=head_bytes, tail_bytes=tail_bytes)
            outputs.remove("t")
            log = outputs.create("t")
            for at in range(0, len(data), 7):
                log.append(memoryview(data[at : at + 7]))
            log.close()
            return lookup_of(outputs)

        yield make


class TestReads:
    @given(written_texts, limits)
    def test_all_parts_together_are_the_text(self, made, data, widths):
        parts = read_all(made(data), widths)
        assert b"".join(part.data for part in parts) == data
        assert {part.dropped_bytes for part in parts} == {0}
        texts = [part.data.decode(errors="replace") for part in parts]
        assert "".join(texts) == data.decode(errors="replace")

    @given(written_texts, limits)
    def test_they_are_so_when_head_and_tail_meet(self, made, data, widths):
        parts = read_all(made(data, len(data) // 2, len(data)), widths)
        texts = [part.data.decode(errors="replace") for part in parts]
        assert "".join(texts) == data.decode(errors="replace")

    @given(written_texts, limits)
    def test_bare_bytes_are_cut_exactly_at_the_limit(self, made, data, widths):
        parts = read_all(made(data), widths, whole_characters=False)
        assert b"".join(part.data for part in parts) == data
        for part, limit in zip(parts[:-1], cycle(widths), strict=False):
            assert len(part.data) == limit

    @given(valid_texts, limits, st.integers(0, 9), st.integers(1, 9))
    def test_around_a_gap_nothing_is_lost_but_the_gap_and_a_torn_character(
        self, made, data, widths, head_bytes, tail_bytes
    ):
        parts = read_all(made(data, head_bytes, tail_bytes), widths)
        head = data[:head_bytes]
        tail = data[max(head_bytes, len(data) - tail_bytes) :]
        if len(head) + len(tail) < len(data):
            tail = tail[continuation_bytes(tail) :]
        assert b"".join(part.data for part in parts) == head + tail
        dropped_bytes = sum(part.dropped_bytes for part in parts)
        assert dropped_bytes == len(data) - len(head) - len(tail)
        if dropped_bytes:
            texts = [part.data.decode(errors="replace") for part in parts]
            whole = head.decode(errors="replace") + tail.decode()
            assert "".join(texts) == whole

    @settings(max_examples=50)
    @given(valid_texts, limits)
    def test_bare_bytes_around_a_gap_are_all_that_is_kept(self, made, data, widths):
        parts = read_all(made(data, 3, 4), widths, whole_characters=False)
        assert b"".join(part.data for part in parts) == data[:3] + data[-4:]
        assert sum(part.dropped_bytes for part in parts) == len(data) - 7

    def test_asking_again_gives_the_same(self, lookup, write):
        write("a中b".encode())
        assert read(lookup, FINISHED, 1, 2) == read(lookup, FINISHED, 1, 2)

    def test_line_ends_stay_as_they_were_written(self, lookup, write):
        write(b"a\r\nb\rc\n")
        assert read(lookup, FINISHED, 0).data == b"a\r\nb\rc\n"


class TestCharacters:
    @pytest.mark.parametrize("character", ["é", "中", "😀"])
    def test_a_limit_that_is_too_narrow_is_widened_to_exactly_one(
        self, lookup, write, character
    ):
        encoded = character.encode()
        write(encoded * 3)
        for limit in range(1, len(encoded) + 1):
            assert read(lookup, FINISHED, 0, limit).data == encoded
            assert read(lookup, RUNNING, len(encoded), limit).data == encoded

    def test_a_limit_that_ends_inside_one_stops_before_it(self, lookup, write):
        write("a中中".encode())
        for limit in (1, 2, 3):
            assert read(lookup, FINISHED, 0, limit).data == b"a"
        assert read(lookup, FINISHED, 0, 4).data == "a中".encode()

    @pytest.mark.parametrize("invalid", [b"\xff", b"\xe4", b"\xf0\x9f", b"\x80"])
    def test_invalid_bytes_take_no_valid_ones_with_them(self, lookup, write, invalid):
        write(invalid + "ab中".encode())
        assert read(lookup, FINISHED, 0, 1).data == invalid
        assert read(lookup, FINISHED, 0, len(invalid)).data == invalid
        assert read(lookup, FINISHED, 0, 4 + len(invalid)).data == invalid + b"ab"

    @pytest.mark.parametrize("character", ["é", "中", "😀"])
    def test_one_that_is_not_written_to_its_end_is_held_back(
        self, lookup, write, character
    ):
        encoded = character.encode()
        write(b"a")
        for number, byte in enumerate(encoded):
            part = read(lookup, RUNNING, 0)
            assert (part.data, part.eof) == (b"a", False)
            assert read(lookup, RUNNING, 1).data == b""
            for limit in range(1, number):
                assert read(lookup, RUNNING, 1, limit).data == b""
            write(bytes([byte]))
        assert read(lookup, RUNNING, 1, 1).data == encoded
        assert read(lookup, RUNNING, 0).data == b"a" + encoded

    @pytest.mark.parametrize("limit", [1, 2, 1000])
    def test_one_that_never_got_its_end_is_given_at_the_end(self, lookup, write, limit):
        write(b"\xe4\xb8")
        assert read(lookup, RUNNING, 0, limit).data == b""
        part = read(lookup, FINISHED, 0, limit)
        assert part.data.decode(errors="replace") == "\ufffd"
        assert part.eof

    def test_what_can_become_no_character_is_not_held_back(self, lookup, write):
        write(b"a\xff")
        assert read(lookup, RUNNING, 0).data == b"a\xff"

    def test_one_whose_end_comes_during_the_read_is_not_torn(
        self, lookup, write, monkeypatch
    ):
        write(b"\xe4")
        read_now = OutputReader.read_until_gap

        def read_then_write(reader, offset, limit):
            chunk = read_now(reader, offset, limit)
            write(b"\xb8\xad")
            return chunk

        with monkeypatch.context() as patch:
            patch.setattr(OutputReader, "read_until_gap", read_then_write)
            assert read(lookup, RUNNING, 0).data == b""
        assert read(lookup, RUNNING, 0).data == "中".encode()

    @pytest.mark.parametrize("limit", [1, 2, 3, 1000])
    def test_the_rest_of_one_behind_a_gap_is_dropped_whatever_the_limit(
        self, made, limit
    ):
        lookup = made(b"x" * 50 + "😀中".encode(), 5, 6)
        part = read(lookup, FINISHED, 5, limit)
        assert part.data == "中".encode()
        assert part.dropped_bytes == 49
        assert part.eof

    def test_the_front_of_one_before_a_gap_is_given_also_while_it_runs(self, made):
        lookup = made(b"ab\xe4" + b"x" * 50, 3, 5)
        assert read(lookup, RUNNING, 0).data == b"ab"
        assert read(lookup, RUNNING, 2).data == b"\xe4"
        part = read(lookup, RUNNING, 3)
        assert (part.data, part.dropped_bytes) == (b"xxxxx", 45)


class TestEnd:
    def test_it_is_told_of_a_finished_task_only(self, lookup, write):
        write(b"abc")
        assert read(lookup, FINISHED, 0).eof
        assert read(lookup, FINISHED, 3).eof
        assert not read(lookup, FINISHED, 0, 2).eof
        assert not read(lookup, RUNNING, 0).eof

    @pytest.mark.parametrize("task", [FINISHED, RUNNING])
    @pytest.mark.parametrize("whole_characters", [True, False])
    def test_beyond_it_nothing_can_be_asked(
        self, lookup, write, task, whole_characters
    ):
        write(b"abc")
        assert read(lookup, task, 3, whole_characters=whole_characters).data == b""
        with pytest.raises(InvalidInput) as refused:
            read(lookup, task, 4, whole_characters=whole_characters)
        [fault] = refused.value.faults
        assert fault.path == "offset"
        assert "3" in fault.message

    def test_an_output_that_is_not_kept_any_more_was_dropped(self, lookup):
        task = task_of(end_offset=7, dropped_bytes=2)
        part = read(lookup, task, 3)
        assert (part.data, part.dropped_bytes, part.eof) == (b"", 4, True)
        with pytest.raises(InvalidInput):
            read(lookup, task, 8)


class TestFacts:
    def test_of_a_running_task_they_are_those_of_the_log(self, lookup, write):
        assert lookup.output_facts(RUNNING) == {"end_offset": 0, "dropped_bytes": 0}
        log = write(b"x" * 6789)
        assert lookup.output_facts(RUNNING) == log.facts()
        assert log.facts() == {"end_offset": 6789, "dropped_bytes": 789}

    def test_of_a_finished_one_they_are_those_of_the_record(self, lookup, write):
        write(b"abc")
        task = task_of(end_offset=7, dropped_bytes=2)
        assert lookup.output_facts(task) == {"end_offset": 7, "dropped_bytes": 2}


class TestGet:
    def test_a_task_is_its_owner_s(self, store, add_task):
        lookup = lookup_of(store=store)
        bobs, nobodys = add_task(), add_task(owner=None)
        assert lookup.get(nobodys, Viewer(None)).task_id == nobodys
        assert lookup.get(bobs, Viewer("bob")).task_id == bobs
        for task_id, owner in [(bobs, None), (bobs, "eve"), (nobodys, "bob")]:
            with pytest.raises(TaskNotFound):
                lookup.get(task_id, Viewer(owner))

    def test_one_who_sees_all_sees_every_task(self, store, add_task):
        lookup = lookup_of(store=store)
        for task_id in (add_task(), add_task(owner=None)):
            everything = Viewer("root", sees_all=True)
            assert lookup.get(task_id, everything).task_id == task_id

    @pytest.mark.parametrize(
        "odd",
        [
            "",
            "\0",
            "\0" * 36,
            "\ud800",
            "é" * 36,
            "..",
            "x" * 36,
            "a" * 35,
            "a" * 10**6,
        ],
    )
    def test_what_can_be_no_id_is_not_even_looked_for(self, odd, monkeypatch, store):
        # PostgreSQL refuses a NUL in a text, which would look as if it were away.
        monkeypatch.setattr(store, "find", pytest.fail)
        with pytest.raises(TaskNotFound):
            lookup_of(store=store).get(odd, Viewer(None))

    @pytest.mark.parametrize("suffix", ["", "\n"])
    def test_an_unknown_id_is_not_found(self, store, suffix):
        with pytest.raises(TaskNotFound):
            lookup_of(store=store).get(f"{uuid.uuid4()}{suffix}", Viewer(None))


class TestCancel:
    def test_a_finished_task_is_left_alone(self, store: TaskStore):
        backend = RecordingBackend()
        lookup_of(store=store, backend=backend).cancel(FINISHED)
        assert backend.cancelled == []

    def test_it_answers_when_the_task_has_ended(
        self, store, outputs, add_task, record_of
    ):
        ended = threading.Timer(0.2, lambda: store.finish(task_id, finished=1.0))
        task_id = add_task()
        backend = RecordingBackend(lambda _: ended.start())
        lookup_of(outputs, store=store, backend=backend).cancel(record_of(task_id))
        assert record_of(task_id).finished == 1.0
        assert backend.cancelled == [task_id]
        ended.join()

    def test_it_waits_no_longer_than_it_may(self, store, add_task, record_of):
        task = record_of(add_task())
        begun = time.monotonic()
        backend = RecordingBackend()
        with pytest.raises(NotEndedYet):
            lookup_of(store=store, backend=backend, cancel_seconds=0.2).cancel(task)
        assert 0.2 <= time.monotonic() - begun < 2

    def test_a_task_that_is_forgotten_meanwhile_is_not_waited_for(
        self, store, outputs, add_task, record_of
    ):
        task = record_of(add_task())
        backend = RecordingBackend(lambda task_id: store.remove([task_id]))
        begun = time.monotonic()
        lookup = lookup_of(outputs, store=store, backend=backend, cancel_seconds=20)
        lookup.cancel(task)
        assert time.monotonic() - begun < 10
