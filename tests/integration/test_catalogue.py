"""The catalogue of commands as callers meet it, through real gunicorn workers."""

import hashlib
import hmac
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.api.checks import paths, problem
from tests.commands import python_argv
from tests.servers import GUNICORN, Server, alive_with, children_of, running, wait_until
from tests.values import ARGUMENT_BYTES, is_refused, values

ADMIN = ("admin", "canary-of-the-admin")
SECRET = "canary-of-the-key"
SETTINGS = {
    "FLASK_ENV": "production",
    "ADMIN_PASSWORD": ADMIN[1],
    "SECRET_KEY": SECRET,
    "EXEC_GRACE_SECONDS": "1",
}

# Says as JSON what it was given, the bytes of each text in hexadecimal, or the digest
# of many.
TELLS = """
import hashlib, json, os, sys
def text(data):
    return data.hex() if len(data) < 500 else hashlib.sha256(data).hexdigest()
print(json.dumps({
    "argv": [text(os.fsencode(part)) for part in sys.argv[1:]],
    "env": {k: text(os.environb[os.fsencode(k)]) for k in os.environ},
    "cwd": os.getcwd(),
    "stdin": text(sys.stdin.buffer.read()),
    "descriptors": sorted(map(int, set(os.listdir("/proc/self/fd")) - {"3"})),
    "parent": os.getppid(),
}))
"""
# Of the parent, a worker, what runs besides: nothing.
SIBLINGS = """
import os, sys
for name in filter(str.isdigit, os.listdir("/proc")):
    try:
        with open(f"/proc/{name}/stat") as file:
            parent = int(file.read().rpartition(") ")[2].split()[1])
        with open(f"/proc/{name}/cmdline", "rb") as file:
            if parent == os.getppid():
                print(name == str(os.getpid()), file.read().split(b"\\0")[0].decode())
    except OSError:
        pass
"""


def literal(source: str) -> list[str]:
    """Return what runs Python's `source` as it stands in the file: no value in it."""
    argv = python_argv(source)
    return [part.replace("{", "{{").replace("}", "}}") for part in argv]


TELL, LOOK = literal(TELLS), literal(SIBLINGS)


def shown(text: str | bytes) -> str:
    """Return a text as the program above shows it."""
    data = text if isinstance(text, bytes) else text.encode()
    return data.hex() if len(data) < 500 else hashlib.sha256(data).hexdigest()


def all_shown(texts: dict[str, str]) -> dict[str, str]:
    return {name: shown(text) for name, text in texts.items()}


