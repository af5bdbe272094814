"""The process of a detached run, started as the service starts it."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from app.processes.child import Child
from app.processes.limits import Limits
from app.tasks.output_log import SLACK_BYTES
from app.tasks.run_process import RunProcess
from tests.commands import (
    ANSWERS_TERM,
    DAEMON,
    OBEYS_TERM,
    program,
    python,
    python_argv,
    shell,
)
from tests.detached import HAS_GROUPS, supervisors
from tests.servers import alive_with, wait_until
from tests.unit.tasks.conftest import HEAD_BYTES, TAIL_BYTES

needs_groups = pytest.mark.skipif(not HAS_GROUPS, reason="no group can be made here")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")

# What a process does with signals, by the names in its status.
SIGNALS = "grep -E '^(SigBlk|SigIgn|SigCgt)' /proc/self/status"


def supervisor_of(run):
    """Return the process of a run."""
    return int(run.runs._store.find(run.task_id)["worker"].split(":")[1])


def is_gone(run):
    """Return whether the process of a run has ended."""
    run.runs.reap()
    return not run.runs.has_children


class TestEnd:
    def test_an_exit_with_all_that_is_known_of_it(self, start):
        before = time.time()
        run = start(shell("printf hello; exit 3"))
        end = run.end()
        assert before <= end.pop("started") <= end.pop("finished") <= time.time()
        assert end.pop("cpu_seconds") > 0
        end.pop("max_rss_bytes")
        assert end == {
            "reason": "exit",
            "returncode": 3,
            "signal": None,
            "leftovers": False,
            "detail": None,
            "end_offset": 5,
            "dropped_bytes": 0,
        }
        assert run.output() == b"hello"

    def test_a_signal(self, start):
        end = start(shell("ulimit -c 0; kill -SEGV $$")).end()
        assert (end["reason"], end["signal"]) == ("signal", "SIGSEGV")
        assert end["returncode"] == 128 + signal.SIGSEGV

    def test_its_time_is_over_and_what_left_its_session_ends_with_it(
        self, start, token
    ):
        script = f"setsid sleep {token} & sleep {token}"
        end = start(shell(script, timeout_seconds=0.5)).end()
        assert (end["reason"], end["signal"]) == ("timeout", "SIGTERM")
        assert alive_with(token) == []

    def test_a_limit(self, start, tmp_path):
        file = tmp_path / "big"
        command = program("dd", "if=/dev/zero", f"of={file}", "bs=100k", "count=1")
        end = start(replace(command, limits=Limits(file_bytes=1000))).end()
        assert (end["reason"], end["signal"]) == ("limit", "SIGXFSZ")
        assert end["detail"] == "the limit file_bytes was reached"

    @pytest.mark.parametrize("is_command", [True, False])
    def test_what_cannot_be_started(self, start, tmp_path, is_command):
        nowhere = str(tmp_path / "none")
        command = program(nowhere) if is_command else replace(shell(":"), cwd=nowhere)
        end = start(command).end()
        assert (end["reason"], end["started"]) == ("spawn_failed", None)
        assert nowhere in end["detail"]

    def test_what_is_left_in_its_session_is_ended(self, start, token):
        end = start(shell(f"sleep {token} & exit 0")).end()
        assert (end["reason"], end["leftovers"]) == ("exit", True)
        assert alive_with(token) == []

    def test_a_daemon_is_left_alone_and_the_end_is_not_kept_back(self, start, token):
        run = start(program(*python_argv(DAEMON, "sleep", token)))
        end = run.end()
        assert (end["reason"], end["leftovers"]) == ("exit", False)
        wait_until(lambda: is_gone(run))
        assert len(alive_with(f"sleep\0{token}")) == 1

    def test_a_fault_of_its_own_is_an_end_too(self, prepare, detached):
        run, output = prepare(shell("true"))
        order = json.loads(run.file(".order").read_bytes())
        order["command"]["argv"] = ["a\0b"]
        run.file(".order").write_text(json.dumps(order))
        assert detached.hand_over(run.task_id, output) is None
        end = run.end()
        assert (end["reason"], end["detail"]) == (
            "internal_error",
            "embedded null byte",
        )

    def test_its_process_is_gone_soon_after_it(self, start, tmp_path):
        run = start(shell("exit 0"))
        wait_until(lambda: is_gone(run))
        wait_until(lambda: supervisors(tmp_path) == [])


class TestOutput:
    def test_a_flood_is_bounded_and_what_is_dropped_is_counted(self, start):
        size = 3 * (HEAD_BYTES + TAIL_BYTES + SLACK_BYTES)
        run = start(shell(f"head -c {size} /dev/zero; printf end"))
        end = run.end()
        assert end["end_offset"] == size + 3
        assert end["dropped_bytes"] == size + 3 - HEAD_BYTES - TAIL_BYTES
        assert run.output().endswith(b"\0end")

    def test_one_that_ends_on_overflow_does(self, start):
        run = start(shell("yes"), ends_on_overflow=True)
        assert run.end()["reason"] == "overflow"

    def test_stderr_is_kept_apart_where_that_is_wished(self, start):
        command = replace(shell("echo a; echo bc >&2"), separate_stderr=True)
        run = start(command)
        end = run.end()
        assert (run.output(), run.output(1)) == (b"a\n", b"bc\n")
        assert (end["end_offset"], end["stderr_end_offset"]) == (2, 3)
        assert end["stderr_dropped_bytes"] == 0

    def test_the_space_that_is_not_used_is_given_back(self, start):
        run = start(shell("printf hello"))
        wait_until(lambda: is_gone(run))
        assert run.paths[0].stat().st_size < SLACK_BYTES

    @needs_root
    def test_a_full_disk_costs_neither_the_output_nor_the_end(
        self, prepare, detached, tmp_path
    ):
        with small_disk(tmp_path) as fill:
            run, output = prepare(shell("head -c 100000 /dev/zero"))
            # The removal of what is to be run would make room.
            run.file(".order").with_suffix(".kept").hardlink_to(run.file(".order"))
            fill()
            assert detached.hand_over(run.task_id, output) is None
            end = run.end()
            assert (end["reason"], end["returncode"]) == ("exit", 0)
            assert end["end_offset"] == 100_000
            assert end["dropped_bytes"] == 100_000 - HEAD_BYTES - TAIL_BYTES
            wait_until(lambda: is_gone(run))


@contextmanager
def small_disk(tmp_path):
    """Have the files of runs on a small disk; give what fills it."""
    for name in ("output", "detached"):
        (tmp_path / name).mkdir(exist_ok=True)
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "x", disk])
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")
    try:
        for name in ("output", "detached"):
            (disk / name).mkdir(mode=0o700)
            (tmp_path / name).rmdir()
            (tmp_path / name).symlink_to(disk / name)

        def fill():
            with (disk / "rest").open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(4096))

        yield fill
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def _masks(status):
    """Return the masks of signals in the lines of a process's status."""
    return [int(line.split()[1], 16) for line in status.splitlines()]


