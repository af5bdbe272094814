"""Outputs in streams as the rest of the service uses them."""

import os
import threading

import pytest

from app.errors import InvalidInput, StorageUnavailable
from app.processes.child import Child
from app.processes.command import Command
from app.services.building import build_outputs
from app.tasks.lookup import Lookup, OutputPart
from app.tasks.output import STDERR, OutputFolder
from app.tasks.output_log import SHORT_BYTES, TaskOutput
from app.tasks.record import TaskRecord
from app.tasks.states import State
from app.tasks.streams import outputs as module
from app.tasks.streams.layout import Keys
from app.tasks.streams.outputs import StreamOutputs
from app.tasks.streams.sender import Sender
from tests.servers import wait_until
from tests.unit.tasks.conftest import NoBackend
from tests.unit.tasks.streams.conftest import check_kept, content, settle, write
from tests.valkey import running_valkey

# Longer than any test may take: who goes on has been told.
LONG_SECONDS = 60
LARGE = {"head_bytes": 500, "tail_bytes": 10**6}


def keys_of(server, task_id):
    with server.client() as client:
        return client.keys(f"*{task_id}*")


def running_task(task_id):
    return TaskRecord(
        task_id=task_id,
        kind="exec",
        state=State.STARTED,
        owner=None,
        host="pelican",
        worker="1",
        request_id=None,
        created=1.0,
    )


def read(outputs, task_id, offset):
    lookup = Lookup(store=None, outputs=outputs, backend=NoBackend(), cancel_seconds=1)
    options = {"limit": 10_000, "whole_characters": False}
    return lookup.read(running_task(task_id), offset=offset, **options)


