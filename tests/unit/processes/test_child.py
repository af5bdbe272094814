import os
import platform
import random
import resource
import shlex
import signal
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from app.processes import table
from app.processes.child import DRAIN_SECONDS, Child
from app.processes.limits import Limits
from tests.commands import (
    ANSWERS_TERM,
    DAEMON,
    ENVIRONMENT,
    IGNORES_TERM,
    LIVES_WITHOUT_MAIN_THREAD,
    OBEYS_TERM,
    program,
    python,
    python_argv,
    shell,
)
from tests.servers import alive_with, children_of, wait_until

# What a busy machine may take on top of the times that a test sets.
SLACK_SECONDS = 5.0

# Many times what a pipe holds.
FLOOD_BYTES = 3_000_000


@contextmanager
def within(seconds):
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < seconds + SLACK_SECONDS


def as_daemon(*argv):
    """Return shell words that start a daemon: setsid, and forked twice."""
    return shlex.join(python_argv(DAEMON, *argv))


class TestOutput:
    def test_it_is_passed_on_to_the_byte(self, run):
        source = "import os; os.write(1, bytes(range(256)) * 3)"
        assert run(python(source))[1] == bytes(range(256)) * 3

    def test_five_megabytes_arrive_complete_and_in_order(self, run):
        source = "import sys\nfor n in range(625000): sys.stdout.write(f'{n:07}\\n')"
        ending, output = run(python(source))
        assert output == b"".join(b"%07d\n" % number for number in range(625_000))
        assert ending.reason == "exit"

    @pytest.mark.parametrize("text", ["", "a", "a\n", "a\nb", "\n\n"])
    def test_nothing_is_added_at_its_end(self, run, text):
        assert run(program("printf", text or "%s"))[1] == text.encode()

    def test_what_goes_to_stderr_comes_in_the_order_it_was_written(self, run):
        script = "echo 1; echo 2 >&2; echo 3; echo 4 >&2"
        assert run(shell(script))[1] == b"1\n2\n3\n4\n"

    def test_it_is_passed_on_while_the_command_runs(self, follow, token):
        following = follow(shell(f"echo now; sleep {token}"))
        following.wait_for(b"now\n")
        assert alive_with(token)

    def test_what_is_in_the_pipe_at_the_exit_is_passed_on(self, run):
        source = "import os; os.write(1, b'x' * 60000); os._exit(3)"
        ending, output = run(python(source))
        assert (ending.returncode, len(output)) == (3, 60_000)

    def test_what_a_command_says_when_asked_to_end_is_kept(self, follow):
        following = follow(shell(OBEYS_TERM)).wait_for(b"ready")
        following.child.stop("cancelled")
        following.ending()
        assert following.output == b"ready\nbye\n"

    def test_a_command_that_closes_its_output_is_followed_to_its_exit(self, run):
        ending, output = run(shell("echo a; exec >&- 2>&-; sleep 0.3; exit 5"))
        assert (ending.reason, ending.returncode, output) == ("exit", 5, b"a\n")

    def test_a_reader_that_leaves_ends_its_writer_as_in_a_terminal(self, run):
        with within(0):
            ending, output = run(shell("yes | head -n 1"))
        assert (ending.returncode, output) == (0, b"y\n")


class TestSurroundings:
    def test_the_environment_is_what_was_given_and_nothing_else(self, run, token):
        os.environ["BELLHOP_TEST_SECRET"] = "leaked"
        try:
            _, output = run(program("env", B="2", EMPTY="", WIDE="ü\n"))
        finally:
            del os.environ["BELLHOP_TEST_SECRET"]
        expected = {
            f"PATH={ENVIRONMENT['PATH']}",
            "B=2",
            "EMPTY=",
            "WIDE=ü\n",
            f"BELLHOP_TASK_ID={token}",
        }
        assert sorted(output.decode()) == sorted("".join(f"{e}\n" for e in expected))
        assert all(entry in output.decode() for entry in expected)

    def test_its_input_is_empty(self, run):
        assert run(shell("readlink /proc/$$/fd/0; true"))[1] == b"/dev/null\n"
        assert run(shell("cat; echo $?"))[1] == b"0\n"

    def test_it_has_no_descriptors_but_the_three(self, run):
        held = os.open(os.devnull, os.O_RDONLY)
        os.set_inheritable(held, True)
        try:
            _, output = run(shell("ls /proc/$$/fd; true"))
        finally:
            os.close(held)
        assert output.split() == [b"0", b"1", b"2"]

    def test_it_leads_a_session_of_its_own(self, run):
        source = "import os; print(os.getpid(), os.getpgrp(), os.getsid(0))"
        pid, group, session = run(python(source))[1].split()
        assert pid == group == session
        assert int(session) != os.getsid(0)


