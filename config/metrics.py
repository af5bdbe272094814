"""Where gunicorn's workers count together, and which part of that is whose.

A folder for each master, and in it some files for each seat. A worker goes on in the
files of the one whose seat it took, so that nothing that was counted goes back and the
files do not grow in number. What is counted stands in :mod:`app.metrics`, of which
gunicorn's master knows nothing.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# Where prometheus_client has its files, by its own name for that.
_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

# A seat's files, and the space that they are given before they are used: they are
# mapped into memory, where a disk that is full would end the worker. Every route,
# status and command that there is takes about half of it.
_FILE_BYTES = {
    "counter": 512 * 1024,
    "histogram": 2 * 1024 * 1024,
    "gauge_livesum": 64 * 1024,
}

#: The seat of who is no worker: the master, where it loads the application itself.
NO_SEAT = 0


@dataclass
class _Here:
    """What this process has; a child of it has the same until it takes a seat."""

    folder: Path | None = None
    lock: int | None = None  # a descriptor, held until the last process has ended
    seat: int = NO_SEAT


_here = _Here()


def share_figures(instance: Path) -> None:
    """Have the workers of this process count together, in a new folder.

    Called again, as gunicorn does on HUP, it leaves all as it is. Folders of masters
    that are gone are removed. Raises OSError where there can be no folder; then every
    worker counts for itself.
    """
    if _here.folder is not None:
        return
    parent = instance / "metrics"
    parent.mkdir(mode=0o700, exist_ok=True)
    held = _locked(parent, fcntl.LOCK_EX)  # another master may be starting
    try:
        for left in parent.iterdir():
            _remove_unless_used(left)
        folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=parent))
        _here.lock = _locked(folder, fcntl.LOCK_EX)
    finally:
        os.close(held)
    _reserve(folder, NO_SEAT)
    _here.folder = folder
    os.environ[_VARIABLE] = str(folder)


def free_seat(taken: Iterable[int]) -> int:
    """Return the lowest seat that is not taken."""
    others = set(taken)
    return min(set(range(1, len(others) + 2)) - others)


def take_seat(seat: int) -> None:
    """Count at that seat from now on, in a worker.

    Raises OSError where there is no space for its files; then it counts for itself.
    """
    folder, _here.folder, _here.seat = _here.folder, None, seat
    if folder is not None:
        _reserve(folder, seat)
        _here.folder = folder


def leave_seat(seat: int) -> None:
    """Forget what only held while the worker of that seat lived."""
    if _here.folder is not None:
        for path in _here.folder.glob(f"gauge_live*_{seat}.db"):
            path.unlink(missing_ok=True)


def end_sharing() -> None:
    """Remove the folder, once no worker is left."""
    if _here.folder is not None:
        shutil.rmtree(_here.folder, ignore_errors=True)


def shared_folder() -> Path | None:
    """Return where this process counts together with others, None where it is alone."""
    return _here.folder


def own_seat() -> int:
    """Return the seat of this process."""
    return _here.seat


def _remove_unless_used(folder: Path) -> None:
    with suppress(OSError):
        os.close(_locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB))
        shutil.rmtree(folder, ignore_errors=True)


def _locked(folder: Path, how: int) -> int:
    """Return a descriptor of a folder that nobody else has locked.

    The lock is that of all who inherit the descriptor, and ends with the last of them.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, how)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _reserve(folder: Path, seat: int) -> None:
    """Make those of a seat's files that are not there yet, each with its space."""
    for name, size in _FILE_BYTES.items():
        path = folder / f"{name}_{seat}.db"
        if path.exists():
            continue
        draft = path.with_suffix(".draft")  # nobody is to read a file without a head
        try:
            with draft.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, size)
            draft.rename(path)
        finally:
            draft.unlink(missing_ok=True)
