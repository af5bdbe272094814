"""What a command may use, as the kernel holds it to that."""

import resource
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from .program import Program

#: By which option of prlimit(1) each is set, and what the kernel calls it.
_OPTIONS = {
    "cpu_seconds": ("--cpu", resource.RLIMIT_CPU),
    "memory_bytes": ("--as", resource.RLIMIT_AS),
    "processes": ("--nproc", resource.RLIMIT_NPROC),
    "file_bytes": ("--fsize", resource.RLIMIT_FSIZE),
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

    def reached(self, signal_name: str | None, cpu_seconds: float | None) -> str | None:
        """Return which of them ended a process that a signal has ended, if one did."""
        name = LIMIT_OF_SIGNAL.get(signal_name or "")
        # One that goes on after SIGXCPU is killed a second later. The kernel counts
        # ticks for that, and tells what was used by a finer clock: a little less.
        least = 0.9 * (self.cpu_seconds or inf)
        if signal_name == "SIGKILL" and (cpu_seconds or 0) > least:
            name = "cpu_seconds"
        return name if name and vars(self)[name] is not None else None

    def argv(
        self, argv: Sequence[str], *, path: str, cwd: str | None = None
    ) -> Sequence[str]:
        """Return what runs `argv` within these bounds; raise OSError if nothing can.

        The program is looked for as its start in `cwd` does, in the folders of `path`.
        The bounds are set by prlimit(1) between fork and exec, and it becomes the
        program: in a process with threads, nothing of ours may be run there.
        """
        bounds = {name: value for name, value in vars(self).items() if value}
        if not bounds:
            return argv
        # It would report a program that is not there as its own failure.
        if Program(argv[0], path, cwd).find() is None:
            raise FileNotFoundError(f"There is no program {argv[0]!r} to be run.")
        prlimit = find_prlimit()
        if prlimit is None:
            raise FileNotFoundError("Limits need prlimit, a program of util-linux.")
        options = [_option(name, bound) for name, bound in bounds.items()]
        return [prlimit, *options, "--", *argv]


def find_prlimit() -> str | None:
    """Return where prlimit(1) is, None where there is none."""
    return shutil.which("prlimit")


def _option(name: str, bound: int) -> str:
    option, kind = _OPTIONS[name]
    # The soft one of processor time sends SIGXCPU, which names the reason.
    soft, hard = bound, bound + 1 if name == "cpu_seconds" else bound
    # What the service itself is held to, it may tighten but not loosen.
    _, most = resource.getrlimit(kind)
    if most != resource.RLIM_INFINITY:
        soft, hard = min(soft, most), min(hard, most)
    return f"{option}={soft}:{hard}"