class TestInput:
    def test_without_any_it_is_at_its_end(self, run):
        ending, output = run(shell("cat; echo $?; read line; echo $?"))
        assert (ending.returncode, output) == (0, b"0\n1\n")

    def test_the_service_s_own_is_never_read(self, run):
        ours = os.dup(0)
        reader, writer = os.pipe()
        try:
            os.write(writer, b"ours\n")
            os.dup2(reader, 0)
            assert run(program("cat"))[1] == b""
            assert run(replace(program("cat"), stdin=b"its"))[1] == b"its"
        finally:
            os.dup2(ours, 0)
            for descriptor in (ours, reader, writer):
                os.close(descriptor)

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"\n",
            b"hello\n",
            b"no newline",
            bytes(range(256)),
            b"\xff\xfe\0",
            "中文\n".encode(),
        ],
    )
    def test_it_is_what_was_given_to_the_byte(self, run, data):
        ending, output = run(replace(program("cat"), stdin=data))
        assert (ending.returncode, output) == (0, data)

    def test_more_than_a_pipe_holds_arrives(self, run):
        data = random.Random(1).randbytes(3_000_000)
        ending, output = run(replace(program("cat"), stdin=data))
        assert (ending.returncode, output == data) == (0, True)

    def test_it_ends_where_it_ends(self, run):
        source = "import sys; print(len(sys.stdin.buffer.read()), sys.stdin.read())"
        assert run(replace(python(source), stdin=b"x" * 70_000))[1] == b"70000 \n"

    @pytest.mark.parametrize("size", [0, 10, 3_000_000])
    def test_a_command_need_not_read_it(self, run, size):
        with within(0):
            ending, output = run(replace(shell("echo a"), stdin=b"x" * size))
        assert (ending.reason, ending.returncode, output) == ("exit", 0, b"a\n")

    def test_a_command_may_read_a_part_and_close_it(self, run):
        script = "head -c 5; exec <&-; echo; echo closed"
        ending, output = run(replace(shell(script), stdin=b"12345678" * 100_000))
        assert (ending.returncode, output) == (0, b"12345\nclosed\n")

    def test_what_one_reader_leaves_the_next_one_gets(self, run):
        script = "read a; echo 1 $a; (read b; echo 2 $b); sh -c 'cat'"
        _, output = run(replace(shell(script), stdin=b"x\ny\nz\n"))
        assert output == b"1 x\n2 y\nz\n"

    def test_it_can_be_opened_by_its_name(self, run):
        command = program("cat", "/dev/stdin", "/proc/self/fd/0")
        assert run(replace(command, stdin=b"again\n"))[1] == b"again\n" * 2

    def test_two_commands_have_each_their_own(self, follow, token):
        followed = [
            follow(replace(program("cat"), stdin=data), mark=f"RUN={token}.{data}")
            for data in (b"first", b"second")
        ]
        assert [f.ending().returncode for f in followed] == [0, 0]
        assert [f.output for f in followed] == [b"first", b"second"]

    @pytest.mark.parametrize("data", [None, b"", b"x" * 100_000])
    @pytest.mark.parametrize("limits", [Limits(), Limits(cpu_seconds=5)])
    def test_with_it_there_are_still_no_descriptors_but_the_three(
        self, run, data, limits
    ):
        command = shell("ls /proc/$$/fd; true")
        _, output = run(replace(command, stdin=data, limits=limits))
        assert output.split() == [b"0", b"1", b"2"]

    def test_a_command_that_is_ended_leaves_none_of_it(self, follow, token):
        command = replace(shell(f"echo ready; sleep {token}"), stdin=b"x" * 100_000)
        following = follow(command).wait_for(b"ready")
        following.child.stop("cancelled")
        assert following.ending().reason == "cancelled"

    def test_a_start_that_fails_leaves_none_of_it(self, mark):
        command = replace(program("/nonexistent/program"), stdin=b"x" * 100_000)
        before = os.listdir("/proc/self/fd")  # noqa: PTH208
        with pytest.raises(FileNotFoundError):
            Child(command, mark=mark, grace_seconds=1).start(bytearray().extend)
        assert os.listdir("/proc/self/fd") == before  # noqa: PTH208


