"""Real records, outputs and engines in a folder of the test's own."""

import json
import os
import random
import signal
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict

import pytest

from app.storage.engine import Database
from app.storage.task_store import Admission, Room, TaskStore
from app.tasks.detached import DetachedRuns
from app.tasks.notices import Notices
from app.tasks.order import Order
from app.tasks.output import STREAMS, OutputFolder
from app.tasks.output_log import OutputReader, TaskOutput
from app.tasks.record import TaskRecord
from app.tasks.states import State
from app.tasks.thread_backend import ThreadBackend
from app.tasks.waiting_line import WaitingLine
from app.tasks.worker import Worker
from tests.servers import alive_with, wait_until

HEAD_BYTES = 1000
TAIL_BYTES = 5000
HOST = "pelican"


@pytest.fixture
def token():
    """Give a number of seconds to sleep by which processes can be found again."""
    seconds = str(random.randrange(10**9, 2 * 10**9))
    yield seconds
    for pid in alive_with(seconds):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def database(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/bellhop.db")
    yield database
    database.close()


class NoBackend:
    """A backend whose tasks are as the records have them."""

    def refresh(self, task):
        return task


@pytest.fixture
def store(database):
    return TaskStore(database)


@pytest.fixture
def outputs(tmp_path):
    path = tmp_path / "output"
    path.mkdir()
    outputs = OutputFolder(path, head_bytes=HEAD_BYTES, tail_bytes=TAIL_BYTES)
    yield outputs
    outputs.close()


@pytest.fixture
def notices():
    made = Notices()
    yield made
    made.close()


@pytest.fixture
def detached(store, tmp_path, detached_runs_end):
    runs = DetachedRuns(tmp_path / "detached", store=store, grace_seconds=1.0)
    yield runs
    runs.close()


class DetachedRun:
    """A detached run that was started as a backend does it, and what it has left."""

    def __init__(self, runs, record, paths, tmp_path):
        self.runs = runs
        self.record = record
        self.task_id = record.task_id
        self.paths = paths
        self._files = tmp_path / "detached" / record.task_id

    def file(self, suffix):
        return self._files.with_suffix(suffix)

    def end(self, seconds=20):
        """Return what became of it."""
        wait_until(self.file(".end").exists, seconds=seconds)
        return json.loads(self.file(".end").read_bytes())

    def output(self, number=0):
        """Return what it has written, to stdout or to stderr."""
        with OutputReader(os.open(self.paths[number], os.O_RDONLY)) as reader:
            return reader.read_until(0, reader.end_offset()).data

    def wait_for(self, text):
        wait_until(lambda: text in self.output())
        return self


@pytest.fixture
def prepare(detached, store, outputs, add_task, tmp_path):
    """Write down detached runs that are to begin; return them with their outputs."""

    def prepare(command, *, runs=detached, **options):
        task_id = add_task(state=State.QUEUED, detached=True)
        record = TaskRecord.from_row(store.find(task_id))
        streams = STREAMS if command.separate_stderr else STREAMS[:1]
        paths = [outputs.path(task_id, stream) for stream in streams]
        order = Order(command, cmd="x", is_detached=True, **options)
        output = TaskOutput(*(outputs.create(task_id, stream) for stream in streams))
        runs.prepare(order, record, paths)
        return DetachedRun(runs, record, paths, tmp_path), output

    return prepare


@pytest.fixture
def start(prepare):
    """Start detached runs."""

    def start(command, **options):
        run, output = prepare(command, **options)
        assert run.runs.hand_over(run.task_id, output) is None
        return run

    return start


@pytest.fixture
def make_backend(store, outputs, notices, detached, tmp_path):
    """Make backends, and close them in the end."""
    backends = []

    def make(*, max_running=50, max_queued=0, grace_seconds=2.0, **more):
        backend = ThreadBackend(
            store=store,
            outputs=outputs,
            host=HOST,
            room={"exec": Room(max_running, max_queued)},
            line=WaitingLine(tmp_path / "queue", notices=notices),
            grace_seconds=grace_seconds,
            detached=detached,
            **more,
        )
        backends.append(backend)
        return backend

    yield make
    for backend in backends:
        backend.close(seconds=20)


@pytest.fixture
def backend(make_backend):
    return make_backend()


@pytest.fixture
def record_of(store) -> Callable[[str], TaskRecord]:
    return lambda task_id: TaskRecord.from_row(store.find(task_id))


@pytest.fixture
def end_of(record_of) -> Callable[[str], TaskRecord]:
    """Return a task's record once that has an end."""

    def wait(task_id):
        wait_until(lambda: record_of(task_id).finished is not None, seconds=20)
        return record_of(task_id)

    return wait


@pytest.fixture
def add_task(store):
    """Add a task that this worker runs, changed as told; return its id."""

    def add(**changes):
        task_id = str(uuid.uuid4())
        record = TaskRecord(
            task_id=task_id,
            kind="exec",
            state=State.STARTED,
            owner="bob",
            slot=f"slot-{task_id}",
            host=HOST,
            worker=str(Worker.current()),
            cmd="true",
            request_id=None,
            created=time.time(),
        )
        store.add(asdict(record) | changes, Admission(Room(10_000)))
        return task_id

    return add
