"""What of a host cannot be seeded for real: owners, mounts, full disks, clocks."""

import os
from collections import namedtuple

import pytest

from app.host.clock import Clock
from app.services.inspection import folders, host
from app.tasks.output import OutputFolder

SETTINGS = {"THREADS": 1, "EXEC_MAX_RUNNING": 1, "EXEC_MAX_QUEUED": 0}
NOW = 1_800_000_000.0

Usage = namedtuple("Usage", "total used free")


class Told(Clock):
    def __init__(self, *, is_synchronised=True):
        self._is_synchronised = is_synchronised

    def now(self):
        return NOW

    def is_synchronised(self):
        return self._is_synchronised


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "instance"
    made.mkdir(mode=0o700)
    return made


def of_folder(folder):
    """Return what is found of a folder, as levels and words."""
    outputs = OutputFolder(folder, head_bytes=1000, tail_bytes=5000)
    settings = {"INSTANCE_PATH": str(folder), "EXEC_MAX_RUNNING": 2}
    found = folders.findings(settings, outputs)
    return [(each.level, each.words) for each in found if each.remedy]


def of_clock(clock, newest=None):
    found = host.findings_of_clock(clock, newest=newest)
    return [(each.level, each.words) for each in found]


def test_another_user_s_folder_is_a_fault(folder, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    [(level, words)] = of_folder(folder)
    assert level == "FAULT"
    assert f"{folder} belongs to " in words


def test_root_is_told_that_the_service_is_not_to_be_root_s(folder, monkeypatch):
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    [(level, words)] = of_folder(folder)
    assert level == "note"
    assert ("is root's" if mine == 0 else "and this is root") in words


@pytest.mark.parametrize(
    ("kind", "level"), [("nfs4", "FAULT"), ("cifs", "FAULT"), ("ext4", None)]
)
def test_a_file_system_of_the_network_is_a_fault(folder, monkeypatch, kind, level):
    monkeypatch.setattr(folders, "file_system_of", lambda _folder: kind)
    words = f"{folder} is on {kind}, whose locks are not to be trusted"
    assert ((level, words) in of_folder(folder)) == (level is not None)


def test_little_space_is_a_note_and_too_little_a_fault(folder, monkeypatch):
    def found(free):
        usage = Usage(10**12, 0, free)
        monkeypatch.setattr(folders.shutil, "disk_usage", lambda _folder: usage)
        return [pair for pair in of_folder(folder) if "free" in pair[1]]

    assert found(10**9) == []
    assert found(999_000_000) == [("note", f"{folder} has 999 MB free")]
    [(level, words)] = found(100_000)
    assert level == "FAULT"
    assert "EXEC_MAX_RUNNING commands take 1 MB" in words


def test_a_clock_that_nobody_keeps_right_is_a_note():
    [(level, words)] = of_clock(Told(is_synchronised=False))
    assert level == "note"
    assert words.startswith("is kept right by nobody")


@pytest.mark.parametrize("is_synchronised", [True, None])
def test_a_clock_that_is_right_or_not_told_of_is_fine(is_synchronised):
    clock = Told(is_synchronised=is_synchronised)
    for newest in (None, NOW - 1e6, NOW + 60):
        assert of_clock(clock, newest) == [("ok", "is right, as far as can be seen")]


def test_a_record_of_the_future_is_a_fault():
    found = of_clock(Told(), NOW + 61)
    assert found == [("FAULT", "is 61 s behind the newest record")]


def test_the_kernel_is_asked_whether_the_clock_is_kept_right():
    assert Clock().is_synchronised() in (True, False, None)


def test_a_host_that_was_left_drained_is_a_note():
    class Drain:
        is_drained = True

        def is_on(self):
            return self.is_drained

    [found] = host.findings_of_drain(Drain())
    assert (found.level, found.words) == ("note", "this host takes no new runs")
    assert "undrain" in found.remedy
    Drain.is_drained = False
    assert list(host.findings_of_drain(Drain())) == []
