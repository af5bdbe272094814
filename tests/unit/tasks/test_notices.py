import os
import resource
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from app.tasks import notices as module
from app.tasks.notices import Notice, Notices
from tests.racing import run_python
from tests.servers import wait_until

# Longer than any test may take: who is told does not wait for that.
LONG_SECONDS = 60

_LATER = "import sys, time; sys.stdin.readline(); open(sys.argv[1], 'ab').write(b'x')"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"")
    return path


@pytest.fixture
def told(monkeypatch):
    """Have nobody look by themselves: who goes on, has been told."""
    monkeypatch.setattr(module, "LOOK_SECONDS", LONG_SECONDS)


class Waiter:
    """Somebody who waits in a thread; `count` is how often that was told."""

    def __init__(self, notices, path, *, times=1):
        self._notices, self._path, self._times = notices, path, times
        self._is_there = threading.Event()
        self.count = 0
        self._thread = threading.Thread(target=self._wait, name="waiter")
        self._thread.start()
        assert self._is_there.wait(10)

    def has_gone_on(self):
        return self.count == self._times

    def join(self):
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _wait(self):
        with self._notices.of(self._path) as notice:
            self._is_there.set()
            while self.count < self._times:
                notice.wait(LONG_SECONDS)
                self.count += 1


def change(path, data=b"x"):
    with path.open("ab") as file:
        file.write(data)


def is_told(notice):
    """Return whether a change was told that nobody has waited for yet."""
    return notice._event.is_set()


@pytest.mark.usefixtures("told")
class TestTold:
    @pytest.mark.parametrize(
        "happen",
        [
            change,
            os.utime,
            lambda path: path.unlink(),
            lambda path: path.chmod(0o600),
            lambda path: os.truncate(path, 100),
        ],
    )
    def test_whatever_happens_to_the_file_is_told(self, notices, path, happen):
        with notices.of(path) as notice:
            happen(path)
            wait_until(lambda: is_told(notice))

    def test_what_another_process_writes_is_told(self, notices, path):
        waiter = Waiter(notices, path)
        writer = subprocess.Popen(
            [sys.executable, "-c", _LATER, path], stdin=subprocess.PIPE
        )
        assert not waiter.has_gone_on()
        writer.communicate(b"now\n", timeout=20)
        waiter.join()
        assert waiter.has_gone_on()

    def test_what_was_written_before_the_wait_is_told_at_its_begin(self, notices, path):
        with notices.of(path) as notice:
            change(path)
            wait_until(lambda: is_told(notice))
            notice.wait(LONG_SECONDS)
            assert not is_told(notice), "a wait takes what it was told"

    def test_all_who_wait_for_one_file_are_told(self, notices, path):
        waiters = [Waiter(notices, path) for _ in range(20)]
        change(path)
        for waiter in waiters:
            waiter.join()

    def test_who_goes_leaves_the_others_waiting(self, notices, path):
        with ExitStack() as stays:
            stayed = stays.enter_context(notices.of(path))
            with notices.of(path) as gone:
                pass
            change(path)
            wait_until(lambda: is_told(stayed))
            assert not is_told(gone)

    def test_each_is_told_of_its_own_file_only(self, notices, tmp_path):
        with ExitStack() as opened:
            given = {}
            for number in range(200):
                path = tmp_path / str(number)
                path.touch()
                given[path] = opened.enter_context(notices.of(path))
            for number in range(0, 200, 3):
                change(tmp_path / str(number))
            for path, notice in given.items():
                if int(path.name) % 3 == 0:
                    wait_until(lambda notice=notice: is_told(notice))
            quiet = [n for path, n in given.items() if int(path.name) % 3]
            assert not any(map(is_told, quiet))
        assert notices._waiting == {}

    def test_a_file_that_was_removed_and_made_anew_is_another_one(self, notices, path):
        with notices.of(path) as old:
            path.unlink()
            wait_until(lambda: is_told(old))
            old.wait(LONG_SECONDS)
            path.touch()
            with notices.of(path) as new:
                change(path)
                wait_until(lambda: is_told(new))
                assert not is_told(old)

    def test_a_storm_of_changes_is_told_again_and_again(self, notices, path):
        waiter = Waiter(notices, path, times=20)

        def gone_on():
            change(path, b"x" * 1000)
            return waiter.has_gone_on()

        wait_until(gone_on)
        waiter.join()

    def test_where_the_kernel_has_lost_some_all_are_told(
        self, notices, tmp_path, monkeypatch
    ):
        paths = [tmp_path / name for name in "abc"]
        with ExitStack() as opened:
            for path in paths:
                path.touch()
            given = [opened.enter_context(notices.of(path)) for path in paths]
            read, lost = os.read, module._EVENT.pack(-1, 0x4000, 0, 0)
            monkeypatch.setattr(os, "read", lambda *asked: read(*asked) and lost)
            change(paths[0])
            for notice in given:
                wait_until(lambda notice=notice: is_told(notice))


