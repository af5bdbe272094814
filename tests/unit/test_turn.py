import fcntl
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.turn import take_turn


def test_one_has_it_until_it_lets_go(tmp_path):
    path = tmp_path / "lock"
    with ExitStack() as first, ExitStack() as second:
        assert take_turn(path, first)
        assert not take_turn(path, second)
        first.close()
        assert take_turn(path, second)


def test_who_does_not_get_it_holds_nothing(tmp_path):
    path = tmp_path / "lock"
    with ExitStack() as first, ExitStack() as second:
        assert take_turn(path, first)
        before = len(list(Path("/proc/self/fd").iterdir()))
        assert not take_turn(path, second)
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_file_that_cannot_be_locked_is_told_and_not_held(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no locks available")

    with ExitStack() as held:
        monkeypatch.setattr(fcntl, "flock", refuse)
        with pytest.raises(OSError, match="no locks"):
            take_turn(tmp_path / "lock", held)
        with pytest.raises(OSError, match="directory"):
            take_turn(tmp_path, held)


def test_nobody_else_may_open_it(tmp_path):
    with ExitStack() as held:
        take_turn(tmp_path / "lock", held)
        assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600
