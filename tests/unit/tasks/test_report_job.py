import json
import threading

import pytest
from structlog.testing import capture_logs

from app.errors import ShuttingDown, StorageUnavailable
from app.storage.task_store import Room
from app.tasks.notices import Notices
from app.tasks.order import Origin
from app.tasks.output_log import TaskOutput
from app.tasks.report_job import Piece, Report, ReportJob
from app.tasks.states import State
from app.tasks.thread_backend import ThreadBackend
from app.tasks.waiting_line import WaitingLine
from tests.servers import wait_until
from tests.unit.tasks.conftest import HOST


def pieces(count):
    yield Piece("heading 中\n")
    for number in range(count):
        yield Piece(f"line {number}\n", {"number": number})


def report(count, *, then_wait=False, fault=None):
    """Return a report that may wait for ever, or fail, after all but its last piece."""

    def make(wait):
        made = list(pieces(count))
        yield from made[:-1]
        if then_wait and wait(60):
            return
        if fault:
            raise fault
        yield made[-1]

    return Report("iostat", total=count, pieces=make)


@pytest.fixture
def log(outputs):
    made = outputs.create("t")
    yield made
    made.close()


@pytest.fixture
def text_of(outputs):
    def read(task_id):
        with outputs.open(task_id) as reader:
            return reader.read_until(0, reader.end_offset()).data.decode()

    return read


class Heard:
    """What a job told of itself."""

    def __init__(self):
        self.starts = 0
        self.progress = []

    def started(self):
        self.starts += 1


def job_of(made, heard):
    return ReportJob(made, started=heard.started, progressed=heard.progress.append)


@pytest.fixture
def backend(store, outputs, detached):
    made = ThreadBackend(
        store=store,
        outputs=outputs,
        host=HOST,
        room={"exec": Room(5), "iostat": Room(5)},
        line=WaitingLine(outputs.path("queue"), notices=Notices()),
        grace_seconds=1,
        detached=detached,
    )
    yield made
    made.close(seconds=20)


def submit(backend, made):
    return backend.submit_report(made, Origin(owner=None, request_id="r-1")).task_id


class TestRun:
    def test_its_text_is_the_output_and_with_the_figures_the_result(self, log, text_of):
        heard = Heard()
        end = job_of(report(3), heard).run(TaskOutput(log))
        assert (end["state"], end["reason"]) == (State.SUCCESS, "exit")
        result = json.loads(end["result"])
        assert result["samples"] == [{"number": number} for number in range(3)]
        assert (
            result["iostat"] == text_of("t") == "heading 中\nline 0\nline 1\nline 2\n"
        )
        assert (heard.starts, heard.progress) == (1, [1, 2, 3])

    @pytest.mark.parametrize("count", [1, 2, 5])
    def test_one_that_was_stopped_before_reports_nothing(self, log, count):
        heard = Heard()
        job = job_of(report(count), heard)
        job.stop("cancelled")
        end = job.run(TaskOutput(log))
        assert (end["state"], end["reason"]) == (State.REVOKED, "cancelled")
        assert "result" not in end
        assert (log.end_offset, heard.progress) == (0, [])

    def test_one_that_is_stopped_while_it_waits_ends_there(self, log, text_of):
        heard, ends = Heard(), []
        job = job_of(report(3, then_wait=True), heard)
        thread = threading.Thread(target=lambda: ends.append(job.run(TaskOutput(log))))
        thread.start()
        wait_until(lambda: heard.progress == [1, 2])
        job.stop("shutdown")
        job.stop("cancelled")
        thread.join(10)
        [end] = ends
        assert (end["state"], end["reason"]) == (State.REVOKED, "shutdown"), "the first"
        assert "result" not in end
        assert text_of("t") == "heading 中\nline 0\nline 1\n"

    def test_stopped_after_its_end_it_keeps_that(self, log):
        job = job_of(report(2), Heard())
        end = job.run(TaskOutput(log))
        before = dict(end)
        job.stop("cancelled")
        assert end == before
        assert end["state"] is State.SUCCESS

    def test_one_that_is_stopped_between_two_pieces_does_not_make_the_rest(self, log):
        def make(wait):
            yield Piece("a\n", {"n": 1})
            job.stop("cancelled")
            yield Piece("b\n", {"n": 2})

        job = job_of(Report("iostat", total=2, pieces=make), Heard())
        assert job.run(TaskOutput(log))["state"] is State.REVOKED
        assert log.end_offset == 2


class TestThroughTheBackend:
    def test_the_record_tells_all_of_it(self, backend, end_of, text_of):
        record = end_of(submit(backend, report(3)))
        assert (record.kind, record.owner, record.slot) == ("iostat", None, None)
        assert (record.state, record.reason) == (State.SUCCESS, "exit")
        assert (record.progress_done, record.progress_total) == (3, 3)
        assert (record.returncode, record.cmd) == (None, None)
        assert (record.request_id, record.host) == ("r-1", HOST)
        assert record.created <= record.started <= record.finished
        assert json.loads(record.result)["iostat"] == text_of(record.task_id)
        assert record.end_offset == len(text_of(record.task_id).encode())

    def test_progress_can_be_seen_while_it_runs(self, backend, record_of, text_of):
        task_id = submit(backend, report(4, then_wait=True))
        wait_until(lambda: record_of(task_id).progress_done == 3)
        record = record_of(task_id)
        assert (record.state, record.progress_total) == (State.STARTED, 4)
        assert record.result is record.finished is None
        assert text_of(task_id).endswith("line 2\n")

    @pytest.mark.parametrize("fault", [ValueError("a fault"), StorageUnavailable()])
    def test_a_fault_in_the_pieces_is_a_failure_and_is_logged(
        self, backend, end_of, text_of, fault
    ):
        with capture_logs() as logs:
            record = end_of(submit(backend, report(3, fault=fault)))
        assert (record.state, record.reason) == (State.FAILURE, "internal_error")
        assert record.result is None
        assert (record.progress_done, record.progress_total) == (2, 3)
        assert text_of(record.task_id) == "heading 中\nline 0\nline 1\n"
        assert record.end_offset == len(text_of(record.task_id).encode())
        [event] = [entry for entry in logs if entry["event"] == "run.failed"]
        assert event["task_id"] == record.task_id

    def test_a_shutdown_ends_it_and_says_so(self, backend, record_of):
        task_id = submit(backend, report(2, then_wait=True))
        wait_until(lambda: record_of(task_id).progress_done == 1)
        assert backend.close(seconds=10) == []
        record = record_of(task_id)
        assert (record.state, record.reason) == (State.REVOKED, "shutdown")
        assert record.result is None
        with pytest.raises(ShuttingDown):
            submit(backend, report(1))

    def test_it_goes_on_though_its_progress_cannot_be_written(
        self, backend, end_of, store, monkeypatch
    ):
        def unavailable(*args, **values):
            raise StorageUnavailable from OSError("away")

        monkeypatch.setattr(store, "start", unavailable)
        with capture_logs() as logs:
            record = end_of(submit(backend, report(3)))
        assert record.state is State.SUCCESS
        assert len(json.loads(record.result)["samples"]) == 3
        unwritten = [e for e in logs if e["event"] == "task.progress_not_written"]
        assert [entry["error"] for entry in unwritten] == ["away"] * 3