class TestNotTold:
    """Where the kernel does not tell, who waits looks by itself."""

    @pytest.fixture
    def without_kernel(self, monkeypatch):
        class Refusing:
            def inotify_init1(self, _flags):
                return -1

            def __getattr__(self, name):
                raise AssertionError(f"{name} is not asked for")

        monkeypatch.setattr(module, "_LIBC", Refusing())

    @pytest.mark.usefixtures("without_kernel")
    def test_without_inotify_a_wait_ends_soon_all_the_same(self, notices, path):
        with notices.of(path) as notice:
            notice.wait(LONG_SECONDS)
        assert notices._thread is None

    def test_a_file_that_is_not_there_is_looked_for(self, notices, tmp_path):
        with notices.of(tmp_path / "missing") as notice:
            notice.wait(LONG_SECONDS)

    def test_a_wait_is_no_longer_than_was_asked(self, notices, path):
        with notices.of(path) as notice:
            notice.wait(0.01)
            assert not is_told(notice)

    def test_without_descriptors_nothing_is_told_and_nothing_is_left_open(
        self, notices, path
    ):
        for free in range(3):
            with no_descriptors_but(free), notices.of(path) as notice:
                notice.wait(LONG_SECONDS)
            assert notices._thread is None
        with notices.of(path) as notice:
            assert notices._thread is not None, "it is tried again"
            change(path)
            wait_until(lambda: is_told(notice))

    def test_without_a_thread_nothing_is_told_and_nothing_is_left_open(
        self, notices, path, monkeypatch
    ):
        def refuse(_thread):
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with notices.of(path) as notice:
                notice.wait(LONG_SECONDS)
        assert notices._thread is None


class TestLife:
    def test_nothing_is_opened_before_somebody_waits(self):
        before = descriptors()
        made = Notices()
        assert descriptors() == before
        made.close()
        assert "notices" not in [thread.name for thread in threading.enumerate()]

    def test_one_thread_and_three_descriptors_are_enough_for_all(
        self, notices, tmp_path
    ):
        before = len(descriptors())
        with ExitStack() as opened:
            for number in range(100):
                (tmp_path / str(number)).touch()
                opened.enter_context(notices.of(tmp_path / str(number)))
            names = [thread.name for thread in threading.enumerate()]
            assert names.count("notices") == 1
            assert len(descriptors()) == before + 3

    def test_closing_leaves_no_thread_and_no_descriptor_however_often(self, path):
        before = descriptors()
        made = Notices()
        with made.of(path):
            pass
        made.close()
        made.close()
        assert descriptors() == before
        assert "notices" not in [thread.name for thread in threading.enumerate()]

    def test_closing_while_somebody_waits_harms_nobody(self, path):
        made = Notices()
        with made.of(path) as notice:
            made.close()
            change(path)
            notice.wait(0.01)
        with made.of(path) as notice:
            notice.wait(LONG_SECONDS)

    def test_it_is_closed_amid_comers_and_goers(self, path):
        made = Notices()
        faults, over = [], threading.Event()

        def come_and_go():
            try:
                while not over.is_set():
                    with made.of(path) as notice:
                        change(path)
                        notice.wait(0.001)
            except Exception as error:
                faults.append(error)
                raise

        threads = [threading.Thread(target=come_and_go) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_until(lambda: path.stat().st_size > 200)
        made.close()
        size = path.stat().st_size
        wait_until(lambda: path.stat().st_size > size + 200)
        over.set()
        for thread in threads:
            thread.join()
        assert faults == []

    def test_who_was_forked_before_the_first_use_is_told_by_its_own(self, path):
        source = """
import os, sys
from pathlib import Path
from app.tasks import notices as module
from app.tasks.notices import Notices
module.LOOK_SECONDS = 60
path, notices, workers = Path(sys.argv[1]), Notices(), []
for _ in range(3):
    if not (pid := os.fork()):
        with notices.of(path) as notice:
            os.write(1, b"waits\\n")
            notice.wait(60)
        notices.close()
        os._exit(7 if notices._inotify == -1 else 1)
    workers.append(pid)
print(*sorted(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in workers))
"""
        over = threading.Event()

        def write_on():
            while not over.wait(0.01):
                change(path)

        writer = threading.Thread(target=write_on)
        writer.start()
        try:
            done = run_python(source, str(path))
        finally:
            over.set()
            writer.join()
        assert done.stderr == ""
        assert done.stdout.split("\n")[-2] == "7 7 7"


def test_a_notice_that_is_told_by_hand_ends_the_wait():
    notice = Notice(is_told=True)
    notice.tell()
    notice.wait(LONG_SECONDS)


def descriptors():
    """Return those that are open here."""
    return {path.name for path in Path("/proc/self/fd").iterdir()}


@contextmanager
def no_descriptors_but(count):
    """Let this process open so many more, as when it has nearly all that it may."""
    with ExitStack() as opened:
        held = [os.open(os.devnull, os.O_RDONLY) for _ in range(count)]
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        highest = os.open(os.devnull, os.O_RDONLY)
        for descriptor in (*held, highest):
            os.close(descriptor)
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest, hard))
        yield
