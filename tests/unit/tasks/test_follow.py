import os
import random
import threading
import time

import pytest

from app.errors import InvalidInput, ShuttingDown, TaskNotFound
from app.storage.ownership import Viewer
from app.tasks import follow as module
from app.tasks.follow import Follower
from app.tasks.lookup import Lookup
from app.tasks.notices import Notices
from app.tasks.output import STDERR, STDOUT, OutputFolder
from app.tasks.states import State
from app.tasks.streams.log import StreamLog
from app.tasks.streams.outputs import StreamOutputs
from tests.servers import wait_until
from tests.unit.tasks.conftest import NoBackend
from tests.unit.tasks.streams.conftest import settle

# Longer than any test may take.
LONG_SECONDS = 60

TEXT = "a中😀é\r\n\0\u2028".encode() + b"\xff\xe4\xb8 \xf0\x9f"


@pytest.fixture(params=["files", "streams"])
def kept(request, valkey, tmp_path):
    """Give what keeps outputs, and what tells of them."""
    sizes = {"head_bytes": 10_000, "tail_bytes": 1_000_000}
    if request.param == "files":
        (tmp_path / "output").mkdir()
        outputs, notices = OutputFolder(tmp_path / "output", **sizes), Notices()
    else:
        outputs = StreamOutputs(valkey.url, **sizes, keep_seconds=100)
        notices = outputs.notices
    yield outputs, notices
    notices.close()
    outputs.close()


@pytest.fixture
def outputs(kept):
    return kept[0]


@pytest.fixture
def notices(kept):
    return kept[1]


@pytest.fixture
def follower(store, outputs, notices):
    lookup = Lookup(store=store, outputs=outputs, backend=NoBackend(), cancel_seconds=1)
    return Follower(lookup=lookup, outputs=outputs, notices=notices)


files_only = pytest.mark.parametrize("kept", ["files"], indirect=True)


class Run:
    """A task that the test writes to, ends, and follows."""

    def __init__(self, follower, store, outputs, record_of, task_id):
        self._follower, self._store, self._outputs = follower, store, outputs
        self._record_of = record_of
        self.task_id = task_id
        self.log = outputs.create(task_id)
        self._apart = None
        self._is_open = True

    @property
    def record(self):
        return self._record_of(self.task_id)

    def write(self, data):
        self.log.append(memoryview(data))
        if isinstance(self.log, StreamLog):
            settle(self.log)  # or who reads may be told of an offset beyond the end
        return self

    def write_stderr(self, data):
        self._apart = self._apart or self._outputs.create(self.task_id, STDERR)
        self._apart.append(memoryview(data))

    def end(self, **facts):
        self.close()
        facts = {"state": State.SUCCESS, "finished": 2.0} | self.log.facts() | facts
        self._store.finish(self.task_id, **facts)
        self._outputs.tell(self.task_id)
        return self

    def close(self):
        if self._is_open:
            self.log.close()
            if self._apart is not None:
                self._apart.close()
        self._is_open = False

    def read(self, offset=0, *, wait_seconds=LONG_SECONDS, stream=STDOUT, viewer=None):
        return self._follower.read(
            self.record,
            viewer or (lambda: Viewer("bob")),
            stream=stream,
            offset=offset,
            limit=65536,
            whole_characters=True,
            wait_seconds=wait_seconds,
        )

    def follow(
        self,
        offset=0,
        *,
        stream=STDOUT,
        idle_seconds=LONG_SECONDS,
        whole_characters=True,
        viewer=lambda: Viewer("bob"),
    ):
        return self._follower.follow(
            self.record,
            viewer,
            stream=stream,
            offset=offset,
            whole_characters=whole_characters,
            idle_seconds=idle_seconds,
        )


@pytest.fixture
def start(follower, store, outputs, record_of, add_task):
    """Start tasks that the test writes to."""
    runs = []

    def make(**changes):
        task_id = add_task(**changes)
        runs.append(Run(follower, store, outputs, record_of, task_id))
        return runs[-1]

    yield make
    for run in runs:
        run.close()


@pytest.fixture
def run(start):
    return start()


