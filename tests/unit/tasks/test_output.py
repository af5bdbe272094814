import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import StorageUnavailable
from app.tasks import output_log
from app.tasks.output import STDERR, STDOUT, OutputFolder
from app.tasks.output_log import (
    SLACK_BYTES,
    Chunk,
    OutputLog,
    OutputReader,
    TaskOutput,
)
from tests.servers import PROJECT, wait_until

# So that a few bytes go round the ring many times.
SMALL_SLACK_BYTES = 16

# What stands at an offset can be told from it: no two places within the period of
# 251 · 2**16 bytes look alike.
_BLOCK = b"".join(bytes((n >> 8 & 255, n & 255, n % 251)) for n in range(2**16))


def content(start, count):
    """Return what stands at these offsets."""
    first = start % len(_BLOCK)
    times = (first + count) // len(_BLOCK) + 1
    return (_BLOCK * times)[first : first + count]


def append(log, data):
    log.append(memoryview(data))


@pytest.fixture
def make_folder(tmp_path):
    """Make a folder, the same one each time, with sizes for what is new in it."""

    def make(head_bytes, tail_bytes):
        return OutputFolder(tmp_path, head_bytes=head_bytes, tail_bytes=tail_bytes)

    return make


@pytest.fixture
def folder(make_folder):
    return make_folder(head_bytes=100, tail_bytes=1000)


@pytest.fixture
def small_slack(monkeypatch):
    monkeypatch.setattr(output_log, "SLACK_BYTES", SMALL_SLACK_BYTES)


class Model:
    """What a log must give, worked out from all that was ever written."""

    def __init__(self, head_bytes, tail_bytes):
        self.written = b""
        self.head_bytes = head_bytes
        self.tail_bytes = tail_bytes

    @property
    def tail_start(self):
        return max(self.head_bytes, len(self.written) - self.tail_bytes)

    @property
    def dropped_bytes(self):
        return max(0, len(self.written) - self.head_bytes - self.tail_bytes)

    def read(self, offset, limit):
        if offset < self.head_bytes:
            stop = min(offset + limit, self.head_bytes)
            return Chunk(offset, self.written[offset:stop])
        if offset >= len(self.written):
            return Chunk(offset, b"")
        start = max(offset, self.tail_start)
        return Chunk(start, self.written[start : start + limit])

    def read_to_end(self, offset):
        """Return what is kept from `offset` on: after the gap, if there is one."""
        end = len(self.written)
        if offset >= end:
            return Chunk(offset, b"")
        gap = self.tail_start > self.head_bytes and offset < self.tail_start
        start = self.tail_start if gap else offset
        return Chunk(start, self.written[start:])


def read_all(reader, limit):
    """Return all that is kept, chunk after chunk, as a follower reads it."""
    chunks, offset = [], 0
    while chunk := reader.read(offset, limit):
        if not chunk.data:
            return chunks
        chunks.append(chunk)
        offset = chunk.start + len(chunk.data)
    raise AssertionError("a read gives a chunk")


sizes = st.integers(0, 120)
appends_and_reads = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 300), st.just(0)),
        st.tuples(st.just("read"), st.integers(0, 1500), st.integers(1, 200)),
    ),
    max_size=25,
)


def check_against_model(head_bytes, tail_bytes, steps):
    model = Model(head_bytes, tail_bytes)
    with tempfile.TemporaryDirectory() as path:
        folder = OutputFolder(Path(path), head_bytes=head_bytes, tail_bytes=tail_bytes)
        log = folder.create("task")
        with folder.open("task") as reader:
            for action, first, limit in steps:
                if action == "append":
                    data = content(len(model.written), first)
                    append(log, data)
                    model.written += data
                else:
                    assert reader.read(first, limit) == model.read(first, limit)
                check_state(log, reader, model)
            log.close()
            check_state(log, reader, model)
        check_size(Path(path) / "task", model)


