import errno
import os
import platform
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from app.processes import table
from app.processes.table import (
    boot_id,
    find_process,
    processes_marked,
    processes_of_group,
    processes_of_run,
    send_signal,
)
from tests.commands import DAEMON, LIVES_WITHOUT_MAIN_THREAD, python_argv
from tests.servers import wait_until

NAMED = """
import sys, time
open("/proc/self/comm", "w").write(sys.argv[1])
print("ready", flush=True)
time.sleep(300)
"""

NAMES = ["two words", "(", ")", ") Z 1 1 (", "a) S 1 (b", "", "ü \x01"]


@pytest.fixture
def zombie(spawn):
    """Return the pid of a process that has ended and was not waited for."""
    process = spawn("true")
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    return process.pid


def started_ticks(pid):
    """Return when a process started, found without knowing where its name ends."""
    return int(Path(f"/proc/{pid}/stat").read_text().split()[-52 + 21])


def has_ended(process):
    return process.poll() is not None


def test_a_live_process_is_found_with_its_group_and_start(spawn):
    process = spawn("sleep", "300", start_new_session=True)
    found = find_process(process.pid)
    assert (found.pid, found.group) == (process.pid, process.pid)
    assert found.start_ticks == started_ticks(process.pid)


def test_it_is_found_without_its_own_session_in_the_group_of_its_parent(spawn):
    assert find_process(spawn("sleep", "300").pid).group == os.getpgrp()


@pytest.mark.parametrize("name", NAMES)
def test_a_name_with_spaces_and_brackets_does_not_mislead(spawn_python, name):
    process = spawn_python(NAMED, name, start_new_session=True)
    found = find_process(process.pid)
    assert found.group == process.pid
    assert found.start_ticks == started_ticks(process.pid)


def test_of_two_processes_the_later_has_the_later_start(spawn):
    first = find_process(spawn("sleep", "300").pid)
    again = find_process(first.pid)
    assert again == first
    ours = find_process(os.getpid())
    assert ours.start_ticks <= first.start_ticks


def test_a_pid_that_nobody_has_is_no_process(spawn):
    process = spawn("true")
    process.wait()
    assert find_process(process.pid) is None
    assert find_process(2**22 + 1) is None, "more than the kernel ever gives"


def test_a_zombie_is_not_alive(zombie):
    assert Path(f"/proc/{zombie}").exists()
    assert find_process(zombie) is None


def test_a_zombie_is_in_no_group(spawn):
    process = spawn("true", start_new_session=True)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert processes_of_group(process.pid) == []


def test_a_process_whose_main_thread_has_ended_is_alive(spawn_python):
    if platform.machine() not in ("x86_64", "aarch64"):
        pytest.skip("the number of the system call `exit` is not known here")
    process = spawn_python(LIVES_WITHOUT_MAIN_THREAD, "300")
    stat = Path(f"/proc/{process.pid}/stat")
    wait_until(lambda: ") Z " in stat.read_text())
    assert find_process(process.pid) is not None


def test_a_reading_that_fails_is_not_taken_for_an_end(monkeypatch, tmp_path):
    (tmp_path / "7" / "stat").mkdir(parents=True)  # a directory: no read succeeds
    (tmp_path / "7" / "environ").mkdir()
    monkeypatch.setattr(table, "_PROC", tmp_path)
    with pytest.raises(IsADirectoryError):
        find_process(7)
    with pytest.raises(IsADirectoryError):
        table._environment(7)


def test_a_group_is_all_that_were_started_in_it(spawn, spawn_python):
    script = "import os, time; os.fork(); print('ready', flush=True); time.sleep(300)"
    leader = spawn_python(script, start_new_session=True)
    other = spawn("sleep", "300", start_new_session=True)
    try:
        wait_until(lambda: len(processes_of_group(leader.pid)) == 2)
        pids = {process.pid for process in processes_of_group(leader.pid)}
        assert leader.pid in pids
        assert other.pid not in pids
    finally:
        os.killpg(leader.pid, signal.SIGKILL)


def test_a_run_is_its_group_and_whoever_carries_its_mark(spawn, mark):
    environment = os.environ | dict([mark.split("=")])
    leader = spawn("sleep", "300", start_new_session=True)
    marked = spawn("sleep", "300", start_new_session=True, env=environment)
    spawn("sleep", "300", start_new_session=True)
    found = processes_of_run(leader.pid, mark.encode())
    assert {process.pid for process in found} == {leader.pid, marked.pid}


