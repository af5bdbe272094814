import pytest

from app.errors import CommandNotAllowed, InvalidInput
from app.processes.command import Command
from app.tasks.catalogue import Catalogue


def catalogue(*, allow_shell=True):
    return Catalogue(
        allow_shell=allow_shell, environment={"PATH": "/bin"}, timeout_seconds=7
    )


def test_a_cmd_is_run_by_the_shell_with_what_was_set():
    found = catalogue().command("ls | wc")
    assert found == Command(("/bin/sh", "-c", "ls | wc"), {"PATH": "/bin"}, 7)


def test_a_faulty_cmd_is_refused():
    with pytest.raises(InvalidInput):
        catalogue().command(" ")


@pytest.mark.parametrize("cmd", ["true", "", "a\0b"])
def test_without_the_shell_nothing_is_allowed_whatever_it_is(cmd):
    with pytest.raises(CommandNotAllowed):
        catalogue(allow_shell=False).command(cmd)
