from typing import Any

import pytest

from app.auth.audit import NOBODYS_PER_MINUTE, Audit
from app.storage.audit_store import AuditStore
from app.storage.engine import Database
from tests.racing import race_threads
from tests.unit.auth.conftest import Clock

FACTS = {"via": "basic", "action": "POST /v3/exec/", "outcome": "success"}


def make(database: Database, keep_seconds: float = 1000.0) -> Audit:
    return Audit(AuditStore(database), keep_seconds=keep_seconds)


@pytest.fixture
def audit(database: Database) -> Audit:
    return make(database)


def page(audit: Audit, **filters: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in audit.page(filters, before=None, limit=1000)]


def nobodys(audit: Audit, count: int = 1) -> None:
    for _ in range(count):
        audit.record(actor=None, **FACTS | {"via": "nothing", "outcome": "refused"})


def test_what_was_done_is_kept_with_its_moment(audit: Audit, clock: Clock) -> None:
    facts = FACTS | {
        "address": "2001:db8::1",
        "target": "中文",
        "status": 201,
        "detail": "with all that is known",
        "task_id": "4f",
        "request_id": "abc",
    }
    audit.record(actor="ann", **facts)
    (row,) = page(audit)
    assert row == facts | {"actor": "ann", "at": clock.now, "number": row["number"]}


def test_facts_that_are_not_known_are_nothing(audit: Audit) -> None:
    audit.record(actor="ann", **FACTS)
    (row,) = page(audit)
    assert {name for name, value in row.items() if value is None} == {
        "address",
        "target",
        "status",
        "detail",
        "task_id",
        "request_id",
    }


def test_all_workers_write_one_audit_the_newest_first(
    audit: Audit, other: Database
) -> None:
    for each, actor in ((audit, "ann"), (make(other), "bob"), (audit, "carol")):
        each.record(actor=actor, **FACTS)
    assert [row["actor"] for row in page(audit)] == ["carol", "bob", "ann"]


def test_users_rows_are_not_bounded(audit: Audit, clock: Clock) -> None:
    for _ in range(3 * NOBODYS_PER_MINUTE):
        audit.record(actor="ann", **FACTS)
    assert len(page(audit)) == 3 * NOBODYS_PER_MINUTE


def test_nobody_s_rows_are_bounded_in_a_minute(audit: Audit, clock: Clock) -> None:
    nobodys(audit, NOBODYS_PER_MINUTE + 5)
    assert len(page(audit)) == NOBODYS_PER_MINUTE
    audit.record(actor="ann", **FACTS)
    assert len(page(audit, actor="ann")) == 1, "it is users' audit all the same"
    clock.now += 60
    nobodys(audit)
    assert len(page(audit, actor=None)) == NOBODYS_PER_MINUTE
    clock.now += 0.5
    nobodys(audit, NOBODYS_PER_MINUTE + 5)
    assert len(page(audit, actor=None)) == 2 * NOBODYS_PER_MINUTE


def test_users_rows_leave_nobody_s_their_room(audit: Audit, clock: Clock) -> None:
    for _ in range(2 * NOBODYS_PER_MINUTE):
        audit.record(actor="ann", **FACTS)
    nobodys(audit)
    assert len(page(audit, actor=None)) == 1


def test_nobody_s_rows_are_bounded_however_they_race(
    workers: tuple[Database, Database],
) -> None:
    both = [make(database) for database in workers]
    race_threads(8, lambda number: nobodys(both[number % 2], 4))
    assert len(page(both[0])) == NOBODYS_PER_MINUTE


def test_a_row_stays_for_as_long_as_it_is_kept(audit: Audit, clock: Clock) -> None:
    began = clock.now
    for seconds in (0, 1, 2):
        clock.now = began + seconds
        audit.record(actor=f"at {seconds}", **FACTS)
    clock.now = began + 1000
    audit.remove_old()
    assert len(page(audit)) == 3
    clock.now = began + 1001
    audit.remove_old()
    assert [row["actor"] for row in page(audit)] == ["at 2", "at 1"]
    clock.now = began + 5000
    audit.remove_old()
    assert page(audit) == []


def test_an_audit_can_be_added_to_and_read_and_nothing_else() -> None:
    offered = {name for name in dir(Audit) if not name.startswith("_")}
    assert offered == {"record", "page", "remove_old"}