def test_a_mark_is_the_whole_of_a_name_and_its_value(spawn, token):
    def with_name(name, value):
        return spawn("sleep", "300", env=os.environ | {name: value}).pid

    marked = with_name("MARK", token)
    with_name("MARK", token + "0")
    with_name("A_MARK", token)
    with_name("OTHER", f"MARK={token}")
    found = processes_marked({f"MARK={token}".encode(), b"MARK=nobody"})
    assert [process.pid for process in found] == [marked]


def test_nobody_carries_none_of_the_marks():
    assert processes_marked(set()) == []


def test_a_mark_goes_with_a_daemon(spawn, mark, token):
    environment = os.environ | dict([mark.split("=")])
    spawn(*python_argv(DAEMON, "sleep", token), env=environment).wait()
    [daemon] = wait_until(
        lambda: [
            process
            for process in processes_marked({mark.encode()})
            if b"sleep" in Path(f"/proc/{process.pid}/cmdline").read_bytes()
        ]
    )
    send_signal(daemon, signal.SIGKILL)
    wait_until(lambda: not processes_marked({mark.encode()}))


class TestSendSignal:
    def test_it_hits_the_process(self, spawn):
        process = spawn("sleep", "300")
        send_signal(find_process(process.pid), signal.SIGTERM)
        assert process.wait(10) == -signal.SIGTERM

    @pytest.mark.parametrize("ticks", [-1, 1])
    def test_it_never_hits_a_later_process_of_that_pid(self, spawn, ticks):
        process = spawn("sleep", "300")
        found = find_process(process.pid)
        stranger = replace(found, start_ticks=found.start_ticks + ticks)
        send_signal(stranger, signal.SIGKILL)
        # A signal that was sent would be met before one that is sent after it.
        send_signal(found, signal.SIGTERM)
        assert process.wait(10) == -signal.SIGTERM

    def test_to_one_that_is_gone_it_is_nothing(self, spawn):
        process = spawn("sleep", "300")
        found = find_process(process.pid)
        process.kill()
        process.wait()
        send_signal(found, signal.SIGTERM)

    def test_to_a_zombie_it_is_nothing(self, spawn):
        process = spawn("sleep", "300")
        found = find_process(process.pid)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        send_signal(found, signal.SIGTERM)

    def test_what_may_not_be_signalled_is_passed_over(self, spawn, monkeypatch):
        def refuse(descriptor, number):
            raise PermissionError

        monkeypatch.setattr(signal, "pidfd_send_signal", refuse)
        process = spawn("sleep", "300")
        send_signal(find_process(process.pid), signal.SIGTERM)
        assert not has_ended(process)


def test_a_boot_has_one_id_in_every_process():
    source = "print(open('/proc/sys/kernel/random/boot_id').read())"
    told = subprocess.check_output(python_argv(source), text=True)
    assert boot_id() == told.strip() == boot_id()
    assert len(boot_id()) == 36


