"""What it was measured on, and with what."""

import os
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from . import client
from .servers import VENV


def description() -> dict[str, str]:
    """Return the machine and every version; a peer that is not there is not named."""
    found = {
        "CPU": _cpu(),
        "cores": str(os.cpu_count()),
        "memory": f"{_memory_gb():.0f} GB",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "gunicorn": version("gunicorn"),
        "Flask": version("flask"),
        "client": client.name(),
        "Chromium": _first_number(["chromium", "--version"]),
        "webhook": _first_number(["webhook", "-version"]),
        "Flask-Shell2HTTP": _in_venv("Flask-Shell2HTTP"),
        "glances": _in_venv("glances"),
    }
    return {name: value for name, value in found.items() if value}


def cpu_times() -> tuple[int, int, int]:
    """Return all ticks of all cores so far, the idle among them, and the stolen."""
    fields = [int(each) for each in Path("/proc/stat").read_text().split()[1:9]]
    return sum(fields), fields[3] + fields[4], fields[7]


def noise(before: tuple[int, int, int], load_before: float) -> dict[str, float]:
    """Return what of the machine others had: its load before, what was stolen since."""
    total, _, stolen = (b - a for a, b in zip(before, cpu_times(), strict=True))
    return {"load_before": load_before, "stolen": stolen / max(1, total)}


def _cpu() -> str:
    known = Path("/proc/cpuinfo").read_text()
    found = re.search(r"^model name\s*: (.+)$", known, re.MULTILINE)
    return found[1] if found else platform.machine()


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def _in_venv(package: str) -> str:
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return _first_number([str(VENV / "bin" / "python"), "-c", code])


def _first_number(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=sys.prefix)
    except FileNotFoundError:
        return ""
    found = re.search(r"\d+(\.\d+)+", done.stdout)
    return found[0] if found and not done.returncode else ""
