import os
import sqlite3
import threading
import time
import uuid
from contextlib import closing
from pathlib import Path

import pytest
import structlog
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.testing import capture_logs

from app.errors import CapacityExceeded, ShuttingDown, SlotBusy, StorageUnavailable
from app.processes.child import Child
from app.storage import engine
from app.storage.task_store import Room
from app.tasks import runner
from app.tasks.notices import Notices
from app.tasks.order import Order, Origin
from app.tasks.output import OutputFolder
from app.tasks.record import TaskRecord
from app.tasks.states import State
from app.tasks.thread_backend import ThreadBackend
from app.tasks.waiting_line import WaitingLine
from app.tasks.worker import Worker
from tests.commands import IGNORES_TERM, OBEYS_TERM, program, python, shell
from tests.servers import alive_with, children_of, wait_until
from tests.unit.tasks.conftest import HEAD_BYTES, HOST, TAIL_BYTES


def submit(backend, command, *, caller="bob", request_id=None):
    origin = Origin(owner=caller, slot=caller, request_id=request_id)
    return backend.submit(Order(command, cmd=command.argv[-1]), origin)


@pytest.fixture
def output_of(outputs):
    def read(task_id):
        with outputs.open(task_id) as reader:
            return reader.read_until(0, reader.end_offset()).data

    return read


@pytest.fixture
def run(backend, end_of, output_of):
    """Run a command to its end; return its record and its output."""

    def to_the_end(command, **options):
        record = end_of(submit(backend, command, **options).task_id)
        return record, output_of(record.task_id)

    return to_the_end


def run_threads():
    return [t for t in threading.enumerate() if t.name.startswith("run-")]


def wait_for_output(output_of, task_id, text):
    wait_until(lambda: text in output_of(task_id))


class TestRecord:
    def test_it_is_there_before_the_command_runs(self, backend, record_of):
        before = time.time()
        record = submit(backend, shell("true"), request_id="r-1")
        assert uuid.UUID(record.task_id).version == 4
        assert record.kind == "exec"
        assert (record.owner, record.slot, record.cmd) == ("bob", "bob", "true")
        assert (record.host, record.request_id) == (HOST, "r-1")
        assert record.worker == str(Worker.current())
        assert before <= record.created <= time.time()
        assert record_of(record.task_id).created == record.created

    def test_a_running_command_has_started(self, backend, record_of, token):
        task_id = submit(backend, shell(f"sleep {token}")).task_id
        wait_until(lambda: record_of(task_id).state is State.STARTED)
        record = record_of(task_id)
        assert record.created <= record.started <= time.time()
        assert record.finished is None

    def test_a_success_has_all_its_facts(self, run):
        record, output = run(shell("echo a; echo b"))
        assert output == b"a\nb\n"
        assert (record.state, record.reason) == (State.SUCCESS, "exit")
        assert (record.returncode, record.signal) == (0, None)
        assert (record.leftovers, record.detail) == (False, None)
        assert (record.end_offset, record.dropped_bytes) == (4, 0)
        assert record.created <= record.started <= record.finished <= time.time()
        assert record.cpu_seconds >= 0

    @pytest.mark.parametrize(
        ("script", "expected"),
        [
            ("exit 7", ("exit", 7, None)),
            ("kill -9 $$", ("signal", 137, "SIGKILL")),
        ],
    )
    def test_a_failure_says_why(self, run, script, expected):
        record, _ = run(shell(script))
        assert record.state is State.FAILURE
        assert (record.reason, record.returncode, record.signal) == expected

    def test_one_out_of_time_is_a_failure_however_it_ended(self, run):
        record, output = run(shell(OBEYS_TERM, timeout_seconds=1))
        assert (record.state, record.reason) == (State.FAILURE, "timeout")
        assert record.returncode == 0
        assert output == b"ready\nbye\n"

    def test_leftovers_are_told(self, run, token):
        record, _ = run(shell(f"sleep {token} &"))
        assert (record.state, record.leftovers) == (State.SUCCESS, True)
        assert not alive_with(token)

    def test_one_that_cannot_be_started_says_what_the_system_said(self, run):
        record, output = run(program("/nonexistent/program"))
        assert (record.state, record.reason) == (State.FAILURE, "spawn_failed")
        assert "No such file or directory: '/nonexistent/program'" in record.detail
        assert (record.returncode, record.started) == (None, None)
        assert output == b""

    def test_what_is_not_kept_of_the_output_is_counted(self, run):
        size = HEAD_BYTES + TAIL_BYTES + 300_000
        record, _ = run(python(f"print('x' * {size}, end='')"))
        assert (record.end_offset, record.dropped_bytes) == (size, 300_000)

    def test_a_fault_of_ours_is_a_failure_and_is_logged(self, run, monkeypatch):
        def fail(child, *sinks):
            child._popen.kill()
            child._popen.wait()
            child._opened.close()
            raise RuntimeError("a fault of ours")

        monkeypatch.setattr(Child, "run", fail)
        with capture_logs() as logs:
            record, _ = run(shell("true"))
        assert (record.state, record.reason) == (State.FAILURE, "internal_error")
        [event] = [entry for entry in logs if entry["event"] == "run.failed"]
        assert event["task_id"] == record.task_id

    def test_the_output_is_all_there_when_the_record_has_its_end(
        self, backend, end_of, output_of
    ):
        for _ in range(20):
            task_id = submit(backend, shell("echo a; echo b")).task_id
            assert end_of(task_id).end_offset == 4
            assert output_of(task_id) == b"a\nb\n"


