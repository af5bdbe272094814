"""Commands that are run by the thread that waits for them, for as long as it does."""

import errno
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from app.errors import CapacityExceeded, InvalidInput, StorageUnavailable
from app.tasks import command_job, output, runner
from app.tasks.lookup import Lookup
from app.tasks.order import Order, Origin
from app.tasks.output_log import SHORT_BYTES, OutputLog
from app.tasks.patience import Patience
from app.tasks.states import State
from tests.commands import shell
from tests.servers import wait_until
from tests.unit.tasks.conftest import HEAD_BYTES

ORIGIN = Origin(owner="ann", request_id="r")


@pytest.fixture
def attend(backend):
    """Submit a script and wait for its end; return its record and how long it took."""

    def submit(script, patience, *, to=backend, **options):
        begun = time.monotonic()
        order = Order(shell(script, **options), cmd=script)
        record = to.submit(order, ORIGIN, patience=patience)
        return record, time.monotonic() - begun

    return submit


def run_threads():
    return [t for t in threading.enumerate() if t.name.startswith("run-")]


def test_one_that_ends_in_time_has_no_thread_of_its_own(attend, record_of, monkeypatch):
    monkeypatch.setattr(runner.Runner, "_start_thread", None)
    for script, code in (("echo a", 0), ("exit 3", 3), ("sleep 0.3", 0)):
        record, _ = attend(script, Patience(20))
        assert record.returncode == code
        assert record == record_of(record.task_id)
        assert record.created <= record.started <= record.finished


def test_one_that_ends_at_once_is_written_twice(attend, store, monkeypatch):
    monkeypatch.setattr(command_job, "QUICK_SECONDS", 20)
    monkeypatch.setattr(store, "start", None)
    record, _ = attend("echo a; sleep 0.1", Patience(20))
    assert (record.state, record.end_offset) == (State.SUCCESS, 2)


def test_one_that_takes_longer_gets_a_thread_of_its_own(attend, end_of):
    record, seconds = attend("echo a; sleep 2", Patience(0.5))
    assert seconds < 1.9
    assert (record.state, record.finished) == (State.STARTED, None)
    ended = end_of(record.task_id)
    assert (ended.state, ended.end_offset) == (State.SUCCESS, 2)
    assert ended.started == record.started


def test_who_has_to_go_waits_no_longer(attend, end_of):
    goes = threading.Event()
    timer = threading.Timer(0.2, goes.set)
    timer.start()
    record, seconds = attend("sleep 1.5", Patience(20, has_to_go=goes.is_set))
    assert seconds < 1.4
    assert end_of(record.task_id).state is State.SUCCESS
    timer.join()


def test_a_time_that_is_over_is_its_end(attend, end_of):
    record, seconds = attend("sleep 300", Patience(20), timeout_seconds=0.3)
    assert seconds < 10
    assert end_of(record.task_id).reason == "timeout"


def test_who_waits_is_not_kept_by_one_that_will_not_end(attend, end_of, backend):
    stubborn = "trap '' TERM; echo a; while :; do sleep 0.1; done"
    record, seconds = attend(stubborn, Patience(0.6), timeout_seconds=0.3)
    assert seconds < 1.5, "its grace is two seconds"
    assert record.finished is None
    assert end_of(record.task_id).signal == "SIGKILL"


def test_a_cancel_reaches_it(attend, backend, store, end_of):
    def cancel():
        backend.cancel(wait_until(lambda: store.unfinished("pelican"))[0]["task_id"])

    thread = threading.Thread(target=cancel)
    thread.start()
    record, _ = attend("sleep 300", Patience(20))
    thread.join()
    assert end_of(record.task_id).reason == "cancelled"


