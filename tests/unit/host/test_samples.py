import errno
import json
import os
import threading

import pytest

from app.errors import HostReadingFailed
from app.host.samples import KEPT, Samples, SampleWriter, older_than


def sample(second):
    minute, second = divmod(second, 60)
    return {"time": f"2026-03-09T12:{minute:02d}:{second:02d}.000Z"}


def times(*seconds):
    return [sample(second)["time"] for second in seconds]


def found(samples, since=None, **limit):
    return [each["time"] for each in samples.newer_than(since, **limit)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "samples"


@pytest.fixture
def make_samples(path):
    """Make readers, as of so many workers, and close them in the end."""
    made = []

    def make(keep=5):
        made.append(Samples(path, keep=keep))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def samples(make_samples):
    return make_samples()


@pytest.fixture
def writer(path):
    return SampleWriter(path, keep=5)


class TestReading:
    def test_before_the_first_sample_there_is_none(self, samples):
        assert found(samples) == []
        assert found(samples, since=times(1)[0]) == []

    def test_what_is_written_is_read_by_all(self, writer, make_samples):
        first, second = make_samples(), make_samples()
        writer.append(sample(1))
        assert found(first) == times(1)
        writer.append(sample(2))
        assert found(first) == found(second) == times(1, 2)
        assert found(make_samples()) == times(1, 2)

    def test_only_the_newest_are_kept(self, writer, samples, make_samples):
        for second in range(23):
            writer.append(sample(second))
            assert found(samples) == times(*range(max(0, second - 4), second + 1))
            assert found(make_samples()) == found(samples)

    def test_the_files_are_bounded(self, writer, path):
        for second in range(100):
            writer.append(sample(second))
            for each in (path, older_than(path)):
                if each.exists():
                    assert len(each.read_bytes().splitlines()) <= 5

    def test_since_a_sample_means_what_came_after_it(self, writer, samples):
        for second in (1, 2, 3, 4):
            writer.append(sample(second))
        assert found(samples, since=times(2)[0]) == times(3, 4)
        assert found(samples, since=times(4)[0]) == []

    def test_since_a_time_without_a_sample_means_what_is_later(self, writer, samples):
        for second in (1, 2, 5, 6):
            writer.append(sample(second))
        assert found(samples, since=times(0)[0]) == times(1, 2, 5, 6)
        assert found(samples, since=times(4)[0]) == times(5, 6)
        assert found(samples, since=times(9)[0]) == []

    def test_a_clock_that_is_set_back_keeps_nobody_from_what_comes(
        self, writer, samples
    ):
        for second in (50, 51, 10, 11):
            writer.append(sample(second))
        assert found(samples, since=times(51)[0]) == times(10, 11)
        assert found(samples, since=times(10)[0]) == times(11)

    def test_of_more_than_the_limit_the_newest_are_returned(self, writer, samples):
        for second in (1, 2, 3):
            writer.append(sample(second))
        assert found(samples, limit=2) == times(2, 3)
        assert found(samples, since=times(1)[0], limit=1) == times(3)

    def test_a_line_that_is_being_written_is_read_when_it_is_whole(
        self, writer, samples, path
    ):
        writer.append(sample(1))
        line = json.dumps(sample(2)).encode() + b"\n"
        for cut in (7, len(line) - 1):
            with path.open("ab") as file:
                file.write(line[:cut])
            assert found(samples) == times(1)
            os.truncate(path, path.stat().st_size - cut)
        with path.open("ab") as file:
            file.write(line)
        assert found(samples) == times(1, 2)

    @pytest.mark.parametrize(
        "rest", [b"\0" * 40, b"{", b"[]", b"3", b'{"time": 3}', b"\xff\xfe", b""]
    )
    def test_what_the_power_cut_left_is_passed_over(
        self, writer, make_samples, path, rest
    ):
        writer.append(sample(1))
        with path.open("ab") as file:
            file.write(rest + b"\n")
        writer.append(sample(2))
        assert found(make_samples()) == times(1, 2)

    def test_files_that_were_removed_are_gone(self, writer, samples, path):
        for second in range(7):
            writer.append(sample(second))
        assert len(found(samples)) == 5
        path.unlink()
        older_than(path).unlink()
        assert found(samples) == []
        writer.append(sample(8))
        assert found(samples) == times(8)

    def test_a_file_that_was_cut_is_read_anew(self, writer, samples, path):
        for second in (1, 2, 3):
            writer.append(sample(second))
        assert len(found(samples)) == 3
        path.write_bytes(b"")
        writer.append(sample(4))
        assert found(samples) == times(4)

    def test_files_that_are_changed_just_now_are_read_once(
        self, writer, make_samples, monkeypatch
    ):
        for second in range(5):
            writer.append(sample(second))
        reader, opened = make_samples(), os.open

        def open_and_change(*given):
            file = opened(*given)
            monkeypatch.setattr(os, "open", opened)
            writer.append(sample(5))
            return file

        monkeypatch.setattr(os, "open", open_and_change)
        assert found(reader) == times(0, 1, 2, 3, 4)
        assert found(reader) == times(1, 2, 3, 4, 5)

    def test_files_that_cannot_be_read_are_the_hosts_fault(self, samples, path):
        path.mkdir()
        with pytest.raises(HostReadingFailed):
            samples.newer_than(None)

    def test_to_close_twice_is_safe_and_it_reads_on(self, writer, samples):
        writer.append(sample(1))
        assert found(samples) == times(1)
        samples.close()
        samples.close()
        assert found(samples) == times(1)

    def test_many_read_at_a_time_while_one_writes(self, writer, make_samples):
        shared, faults, ended = make_samples(keep=5), [], threading.Event()

        def read():
            while not ended.is_set():
                seen = found(shared)
                if seen != sorted(set(seen)) or len(seen) > 5:
                    faults.append(seen)

        readers = [threading.Thread(target=read) for _ in range(4)]
        for each in readers:
            each.start()
        for second in range(500):
            writer.append(sample(second))
        ended.set()
        for each in readers:
            each.join()
        assert faults == []
        assert found(shared) == times(*range(495, 500))


class TestWriting:
    def test_a_second_writer_goes_on_where_the_first_has_ended(self, path, samples):
        for second in range(12):
            SampleWriter(path, keep=5).append(sample(second))
        assert found(samples) == times(*range(7, 12))
        assert len(path.read_bytes().splitlines()) <= 5

    def test_a_line_that_was_torn_is_cut_off(self, writer, path, samples):
        writer.append(sample(1))
        with path.open("ab") as file:
            file.write(b'{"time": "2026')
        SampleWriter(path, keep=5).append(sample(2))
        assert found(samples) == times(1, 2)
        assert len(path.read_bytes().splitlines()) == 2

    @pytest.mark.parametrize("is_short", [True, False])
    def test_a_full_disk_leaves_no_part_of_a_line(
        self, writer, samples, path, monkeypatch, is_short
    ):
        writer.append(sample(1))
        write = os.write

        def write_some(file, line):
            write(file, line[:9])
            if is_short:
                return 9
            raise OSError(errno.ENOSPC, "no space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "write", write_some)
            with pytest.raises(OSError, match=r"space|room"):
                writer.append(sample(2))
        writer.append(sample(3))
        assert found(samples) == times(1, 3)
        assert len(path.read_bytes().splitlines()) == 2

    def test_nobody_else_may_read_it(self, writer, path):
        writer.append(sample(1))
        assert path.stat().st_mode & 0o777 == 0o600

    def test_ten_minutes_are_kept(self):
        assert KEPT == 600