class TestEnvironment:
    def test_it_names_the_task_and_the_request(self, run):
        record, output = run(program("env"), request_id="r-7")
        assert f"BELLHOP_TASK_ID={record.task_id}\n".encode() in output
        assert b"BELLHOP_REQUEST_ID=r-7\n" in output

    def test_without_a_request_none_is_named(self, run):
        assert b"BELLHOP_REQUEST_ID" not in run(program("env"))[1]

    def test_a_task_cannot_be_given_the_name_of_another(self, run):
        record, output = run(program("env", BELLHOP_TASK_ID="another"))
        assert b"another" not in output
        assert record.task_id.encode() in output


class TestAdmission:
    def test_a_busy_slot_is_refused_and_names_its_task(self, backend, token, tmp_path):
        first = submit(backend, shell(f"sleep {token}"))
        with pytest.raises(SlotBusy) as refused:
            submit(backend, shell("true"))
        assert refused.value.task_id == first.task_id
        assert kept_outputs(tmp_path) == [first.task_id]

    def test_a_slot_is_free_once_its_task_has_ended(self, run):
        assert [run(shell("true"))[0].state for _ in range(3)] == [State.SUCCESS] * 3

    def test_another_slot_is_free(self, backend, run, token):
        submit(backend, shell(f"sleep {token}"))
        assert run(shell("true"), caller="alice")[0].state is State.SUCCESS

    def test_a_full_host_is_refused_across_its_workers(
        self, make_backend, token, tmp_path
    ):
        one, other = make_backend(max_running=2), make_backend(max_running=2)
        first = submit(one, shell(f"sleep {token}"), caller="a").task_id
        second = submit(other, shell(f"sleep {token}"), caller="b").task_id
        for backend in (one, other):
            with pytest.raises(CapacityExceeded) as refused:
                submit(backend, shell("true"), caller="c")
            assert refused.value.retry_after_seconds == 1
        assert kept_outputs(tmp_path) == sorted([first, second])

    def test_of_many_at_once_one_gets_the_slot(self, backend, token):
        start, results = threading.Barrier(8), []

        def try_it():
            start.wait()
            try:
                results.append(submit(backend, shell(f"sleep {token}")).task_id)
            except SlotBusy as busy:
                results.append(busy)

        threads = [threading.Thread(target=try_it) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        [admitted] = [result for result in results if isinstance(result, str)]
        assert {busy.task_id for busy in results if busy is not admitted} == {admitted}

    def test_without_room_for_output_nothing_is_started(
        self, store, detached, tmp_path
    ):
        backend = ThreadBackend(
            store=store,
            outputs=OutputFolder(tmp_path / "no", head_bytes=1, tail_bytes=1),
            host=HOST,
            room={"exec": Room(1)},
            line=WaitingLine(tmp_path / "queue", notices=Notices()),
            grace_seconds=1,
            detached=detached,
        )
        with pytest.raises(StorageUnavailable):
            submit(backend, shell("true"))
        assert store.unfinished(HOST) == []

    def test_without_records_nothing_is_started(
        self, backend, store, monkeypatch, tmp_path
    ):
        monkeypatch.setattr(store, "add", unavailable)
        with pytest.raises(StorageUnavailable):
            submit(backend, shell("true"))
        assert kept_outputs(tmp_path) == []
        assert run_threads() == []

    def test_without_a_thread_nothing_is_started(
        self, backend, store, monkeypatch, tmp_path
    ):
        def refuse(thread):
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(CapacityExceeded):
                submit(backend, shell("true"))
        assert store.find_newest("bob") is None
        assert kept_outputs(tmp_path) == []
        assert "tasks=0" in repr(backend)


def kept_outputs(tmp_path):
    return sorted(path.name for path in (tmp_path / "output").iterdir())


def unavailable(*args, **values):
    raise StorageUnavailable from OSError("away")


class TestClosing:
    def test_what_runs_is_ended_and_said_to_be(self, backend, end_of, output_of, token):
        told = shell(f"trap 'echo bye; exit 0' TERM; echo ready; sleep {token} & wait")
        task_id = submit(backend, told).task_id
        wait_for_output(output_of, task_id, b"ready")
        assert backend.close(seconds=20) == []
        record = end_of(task_id)
        assert (record.state, record.reason) == (State.REVOKED, "shutdown")
        assert output_of(task_id) == b"ready\nbye\n"
        assert not alive_with(token)
        assert run_threads() == []

    def test_what_will_not_end_is_killed(self, make_backend, end_of, output_of):
        backend = make_backend(grace_seconds=0.2)
        task_id = submit(backend, shell(IGNORES_TERM)).task_id
        wait_for_output(output_of, task_id, b"ready")
        assert backend.close(seconds=20) == []
        assert end_of(task_id).signal == "SIGKILL"

    def test_many_are_ended_at_the_same_time(self, backend, end_of, token):
        command = shell(f"trap '' TERM; sleep {token}")
        task_ids = [submit(backend, command, caller=f"c{n}").task_id for n in range(8)]
        begun = time.monotonic()
        assert backend.close(seconds=20) == []
        assert time.monotonic() - begun < 10, "one grace for all, not one each"
        assert {end_of(task_id).reason for task_id in task_ids} == {"shutdown"}

    def test_what_would_not_end_in_time_is_named(self, make_backend, output_of):
        backend = make_backend(grace_seconds=1)
        task_id = submit(backend, shell(IGNORES_TERM)).task_id
        wait_for_output(output_of, task_id, b"ready")
        assert backend.close(seconds=0.1) == [task_id]
        assert backend.close(seconds=20) == []

    def test_nothing_more_is_taken(self, backend, store, tmp_path):
        backend.close(seconds=1)
        with pytest.raises(ShuttingDown):
            submit(backend, shell("true"))
        assert store.find_newest("bob") is None
        assert kept_outputs(tmp_path) == []

    def test_twice_is_safe(self, backend):
        assert backend.close(seconds=1) == []
        assert backend.close(seconds=1) == []


class TestWithoutTheDatabase:
    @pytest.fixture(autouse=True)
    def little_patience(self, monkeypatch):
        monkeypatch.setattr(engine, "BUSY_SECONDS", 0.1)
        monkeypatch.setattr(runner, "RETRY_SECONDS", 0.05)

    @pytest.fixture
    def lock_database(self, tmp_path):
        """Return what locks the database as a stuck worker would; it is let go."""
        with closing(sqlite3.connect(tmp_path / "bellhop.db")) as connection:

            def lock():
                wait_until(lambda: begun(connection))
                return connection

            yield lock
            connection.rollback()

    def test_an_end_is_written_when_it_is_back(
        self, backend, record_of, tmp_path, lock_database
    ):
        go = tmp_path / "go"
        waiting = shell(f"while ! [ -e {go} ]; do sleep 0.02; done; exit 7")
        task_id = submit(backend, waiting).task_id
        wait_until(lambda: record_of(task_id).state is State.STARTED)
        with capture_logs() as logs:
            locked = lock_database()
            go.touch()
            wait_until(lambda: len(tries(logs)) >= 2)
            assert record_of(task_id).finished is None
            locked.rollback()
            wait_until(lambda: record_of(task_id).finished is not None)
        record = record_of(task_id)
        assert (record.state, record.returncode) == (State.FAILURE, 7)
        assert "database is locked" in tries(logs)[0]["error"]

    @pytest.mark.parametrize("error", [StorageUnavailable(), ValueError("of ours")])
    def test_a_command_runs_on_though_its_start_cannot_be_written(
        self, run, store, monkeypatch, error
    ):
        def fail(*args, **values):
            raise error

        monkeypatch.setattr(store, "start", fail)
        record, output = run(shell("echo a; sleep 0.1"))
        assert (record.state, output) == (State.SUCCESS, b"a\n")
        assert record.created <= record.started < record.finished

    def test_closing_does_not_wait_for_it_longer_than_told(
        self, backend, store, record_of, monkeypatch
    ):
        with capture_logs() as logs, monkeypatch.context() as patch:
            patch.setattr(store, "finish", unavailable)
            task_id = submit(backend, shell("true")).task_id
            wait_until(lambda: tries(logs))
            begun = time.monotonic()
            assert backend.close(seconds=0.3) == [task_id]
            assert time.monotonic() - begun < 3
            wait_until(lambda: run_threads() == [])
        assert record_of(task_id).finished is None, "its worker's death will tell"


def tries(logs):
    return [entry for entry in logs if entry["event"] == "task.end_not_written"]


def begun(connection):
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:  # a run is writing just now
        return False
    return True


class TestLog:
    def test_a_runs_lines_tell_the_request(self, run):
        with (
            capture_logs(processors=[merge_contextvars]) as logs,
            bound_contextvars(request_id="r-9"),
        ):
            run(shell("true"))
        told = {entry["event"]: entry["request_id"] for entry in logs}
        assert told["process.started"] == told["process.ended"] == "r-9"

    def test_two_runs_do_not_mix_their_requests(self, backend, end_of):
        with capture_logs(processors=[merge_contextvars]) as logs:
            wanted = {}
            for number in range(5):
                with bound_contextvars(request_id=f"r-{number}"):
                    record = submit(backend, shell("true"), caller=f"c{number}")
                wanted[record.task_id] = f"r-{number}"
            for task_id in wanted:
                end_of(task_id)
            wait_until(lambda: run_threads() == [])
        ended = [entry for entry in logs if entry["event"] == "process.ended"]
        assert {e["task_id"]: e["request_id"] for e in ended} == wanted
        assert "request_id" not in structlog.contextvars.get_contextvars()

    def test_the_command_is_in_none_of_them(self, run):
        with capture_logs() as logs:
            run(shell("echo secret-$((40+2))"))
        assert logs
        assert "secret" not in repr(logs)


def test_two_hundred_runs_leave_nothing_behind(make_backend, end_of, output_of):
    backend = make_backend(max_running=20)
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    children = children_of(os.getpid())
    for number in range(0, 200, 10):
        records = [
            submit(backend, shell(f"echo {n}"), caller=f"c{n}")
            for n in range(number, number + 10)
        ]
        for record in records:
            assert end_of(record.task_id).state is State.SUCCESS
            assert output_of(record.task_id).decode() == f"{record.slot[1:]}\n"
    wait_until(lambda: run_threads() == [])
    assert "tasks=0" in repr(backend)
    assert children_of(os.getpid()) == children
    # The pool of the database keeps some connections, however many runs there were.
    # Each has one of the database, one of its journal and one of the journal's index.
    more = len(list(Path("/proc/self/fd").iterdir())) - descriptors
    assert more <= 3 * engine.POOL_CONNECTIONS


def test_a_task_record_is_given_back(backend):
    assert isinstance(submit(backend, shell("true")), TaskRecord)
