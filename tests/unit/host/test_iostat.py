import json
import os
import re
import shutil
import subprocess
import threading
from dataclasses import asdict
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import HostReadingFailed
from app.host.iostat import (
    DeviceUse,
    Sample,
    iostat_samples,
    render_header,
    render_sample,
)
from app.host.procfs import DiskStats, Procfs

COLUMNS = (
    "Device             tps    kB_read/s    kB_wrtn/s    kB_dscd/s"
    "    kB_read    kB_wrtn    kB_dscd\n"
)
NOON = datetime(2026, 3, 9, 12, 0, 0, tzinfo=UTC)
UNSIGNED_INT, UNSIGNED_LONG = 2**32, 2**64

ZEROS = (0,) * 17


def counters(**given_ones):
    """Make a line's 17 numbers, all 0 but for the given ones."""
    return [given_ones.get(name, 0) for name in DiskStats.__slots__[1:]]


def no_sleep(_seconds):
    return None


def one_sample(host):
    (sample,) = iostat_samples(host.procfs, count=1, wait_seconds=1, sleep=no_sleep)
    return sample


def samples_of(host, *moments):
    """Take a sample at each moment, 10 seconds apart, of the disks there were then."""
    pending = list(moments)
    uptime = 1000

    def pass_on(_seconds):
        nonlocal uptime
        uptime += 10
        host.set_uptime(f"{uptime}.00")
        host.set_disks(pending.pop(0))

    pass_on(0)
    return list(
        iostat_samples(host.procfs, count=len(moments), wait_seconds=10, sleep=pass_on)
    )


def only_use(sample):
    (use,) = sample.devices
    return use


def names(sample):
    return [use.device for use in sample.devices]


class RecordedHost:
    """A host whose moments were taken before: one (uptime in 1/100 s, disks) each."""

    def __init__(self, *moments):
        self._moments = iter(moments)

    def uptime_seconds(self):
        uptime_cs, self._disks = next(self._moments)
        return uptime_cs / 100

    def diskstats(self):
        return self._disks

    def whole_disks(self):
        return {disk.name for disk in self._disks}


def replay(*moments):
    recorded = RecordedHost(*moments)
    count = len(moments)
    return list(iostat_samples(recorded, count=count, wait_seconds=1, sleep=no_sleep))


class TestTheFirstSample:
    def test_is_since_boot(self, host):
        host.set_uptime("2000.00")
        host.set_disks(
            {
                "vda": counters(
                    reads=30000,
                    sectors_read=1230834,
                    read_ticks_ms=6000,
                    writes=10000,
                    sectors_written=757320,
                    write_ticks_ms=25000,
                    busy_ticks_ms=100000,
                    queue_ticks_ms=250000,
                    discards=2000,
                    sectors_discarded=75929,
                    flushes=155,
                )
            }
        )
        assert only_use(one_sample(host)) == DeviceUse(
            device="vda",
            tps=21.0,
            kB_read_per_s=307.71,
            kB_wrtn_per_s=189.33,
            kB_dscd_per_s=18.98,
            kB_read=615417,
            kB_wrtn=378660,
            kB_dscd=37964,
            r_await_ms=0.2,
            w_await_ms=2.5,
            queue=0.12,
            util_percent=5.0,
        )

    def test_comes_at_once(self, host):
        def refuse(_seconds):
            pytest.fail("there was a wait before the first sample")

        samples = iostat_samples(host.procfs, count=9, wait_seconds=60, sleep=refuse)
        assert isinstance(next(samples), Sample)

    def test_has_the_time_in_utc(self, host):
        before = datetime.now(UTC)
        sample = one_sample(host)
        assert before <= sample.time <= datetime.now(UTC)
        assert sample.time.tzinfo is UTC


