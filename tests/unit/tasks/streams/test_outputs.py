import os
import tempfile
import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.errors import StorageUnavailable
from app.processes.child import Child
from app.processes.command import Command
from app.tasks.output import STDERR, OutputFolder
from app.tasks.output_log import SHORT_BYTES, Chunk, TaskOutput
from app.tasks.streams import layout, sender
from app.tasks.streams import log as log_module
from app.tasks.streams.layout import Keys
from tests.servers import wait_until
from tests.unit.tasks.streams.conftest import (
    HEAD_BYTES,
    KEEP_SECONDS,
    TAIL_BYTES,
    check_kept,
    content,
    settle,
    write,
)
from tests.valkey import running_valkey

steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 300), st.just(0)),
        st.tuples(st.just("read"), st.integers(0, 1500), st.integers(0, 200)),
    ),
    max_size=8,
)


def check_like_a_file(outputs, folder, given_steps):
    """Write the same to a file and to streams, and read the same of both."""
    task_id = str(uuid.uuid4())
    streamed, filed = outputs.create(task_id), folder.create(task_id)
    settle(streamed)
    with outputs.open(task_id) as of_stream, folder.open(task_id) as of_file:
        for action, first, limit in [*given_steps, ("read", 0, 2000)]:
            if action == "append":
                filed.append(memoryview(content(streamed.end_offset, first)))
                write(streamed, first)
                continue
            settle(streamed)
            check_same_reads(of_stream, of_file, first, limit)
        assert streamed.facts() == filed.facts()
        filed.close()
        streamed.close()
    outputs.remove(task_id)


def check_same_reads(of_stream, of_file, offset, limit):
    assert of_stream.facts() == of_file.facts()
    end = of_file.end_offset()
    assert of_stream.end_offset() == end
    whole, part = of_file.read(offset, limit), of_stream.read(offset, limit)
    if limit:
        assert part.start == whole.start
        assert bool(part.data) == bool(whole.data)
    assert whole.data.startswith(part.data)
    if limit:
        expected = of_file.read_until_gap(offset, limit)
        assert of_stream.read_until_gap(offset, limit) == expected
    assert of_stream.read_until(offset, end) == of_file.read_until(offset, end)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(head_bytes=st.integers(0, 120), tail_bytes=st.integers(0, 120), todo=steps)
@example(head_bytes=0, tail_bytes=0, todo=[("append", 5, 0), ("read", 0, 9)])
@example(head_bytes=0, tail_bytes=1, todo=[("append", 150, 0), ("read", 0, 9)])
@pytest.mark.parametrize("entry_bytes", [7, 32 * 1024])
def test_reads_are_those_of_a_file(
    *, valkey, make_outputs, monkeypatch, entry_bytes, head_bytes, tail_bytes, todo
):
    monkeypatch.setattr(layout, "ENTRY_BYTES", entry_bytes)
    outputs = make_outputs(valkey, head_bytes, tail_bytes)
    try:
        with tempfile.TemporaryDirectory() as path:
            sizes = {"head_bytes": head_bytes, "tail_bytes": tail_bytes}
            check_like_a_file(outputs, OutputFolder(Path(path), **sizes), todo)
    finally:
        outputs.close()


def test_an_output_is_there_before_anything_is_written(outputs, task_id):
    log = outputs.create(task_id)
    settle(log)
    with outputs.open(task_id) as reader:
        assert reader.facts() == {"end_offset": 0, "dropped_bytes": 0}
        assert reader.read(0, 10) == Chunk(0, b"")
    log.close()


def test_there_is_no_reader_for_what_is_not_kept(outputs, task_id):
    assert outputs.open(task_id) is None


def test_each_output_of_a_task_is_kept_apart(outputs, task_id):
    output = TaskOutput(outputs.create(task_id), outputs.create(task_id, STDERR))
    child = Child(
        Command(
            argv=("sh", "-c", "echo out; echo err >&2"),
            environment=dict(os.environ),
            separate_stderr=True,
            timeout_seconds=20,
        ),
        mark=f"BELLHOP_TASK_ID={task_id}",
        grace_seconds=1,
    )
    child.start(*output.sinks(None))
    child.run()
    output.close()
    for stream, expected in (("stdout", b"out\n"), (STDERR, b"err\n")):
        with outputs.open(task_id, stream) as reader:
            assert reader.read(0, 100) == Chunk(0, expected)
    assert output.facts() == {
        "end_offset": 4,
        "dropped_bytes": 0,
        "stderr_end_offset": 4,
        "stderr_dropped_bytes": 0,
    }


def test_a_task_that_is_run_again_begins_anew(outputs, task_id):
    for count in (700, 300):
        log = outputs.create(task_id)
        write(log, count)
        log.close()
    with outputs.open(task_id) as reader:
        assert reader.end_offset() == 300
        assert check_kept(log, reader) == []


