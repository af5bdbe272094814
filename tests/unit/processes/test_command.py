import os
import sys

import pytest

from app.processes.command import (
    ARGUMENT_LIMIT_BYTES,
    TOTAL_LIMIT_BYTES,
    Command,
    argument_fault,
    total_fault,
)
from tests.commands import ENVIRONMENT, program

COUNTS = "import sys; print(len(sys.argv[1].encode()))"


class TestArgument:
    @pytest.mark.parametrize(
        "text", ["", " ", "a", "-", "\n", "é", "\x7f", "\U0010ffff"]
    )
    def test_any_text_is_one(self, text):
        assert argument_fault(text) is None

    @pytest.mark.parametrize("text", ["\0", "a\0", "\0a", "\ud800\0"])
    def test_a_nul_is_refused(self, text):
        assert argument_fault(text) == "has a NUL character, which no argument can hold"

    @pytest.mark.parametrize("text", ["\ud800", "a\udfff", "\udc80é"])
    def test_a_lone_surrogate_is_refused(self, text):
        assert argument_fault(text) == "has a lone surrogate, which is no character"

    @pytest.mark.parametrize("letter", ["x", "é", "中"])
    def test_its_bytes_are_counted(self, letter):
        width = len(letter.encode())
        longest = letter * (ARGUMENT_LIMIT_BYTES // width)
        assert argument_fault(longest) is None
        assert argument_fault(longest + letter) is not None

    def test_what_is_one_byte_too_long_is_refused(self):
        assert argument_fault("x" * ARGUMENT_LIMIT_BYTES) is None
        message = "is 131072 bytes long, the system takes 131071"
        assert argument_fault("x" * (ARGUMENT_LIMIT_BYTES + 1)) == message

    def test_a_variable_s_name_takes_of_its_room(self):
        longest = ARGUMENT_LIMIT_BYTES - len("NÄME=".encode())
        assert argument_fault("x" * longest, name="NÄME") is None
        fault = argument_fault("x" * (longest + 1), name="NÄME")
        assert fault == f"is {longest + 1} bytes long, the system takes {longest}"

    def test_a_name_that_is_none_can_be_measured(self):
        assert argument_fault("x", name="\ud800") is None

    def test_the_longest_really_arrives(self, run):
        longest = "é" + "x" * (ARGUMENT_LIMIT_BYTES - 2)
        ending, output = run(program(sys.executable, "-ISc", COUNTS, longest))
        assert (ending.returncode, output) == (0, b"131071\n")

    def test_the_longest_variable_really_arrives(self, run):
        longest = "x" * (ARGUMENT_LIMIT_BYTES - len("LONG="))
        ending, output = run(program("printenv", "LONG", LONG=longest))
        assert (ending.returncode, output) == (0, longest.encode() + b"\n")

    @pytest.mark.parametrize(
        "command",
        [
            program("/bin/true", "x" * (ARGUMENT_LIMIT_BYTES + 1)),
            program("/bin/true", A="x" * (ARGUMENT_LIMIT_BYTES + 1 - len("A="))),
        ],
        ids=["argument", "variable"],
    )
    def test_the_system_refuses_what_is_longer(self, follow, command):
        with pytest.raises(OSError, match="Argument list too long"):
            follow(command)


class TestTotal:
    def test_what_is_taken_really_runs(self, run):
        argv, size = ["/bin/true"], 0
        while not total_fault([*argv, "x" * 50_000], ENVIRONMENT):
            argv.append("x" * 50_000)
        left = 50_000
        while left and total_fault([*argv, "y" * left], ENVIRONMENT):
            left -= 100
        argv.append("y" * max(left, 0))
        size = sum(map(len, argv))
        assert size > TOTAL_LIMIT_BYTES - 1000 - len(str(ENVIRONMENT))
        assert run(program(*argv))[0].returncode == 0

    def test_what_is_taken_of_an_environment_really_runs(self, run):
        around = {}
        while not total_fault(
            ["/bin/true"], ENVIRONMENT | around | {"N": "x" * 50_000}
        ):
            around[f"A{len(around):03}"] = "x" * 50_000
        assert len(around) > TOTAL_LIMIT_BYTES // 50_000 - 3
        assert run(program("/bin/true", **around))[0].returncode == 0

    def test_very_many_short_arguments_are_counted_with_their_pointers(self, run):
        count = (TOTAL_LIMIT_BYTES - 20_000) // 10
        assert run(program("/bin/true", *["a"] * count))[0].returncode == 0
        fault = total_fault(["a"] * (TOTAL_LIMIT_BYTES // 10 + 1), {})
        assert fault is not None
        assert fault.endswith(f"bytes in all, the system takes {TOTAL_LIMIT_BYTES}")

    def test_the_system_refuses_what_is_much_longer(self, follow):
        argv = ["/bin/true", *["x" * 100_000] * (TOTAL_LIMIT_BYTES // 100_000 + 2)]
        assert total_fault(argv, {})
        with pytest.raises(OSError, match="Argument list too long"):
            follow(program(*argv))

    def test_bytes_that_are_no_text_are_counted(self):
        assert total_fault(["a"], {"HOME": os.fsdecode(b"/caf\xe9")}) is None


class TestCommand:
    def test_names_are_added_to_the_environment_of_a_copy(self):
        command = Command(("true",), {"A": "1"}, 5)
        assert command.with_environment(B="2").environment == {"A": "1", "B": "2"}
        assert command.with_environment(A="2").environment == {"A": "2"}
        assert command.environment == {"A": "1"}

    def test_what_it_may_read_is_not_shown(self):
        assert "secret" not in repr(Command(("true",), {}, 5, stdin=b"secret"))
