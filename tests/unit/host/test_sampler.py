import itertools
import json
import math
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from app.errors import HostReadingFailed
from app.host import sampler as module
from app.host.procfs import Procfs
from app.host.sampler import DEVICES, Sampler, moment, next_due
from app.host.samples import Samples, SampleWriter
from tests.servers import wait_until
from tests.unit.host.test_iostat import counters

NOON = datetime(2026, 3, 9, 12, 0, 0, 505_390, tzinfo=UTC)


@pytest.fixture
def samples(tmp_path):
    found = Samples(tmp_path / "samples")
    yield found
    found.close()


@pytest.fixture
def make_sampler(tmp_path):
    """Make samplers of one folder, as of so many workers, and close them in the end."""
    made = []

    def make(procfs, **given_ones):
        writer = given_ones.pop("writer", SampleWriter(tmp_path / "samples"))
        lock = tmp_path / "sampler.lock"
        made.append(Sampler(procfs=procfs, writer=writer, lock_path=lock, **given_ones))
        return made[-1]

    yield make
    for each in made:
        assert each.close(seconds=10)


@pytest.fixture
def quick(monkeypatch):
    """Have a second be short."""
    monkeypatch.setattr(module, "INTERVAL_SECONDS", 0.02)


class Recording:
    """Keeps what is written, in place of a file; fails as told."""

    def __init__(self):
        self.samples = []
        self.fault = None

    def append(self, sample):
        if self.fault:
            raise self.fault
        self.samples.append(sample)


class TestSample:
    def test_it_is_the_host_over_the_last_second(self, host, make_sampler, samples):
        host.set_load("0.52 0.41 0.38")
        host.set_disks({"sda": counters(reads=10, sectors_read=80)})
        sampler = make_sampler(host.procfs, now=lambda: NOON)
        sampler.sample()
        assert samples.newer_than(None) == []
        host.set_uptime("100001.00")
        host.set_disks(
            {
                "sda": counters(
                    reads=14,
                    sectors_read=112,
                    read_ticks_ms=10,
                    writes=2,
                    sectors_written=2000,
                    write_ticks_ms=14,
                    busy_ticks_ms=250,
                    queue_ticks_ms=500,
                )
            }
        )
        sampler.sample()
        assert samples.newer_than(None) == [
            {
                "time": "2026-03-09T12:00:00.505Z",
                "load": [0.52, 0.41, 0.38],
                "uptime_seconds": 100001.0,
                "users": None,
                "devices": [
                    {
                        "device": "sda",
                        "tps": 6.0,
                        "kB_read_per_s": 16.0,
                        "kB_wrtn_per_s": 1000.0,
                        "r_await_ms": 2.5,
                        "w_await_ms": 7.0,
                        "queue": 0.5,
                        "util_percent": 25.0,
                    }
                ],
            }
        ]

    def test_of_this_host_it_has_what_there_is(self, make_sampler):
        writer = Recording()
        sampler = make_sampler(Procfs(), writer=writer)
        wait_until(lambda: sampler.sample() or writer.samples)
        [sample] = writer.samples
        assert abs(datetime.fromisoformat(sample["time"]) - datetime.now(UTC)) < (
            timedelta(seconds=60)
        )
        assert sample["uptime_seconds"] > 0
        assert len(sample["load"]) == 3
        json.dumps(sample, allow_nan=False)

    @pytest.mark.parametrize("uptime", ["100005.01", "103600.00", "100000.00", "5.00"])
    def test_over_a_gap_nothing_is_told(self, host, make_sampler, uptime):
        writer = Recording()
        sampler = make_sampler(host.procfs, writer=writer)
        sampler.sample()
        host.set_uptime(uptime)
        host.set_disks({"sda": counters(reads=10**9, sectors_read=10**12)})
        sampler.sample()
        assert writer.samples == []
        host.set_uptime(f"{float(uptime) + 1:.2f}")
        sampler.sample()
        [sample] = writer.samples
        assert sample["devices"][0]["kB_read_per_s"] == 0

    def test_a_clock_that_is_set_changes_no_rate(self, host, make_sampler):
        writer, clock = Recording(), iter([NOON, NOON - timedelta(days=400)])
        sampler = make_sampler(host.procfs, writer=writer, now=lambda: next(clock))
        for second in range(3):
            host.set_uptime(f"{100000 + second}.00")
            host.set_disks({"sda": counters(reads=1 + second * 7)})
            sampler.sample()
        assert [each["devices"][0]["tps"] for each in writer.samples] == [7.0, 7.0]
        assert [each["time"][:4] for each in writer.samples] == ["2026", "2025"]

    def test_of_hundreds_of_disks_it_has_the_busiest_by_name(self, host, make_sampler):
        writer = Recording()
        sampler = make_sampler(host.procfs, writer=writer)
        names = [f"sd{number:03d}" for number in range(300)]
        host.set_disks({name: counters(reads=1) for name in names})
        sampler.sample()
        host.set_uptime("100001.00")
        busy = set(names[5::20])
        host.set_disks(
            {
                name: counters(reads=9, sectors_read=80, busy_ticks_ms=9)
                if name in busy
                else counters(reads=1)
                for name in names
            }
        )
        sampler.sample()
        [sample] = writer.samples
        found = [each["device"] for each in sample["devices"]]
        assert len(found) == DEVICES
        assert found == sorted(found)
        assert busy <= set(found)
        assert len(json.dumps(sample)) < 4096

    def test_a_disk_that_never_moved_is_left_out_as_in_iostat(self, host, make_sampler):
        writer = Recording()
        sampler = make_sampler(host.procfs, writer=writer)
        host.set_disks({"loop0": counters(), "sda": counters(reads=1)})
        sampler.sample()
        host.set_uptime("100001.00")
        sampler.sample()
        [sample] = writer.samples
        assert [each["device"] for each in sample["devices"]] == ["sda"]


