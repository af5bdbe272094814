import threading

import pytest

from app.webhooks.couriers import MOST, MOST_OF_HOST, Couriers
from tests.servers import wait_until


@pytest.fixture
def door():
    """Open it, and whoever waits goes on."""
    opened = threading.Event()
    yield opened
    opened.set()


def close(couriers, *, cut=lambda: None, seconds=5):
    return couriers.close(seconds=seconds, cut=cut)


def test_one_host_gets_half_of_them_and_all_hosts_no_more_than_there_are(door):
    couriers = Couriers()
    sent = [couriers.send(["a"], door.wait) for _ in range(MOST)]
    assert sum(sent) == MOST_OF_HOST
    sent = [couriers.send([f"host {n}"], door.wait) for n in range(MOST)]
    assert sum(sent) == MOST - MOST_OF_HOST
    door.set()
    wait_until(lambda: couriers.are_free(["a"]))
    assert close(couriers)


def test_an_errand_at_two_hosts_counts_for_both(door):
    couriers = Couriers()
    for _ in range(MOST_OF_HOST):
        assert couriers.send(["a", "b", "a"], door.wait)
    assert not couriers.are_free(["b"])
    door.set()
    assert close(couriers)


def test_who_waits_for_one_goes_on_when_one_is_back_or_none_comes_any_more(door):
    couriers = Couriers()
    for _ in range(MOST_OF_HOST):
        couriers.send(["a"], door.wait)
    assert not couriers.wait_until_free(["a"], seconds=0.01)
    assert couriers.wait_until_free(["b"], seconds=0)
    door.set()
    assert couriers.wait_until_free(["a"], seconds=20)
    assert close(couriers)
    assert not couriers.wait_until_free(["a"], seconds=20)


def test_one_whose_errand_fails_comes_back(monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    couriers = Couriers()
    for _ in range(3 * MOST):
        wait_until(lambda: couriers.send(["a"], lambda: 1 / 0))
    assert close(couriers)


def test_where_there_are_no_more_threads_nobody_is_sent(monkeypatch):
    def start(_self):
        raise RuntimeError("can't start new thread")

    couriers = Couriers()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        assert not couriers.send(["a"], lambda: None)
    assert couriers.send(["a"], lambda: None)
    assert close(couriers)


def test_what_is_cut_short_ends_with_them(door):
    couriers = Couriers()
    couriers.send(["a"], door.wait)
    assert close(couriers, cut=door.set, seconds=0.1)
    assert not couriers.given_up
    assert not couriers.send(["a"], lambda: None)


def test_what_cannot_be_cut_is_given_up(door):
    couriers = Couriers()
    couriers.send(["a"], door.wait)
    assert not close(couriers, seconds=0.1)
    assert couriers.given_up