class InBackground:
    """Something that is done in a thread, and what came of it."""

    def __init__(self, do):
        self._do = do
        self.result = self.error = None
        self._thread = threading.Thread(target=self._work, name="background")
        self._thread.start()

    @property
    def is_over(self):
        return not self._thread.is_alive()

    def join(self):
        self._thread.join(20)
        assert self.is_over, "it did not come to its end"
        if self.error:
            raise self.error
        return self.result

    def _work(self):
        try:
            self.result = self._do()
        except Exception as error:  # noqa: BLE001 - it is raised by join()
            self.error = error


def data_of(parts):
    return b"".join(part.data for part in parts if part is not None)


def write_slowly(run, data, seed):
    """Write pieces of any size, characters torn, then end."""
    chosen = random.Random(seed)
    at = 0
    while at < len(data):
        count = chosen.choice([1, 2, 3, 7, 100, 5000])
        run.write(data[at : at + count])
        at += count
        if chosen.random() < 0.2:
            os.sched_yield()
    run.end()


class TestRead:
    def test_what_is_there_is_given_at_once(self, run):
        run.write(b"abc")
        task, part = run.read()
        assert (part.data, part.eof, task.finished) == (b"abc", False, None)

    def test_it_waits_until_something_comes(self, run):
        waiting = InBackground(run.read)
        run.write(b"abc")
        assert waiting.join()[1].data == b"abc"

    def test_it_waits_for_what_is_beyond_the_offset(self, run):
        run.write(b"abc")
        waiting = InBackground(lambda: run.read(3))
        run.write(b"def")
        assert waiting.join()[1].data == b"def"

    def test_it_waits_for_a_character_to_its_end(self, run):
        run.write(b"\xe4\xb8")
        waiting = InBackground(run.read)
        run.write(b"\xad")
        assert waiting.join()[1].data == "中".encode()

    def test_it_ends_when_the_task_does(self, run):
        waiting = InBackground(run.read)
        run.end()
        task, part = waiting.join()
        assert (task.state, part.data, part.eof) == (State.SUCCESS, b"", True)

    def test_what_was_written_right_before_the_end_is_not_lost(self, start):
        for _ in range(30):
            run = start()
            waiting = InBackground(run.read)
            run.write(b"last").end()
            task, part = waiting.join()
            assert part.data == b"last"
            assert part.eof == (task.finished is not None)

    def test_it_ends_when_the_time_is_over(self, run):
        task, part = run.read(wait_seconds=0.05)
        assert (part.data, part.eof, task.finished) == (b"", False, None)
        run.write(b"\xe4\xb8")
        assert run.read(wait_seconds=0.05)[1].data == b""

    def test_it_ends_when_the_worker_does(self, run, follower):
        waiting = InBackground(run.read)
        follower.stopping = lambda: True
        assert waiting.join()[1].data == b""

    def test_it_ends_for_who_may_no_longer(self, run):
        with pytest.raises(TaskNotFound):
            run.read(viewer=lambda: Viewer("eve"))

    def test_one_that_has_ended_before_anybody_waits_is_not_waited_for(
        self, run, monkeypatch
    ):
        monkeypatch.setattr(module, "LOOK_SECONDS", LONG_SECONDS)
        before = run.record
        run.end()
        monkeypatch.setattr(Run, "record", before)
        task, part = run.read()
        assert (task.state, part.eof) == (State.SUCCESS, True)

    def test_a_faulty_offset_is_told_at_once(self, run):
        with pytest.raises(InvalidInput):
            run.read(1)


