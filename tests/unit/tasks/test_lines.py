import codecs
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tasks import lines, output_log
from app.tasks.lines import Lines, newest_lines
from app.tasks.output import OutputFolder

# In the model's tests everything is small, so that a few bytes reach every limit.
SMALL_BYTES = 16
LONG_LINE_BYTES = 64 * 1024
ALL = 10**6


class Output:
    """An output that is written and polled as a run is."""

    def __init__(self, log, reader):
        self.log = log
        self.reader = reader
        self.next_offset = 0

    def write(self, data):
        self.log.append(memoryview(data))
        return self

    def poll(self, *, count=100, finished=False):
        found = newest_lines(
            self.reader, self.next_offset, count=count, finished=finished
        )
        self.next_offset = found.next_offset
        return found

    def text(self, **options):
        return self.poll(**options).text


@pytest.fixture
def make_output(tmp_path):
    made = []

    def make(*, head_bytes=10_000, tail_bytes=1_000_000):
        folder = OutputFolder(tmp_path, head_bytes=head_bytes, tail_bytes=tail_bytes)
        log = folder.create("task")
        made.append((log, reader := folder.open("task")))
        return Output(log, reader)

    yield make
    for log, reader in made:
        log.close()
        reader.__exit__()


@pytest.fixture
def written(make_output):
    return make_output()


class TestWhileItRuns:
    def test_nothing_is_given_of_nothing(self, written):
        assert written.poll() == Lines("", 0, 0)

    def test_lines_are_given_without_the_last_newline(self, written):
        assert written.write(b"a\nb\n").poll() == Lines("a\nb", 0, 4)

    def test_nothing_is_given_twice(self, written):
        written.write(b"a\n").poll()
        assert written.poll() == Lines("", 0, 2)
        assert written.write(b"b\n").poll() == Lines("b", 0, 4)

    def test_a_partial_line_is_held_back_until_it_is_whole(self, written):
        assert written.write(b"a\nb").poll() == Lines("a", 0, 2)
        assert written.poll() == Lines("", 0, 2)
        assert written.write(b"c\n").poll() == Lines("bc", 0, 5)

    def test_empty_lines_are_lines(self, written):
        assert written.write(b"\n").poll() == Lines("", 0, 1)
        assert written.write(b"\n\na\n\n").text() == "\n\na\n"

    def test_only_a_newline_ends_a_line(self, written):
        assert written.write(b"a\r\nb\rc\x0bd\x0ce\xc2\x85f\n").text(count=1) == (
            "b\rc\x0bd\x0ce\x85f"
        )
        assert written.write(b"a\r\n").text() == "a\r"

    def test_a_line_of_the_longest_length_is_held_back(self, written):
        written.write(b"x" * LONG_LINE_BYTES)
        assert written.poll() == Lines("", 0, 0)

    def test_one_that_is_longer_is_given_in_pieces(self, written):
        written.write(b"a\n" + b"x" * (LONG_LINE_BYTES + 1))
        first = written.poll()
        assert first.text == "a\n" + "x" * (LONG_LINE_BYTES + 1)
        assert written.write(b"y" * 10).poll().text == "", "little, for a piece"
        assert written.write(b"\nb\n").text() == "y" * 10 + "\nb"

    def test_a_piece_never_tears_a_character(self, written):
        line = "aé€😀".encode() * 30_000
        cuts = range(0, len(line), 70_001)
        pieces = [written.write(line[at : at + 70_001]).text() for at in cuts]
        pieces.append(written.text(finished=True))
        assert "".join(pieces) == line.decode()
        assert sum(1 for piece in pieces if piece) > 3

    @pytest.mark.parametrize("invalid", [b"\xff", b"\x80" * 5, b"\xe2\x28", b"\xf8"])
    def test_a_piece_may_end_in_what_is_no_character(self, written, invalid):
        written.write(b"x" * (LONG_LINE_BYTES + 9) + invalid)
        given = [written.poll().text, written.poll(finished=True).text]
        assert "".join(given).rstrip("\ufffd(") == "x" * (LONG_LINE_BYTES + 9)


