"""What is lost with the server is counted, at its exact place."""

import random
import threading
import time

import pytest

from app.tasks.streams import log as log_module
from app.tasks.streams import sender
from app.tasks.streams.connection import ConnectionFailed
from app.tasks.streams.sender import Sender
from tests.servers import wait_until
from tests.unit.tasks.streams.conftest import check_kept, content, settle, write
from tests.valkey import running_valkey

PENDING_BYTES = 2000
LARGE = {"head_bytes": 500, "tail_bytes": 10**6}


@pytest.fixture
def server(tmp_path):
    with running_valkey(tmp_path) as server:
        yield server


@pytest.fixture
def lasting_server(tmp_path):
    """Give a server that writes down what it is told before it answers."""
    options = ("--appendonly", "yes", "--appendfsync", "always")
    with running_valkey(tmp_path, *options) as server:
        yield server


@pytest.fixture
def small_pending(monkeypatch):
    monkeypatch.setattr(log_module, "PENDING_BYTES", PENDING_BYTES)
    monkeypatch.setattr(log_module, "SEND_BYTES", PENDING_BYTES // 2)


@pytest.fixture
def quick_beat(monkeypatch):
    monkeypatch.setattr(sender, "BEAT_SECONDS", 0.05)


def test_what_a_lasting_server_has_is_there_after_a_crash(
    lasting_server, make_outputs, task_id
):
    outputs = make_outputs(lasting_server, **LARGE)
    log = outputs.create(task_id)
    write(log, 3000)
    settle(log)
    lasting_server.kill()
    write(log, 1000)
    lasting_server.start()
    write(log, 1000)
    log.close(20)
    with outputs.open(task_id) as reader:
        assert check_kept(log, reader) == []


def test_what_a_forgetful_server_had_is_dropped_after_a_crash(
    server, make_outputs, task_id
):
    outputs = make_outputs(server, **LARGE)
    log = outputs.create(task_id)
    write(log, 3000)
    settle(log)
    server.kill()
    write(log, 1000)
    server.start()
    write(log, 1000)
    log.close(20)
    with outputs.open(task_id) as reader:
        assert check_kept(log, reader) == [(0, 3000)]
    assert log.facts() == {"end_offset": 5000, "dropped_bytes": 3000}


def test_what_came_after_a_snapshot_is_dropped_after_a_crash(
    server, make_outputs, task_id
):
    outputs = make_outputs(server, **LARGE)
    log = outputs.create(task_id)
    write(log, 3000)
    settle(log)
    with server.client() as client:
        client.save()
    write(log, 1000)
    settle(log)
    server.kill()
    server.start()
    write(log, 1000)
    log.close(20)
    with outputs.open(task_id) as reader:
        assert check_kept(log, reader) == [(3000, 4000)]


def test_crash_upon_crash_is_counted_once(server, make_outputs, task_id):
    outputs = make_outputs(server, head_bytes=500, tail_bytes=3000)
    log = outputs.create(task_id)
    for _ in range(3):
        write(log, 900)
        settle(log)
        server.kill()
        write(log, 100)
        server.start()
        write(log, 900)
        settle(log)
    log.close(20)
    with outputs.open(task_id) as reader:
        assert check_kept(log, reader) == [(0, 4700)]


def test_a_silent_command_is_told_of_after_a_crash(
    server, make_outputs, task_id, quick_beat
):
    outputs = make_outputs(server)
    log = outputs.create(task_id)
    write(log, 300)
    settle(log)
    server.kill()
    server.start()
    with wait_until(lambda: outputs.open(task_id)) as reader:
        settle(log)
        assert check_kept(log, reader) == [(0, 300)]
    log.close()


def test_what_does_not_fit_while_the_server_is_away_is_dropped(
    server, make_outputs, task_id, small_pending
):
    outputs = make_outputs(server, **LARGE)
    log = outputs.create(task_id)
    write(log, 300)
    settle(log)
    server.kill()
    for _ in range(50):
        write(log, 100)
        assert len(log._pending) <= PENDING_BYTES
    server.start()
    settle(log)
    write(log, 700)
    log.close(20)
    with outputs.open(task_id) as reader:
        assert check_kept(log, reader) == [(0, 3300)]


def test_a_server_that_does_not_answer_stops_no_command(
    server, make_outputs, task_id, small_pending
):
    outputs = make_outputs(server, **LARGE)
    log = outputs.create(task_id)
    write(log, 300)
    settle(log)
    server.freeze()
    for _ in range(500):
        write(log, 100)
    assert len(log._pending) <= PENDING_BYTES
    server.thaw()
    log.close(20)
    with outputs.open(task_id) as reader:
        gaps = check_kept(log, reader)
    # What was on its way as it froze has come, though that was not answered.
    assert len(gaps) == 1
    assert 300 < gaps[0][0] < gaps[0][1] == 50_300 - PENDING_BYTES


def test_a_full_server_is_waited_for(server, make_outputs, task_id):
    outputs = make_outputs(server, **LARGE)
    log = outputs.create(task_id)
    write(log, 300)
    settle(log)
    with server.client() as client:
        client.config_set("maxmemory", 1)
        write(log, 2000)
        wait_until(lambda: outputs._sender._is_away)
        write(log, 2000)
        client.config_set("maxmemory", 0)
    log.close(20)
    with outputs.open(task_id) as reader:
        assert check_kept(log, reader) == []


def test_what_never_came_is_dropped_at_the_end(server, make_outputs, task_id):
    outputs = make_outputs(server, **LARGE)
    log = outputs.create(task_id)
    write(log, 300)
    settle(log)
    server.kill()
    write(log, 200)
    log.close(seconds=0)
    assert log.facts() == {"end_offset": 500, "dropped_bytes": 200}


def test_an_output_that_the_server_never_knew_is_all_dropped(
    server, make_outputs, task_id
):
    server.kill()
    outputs = make_outputs(server, **LARGE)
    log = outputs.create(task_id)
    write(log, 200)
    assert log.facts() == {"end_offset": 200, "dropped_bytes": 0}
    log.close(seconds=0)
    assert log.facts() == {"end_offset": 200, "dropped_bytes": 200}
    assert log.short() == content(0, 200)


@pytest.mark.parametrize("lost_answer", [1, 2, 3])
def test_what_came_without_an_answer_is_not_written_twice_nor_dropped(
    *, valkey, make_outputs, task_id, monkeypatch, small_pending, lost_answer
):
    outputs = make_outputs(valkey, **LARGE)
    request, calls = Sender._request, []

    def lose_one_answer(self, parcels, words):
        ends = request(self, parcels, words)
        calls.append(parcels)
        if len(calls) != lost_answer:
            return ends
        # Meanwhile more comes than is held: the oldest, which came, is dropped here.
        with self.lock:
            self._is_away = True
        write(log, PENDING_BYTES - 200)
        raise ConnectionFailed

    monkeypatch.setattr(Sender, "_request", lose_one_answer)
    log = outputs.create(task_id)
    for _ in range(4):
        settle(log)
        write(log, 900)
    log.close(20)
    assert len(calls) > lost_answer
    with outputs.open(task_id) as reader:
        assert check_kept(log, reader) == []


def test_a_flood_over_crashes_is_counted_exactly(lasting_server, make_outputs, task_id):
    outputs = make_outputs(lasting_server, head_bytes=5000, tail_bytes=400_000)
    log = outputs.create(task_id)
    stop = threading.Event()

    def flood():
        while not stop.is_set():
            write(log, 1777)

    writer = threading.Thread(target=flood, name="writer")
    writer.start()
    try:
        for _ in range(2):
            seen = log.end_offset
            while log.end_offset < seen + 2_000_000:
                stop.wait(0.01)
            lasting_server.kill()
            lasting_server.start()
    finally:
        stop.set()
        writer.join()
    log.close(30)
    with outputs.open(task_id) as reader:
        gaps = check_kept(log, reader)
    assert gaps[-1][1] >= log.end_offset - 400_000


class Mishaps:
    """What happens to a server, and what a command writes meanwhile, at random."""

    def __init__(self, chance, server, log):
        self._chance, self._server, self._log = chance, server, log
        self._stop = threading.Event()

    def run(self):
        writer = threading.Thread(target=self._write, name="writer")
        writer.start()
        try:
            for _ in range(self._chance.randint(1, 3)):
                time.sleep(self._chance.random() * 0.2)
                self._chance.choice([self._freeze, self._crash, self._go_back])()
        finally:
            self._stop.set()
            writer.join()

    def _write(self):
        chance = random.Random(self._chance.random())
        while not self._stop.is_set():
            write(self._log, chance.choice([1, 80, 1000, 20_000]))
            self._stop.wait(chance.choice([0, 0, 0, 0.001, 0.01]))

    def _freeze(self):
        self._server.freeze()
        time.sleep(self._chance.choice([0.1, 1.2]))
        self._server.thaw()

    def _crash(self):
        self._server.kill()
        time.sleep(self._chance.random() * 0.2)
        self._server.start()

    def _go_back(self):
        with self._server.client() as client:
            client.save()
        time.sleep(self._chance.random() * 0.1)
        self._crash()


def test_whatever_happens_to_a_server_is_counted_exactly(
    tmp_path, make_outputs, monkeypatch, soak
):
    for seed in random.sample(range(10**9), 60 if soak else 2):
        chance = random.Random(seed)
        pending_bytes = chance.choice([30_000, 2**20])
        monkeypatch.setattr(log_module, "PENDING_BYTES", pending_bytes)
        monkeypatch.setattr(log_module, "SEND_BYTES", pending_bytes // 4)
        monkeypatch.setattr(sender, "BEAT_SECONDS", chance.choice([0.05, 5]))
        folder = tmp_path / str(seed)  # is shown where it fails
        folder.mkdir()
        with running_valkey(folder, "--appendonly", chance.choice(["yes", "no"])) as it:
            sizes = chance.choice([0, 500, 50_000]), chance.choice([0, 1000, 10**6])
            outputs = make_outputs(it, *sizes)
            log = outputs.create(folder.name)
            Mishaps(chance, it, log).run()
            log.close(20)
            with outputs.open(folder.name) as reader:
                check_kept(log, reader)
            outputs.close()
