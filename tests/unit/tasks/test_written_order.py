"""Orders as they are kept: what comes back is what was written."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.processes.command import Command
from app.processes.limits import Limits
from app.tasks.order import Order
from app.tasks.written_order import read, write

BASE = {"PATH": "/bin", "HOME": "/root"}

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
# As the service's own environment has what is no UTF-8.
VALUE = st.text(st.characters(exclude_characters="\0"))
NUMBER = st.none() | st.integers(1, 2**63)

COMMANDS = st.builds(
    Command,
    argv=st.lists(TEXT, min_size=1).map(tuple),
    environment=st.dictionaries(TEXT, VALUE),
    timeout_seconds=st.floats(0.1, 1e6),
    cwd=st.none() | TEXT,
    stdin=st.none() | TEXT.map(str.encode),
    limits=st.builds(Limits, NUMBER, NUMBER, NUMBER, NUMBER),
    separate_stderr=st.booleans(),
)
ORDERS = st.builds(
    Order,
    command=COMMANDS,
    cmd=st.none() | TEXT,
    name=st.none() | TEXT,
    params=st.none() | st.dictionaries(TEXT, TEXT | st.integers() | st.booleans()),
    max_running=NUMBER,
    ends_on_overflow=st.booleans(),
    is_detached=st.booleans(),
    notify=st.lists(st.fixed_dictionaries({"on": st.just(["success"])})).map(tuple),
)


@given(ORDERS)
def test_what_was_written_is_read(order: Order) -> None:
    assert read(write(order, base={}), base={}) == order


def of(**environment: str) -> Order:
    return Order(Command(("true",), environment, 60.0))


def test_what_is_the_writers_own_is_left_to_the_reader() -> None:
    written = write(of(**BASE, TOKEN="secret"), base=BASE)
    assert json.loads(written)["command"]["environment"] == {"TOKEN": "secret"}
    theirs = {"PATH": "/usr/bin", "HOME": "/home/bellhop"}
    assert read(written, base=theirs).command.environment == {
        **theirs,
        "TOKEN": "secret",
    }


@pytest.mark.parametrize("value", ["/opt", ""])
def test_what_was_made_another_is_kept(value: str) -> None:
    written = write(of(**BASE | {"HOME": value}), base=BASE)
    assert read(written, base=BASE).command.environment["HOME"] == value
