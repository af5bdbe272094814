import threading

import pytest

from app.tasks.streams import notices as module
from tests.servers import wait_until
from tests.unit.tasks.streams.conftest import content, settle, write
from tests.valkey import running_valkey

# Longer than any test may take: who goes on has been told.
LONG_SECONDS = 60


class Follower:
    """Reads an output in a thread until it has so much of it."""

    def __init__(self, outputs, task_id, until):
        self._outputs, self._task_id, self._until = outputs, task_id, until
        self.data = b""
        self._thread = threading.Thread(target=self._follow, name="follower")
        self._thread.start()

    def join(self):
        self._thread.join(20)
        assert not self._thread.is_alive()
        return self.data

    def _follow(self):
        channel = self._outputs.watched(self._task_id)
        with self._outputs.notices.of(channel) as notice:
            while len(self.data) < self._until:
                with self._outputs.open(self._task_id) as reader:
                    chunk = reader.read(len(self.data), 10_000)
                self.data += chunk.data
                if not chunk.data:
                    notice.wait(LONG_SECONDS)


def listeners(server):
    with server.client() as client:
        return client.client_list(_type="pubsub")


def test_followers_are_told_on_one_connection(valkey, outputs, task_id):
    other_id = f"{task_id}-2"
    logs = [outputs.create(task_id), outputs.create(other_id)]
    for log in logs:
        settle(log)
    followers = [Follower(outputs, id_, 900) for id_ in (task_id, other_id) * 3]
    wait_until(lambda: len(outputs.notices._waiting) == 2)
    assert [thread.name for thread in threading.enumerate()].count(
        "stream-notices"
    ) == 1
    for _ in range(9):
        for log in logs:
            write(log, 100)
            settle(log)
    for follower in followers:
        assert follower.join() == content(0, 900)
    assert len(listeners(valkey)) == 1
    for log in logs:
        log.close()


def test_a_changed_record_is_told(outputs, task_id):
    with outputs.notices.of(outputs.watched(task_id)) as notice:
        notice.wait(LONG_SECONDS)  # that the server listens
        outputs.tell(task_id)
        notice.wait(LONG_SECONDS)


def test_another_one_who_waits_is_told_too(outputs, task_id):
    channel = outputs.watched(task_id)
    with outputs.notices.of(channel) as one:
        one.wait(LONG_SECONDS)
        with outputs.notices.of(channel) as other:
            other.wait(LONG_SECONDS)
            outputs.tell(task_id)
            other.wait(LONG_SECONDS)
        one.wait(LONG_SECONDS)


def test_who_waits_no_more_is_not_listened_for(valkey, outputs, task_id):
    channel = outputs.watched(task_id)
    with outputs.notices.of(channel) as notice:
        notice.wait(LONG_SECONDS)
    with outputs.notices.of(channel + "-2") as notice:
        notice.wait(LONG_SECONDS)
        with valkey.client() as client:
            wait_until(lambda: client.pubsub_numsub(channel)[0][1] == 0)
    assert outputs.notices._waiting == {}


@pytest.mark.parametrize("end", ["kill", "freeze"])
def test_who_waits_is_told_that_the_server_is_away_and_back(
    tmp_path, make_outputs, task_id, end, monkeypatch
):
    monkeypatch.setattr(module, "SILENCE_SECONDS", 0.2)
    with running_valkey(tmp_path) as server:
        outputs = make_outputs(server)
        with outputs.notices.of(outputs.watched(task_id)) as notice:
            notice.wait(LONG_SECONDS)
            getattr(server, end)()
            notice.wait(LONG_SECONDS)
            server.thaw() if end == "freeze" else server.start()
            wait_until(lambda: not outputs.notices._is_away)
            wait_until(lambda: len(listeners(server)) == 1)
            outputs.tell(task_id)
            notice.wait(LONG_SECONDS)


def test_nothing_is_waited_for_after_the_close(outputs, task_id):
    outputs.notices.close()
    with outputs.notices.of(outputs.watched(task_id)) as notice:
        notice.wait(0)
    outputs.notices.close()
