"""What kind of file system a folder is on."""

import os
import re
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
_OCTAL = re.compile(r"\\([0-7]{3})")


def file_system_of(folder: Path, *, mounts: Path = _MOUNTS) -> str | None:
    """Return the kind of the file system that a folder is on, as mount(8) names it.

    None where the kernel does not tell.
    """
    try:
        lines = os.fsdecode(mounts.read_bytes()).split("\n")[:-1]
    except OSError:
        return None
    here, found = folder.resolve(), {}
    for line in lines:
        before, _, after = line.partition(" - ")
        point = Path(_OCTAL.sub(lambda m: chr(int(m[1], 8)), before.split(" ")[4]))
        if here.is_relative_to(point):
            found[point] = after.split(" ")[0]  # a later one of the place hides it
    return found[max(found, key=lambda point: len(point.parts))] if found else None