class Commands:
    """A catalogue that is written anew, and a server that runs what is in it."""

    def __init__(self, server: Server, path: Path) -> None:
        self.server = server
        self._path = path
        self._seconds = itertools.count()
        self._key = ""

    def write(self, text: str) -> None:
        draft = self._path.with_suffix(".new")
        draft.write_text(text)
        draft.rename(self._path)

    def exec(self, auth: tuple[str, str] = ADMIN, **body: Any) -> requests.Response:
        return self.server.post("/v3/exec/", json=body, auth=auth)

    def run(self, command: str, **body: Any) -> dict[str, Any]:
        """Run a command to its end; return the task."""
        answer = self.exec(command=command, wait_seconds=30, **body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def told(self, command: str, **body: Any) -> dict[str, Any]:
        """Run a command that tells what it was given; return that."""
        task = self.run(command, **body)
        assert task["state"] == "SUCCESS", task
        return json.loads(task["result"]["output"])

    def uuid(self) -> str:
        """Return a fresh uuid that the admin has signed."""
        if not self._key:
            answer = self.server.post("/v3/users/admin/signing-key", auth=ADMIN)
            self._key = answer.json()["signing_key"]
        signed = f"admin.{int(time.time()) - next(self._seconds) % 200}"
        digest = hmac.new(self._key.encode(), signed.encode(), hashlib.sha256)
        return f"{signed}.{digest.hexdigest()}"

    def exec_cmd(self, cmd: str) -> requests.Response:
        return self.server.exec(self.uuid(), cmd)

    def output_of_cmd(self, cmd: str) -> str:
        assert self.exec_cmd(cmd).status_code == 202
        polls = self.server.poll_until_finished(self.uuid())
        return "\n".join(poll["output"] for poll in polls if "output" in poll)


def table(name: str, *argv: str, **members: Any) -> str:
    """Return a command as it stands in the file."""
    lines = [f"[commands.{name}]", f"argv = {json.dumps(argv)}"]
    params = members.pop("params", {})
    lines += [f"{key} = {toml(value)}" for key, value in members.items()]
    for each, schema in params.items():
        lines.append(f"params.{each} = {toml(schema)}")
    return "\n".join([*lines, ""])


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + "}"
    return json.dumps(value)


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    tmp_path = tmp_path_factory.mktemp("catalogue")
    path = tmp_path / "commands.toml"
    path.write_text("")
    with running(tmp_path, "-w", "2", EXEC_COMMANDS=str(path), **SETTINGS) as server:
        yield Commands(server, path)


class TestSurroundings:
    def test_the_child_has_what_is_written_here_and_nothing_else(
        self, commands: Commands, tmp_path: Path
    ) -> None:
        commands.write(
            table(
                "tell",
                *TELL,
                "{a}",
                "{b}",
                "{c}",
                cwd=str(tmp_path),
                env={"OWN": "1", "SHARED": "entry"},
                env_allowed=["SHARED", "CALLERS"],
                stdin=True,
                params={"a": {}, "b": {}, "c": {"type": "string", "default": ""}},
            )
        )
        task = commands.run(
            "tell",
            params={"a": True, "b": 2.0},
            env={"SHARED": "caller"},
            stdin="in\nü",
        )
        told = json.loads(task["result"]["output"])
        assert told["argv"] == [shown(text) for text in ("true", "2", "")]
        expected = {
            "PATH": os.environ["PATH"],
            "HOME": "/",
            "LANG": "C.UTF-8",
            "OWN": "1",
            "SHARED": "caller",
            "BELLHOP_PARAM_A": "true",
            "BELLHOP_PARAM_B": "2",
            "BELLHOP_PARAM_C": "",
            "BELLHOP_TASK_ID": task["task_id"],
            "BELLHOP_REQUEST_ID": task["request_id"],
        }
        assert told["env"] == all_shown(expected)
        assert told["cwd"] == str(tmp_path.resolve())
        assert told["stdin"] == shown("in\nü")
        assert told["descriptors"] == [0, 1, 2]
        assert told["parent"] in commands.server.workers()[1:]

    def test_without_an_input_it_is_at_its_end(self, commands: Commands) -> None:
        commands.write(table("tell", *TELL))
        told = commands.told("tell")
        assert (told["stdin"], told["descriptors"]) == ("", [0, 1, 2])
        assert told["env"].keys() == {
            *("PATH", "HOME", "LANG"),
            *("BELLHOP_TASK_ID", "BELLHOP_REQUEST_ID"),
        }

    def test_a_large_input_arrives_and_one_that_nobody_reads_does_no_harm(
        self, commands: Commands
    ) -> None:
        commands.write(
            table("count", "wc", "-c", stdin=True)
            + table("ignore", "/bin/true", stdin=True)
        )
        task = commands.run("count", stdin="x" * 900_000)
        assert task["result"]["output"].strip() == "900000"
        assert commands.run("ignore", stdin="x" * 900_000)["state"] == "SUCCESS"

    def test_the_time_zone_and_the_home_of_the_service_are_passed_on(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "commands.toml"
        # A home that is no UTF-8, and a locale that says nothing of it.
        home = os.fsdecode(b"/caf\xe9")
        around = {"TZ": "Asia/Shanghai", "HOME": home, "LANG": "C", "LC_ALL": "C"}
        with running(
            tmp_path, "-w", "1", EXEC_COMMANDS=str(path), **SETTINGS, **around
        ) as server:
            commands = Commands(server, path)
            params = {"a": {"type": "string"}}
            commands.write(table("tell", "cat", "/proc/self/environ", params=params))
            task = commands.run("tell", params={"a": "中文"})
        told = dict(
            entry.split("=", 1) for entry in task["result"]["output"].split("\0")[:-1]
        )
        assert told == {
            "PATH": os.environ["PATH"],
            "TZ": "Asia/Shanghai",
            "HOME": "/caf\ufffd",
            "LANG": "C",
            "BELLHOP_PARAM_A": "中文",
            "BELLHOP_TASK_ID": task["task_id"],
            "BELLHOP_REQUEST_ID": task["request_id"],
        }


class TestValues:
    def test_each_arrives_as_it_is_or_is_refused(self, commands: Commands) -> None:
        names = [f"p{number:02}" for number in range(8)]
        places = [f"{{{name}}}" for name in names]
        commands.write(
            table(
                "tell",
                *TELL,
                *places,
                params={name: {"type": "string", "default": ""} for name in names},
            )
        )
        variable = "BELLHOP_PARAM_P00"
        every = values(150, seed=31, long_every=15)
        every = [value for value in every if len(value) < 60_000] + ["é" * 50_000]
        refused = [value for value in every if is_refused(value, variable=variable)]
        taken = [value for value in every if value not in refused]
        assert min(len(refused), len(taken)) > 20
        for batch in batches(taken, 8):
            params = dict(zip(names, batch, strict=False))
            told = commands.told("tell", params=params)
            given = [*batch, *[""] * (8 - len(batch))]
            assert told["argv"] == [shown(value) for value in given]
            for name, value in zip(names, given, strict=True):
                variable = f"BELLHOP_PARAM_{name.upper()}"
                assert told["env"][variable] == shown(value)
        for batch in batches(refused, 8):
            params = dict(zip(names, batch, strict=False))
            answer = commands.exec(command="tell", params=params)
            assert paths(answer) == sorted(f"params.{name}" for name in params)

    def test_what_is_too_long_is_refused_and_never_a_task(
        self, commands: Commands
    ) -> None:
        names = [f"p{number}" for number in range(9)]
        commands.write(
            table(
                "many",
                "/bin/true",
                *[f"{{{name}}}" for name in names] * 3,
                params={name: {"type": "string", "default": ""} for name in names},
            )
        )
        most = ARGUMENT_BYTES - len("BELLHOP_PARAM_P0=")
        assert commands.run("many", params={"p0": "x" * most})["state"] == "SUCCESS"
        for size in (most + 1, ARGUMENT_BYTES, ARGUMENT_BYTES + 1, 900_000):
            answer = commands.exec(command="many", params={"p0": "x" * size})
            assert paths(answer) == ["params.p0"]
        # Nine of 100 KB, each four times, are more than the system takes in all.
        params = dict.fromkeys(names, "x" * 100_000)
        answer = commands.exec(command="many", params=params)
        [fault] = problem(answer, 400)["errors"]
        assert (fault["path"], "in all" in fault["message"]) == ("params", True)
        states = set()
        for count in range(1, 10):
            params = dict.fromkeys(names[:count], "x" * 100_000)
            answer = commands.exec(command="many", params=params, wait_seconds=30)
            if answer.status_code == 201:
                states.add(answer.json()["state"])
        assert states == {"SUCCESS"}

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ({}, ["params.size"]),
            ({"params": {"size": 10}}, ["params.size"]),
            ({"params": {"size": "5"}}, ["params.size"]),
            ({"params": {"size": 1, "x": 1}}, ["params.x"]),
            ({"params": {"size": 1, "\ud800": 1}}, ["params.\ud800"]),
            ({"params": {"size": 10**400}}, ["params.size"]),
            ({"params": {"size": None}}, ["params.size"]),
            ({"params": {"size": [1]}}, ["params.size"]),
            ({"params": {"size": {"a": 1}}}, ["params.size"]),
            ({"params": {"size": 1, "text": "-x"}}, ["params.text"]),
            ({"params": {"size": 1}, "cwd": "/"}, ["cwd"]),
            ({"params": {"size": 1}, "stdin": ""}, ["stdin"]),
            ({"params": {"size": 1}, "env": {"PATH": "/"}}, ["env.PATH"]),
            ({"params": {"size": 1}, "env": {"\ud800": ""}}, ["env.\ud800"]),
            ({"params": {"size": 1}, "timeout_seconds": 11}, ["timeout_seconds"]),
            (
                {"params": {"text": "-"}, "cwd": "/"},
                ["cwd", "params.size", "params.text"],
            ),
        ],
    )
    def test_faults_are_named_all_at_once(
        self, commands: Commands, body: dict[str, Any], expected: list[str]
    ) -> None:
        commands.write(
            table(
                "count",
                "/bin/true",
                timeout_seconds=10,
                params={
                    "size": {"type": "integer", "maximum": 9, "multipleOf": 0.5},
                    "text": {"type": "string", "default": ""},
                },
            )
        )
        answer = commands.exec(command="count", **body)
        assert paths(answer) == expected