class TestFolder:
    def test_it_is_the_one_that_was_asked_for(self, run, tmp_path):
        folder = tmp_path / "ü b"
        folder.mkdir()
        _, output = run(replace(program("pwd"), cwd=str(folder)))
        assert output.decode() == f"{folder.resolve()}\n"

    def test_without_one_it_is_the_service_s(self, run):
        assert run(program("pwd"))[1].decode() == f"{Path.cwd()}\n"

    def test_a_relative_program_is_looked_for_in_it(self, run, tmp_path):
        own = tmp_path / "own"
        own.write_text("#!/bin/sh\necho mine\n")
        own.chmod(0o755)
        assert run(replace(program("./own"), cwd=str(tmp_path)))[1] == b"mine\n"

    @pytest.mark.parametrize("name", ["gone", "file", "file/x", "x" * 300])
    def test_one_that_is_not_there_is_an_error_that_names_it(
        self, mark, tmp_path, name
    ):
        (tmp_path / "file").write_text("")
        command = replace(program("true"), cwd=str(tmp_path / name))
        with pytest.raises(OSError, match=name):
            Child(command, mark=mark, grace_seconds=1).start(bytearray().extend)


class TestExit:
    @pytest.mark.parametrize("code", [0, 1, 7, 255])
    def test_the_code_is_told(self, run, code):
        ending, _ = run(shell(f"exit {code}"))
        assert (ending.reason, ending.returncode) == ("exit", code)
        assert (ending.signal, ending.leftovers) == (None, False)

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
    def test_a_signal_that_killed_it_is_told(self, run, number):
        ending, _ = run(shell(f"ulimit -c 0; kill -{int(number)} $$"))
        assert (ending.reason, ending.returncode) == ("signal", 128 + number)
        assert ending.signal == number.name

    def test_a_signal_without_a_name_is_told_by_its_number(self, run):
        number = signal.SIGRTMIN + 3
        ending, _ = run(shell(f"kill -{number} $$"))
        assert ending.signal == f"SIG{number}"
        assert ending.returncode == 128 + number

    def test_a_status_that_somebody_else_took_is_never_zero(self, mark):
        before = children_of(os.getpid())
        child = Child(shell("exit 7"), mark=mark, grace_seconds=1)
        child.start(bytearray().extend)
        [pid] = set(children_of(os.getpid())) - set(before)
        assert os.waitpid(pid, 0)[1] == 7 << 8
        ending = child.run()
        assert ending.reason == "status_unknown"
        assert (ending.returncode, ending.signal) == (None, None)
        assert (ending.cpu_seconds, ending.max_rss_bytes) == (None, None)

    def test_the_computing_time_is_told(self, run):
        source = "import time\nwhile time.process_time() < 0.3: pass"
        ending, _ = run(python(source))
        assert 0.3 <= ending.cpu_seconds < 3

    def test_the_time_of_its_own_children_counts(self, run):
        burn = "import time\nwhile time.process_time() < 0.3: pass"
        ending, _ = run(shell(shlex.join(python_argv(burn)) + "; true"))
        assert 0.3 <= ending.cpu_seconds < 3

    def test_memory_is_told_of_a_command_larger_than_the_service(self, run):
        ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        size = ours + 50_000_000
        ending, _ = run(python(f"b'x' * {size}"))
        assert size < ending.max_rss_bytes < size + 100_000_000

    def test_memory_is_not_told_of_a_smaller_one(self, run):
        assert run(shell("true"))[0].max_rss_bytes is None


