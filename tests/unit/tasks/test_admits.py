"""Nothing new is taken on where that is refused, and what was is left as it is."""

import pytest

from app.errors import Draining
from app.storage.idempotency_store import IdempotencyStore
from app.storage.task_store import Room
from app.tasks.call_job import Call
from app.tasks.kept_requests import KeptRequests
from app.tasks.order import Order, Origin
from app.tasks.report_job import Report
from app.tasks.states import State
from tests.commands import shell
from tests.servers import wait_until

ANYBODY = Origin("bob", None)
ORDER = Order(shell("true"))


class Door:
    """Lets in as often as it is told to, and nobody after that."""

    def __init__(self, times=0):
        self.times = times

    def __call__(self):
        self.times -= 1
        if self.times < 0:
            raise Draining


@pytest.fixture
def door():
    return Door()


@pytest.fixture
def backend(make_backend, door):
    return make_backend(admits=door)


def kept(tmp_path):
    return [path.name for path in (tmp_path / "output").iterdir()]


def test_a_refused_command_leaves_nothing_behind(
    backend, door, store, database, tmp_path
):
    requests = KeptRequests(IdempotencyStore(database))
    requests.begin("digest", asked=None)
    origin = Origin("bob", None, slot="slot", uuid="uuid", request="digest")
    for looks in (0, 1):  # also where it is refused just after it was written down
        door.times = looks
        with pytest.raises(Draining):
            backend.submit(ORDER, origin)
        assert store.find_newest("slot") is None
        assert not store.is_used("uuid")
        assert kept(tmp_path) == []
    door.times = 2
    assert backend.submit(ORDER, origin).slot == "slot"


def test_a_report_is_refused(backend, store):
    backend._room = {**backend._room, "iostat": Room(1)}
    with pytest.raises(Draining):
        backend.submit_report(Report("iostat", total=1, pieces=lambda _: []), ANYBODY)
    assert store.unfinished("pelican") == []


def test_a_call_is_not(backend, end_of):
    backend._room = {**backend._room, "sms": Room(1)}
    call = Call("sms", lambda _is_stopped: ({}, None), lambda: None)
    backend.submit_call(call, ANYBODY, task_id="call")
    assert end_of("call").state is State.SUCCESS


def test_what_was_taken_on_before_runs_and_so_does_who_waits(
    make_backend, door, end_of, tmp_path, record_of
):
    door.times = 4
    backend = make_backend(admits=door, max_running=1, max_queued=1)
    gate = tmp_path / "gate"
    hold = Order(shell(f"while [ ! -e {gate} ]; do sleep 0.02; done"))
    first = backend.submit(hold, ANYBODY).task_id
    second = backend.submit(ORDER, ANYBODY).task_id
    wait_until(lambda: record_of(first).state is State.STARTED)
    with pytest.raises(Draining):
        backend.submit(ORDER, ANYBODY)
    gate.touch()
    assert end_of(first).state is end_of(second).state is State.SUCCESS