class TestAllowed:
    def test_only_what_is_on_the_list_is_run_and_the_list_is_named(
        self, commands: Commands, tmp_path: Path
    ) -> None:
        made = tmp_path / "made"
        commands.write(table("one", "/bin/true") + table("two", "/bin/true"))
        for body in (
            {"command": "three"},
            {"command": "/bin/true"},
            {"command": "../one"},
            {"command": "\ud83e"},
            {"cmd": f"touch {made}"},
            {"argv": ["touch", str(made)]},
        ):
            answer = commands.exec(**body)
            if answer.status_code == 400:
                assert body == {"command": "\ud83e"}
                continue
            assert "one, two" in problem(answer, 403)["detail"], body
        assert not made.exists()

    def test_users_are_told_of_what_is_theirs(self, commands: Commands) -> None:
        bob = ("bob", "bobs-password")
        body = {"username": "bob", "password": bob[1], "fullname": "Bob"}
        commands.server.post("/v3/users/", json=body, auth=ADMIN)
        commands.write(
            table("all", "/bin/true")
            + table("bobs", "/bin/true", users=["bob"])
            + table("anns", "/bin/true", users=["ann"])
        )
        listed = commands.server.get("/v3/commands/", auth=bob).json()["commands"]
        assert [each["name"] for each in listed] == ["all", "bobs"]
        problem(commands.server.get("/v3/commands/anns", auth=bob), 404)
        for name in ("all", "bobs"):
            assert commands.exec(bob, command=name).status_code == 201
        detail = problem(commands.exec(bob, command="anns"), 403)["detail"]
        assert "all, bobs" in detail
        assert "anns" not in detail
        # An admin sees every one, and runs what is for all, and for admins.
        listed = commands.server.get("/v3/commands/", auth=ADMIN).json()["commands"]
        assert [each["name"] for each in listed] == ["all", "anns", "bobs"]
        problem(commands.exec(command="bobs"), 403)

    def test_no_more_run_than_may(self, commands: Commands) -> None:
        commands.write(
            table("wait", "sleep", "300", max_running=2) + table("other", "/bin/true")
        )
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: commands.exec(command="wait"), range(8)))
        assert [answer.status_code for answer in answers] == [201] * 8
        assert commands.run("other")["state"] == "SUCCESS", "it has its own number"
        urls = [commands.server.url + a.headers["Location"] for a in answers]
        tasks = [requests.get(url, auth=ADMIN, timeout=60).json() for url in urls]
        places = sorted(task.get("position", 0) for task in tasks)
        assert places == [0, 0, 1, 2, 3, 4, 5, 6], "the others wait"
        for url in urls:
            assert requests.delete(url, auth=ADMIN, timeout=60).status_code == 204


