import pytest

from app.errors import Fault, InvalidInput
from app.processes.command import ARGUMENT_LIMIT_BYTES, Command, shell_command


def checked(cmd):
    return shell_command(cmd, environment={"A": "1"}, timeout_seconds=5)


def cmd_of_bytes(count):
    """Return a `cmd` of that many bytes that runs `:` with one long argument."""
    return ": é" + "x" * (count - len(": é".encode()))


def test_a_cmd_becomes_one_argument_of_the_shell():
    command = checked("echo 'a b' | cat")
    assert command == Command(("/bin/sh", "-c", "echo 'a b' | cat"), {"A": "1"}, 5)


@pytest.mark.parametrize(
    ("cmd", "message"),
    [
        ("", "is empty"),
        (" \t\r\n ", "is empty"),
        ("\u2003", "is empty"),
        ("echo a\0b", "has a NUL character, which no argument can hold"),
        ("\0", "has a NUL character, which no argument can hold"),
        ("echo \ud800", "has a lone surrogate, which is no character"),
        ("echo \udc80", "has a lone surrogate, which is no character"),  # noqa: PT014
    ],
)
def test_a_cmd_that_no_program_can_take_is_refused(cmd, message):
    with pytest.raises(InvalidInput) as refused:
        checked(cmd)
    assert refused.value.faults == (Fault("cmd", message),)


def test_a_cmd_that_is_one_byte_too_long_is_refused():
    with pytest.raises(InvalidInput) as refused:
        checked(cmd_of_bytes(ARGUMENT_LIMIT_BYTES + 1))
    [fault] = refused.value.faults
    assert fault.path == "cmd"
    assert fault.message == "is 131072 bytes long, the system takes 131071"


def test_the_longest_cmd_really_runs(run):
    command = checked(cmd_of_bytes(ARGUMENT_LIMIT_BYTES))
    ending, output = run(command)
    assert (ending.returncode, output) == (0, b"")


def test_the_system_refuses_what_is_longer_than_the_limit(follow):
    longer = Command(("/bin/sh", "-c", cmd_of_bytes(ARGUMENT_LIMIT_BYTES + 1)), {}, 5)
    with pytest.raises(OSError, match="Argument list too long"):
        follow(longer)


def test_a_lone_character_is_not_blank():
    assert checked("é").argv[-1] == "é"


def test_names_are_added_to_the_environment_of_a_copy():
    command = checked("true")
    assert command.with_environment(B="2").environment == {"A": "1", "B": "2"}
    assert command.with_environment(A="2").environment == {"A": "2"}
    assert command.environment == {"A": "1"}
