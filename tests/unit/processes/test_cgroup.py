"""Groups that only root makes, with cgroups v2; elsewhere a run has none."""

import signal
from pathlib import Path

import pytest

from app.processes import cgroup
from app.processes.cgroup import ControlGroup
from app.processes.table import find_process
from tests.detached import HAS_GROUPS
from tests.servers import PROJECT, alive_with, wait_until

# Enters a new group, starts what its other arguments say, and tells of both.
ENTERS = f"""
import os, signal, subprocess, sys
sys.path.insert(0, {str(PROJECT)!r})
from app.processes.cgroup import ControlGroup

print("ready", flush=True)
group = ControlGroup.make(sys.argv[1])
child = subprocess.Popen(sys.argv[2:])
print(group.path, child.pid in [each.pid for each in group.others()], flush=True)
print(os.getpid() in [each.pid for each in group.others()], flush=True)
signal.pause()
"""


@pytest.mark.skipif(not HAS_GROUPS, reason="no group can be made here")
class TestGroup:
    @pytest.fixture
    def enter(self, spawn_python, token):
        """Have a process enter a new group and start a command there."""
        groups = []

        def enter(*argv):
            process = spawn_python(ENTERS, f"bellhop-test-{token}", *argv)
            path, has_child = process.stdout.readline().decode().split()
            groups.append(ControlGroup(Path(path)))
            assert has_child == "True"
            assert process.stdout.readline() == b"False\n", "itself is no other"
            return process, groups[-1]

        yield enter
        for group in groups:
            group.kill()
            assert group.dissolve()

    def test_nothing_that_is_started_in_it_leaves_it(self, enter, token):
        script = f"env -i setsid sh -c 'sleep {token} & exec sleep {token}'"
        _, group = enter("/bin/sh", "-c", f"{script} & wait")
        wait_until(lambda: len(alive_with(f"sleep\0{token}")) == 2)
        inside = {process.pid for process in group.others()}
        assert ControlGroup.find(str(group.path)).path == group.path
        assert set(alive_with(f"sleep\0{token}")) <= inside

    def test_all_of_it_is_gone_when_it_has_been_killed(self, enter, token):
        stubborn = f"trap '' TERM; sleep {token} & while :; do sleep 0.01 & done"
        process, group = enter("/bin/sh", "-c", stubborn)
        wait_until(lambda: alive_with(f"sleep\0{token}"))
        group.kill()
        assert group.others() == []
        assert process.wait(10) == -signal.SIGKILL
        assert alive_with(token) == []
        assert group.dissolve()

    def test_so_it_is_by_a_kernel_that_knows_no_word_for_that(
        self, enter, token, monkeypatch
    ):
        _, group = enter("sleep", token)

        def refuse(path, *_):
            raise FileNotFoundError(path)

        monkeypatch.setattr(Path, "write_text", refuse)
        group.kill()
        assert alive_with(token) == []
        monkeypatch.undo()

    def test_what_is_in_it_goes_on_without_it(self, enter, token):
        process, group = enter("sleep", token)
        assert group.dissolve()
        assert not group.path.exists()
        wait_until(lambda: len(alive_with(f"sleep\0{token}")) == 2)  # it and its child
        assert group.dissolve(), "a second time"
        group.kill()
        assert find_process(process.pid), "it is in it no more"


@pytest.fixture
def proc(tmp_path, monkeypatch):
    """Make a /proc/self of a test's own."""

    def make(mounts, groups):
        (tmp_path / "mounts").write_text(mounts)
        (tmp_path / "cgroup").write_text(groups)

    monkeypatch.setattr(cgroup, "_PROC", tmp_path)
    return make


class TestNone:
    @pytest.mark.usefixtures("proc")
    def test_where_the_system_does_not_tell(self):
        assert ControlGroup.make("x") is None

    def test_where_there_are_those_of_version_1_alone(self, proc):
        proc("cgroup /sys/fs/cgroup/pids cgroup rw 0 0\n", "8:pids:/a\n")
        assert ControlGroup.make("x") is None

    def test_where_this_process_is_in_none(self, proc):
        proc("none /sys/fs/cgroup cgroup2 rw 0 0\n", "8:pids:/a\n")
        assert ControlGroup.make("x") is None

    def test_where_none_can_be_made(self, proc, tmp_path):
        proc(f"none {tmp_path}/mounted cgroup2 ro 0 0\n", "0::/unit\n")
        assert ControlGroup.make("x") is None

    def test_where_one_can_be_made_and_not_entered(self, proc, tmp_path, monkeypatch):
        (tmp_path / "unit").mkdir()
        proc(f"none {tmp_path} cgroup2 rw 0 0\n", "0::/unit\n")

        def refuse(*_):
            raise PermissionError

        monkeypatch.setattr(cgroup, "_move", refuse)
        assert ControlGroup.make("x") is None
        assert list((tmp_path / "unit").iterdir()) == []

    @pytest.mark.parametrize("path", ["", ".", "/", "/nowhere", "\0\0"])
    def test_where_a_path_is_of_none(self, path):
        assert ControlGroup.find(path) is None

    def test_one_that_is_not_there_has_nobody(self, tmp_path):
        group = ControlGroup(tmp_path / "none")
        assert group.others() == []
        group.kill()
        assert group.dissolve()