def test_a_later_sample_is_over_the_interval_alone(host):
    begin = counters(reads=100, sectors_read=800, read_ticks_ms=50, busy_ticks_ms=90)
    end = counters(reads=150, sectors_read=1600, read_ticks_ms=150, busy_ticks_ms=5090)
    _, second = samples_of(host, {"sda": begin}, {"sda": end})
    use = only_use(second)
    assert (use.tps, use.kB_read_per_s, use.kB_read) == (5.0, 40.0, 400)
    assert (use.r_await_ms, use.util_percent) == (2.0, 50.0)


def test_a_device_that_rested_has_zeros_and_no_waits(host):
    busy = counters(reads=9, sectors_read=8, read_ticks_ms=7, writes=5, flushes=1)
    _, second = samples_of(host, {"sda": busy}, {"sda": busy})
    figures = asdict(only_use(second))
    assert figures.pop("device") == "sda"
    assert set(figures.values()) == {0}


def test_an_interval_is_at_least_a_hundredth_of_a_second():
    begin = DiskStats("sda", *counters(reads=1))
    end = DiskStats("sda", *counters(reads=3))
    _, second = replay((5000, [begin]), (5000, [end]))
    assert only_use(second).tps == 200.0


def test_amounts_are_whole_kilobytes_of_two_sectors_rounded_down(host):
    host.set_disks(
        {
            "sda": counters(
                reads=1, sectors_read=3, sectors_written=1, sectors_discarded=4
            )
        }
    )
    use = only_use(one_sample(host))
    assert (use.kB_read, use.kB_wrtn, use.kB_dscd) == (1, 0, 2)


class TestDevices:
    def test_that_never_did_anything_are_left_out(self, host):
        idle = counters(reads_merged=5, in_flight=1, busy_ticks_ms=7)
        host.set_disks({"loop0": idle, "sda": counters(reads=1)})
        assert names(one_sample(host)) == ["sda"]

    @pytest.mark.parametrize("kind", ["reads", "writes", "discards", "flushes"])
    def test_that_did_anything_are_shown(self, host, kind):
        host.set_disks({"sda": counters(**{kind: 1})})
        assert names(one_sample(host)) == ["sda"]

    def test_are_whole_ones(self, host):
        one = counters(reads=1)
        host.set_disks({"sda": one, "dm-0": one}, partitions={"sda1": one})
        assert names(one_sample(host)) == ["dm-0", "sda"]

    def test_are_in_the_order_of_their_names_in_sysfs(self, host):
        disks = ["sdb", "sda", "sd10", "Zed", "cciss.", "cciss/c0d1", "cciss/c0d0"]
        host.set_disks(dict.fromkeys(disks, counters(reads=1)))
        assert names(one_sample(host)) == [
            "Zed",
            "cciss/c0d0",
            "cciss/c0d1",
            "cciss.",
            "sd10",
            "sda",
            "sdb",
        ]

    def test_that_come_are_counted_from_zero(self, host):
        both = {"sda": counters(reads=7), "sdb": counters(writes=30)}
        _, second = samples_of(host, {"sda": counters(reads=7)}, both)
        assert [(use.device, use.tps) for use in second.devices] == [
            ("sda", 0.0),
            ("sdb", 3.0),
        ]

    def test_that_go_are_left_out(self, host):
        both = {"sda": counters(reads=7), "sdb": counters(writes=30)}
        samples = samples_of(host, both, {"sdb": counters(writes=30)}, both)
        assert list(map(names, samples)) == [["sda", "sdb"], ["sdb"], ["sda", "sdb"]]

    def test_that_were_removed_and_added_again_are_counted_from_zero(self, host):
        old = counters(reads=500, sectors_read=9000, writes=60, sectors_written=700)
        new = counters(reads=20, sectors_read=160, writes=10, sectors_written=80)
        _, second = samples_of(host, {"sdc": old}, {"sdc": new})
        use = only_use(second)
        assert (use.tps, use.kB_read, use.kB_wrtn) == (3.0, 80, 40)