class TestQueue:
    def test_it_is_run_when_it_is_its_turn(self, attend, make_backend):
        backend = make_backend(max_running=1, max_queued=1)
        attend("sleep 0.6", Patience(0.05), to=backend)
        record, seconds = attend("echo a", Patience(20), to=backend)
        assert (record.state, seconds > 0.2) == (State.SUCCESS, True)

    def test_after_the_patience_it_is_run_by_another(
        self, attend, make_backend, end_of
    ):
        backend = make_backend(max_running=1, max_queued=1)
        attend("sleep 0.6", Patience(0.05), to=backend)
        record, seconds = attend("echo a", Patience(0.1), to=backend)
        assert (record.state, record.is_queued) == (State.QUEUED, True)
        assert seconds < 0.5
        assert end_of(record.task_id).state is State.SUCCESS

    def test_a_cancel_reaches_it_there(self, attend, make_backend, store):
        backend = make_backend(max_running=1, max_queued=1)
        first, _ = attend("sleep 300", Patience(0.05), to=backend)

        def cancel():
            [waits] = wait_until(lambda: store.queue("pelican", "exec"))
            backend.cancel(waits)

        thread = threading.Thread(target=cancel)
        thread.start()
        record, seconds = attend("echo a", Patience(20), to=backend)
        thread.join()
        assert (record.state, seconds < 10) == (State.REVOKED, True)
        backend.cancel(first.task_id)


class TestTrouble:
    def test_without_the_records_the_end_is_written_later(
        self, attend, store, end_of, monkeypatch
    ):
        def fail(*args, **values):
            raise StorageUnavailable from OSError("away")

        monkeypatch.setattr(runner, "RETRY_SECONDS", 0.05)
        with monkeypatch.context() as patch:
            patch.setattr(store, "finish", fail)
            record, seconds = attend("echo a", Patience(0.3))
            assert (record.state, seconds < 5) == (State.STARTED, True)
        assert end_of(record.task_id).returncode == 0
        wait_until(lambda: run_threads() == [])

    def test_where_no_thread_can_be_had_it_is_run_to_its_end(self, attend, monkeypatch):
        attend("true", Patience(20))  # what looks for cancelled ones is there

        def fail(self):
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", fail)
            record, _ = attend("sleep 0.5", Patience(0.1))
        assert record.state is State.SUCCESS

    def test_a_fault_of_ours_is_its_end(self, attend, record_of, monkeypatch):
        def fail(*args):
            raise ValueError("a fault of ours")

        monkeypatch.setattr(OutputLog, "append", fail)
        record, _ = attend("echo a; sleep 300", Patience(20))
        assert (record.state, record.reason) == (State.FAILURE, "internal_error")
        assert record == record_of(record.task_id)

    def test_the_end_of_the_service_reaches_it(self, attend, backend, end_of):
        def close():
            wait_until(lambda: backend._tasks)
            backend.close(seconds=10)

        closing = threading.Thread(target=close)
        closing.start()
        record, _ = attend("sleep 300", Patience(20))
        closing.join()
        assert end_of(record.task_id).reason == "shutdown"