class TestCmd:
    """`cmd` of a signed caller: split as a shell would, and never given to one."""

    @pytest.mark.parametrize(
        ("cmd", "given"),
        [
            ("say a", ["a", "0", "false"]),
            ("say 'a b' 3 true", ["a b", "3", "true"]),
            ('say "x $HOME" yes=true', ["x $HOME", "0", "true"]),
            ("say level=5 text=a=b", ["a=b", "5", "false"]),
            ("say a;id", ["a;id", "0", "false"]),
            (
                "say $(id)`id`>x|y&",
                ["$(id)id>x|y&".replace("id>", "`id`>"), "0", "false"],
            ),
            ("say '中文 \\n'", ["中文 \\n", "0", "false"]),
            ("say ''", ["", "0", "false"]),
        ],
    )
    def test_its_words_are_the_parameters(
        self, commands: Commands, cmd: str, given: list[str]
    ) -> None:
        self.write(commands)
        told = json.loads(commands.output_of_cmd(cmd))
        assert told["argv"] == [shown(value) for value in given]

    @pytest.mark.parametrize(
        ("cmd", "expected"),
        [
            ("say", ["params.text"]),
            ("say -x", ["params.text"]),
            ("say a 10", ["params.level"]),
            ("say a b", ["params.level"]),
            ("say a 1 true c", ["cmd"]),
            ("say a text=b", ["params.text"]),
            ("say 'a", ["cmd"]),
            ("say " + "x" * 200_000, ["params.text"]),
            ("say " + "x" * 1_000_000, ["params.text"]),
        ],
    )
    def test_a_faulty_one_is_refused(
        self, commands: Commands, cmd: str, expected: list[str]
    ) -> None:
        self.write(commands)
        assert paths(commands.exec_cmd(cmd)) == expected

    @pytest.mark.parametrize("cmd", ["ls", "/bin/sh -c id", "sh", " ", "''", "; say a"])
    def test_what_names_no_command_is_refused_naming_what_is_allowed(
        self, commands: Commands, cmd: str
    ) -> None:
        self.write(commands)
        answer = commands.exec_cmd(cmd)
        assert "allowed: say" in problem(answer, 403)["detail"]

    def write(self, commands: Commands) -> None:
        commands.write(
            table(
                "say",
                *TELL,
                "{text}",
                "{level}",
                "{yes}",
                params={
                    "text": {"type": "string"},
                    "level": {"type": "integer", "maximum": 9, "default": 0},
                    "yes": {"type": "boolean", "default": False},
                },
            )
        )


