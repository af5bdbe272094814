"""Commands of the terminal: done in the tests' own process, or as an operator does.

What a process of its own takes to start is ten times what most commands take.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

from application import create_app
from tests.servers import PROJECT

SECONDS = 60

Ran = subprocess.CompletedProcess[str]


def environment(folder: Path, env: str = "production") -> dict[str, str]:
    """Return what a terminal has set on the host of a server in that folder."""
    instance = str(folder / "instance")
    return {"PATH": os.environ["PATH"], "FLASK_ENV": env, "INSTANCE_PATH": instance}


def command(*arguments: str) -> list[str]:
    """Return what an operator types."""
    return [sys.executable, "-m", "flask", "--app", "server", *arguments]


def do(settings: Mapping[str, str], *arguments: str, typed: str = "") -> Ran:
    """Do a command here, with no other settings; raise what it does not tell."""
    with patch.dict(os.environ, settings, clear=True):
        runner = create_app().test_cli_runner(catch_exceptions=False)
        ran = runner.invoke(args=arguments, input=typed)
    return Ran(arguments, ran.exit_code, ran.stdout, ran.stderr)


def run(
    settings: Mapping[str, str],
    *arguments: str,
    typed: str = "",
    below: tuple[str, ...] = (),
) -> Ran:
    """Run a command as an operator does; `below` is what starts it."""
    return subprocess.run(
        [*below, *command(*arguments)],
        cwd=PROJECT,
        env=settings,
        input=typed,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