def test_what_was_read_stays_for_another_reader(outputs, task_id):
    log = outputs.create(task_id)
    write(log, 5000)
    log.close()
    with outputs.open(task_id) as one, outputs.open(task_id) as other:
        gap = (HEAD_BYTES, 5000 - TAIL_BYTES)
        assert check_kept(log, one) == check_kept(log, other) == [gap]


def test_more_than_is_kept_is_told(outputs, task_id):
    told = []
    log = outputs.create(task_id)
    sink = log.sink(lambda: told.append(log.end_offset))
    for _ in range(3):
        sink(memoryview(bytes(HEAD_BYTES + TAIL_BYTES - 600)))
    log.close()
    assert told == [1500]


def test_a_short_output_is_for_the_record(outputs, task_id):
    log = outputs.create(task_id)
    write(log, SHORT_BYTES)
    assert log.short() == content(0, SHORT_BYTES)
    write(log, 1)
    assert log.short() is None
    log.close()


def test_all_keys_expire_and_a_silent_command_keeps_them(
    outputs, valkey, task_id, monkeypatch
):
    monkeypatch.setattr(sender, "BEAT_SECONDS", 0.05)
    log = outputs.create(task_id)
    write(log, 5000)
    settle(log)
    keys = list(Keys.of(task_id, "stdout"))
    with valkey.client() as client:

        def are_kept():
            return all(client.ttl(key) > KEEP_SECONDS - 5 for key in keys)

        assert are_kept()
        for key in keys:
            client.expire(key, 20)
        wait_until(are_kept)
        log.close()
        assert are_kept()


def test_what_is_removed_is_gone(outputs, valkey, task_id):
    log = outputs.create(task_id)
    write(log, 5000)
    log.close()
    with outputs.open(task_id) as reader:
        outputs.remove(task_id)
        assert reader.read(0, 10) == Chunk(5000, b"")
        assert reader.end_offset() == 5000
    assert outputs.open(task_id) is None
    with valkey.client() as client:
        assert not client.exists(*Keys.of(task_id, "stdout"))


def test_the_end_of_a_record_stands_where_the_server_has_less(outputs, task_id):
    log = outputs.create(task_id)
    write(log, 50)
    log.close()
    with outputs.open(task_id, end_offset=80) as reader:
        assert reader.facts() == {"end_offset": 80, "dropped_bytes": 30}
        assert reader.read(0, 100) == Chunk(0, content(0, 50))
        assert reader.read(50, 100) == Chunk(50, b"")


def test_a_flood_of_small_writes_takes_few_requests(valkey, outputs, task_id):
    log = outputs.create(task_id)
    with valkey.client() as client:
        client.config_resetstat()
        piece = memoryview(bytes(100))
        for _ in range(50_000):
            log.append(piece)
        log.close()
        requests = client.info("commandstats")["cmdstat_exec"]["calls"]
    assert requests < 1000


def test_a_flood_takes_no_more_memory_than_is_kept(valkey, make_outputs, task_id):
    kept_bytes = 64 * 1024 + 512 * 1024
    outputs = make_outputs(valkey, 64 * 1024, 512 * 1024)
    before = valkey.memory_bytes()
    log = outputs.create(task_id)
    piece = memoryview(bytes(8000))
    most = 0
    for _ in range(4000):
        log.append(piece)
        most = max(most, len(log._pending))
    log.close()
    assert most <= log_module.PENDING_BYTES
    assert log.end_offset == 32_000_000
    assert log.dropped_bytes == 32_000_000 - kept_bytes
    assert valkey.memory_bytes() - before < 2 * kept_bytes


def test_a_server_that_is_away_is_told_to_readers(tmp_path, make_outputs, task_id):
    with running_valkey(tmp_path) as server:
        outputs = make_outputs(server)
        outputs.check()
        log = outputs.create(task_id)
        write(log, 10)
        settle(log)
        reader = outputs.open(task_id)
        server.kill()
        for call in (
            outputs.check,
            lambda: outputs.open(task_id),
            lambda: outputs.remove(task_id),
            reader.end_offset,
            lambda: reader.read(0, 10),
        ):
            with pytest.raises(StorageUnavailable):
                call()
        outputs.tell(task_id)
        for _ in range(2):
            log.close(seconds=0)


def test_many_outputs_get_their_turns(outputs):
    logs = {name: outputs.create(name) for name in map(str, range(40))}
    for count in (1, 5000, 300):
        for log in logs.values():
            write(log, count)
    for name, log in logs.items():
        log.close()
        with outputs.open(name) as reader:
            assert check_kept(log, reader) == [(HEAD_BYTES, 5301 - TAIL_BYTES)]
        outputs.remove(name)


def test_what_is_written_after_the_close_of_all_is_dropped(
    valkey, make_outputs, task_id
):
    outputs = make_outputs(valkey)
    log = outputs.create(task_id)
    write(log, 50)
    settle(log)
    outputs.close()
    write(log, 20)
    log.close()
    assert log.facts() == {"end_offset": 70, "dropped_bytes": 20}
