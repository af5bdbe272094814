"""A broker that is there, and takes no message: what was asked for is refused."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from app.errors import BrokerUnavailable
from app.tasks.celery_backend import Broker, make_celery
from tests.valkey import Valkey, running_valkey


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    with running_valkey(tmp_path) as started:
        yield started


@pytest.fixture
def broker(valkey: Valkey) -> Iterator[Broker]:
    with closing(Broker(make_celery(valkey.url))) as made:
        made.publish("pelican", "before")
        yield made


@contextmanager
def full(valkey: Valkey) -> Iterator[None]:
    """Have it refuse what takes memory, as one does that may forget nothing."""
    with closing(valkey.client()) as client:
        client.config_set("maxmemory", 1)
        yield
        client.config_set("maxmemory", 0)


@contextmanager
def halted(valkey: Valkey) -> Iterator[None]:
    """Have it take connections, and answer nothing."""
    valkey.freeze()
    yield
    valkey.thaw()


@pytest.mark.parametrize("state", [full, halted])
def test_a_message_that_it_does_not_take_is_refused(state, valkey, broker):
    with state(valkey), pytest.raises(BrokerUnavailable):
        broker.publish("pelican", "meanwhile")
    broker.publish("pelican", "after")


def test_one_that_says_nothing_can_neither_be_asked_nor_counts_as_there(valkey, broker):
    with halted(valkey):
        with pytest.raises(BrokerUnavailable):
            broker.revoke("pelican", "before")
        with pytest.raises(BrokerUnavailable):
            broker.ask("pelican", "uptime", {})
        with pytest.raises(BrokerUnavailable):
            broker.check()
    broker.check()
