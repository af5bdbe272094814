"""The audit, on both databases."""

from typing import Any

import pytest

from app.storage.audit_store import AuditStore
from app.storage.engine import Database
from tests.racing import race_threads
from tests.unit.storage.rows import audit_row


@pytest.fixture
def audit(database: Database) -> AuditStore:
    return AuditStore(database)


def page(
    audit: AuditStore, *, before: int | None = None, limit: int = 100, **filters: Any
) -> list[dict[str, Any]]:
    return [dict(row) for row in audit.page(filters, before=before, limit=limit)]


def test_nothing_is_there_at_first(audit: AuditStore) -> None:
    assert page(audit) == []


def test_a_row_is_found_as_added_by_every_worker(
    audit: AuditStore, other: Database
) -> None:
    row = audit_row(
        address="2001:db8::1",
        target="安 \U0001f6ce\n",
        status=201,
        detail="%s :x ?",
        task_id="4f",
        request_id="abc",
    )
    audit.add(row)
    (found,) = page(AuditStore(other))
    assert found == row | {"number": found["number"]}


def test_pages_follow_each_other_the_newest_first(audit: AuditStore) -> None:
    for number in range(5):  # the last that ended, whatever the clocks say
        audit.add(audit_row(f"user{number}", at=100.0 - number))
    pages, before = [], None
    while found := page(audit, before=before, limit=2):
        pages.append([row["actor"] for row in found])
        before = found[-1]["number"]
    assert pages == [["user4", "user3"], ["user2", "user1"], ["user0"]]


@pytest.mark.parametrize(("before", "count"), [(0, 0), (1, 0), (2**62 - 1, 1)])
def test_a_page_may_begin_anywhere(audit: AuditStore, before: int, count: int) -> None:
    audit.add(audit_row())
    assert len(page(audit, before=before)) == count


def test_rows_are_filtered_by_what_they_are_about(audit: AuditStore) -> None:
    audit.add(audit_row("ann", outcome="refused", task_id="1"))
    audit.add(audit_row("ann", outcome="success", task_id="2"))
    audit.add(audit_row("bob", outcome="success", task_id="3"))
    audit.add(audit_row(None, outcome="refused"))

    def found(**filters: Any) -> list[str | None]:
        return [row["task_id"] for row in page(audit, **filters)]

    assert found(actor="ann") == ["2", "1"]
    assert found(actor="ann", outcome="success") == ["2"]
    assert found(outcome="refused") == [None, "1"]
    assert found(task_id="3") == ["3"]
    assert found(actor=None) == [None]
    assert found(actor="Ann") == found(actor="") == found(actor="' OR 1=1") == []
    assert found(actor="ann", limit=1) == ["2"]


def test_nobody_s_rows_are_bounded_since_a_moment(audit: AuditStore) -> None:
    def add(at: float) -> bool:
        return audit.add_nobodys(audit_row(None, at=at), since=at - 60, limit=2)

    audit.add(audit_row("ann", at=1000.0))
    assert [add(1000.0), add(1010.0), add(1020.0)] == [True, True, False]
    assert [add(1060.0), add(1060.5), add(1060.5)] == [False, True, False]
    assert len(page(audit)) == 4


def test_nobody_s_rows_are_bounded_however_they_race(
    audit: AuditStore, other: Database
) -> None:
    stores = audit, AuditStore(other)

    def add(number: int) -> bool:
        return stores[number % 2].add_nobodys(audit_row(None), since=0.0, limit=3)

    assert sorted(race_threads(12, add)) == [False] * 9 + [True] * 3
    assert len(page(audit)) == 3


def test_many_rows_that_are_added_at_once_are_all_there(
    audit: AuditStore, other: Database
) -> None:
    stores = audit, AuditStore(other)
    race_threads(12, lambda number: stores[number % 2].add(audit_row(f"{number}")))
    assert {row["actor"] for row in page(audit)} == {str(n) for n in range(12)}


def test_what_is_older_than_a_moment_is_forgotten(audit: AuditStore) -> None:
    for at in (10.0, 20.0, 30.0):
        audit.add(audit_row(at=at))
    audit.remove_before(20.0)
    assert [row["at"] for row in page(audit)] == [30.0, 20.0]
    audit.remove_before(99.0)
    assert page(audit) == []


def test_a_row_cannot_be_changed() -> None:
    offered = {name for name in dir(AuditStore) if not name.startswith("_")}
    assert offered == {"add", "add_nobodys", "page", "remove_before"}
