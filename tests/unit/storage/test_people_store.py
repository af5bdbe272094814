"""The directory of people, on both databases."""

from typing import Any

import pytest

from app.storage.engine import Database
from app.storage.people_store import PeopleStore
from tests.racing import race_threads

ANN = {"name": "Ann 安", "age": 30, "phone": "+8613800000000"}


@pytest.fixture
def people(database: Database) -> PeopleStore:
    return PeopleStore(database)


def add(people: PeopleStore, count: int = 1, **changes: Any) -> list[int]:
    return [people.add(ANN | changes) for _ in range(count)]


def test_nobody_is_there_at_first(people: PeopleStore) -> None:
    assert people.count() == 0
    assert people.page(after_uid=-1, limit=10) == []
    assert people.find(0) is None


def test_a_person_is_found_as_added_under_the_first_uid(people: PeopleStore) -> None:
    assert add(people) == [0]
    assert people.find(0) == {"uid": 0} | ANN
    assert people.find(1) is None


def test_a_person_may_have_no_phone(people: PeopleStore) -> None:
    uid = people.add({"name": "Bob", "age": 0})
    assert people.find(uid) == {"uid": uid, "name": "Bob", "age": 0, "phone": None}


def test_a_uid_is_never_used_again(people: PeopleStore) -> None:
    assert add(people, 3) == [0, 1, 2]
    for removed, following in [(1, 3), (3, 4), (4, 5)]:
        assert people.remove(removed)
        assert add(people) == [following]


def test_nor_after_all_are_gone_and_the_database_was_opened_anew(
    people: PeopleStore, database: Database, url: str
) -> None:
    for uid in add(people, 3):
        people.remove(uid)
    database.close()
    opened = Database(url)
    try:
        assert add(PeopleStore(opened)) == [3]
    finally:
        opened.close()


def test_every_worker_goes_on_counting_where_another_was(
    people: PeopleStore, other: Database
) -> None:
    assert add(people) + add(PeopleStore(other)) + add(people) == [0, 1, 2]
    assert PeopleStore(other).remove(2)
    assert add(people) == [3]


def test_of_many_that_are_added_at_once_each_has_a_uid(people: PeopleStore) -> None:
    uids = race_threads(8, lambda _: people.add(ANN))
    assert sorted(uids) == list(range(8))


def test_pages_follow_each_other_without_those_that_are_gone(
    people: PeopleStore,
) -> None:
    add(people, 7)
    people.remove(2)
    people.remove(6)
    pages, after_uid = [], -1
    while page := people.page(after_uid=after_uid, limit=2):
        pages.append([person["uid"] for person in page])
        after_uid = pages[-1][-1]
    assert pages == [[0, 1], [3, 4], [5]]
    assert people.page(after_uid=2, limit=1) == [{"uid": 3} | ANN], "2 is gone"


def test_a_page_beyond_the_last_is_empty(people: PeopleStore) -> None:
    add(people)
    for after_uid in (0, 7, 2**31 - 2, 2**31, 2**62 - 1):
        assert people.page(after_uid=after_uid, limit=10) == []


def test_those_who_are_there_are_counted(people: PeopleStore) -> None:
    add(people, 3)
    people.remove(1)
    assert people.count() == 2


@pytest.mark.parametrize(
    "changes",
    [{"age": 31}, {"phone": None}, {"name": "Bo", "age": 1, "phone": "+4930"}, {}],
)
def test_an_update_changes_what_it_names_of_one_person(
    people: PeopleStore, changes: dict[str, Any]
) -> None:
    add(people, 2)
    changed = {"uid": 1} | ANN | changes
    assert people.update(1, changes) == changed
    assert people.find(1) == changed
    assert people.find(0) == {"uid": 0} | ANN


@pytest.mark.parametrize("changes", [{"age": 31}, {}])
@pytest.mark.parametrize("uid", [0, 5, 2**31 - 2])
def test_nobody_is_updated_and_nobody_made(
    people: PeopleStore, uid: int, changes: dict[str, Any]
) -> None:
    assert people.update(uid, changes) is None
    assert people.count() == 0


def test_a_person_is_removed_once(people: PeopleStore) -> None:
    uids = add(people, 2)
    assert [people.remove(uid) for uid in (0, 0, 5)] == [True, False, False]
    assert [people.find(uid) is None for uid in uids] == [True, False]