class TestACounterThatWraps:
    @pytest.mark.parametrize("before", [UNSIGNED_INT - 10, UNSIGNED_INT - 1])
    def test_gives_the_time_that_really_passed(self, host, before):
        ticks = ("read_ticks_ms", "write_ticks_ms", "busy_ticks_ms", "queue_ticks_ms")
        begin = counters(reads=10, writes=10, **dict.fromkeys(ticks, before))
        after = (before + 2000) % UNSIGNED_INT
        end = counters(reads=20, writes=20, **dict.fromkeys(ticks, after))
        _, second = samples_of(host, {"sda": begin}, {"sda": end})
        use = only_use(second)
        assert (use.r_await_ms, use.w_await_ms) == (200.0, 200.0)
        assert (use.queue, use.util_percent) == (0.2, 20.0)

    def test_gives_the_requests_and_sectors_that_there_really_were(self, host):
        # Something else has to have grown: a device of which everything shrank is
        # taken for another one.
        begin = counters(
            reads=UNSIGNED_LONG - 5, sectors_read=UNSIGNED_LONG - 40, writes=50
        )
        end = counters(reads=15, sectors_read=40, writes=50)
        _, second = samples_of(host, {"sda": begin}, {"sda": end})
        use = only_use(second)
        assert (use.tps, use.kB_read_per_s, use.kB_read) == (2.0, 4.0, 40)

    def test_of_32_bits_gives_the_sectors_that_there_really_were(self, host):
        begin = counters(reads=10, sectors_read=UNSIGNED_INT - 20)
        end = counters(reads=20, sectors_read=20)
        _, second = samples_of(host, {"sda": begin}, {"sda": end})
        assert only_use(second).kB_read == 20


@given(
    before=st.lists(st.integers(0, UNSIGNED_LONG - 1), min_size=17, max_size=17),
    after=st.lists(st.integers(0, UNSIGNED_LONG - 1), min_size=17, max_size=17),
    interval_cs=st.integers(1, 10**6),
)
def test_the_text_and_the_values_agree(before, after, interval_cs):
    moments = (
        (100, [DiskStats("sda", *before)]),
        (
            100 + interval_cs,
            [DiskStats("sda", *after)],
        ),
    )
    for sample in replay(*moments):
        for use in sample.devices:
            row = render_sample(sample).splitlines()[1].split()
            printed = ("tps", "kB_read_per_s", "kB_wrtn_per_s", "kB_dscd_per_s")
            assert [float(word) for word in row[1:5]] == [
                getattr(use, name) for name in printed
            ]
            assert row[5:] == [str(use.kB_read), str(use.kB_wrtn), str(use.kB_dscd)]
            assert all(figure >= 0 for figure in list(asdict(use).values())[1:])


def test_the_fields_have_the_names_of_the_json_in_its_order():
    assert list(DeviceUse.__slots__) == [
        "device",
        "tps",
        "kB_read_per_s",
        "kB_wrtn_per_s",
        "kB_dscd_per_s",
        "kB_read",
        "kB_wrtn",
        "kB_dscd",
        "r_await_ms",
        "w_await_ms",
        "queue",
        "util_percent",
    ]


class FakeClock:
    """A monotonic clock that only sleeping, and the one who samples, moves on."""

    def __init__(self):
        self.now = 500.0
        self.slept = []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(round(seconds, 6))
        self.now += seconds

    def samples(self, host, *, count, wait_seconds):
        return iostat_samples(
            host.procfs,
            count=count,
            wait_seconds=wait_seconds,
            sleep=self.sleep,
            monotonic=self.monotonic,
        )