class TestFollow:
    @pytest.mark.parametrize("whole_characters", [True, False])
    def test_all_that_is_written_comes_in_order_and_once(self, start, whole_characters):
        run = start()
        data = TEXT * 3000
        writer = InBackground(lambda: write_slowly(run, data, seed=1))
        parts = list(run.follow(whole_characters=whole_characters))
        writer.join()
        assert data_of(parts) == data
        texts = [part.data.decode(errors="replace") for part in parts]
        if whole_characters:
            assert "".join(texts) == data.decode(errors="replace")

    @pytest.mark.parametrize("seed", range(5))
    def test_who_leaves_anywhere_and_comes_again_misses_nothing(self, start, seed):
        run, chosen = start(), random.Random(seed)
        data = TEXT * 1000
        writer = InBackground(lambda: write_slowly(run, data, seed=seed))
        given, offset, is_over = b"", 0, False
        while not is_over:
            is_over, stays_for = True, chosen.randrange(1, 4)
            for part in run.follow(offset):
                given, offset = given + part.data, part.next_offset
                stays_for -= 1
                if not stays_for:
                    is_over = False
                    break
        writer.join()
        assert given.decode(errors="replace") == data.decode(errors="replace")
        assert offset == len(data)

    def test_several_see_the_same(self, run):
        data = TEXT * 1000
        watching = [InBackground(lambda: data_of(run.follow())) for _ in range(4)]
        write_slowly(run, data, seed=3)
        assert [one.join() for one in watching] == [data] * 4

    def test_offset_dropped_and_given_add_up_over_gaps(self, run):
        flood = InBackground(
            lambda: [run.write(b"0123456789abcdef" * 4096) for _ in range(200)]
        )
        offset = given = dropped = 0
        for part in run.follow(idle_seconds=0.01):
            if part is None and flood.is_over:
                flood.join()
                run.end()
            elif part is not None:
                assert part.offset == offset
                assert part.next_offset == offset + part.dropped_bytes + len(part.data)
                at = part.next_offset - len(part.data)
                expected = b"0123456789abcdef" * (len(part.data) // 16 + 2)
                assert part.data == expected[at % 16 :][: len(part.data)]
                offset = part.next_offset
                given, dropped = given + len(part.data), dropped + part.dropped_bytes
        assert offset == given + dropped == 200 * 16 * 4096

    def test_a_gap_at_the_end_is_told(self, run):
        run.write(b"x" * 2_000_000).end()
        parts = list(run.follow())
        assert parts[-1].next_offset == 2_000_000
        assert sum(part.dropped_bytes for part in parts) == 2_000_000 - 1_010_000

    def test_of_a_finished_task_all_comes_and_then_the_end(self, run):
        run.write(b"abc").end()
        assert data_of(run.follow()) == b"abc"
        assert list(run.follow(3)) == []

    def test_a_task_without_output_is_followed_to_its_end(self, run):
        following = InBackground(lambda: list(run.follow()))
        run.end(state=State.REVOKED, reason="cancelled")
        assert following.join() == []

    def test_a_task_that_has_not_begun_is_followed_to_its_end(self, start, store):
        run = start(state=State.QUEUED, is_queued=True)
        following = InBackground(lambda: list(run.follow()))
        store.start(run.task_id, state=State.STARTED, is_queued=False, started=1.0)
        run.write(b"abc").end()
        assert data_of(following.join()) == b"abc"

    def test_silence_is_told_again_and_again(self, run):
        parts = run.follow(idle_seconds=0.02)
        assert [next(parts) for _ in range(3)] == [None] * 3
        run.write(b"abc")
        wait_until(lambda: next(parts) is not None)
        parts.close()

    def test_silence_is_not_told_while_something_comes(self, run):
        parts = run.follow(idle_seconds=LONG_SECONDS)
        for _ in range(10):
            run.write(b"abc")
            assert next(parts).data == b"abc"
        parts.close()

    def test_the_streams_are_apart(self, start):
        run = start(stderr_end_offset=0)
        run.write(b"out")
        run.write_stderr(b"err")
        following = InBackground(lambda: data_of(run.follow(stream=STDERR)))
        run.write_stderr(b"or")
        run.end(stderr_end_offset=5, stderr_dropped_bytes=0)
        assert following.join() == b"error"
        assert data_of(run.follow()) == b"out"

    def test_the_end_of_a_stream_that_there_is_not_is_told_by_the_other_one(
        self, run, notices
    ):
        parts = run.follow(stream=STDERR, idle_seconds=0.01)
        assert next(parts) is None
        assert len(notices._waiting) == 1, "the kernel tells of a file that is there"
        run.write(b"abc").end()
        assert [part for part in parts if part is not None] == []


class TestCutOff:
    """Whoever may not, or cannot be served on, is left at once."""

    @pytest.fixture(autouse=True)
    def looks_often(self, monkeypatch):
        monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)

    def test_a_silent_one_when_the_worker_ends(self, run, follower):
        follower.stopping = lambda: True
        with pytest.raises(ShuttingDown):
            list(run.follow())

    def follow_flooded(self, run, parts):
        """Follow what is written to before each look, so that there always is more."""
        over = time.monotonic() + 20
        run.write(b"x")
        for _ in parts:
            run.write(b"x")
            assert time.monotonic() < over, "it is followed on"

    def test_a_flooded_one_when_the_worker_ends(self, run, follower):
        follower.stopping = lambda: True
        with pytest.raises(ShuttingDown):
            self.follow_flooded(run, run.follow())

    def test_the_end_of_what_is_finished_is_still_given_then(self, run, follower):
        run.write(b"abc").end()
        follower.stopping = lambda: True
        assert data_of(run.follow()) == b"abc"

    def test_a_silent_one_who_may_no_longer(self, run):
        viewers = iter([Viewer("bob"), Viewer("bob")])
        with pytest.raises(TaskNotFound):
            list(run.follow(viewer=lambda: next(viewers, Viewer("eve"))))

    def test_a_flooded_one_who_may_no_longer(self, run):
        viewers = iter([Viewer("bob"), Viewer("bob")])
        parts = run.follow(viewer=lambda: next(viewers, Viewer("eve")))
        with pytest.raises(TaskNotFound):
            self.follow_flooded(run, parts)

    def test_one_whose_task_is_forgotten(self, run, store):
        parts = run.write(b"abc").follow()
        assert next(parts).data == b"abc"
        store.remove([run.task_id])
        with pytest.raises(TaskNotFound):
            next(parts)


