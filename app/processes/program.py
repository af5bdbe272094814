"""The program of a command, as its start looks for it; nothing is started here."""

import os
import re
import shutil
from dataclasses import dataclass

# Of a script's first line the kernel reads no more (BINPRM_BUF_SIZE).
_LINE_BYTES = 256


@dataclass(frozen=True)
class Program:
    """A program's name, the PATH that it is looked for in, and the folder it runs in.

    `cwd` None is the service's own folder.
    """

    name: str
    path: str
    cwd: str | None = None

    def find(self) -> str | None:
        """Return where it is, None where nothing of that name can be executed."""
        if "/" in self.name:
            return shutil.which(self._from_cwd(self.name))
        places = [self._from_cwd(place) for place in self.path.split(os.pathsep)]
        return shutil.which(self.name, path=os.pathsep.join(places))

    def missing_interpreter(self) -> str | None:
        """Return what a script's first line names and is not there; None: all is.

        Of `#!/usr/bin/env NAME` that is NAME too.
        """
        words = _interpreter_words(self.find() or "")
        if words and shutil.which(self._from_cwd(os.path.join(".", words[0]))) is None:  # noqa: PTH118
            return words[0]
        if words and os.path.basename(words[0]) == "env":  # noqa: PTH119
            names = (w for w in words[1:] if not w.startswith("-") and "=" not in w)
            name = next(names, None)
            if name and Program(name, self.path, self.cwd).find() is None:
                return name
        return None

    def _from_cwd(self, path: str) -> str:
        return os.path.join(self.cwd or "", path)  # noqa: PTH118 - keeps a "./"


def _interpreter_words(path: str) -> list[str]:
    """Return the words behind the #! of a file, none where that cannot be read."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - "" is no file, Path("") a folder
            line = file.read(_LINE_BYTES).partition(b"\n")[0]
    except OSError:
        return []
    if not line.startswith(b"#!"):
        return []
    # No other white space counts, such as the \r of an editor of Windows.
    return re.findall(r"[^ \t]+", os.fsdecode(line[2:]))
