import os
import struct
import subprocess
import sys
import textwrap
from dataclasses import astuple

import pytest

from app.errors import HostReadingFailed
from app.host.procfs import DiskStats, Procfs

USER_PROCESS, DEAD_PROCESS, LOGIN_PROCESS, BOOT_TIME = 7, 8, 6, 2

# utmp(5): type, pid, line, id, user, host, exit, session, time, address, unused.
UTMP_LAYOUTS = {
    "x86_64": "=hxxi32s4s32s256shhiii4I20x",
    "ppc64le": "=hxxi32s4s32s256shhiii4I20x",
    "armv7l": "=hxxi32s4s32s256shhiii4I20x",
    "aarch64": "=hxxi32s4s32s256shhqqq4I20x4x",
    "loongarch64": "=hxxi32s4s32s256shhqqq4I20x4x",
}


def utmp(machine, *records):
    pack = struct.Struct(UTMP_LAYOUTS[machine]).pack
    return b"".join(
        pack(kind, 4242, b"pts/0", b"ts/0", user, b"10.0.0.7", 0, 0, 1, 2, 3, *[9] * 4)
        for kind, user in records
    )


def refuse_to_read(path):
    path.unlink()
    path.mkdir()


def test_uptime_is_the_first_number_of_its_file(host):
    host.set_uptime("350735.47")
    assert host.procfs.uptime_seconds() == 350735.47


def test_load_averages_are_the_first_three_numbers_of_their_file(host):
    host.set_load("0.20 10.18 100.12")
    assert host.procfs.load_averages() == (0.20, 10.18, 100.12)


@pytest.mark.parametrize("machine", UTMP_LAYOUTS)
def test_users_are_sessions_with_a_name_in_the_records_of_the_machine(host, machine):
    host.machine = machine
    host.utmp.write_bytes(
        utmp(
            machine,
            (BOOT_TIME, b"reboot"),
            (USER_PROCESS, b"ada"),
            (LOGIN_PROCESS, b"LOGIN"),
            (USER_PROCESS, b"ada"),
            (DEAD_PROCESS, b"grace"),
            (USER_PROCESS, b""),
            (USER_PROCESS, b"a-name-that-fills-the-field-32b."),
        )
    )
    assert host.procfs.users() == 3


def test_a_utmp_with_nobody_in_it_counts_no_users(host):
    host.utmp.write_bytes(b"")
    assert host.procfs.users() == 0


def test_a_record_that_is_being_written_is_not_counted(host):
    both = utmp("x86_64", (USER_PROCESS, b"ada"), (USER_PROCESS, b"grace"))
    host.utmp.write_bytes(both[:-1])
    assert host.procfs.users() == 1


def test_users_are_unknown_without_a_utmp(host):
    assert host.procfs.users() is None


def test_users_are_unknown_when_utmp_cannot_be_read(host):
    host.utmp.mkdir()
    assert host.procfs.users() is None


@pytest.mark.parametrize(
    ("fields", "known"),
    [(11, 11), (12, 11), (14, 11), (15, 15), (16, 15), (17, 17), (20, 17)],
)
def test_fields_that_a_kernel_does_not_have_are_zero(host, fields, known):
    host.set_disks({"sda": range(1, fields + 1)})
    expected = (*range(1, known + 1), *(0,) * (17 - known))
    assert [astuple(disk) for disk in host.procfs.diskstats()] == [("sda", *expected)]


def test_each_field_of_a_disk_has_its_name(host):
    host.set_disks({"sda": range(1, 18)})
    assert host.procfs.diskstats() == [
        DiskStats(
            name="sda",
            reads=1,
            reads_merged=2,
            sectors_read=3,
            read_ticks_ms=4,
            writes=5,
            writes_merged=6,
            sectors_written=7,
            write_ticks_ms=8,
            in_flight=9,
            busy_ticks_ms=10,
            queue_ticks_ms=11,
            discards=12,
            discards_merged=13,
            sectors_discarded=14,
            discard_ticks_ms=15,
            flushes=16,
            flush_ticks_ms=17,
        )
    ]


def test_a_partition_of_old_kernels_without_all_fields_is_left_out(host):
    host.set_disks({"sda": range(11)}, partitions={"sda1": range(4)})
    assert [disk.name for disk in host.procfs.diskstats()] == ["sda"]


def test_requests_in_flight_may_be_negative(host):
    host.set_disks({"sda": [1, 2, 3, 4, 5, 6, 7, 8, -1, 10, 11]})
    (disk,) = host.procfs.diskstats()
    assert disk.in_flight == -1


