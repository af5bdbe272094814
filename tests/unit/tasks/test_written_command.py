"""Commands that another process runs are the commands that were checked."""

import json
from dataclasses import replace

from app.processes.command import Command
from app.processes.limits import Limits
from app.tasks.written_command import read_command, written_command

BASE = {"PATH": "/bin", "LANG": "C.UTF-8", "HOME": "/"}
COMMAND = Command(
    ("/bin/echo", "中", ""),
    {**BASE, "HOME": "/root", "OWN": "\udcff"},
    2.5,
    cwd="/tmp",
    stdin="中".encode(),
    limits=Limits(cpu_seconds=1),
    separate_stderr=True,
)


def passed_on(command: Command, *, here: dict[str, str], there: dict[str, str]):
    text = json.dumps(written_command(command, less=here))
    return read_command(json.loads(text), base=there)


def test_it_is_the_same() -> None:
    assert passed_on(COMMAND, here={}, there={}) == COMMAND
    bare = replace(COMMAND, stdin=None, cwd=None, limits=Limits())
    assert passed_on(bare, here=BASE, there=BASE) == bare


def test_what_every_command_has_is_that_of_where_it_runs() -> None:
    there = {"PATH": "/usr/bin", "LANG": "C.UTF-8", "HOME": "/home", "TZ": "UTC"}
    found = passed_on(COMMAND, here=BASE, there=there).environment
    own = {"HOME": "/root", "OWN": "\udcff"}
    assert found == there | own
