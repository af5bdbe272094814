import os
import subprocess
import sys
from dataclasses import replace

import pytest

from app.tasks.worker import Worker
from tests.servers import PROJECT

TELL = "from app.tasks.worker import Worker; print(Worker.current())"


def test_this_worker_is_alive():
    worker = Worker.current()
    assert worker.pid == os.getpid()
    assert worker.is_alive()
    assert worker == Worker.current()


def test_its_text_names_it():
    worker = Worker.current()
    assert Worker.parse(str(worker)) == worker
    assert Worker.parse("b00t:12:345") == Worker("b00t", 12, 345)


def test_one_that_has_ended_is_dead():
    told = subprocess.check_output([sys.executable, "-c", TELL], cwd=PROJECT, text=True)
    worker = Worker.parse(told.strip())
    assert worker.boot == Worker.current().boot
    assert not worker.is_alive()


@pytest.mark.parametrize("ticks", [-1, 1])
def test_one_whose_pid_was_given_to_another_is_dead(ticks):
    worker = Worker.current()
    assert not replace(worker, start_ticks=worker.start_ticks + ticks).is_alive()


def test_one_of_an_earlier_boot_is_dead():
    assert not replace(Worker.current(), boot="another").is_alive()


def test_one_that_is_a_zombie_is_dead():
    process = subprocess.Popen([sys.executable, "-c", TELL], cwd=PROJECT, stdout=-1)
    with process:
        worker = Worker.parse(process.stdout.read().decode().strip())
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not worker.is_alive()
