"""The ends of tasks are told: by whom, to whom, how often, and what is kept of it."""

import json
import threading
import time
import uuid
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from app.errors import (
    CapacityExceeded,
    SmsLimitExceeded,
    StorageUnavailable,
)
from app.services.endings import Endings
from app.services.event import event, message_id
from app.services.webhooks import Webhooks
from app.storage.engine import Database
from app.storage.task_store import Admission, Room, TaskStore
from app.tasks.record import TaskRecord
from app.webhooks.couriers import MOST_OF_HOST
from app.webhooks.teller import Outcome
from tests.servers import wait_until
from tests.unit.storage.rows import task_row

URL = "https://hooks.example/a?token=1"
SECRET = "whsec_" + "A" * 32
OK = Outcome(204)
BUSY = Outcome(503, "has answered 503")


class FakeTeller:
    """Tells nobody; says in turn what came of it, and that all went well after that."""

    secret = "whsec_own"

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.told = []
        self.is_closed = False
        self.open = threading.Event()
        self.open.set()

    def fault(self, _url):
        return None

    def tell(self, url, *, secret, notice_id, body):
        self.told.append((url, secret, notice_id, body))
        self.open.wait(20)
        if self.is_closed:
            return Outcome(detail="has not answered: ConnectionAbortedError")
        return self.outcomes.pop(0) if self.outcomes else OK

    def close(self):
        self.is_closed = True
        self.open.set()


class FakeMessages:
    def __init__(self, error=None):
        self.error = error
        self.sent = []

    def send_once(self, wish, origin, *, facts, message_id):
        self.sent.append((wish, origin, facts, message_id))
        if self.error:
            raise self.error