class TestEnds:
    def test_a_limit_that_was_reached_is_the_reason(
        self, commands: Commands, tmp_path: Path
    ) -> None:
        large = f"of={tmp_path}/large"
        commands.write(
            table("burn", *python_argv("while 1: pass"), limits={"cpu_seconds": 1})
            + table(
                "fill",
                *("dd", "if=/dev/zero", large, "bs=1000", "count=100"),
                limits={"file_bytes": 5000},
            )
            + table(
                "grow",
                *python_argv("b'x' * 900_000_000; print('had')"),
                limits={"memory_bytes": 300_000_000},
            )
            + table(
                "gone", "/nonexistent/program", limits={"memory_bytes": 300_000_000}
            )
            + table("nowhere", "/bin/true", cwd=str(tmp_path / "gone"))
        )
        for name, signal in (("burn", "SIGXCPU"), ("fill", "SIGXFSZ")):
            task = commands.run(name)
            assert (task["state"], task["reason"]) == ("FAILURE", "limit")
            assert task["signal"] == signal
        task = commands.run("grow")
        assert (task["state"], task["reason"]) == ("FAILURE", "exit")
        assert "MemoryError" in task["result"]["output"]
        for name in ("gone", "nowhere"):
            task = commands.run(name)
            assert (task["state"], task["reason"]) == ("FAILURE", "spawn_failed")
            assert isinstance(task["result"], str)

    def test_a_caller_s_shorter_time_counts(self, commands: Commands) -> None:
        commands.write(table("wait", "sleep", "300", timeout_seconds=100))
        task = commands.run("wait", timeout_seconds=0.3)
        assert (task["state"], task["reason"]) == ("FAILURE", "timeout")


