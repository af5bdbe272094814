from dataclasses import fields, replace

import pytest

from app.storage.tables import tasks
from app.tasks.record import TaskRecord
from app.tasks.states import State

FINAL = {State.SUCCESS, State.FAILURE, State.REVOKED, State.LOST}


def test_its_fields_are_the_columns_less_those_of_the_store():
    columns = {column.name for column in tasks.columns} - {"number", "turn"}
    assert {field.name for field in fields(TaskRecord)} == columns


@pytest.mark.parametrize("state", State)
def test_what_is_kept_comes_back_as_it_was(add_task, record_of, state):
    task_id = add_task(state=state, cmd="echo ü\n😀", returncode=7, leftovers=True)
    record = record_of(task_id)
    assert record.task_id == task_id
    assert record.state is state
    assert (record.cmd, record.returncode) == ("echo ü\n😀", 7)
    assert record.leftovers is True
    assert record.polled_end is False


def test_times_are_kept_to_the_microsecond(add_task, record_of):
    created = 1_772_000_000.123456
    assert record_of(add_task(created=created)).created == created


def test_a_record_is_a_value(add_task, record_of):
    record = record_of(add_task())
    assert record == replace(record)
    assert record != replace(record, returncode=1)


def test_a_row_with_a_state_that_is_none_is_refused(add_task, store):
    row = store.find(add_task()) | {"state": "SLEEPING"}
    with pytest.raises(ValueError, match="SLEEPING"):
        TaskRecord.from_row(row)


def test_the_states_are_written_as_their_names():
    assert [str(state) for state in State] == [state.name for state in State]
    assert set(State) - FINAL == {State.QUEUED, State.STARTED}
