"""Who may do what with a file, beside its owner."""

import stat
from pathlib import Path

_BY_OTHERS = stat.S_IWOTH
_BY_GROUP_OR_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def mode_of(path: Path) -> int:
    """Return the rights of a file, as chmod(1) takes them; 0 where there is none."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return 0


def is_for_owner_alone(path: Path) -> bool:
    """Return whether group and others have no right at all."""
    return not mode_of(path) & (stat.S_IRWXG | stat.S_IRWXO)


def is_written_by_others(path: Path, *, or_group: bool = True) -> bool:
    """Return whether others than its owner may change a file, or replace it there.

    In a folder such as /tmp, each may do that with what is theirs alone.
    """
    mode = mode_of(path)
    is_sticky = path.is_dir() and mode & stat.S_ISVTX
    which = _BY_GROUP_OR_OTHERS if or_group else _BY_OTHERS
    return bool(mode & which) and not is_sticky