def check_state(log, reader, model):
    end = len(model.written)
    assert reader.end_offset() == log.end_offset == end
    assert log.facts() == {"end_offset": end, "dropped_bytes": model.dropped_bytes}
    chunks = read_all(reader, 1000)
    gap = model.written[model.head_bytes : model.tail_start]
    assert len(gap) == model.dropped_bytes
    assert b"".join(chunk.data for chunk in chunks) == (
        model.written[: model.head_bytes] + model.written[model.tail_start :]
    )
    for offset in (0, model.head_bytes, end // 2, end):
        assert reader.read_until(offset, end) == model.read_to_end(offset)


def check_size(path, model):
    most = model.head_bytes + model.tail_bytes + output_log.SLACK_BYTES
    assert path.stat().st_size == 64 + min(len(model.written), most)


class TestModel:
    @given(sizes, st.integers(1, 120), appends_and_reads)
    def test_a_log_is_its_head_and_its_tail(self, head_bytes, tail_bytes, steps):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(output_log, "SLACK_BYTES", SMALL_SLACK_BYTES)
            check_against_model(head_bytes, tail_bytes, steps)

    @settings(deadline=None, max_examples=15)
    @given(
        st.lists(
            st.tuples(st.just("append"), st.integers(1, 2 * SLACK_BYTES), st.just(0)),
            max_size=6,
        )
    )
    def test_so_it_is_with_the_real_slack(self, steps):
        check_against_model(3000, 70_000, steps)


class TestReading:
    def test_an_empty_log_gives_nothing(self, folder):
        log = folder.create("task")
        with folder.open("task") as reader:
            assert reader.read(0, 10) == Chunk(0, b"")
            assert reader.read_until(0, 0) == Chunk(0, b"")
            assert reader.end_offset() == 0
        log.close()

    @pytest.mark.usefixtures("small_slack")
    def test_the_gap_is_exact(self, folder):
        log = folder.create("task")
        append(log, content(0, 100 + 1000))
        assert log.dropped_bytes == 0
        append(log, content(1100, 1))
        assert log.dropped_bytes == 1
        with folder.open("task") as reader:
            assert reader.read(99, 10) == Chunk(99, content(99, 1))
            assert reader.read(100, 10) == Chunk(101, content(101, 10))
        log.close()

    def test_it_goes_across_the_end_of_the_head(self, folder):
        log = folder.create("task")
        append(log, content(0, 300))
        with folder.open("task") as reader:
            assert reader.read_until(50, 200) == Chunk(50, content(50, 150))
        log.close()

    @pytest.mark.usefixtures("small_slack")
    def test_it_goes_across_the_seam_of_the_ring(self, folder):
        log = folder.create("task")
        append(log, content(0, 1500))
        seam = 100 + 1000 + SMALL_SLACK_BYTES
        with folder.open("task") as reader:
            chunk = reader.read(seam - 10, 20)
        assert chunk == Chunk(seam - 10, content(seam - 10, 20))
        log.close()

    def test_beyond_the_end_there_is_nothing(self, folder):
        log = folder.create("task")
        append(log, b"abc")
        with folder.open("task") as reader:
            assert reader.read(3, 10) == Chunk(3, b"")
            assert reader.read(50, 10) == Chunk(50, b"")
            assert reader.read(5000, 10) == Chunk(5000, b"")
        log.close()

    def test_a_log_without_a_head_is_all_tail(self, make_folder):
        folder = make_folder(head_bytes=0, tail_bytes=10)
        log = folder.create("task")
        append(log, content(0, 30))
        with folder.open("task") as reader:
            assert read_all(reader, 100) == [Chunk(20, content(20, 10))]
        log.close()

    def test_what_was_removed_can_be_read_on_by_who_has_it_open(self, folder):
        log = folder.create("task")
        append(log, b"abc")
        with folder.open("task") as reader:
            folder.remove("task")
            assert reader.read(0, 10).data == b"abc"
        log.close()
        assert folder.open("task") is None

    @pytest.mark.usefixtures("small_slack")
    def test_the_sizes_are_those_of_the_file_not_of_the_settings(
        self, folder, make_folder
    ):
        log = folder.create("task")
        append(log, content(0, 5000))
        log.close()
        with make_folder(head_bytes=7, tail_bytes=7).open("task") as reader:
            assert reader.read(0, 200) == Chunk(0, content(0, 100))
            assert reader.read(100, 5000) == Chunk(4000, content(4000, 1000))


class TestWhileItIsWritten:
    """A flood goes round the ring again and again under the readers."""

    PIECES = (1, 70_000, 4096, SLACK_BYTES, 65_536, 3 * SLACK_BYTES)

    @pytest.fixture
    def tail_bytes(self):
        return 300_000

    @pytest.fixture
    def flooded(self, make_folder, tail_bytes):
        """Give a folder whose log is written until the test is over."""
        folder = make_folder(head_bytes=5000, tail_bytes=tail_bytes)
        log = folder.create("task")
        over = threading.Event()
        writer = threading.Thread(target=self._flood, args=(log, over), name="flood")
        writer.start()
        wait_until(lambda: log.end_offset > 2 * tail_bytes, seconds=30)
        yield folder
        over.set()
        writer.join()
        log.close()

    def _flood(self, log, over):
        ahead = _BLOCK * 6  # the pieces are cut out of it, not made anew
        while not over.is_set():
            for count in self.PIECES:
                first = log.end_offset % len(_BLOCK)
                log.append(memoryview(ahead)[first : first + count])

    @pytest.mark.parametrize("limit", [1, 5000, 65_536, 300_000])
    def test_every_byte_that_is_read_is_the_right_one(self, flooded, limit):
        with flooded.open("task") as reader:
            over, offset, gaps = time.monotonic() + 1, 0, 0
            while time.monotonic() < over:
                chunk = reader.read(offset, limit)
                assert chunk.data == content(chunk.start, len(chunk.data))
                gaps += chunk.start > offset
                offset = chunk.start + len(chunk.data)
        assert gaps > 1, "the writer was faster, or nothing is tested here"

    @pytest.mark.parametrize("tail_bytes", [100_000_000])
    def test_a_flood_of_a_large_tail_does_not_hold_a_reader_up(self, flooded):
        with flooded.open("task") as reader:
            begun = time.monotonic()
            for _ in range(5):
                chunk = reader.read(5000, 10**9)
                assert chunk.data == content(chunk.start, len(chunk.data))
            assert time.monotonic() - begun < 20

    def test_a_read_of_all_that_is_kept_comes_to_an_end(self, flooded):
        with flooded.open("task") as reader:
            slowest = 0.0
            for _ in range(200):
                begun = time.monotonic()
                chunk = reader.read_until(0, reader.end_offset())
                slowest = max(slowest, time.monotonic() - begun)
                assert chunk.data == content(chunk.start, len(chunk.data))
                assert chunk.data
        assert slowest < 10

    @pytest.mark.usefixtures("small_slack")
    def test_of_what_is_overwritten_while_it_is_read_the_rest_is_given(
        self, make_folder, monkeypatch
    ):
        log = make_folder(head_bytes=0, tail_bytes=1000).create("task")
        append(log, content(0, 5000))
        pread = OutputReader._pread

        def read_while_written(reader, offset, count):
            data = pread(reader, offset, count)
            append(log, content(log.end_offset, 10))
            return data

        monkeypatch.setattr(OutputReader, "_pread", read_while_written)
        with make_folder(head_bytes=0, tail_bytes=0).open("task") as reader:
            chunk = reader.read(0, 10_000)
        assert 4000 < chunk.start <= 4000 + 20, "read in one piece or in two"
        assert chunk.data == content(chunk.start, 5000 - chunk.start)
        log.close()

    def test_many_readers_see_the_same(self, flooded):
        faults = []

        def follow():
            with flooded.open("task") as reader:
                offset = 0
                for _ in range(200):
                    chunk = reader.read(offset, 50_000)
                    offset = chunk.start + len(chunk.data)
                    if chunk.data != content(chunk.start, len(chunk.data)):
                        faults.append(chunk.start)

        followers = [threading.Thread(target=follow) for _ in range(4)]
        for follower in followers:
            follower.start()
        for follower in followers:
            follower.join()
        assert faults == []

    @pytest.mark.usefixtures("flooded")
    def test_another_process_reads_right_bytes_too(self, tmp_path):
        source = """
import sys
from pathlib import Path
from app.tasks.output import OutputFolder
from tests.unit.tasks.test_output import content
with OutputFolder(Path(sys.argv[1]), head_bytes=0, tail_bytes=0).open("task") as log:
    offset = 0
    for _ in range(300):
        chunk = log.read(offset, 100_000)
        assert chunk.data == content(chunk.start, len(chunk.data)), chunk.start
        offset = chunk.start + len(chunk.data)
print("right")
"""
        told = subprocess.check_output(
            [sys.executable, "-c", source, tmp_path], cwd=PROJECT, text=True
        )
        assert told == "right\n"


class TestReopening:
    @pytest.mark.usefixtures("small_slack")
    def test_what_a_dead_writer_left_has_its_end_and_its_bytes(self, folder, tmp_path):
        log = folder.create("task")
        append(log, content(0, 5000))
        os.close(log._descriptor)  # the writer is dead: nothing was closed
        left = folder.reopen("task")
        assert left.facts() == {"end_offset": 5000, "dropped_bytes": 3900}
        left.close()
        assert (tmp_path / "task").stat().st_size == 64 + 100 + 1000 + SMALL_SLACK_BYTES
        with folder.open("task") as reader:
            assert reader.read(4000, 2000) == Chunk(4000, content(4000, 1000))

    def test_it_can_be_written_on(self, folder):
        log = folder.create("task")
        append(log, b"one ")
        os.close(log._descriptor)
        left = folder.reopen("task")
        append(left, b"two")
        left.close()
        with folder.open("task") as reader:
            assert reader.read(0, 100).data == b"one two"

    def test_what_nobody_left_is_none(self, folder):
        assert folder.reopen("task") is None
        assert folder.open("task") is None

    @pytest.mark.parametrize(
        "damage",
        [b"", b"\0" * 64, b"bellhop1", b"#!/bin/sh\n" * 10, b"bellhop1" + b"\1" * 80],
    )
    def test_a_file_without_our_header_is_as_good_as_none(
        self, folder, tmp_path, damage
    ):
        (tmp_path / "task").write_bytes(damage)
        assert folder.open("task") is None
        assert folder.reopen("task") is None

    def test_a_file_that_lost_its_end_gives_what_is_left(self, folder, tmp_path):
        log = folder.create("task")
        append(log, content(0, 900))
        log.close()
        os.truncate(tmp_path / "task", 64 + 500)
        with folder.open("task") as reader:
            assert reader.read_until(0, 900) == Chunk(0, content(0, 500))
            assert reader.read(600, 100).data == b""


class TestClosing:
    def test_a_small_output_is_a_small_file(self, folder, tmp_path):
        log = folder.create("task")
        assert (tmp_path / "task").stat().st_size == 64 + 100 + 1000 + SLACK_BYTES
        append(log, b"abc")
        log.close()
        assert (tmp_path / "task").stat().st_size == 64 + 3
        with folder.open("task") as reader:
            assert reader.read(0, 100) == Chunk(0, b"abc")

    @pytest.mark.usefixtures("small_slack")
    def test_a_reader_does_not_notice(self, folder):
        log = folder.create("task")
        append(log, content(0, 5000))
        with folder.open("task") as reader:
            before = reader.read(4100, 900)
            log.close()
            assert reader.read(4100, 900) == before == Chunk(4100, content(4100, 900))

    def test_a_file_that_cannot_be_cut_is_closed_all_the_same(self, tmp_path):
        log = read_only_log(tmp_path)
        log.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(log._descriptor)


class TestCreating:
    def test_the_space_is_taken_and_nobody_else_may_read_it(self, folder, tmp_path):
        log = folder.create("task")
        stat = (tmp_path / "task").stat()
        assert stat.st_blocks * 512 >= SLACK_BYTES
        assert stat.st_mode & 0o777 == 0o600
        log.close()

    def test_without_a_folder_it_is_unavailable(self, tmp_path):
        folder = OutputFolder(tmp_path / "missing", head_bytes=1, tail_bytes=1)
        attempts = (
            lambda: folder.create("task"),
            folder.check,
            lambda: folder.task_ids(older_than_seconds=0),
        )
        for attempt in attempts:
            with pytest.raises(StorageUnavailable) as failed:
                attempt()
            assert isinstance(failed.value.__cause__, FileNotFoundError)

    def test_twice_the_same_is_unavailable_and_leaves_the_first(self, folder):
        log = folder.create("task")
        append(log, b"abc")
        with pytest.raises(StorageUnavailable):
            folder.create("task")
        with folder.open("task") as reader:
            assert reader.read(0, 10).data == b"abc"
        log.close()

    @pytest.mark.parametrize("limit", [0, 50, 100_000])
    def test_where_no_space_is_left_nothing_is(self, folder, tmp_path, limit):
        with largest_file(limit):
            for attempt in (lambda: folder.create("task"), folder.check):
                with pytest.raises(StorageUnavailable) as failed:
                    attempt()
                assert isinstance(failed.value.__cause__, OSError)
        assert list(tmp_path.iterdir()) == []

    def test_a_check_leaves_nothing(self, folder, tmp_path):
        folder.check()
        assert list(tmp_path.iterdir()) == []

    def test_without_descriptors_everything_is_unavailable(self, folder):
        folder.create("task").close()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        attempts = (
            lambda: folder.create("other"),
            lambda: folder.open("task"),
            lambda: folder.reopen("task"),
            folder.check,
        )
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            for attempt in attempts:
                with pytest.raises(StorageUnavailable):
                    attempt()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class TestWritingFails:
    def test_what_cannot_be_written_is_counted_and_nothing_raised(self, tmp_path):
        log = read_only_log(tmp_path)
        append(log, b"x" * 10)
        append(log, b"x" * 5)
        assert log.facts() == {"end_offset": 0, "dropped_bytes": 15}
        log.close()

    def test_what_was_written_before_stays(self, folder):
        log = folder.create("task")
        append(log, b"abc")
        writable = log._descriptor
        log._descriptor = os.open("/dev/full", os.O_WRONLY)
        append(log, b"defg")
        os.close(log._descriptor)
        log._descriptor = writable
        append(log, b"hij")
        assert log.facts() == {"end_offset": 3, "dropped_bytes": 7}, "no hole in it"
        with folder.open("task") as reader:
            assert reader.read(0, 100) == Chunk(0, b"abc")
        log.close()

    def test_the_gap_and_what_was_lost_are_added(self, folder):
        log = folder.create("task")
        append(log, content(0, 1200))
        writable = log._descriptor
        log._descriptor = -1
        append(log, b"x" * 50)
        log._descriptor = writable
        assert log.facts() == {"end_offset": 1200, "dropped_bytes": 150}
        log.close()

    def test_a_file_that_may_grow_no_more_keeps_its_beginning(self, tmp_path):
        descriptor = os.open(tmp_path / "task", os.O_RDWR | os.O_CREAT)
        log = OutputLog.begin(descriptor, 200_000, 1000)
        with largest_file(100_000):
            append(log, content(0, 65_536))
            append(log, content(65_536, 65_536))
        assert log.facts() == {"end_offset": 65_536, "dropped_bytes": 65_536}
        log.close()
        folder = OutputFolder(tmp_path, head_bytes=1, tail_bytes=1)
        with folder.open("task") as reader:
            assert reader.read(0, 10**6) == Chunk(0, content(0, 65_536))


class TestStrays:
    def test_those_that_are_old_enough_are_listed(self, folder, tmp_path):
        for name, age in (("young", 0), ("old", 100), ("older", 1000)):
            folder.create(name).close()
            os.utime(tmp_path / name, (time.time() - age,) * 2)
        assert sorted(folder.task_ids(older_than_seconds=60)) == ["old", "older"]
        assert folder.task_ids(older_than_seconds=500) == ["older"]
        assert folder.task_ids(older_than_seconds=5000) == []

    def test_one_that_is_removed_meanwhile_is_passed_over(self, folder, monkeypatch):
        folder.create("kept").close()
        folder.create("removed").close()
        scandir = os.scandir

        def scan_then_remove(path):
            entries = scandir(path)
            folder.remove("removed")
            return entries

        monkeypatch.setattr(os, "scandir", scan_then_remove)
        assert folder.task_ids(older_than_seconds=-60) == ["kept"]

    def test_removing_what_is_not_there_is_nothing(self, folder):
        folder.remove("task")


class TestStreams:
    def test_each_has_a_file_of_its_own(self, folder, tmp_path):
        paths = [folder.path("task"), folder.path("task", STDERR)]
        assert paths == [tmp_path / "task", tmp_path / "task.stderr"]
        assert folder.path("task", STDOUT) == paths[0]

    def test_what_is_written_to_one_is_not_in_the_other(self, folder):
        out, err = folder.create("task"), folder.create("task", STDERR)
        append(out, b"out")
        append(err, content(0, 2000))
        both = TaskOutput(out, err)
        assert both.facts() == {
            "end_offset": 3,
            "dropped_bytes": 0,
            "stderr_end_offset": 2000,
            "stderr_dropped_bytes": 900,
        }
        both.close()
        with folder.open("task") as reader:
            assert reader.read(0, 100) == Chunk(0, b"out")
        with folder.open("task", STDERR) as reader:
            assert reader.facts() == {"end_offset": 2000, "dropped_bytes": 900}
            assert reader.read(100, 100) == Chunk(1000, content(1000, 100))

    def test_where_there_is_one_only_nothing_is_said_of_the_other(self, folder):
        only = TaskOutput(folder.create("task"))
        assert only.facts() == {"end_offset": 0, "dropped_bytes": 0}
        only.close()
        assert folder.open("task", STDERR) is None
        assert folder.reopen("task", STDERR) is None

    def test_what_a_dead_writer_left_of_each_has_its_end(self, folder):
        for stream, size in ((STDOUT, 10), (STDERR, 20)):
            log = folder.create("task", stream)
            append(log, content(0, size))
            os.close(log._descriptor)
            left = folder.reopen("task", stream)
            assert left.end_offset == size
            left.close()

    def test_both_are_removed_and_no_other_task_s(self, folder, tmp_path):
        for task_id in ("task", "task2"):
            folder.create(task_id).close()
            folder.create(task_id, STDERR).close()
        folder.remove("task")
        assert {path.name for path in tmp_path.iterdir()} == {"task2", "task2.stderr"}

    @pytest.mark.parametrize("left", [STDOUT, STDERR])
    def test_one_that_is_left_alone_is_removed_too(self, folder, tmp_path, left):
        folder.create("task", left).close()
        folder.remove("task")
        assert list(tmp_path.iterdir()) == []

    def test_a_task_with_two_is_listed_once_also_by_either(self, folder, tmp_path):
        for task_id, stream in (("a", STDOUT), ("a", STDERR), ("b", STDERR)):
            folder.create(task_id, stream).close()
        assert sorted(folder.task_ids(older_than_seconds=-60)) == ["a", "b"]
        os.utime(tmp_path / "a", (0, 0))
        assert folder.task_ids(older_than_seconds=60) == ["a"]

    def test_all_who_watch_either_are_told(self, folder, tmp_path):
        for stream in (STDOUT, STDERR):
            folder.create("task", stream).close()
            os.utime(folder.path("task", stream), (0, 0))
        folder.create("other").close()
        os.utime(tmp_path / "other", (0, 0))
        before = folder.path("task").read_bytes()
        folder.tell("task")
        for stream in (STDOUT, STDERR):
            assert folder.path("task", stream).stat().st_mtime > 0
        assert (tmp_path / "other").stat().st_mtime == 0
        assert folder.path("task").read_bytes() == before

    def test_telling_of_what_is_not_kept_is_nothing_and_makes_nothing(
        self, folder, tmp_path
    ):
        folder.tell("task")
        assert list(tmp_path.iterdir()) == []
        folder.create("task", STDERR).close()
        os.utime(tmp_path / "task.stderr", (0, 0))
        folder.tell("task")
        assert (tmp_path / "task.stderr").stat().st_mtime > 0


def read_only_log(path):
    """Return a log whose file takes no byte."""
    descriptor = os.open(path / "read-only", os.O_RDONLY | os.O_CREAT)
    return OutputLog(descriptor, 100, 1000, 0)


class largest_file:  # noqa: N801 - used as a statement
    """Let files grow to `size` bytes only, which is met like a full disk."""

    def __init__(self, size):
        self.size = size

    def __enter__(self):
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.before[1]))

    def __exit__(self, *exc_info):
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)