class TestCommand:
    def test_it_reads_what_it_was_given(self, start):
        text = "one\nzwei, ä, 三, 🛎\n" * 5000
        run = start(replace(shell("md5sum; wc -c"), stdin=text.encode()))
        expected = subprocess.run(
            ["sh", "-c", "md5sum"], input=text.encode(), capture_output=True
        ).stdout
        run.end()
        assert run.output().startswith(expected)

    def test_without_that_it_reads_nothing(self, start):
        run = start(shell("cat; echo over"))
        assert run.end()["returncode"] == 0
        assert run.output() == b"over\n"

    def test_its_environment_is_what_it_was_given_and_nothing_else(
        self, start, monkeypatch
    ):
        monkeypatch.setenv("OF_THE_SERVICE", "1")
        odd = os.fsdecode(b"\xff\xfe=\x80")
        source = "import os; os.write(1, open('/proc/self/environ', 'rb').read())"
        run = start(python(source, ODD=odd, EMPTY="", UMLAUT="ä"))
        run.end()
        found = set(run.output().rstrip(b"\0").split(b"\0"))
        assert found == {
            b"PATH=" + os.environb[b"PATH"],
            b"ODD=\xff\xfe=\x80",
            b"EMPTY=",
            b"UMLAUT=\xc3\xa4",
            b"BELLHOP_TASK_ID=" + run.task_id.encode(),
        }

    def test_its_arguments_may_be_any_bytes(self, start):
        odd = os.fsdecode(b"\xff\x80 $x\n")
        run = start(program("printf", "%s|%s", odd, "ä"))
        run.end()
        assert run.output() == b"\xff\x80 $x\n|\xc3\xa4"

    @pytest.mark.parametrize("cwd", [None, "sub", "/usr"])
    def test_it_runs_in_the_folder_that_an_attached_one_would(
        self, start, tmp_path, monkeypatch, cwd
    ):
        (tmp_path / "sub").mkdir()
        monkeypatch.chdir(tmp_path)
        run = start(replace(shell("pwd -P"), cwd=cwd))
        run.end()
        expected = tmp_path.joinpath(cwd or ".").resolve()
        assert run.output().decode() == f"{expected}\n"

    def test_signals_are_to_it_what_they_are_to_an_attached_one(self, start):
        run = start(shell(SIGNALS))
        run.end()
        attached = bytearray()
        child = Child(shell(SIGNALS), mark="A=b", grace_seconds=1)
        child.start(attached.extend)
        child.run()
        blocked, ignored, caught = _masks(run.output())
        # What this very process was started to ignore, as nohup has it, both may.
        assert ignored | _masks(attached)[1] == _masks(attached)[1]
        assert [blocked, caught] == _masks(attached)[::2]
        assert blocked == 0

    def test_it_has_its_own_descriptors_and_no_other(self, start):
        inherited = os.open("/", os.O_RDONLY)
        os.set_inheritable(inherited, True)
        try:
            source = "import os; print([os.readlink(f'/proc/self/fd/{d}')[:5]"
            source += " for d in sorted(os.listdir('/proc/self/fd'))[:-1]])"
            run = start(python(source))
            run.end()
        finally:
            os.close(inherited)
        assert run.output() == b"['/dev/', 'pipe:', 'pipe:']\n"

    def test_what_it_may_use_is_what_the_service_may(self, start):
        run = start(shell("ulimit -n; umask"))
        run.end()
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        mask = os.umask(0)
        os.umask(mask)
        assert run.output().split() == [b"%d" % files, b"%04o" % mask]


