import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.webhooks.schedule import (
    DELAYS,
    GIVE_UP_SECONDS,
    next_attempt,
    read_retry_after,
)

NOW = 1_800_000_000.0


@pytest.fixture
def at(monkeypatch):
    """Set the clock."""

    def set_clock(now):
        monkeypatch.setattr(time, "time", lambda: now)

    set_clock(NOW)
    return set_clock


@pytest.mark.parametrize("attempts", range(1, 7))
def test_the_next_attempt_is_a_little_off_its_delay(at, attempts):
    found = {next_attempt(attempts, since=NOW) for _ in range(100)}
    delay = DELAYS[attempts - 1]
    assert all(0.9 * delay <= when - NOW <= 1.1 * delay for when in found)
    assert len(found) > 1


def test_a_receiver_that_is_never_there_is_told_over_a_day(at):
    attempts, when = 0, NOW
    while when is not None:
        at(when)
        attempts += 1
        last, when = when, next_attempt(attempts, since=NOW)
    assert attempts == 8
    assert last == NOW + GIVE_UP_SECONDS


def test_what_is_told_for_the_first_time_too_late_is_told_once(at):
    at(NOW + 2 * GIVE_UP_SECONDS)
    assert next_attempt(1, since=NOW) is None


def test_a_receiver_may_ask_for_more_time_but_for_a_day_at_most(at):
    assert next_attempt(1, since=NOW, not_before=NOW + 100) == NOW + 100
    assert next_attempt(1, since=NOW, not_before=NOW + 1) > NOW + 4
    assert next_attempt(1, since=NOW, not_before=NOW + 10**9) == NOW + GIVE_UP_SECONDS


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("9" * 5000, 2 * GIVE_UP_SECONDS),
        (formatdate(NOW + 90, usegmt=True), 90),
        ("Fri, 15 Jan 2027 08:01:30 -0000", 90),
        ("soon", -NOW),
        ("-5", -NOW),
        ("\uff11\uff12", -NOW),
        ("", -NOW),
        (None, -NOW),
    ],
)
def test_when_to_come_again_is_read(at, text, seconds):
    assert read_retry_after(text) == NOW + seconds


@given(st.text())
def test_whatever_a_receiver_says_is_a_moment(text):
    assert read_retry_after(text) >= 0
