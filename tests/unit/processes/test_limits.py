import os
import re
import resource
import shlex
import subprocess
import sys
from dataclasses import replace

import pytest

from app.processes.limits import Limits
from tests.commands import ENVIRONMENT, program, python, python_argv, shell
from tests.servers import PROJECT

MEBIBYTE = 2**20

# By which name /proc/<pid>/limits shows each.
SHOWN = {
    "cpu_seconds": "Max cpu time",
    "memory_bytes": "Max address space",
    "processes": "Max processes",
    "file_bytes": "Max file size",
}
SHOWS = "cat /proc/self/limits"
BURNS = "while True: pass"
# Goes on when it is told that its time is over.
BURNS_ON = "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\n" + BURNS


def limited(command, **bounds):
    return replace(command, limits=Limits(**bounds))


def shown(output, name):
    """Return the soft and the hard bound that /proc shows."""
    found = re.search(rf"^{SHOWN[name]} +(\S+) +(\S+)", output.decode(), re.MULTILINE)
    return found.groups()


class TestBounds:
    ALL = Limits(
        cpu_seconds=11,
        memory_bytes=3 * 2**30,
        processes=5000,
        file_bytes=12345,
    )
    EXPECTED = (
        ("cpu_seconds", ("11", "12")),
        ("memory_bytes", (str(3 * 2**30),) * 2),
        ("processes", ("5000", "5000")),
        ("file_bytes", ("12345", "12345")),
    )

    @pytest.mark.parametrize(
        "script",
        [SHOWS, f"/bin/sh -c '{SHOWS}; true'; true", f"(setsid {SHOWS}); true"],
        ids=["command", "grandchild", "session"],
    )
    def test_they_hold_for_the_command_and_all_that_it_starts(self, run, script):
        ending, output = run(replace(shell(script), limits=self.ALL))
        assert ending.returncode == 0
        for name, bounds in self.EXPECTED:
            assert shown(output, name) == tightened(name, bounds)

    @pytest.mark.parametrize("name", SHOWN)
    def test_each_is_set_alone(self, run, name):
        bound = 2**33
        _, output = run(limited(shell(SHOWS), **{name: bound}))
        _, ours = run(shell(SHOWS))
        for other in SHOWN:
            if other != name:
                assert shown(output, other) == shown(ours, other)
        hard = bound + 1 if name == "cpu_seconds" else bound
        assert shown(output, name) == tightened(name, (str(bound), str(hard)))

    def test_a_bound_of_ours_is_left_as_it_was(self, run):
        before = [resource.getrlimit(kind) for kind in range(16)]
        run(limited(shell("true"), cpu_seconds=1, file_bytes=1, processes=1))
        after = [resource.getrlimit(kind) for kind in range(16)]
        assert after == before

    def test_a_bound_of_the_service_is_never_loosened(self):
        # In a process of its own, since what was given up does not come back.
        script = (
            "import resource\n"
            "from app.processes.limits import Limits\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 9000))\n"
            "limits = Limits(file_bytes=10**9, cpu_seconds=7)\n"
            "print(*limits.argv(['/bin/true'], path='/bin'))"
        )
        run = subprocess.run(
            [sys.executable, "-c", script], cwd=PROJECT, stdout=-1, text=True
        )
        assert "--fsize=9000:9000" in run.stdout.split()

    def test_without_bounds_the_program_is_run_as_it_is(self):
        argv = ("no-such-program", "a")
        assert Limits().argv(argv, path="") is argv

    def test_arguments_are_not_taken_for_options(self, run):
        command = program("printf", "%s|", "--cpu=1", "--", "-h")
        assert run(limited(command, file_bytes=9999))[1] == b"--cpu=1|--|-h|"


class TestReached:
    def test_the_time_of_the_processor(self, run):
        ending, _ = run(limited(python(BURNS), cpu_seconds=1))
        assert (ending.reason, ending.signal) == ("limit", "SIGXCPU")
        assert ending.cpu_seconds > 0.5  # by another clock than the limit

    def test_one_that_goes_on_is_killed_a_second_later(self, run):
        ending, _ = run(limited(python(BURNS_ON), cpu_seconds=1))
        assert (ending.reason, ending.signal) == ("limit", "SIGKILL")
        assert 1 < ending.cpu_seconds < 3

    def test_time_that_is_slept_does_not_count(self, run):
        ending, _ = run(limited(shell("sleep 1.2"), cpu_seconds=1))
        assert (ending.reason, ending.returncode) == ("exit", 0)

    def test_the_size_of_a_file(self, run, tmp_path):
        path = tmp_path / "large"
        script = f"exec dd if=/dev/zero of={path} bs=1000 count=100"
        ending, _ = run(limited(shell(script), file_bytes=5000))
        assert (ending.reason, ending.signal) == ("limit", "SIGXFSZ")
        assert path.stat().st_size == 5000

    def test_the_size_of_a_file_of_a_grandchild(self, run, tmp_path):
        path = tmp_path / "large"
        script = f"sh -c 'dd if=/dev/zero of={path} bs=1000 count=100; exit $?'; true"
        ending, _ = run(limited(shell(script), file_bytes=5000))
        assert ending.returncode == 0, "the shell itself has reached none"
        assert path.stat().st_size == 5000

    def test_output_and_input_are_no_files(self, run):
        command = replace(shell("head -c 50000 /dev/zero; cat"), stdin=b"x" * 50_000)
        ending, output = run(limited(command, file_bytes=10))
        assert (ending.returncode, len(output)) == (0, 100_000)

    def test_memory(self, run):
        command = python("b'x' * 400_000_000; print('had')")
        assert run(command)[1] == b"had\n"
        ending, output = run(limited(command, memory_bytes=200 * MEBIBYTE))
        assert ending.returncode != 0
        assert b"MemoryError" in output

    def test_the_number_of_processes(self, run):
        fork = "import os, sys\nif os.fork() == 0: os._exit(0)\nos.wait(); print('had')"
        bounded = limited(python(fork), processes=1)
        if os.geteuid() == 0:  # whom this does not hold for
            assert run(bounded)[1] == b"had\n"
            return
        ending, output = run(bounded)
        assert ending.returncode != 0
        assert b"BlockingIOError" in output or b"fork" in output

    def test_other_signals_are_what_they_were(self, run):
        ending, _ = run(limited(shell("kill -TERM $$"), cpu_seconds=1, file_bytes=1))
        assert (ending.reason, ending.signal) == ("signal", "SIGTERM")

    def test_a_command_that_keeps_within_them_is_not_touched(self, run):
        command = limited(
            shell("echo a; exit 3"),
            cpu_seconds=5,
            memory_bytes=2**30,
            processes=10_000,
            file_bytes=1000,
        )
        ending, output = run(command)
        assert (ending.reason, ending.returncode, output) == ("exit", 3, b"a\n")