class TestProcess:
    def test_it_keeps_nothing_of_the_service(self, start, monkeypatch, token):
        monkeypatch.setenv("OF_THE_SERVICE", "1")
        run = start(shell(f"sleep {token}"))
        wait_until(lambda: alive_with(f"sleep\0{token}"))
        found = Path(f"/proc/{supervisor_of(run)}")
        assert b"OF_THE_SERVICE" not in (found / "environ").read_bytes()
        assert (found / "cwd").readlink() == Path("/")
        opened = [
            str(path.readlink()).partition(":")[0] for path in (found / "fd").iterdir()
        ]
        kinds = ["/dev/null"] * 3 + ["anon_inode"] * 2 + ["pipe", str(run.paths[0])]
        assert sorted(opened) == sorted(kinds)

    def test_its_session_is_its_own_as_is_that_of_the_command(self, start, token):
        run = start(shell(f"sleep {token}"))
        wait_until(lambda: alive_with(f"sleep\0{token}"))
        [command] = alive_with(f"sleep\0{token}")
        pid = supervisor_of(run)
        assert (os.getsid(pid), os.getpgid(pid)) == (pid, pid)
        assert os.getsid(command) not in (pid, os.getsid(0))

    def test_nothing_is_started_where_the_service_dies_before_it_said_go(
        self, prepare, detached, tmp_path
    ):
        run, output = prepare(shell(f"touch {tmp_path}/started"))
        process = RunProcess(detached._folder)
        process.take(run.task_id)
        process._close()
        wait_until(lambda: process.has_ended)
        output.leave()
        assert not (tmp_path / "started").exists()
        assert run.file(".order").exists(), "somebody else may have it begin"
        assert not run.file(".end").exists()
        assert not run.file(".group").exists()

    @pytest.mark.parametrize(
        ("number", "reason"),
        [(signal.SIGUSR1, "cancelled"), (signal.SIGTERM, "shutdown")],
    )
    def test_one_that_is_to_end_before_it_begins_ends(
        self, prepare, detached, number, reason
    ):
        run, output = prepare(shell("sleep 60"))
        process = RunProcess(detached._folder)
        process.take(run.task_id)
        os.kill(process.pid, number)
        process.begin()
        wait_until(lambda: process.has_ended, seconds=20)
        output.leave()
        assert run.end()["reason"] == reason

    @pytest.mark.parametrize(
        ("number", "reason"),
        [(signal.SIGUSR1, "cancelled"), (signal.SIGTERM, "shutdown")],
    )
    def test_it_ends_the_command_when_it_is_told_to(self, start, number, reason):
        run = start(shell(OBEYS_TERM)).wait_for(b"ready\n")
        os.kill(supervisor_of(run), number)
        end = run.end()
        assert (end["reason"], end["returncode"]) == (reason, 0)
        assert run.output() == b"ready\nbye\n"

    def test_what_does_not_obey_is_killed_and_the_first_reason_holds(self, start):
        run = start(shell(ANSWERS_TERM)).wait_for(b"ready\n")
        os.kill(supervisor_of(run), signal.SIGUSR1)
        run.wait_for(b"asked\n")  # of two at once nobody can say which was the first
        for number in (signal.SIGTERM, signal.SIGUSR1):
            os.kill(supervisor_of(run), number)
        end = run.end()
        assert (end["reason"], end["signal"]) == ("cancelled", "SIGKILL")

    def test_other_signals_of_a_terminal_or_a_service_are_nothing_to_it(self, start):
        script = "echo ready; sleep 0.5; echo over"
        run = start(shell(script)).wait_for(b"ready\n")
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
            os.kill(supervisor_of(run), number)
        assert run.end()["returncode"] == 0
        assert run.output() == b"ready\nover\n"

    def test_it_needs_no_package(self):
        names = "import sys, app.tasks.supervisor; print(*sys.modules)"
        argv = [sys.executable, "-E", "-s", "-S", "-c", names]
        root = Path(__file__).parents[3]
        found = subprocess.run(argv, cwd=root, env={}, capture_output=True, check=True)
        ours = {n for n in found.stdout.decode().split() if n.startswith("app.")}
        assert ours <= {
            *("app.processes", "app.tasks"),
            *(f"app.processes.{n}" for n in ("cgroup", "child", "command", "ladder")),
            *(f"app.processes.{n}" for n in ("limits", "program", "table")),
            *("app.tasks.supervisor", "app.tasks.output_log"),
            "app.tasks.written_command",
        }


@needs_groups
class TestGroup:
    def test_what_hides_from_its_end_does_not_escape_it(self, start, token):
        script = f"env -i setsid sleep {token} & sleep {token}"
        run = start(shell(script))
        wait_until(lambda: len(alive_with(f"sleep\0{token}")) == 2)
        group = Path(run.file(".group").read_text())
        os.kill(supervisor_of(run), signal.SIGUSR1)
        assert run.end()["reason"] == "cancelled"
        assert alive_with(token) == []
        wait_until(lambda: not group.exists())

    def test_a_daemon_goes_on_without_it(self, start, token):
        run = start(program(*python_argv(DAEMON, "sleep", token)))
        run.end()
        assert len(alive_with(f"sleep\0{token}")) == 1
        assert not Path(run.file(".group").read_text()).exists()
