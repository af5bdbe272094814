"""Measure Bellhop against others, and write down what came of it: `make bench`.

What is not Python comes from Debian: apt-get install webhook wrk chromium
"""

import argparse
import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.servers import PROJECT

from . import document, machine
from .contest import Outcome
from .curves import CURVES
from .dose import FULL, QUICK, Dose
from .rows import ROWS

RESULTS = PROJECT / "bench" / "results.json"
DESCRIPTORS = 8192
_ENDING = (signal.SIGINT, signal.SIGTERM)


def main() -> None:
    given = _arguments()
    if not given.write:
        _measure_all(given.names, QUICK if given.quick else FULL, keep=given.keep)
    if given.keep or given.write:
        document.write(json.loads(RESULTS.read_text()), PROJECT / "docs")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=", description=__doc__)
    parser.add_argument(
        "names", nargs="*", help=f"rows and curves: {', '.join(_everything())}"
    )
    parser.add_argument("--quick", action="store_true", help="a small dose, not kept")
    parser.add_argument("--keep", action="store_true", help="keep a small dose")
    parser.add_argument(
        "--write", action="store_true", help="only write the document, of what is kept"
    )
    given = parser.parse_args()
    given.keep = given.keep or not given.quick
    if unknown := set(given.names) - _everything().keys():
        parser.error(f"no such row or curve: {', '.join(sorted(unknown))}")
    return given


def _everything() -> dict[str, tuple[str, Callable[[Dose, Path], Outcome]]]:
    """Return what can be measured by name, and where its results are kept."""
    rows = {name: ("rows", row.measure) for name, row in ROWS.items()}
    curves = {name: ("curves", curve.measure) for name, curve in CURVES.items()}
    return rows | {f"curve-{name}": each for name, each in curves.items()}


def _measure_all(names: list[str], dose: Dose, *, keep: bool) -> None:
    _prepare()
    for name in names or _everything():
        kept, measure = _everything()[name]
        print(f"{name} …", flush=True)
        result = _measured(measure, dose)
        _show(result)
        if keep:
            _keep(kept, name.removeprefix("curve-"), result)


def _measured(measure: Callable[[Dose, Path], Outcome], dose: Dose) -> dict[str, Any]:
    """Measure one; what keeps it from being measured is its result then."""
    begun, before, load = time.monotonic(), machine.cpu_times(), os.getloadavg()[0]
    try:
        # Whatever it is, the others are measured all the same.
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            result = vars(measure(dose, Path(folder)))
    except Exception as error:  # noqa: BLE001
        result = {"failed": f"{type(error).__name__}: {error}"}
    return result | {
        "dose": dose.name,
        "rounds": dose.rounds,
        "taken": datetime.now(UTC).strftime("%Y-%m-%d"),
        "took_seconds": round(time.monotonic() - begun),
        **machine.noise(before, load),
    }


def _prepare() -> None:
    """Have room for many connections, and end in an orderly way when told to."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(DESCRIPTORS, most), most))
    for number in _ENDING:
        signal.signal(number, _end)


def _end(*_: object) -> None:
    """Have all that was started ended, which a second signal does not keep from it."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
    sys.exit(1)


def _keep(kept: str, name: str, result: dict[str, Any]) -> None:
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results["machine"] = machine.description()
    results.setdefault(kept, {})[name] = document.rounded(result)
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


def _show(result: dict[str, Any]) -> None:
    for line in result.get("lines", []):
        values = {key: value for key, value in line.items() if key != "who"}
        print(f"  {line['who']}: {json.dumps(document.rounded(values))}")
    for name in ("figures", "left_out", "failed", "load_before", "took_seconds"):
        if result.get(name):
            print(f"  {name}: {json.dumps(document.rounded(result[name]))}")


if __name__ == "__main__":
    main()