class TestTheEnd:
    def test_a_short_output_is_the_record_s_whatever_the_server_has(
        self, make_outputs, tmp_path, task_id
    ):
        with running_valkey(tmp_path) as server:
            outputs = make_outputs(server, **LARGE)
            log = outputs.create(task_id)
            write(log, 300)
            server.kill()
            found = TaskOutput(log).ended()
            assert found == {
                "end_offset": 300,
                "dropped_bytes": 0,
                "output": content(0, 300),
            }
            outputs.give_back(log)

    def test_a_short_one_that_nobody_was_to_read_is_brought_nowhere(
        self, valkey, outputs, task_id
    ):
        with outputs.notices.of(outputs.watched(task_id)) as notice:
            notice.wait(LONG_SECONDS)  # that the server listens
            log = outputs.create_unnamed(task_id)
            write(log, 300)
            assert TaskOutput(log).ended()["output"] == content(0, 300)
            outputs.give_back(log)
            notice.wait(LONG_SECONDS)
        assert keys_of(valkey, task_id) == []

    def test_a_longer_one_is_brought_there_from_its_beginning_on(
        self, valkey, make_outputs, task_id
    ):
        outputs = make_outputs(valkey, **LARGE)
        log = outputs.create_unnamed(task_id)
        write(log, SHORT_BYTES)
        assert outputs.open(task_id) is None
        write(log, 1)
        settle(log)
        with outputs.open(task_id) as reader:
            check_kept(log, reader)
        log.close()

    def test_a_longer_one_is_with_the_server_before_the_record_says_so(
        self, valkey, make_outputs, task_id
    ):
        outputs = make_outputs(valkey, **LARGE)
        log = outputs.create(task_id)
        write(log, SHORT_BYTES + 1)
        found = TaskOutput(log).ended()
        assert found == log.facts() | {"output": None}
        with outputs.open(task_id) as reader:
            assert reader.end_offset() == SHORT_BYTES + 1
        log.close()

    def test_where_stderr_is_apart_both_are_with_the_server(
        self, valkey, make_outputs, task_id
    ):
        outputs = make_outputs(valkey, **LARGE)
        output = TaskOutput(outputs.create(task_id), outputs.create(task_id, STDERR))
        write(output.stderr, 20)
        found = output.ended()
        assert (found["output"], found["stderr_end_offset"]) == (None, 20)
        with outputs.open(task_id, STDERR) as reader:
            assert reader.end_offset() == 20
        output.close()

    def test_it_is_told_when_the_output_is_closed_or_given_back(self, outputs, task_id):
        for end in (lambda log: log.close(), outputs.give_back):
            log = outputs.create(task_id)
            settle(log)
            with outputs.notices.of(outputs.watched(task_id)) as notice:
                notice.wait(LONG_SECONDS)  # that the server listens
                write(log, 10)
                settle(log)
                notice.wait(LONG_SECONDS)
                end(log)
                notice.wait(LONG_SECONDS)

    def test_what_is_given_back_is_forgotten(self, outputs, valkey, task_id):
        log = outputs.create(task_id)
        write(log, 10)
        settle(log)
        assert keys_of(valkey, task_id)
        outputs.give_back(log)
        wait_until(lambda: not keys_of(valkey, task_id))

    def test_what_is_on_its_way_as_it_is_given_back_is_forgotten_too(
        self, outputs, valkey, task_id, monkeypatch
    ):
        request, is_asked, may_go_on = (
            Sender._request,
            threading.Event(),
            threading.Event(),
        )

        def slowly(self, parcels, words):
            is_asked.set()
            may_go_on.wait(LONG_SECONDS)
            return request(self, parcels, words)

        monkeypatch.setattr(Sender, "_request", slowly)
        log = outputs.create(task_id)
        write(log, 10)
        is_asked.wait(LONG_SECONDS)
        with outputs.notices.of(outputs.watched(task_id)) as notice:
            notice.wait(LONG_SECONDS)
            outputs.give_back(log)
            may_go_on.set()
            wait_until(lambda: not outputs._sender._words)
        other = outputs.create(task_id + "-2")
        settle(other)
        assert not [k for k in keys_of(valkey, task_id) if b"-2" not in k]
        other.close()

    def test_an_end_is_told_though_output_after_output_is_sent(self, outputs, task_id):
        logs = [outputs.create(f"{task_id}-{n}") for n in range(3)]
        with outputs.notices.of(outputs.watched(f"{task_id}-0")) as notice:
            notice.wait(LONG_SECONDS)
            for log in logs:
                write(log, 5000)
            outputs.give_back(logs[0])
            notice.wait(LONG_SECONDS)
        for log in logs[1:]:
            log.close()

    def test_a_command_s_end_waits_for_nobody_where_its_output_is_short(
        self, make_outputs, tmp_path, task_id
    ):
        with running_valkey(tmp_path) as server:
            outputs = make_outputs(server)
            server.freeze()
            output = TaskOutput(outputs.create(task_id))
            child = Child(
                Command(
                    argv=("echo", "a"),
                    environment=dict(os.environ),
                    timeout_seconds=20,
                ),
                mark=f"BELLHOP_TASK_ID={task_id}",
                grace_seconds=1,
            )
            child.start(*output.sinks(None))
            child.run()
            assert output.ended()["output"] == b"a\n"
            outputs.give_back(output.stdout)
            server.thaw()


class TestWhatADeadWriterLeft:
    def test_it_is_what_the_server_has(self, outputs, task_id):
        log = outputs.create(task_id)
        apart = outputs.create(task_id, STDERR)
        write(log, 5000)
        write(apart, 30)
        settle(log)
        settle(apart)
        facts = {**log.facts(), "stderr_end_offset": 30, "stderr_dropped_bytes": 0}
        assert outputs.left_by(task_id) == facts
        log.close()
        apart.close()

    def test_one_that_wrote_nowhere_left_nothing(self, outputs, task_id):
        assert outputs.left_by(task_id) == {}

    def test_while_the_server_is_away_nothing_is_known(
        self, make_outputs, tmp_path, task_id
    ):
        with running_valkey(tmp_path) as server:
            outputs = make_outputs(server)
            server.kill()
            assert outputs.left_by(task_id) == {}