class TestTimeout:
    def test_a_command_past_its_time_is_asked_to_end(self, run, token):
        with within(0.2):
            ending, _ = run(shell(f"sleep {token}", timeout_seconds=0.2))
        assert (ending.reason, ending.signal) == ("timeout", "SIGTERM")
        assert (ending.returncode, ending.leftovers) == (143, False)
        assert not alive_with(token)

    def test_one_that_stays_is_killed_after_the_grace(self, run):
        begun = time.monotonic()
        ending, output = run(shell(ANSWERS_TERM, timeout_seconds=1), grace_seconds=0.3)
        assert 1.3 <= time.monotonic() - begun < 1.3 + SLACK_SECONDS
        assert (ending.reason, ending.signal) == ("timeout", "SIGKILL")
        assert ending.returncode == 137
        assert output == b"ready\nasked\n", "it was asked first, and once"

    def test_one_that_ignores_term_is_killed(self, run):
        ending, _ = run(shell(IGNORES_TERM, timeout_seconds=1), grace_seconds=0.2)
        assert (ending.reason, ending.signal) == ("timeout", "SIGKILL")

    def test_one_that_ends_well_when_asked_has_still_run_out_of_time(self, run):
        ending, output = run(shell(OBEYS_TERM, timeout_seconds=1))
        assert (ending.reason, ending.returncode) == ("timeout", 0)
        assert ending.signal is None
        assert output == b"ready\nbye\n"

    def test_a_flood_does_not_hide_it(self, run):
        with within(0.3):
            ending, output = run(shell("yes", timeout_seconds=0.3))
        assert ending.reason == "timeout"
        assert output.startswith(b"y\n")

    def test_a_command_that_was_halted_is_ended_too(self, run, token):
        script = f"kill -STOP $$; sleep {token}"
        ending, _ = run(shell(script, timeout_seconds=0.3), grace_seconds=0.2)
        assert (ending.reason, ending.signal) == ("timeout", "SIGKILL")

    def test_a_command_whose_main_thread_has_ended_is_ended_too(self, run, token):
        if platform.machine() not in ("x86_64", "aarch64"):
            pytest.skip("the number of the system call `exit` is not known here")
        command = python(LIVES_WITHOUT_MAIN_THREAD, token, timeout_seconds=1)
        ending, output = run(command)
        assert output == b"ready\n"
        assert (ending.reason, ending.signal) == ("timeout", "SIGTERM")

    def test_without_grace_it_is_killed_at_once(self, run):
        with within(0.5):
            ending, _ = run(shell(IGNORES_TERM, timeout_seconds=0.5), grace_seconds=0)
        assert ending.signal == "SIGKILL"