@pytest.fixture
def database(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/bellhop.db")
    yield database
    database.close()


@pytest.fixture
def store(database):
    return TaskStore(database)


@pytest.fixture
def make(store):
    """Make what tells ends, as each worker has one; close them in the end."""
    made = []

    def make(teller=None, messages=None, *, delays=(0.0,), **options):
        webhooks = Webhooks(teller or FakeTeller(), public_url="", delays=delays)
        endings = Endings(
            tasks=store,
            host="pelican",
            messages=messages or FakeMessages(),
            webhooks=webhooks,
            **options,
        )
        made.append(endings)
        return endings

    yield make
    for endings in made:
        endings.close()


def webhook(*on, url=URL, **more):
    return {"on": list(on or ["success"]), "webhook": {"url": url, **more}}


def sms(*on):
    to = {"receivers": "+8613800000001", "template": "ended"}
    return {"on": list(on or ["success"]), "sms": to}


@pytest.fixture
def ended(store):
    """Write down a task that has ended, with those who want to know; return it."""

    def add(*notices, state="SUCCESS", finished=None, kept=None, **changes):
        row = task_row(notify=kept or json.dumps(notices), **changes)
        store.add(row, Admission(Room(100)))
        finished = time.time() if finished is None else finished
        store.finish(row["task_id"], state=state, reason="exit", finished=finished)
        return TaskRecord.from_row(store.find(row["task_id"]))

    return add


@pytest.fixture
def now(store):
    """Return a task as it is in the records now."""
    return lambda task: TaskRecord.from_row(store.find(task.task_id))


@pytest.fixture
def kept(now):
    """Wait until all is told; return what is kept of the notices."""

    def wait(task):
        wait_until(lambda: now(task).notified)
        assert now(task).tell_at is None
        return json.loads(now(task).notify)

    return wait


def test_an_end_is_told_and_the_record_keeps_no_secret(make, ended, now, kept):
    teller, task = FakeTeller(), ended(webhook(secret=SECRET))
    make(teller).tell_end(task)
    [notice] = kept(task)
    [(url, secret, notice_id, body)] = teller.told
    assert (url, secret) == (URL, SECRET)
    assert json.loads(body)["data"]["task_id"] == task.task_id
    assert notice["webhook"].pop("delivered") <= time.time()
    assert notice["webhook"] == {
        "url": "https://hooks.example/a",
        "id": notice_id,
        "state": "delivered",
        "attempts": 1,
        "status": 204,
        "detail": "",
    }


def test_it_is_told_again_the_same_until_it_is_taken_and_then_no_more(
    make, ended, kept
):
    teller, task = (
        FakeTeller(BUSY, Outcome(detail="has not answered: X")),
        ended(webhook()),
    )
    endings = make(teller)
    endings.tell_end(task)

    def is_told():
        endings.tell_missed()
        return len(teller.told) == 3

    wait_until(is_told)
    [notice] = kept(task)
    for _ in range(3):
        endings.tell_missed()
        endings.tell_end(task)
    assert len(set(teller.told)) == 1
    assert len(teller.told) == 3
    assert notice["webhook"]["attempts"] == 3


def test_what_was_not_taken_waits_for_its_time(make, ended, now):
    teller, task = FakeTeller(BUSY), ended(webhook())
    endings = make(teller, delays=(1000.0,))
    endings.tell_end(task)
    wait_until(lambda: "attempts" in now(task).notify)
    assert 800 < now(task).tell_at - time.time() < 1200
    endings.tell_missed()
    [notice] = json.loads(now(task).notify)
    assert len(teller.told) == 1
    assert notice["webhook"]["url"] == URL
    assert notice["webhook"]["status"] == 503


def test_a_receiver_that_asks_for_more_time_gets_it(make, ended, now):
    then = time.time() + 500
    task = ended(webhook())
    make(FakeTeller(replace(BUSY, not_before=then))).tell_end(task)
    wait_until(lambda: "attempts" in now(task).notify)
    assert now(task).tell_at == then


@pytest.mark.parametrize(
    ("outcome", "age"), [(Outcome(410, "is gone", is_final=True), 0), (BUSY, 90_000)]
)
def test_it_is_given_up_at_once_or_after_a_day(make, ended, kept, outcome, age):
    task = ended(webhook(secret=SECRET), finished=time.time() - age)
    with capture_logs() as logs:
        make(FakeTeller(outcome)).tell_end(task)
        [notice] = kept(task)
    assert notice["webhook"]["state"] == "failed"
    assert notice["webhook"]["detail"] == outcome.detail
    assert "secret" not in notice["webhook"]
    [line] = [each for each in logs if each["event"] == "webhook.given_up"]
    assert line["url"] == "https://hooks.example/a"


def test_workers_that_see_it_together_tell_it_once(make, ended, kept):
    teller, task = FakeTeller(), ended(webhook())
    several = [make(teller) for _ in range(3)]
    for endings in several:
        endings.tell_end(task)
        endings.tell_missed()
    kept(task)
    assert len(teller.told) == 1


def test_a_lease_that_is_over_lets_another_tell_it_by_the_same_id(make, ended, now):
    hung, task = FakeTeller(), ended(webhook())
    hung.open.clear()
    make(hung, lease_seconds=0.0).tell_end(task)
    wait_until(lambda: hung.told)
    other = FakeTeller()
    make(other).tell_missed()
    wait_until(lambda: now(task).notified)
    known = now(task).notify
    assert other.told == hung.told
    hung.outcomes.append(BUSY)
    hung.open.set()  # its courier is late, and writes nothing
    wait_until(lambda: "courier" not in [t.name for t in threading.enumerate()])
    assert now(task).notify == known


def test_who_has_an_end_told_does_not_wait_for_it(make, ended):
    teller = FakeTeller()
    teller.open.clear()
    make(teller).tell_end(ended(webhook()))
    wait_until(lambda: teller.told)


def test_what_finds_no_courier_is_told_later(make, ended, now):
    teller = FakeTeller()
    teller.open.clear()
    endings = make(teller)
    tasks = [ended(webhook()) for _ in range(MOST_OF_HOST + 2)]
    elsewhere = ended(webhook(url="https://elsewhere.example/"))
    for task in [*tasks, elsewhere]:
        endings.tell_end(task)
    endings.tell_missed()
    wait_until(lambda: len(teller.told) == MOST_OF_HOST + 1)
    assert "https://elsewhere.example/" in [url for url, *_ in teller.told]
    teller.open.set()

    def all_told():
        endings.tell_missed()
        return all(now(task).notified for task in tasks)

    wait_until(all_told)
    assert len(teller.told) == MOST_OF_HOST + 3


def test_what_is_cut_short_at_the_end_of_the_service_is_as_it_was(make, ended, now):
    teller, task = FakeTeller(), ended(webhook(secret=SECRET))
    teller.open.clear()
    endings = make(teller)
    endings.tell_end(task)
    wait_until(lambda: teller.told)
    assert endings.close()
    assert now(task).tell_at <= time.time()
    [notice] = json.loads(now(task).notify)
    assert "attempts" not in notice["webhook"]
    later = FakeTeller()
    make(later).tell_missed()
    wait_until(lambda: now(task).notified)
    assert later.told == teller.told


def test_a_courier_that_cannot_be_cut_writes_nothing_any_more(make, ended, now):
    teller, task = FakeTeller(), ended(webhook())
    teller.close = lambda: None
    teller.open.clear()
    endings = make(teller)
    endings.tell_end(task)
    wait_until(lambda: teller.told)
    held = now(task)
    assert not endings.close()
    teller.open.set()
    wait_until(lambda: "courier" not in [t.name for t in threading.enumerate()])
    assert now(task) == held


def test_a_closed_one_leaves_an_end_to_others(make, ended, now, kept):
    endings, task = make(), ended(webhook())
    endings.close()
    endings.tell_end(task)
    assert now(task).notified is None
    make().tell_missed()
    assert kept(task)[0]["webhook"]["state"] == "delivered"


def test_of_an_end_that_is_not_wanted_nothing_is_left(make, ended, kept):
    teller, messages = FakeTeller(), FakeMessages()
    task = ended(webhook("failure", secret=SECRET), sms("lost"))
    make(teller, messages).tell_end(task)
    assert kept(task) == [{"on": ["failure"]}, {"on": ["lost"]}]
    assert teller.told == messages.sent == []


def test_each_notice_is_told_by_an_id_of_its_own(make, ended, kept):
    teller, messages = FakeTeller(BUSY), FakeMessages()
    both = {**webhook(), **sms()}
    task = ended(both, {**both, "by": "catalogue"})
    endings = make(teller, messages)
    endings.tell_end(task)
    wait_until(lambda: (endings.tell_missed(), len(teller.told) == 3)[1])
    found = kept(task)
    [one, other] = [each["message_id"] for each in found]
    assert [sent[-1] for sent in messages.sent] == [one, other]
    assert one == message_id(task.task_id, 0)
    assert one != other
    ids = [told[2] for told in teller.told]
    assert len(set(ids)) == 2
    assert ids[0] == ids[2] != ids[1]  # the first was busy, the other is not told again
    assert found[1]["webhook"]["url"] == "https://hooks.example/"  # and no more


def test_a_message_keeps_the_id_that_it_had_in_earlier_versions(make, ended, kept):
    messages = FakeMessages()
    task = ended(kept=json.dumps(sms()))
    make(messages=messages).tell_end(task)
    namespace = uuid.UUID("0d3a1f5e-5a3c-4f0e-9d55-0c6a2f1b7e11")
    assert kept(task)[0]["message_id"] == str(uuid.uuid5(namespace, task.task_id))


def test_a_message_that_cannot_be_kept_now_is_tried_again(make, ended, store, now):
    messages, task = FakeMessages(CapacityExceeded(retry_after_seconds=1)), ended(sms())
    endings = make(messages=messages)
    endings.tell_end(task)
    assert now(task).notified is None
    assert now(task).tell_at > time.time()
    endings.tell_missed()
    assert len(messages.sent) == 1
    messages.error = None
    store.tell(task.task_id, seen=now(task).tell_at, tell_at=1.0)
    endings.tell_missed()
    assert now(task).notified
    assert messages.sent[0] == messages.sent[1]


def test_a_message_that_is_refused_is_not_tried_again(make, ended, kept):
    messages = FakeMessages(SmsLimitExceeded("x", retry_after_seconds=1))
    task = ended(sms())
    make(messages=messages).tell_end(task)
    assert kept(task) == [{"on": ["success"]}]


def test_one_that_cannot_be_told_does_not_keep_the_others(make, ended, kept):
    broken, task = ended(kept="[1]"), ended(webhook())
    with capture_logs() as logs:
        make().tell_missed()
    assert kept(task)[0]["webhook"]["state"] == "delivered"
    assert [each["task_id"] for each in logs if each["event"] == "notice.failed"] == [
        broken.task_id
    ]


def test_what_cannot_be_written_down_is_told_again(
    make, ended, store, now, monkeypatch
):
    def away(*_, **__):
        raise StorageUnavailable

    teller, task = FakeTeller(), ended(webhook())
    teller.open.clear()
    with monkeypatch.context() as patched:
        make(teller, lease_seconds=0.0).tell_end(task)
        wait_until(lambda: teller.told)
        patched.setattr(store, "tell", away)
        teller.open.set()
        wait_until(lambda: "courier" not in [t.name for t in threading.enumerate()])
    make(teller).tell_missed()
    wait_until(lambda: now(task).notified)
    assert len(set(teller.told)) == 1
    assert len(teller.told) == 2


def test_an_event_says_what_there_is_to_say(ended):
    task = replace(
        ended(),
        created=1_800_000_000.0,
        started=1_800_000_000.5,
        finished=1_800_000_001.0,
        command="backup",
        params='{"db": "主"}',
        detail="\udcff",
    )
    said = json.loads(event(task, "https://bellhop.example/"))
    data = said.pop("data")
    assert said == {"type": "task.success", "timestamp": "2027-01-15T08:00:01Z"}
    assert data["params"] == {"db": "主"}
    assert data["started"] == "2027-01-15T08:00:00.500000Z"
    assert data["url"] == f"https://bellhop.example/v3/task/{task.task_id}"
    assert data["output"] == {"end_offset": 0, "dropped_bytes": 0}
    assert "url" not in json.loads(event(task, ""))["data"]