class TestStart:
    @pytest.mark.parametrize(
        ("argv", "error"),
        [
            (("/nonexistent/program",), FileNotFoundError),
            (("no-such-program-in-the-path",), FileNotFoundError),
            (("{tmp}/not-executable",), OSError),
            (("/",), OSError),
        ],
    )
    def test_what_is_not_there_is_an_error_of_the_system(
        self, follow, tmp_path, argv, error
    ):
        (tmp_path / "not-executable").write_text("#!/bin/sh\n")
        argv = [part.format(tmp=tmp_path) for part in argv]
        with pytest.raises(error):
            follow(limited(program(*argv, PATH="/usr/bin:/bin"), cpu_seconds=5))

    def test_a_folder_that_is_not_there_is_one_too(self, follow, tmp_path):
        command = replace(shell("true"), cwd=str(tmp_path / "gone"))
        with pytest.raises(FileNotFoundError, match="gone"):
            follow(limited(command, cpu_seconds=5))

    @pytest.mark.parametrize("name", ["./own", "bin/../own"])
    def test_a_program_is_looked_for_where_the_command_runs(self, run, tmp_path, name):
        (tmp_path / "bin").mkdir()
        own = tmp_path / "own"
        own.write_text("#!/bin/sh\necho mine\n")
        own.chmod(0o755)
        command = replace(program(name), cwd=str(tmp_path))
        assert run(command)[1] == b"mine\n"
        assert run(limited(command, cpu_seconds=5))[1] == b"mine\n"

    def test_a_program_is_looked_for_in_the_command_s_own_path(self, run, tmp_path):
        own = tmp_path / "echo"
        own.write_text("#!/bin/sh\necho mine\n")
        own.chmod(0o755)
        path = f"{tmp_path}:{ENVIRONMENT['PATH']}"
        command = limited(program("echo", "theirs", PATH=path), cpu_seconds=5)
        assert run(command)[1] == b"mine\n"

    def test_without_a_path_the_usual_folders_are_looked_in(self, run):
        command = replace(program("echo", "a"), environment={})
        assert run(command)[1] == b"a\n"
        assert run(limited(command, cpu_seconds=5))[1] == b"a\n"

    def test_without_the_program_that_sets_them_nothing_is_run(
        self, follow, tmp_path, monkeypatch
    ):
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(FileNotFoundError, match="prlimit"):
            follow(limited(program("/bin/true"), cpu_seconds=5))

    def test_the_command_is_the_program_itself(self, run):
        source = (
            "import os; print(open('/proc/self/cmdline', 'rb').read(), os.getpid())"
        )
        source += "; print(os.getsid(0) == os.getpid(), os.listdir('/proc/self/fd'))"
        _, output = run(limited(python(source), cpu_seconds=5))
        assert str(python_argv("")[0]).encode() in output.split(b"\\x00")[0]
        assert b"True ['0', '1', '2', '3']" in output, "3 is the listing's own"

    def test_a_stop_reaches_it(self, follow, token):
        script = shlex.join(["sleep", token])
        following = follow(limited(shell(f"echo ready; {script}"), cpu_seconds=5))
        following.wait_for(b"ready").child.stop("cancelled")
        assert following.ending().reason == "cancelled"


def tightened(name, bounds):
    """Return the bounds, or what this process itself is held to."""
    kinds = {
        "cpu_seconds": resource.RLIMIT_CPU,
        "memory_bytes": resource.RLIMIT_AS,
        "processes": resource.RLIMIT_NPROC,
        "file_bytes": resource.RLIMIT_FSIZE,
    }
    _, most = resource.getrlimit(kinds[name])
    if most == resource.RLIM_INFINITY:
        return bounds
    return tuple(str(min(int(bound), most)) for bound in bounds)