def test_whole_disks_are_virtual_ones_also_but_no_partitions(host):
    disks = {"sda": range(17), "loop0": range(17), "dm-0": range(17)}
    host.set_disks(disks, partitions={"sda1": range(17)})
    assert host.procfs.whole_disks() == {"sda", "loop0", "dm-0"}


def test_a_slash_in_the_name_of_a_disk_is_found_in_sysfs(host):
    host.set_disks({"cciss/c0d0": range(17)})
    assert host.procfs.whole_disks() == {"cciss/c0d0"}


def test_processors_are_counted_in_sysfs(host):
    (host.cpus / "cpu10").mkdir()
    assert host.procfs.cpu_count() == 3


def test_processors_are_counted_in_proc_where_sysfs_has_none(host):
    for path in host.cpus.iterdir():
        path.rmdir()
    (host.proc / "stat").write_text("cpu  9 9\ncpu0 4 4\ncpu5 5 5\nintr 7 8\n")
    assert host.procfs.cpu_count() == 6


def test_the_name_of_the_host_is_what_the_kernel_says():
    assert Procfs().uname() == os.uname()


def test_a_repr_tells_where_the_figures_come_from():
    assert repr(Procfs()) == "<Procfs /proc /sys /var/run/utmp>"


@pytest.mark.parametrize(
    ("reader", "file"),
    [
        ("uptime_seconds", "uptime"),
        ("load_averages", "loadavg"),
        ("diskstats", "diskstats"),
    ],
)
class TestAFileOfProc:
    def test_that_is_not_there_is_named_in_the_error(self, host, reader, file):
        (host.proc / file).unlink()
        with pytest.raises(HostReadingFailed, match=str(host.proc / file)) as caught:
            getattr(host.procfs, reader)()
        assert isinstance(caught.value.__cause__, FileNotFoundError)

    def test_that_cannot_be_read_is_named_in_the_error(self, host, reader, file):
        refuse_to_read(host.proc / file)
        with pytest.raises(HostReadingFailed, match=str(host.proc / file)) as caught:
            getattr(host.procfs, reader)()
        assert isinstance(caught.value.__cause__, OSError)

    @pytest.mark.parametrize("content", [b"a b c d e f g h i j k l m n", b"8 0 \xff"])
    def test_that_makes_no_sense_is_named_in_the_error(
        self, host, reader, file, content
    ):
        (host.proc / file).write_bytes(content)
        with pytest.raises(HostReadingFailed, match=str(host.proc / file)) as caught:
            getattr(host.procfs, reader)()
        assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize(
    ("reader", "file"), [("uptime_seconds", "uptime"), ("load_averages", "loadavg")]
)
def test_an_empty_file_is_named_in_the_error(host, reader, file):
    (host.proc / file).write_bytes(b"")
    with pytest.raises(HostReadingFailed, match=str(host.proc / file)):
        getattr(host.procfs, reader)()


def test_a_missing_list_of_disks_is_named_in_the_error(host):
    block = host.sys / "block"
    block.rmdir()
    with pytest.raises(HostReadingFailed, match=str(block)) as caught:
        host.procfs.whole_disks()
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_a_host_without_any_list_of_processors_is_an_error(host):
    for path in host.cpus.iterdir():
        path.rmdir()
    with pytest.raises(HostReadingFailed, match=str(host.proc / "stat")):
        host.procfs.cpu_count()


# An audit hook stays for the life of its interpreter, so this one gets its own. The
# interpreter itself raises these events, however a process would be started.
WATCHED_READING = """
    import subprocess, sys

    def watch(event, arguments):
        if event in {"subprocess.Popen", "os.fork", "os.forkpty", "os.exec",
                     "os.posix_spawn", "os.spawn", "os.system"}:
            raise RuntimeError(f"a process was about to be started: {event}")

    sys.addaudithook(watch)

    from app.host.iostat import iostat_samples, render_header, render_sample
    from app.host.procfs import Procfs
    from app.host.uptime import read_uptime

    read_uptime(Procfs())
    render_header(Procfs())
    samples = iostat_samples(Procfs(), count=2, wait_seconds=0, sleep=bool)
    assert len(list(map(render_sample, samples))) == 2

    try:
        subprocess.run([sys.executable, "-V"])
    except RuntimeError as caught:
        print(caught)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc here")
def test_no_process_is_started_to_read_this_host(pytestconfig):
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(WATCHED_READING)],
        cwd=pytestconfig.rootpath,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stderr == ""
    assert ended.stdout == "a process was about to be started: subprocess.Popen\n"