class TestStop:
    def test_before_the_start_ends_it_as_soon_as_it_runs(self, mark, token):
        child = Child(shell(f"sleep {token}"), mark=mark, grace_seconds=5)
        child.stop("shutdown")
        child.start(bytearray().extend)
        with within(0):
            ending = child.run()
        assert ending.reason == "shutdown"
        assert not alive_with(token)

    def test_during_the_run_ends_it_and_gives_the_reason(self, follow, token):
        following = follow(shell(f"echo ready; sleep {token}")).wait_for(b"ready")
        with within(0):
            following.child.stop("cancelled")
            ending = following.ending()
        assert (ending.reason, ending.signal) == ("cancelled", "SIGTERM")
        assert not alive_with(token)

    def test_the_first_reason_holds(self, follow):
        following = follow(shell(OBEYS_TERM)).wait_for(b"ready")
        following.child.stop("cancelled")
        following.child.stop("shutdown")
        assert following.ending().reason == "cancelled"

    def test_after_the_end_changes_nothing_however_often(self, follow):
        following = follow(shell("exit 7"))
        ending = following.ending()
        with Path(os.devnull).open():  # takes a number that was the child's
            following.child.stop("cancelled")
            following.child.stop("shutdown")
        assert (ending.reason, ending.returncode) == ("exit", 7)

    def test_one_that_ignores_term_is_killed_after_the_grace(self, follow):
        following = follow(shell(IGNORES_TERM), grace_seconds=0.2).wait_for(b"ready")
        with within(0.2):
            following.child.stop("cancelled")
            ending = following.ending()
        assert (ending.reason, ending.signal) == ("cancelled", "SIGKILL")

    def test_what_went_into_its_background_is_gone(self, follow, token):
        script = f"sleep {token} & sleep {token} & echo ready; wait"
        following = follow(shell(script)).wait_for(b"ready")
        following.child.stop("cancelled")
        assert following.ending().leftovers is False
        assert not alive_with(token)

    def test_what_escaped_as_a_daemon_is_gone(self, follow, token):
        script = f"{as_daemon('sleep', token)}; echo ready; sleep 300"
        following = follow(shell(script)).wait_for(b"ready")
        wait_until(lambda: daemons(token))
        following.child.stop("cancelled")
        assert following.ending().leftovers is False
        assert not alive_with(token)

    def test_a_daemon_that_ignores_term_is_killed_after_the_grace(self, follow, token):
        stubborn = f"trap '' TERM; echo ready; while :; do sleep 0.05; done # {token}"
        script = f"{as_daemon('/bin/sh', '-c', stubborn)}; sleep 300"
        following = follow(shell(script), grace_seconds=0.3).wait_for(b"ready")
        following.child.stop("cancelled")
        ending = following.ending()
        assert (ending.signal, ending.leftovers) == ("SIGTERM", False)
        assert not alive_with(token)

    def test_many_at_once_from_many_sides_are_safe(self, follow, token):
        command = shell(f"sleep {token}")
        followed = [follow(command, mark=f"RUN={token}.{n}") for n in range(10)]
        for following in followed:
            for reason in ("cancelled", "shutdown"):
                following.child.stop(reason)
        assert {f.ending().reason for f in followed} == {"cancelled"}
        assert not alive_with(token)


class TestLeftovers:
    @pytest.mark.parametrize("elsewhere", ["", ">/dev/null 2>&1"])
    def test_a_background_process_is_ended_with_its_command(
        self, run, token, elsewhere
    ):
        with within(DRAIN_SECONDS * 2):
            ending, output = run(shell(f"echo done; sleep {token} {elsewhere} &"))
        assert output == b"done\n"
        assert (ending.reason, ending.returncode) == ("exit", 0)
        assert ending.leftovers is True
        assert not alive_with(token)

    def test_one_that_ignores_term_is_killed_after_the_grace(self, run, token):
        script = f"(trap '' TERM; exec sleep {token}) & sleep 0.3"
        begun = time.monotonic()
        ending, _ = run(shell(script), grace_seconds=0.5)
        assert 0.8 <= time.monotonic() - begun < 2 + SLACK_SECONDS
        assert (ending.reason, ending.leftovers) == ("exit", True)
        assert not alive_with(token)

    def test_what_it_says_when_asked_to_end_is_kept(self, run, token):
        left = f"trap 'echo bye; exit' TERM; echo ready; sleep {token} & wait"
        ending, output = run(shell(f"({left}) & sleep 0.3"))
        assert (ending.reason, ending.leftovers) == ("exit", True)
        assert output == b"ready\nbye\n"

    def test_one_that_ends_by_itself_while_output_is_drained_is_none(self, run):
        ending, output = run(shell("(sleep 0.02; echo last) & echo first"))
        assert output == b"first\nlast\n"
        assert ending.leftovers is False

    @pytest.mark.parametrize("flood", ["yes", "(trap '' TERM; exec yes)"])
    def test_a_background_flood_cannot_delay_the_end(self, run, flood):
        with within(DRAIN_SECONDS * 2 + 0.3):
            ending, _ = run(shell(f"{flood} & sleep 0.1"), grace_seconds=0.3)
        assert (ending.reason, ending.leftovers) == ("exit", True)

    def test_a_daemon_is_left_alone(self, run, token):
        script = f"{as_daemon('sleep', token)}; echo done"
        with within(DRAIN_SECONDS * 2):
            ending, output = run(shell(script))
        assert (ending.reason, ending.returncode) == ("exit", 0)
        assert (ending.leftovers, output) == (False, b"done\n")
        wait_until(lambda: daemons(token))

    def test_a_daemon_that_floods_the_pipe_cannot_delay_the_end(self, run, token):
        flood = f"exec yes # {token}"
        with within(DRAIN_SECONDS * 2):
            ending, _ = run(shell(as_daemon("/bin/sh", "-c", flood)))
        assert (ending.reason, ending.leftovers) == ("exit", False)