class TestShortOutput:
    """What is written in the record, and in no file."""

    @pytest.fixture
    def files(self, outputs):
        return lambda: sorted(path.name for path in outputs.path("x").parent.iterdir())

    @pytest.fixture
    def read(self, lookup):
        def read(record, offset=0, limit=100):
            return lookup.read(
                record, offset=offset, limit=limit, whole_characters=False
            )

        return read

    @pytest.fixture
    def lookup(self, store, outputs, backend):
        return Lookup(store=store, outputs=outputs, backend=backend, cancel_seconds=5)

    def test_it_is_read_as_from_a_file(self, attend, record_of, files, lookup, read):
        record, _ = attend("echo abc", Patience(20))
        kept = record_of(record.task_id)
        assert (kept.output, kept.end_offset, files()) == (b"abc\n", 4, [])
        assert lookup.newest_text(kept) == "abc\n"
        part = read(kept, 1, 2)
        assert (part.data, part.next_offset, part.eof) == (b"bc", 3, False)
        assert read(kept, 4).eof
        with pytest.raises(InvalidInput):
            read(kept, 5)

    def test_the_next_one_begins_anew(self, attend):
        written = [
            attend(s, Patience(20))[0].output for s in ("echo abc", ":", "echo d")
        ]
        assert written == [b"abc\n", b"", b"d\n"]

    def test_many_at_once_do_not_get_each_others(self, attend):
        def number(n):
            return attend(f"echo {n}", Patience(20))[0].output

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(number, range(40))) == [b"%d\n" % n for n in range(40)]

    @pytest.mark.parametrize("count", [SHORT_BYTES, SHORT_BYTES + 1])
    def test_a_longer_one_has_a_file(self, outputs, attend, files, count):
        outputs._head_bytes = 2 * SHORT_BYTES
        record, _ = attend(f"head -c {count} /dev/zero", Patience(20))
        is_short = count == SHORT_BYTES
        assert record.output == (bytes(count) if is_short else None)
        assert files() == ([] if is_short else [record.task_id])
        assert record.end_offset == count

    def test_one_with_a_gap_has_a_file(self, attend, files, read):
        record, _ = attend(f"head -c {HEAD_BYTES + 1} /dev/zero", Patience(20))
        assert (record.output, files()) == (None, [record.task_id])
        assert read(record, limit=10).data == bytes(10)

    def test_of_one_that_goes_on_everybody_reads_the_file(self, backend, files, attend):
        with ThreadPoolExecutor() as pool:
            ending = pool.submit(attend, "echo a; sleep 0.6; echo b", Patience(20))
            [task_id] = wait_until(files)
            reader = wait_until(lambda: backend._outputs.open(task_id))
            with reader:
                wait_until(lambda: reader.read(0, 9).data.startswith(b"a\n"))
                record, _ = ending.result(10)
                assert reader.read(0, 9).data == b"a\nb\n"
        assert (record.output, record.end_offset) == (None, 4)

    def test_who_does_not_wait_gets_a_file_at_once(self, backend, end_of, files):
        record = backend.submit(Order(shell("echo a"), cmd="x"), ORIGIN)
        assert files() == [record.task_id]
        assert end_of(record.task_id).output is None

    def test_stderr_that_is_apart_makes_files(self, backend, files):
        command = replace(shell("echo a; echo b >&2"), separate_stderr=True)
        record = backend.submit(Order(command), ORIGIN, patience=Patience(20))
        assert record.output is None
        assert len(files()) == 2

    def test_one_that_is_refused_leaves_nothing(self, attend, store, files):
        def refuse(*_):
            raise CapacityExceeded(retry_after_seconds=1)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(store, "add", refuse)
            with pytest.raises(CapacityExceeded):
                attend("echo a", Patience(20))
        assert files() == []
        assert attend("echo b", Patience(20))[0].output == b"b\n"

    def test_an_end_that_cannot_be_written_loses_nothing(
        self, attend, store, files, end_of, monkeypatch
    ):
        finish, failing = store.finish, threading.Event()

        def fail(*args, **named):
            if not failing.is_set():
                raise StorageUnavailable
            return finish(*args, **named)

        monkeypatch.setattr(store, "finish", fail)
        record, _ = attend("echo a", Patience(0.3))
        assert files() == [record.task_id]
        failing.set()
        ended = end_of(record.task_id)
        assert (ended.output, ended.end_offset) == (None, 2)

    def test_a_system_without_such_files_does_without(self, attend, outputs, files):
        outputs._can_name = False
        record, _ = attend("echo a", Patience(20))
        assert (record.output, files()) == (None, [record.task_id])

    @pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EISDIR])
    def test_that_it_has_none_is_found_out(self, attend, files, monkeypatch, number):
        real = os.open

        def refuse(path, flags, *args):
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(number, "no")
            return real(path, flags, *args)

        monkeypatch.setattr(os, "open", refuse)
        record, _ = attend("echo a", Patience(20))
        assert files() == [record.task_id]

    def test_a_worker_keeps_few_of_them(self, outputs, attend):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: attend("echo a", Patience(20)), range(24)))
        assert 1 <= outputs._spare.qsize() <= output._SPARE_FILES
        outputs.close()
        assert outputs._spare.empty()