class TestPace:
    def test_it_is_kept_without_drift(self):
        due = 0.0
        for second in range(1, 1000):
            due = next_due(due, due + 0.3)
            assert due == second

    @given(st.floats(0, 10**6), st.floats(0, 10**5))
    def test_what_was_missed_is_not_caught_up_on(self, due, late):
        found = next_due(due, due + late)
        assert found - (due + late) > 0.49
        assert found - (due + late) < 1.51
        steps = found - due
        assert math.isclose(steps, round(steps), abs_tol=1e-6)

    def test_a_time_is_told_to_the_millisecond_in_utc(self):
        assert moment(NOON) == "2026-03-09T12:00:00.505Z"
        there = NOON.astimezone(timezone(timedelta(hours=-5)))
        assert moment(there) == moment(NOON)
        assert moment(NOON.replace(microsecond=0)) == "2026-03-09T12:00:00.000Z"


def passing(host):
    """Have a second pass for the host whenever its load is asked for."""
    seconds = itertools.count(100001)

    class Passing(Procfs):
        def uptime_seconds(self):
            return float(next(seconds))

    return Passing(proc=host.proc, sys=host.sys, utmp=host.utmp, uname=host.uname)


@pytest.mark.usefixtures("quick")
class TestSampler:
    def test_it_samples_until_it_is_closed(self, host, make_sampler, samples):
        sampler = make_sampler(passing(host))
        sampler.start()
        wait_until(lambda: len(samples.newer_than(None)) >= 3)
        assert sampler.close(seconds=10)
        kept = samples.newer_than(None)
        assert "sampler" not in {thread.name for thread in threading.enumerate()}
        assert samples.newer_than(None) == kept

    def test_one_of_several_samples_and_the_next_goes_on(self, host, make_sampler):
        writers = [Recording(), Recording()]
        first, second = (make_sampler(passing(host), writer=each) for each in writers)
        first.start()
        wait_until(lambda: writers[0].samples)
        second.start()
        begun = len(writers[0].samples)
        wait_until(lambda: len(writers[0].samples) >= begun + 5)
        assert writers[1].samples == []
        assert first.close(seconds=10)
        wait_until(lambda: writers[1].samples)

    def test_a_dead_workers_turn_is_taken_over(self, host, make_sampler, tmp_path):
        hold = (
            "import sys, signal; from contextlib import ExitStack;"
            "from pathlib import Path; from app.turn import take_turn;"
            "held = ExitStack(); print(take_turn(Path(sys.argv[1]), held), flush=True);"
            "signal.pause()"
        )
        writer = Recording()
        with subprocess.Popen(
            [sys.executable, "-c", hold, tmp_path / "sampler.lock"],
            stdout=subprocess.PIPE,
        ) as holder:
            assert holder.stdout.readline() == b"True\n"
            sampler = make_sampler(passing(host), writer=writer)
            tries, take = [], sampler._take_turn
            sampler._take_turn = lambda held: tries.append(1) or take(held)
            sampler.start()
            wait_until(lambda: len(tries) >= 3)
            assert writer.samples == []
            holder.kill()
        wait_until(lambda: writer.samples)

    def test_what_goes_wrong_is_said_once_and_it_goes_on(self, host, make_sampler):
        writer, tries = Recording(), []
        procfs = passing(host)
        users = procfs.users
        procfs.users = lambda: tries.append(1) or users()
        sampler = make_sampler(procfs, writer=writer)
        writer.fault = OSError("no space left")
        with capture_logs() as logs:
            sampler.start()
            wait_until(lambda: len(tries) >= 5)
            writer.fault = None
            wait_until(lambda: writer.samples)
            (host.proc / "diskstats").unlink()
            wait_until(lambda: len(logs) == 2)
            host.set_disks({})
            begun = len(writer.samples)
            wait_until(lambda: len(writer.samples) > begun)
            assert sampler.close(seconds=10)
        assert [each["event"] for each in logs] == ["sample.postponed"] * 2
        assert logs[0]["error"] == "no space left"
        assert "diskstats" in logs[1]["error"]

    def test_a_fault_of_ours_is_not_the_last_sample(self, host, make_sampler):
        writer = Recording()
        sampler = make_sampler(passing(host), writer=writer)
        writer.fault = RuntimeError("a fault of ours")
        with capture_logs() as logs:
            sampler.start()
            wait_until(lambda: logs)
            writer.fault = None
            wait_until(lambda: writer.samples)
            assert sampler.close(seconds=10)
        assert {each["event"] for each in logs} == {"sample.failed"}

    def test_a_lock_that_cannot_be_had_is_said_once(self, host, make_sampler, tmp_path):
        (tmp_path / "sampler.lock").mkdir()
        writer = Recording()
        sampler = make_sampler(passing(host), writer=writer)
        with capture_logs() as logs:
            sampler.start()
            wait_until(lambda: logs)
            (tmp_path / "sampler.lock").rmdir()
            wait_until(lambda: writer.samples)
            assert sampler.close(seconds=10)
        assert [each["event"] for each in logs] == ["sample.postponed"]

    def test_to_close_one_that_was_not_started_is_nothing(self, host, make_sampler):
        sampler = make_sampler(host.procfs)
        assert sampler.close(seconds=1)
        assert sampler.close(seconds=1)


def test_a_host_that_cannot_be_read_is_told_by_a_sample(host, make_sampler):
    (host.proc / "uptime").unlink()
    with pytest.raises(HostReadingFailed):
        make_sampler(host.procfs).sample()