class TestFailure:
    @pytest.mark.parametrize(
        ("argv", "error"),
        [
            (("/nonexistent/program",), FileNotFoundError),
            (("no-such-program-in-the-path",), FileNotFoundError),
            (("/",), PermissionError),
            (("{tmp}/not-executable",), PermissionError),
            (("{tmp}/no-program",), OSError),
        ],
    )
    def test_what_cannot_be_started_is_an_error_of_the_system(
        self, mark, tmp_path, argv, error
    ):
        for name, mode in (("not-executable", 0o644), ("no-program", 0o755)):
            path = tmp_path / name
            path.write_text("neither a script nor a program")
            path.chmod(mode)
        argv = [part.format(tmp=tmp_path) for part in argv]
        # A folder that may not be entered would be told instead.
        command = program(*argv, PATH="/usr/bin:/bin")
        child = Child(command, mark=mark, grace_seconds=1)
        with pytest.raises(error):
            child.start(bytearray().extend)
        child.stop("cancelled")
        assert "not started" in repr(child)

    def test_a_sink_that_fails_does_not_leave_the_command_running(self, mark, token):
        def fail(data):
            raise RuntimeError("no room")

        child = Child(shell(f"echo a; sleep {token}"), mark=mark, grace_seconds=1)
        child.start(fail)
        with pytest.raises(RuntimeError, match="no room"):
            child.run()
        wait_until(lambda: not alive_with(token))

    def test_running_out_of_descriptors_does_not_leave_it_running(self, mark, token):
        child = Child(shell(f"echo a; sleep {token}"), mark=mark, grace_seconds=1)
        held = []

        def take_the_last_descriptor(data):
            held.append(no_more_descriptors())
            held[0].__enter__()
            child.stop("cancelled")

        child.start(take_the_last_descriptor)
        try:
            with pytest.raises(OSError, match="Too many open"):
                child.run()
        finally:
            held[0].__exit__(None, None, None)
        wait_until(lambda: not alive_with(token))


def test_a_child_tells_its_state(mark):
    child = Child(shell("true"), mark=mark, grace_seconds=1)
    assert "not started" in repr(child)
    child.start(bytearray().extend)
    assert "running" in repr(child)
    child.run()
    assert "exited" in repr(child)


def daemons(token):
    """Return the processes with that token that are nobody's child."""
    return [pid for pid in alive_with(token) if pid in children_of(1)]