class TestAtTheEnd:
    def test_what_was_held_back_is_given(self, written):
        written.write(b"a\nb").poll()
        assert written.poll(finished=True) == Lines("b", 0, 3)

    def test_a_line_without_its_newline_is_a_line(self, written):
        assert written.write(b"a\nb").text(finished=True, count=1) == "b"

    def test_nothing_more_is_nothing(self, written):
        written.write(b"a\n").poll()
        assert written.poll(finished=True) == Lines("", 0, 2)

    def test_a_character_that_never_got_whole_is_marked(self, written):
        assert written.write("é".encode()[:1]).text(finished=True) == "\ufffd"


class TestCount:
    def test_the_newest_are_given_and_the_others_counted(self, written):
        written.write(b"".join(b"%d\n" % number for number in range(10)))
        assert written.poll(count=3) == Lines("7\n8\n9", 14, 20)

    @pytest.mark.parametrize("finished", [False, True])
    def test_one_is_the_last(self, written, finished):
        found = written.write(b"a\nbc\n").poll(count=1, finished=finished)
        assert found == Lines("bc", 2, 5)

    def test_an_empty_last_line_is_one(self, written):
        assert written.write(b"a\n\n").poll(count=1) == Lines("", 2, 3)

    def test_as_many_as_there_are_leave_none_out(self, written):
        assert written.write(b"a\nb\n").poll(count=2) == Lines("a\nb", 0, 4)

    def test_long_lines_are_found_however_far_back(self, written):
        line = b"x" * 9_999 + b"\n"
        found = written.write(line * 90).poll(count=80)
        assert found.dropped_bytes == 10 * len(line)
        assert found.text.encode() == (line * 80)[:-1]


