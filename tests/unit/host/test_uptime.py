import os
import re
import shutil
import struct
import subprocess
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import HostReadingFailed
from app.host.procfs import Procfs
from app.host.uptime import Uptime, read_uptime

NOW = datetime(2026, 3, 9, 8, 7, 5, tzinfo=UTC).timestamp()
MINUTE, HOUR, DAY = 60, 3600, 86400

# What procps' own test suite holds its uptime to.
PROCPS_LINE = re.compile(
    r"\d{2}:\d{2}:\d{2} up (\d+ days?,)?\s*\d+( min|:\d+), +\d+ users?, +"
    r"load average: \d+\.\d\d, \d+\.\d\d, \d+\.\d\d"
)


class GivenHost:
    """The three readers that an uptime is made of, with given answers."""

    def __init__(self, *, seconds=0.0, users=0, load=(0.0, 0.0, 0.0)):
        self.uptime_seconds = lambda: seconds
        self.users = lambda: users
        self.load_averages = lambda: load


def line(**given_host):
    return read_uptime(GivenHost(**given_host), now=NOW).line


def record_sessions(host, count):
    session = struct.pack("=h42x32s308x", 7, b"ada")
    host.utmp.write_bytes(session * count)


@pytest.fixture(autouse=True)
def in_utc(set_time_zone):
    set_time_zone("UTC")


@pytest.mark.parametrize(
    ("seconds", "duration"),
    [
        (0, "0 min"),
        (59.99, "0 min"),
        (MINUTE, "1 min"),
        (59 * MINUTE + 59.99, "59 min"),
        (HOUR, " 1:00"),
        (HOUR + MINUTE, " 1:01"),
        (9 * HOUR + 59 * MINUTE, " 9:59"),
        (10 * HOUR, "10:00"),
        (23 * HOUR + 59 * MINUTE + 59, "23:59"),
        (DAY, "1 day, 0 min"),
        (DAY + 59 * MINUTE, "1 day, 59 min"),
        (DAY + HOUR, "1 day,  1:00"),
        (2 * DAY, "2 days, 0 min"),
        (2 * DAY + 13 * HOUR + 4 * MINUTE, "2 days, 13:04"),
        (1234 * DAY + 5 * HOUR + 6 * MINUTE + 7, "1234 days,  5:06"),
    ],
)
def test_a_line_tells_the_time_up_in_days_hours_and_minutes(seconds, duration):
    expected = f"08:07:05 up {duration},  0 user,  load average: 0.00, 0.00, 0.00"
    assert line(seconds=seconds) == expected


@pytest.mark.parametrize(
    ("users", "text"),
    [
        (None, " 0 user"),
        (0, " 0 user"),
        (1, " 1 user"),
        (2, " 2 users"),
        (12, "12 users"),
        (100, "100 users"),
    ],
)
def test_a_line_counts_users_in_two_columns(users, text):
    expected = f"08:07:05 up 0 min, {text},  load average: 0.00, 0.00, 0.00"
    assert line(users=users) == expected


@pytest.mark.parametrize(
    ("load", "text"),
    [
        ((0.0, 0.01, 0.1), "0.00, 0.01, 0.10"),
        ((0.004, 0.006, 1.999), "0.00, 0.01, 2.00"),
        ((9.5, 10.25, 1234.5), "9.50, 10.25, 1234.50"),
    ],
)
def test_a_line_gives_the_load_with_two_decimals(load, text):
    assert line(load=load) == f"08:07:05 up 0 min,  0 user,  load average: {text}"


def test_a_line_has_the_local_time(set_time_zone):
    set_time_zone("XXX-05:30")
    assert line().startswith("13:37:05 up ")


@given(
    seconds=st.floats(min_value=0, max_value=2**31 - 1),
    users=st.none() | st.integers(min_value=0, max_value=9999),
    load=st.tuples(*[st.floats(min_value=0, max_value=1e5)] * 3),
)
def test_every_line_is_one_that_procps_own_tests_accept(seconds, users, load):
    assert PROCPS_LINE.fullmatch(line(seconds=seconds, users=users, load=load))


@given(seconds=st.floats(min_value=0, max_value=2**31 - 1))
def test_no_minute_is_lost_on_the_way_to_the_line(seconds):
    days, hours, clock_minutes, minutes = re.search(
        r"up (?:(\d+) days?, )?(?: ?(\d+):(\d+)|(\d+) min),", line(seconds=seconds)
    ).groups("0")
    told = int(days) * 1440 + int(hours) * 60 + int(clock_minutes) + int(minutes)
    assert told == int(seconds) // 60


def test_the_uptime_of_a_host_is_read_from_its_files(host):
    host.set_uptime("93784.56")
    host.set_load("0.20 0.18 0.12")
    record_sessions(host, 2)
    assert read_uptime(host.procfs, now=NOW) == Uptime(
        line="08:07:05 up 1 day,  2:03,  2 users,  load average: 0.20, 0.18, 0.12",
        seconds=93784.56,
        boot_time=datetime(2026, 3, 8, 6, 4, 0, tzinfo=UTC),
        users=2,
        load=(0.20, 0.18, 0.12),
    )


def test_the_boot_time_is_rounded_to_the_second_and_in_utc(set_time_zone):
    set_time_zone("XXX-05:30")
    early = read_uptime(GivenHost(seconds=10.4), now=NOW).boot_time
    late = read_uptime(GivenHost(seconds=10.6), now=NOW).boot_time
    assert early == datetime(2026, 3, 9, 8, 6, 55, tzinfo=UTC)
    assert late == datetime(2026, 3, 9, 8, 6, 54, tzinfo=UTC)
    assert early.tzinfo is UTC


def test_the_boot_time_is_that_of_the_uptime_when_the_clock_was_set(host):
    (host.proc / "stat").write_text("btime 1\n")
    host.set_uptime("5.00")
    assert read_uptime(host.procfs, now=NOW).boot_time.timestamp() == NOW - 5


def test_users_are_unknown_on_a_host_without_utmp_though_the_line_says_none(host):
    uptime = read_uptime(host.procfs, now=NOW)
    assert uptime.users is None
    assert ",  0 user, " in uptime.line


@pytest.mark.parametrize("file", ["uptime", "loadavg"])
def test_a_host_that_cannot_be_read_has_no_uptime(host, file):
    (host.proc / file).unlink()
    with pytest.raises(HostReadingFailed, match=str(host.proc / file)):
        read_uptime(host.procfs)


@pytest.fixture
def real_uptime():
    program = shutil.which("uptime")
    if program is None:
        pytest.skip("there is no uptime on this machine to compare with")

    def run():
        environment = {**os.environ, "LC_ALL": "C"}
        return subprocess.check_output([program], env=environment, text=True)

    # Busybox has no -V; from 4.0.5 on "0 users" and sessions instead of utmp.
    version = subprocess.run(
        [program, "-V"], capture_output=True, text=True, check=False
    ).stdout
    if not re.search(r" 4\.0\.[0-4]\b", version):
        pytest.skip(f"uptime here is another than that of procps 4.0.2: {version!r}")
    return run


@pytest.mark.parametrize("zone", ["UTC", "XXX-05:30", "America/St_Johns"])
def test_the_line_is_what_the_real_uptime_prints(real_uptime, set_time_zone, zone):
    set_time_zone(zone)
    for _ in range(5):
        before = real_uptime()
        ours = f" {read_uptime(Procfs()).line}\n"
        if ours in (before, real_uptime()):
            return
    pytest.fail(f"{ours!r} is neither {before!r} nor what came after")
