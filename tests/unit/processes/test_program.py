from pathlib import Path

import pytest

from app.processes.program import Program

PATH = "/usr/bin:/bin"


@pytest.fixture
def script(tmp_path):
    def write(text):
        path = tmp_path / "a-script"
        path.write_bytes(text)
        path.chmod(0o700)
        return str(path)

    return write


@pytest.mark.parametrize(
    "text",
    [
        b"#!/bin/sh",
        b"#! \t/bin/sh \t-e\n",
        b"#!/usr/bin/env sh\n",
        b"#!/usr/bin/env -S A=b sh -e\n",
        b"#!/usr/bin/env\n",
        b"#!./sh\n",
        b"#!\n",
        b"# !/nonexistent\n",
        b"\x7fELF\n#!/nonexistent\n",
        b"",
    ],
)
def test_a_script_whose_interpreter_is_there_misses_none(script, tmp_path, text):
    (tmp_path / "sh").symlink_to("/bin/sh")
    program = Program(script(text), PATH, str(tmp_path))
    assert program.missing_interpreter() is None


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        (b"#!/nonexistent/sh -e\n", "/nonexistent/sh"),
        (b"#!/bin/sh\r\n", "/bin/sh\r"),
        (b"#!sh\n", "sh"),
        (b"#!/etc/passwd\n", "/etc/passwd"),
        (b"#!/usr/bin/env nonexistent\n", "nonexistent"),
        (b"#!/usr/bin/env -S A=b nonexistent -e\n", "nonexistent"),
        (b"#!/\xff\n", "/\udcff"),
    ],
)
def test_an_interpreter_that_is_not_there_is_named(script, tmp_path, text, missing):
    program = Program(script(text), PATH, str(tmp_path))
    assert program.missing_interpreter() == missing


def test_a_program_is_looked_for_where_it_will_run(script, tmp_path):
    found = script(b"")
    for name, path in (("./a-script", ""), ("a-script", ".:/bin"), (found, "")):
        at = Program(name, path, str(tmp_path)).find()
        assert at is not None
        assert Path(at).samefile(found)
        assert Program(name, path, "/").find() in (None, found)


def test_what_is_not_there_misses_no_interpreter():
    program = Program("nonexistent", PATH)
    assert program.find() is None
    assert program.missing_interpreter() is None