@files_only
class TestMishaps:
    """What becomes of a file must neither hang a follower nor fail it midway."""

    def remove(self, run, outputs):
        outputs.remove(run.task_id)

    def overwrite(self, run, outputs):
        with outputs.path(run.task_id).open("r+b") as file:
            file.write(b"\0" * 64)

    @pytest.mark.parametrize("mishap", [remove, overwrite])
    def test_what_is_lost_while_it_runs_is_dropped_at_its_end(
        self, run, outputs, mishap
    ):
        parts = run.write(b"abc").follow(idle_seconds=0.01)
        assert next(parts).data == b"abc"
        mishap(self, run, outputs)
        assert next(parts) is None
        run.write(b"defg")
        assert next(parts) is None
        run.end()
        [lost] = [part for part in parts if part is not None]
        assert (lost.data, lost.dropped_bytes, lost.next_offset) == (b"", 4, 7)

    @pytest.mark.parametrize("mishap", [remove, overwrite])
    def test_a_reader_meanwhile_gets_nothing_and_goes_on(self, run, outputs, mishap):
        run.write(b"abc")
        mishap(self, run, outputs)
        part = run.read(2, wait_seconds=0.01)[1]
        assert (part.data, part.dropped_bytes, part.eof) == (b"", 0, False)
        run.end()
        part = run.read(2)[1]
        assert (part.data, part.dropped_bytes, part.eof) == (b"", 1, True)

    def test_where_the_record_has_never_heard_of_it_the_end_is_told(self, run, outputs):
        parts = run.write(b"abc").follow()
        assert next(parts).data == b"abc"
        outputs.remove(run.task_id)
        run.end(state=State.LOST, end_offset=0, dropped_bytes=0)
        assert list(parts) == []

    def test_what_was_cut_from_a_file_is_dropped(self, run, outputs):
        run.write(b"x" * 9000).end()
        os.truncate(outputs.path(run.task_id), 64 + 4000)
        kept, lost = run.follow()
        assert (len(kept.data), kept.dropped_bytes, kept.eof) == (4000, 0, False)
        assert (lost.data, lost.dropped_bytes, lost.eof) == (b"", 5000, True)
        assert run.read(4000)[1] == lost
        assert run.read(4000)[1] == lost, "whoever reads on until the end gets there"

    def test_a_file_that_is_removed_between_parts_is_dropped_to_the_end(
        self, run, outputs
    ):
        run.write(b"x" * 900_000).end()
        parts = run.follow()
        first = next(parts)
        outputs.remove(run.task_id)
        [lost] = parts
        assert lost.dropped_bytes == 900_000 - len(first.data)


def test_nothing_is_left_of_who_has_left(run, notices):
    parts = run.write(b"abc").follow()
    next(parts)
    assert len(notices._waiting) == 1
    parts.close()
    assert notices._waiting == {}


@files_only
def test_without_a_kernel_that_tells_all_the_same_comes(run, notices, monkeypatch):
    monkeypatch.setattr(notices, "_is_started", lambda: False)
    following = InBackground(lambda: data_of(run.follow()))
    write_slowly(run, TEXT * 100, seed=4)
    assert following.join() == TEXT * 100