class TestHardToSee:
    """Processes that one look at the table could miss."""

    def test_one_that_moves_on_and_on_is_always_seen(self, spawn_python, mark, token):
        process = spawn_python(
            MOVING, token, start_new_session=True, env=marked_environment(mark)
        )
        process.wait()
        try:
            looks = [bool(processes_marked({mark.encode()})) for _ in range(60)]
            assert all(looks)
        finally:
            end_all(mark)

    def test_one_whose_main_thread_has_ended_carries_its_mark(self, spawn_python, mark):
        if platform.machine() not in ("x86_64", "aarch64"):
            pytest.skip("the number of the system call `exit` is not known here")
        process = spawn_python(
            LIVES_WITHOUT_MAIN_THREAD, "300", env=marked_environment(mark)
        )
        stat = Path(f"/proc/{process.pid}/stat")
        wait_until(lambda: ") Z " in stat.read_text())
        found = processes_marked({mark.encode()})
        assert [each.pid for each in found] == [process.pid]

    def test_one_in_the_midst_of_an_exec_is_waited_for(self, monkeypatch, tmp_path):
        stat = Path("/proc/self/stat").read_bytes()
        before, _, after = stat.rpartition(b") ")
        fields = after.split()
        folder = tmp_path / "7"
        folder.mkdir()
        (folder / "environ").write_bytes(b"")
        unset = [*fields[:47], b"0", b"0", *fields[49:]]
        (folder / "stat").write_bytes(before + b") " + b" ".join(unset))

        def come_to_its_end(seconds):
            (folder / "environ").write_bytes(b"A=b\0C=d\0")

        monkeypatch.setattr(table, "_PROC", tmp_path)
        monkeypatch.setattr(table.time, "sleep", come_to_its_end)
        assert b"C=d" in table._environment(7)

    def test_one_with_an_empty_environment_is_not_waited_for(self, spawn, monkeypatch):
        process = spawn("sleep", "300", env={})
        wait_until(lambda: b"sleep" in command_line(process.pid))
        monkeypatch.setattr(table.time, "sleep", pytest.fail)
        assert table._environment(process.pid) == set()

    def test_who_has_started_others_comes_before_them(self, spawn_python):
        script = (
            "import os, signal, time\n"
            "for _ in range(5):\n"
            "    if os.fork(): break\n"
            "else: print('ready', flush=True)\n"
            "signal.pause()"
        )
        leader = spawn_python(script, start_new_session=True)
        try:
            found = processes_of_group(leader.pid)
            parents = [parent_of(process.pid) for process in found]
            assert parents[1:] == [process.pid for process in found[:-1]]
            assert len(found) == 6
        finally:
            os.killpg(leader.pid, signal.SIGKILL)


# Forks and exits, again and again, each time a little later.
MOVING = """
import os, time
print("ready", flush=True)
end = time.monotonic() + 60
while time.monotonic() < end:
    if os.fork():
        os._exit(0)
    time.sleep(0.01)
"""


def marked_environment(mark):
    return os.environ | dict([mark.split("=")])


def parent_of(pid):
    stat = Path(f"/proc/{pid}/stat").read_text()
    return int(stat.rpartition(") ")[2].split()[1])


def command_line(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def end_all(mark):
    """Kill whoever carries a mark."""

    def gone():
        left = processes_marked({mark.encode()})
        for process in left:
            send_signal(process, signal.SIGKILL)
        return not left

    wait_until(gone)


class TestManyWhoLook:
    """Threads that look at the same time."""

    @pytest.fixture
    def listing(self, monkeypatch):
        """Have every look wait for the test, and keep how many there were."""
        looks = Looks(table._processes)
        monkeypatch.setattr(table, "_processes", looks)
        yield looks
        looks.go_on.set()

    def test_they_share_the_next_look(self, listing, mark):
        with ThreadPoolExecutor() as pool:
            first = pool.submit(processes_marked, {mark.encode()})
            listing.begun.wait(10)
            later = [pool.submit(processes_marked, {mark.encode()}) for _ in range(4)]
            wait_until(lambda: all(each.running() for each in later))
            listing.go_on.set()
            assert [each.result(10) for each in (first, *later)] == [[]] * 5
        assert listing.count < 5

    def test_nobody_gets_a_look_that_began_before(self, listing, mark, spawn):
        with ThreadPoolExecutor() as pool:
            first = pool.submit(processes_marked, {mark.encode()})
            listing.begun.wait(10)
            process = spawn("sleep", "300", env=dict([mark.split("=")]))
            second = pool.submit(processes_marked, {mark.encode()})
            listing.go_on.set()
            assert first.result(10) == []
            assert [each.pid for each in second.result(10)] == [process.pid]

    def test_nobody_gets_a_look_that_failed(self, listing, mark):
        listing.error = OSError(errno.EMFILE, "no descriptor is free")
        with ThreadPoolExecutor() as pool:
            first = pool.submit(processes_marked, {mark.encode()})
            listing.begun.wait(10)
            second = pool.submit(processes_marked, {mark.encode()})
            listing.go_on.set()
            for each in (first, second):
                with pytest.raises(OSError, match="no descriptor"):
                    each.result(10)


class Looks:
    """The table's listing, which waits until it may go on."""

    def __init__(self, listing):
        self._listing = listing
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.count, self.error = 0, None

    def __call__(self):
        self.count += 1
        found = list(self._listing())
        self.begun.set()
        self.go_on.wait(10)
        if self.error:
            raise self.error
        return iter(found)
