"""What a command may use, as the kernel holds it to that."""

import shutil
import signal
from collections.abc import Sequence
from dataclasses import asdict, dataclass

#: By which option of prlimit(1) each is set.
_OPTIONS = {
    "cpu_seconds": "--cpu",
    "memory_bytes": "--as",
    "processes": "--nproc",
    "file_bytes": "--fsize",
}
#: By which signal the kernel says that one was reached; the others only refuse.
LIMIT_OF_SIGNAL = {
    signal.SIGXCPU.name: "cpu_seconds",
    signal.SIGXFSZ.name: "file_bytes",
}


@dataclass(frozen=True)
class Limits:
    """Bounds of each process of a command, None being none.

    `processes` counts all that the service's user runs, and does not hold for root.
    """

    cpu_seconds: int | None = None
    memory_bytes: int | None = None
    processes: int | None = None
    file_bytes: int | None = None

    def argv(self, argv: Sequence[str], *, path: str) -> Sequence[str]:
        """Return what runs `argv` within these bounds; raise OSError if nothing can.

        They are set by prlimit(1) between fork and exec, and it becomes the program:
        in a process with threads, nothing of ours may be run there.
        """
        bounds = {name: value for name, value in asdict(self).items() if value}
        if not bounds:
            return argv
        # It would report a program that is not there as its own failure.
        if shutil.which(argv[0], path=path) is None:
            raise FileNotFoundError(f"There is no program {argv[0]!r} to be run.")
        prlimit = shutil.which("prlimit")
        if prlimit is None:
            raise FileNotFoundError("Limits need prlimit, a program of util-linux.")
        options = [f"{_OPTIONS[name]}={_range(name, n)}" for name, n in bounds.items()]
        return [prlimit, *options, "--", *argv]


def _range(name: str, bound: int) -> str:
    # The soft one of processor time sends SIGXCPU, which names the reason.
    return f"{bound}:{bound + 1}" if name == "cpu_seconds" else str(bound)