class TestWaiting:
    def test_happens_between_the_samples_and_not_after_the_last(self, host):
        clock = FakeClock()
        assert len(list(clock.samples(host, count=3, wait_seconds=2))) == 3
        assert clock.slept == [2, 2]

    def test_is_shorter_by_what_the_sample_took(self, host):
        clock = FakeClock()
        for _ in clock.samples(host, count=4, wait_seconds=2):
            clock.now += 0.25
        assert clock.slept == [1.75, 1.75, 1.75]

    def test_makes_good_for_a_sleep_that_was_too_long(self, host):
        clock = FakeClock()
        for number, _ in enumerate(clock.samples(host, count=4, wait_seconds=2)):
            clock.now += 0.5 if number == 1 else 0
        assert clock.slept == [2, 1.5, 2]

    def test_does_not_catch_up_on_samples_that_were_missed(self, host):
        clock = FakeClock()
        for number, _ in enumerate(clock.samples(host, count=4, wait_seconds=2)):
            clock.now += 7 if number == 0 else 0
        assert clock.slept == [0, 2, 2]

    def test_ends_the_samples_when_the_sleep_returns_something_true(self, host):
        stop = threading.Event()
        samples = iostat_samples(
            host.procfs, count=10**6, wait_seconds=3600, sleep=stop.wait
        )
        assert next(samples)
        stop.set()
        assert list(samples) == []

    def test_may_be_ended_from_another_thread(self, host):
        stop = threading.Event()
        samples = iostat_samples(
            host.procfs, count=10**6, wait_seconds=3600, sleep=stop.wait
        )
        stopper = threading.Thread(target=stop.set, name="stopper")
        next(samples)
        stopper.start()
        assert list(samples) == []
        stopper.join()

    def test_lets_an_error_of_the_sleep_through(self, host):
        def interrupt(_seconds):
            raise InterruptedError

        samples = iostat_samples(host.procfs, count=2, wait_seconds=1, sleep=interrupt)
        next(samples)
        with pytest.raises(InterruptedError):
            next(samples)


def test_a_host_that_cannot_be_read_fails_at_the_sample_and_not_before(host):
    samples = iostat_samples(host.procfs, count=2, wait_seconds=1, sleep=no_sleep)
    next(samples)
    (host.proc / "diskstats").unlink()
    with pytest.raises(HostReadingFailed, match="diskstats"):
        next(samples)


class TestTheText:
    def test_of_a_header_is_the_host_the_date_and_the_processors(
        self, host, set_time_zone
    ):
        set_time_zone("UTC")
        assert render_header(host.procfs, now=NOON.timestamp()) == (
            "Linux 6.1.0-13-amd64 (pelican) \t03/09/26 \t_x86_64_\t(2 CPU)\n\n"
        )

    def test_of_a_header_has_the_local_date(self, host, set_time_zone):
        set_time_zone("XXX-13")
        assert "\t03/10/26 \t" in render_header(host.procfs, now=NOON.timestamp())

    def test_of_a_header_does_not_care_about_the_time_format_of_sysstat(
        self, host, set_time_zone, monkeypatch
    ):
        set_time_zone("UTC")
        monkeypatch.setenv("S_TIME_FORMAT", "ISO")
        assert "\t03/09/26 \t" in render_header(host.procfs, now=NOON.timestamp())

    def test_of_a_sample_is_a_table_and_two_empty_lines(self, host):
        host.set_uptime("1000.00")
        host.set_disks(
            {
                "sdb": counters(reads=123456, sectors_read=98765432, flushes=1),
                "cciss/c0d0": counters(writes=5, sectors_written=40),
            }
        )
        assert render_sample(one_sample(host)) == COLUMNS + (
            "cciss/c0d0        0.01         0.00         0.02         0.00"
            "          0         20          0\n"
            "sdb             123.46     49382.72         0.00         0.00"
            "   49382716          0          0\n"
            "\n\n"
        )

    def test_of_a_sample_without_devices_is_the_head_of_the_table(self, host):
        assert render_sample(one_sample(host)) == COLUMNS + "\n\n"

    def test_moves_its_columns_for_what_is_too_wide_as_iostat_does(self, host):
        host.set_uptime("1000.00")
        name = "nvme10n1-with-a-long-name"
        host.set_disks(
            {
                name: counters(
                    reads=10**12,
                    sectors_read=10**17 + 7,
                    sectors_discarded=UNSIGNED_LONG - 1,
                )
            }
        )
        assert render_sample(one_sample(host)) == COLUMNS + (
            "nvme10n1-with-a-long-name 1000000000.00 50000000000000.00         0.00"
            " 9223372036854776.00"
            " 50000000000000003          0 9223372036854775807\n"
            "\n\n"
        )


