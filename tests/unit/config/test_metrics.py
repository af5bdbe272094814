"""Seats among workers: whose files are whose, in a folder of each master."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from config import metrics
from config.metrics import (
    end_sharing,
    free_seat,
    leave_seat,
    own_seat,
    share_figures,
    shared_folder,
    take_seat,
)


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Begin as a process that shares nothing, and give its lock back."""
    monkeypatch.setattr(metrics, "_here", metrics._Here())
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "/nowhere")
    yield
    forget()


def forget() -> None:
    """Be another process, after the end of this one."""
    if metrics._here.lock is not None:
        os.close(metrics._here.lock)
    metrics._here = metrics._Here()


def files(seat: int) -> list[str]:
    folder = shared_folder()
    assert folder is not None
    return sorted(path.name for path in folder.glob(f"*_{seat}.db"))


def test_who_is_no_master_shares_nothing(tmp_path: Path) -> None:
    take_seat(3)
    leave_seat(3)
    end_sharing()
    assert shared_folder() is None
    assert os.environ["PROMETHEUS_MULTIPROC_DIR"] == "/nowhere"


def test_a_master_makes_one_folder_however_often_it_is_asked(tmp_path: Path) -> None:
    share_figures(tmp_path)
    [folder] = (tmp_path / "metrics").iterdir()
    share_figures(tmp_path)
    assert [*(tmp_path / "metrics").iterdir()] == [folder]
    assert shared_folder() == folder
    assert os.environ["PROMETHEUS_MULTIPROC_DIR"] == str(folder)
    assert (tmp_path / "metrics").stat().st_mode & 0o777 == 0o700
    end_sharing()
    assert not folder.exists()


def test_a_folder_is_removed_once_nobody_holds_it(tmp_path: Path) -> None:
    share_figures(tmp_path)
    first = shared_folder()
    inherited = os.dup(metrics._here.lock or 0)  # by a worker
    forget()
    share_figures(tmp_path)
    assert first is not None
    assert first.exists()
    os.close(inherited)
    forget()
    share_figures(tmp_path)
    assert [*(tmp_path / "metrics").iterdir()] == [shared_folder()]


@pytest.mark.parametrize(
    ("taken", "seat"), [([], 1), ([1, 2], 3), ([2, 3], 1), ([1, 3, 4], 2), ([0], 1)]
)
def test_the_lowest_seat_that_is_free_is_given(taken: list[int], seat: int) -> None:
    assert free_seat(taken) == seat


def test_a_seat_has_its_files_with_their_space_and_keeps_what_is_in_them(
    tmp_path: Path,
) -> None:
    share_figures(tmp_path)
    take_seat(2)
    assert own_seat() == 2
    assert files(2) == ["counter_2.db", "gauge_livesum_2.db", "histogram_2.db"]
    folder = shared_folder()
    assert folder is not None
    for name in files(2):
        stat = (folder / name).stat()
        assert stat.st_blocks * 512 >= stat.st_size >= 65536, "it is no hole"
    counter = folder / "counter_2.db"
    counter.write_bytes(b"counted")
    leave_seat(2)
    assert files(2) == ["counter_2.db", "histogram_2.db"]
    take_seat(2)
    assert counter.read_bytes() == b"counted"


def test_who_finds_no_space_counts_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share_figures(tmp_path)
    folder = shared_folder()
    assert folder is not None

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="no space"):
        take_seat(1)
    assert shared_folder() is None
    assert [path.name for path in folder.iterdir() if "_0." not in path.name] == []