def test_one_that_is_silent_is_not_asked_about_each_of_many(
    make_outputs, tmp_path, task_id, monkeypatch
):
    asked = []
    find = module.find_state
    monkeypatch.setattr(module, "SILENT_SECONDS", LONG_SECONDS)
    monkeypatch.setattr(
        module, "find_state", lambda *given: asked.append(given) or find(*given)
    )
    with running_valkey(tmp_path) as server:
        outputs = make_outputs(server)
        server.freeze()
        for _ in range(20):
            with pytest.raises(StorageUnavailable):
                outputs.open(task_id)
        server.thaw()
    assert len(asked) == 1


def test_many_are_removed_at_once(outputs, valkey, task_id):
    task_ids = [f"{task_id}-{n}" for n in range(5)]
    for each in task_ids:
        log = outputs.create(each)
        write(log, 5000)
        log.close()
    outputs.remove(*task_ids[1:])
    outputs.remove()
    assert {key.split(b"}")[0] for key in keys_of(valkey, task_id)} == {
        b"bellhop:{" + task_ids[0].encode()
    }
    assert outputs.task_ids(older_than_seconds=0) == []


class TestAnEndThatTheServerHasForgotten:
    """An offset beyond the end is one that was given, or one that was made up."""

    def test_beyond_an_end_that_is_sure_nothing_can_be_asked(self, outputs, task_id):
        log = outputs.create(task_id)
        write(log, 50)
        settle(log)
        with pytest.raises(InvalidInput):
            read(outputs, task_id, 51)
        log.close()

    def test_after_a_restart_it_is_waited_for_until_the_writer_has_told_it(
        self, make_outputs, tmp_path, task_id
    ):
        with running_valkey(tmp_path) as server:
            outputs = make_outputs(server, **LARGE)
            log = outputs.create(task_id)
            write(log, 1000)
            settle(log)
            with server.client() as client:
                client.save()
            write(log, 2000)
            settle(log)
            server.kill()
            server.start()
            with outputs.open(task_id) as reader:
                assert reader.end_offset() == 1000
            assert read(outputs, task_id, 3000) == OutputPart(3000, b"", 0, eof=False)
            write(log, 500)
            settle(log)
            part = read(outputs, task_id, 3000)
            assert (part.data, part.dropped_bytes) == (content(3000, 500), 0)
            # Once it is told again by itself, it is sure again.
            outputs._sender._next_beat = 0.0
            write(log, 500)
            settle(log)
            with pytest.raises(InvalidInput):
                read(outputs, task_id, 4001)
            log.close()


def test_keys_are_those_of_one_task_alone(outputs, valkey, task_id):
    log = outputs.create(task_id)
    write(log, 5000)
    log.close()
    expected = {key.encode() for key in Keys.of(task_id, "stdout")}
    assert set(keys_of(valkey, task_id)) == expected


def test_a_full_server_cannot_take_the_next_run(tmp_path, make_outputs):
    with running_valkey(tmp_path) as server:
        outputs = make_outputs(server)
        outputs.check()
        with server.client() as client:
            client.config_set("maxmemory", 1)
            with pytest.raises(StorageUnavailable):
                outputs.check()
            client.config_set("maxmemory", 0)
        outputs.check()


@pytest.mark.parametrize(
    ("backend", "kept"), [("threads", OutputFolder), ("celery", StreamOutputs)]
)
def test_a_setting_says_what_keeps_outputs(tmp_path, backend, kept):
    settings = {
        "TASK_BACKEND": backend,
        "INSTANCE_PATH": str(tmp_path),
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "EXEC_OUTPUT_HEAD_BYTES": 1000,
        "EXEC_OUTPUT_TAIL_BYTES": 5000,
        "TASK_RETENTION_SECONDS": 2.5,
    }
    outputs, notices = build_outputs(settings)
    assert type(outputs) is kept
    notices.close()
    outputs.close()