class TestReading:
    def test_every_worker_sees_a_change_and_keeps_what_was_before_a_faulty_one(
        self, commands: Commands
    ) -> None:
        def names() -> set[str]:
            """Ask often enough to meet both workers; each has a connection new."""
            with ThreadPoolExecutor(8) as pool:
                answers = pool.map(
                    lambda _: commands.server.get("/v3/commands/", auth=ADMIN),
                    range(24),
                )
            found = [answer.json()["commands"] for answer in answers]
            return {",".join(each["name"] for each in some) for some in found}

        commands.write(table("one", "/bin/true"))
        assert names() == {"one"}
        commands.write(table("two", "/bin/true") + table("three", "/bin/true"))
        assert names() == {"three,two"}
        commands.write(table("four"))
        assert names() == {"three,two"}
        refused = [
            line
            for line in commands.server.log_lines()
            if line["event"] == "catalogue.refused" and line["kept"] == ["three", "two"]
        ]
        assert 1 <= len(refused) <= 2, "once by each worker that was asked"
        assert refused[0]["faults"] == ["commands.four.argv: does not meet minItems: 1"]
        commands.write(table("five", "/bin/true"))
        assert names() == {"five"}


@pytest.fixture
def traced(tmp_path: Path) -> tuple[tuple[str, ...], Callable[[], list[str] | None]]:
    """Return how to start gunicorn, and what tells which programs it has run.

    That is known where strace is installed and may trace, else None is told.
    """
    strace, trace = shutil.which("strace"), tmp_path / "trace"
    options = ["-f", "-qq", "-e", "trace=execve,execveat", "-o"]
    probe = [str(strace), "-D", *options, str(tmp_path / "probe"), "/bin/true"]
    if strace is None or subprocess.run(probe, stderr=subprocess.DEVNULL).returncode:
        return GUNICORN, lambda: None
    started = [strace, "-D", *options, str(trace), sys.executable, *GUNICORN]
    command = ("-c", f"import os; os.execv({strace!r}, {started!r} + ['-w', '1'])")

    def programs() -> list[str]:
        """Return what was run; of some it may be unknown by what name."""
        wait_until(lambda: not alive_with(str(trace)))
        called = r'exec\w+\((?:\w+, )?(?:"([^"]*)"|0x).* = 0$'
        return re.findall(called, trace.read_text(), re.MULTILINE)

    return command, programs


def test_no_program_is_run_but_that_of_the_catalogue(
    tmp_path: Path,
    traced: tuple[tuple[str, ...], Callable[[], list[str] | None]],
) -> None:
    command, programs = traced
    path = tmp_path / "commands.toml"
    with running(
        tmp_path,
        command=command,
        EXEC_COMMANDS=str(path),
        WORKERS="1",
        **SETTINGS,
    ) as server:
        commands = Commands(server, path)
        commands.write(
            table("say", "/bin/echo", "{a}", "--b={b}", params={"a": {}, "b": {}})
            + table("look", *LOOK, "{a}", params={"a": {}})
        )
        run = 0
        for value in values(40, seed=41):
            if is_refused(value, variable="BELLHOP_PARAM_A"):
                assert paths(commands.exec(command="say", params={"a": value, "b": 0}))
                continue
            params = {"a": value, "b": value}
            output = commands.run("say", params=params)["result"]["output"]
            assert output == f"{value} --b={value}\n"
            run += 1
        assert run > 15
        task = commands.run("look", params={"a": "$(sleep 9)"})
        assert task["result"]["output"].split() == ["True", sys.executable]
        assert children_of(server.workers()[-1]) == []
    seen = programs()
    if seen is None:
        return
    # A tracer that is not root cannot read in a process that hides itself.
    assert (seen.count("/bin/echo"), seen.count("")) in ((run, 0), (0, run + 1))
    assert set(seen) <= {"/bin/echo", "", sys.executable}


def batches(items: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
