"""A task's output is looked up in streams as it is in files."""

import pytest

from app.errors import StorageUnavailable
from app.tasks.lines import newest_lines
from app.tasks.lookup import Lookup, OutputPart
from app.tasks.record import TaskRecord
from app.tasks.states import State
from tests.unit.tasks.conftest import NoBackend
from tests.unit.tasks.streams.conftest import (
    HEAD_BYTES,
    TAIL_BYTES,
    content,
    settle,
    write,
)
from tests.valkey import running_valkey

WRITTEN_BYTES = 5000
TAIL_START = WRITTEN_BYTES - TAIL_BYTES


def lookup_of(outputs):
    return Lookup(store=None, outputs=outputs, backend=NoBackend(), cancel_seconds=1)


def read(outputs, task, offset):
    options = {"limit": 10_000, "whole_characters": False}
    return lookup_of(outputs).read(task, offset=offset, **options)


@pytest.fixture
def make_task(task_id):
    def make(*, finished=True, **facts):
        return TaskRecord(
            task_id=task_id,
            kind="exec",
            state=State.SUCCESS if finished else State.STARTED,
            owner=None,
            host="pelican",
            worker="1",
            request_id=None,
            created=1.0,
            finished=2.0 if finished else None,
            **facts,
        )

    return make


def test_all_is_read_around_the_gap(outputs, make_task, task_id):
    log = outputs.create(task_id)
    write(log, WRITTEN_BYTES)
    log.close()
    task = make_task(**log.facts())
    assert read(outputs, task, 0) == OutputPart(0, content(0, HEAD_BYTES), 0, eof=False)
    tail = content(TAIL_START, TAIL_BYTES)
    assert read(outputs, task, HEAD_BYTES) == OutputPart(
        HEAD_BYTES, tail, TAIL_START - HEAD_BYTES, eof=True
    )
    assert lookup_of(outputs).newest_text(task) == tail.decode(errors="replace")


def test_what_the_server_has_lost_is_passed_over(tmp_path, make_outputs, make_task):
    task = make_task(end_offset=WRITTEN_BYTES, dropped_bytes=0)
    with running_valkey(tmp_path) as server:
        outputs = make_outputs(server)
        log = outputs.create(task.task_id)
        write(log, WRITTEN_BYTES)
        log.close()
        server.kill()
        with pytest.raises(StorageUnavailable):
            read(outputs, task, 20)
        server.start()
        lost = OutputPart(20, b"", WRITTEN_BYTES - 20, eof=True)
        assert read(outputs, task, 20) == lost


def test_what_is_not_there_yet_is_waited_for(outputs, make_task):
    task = make_task(finished=False)
    assert read(outputs, task, 0) == OutputPart(0, b"", 0, eof=False)


def test_the_newest_lines_are_shown(outputs, task_id):
    log = outputs.create(task_id)
    for number in range(300):
        log.append(b"line %d\n" % number)
        if number % 50 == 0:
            settle(log)
    log.close()
    with outputs.open(task_id) as reader:
        lines = newest_lines(reader, 0, count=2, finished=True)
    assert lines.text == "line 298\nline 299"
    assert lines.next_offset == log.end_offset
