"""What becomes of a command's end in the record of its task."""

from dataclasses import replace

import pytest

from app.processes.limits import Limits
from app.tasks.order import Order, Origin
from app.tasks.states import State
from tests.commands import program, python, shell

BURNS = "while True: pass"
BURNS_ON = "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\n" + BURNS


@pytest.fixture
def end(backend, end_of):
    """Run a command as a task; return the record of its end."""

    def run(command, **bounds):
        command = replace(command, limits=Limits(**bounds))
        origin = Origin(owner="bob", request_id=None)
        return end_of(backend.submit(Order(command), origin).task_id)

    return run


class TestLimits:
    @pytest.mark.parametrize(
        ("source", "signal"), [(BURNS, "SIGXCPU"), (BURNS_ON, "SIGKILL")]
    )
    def test_time_of_the_processor_that_is_over_is_the_reason(
        self, end, source, signal
    ):
        record = end(python(source), cpu_seconds=1)
        assert (record.state, record.reason) == (State.FAILURE, "limit")
        assert record.detail == "the limit cpu_seconds was reached"
        assert record.signal == signal

    def test_a_file_that_is_too_large_is_the_reason(self, end, tmp_path):
        script = f"exec dd if=/dev/zero of={tmp_path}/large bs=1000 count=100"
        record = end(shell(script), file_bytes=5000)
        assert (record.state, record.reason) == (State.FAILURE, "limit")
        assert record.detail == "the limit file_bytes was reached"
        assert (record.signal, record.returncode) == ("SIGXFSZ", 128 + 25)

    @pytest.mark.parametrize("name", ["XCPU", "XFSZ", "KILL", "TERM", "SEGV"])
    def test_without_a_limit_a_signal_is_a_signal(self, end, name):
        record = end(shell(f"ulimit -c 0; kill -{name} $$"))
        assert (record.state, record.reason) == (State.FAILURE, "signal")
        assert (record.signal, record.detail) == (f"SIG{name}", None)

    @pytest.mark.parametrize("name", ["XFSZ", "KILL", "TERM", "SEGV"])
    def test_with_another_limit_likewise(self, end, name):
        record = end(shell(f"ulimit -c 0; kill -{name} $$"), cpu_seconds=5)
        assert (record.reason, record.signal) == ("signal", f"SIG{name}")
        assert record.detail is None

    def test_a_time_out_is_no_limit(self, end):
        record = end(shell("sleep 60", timeout_seconds=0.2), cpu_seconds=5)
        assert record.reason == "timeout"

    def test_a_program_that_says_itself_that_it_may_not_just_fails(self, end):
        record = end(python("b'x' * 400_000_000"), memory_bytes=200 * 2**20)
        assert (record.state, record.reason) == (State.FAILURE, "exit")
        assert record.returncode == 1


class TestStart:
    @pytest.mark.parametrize("bounds", [{}, {"cpu_seconds": 5}])
    def test_a_program_that_is_not_there_is_the_reason(self, end, bounds):
        record = end(program("/nonexistent/program"), **bounds)
        assert (record.state, record.reason) == (State.FAILURE, "spawn_failed")
        assert "/nonexistent/program" in record.detail
        assert record.returncode is None

    @pytest.mark.parametrize("bounds", [{}, {"cpu_seconds": 5}])
    def test_a_folder_that_is_not_there_is_the_reason(self, end, tmp_path, bounds):
        command = replace(program("/bin/true"), cwd=f"{tmp_path}/gone")
        record = end(command, **bounds)
        assert (record.state, record.reason) == (State.FAILURE, "spawn_failed")
        assert f"{tmp_path}/gone" in record.detail