class TestGap:
    def test_what_follows_it_is_given_from_the_first_whole_line_on(self, make_output):
        written = make_output(head_bytes=10, tail_bytes=11)
        written.write(b"0123456\n" * 10)
        assert written.poll() == Lines("0123456", 72, 80)

    def test_the_head_before_it_is_passed_over(self, make_output):
        written = make_output(head_bytes=100, tail_bytes=20)
        written.write(b"head\n" * 20).write(b"tail\n" * 20)
        assert written.poll() == Lines("tail\ntail\ntail", 185, 200)

    def test_a_torn_line_is_given_if_there_is_no_other(self, make_output):
        written = make_output(head_bytes=0, tail_bytes=10)
        written.write(b"x" * 50 + b"\n")
        assert written.poll() == Lines("x" * 9, 41, 51)

    @pytest.mark.parametrize("character", ["é", "€", "😀"])
    @pytest.mark.parametrize("tail_bytes", [20, 21, 22, 23, 24])
    def test_a_character_that_is_torn_by_it_is_left_out(
        self, make_output, character, tail_bytes
    ):
        written = make_output(head_bytes=0, tail_bytes=tail_bytes)
        width = len(character.encode())
        written.write((character * 50).encode())
        found = written.poll(finished=True)
        assert found.text == character * (tail_bytes // width)
        assert found.dropped_bytes + len(found.text.encode()) == 50 * width

    def test_a_poller_who_keeps_up_never_meets_it(self, make_output):
        written = make_output(head_bytes=0, tail_bytes=100)
        for number in range(100):
            found = written.write(b"%050d\n" % number).poll()
            assert (found.text, found.dropped_bytes) == (f"{number:050}", 0)


def test_invalid_bytes_become_a_mark_each_sequence(written):
    assert written.write(b"a\xffb\xc3\n\xe2\x82x\n").text() == (
        "a\ufffdb\ufffd\n\ufffdx"
    )


def test_three_thousand_characters_in_small_pieces_stay_whole(written):
    for byte in ("é" * 3001 + "\n").encode():
        written.write(bytes([byte]))
    assert written.text() == "é" * 3001


@dataclass
class Kept:
    """What a poll may look at: the bytes from an offset on, torn if after a gap."""

    start: int
    data: bytes
    torn: bool


class Model:
    """What polls must give, worked out line by line from all that was written."""

    def __init__(self, head_bytes, tail_bytes):
        self.head_bytes = head_bytes
        self.tail_bytes = tail_bytes
        self.written = b""
        self.next_offset = 0

    def poll(self, *, count, finished):
        kept = self._kept()
        given = kept.data if finished else self._complete(kept.data)
        all_lines = re.findall(rb"[^\n]*\n|[^\n]+", given)
        newest = all_lines[-count:]
        if kept.torn and len(newest) == len(all_lines):
            newest = self._mended(newest)
        data = b"".join(newest)
        if not data:
            return Lines("", 0, self.next_offset)
        start = kept.start + len(given) - len(data)
        dropped_bytes = start - self.next_offset
        self.next_offset = start + len(data)
        text = data.removesuffix(b"\n").decode(errors="replace")
        return Lines(text, dropped_bytes, self.next_offset)

    def _kept(self):
        tail_start = max(self.head_bytes, len(self.written) - self.tail_bytes)
        gap = tail_start > self.head_bytes and self.next_offset < tail_start
        start = tail_start if gap else self.next_offset
        return Kept(start, self.written[start:], torn=gap)

    def _complete(self, data):
        whole, newline, rest = data.rpartition(b"\n")
        if len(rest) <= SMALL_BYTES:
            return whole + newline
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        decoder.decode(data)  # less a character's beginning
        return data[: len(data) - len(decoder.getstate()[0])]

    def _mended(self, newest):
        """Return the lines less the first, or less a torn character where alone."""
        if len(newest) != 1:
            return newest[1:]
        line = newest[0]
        rest = (
            len(line) - len(line[:3].lstrip(bytes(range(0x80, 0xC0)))) - len(line[3:])
        )
        return [line[rest:]]


def check_against_model(head_bytes, tail_bytes, steps):
    model = Model(head_bytes, tail_bytes)
    given_bytes = 0
    with tempfile.TemporaryDirectory() as path, pytest.MonkeyPatch.context() as patch:
        patch.setattr(output_log, "SLACK_BYTES", SMALL_BYTES)
        patch.setattr(lines, "_FIRST_LOOK_BYTES", SMALL_BYTES)
        patch.setattr(lines, "_LONG_LINE_BYTES", SMALL_BYTES)
        folder = OutputFolder(Path(path), head_bytes=head_bytes, tail_bytes=tail_bytes)
        log = folder.create("task")
        with folder.open("task") as reader:
            written = Output(log, reader)
            for number, (data, count) in enumerate(steps, start=1):
                written.write(data)
                model.written += data
                finished = number == len(steps)
                before = written.next_offset
                expected = model.poll(count=count, finished=finished)
                found = written.poll(count=count, finished=finished)
                assert found == expected
                begin = before + found.dropped_bytes
                assert before <= begin <= found.next_offset, "nothing is given twice"
                given_bytes += found.dropped_bytes + found.next_offset - begin
                yield found
            assert given_bytes == written.next_offset == len(model.written)
            log.close()


pieces = st.one_of(
    st.binary(max_size=40),
    st.text("aé€😀\n\r", max_size=30).map(str.encode),
    st.lists(st.sampled_from([b"\n", b"ab\n", b"\r\n", b"x" * 30]), max_size=8).map(
        b"".join
    ),
)
steps = st.lists(st.tuples(pieces, st.integers(1, 6)), min_size=1, max_size=10)


@given(st.integers(0, 60), st.integers(4, 80), steps)
def test_polls_give_what_the_model_gives(head_bytes, tail_bytes, steps):
    for _ in check_against_model(head_bytes, tail_bytes, steps):
        pass


@given(
    st.integers(0, 60),
    st.integers(4, 80),
    st.text("abé€😀\n", max_size=400),
    st.lists(st.integers(1, 60), min_size=1, max_size=20),
)
def test_text_that_is_valid_never_gets_a_mark(head_bytes, tail_bytes, text, cuts):
    data, steps = text.encode(), []
    for cut in cuts:
        steps.append((data[:cut], 3))
        data = data[cut:]
    for found in check_against_model(head_bytes, tail_bytes, [*steps, (data, 3)]):
        assert "\ufffd" not in found.text