@contextmanager
def no_more_descriptors():
    """Let this process open nothing, as when it has all that it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class TestTwoPipes:
    """What a command writes to stderr, where that is kept apart."""

    @pytest.fixture
    def run_apart(self, mark):
        """Run a command to its end; return its ending and both outputs."""

        def to_the_end(command, *, grace_seconds=1.0, stop_at=None):
            apart = replace(command, separate_stderr=True)
            child = Child(apart, mark=mark, grace_seconds=grace_seconds)
            out, err = bytearray(), bytearray()

            def keep(kept, data):
                if len(kept) < FLOOD_BYTES:
                    kept.extend(data)
                if stop_at is not None and stop_at in bytes(kept[:100]):
                    child.stop("cancelled")

            child.start(lambda data: keep(out, data), lambda data: keep(err, data))
            ending = child.run()
            return ending, bytes(out), bytes(err)

        return to_the_end

    def test_each_is_passed_on_to_the_byte(self, run_apart):
        source = "import os\nfor n in range(256): os.write(1 + n % 2, bytes([n]) * 3)"
        ending, out, err = run_apart(python(source))
        assert out == b"".join(bytes([n]) * 3 for n in range(0, 256, 2))
        assert err == b"".join(bytes([n]) * 3 for n in range(1, 256, 2))
        assert (ending.reason, ending.returncode) == ("exit", 0)

    @pytest.mark.parametrize(("flooded", "other"), [(1, 2), (2, 1)])
    def test_a_flood_on_one_neither_stops_nor_touches_the_other(
        self, run_apart, flooded, other
    ):
        script = (
            f"echo begun >&{other}; yes | head -c {FLOOD_BYTES} >&{flooded}; "
            f"echo ended >&{other}"
        )
        ending, *outputs = run_apart(shell(script))
        assert outputs[flooded - 1] == b"y\n" * (FLOOD_BYTES // 2)
        assert outputs[other - 1] == b"begun\nended\n"
        assert ending.returncode == 0

    def test_a_flood_on_both_is_passed_on(self, run_apart):
        script = f"yes | head -c {FLOOD_BYTES} & yes | head -c {FLOOD_BYTES} >&2; wait"
        _, out, err = run_apart(shell(script))
        assert out == err == b"y\n" * (FLOOD_BYTES // 2)

    @pytest.mark.parametrize("closed", ["1", "2"])
    def test_one_that_is_closed_leaves_the_other(self, run_apart, closed):
        other = "2" if closed == "1" else "1"
        script = f"exec {closed}>&-; echo a >&{other}; sleep 0.1; echo b >&{other}"
        _, *outputs = run_apart(shell(script))
        assert outputs[int(other) - 1] == b"a\nb\n"
        assert outputs[int(closed) - 1] == b""

    @pytest.mark.parametrize("held", ["1", "2"])
    def test_what_holds_one_only_cannot_delay_the_end(self, run_apart, token, held):
        other = "2" if held == "1" else "1"
        script = f"echo done; sleep {token} {other}>/dev/null &"
        with within(DRAIN_SECONDS * 2):
            ending, out, err = run_apart(shell(script))
        assert (ending.reason, ending.returncode) == ("exit", 0)
        assert ending.leftovers is True
        assert (out, err) == (b"done\n", b"")
        assert not alive_with(token)

    def test_a_daemon_that_holds_only_stderr_cannot_either(self, run_apart, token):
        script = f"{as_daemon('sleep', token)} >/dev/null; echo done"
        with within(DRAIN_SECONDS * 2):
            ending, out, _ = run_apart(shell(script))
        assert (ending.leftovers, out) == (False, b"done\n")

    def test_what_it_says_there_when_asked_to_end_is_kept(self, run_apart):
        script = "trap 'echo bye >&2; exit 0' TERM; echo ready; sleep 300 & wait"
        ending, out, err = run_apart(shell(script), stop_at=b"ready")
        assert ending.reason == "cancelled"
        assert (out, err) == (b"ready\n", b"bye\n")

    def test_what_is_in_the_pipes_at_the_exit_is_passed_on(self, run_apart):
        source = "import os; [os.write(n, b'x' * 60000) for n in (1, 2)]; os._exit(3)"
        ending, out, err = run_apart(python(source))
        assert (ending.returncode, len(out), len(err)) == (3, 60_000, 60_000)

    def test_it_has_no_descriptors_but_the_three(self, run_apart):
        _, out, _ = run_apart(shell("ls /proc/$$/fd; true"))
        assert out.split() == [b"0", b"1", b"2"]

    def test_a_sink_that_fails_does_not_leave_the_command_running(self, mark, token):
        def fail(data):
            raise RuntimeError("no room")

        command = replace(shell(f"echo a >&2; sleep {token}"), separate_stderr=True)
        child = Child(command, mark=mark, grace_seconds=1)
        child.start(bytearray().extend, fail)
        with pytest.raises(RuntimeError, match="no room"):
            child.run()
        wait_until(lambda: not alive_with(token))

    def test_what_cannot_be_started_leaves_no_pipe(self, mark):
        command = replace(program("/nonexistent/program"), separate_stderr=True)
        with pytest.raises(FileNotFoundError):
            Child(command, mark=mark, grace_seconds=1).start(bytearray().extend)

    @pytest.mark.parametrize("free", range(6))
    def test_without_descriptors_it_is_an_error_and_leaves_none(self, mark, free):
        command = replace(shell("true"), separate_stderr=True)
        child = Child(command, mark=mark, grace_seconds=1)
        held = [os.open(os.devnull, os.O_RDONLY) for _ in range(free)]
        with no_more_descriptors():
            for descriptor in held:
                os.close(descriptor)
            with pytest.raises(OSError, match="Too many open"):
                child.start(bytearray().extend)


class TestNeverAFalseSuccess:
    """The exit status is there once; whoever takes it first has it."""

    @pytest.fixture
    def without_status(self):
        """Have the kernel throw exit statuses away, as with SIGCHLD ignored."""
        before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        yield
        signal.signal(signal.SIGCHLD, before)

    @pytest.mark.parametrize("script", ["exit 0", "exit 7", "sleep 0.1; exit 7"])
    @pytest.mark.usefixtures("without_status")
    def test_where_the_kernel_keeps_no_status_none_is_told(self, run, script):
        ending, _ = run(shell(script))
        assert (ending.reason, ending.returncode) == ("status_unknown", None)
        assert (ending.signal, ending.cpu_seconds) == (None, None)

    @pytest.mark.usefixtures("without_status")
    def test_one_that_is_stopped_there_is_gone_and_told_without_a_status(
        self, follow, token
    ):
        following = follow(shell(f"echo ready; sleep {token}")).wait_for(b"ready")
        following.child.stop("cancelled")
        ending = following.ending()
        assert (ending.reason, ending.returncode) == ("cancelled", None)
        assert not alive_with(token)

    def test_one_that_is_gone_before_it_can_be_watched_was_started(
        self, run, monkeypatch
    ):
        real = os.pidfd_open

        def steal(pid):
            os.waitpid(pid, 0)
            return real(pid)

        monkeypatch.setattr(os, "pidfd_open", steal)
        ending, output = run(shell("echo ran; exit 7"))
        assert (ending.reason, ending.returncode) == ("status_unknown", None)
        assert output == b"ran\n"


class TestStopAtTheEnd:
    def test_while_its_group_is_ended_ends_its_daemons_too(self, follow, token):
        daemon = as_daemon("sleep", token)
        stubborn = "(trap '' TERM; exec sleep 300) &"
        script = f"{daemon}; {stubborn} sleep 0.2; echo over"
        following = follow(shell(script), grace_seconds=1).wait_for(b"over")
        wait_until(lambda: "exited" in repr(following.child))
        following.child.stop("cancelled")
        ending = following.ending()
        assert (ending.reason, ending.returncode) == ("exit", 0)
        assert not alive_with(token)

    def test_after_it_they_are_left_alone(self, follow, token):
        following = follow(shell(f"{as_daemon('sleep', token)}; exit 7"))
        assert following.ending().reason == "exit"
        following.child.stop("cancelled")
        assert daemons(token)


class TestOthers:
    """Processes that are no command's, whatever numbers they have."""

    def test_one_with_the_number_of_a_group_that_is_gone_is_not_touched(
        self, follow, token, spawn, monkeypatch
    ):
        # The leader obeys and is reaped, what escaped keeps the ladder busy: time
        # for the kernel to give the leader's number to somebody else.
        stubborn = f"trap '' TERM; while :; do sleep 0.05; done # {token}"
        script = f"{as_daemon('/bin/sh', '-c', stubborn)}; echo ready; exec sleep 300"
        following = follow(shell(script), grace_seconds=0.5).wait_for(b"ready")
        group = following.child._pid
        stranger = spawn("sleep", "300", start_new_session=True)
        real = table.find_process

        def renumbered(pid):
            found = real(pid)
            is_given = pid == stranger.pid and "exited" in repr(following.child)
            return replace(found, group=group) if found and is_given else found

        monkeypatch.setattr(table, "find_process", renumbered)
        following.child.stop("cancelled")
        assert following.ending().reason == "cancelled"
        assert not alive_with(token)
        assert stranger.poll() is None