# --- Against the real program. Its -f option reads the block devices of another place
# than /sys, so that it and this program can be given the very same counters; the
# uptime is always the machine's, so that every 1/100 s that it can have been is tried.


def machine_uptime_cs():
    return round(Procfs().uptime_seconds() * 100)


@pytest.fixture
def real_iostat(set_time_zone):
    program = shutil.which("iostat")
    if program is None:
        pytest.skip("there is no iostat on this machine to compare with")
    version = subprocess.check_output([program, "-V"], text=True)
    if not re.search(r"sysstat version 12\.6\.", version):
        pytest.skip(f"iostat here is another than 12.6: {version.splitlines()[0]!r}")
    set_time_zone("UTC")
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC"}

    def start(*arguments):
        return subprocess.Popen(
            [program, "-d", *map(str, arguments)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )

    return start


def first_uptimes(started_cs):
    return range(started_cs, machine_uptime_cs() + 1)


ODD_DISKS = {
    "sdb": counters(
        reads=123456,
        sectors_read=98765433,
        sectors_written=7,
        read_ticks_ms=UNSIGNED_INT,
    ),
    "sda": range(1, 18),
    "sd10": [5 * 10**9, *range(2, 12)],
    "cciss/c0d0": [1, 2, 3, 4, 5, 6, 7, 8, -1, 10, 11],
    "cciss.": range(11, 28),
    "dm-0": counters(flushes=5, flush_ticks_ms=5),
    "idle": ZEROS,
    "merely-merged": counters(reads_merged=3),
    "nvme10n1-with-a-long-name": range(1001, 1017),
    "Zed": counters(reads=10**12, sectors_read=10**17 - 1, sectors_written=10**13),
    "wide": counters(reads=UNSIGNED_LONG - 1, sectors_read=UNSIGNED_LONG - 1),
    "wider": counters(
        reads=UNSIGNED_LONG - 1, writes=9, sectors_read=UNSIGNED_LONG - 2
    ),
}

# What may become of a device while nobody looks, before and after.
CHANGES = {
    "busy": (
        counters(reads=5, sectors_read=9, read_ticks_ms=3, writes=1, queue_ticks_ms=1),
        counters(
            reads=905, sectors_read=99, read_ticks_ms=9, writes=3, queue_ticks_ms=9
        ),
    ),
    "idle": (counters(reads=5), counters(reads=5)),
    "comes": (None, range(100, 117)),
    "goes": (range(100, 117), None),
    "readded": (range(100, 117), range(1, 18)),
    "readded-without-writes": (
        counters(reads=50, sectors_read=400),
        counters(reads=5, sectors_read=40, writes=2, sectors_written=9),
    ),
    "readded-with-more": (
        counters(reads=50, sectors_read=400, writes=9, sectors_written=100),
        counters(reads=5, sectors_read=500, writes=2, sectors_written=10),
    ),
    "wraps-32": (
        counters(
            reads=50,
            sectors_read=UNSIGNED_INT - 9,
            read_ticks_ms=UNSIGNED_INT - 9,
            busy_ticks_ms=UNSIGNED_INT - 300,
            queue_ticks_ms=UNSIGNED_INT - 4000,
        ),
        counters(
            reads=60,
            sectors_read=91,
            read_ticks_ms=91,
            busy_ticks_ms=200,
            queue_ticks_ms=1000,
        ),
    ),
    "wraps-64": (
        counters(reads=UNSIGNED_LONG - 9, sectors_read=UNSIGNED_LONG - 9, writes=50),
        counters(reads=10, sectors_read=91, writes=60, sectors_written=80),
    ),
}
DISKS_BEFORE = {name: disk for name, (disk, _) in CHANGES.items() if disk}
DISKS_AFTER = {name: disk for name, (_, disk) in CHANGES.items() if disk}


def until(lines, is_last):
    taken = []
    for line in lines:
        taken.append(line)
        if is_last(line):
            break
    return taken


def start_and_change(host, real_iostat, *arguments, is_last):
    """Let iostat make two reports, and change the disks once the first is out."""
    host.set_disks(DISKS_BEFORE)
    before = host.procfs.diskstats()
    started_cs = machine_uptime_cs()
    with real_iostat(*arguments, "-f", host.sys, 1, 2) as process:
        first = until(process.stdout, is_last)
        uptimes = first_uptimes(started_cs)
        host.set_disks(DISKS_AFTER)
        second = process.stdout.read()
    intervals = range(90, machine_uptime_cs() - started_cs + 1)
    moments = [
        ((uptime_cs, before), (uptime_cs + interval_cs, host.procfs.diskstats()))
        for uptime_cs, interval_cs in [
            *((uptime_cs, 100) for uptime_cs in uptimes),
            *((uptimes[0], interval_cs) for interval_cs in intervals),
        ]
    ]
    return "".join(first), second, [replay(*pair) for pair in moments]


class TestTheRealIostat:
    @pytest.mark.parametrize("arguments", [(), (1, 1)])
    def test_prints_the_same_since_boot(self, host, real_iostat, arguments):
        host.set_disks(ODD_DISKS)
        started_cs = machine_uptime_cs()
        with real_iostat("-f", host.sys, *arguments) as process:
            theirs = process.stdout.read()
        disks = [
            disk
            for disk in host.procfs.diskstats()
            if disk.name in host.procfs.whole_disks()
        ]
        header = render_header(Procfs())
        ours = {
            header + "".join(map(render_sample, replay((uptime_cs, disks))))
            for uptime_cs in first_uptimes(started_cs)
        }
        assert theirs in ours

    def test_prints_the_same_over_an_interval(self, host, real_iostat):
        for _ in range(3):
            empty = iter((False, True))
            first, second, candidates = start_and_change(
                host,
                real_iostat,
                is_last=lambda line, empty=empty: line == "\n" and next(empty),
            )
            # iostat prints the second empty line of a report only before the next.
            firsts = {render_sample(one)[:-1] for one, _ in candidates}
            seconds = {"\n" + render_sample(two) for _, two in candidates}
            header = render_header(Procfs())
            if first.removeprefix(header) in firsts and second in seconds:
                return
        pytest.fail(f"{first!r} and {second!r} are not ours")

    def test_has_the_same_waits_queue_and_use_over_an_interval(self, host, real_iostat):
        for _ in range(3):
            first, second, candidates = start_and_change(
                host,
                real_iostat,
                *("-x", "-o", "JSON"),
                is_last=lambda line: line.strip() == "]",
            )
            statistics = json.loads(first + second)["sysstat"]["hosts"][0]["statistics"]
            theirs = [
                (
                    disk["disk_device"],
                    disk["r_await"],
                    disk["w_await"],
                    disk["aqu-sz"],
                    disk["util"],
                )
                for disk in statistics[1]["disk"]
            ]
            ours = [
                [
                    (
                        use.device,
                        use.r_await_ms,
                        use.w_await_ms,
                        use.queue,
                        use.util_percent,
                    )
                    for use in two.devices
                ]
                for _, two in candidates
            ]
            if theirs in ours:
                return
        pytest.fail(f"{theirs!r} are not ours")

    def test_prints_the_same_of_this_machine(self, real_iostat):
        for _ in range(20):
            before, started_cs = Procfs().diskstats(), machine_uptime_cs()
            with real_iostat() as process:
                theirs = process.stdout.read()
            uptimes, after = first_uptimes(started_cs), Procfs().diskstats()
            whole = Procfs().whole_disks()
            ours = {
                render_header(Procfs())
                + "".join(map(render_sample, replay((uptime_cs, disks))))
                for disks in (
                    [disk for disk in snapshot if disk.name in whole]
                    for snapshot in (before, after)
                )
                for uptime_cs in uptimes
            }
            if theirs in ours:
                return
        pytest.fail(f"{theirs!r} is not ours in 20 times")
