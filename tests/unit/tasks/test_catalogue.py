import os
import random
import resource
import shutil
import threading
from contextlib import contextmanager

import pytest
import structlog

from app.errors import CommandNotAllowed, CommandNotFound, InvalidInput
from app.processes.command import TOTAL_LIMIT_BYTES, Command
from app.tasks.catalogue import Catalogue
from app.tasks.order import Order, Wish
from config.config import PROJECT, BaseConfig, child_environment
from tests.servers import wait_until
from tests.values import ARGUMENT_BYTES, PIECES

AROUND = {"PATH": "/usr/bin:/bin"}

BACKUP = """
[commands.backup]
argv = ["/usr/local/bin/backup", "--db", "{db}", "--level={level}"]
max_running = 1
[commands.backup.params.db]
type = "string"
enum = ["main", "audit"]
[commands.backup.params.level]
type = "integer"
maximum = 9
default = 1
"""
ANNS = """
[commands.anns]
argv = ["/bin/true"]
users = ["ann"]
"""
ONE = '[commands.one]\nargv = ["/bin/true"]\n'
TWO = '[commands.two]\nargv = ["/bin/true"]\n'

FAULTY = {
    "no TOML": ("[commands", "Expected"),
    "a command that is there twice": (ONE + ONE, "Cannot declare"),
    "no UTF-8": (b'[commands.a]\nargv = ["\xff"]', "'utf-8' codec can't decode"),
    "a value without end": ('[commands.a]\nargv = ["x', "Unterminated"),
    "too much of nesting": ("a = " + "[" * 9000, "is nested too deeply"),
    "a schema nested too deeply": (
        f'[commands.a]\nargv = ["x"]\nparams.p{".not" * 3000} = {{}}',
        "is nested too deeply",
    ),
    "an unknown table": ("[command.a]\nargv = []", "command: is not known here"),
    "commands that are a text": ('commands = "df"', "commands: 'df' is not"),
    "a command that is a text": ('commands.a = "df"', "commands.a: 'df' is not"),
    "a name with a slash": ('[commands."a/b"]\nargv = ["x"]', "commands: 'a/b' does"),
    "a name with a blank": ('[commands."a b"]\nargv = ["x"]', "commands: 'a b' does"),
    "a name with a newline": ('[commands."a\\n"]\nargv = ["x"]', "commands: 'a\\n'"),
    "no name": ('[commands.""]\nargv = ["x"]', "commands: '' does"),
    "a long name": (f'[commands.{"a" * 65}]\nargv = ["x"]', "commands: 'aaa"),
    "no program": ("[commands.a]", "commands.a.argv: is required"),
    "an unknown member": (
        '[commands.a]\nargv = ["x"]\nshell = true',
        "commands.a.shell: is not known here",
    ),
    "a faulty pattern": (
        '[commands.a]\nargv = ["x"]\nparams.p.pattern = "("',
        "commands.a.params.p.pattern: '(' is not a 'regex'",
    ),
    "a place without a parameter": (
        '[commands.a]\nargv = ["x", "{p}"]',
        "commands.a.argv.1: has a place for p, which is no parameter",
    ),
    "a lone brace": (
        '[commands.a]\nargv = ["x", "}"]',
        "commands.a.argv.1: has a lone }; a brace is written twice",
    ),
    "a program that a caller chooses": (
        '[commands.a]\nargv = ["{p}"]\nparams.p = {}',
        "commands.a.argv.0: is the program, which no caller chooses",
    ),
    "a faulty default": (
        '[commands.a]\nargv = ["x"]\nparams.p = {type = "integer", default = "1"}',
        "commands.a.params.p.default: '1' is not of type 'integer'",
    ),
    "a parameter in capitals": (
        '[commands.a]\nargv = ["x"]\nparams.P = {}',
        "commands.a.params: 'P' does not match",
    ),
    "a variable of ours": (
        '[commands.a]\nargv = ["x"]\nenv.BELLHOP_X = ""',
        "commands.a.env: 'BELLHOP_X' does not match",
    ),
    "a variable that none can have": (
        '[commands.a]\nargv = ["x"]\nenv.A = "\\u0000"',
        "commands.a.env.A: has a NUL character",
    ),
    "a time that is none": (
        '[commands.a]\nargv = ["x"]\ntimeout_seconds = nan',
        "commands.a.timeout_seconds: nan is not of type 'number'",
    ),
    "a bound that is none": (
        '[commands.a]\nargv = ["x"]\nparams.p.maximum = nan',
        "commands.a.params.p: has a date or a number that JSON has not",
    ),
    "a date": (
        '[commands.a]\nargv = ["x"]\nparams.p.enum = [2026-11-20]',
        "commands.a.params.p: has a date or a number that JSON has not",
    ),
    "a description that is a date": (
        '[commands.a]\nargv = ["x"]\ndescription = 2026-11-20',
        "commands.a.description: datetime.date(2026, 11, 20) is not of type 'string'",
    ),
    "a reference": (
        '[commands.a]\nargv = ["x"]\nparams.p."$ref" = "http://127.0.0.1:9/x"',
        "commands.a.params.p.$ref: is not taken here",
    ),
    "a reference within": (
        '[commands.a]\nargv = ["x"]\nparams.p.allOf = [{"$ref" = "#/x"}]',
        "commands.a.params.p.allOf.0.$ref: is not taken here",
    ),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "commands.toml"


@pytest.fixture
def write(path):
    """Write the file as an editor does: another one is renamed to its name."""

    def to(text):
        draft = path.with_suffix(".new")
        draft.write_bytes(text if isinstance(text, bytes) else text.encode())
        draft.rename(path)

    return to


@pytest.fixture
def logged():
    with structlog.testing.capture_logs() as lines:
        yield lines


def catalogue(path="/nonexistent", *, allow_shell=False, environment=AROUND):
    return Catalogue(
        str(path), allow_shell=allow_shell, environment=environment, timeout_seconds=7
    )


def names(found, user=None, **options):
    return [entry.name for entry in found.entries(user, **options)]


def faults_of(make, *args, **kwargs):
    with pytest.raises(InvalidInput) as refused:
        make(*args, **kwargs)
    return [(fault.path, fault.message) for fault in refused.value.faults]


def paths_of(make, *args, **kwargs):
    return [path for path, _ in faults_of(make, *args, **kwargs)]


class TestOrder:
    def test_a_command_of_the_file_is_run_with_its_parameters(self, path, write):
        write(BACKUP)
        found = catalogue(path).order(Wish("backup", {"db": "main"}), user=None)
        program = ("/usr/local/bin/backup", "--db", "main", "--level=1")
        variables = {"BELLHOP_PARAM_DB": "main", "BELLHOP_PARAM_LEVEL": "1"}
        assert found == Order(
            Command(program, AROUND | variables, 7),
            name="backup",
            max_running=1,
            params={"db": "main", "level": 1},
        )

    def test_what_is_wrong_with_them_is_named(self, path, write):
        write(BACKUP)
        wish = Wish("backup", {"level": 10, "x": ""}, cwd="/")
        found = paths_of(catalogue(path).order, wish, user=None)
        assert found == ["params.db", "params.level", "params.x", "cwd"]

    @pytest.mark.parametrize("name", ["", "Backup", "backup ", "back", "true", "\0"])
    def test_what_is_not_there_is_refused_naming_what_is_allowed(
        self, path, write, name
    ):
        write(BACKUP + ONE + ANNS)
        with pytest.raises(CommandNotAllowed, match=r"allowed: backup, one\."):
            catalogue(path).order(Wish(name), user="bob")

    @pytest.mark.parametrize("wish", [Wish(cmd="true"), Wish(argv=["/bin/true"])])
    def test_nothing_else_is_run_where_there_is_no_shell(self, path, write, wish):
        write(ONE + ANNS)
        with pytest.raises(CommandNotAllowed) as refused:
            catalogue(path).order(wish, user="ann")
        assert refused.value.allowed == ("anns", "one")

    def test_where_nothing_is_allowed_that_is_said(self):
        with pytest.raises(CommandNotAllowed, match="allowed: no command"):
            catalogue().order(Wish("df"), user="ann")

    def test_a_command_of_the_file_is_run_without_a_shell_where_there_is_one(
        self, path, write
    ):
        write(ONE)
        found = catalogue(path, allow_shell=True).order(Wish("one"), user=None)
        assert found.command.argv == ("/bin/true",)
        with pytest.raises(CommandNotAllowed):
            catalogue(path, allow_shell=True).order(Wish("two"), user=None)


class TestUsers:
    @pytest.mark.parametrize(
        ("user", "expected"),
        [("ann", ["anns", "one"]), ("bob", ["one"]), (None, ["one"]), ("", ["one"])],
    )
    def test_a_command_is_there_for_its_users_alone(self, path, write, user, expected):
        write(ONE + ANNS)
        found = catalogue(path)
        assert names(found, user) == expected
        if "anns" in expected:
            assert found.get("anns", user).name == "anns"
            assert found.order(Wish("anns"), user=user).name == "anns"
            assert found.order_of_cmd("anns", user=user).name == "anns"
            return
        with pytest.raises(CommandNotFound):
            found.get("anns", user)
        for start in (
            lambda: found.order(Wish("anns"), user=user),
            lambda: found.order_of_cmd("anns", user=user),
        ):
            with pytest.raises(CommandNotAllowed) as refused:
                start()
            assert refused.value.allowed == ("one",), "the others are not told of it"

    def test_every_one_can_be_looked_at(self, path, write):
        write(ONE + ANNS)
        assert names(catalogue(path), "bob", every=True) == ["anns", "one"]
        assert catalogue(path).get("anns", "bob", every=True).name == "anns"

    def test_they_are_in_the_order_of_their_names(self, path, write):
        write(TWO + ONE + BACKUP)
        assert names(catalogue(path)) == ["backup", "one", "two"]

    def test_what_is_not_there_is_not_found(self, path, write):
        write(ONE)
        with pytest.raises(CommandNotFound):
            catalogue(path).get("two", "ann", every=True)


class TestCmdOfTheFile:
    """`cmd` where there is no shell: a name, and its parameters."""

    @pytest.mark.parametrize(
        ("cmd", "last"),
        [
            ("backup main", ("main", "--level=1")),
            ("backup main 3", ("main", "--level=3")),
            ("backup db=audit level=9", ("audit", "--level=9")),
            ("backup level=9 db=audit", ("audit", "--level=9")),
            (" 'back'up  \"main\"\n", ("main", "--level=1")),
            ("backup db='main'", ("main", "--level=1")),
        ],
    )
    def test_its_words_are_the_parameters(self, path, write, cmd, last):
        write(BACKUP)
        found = catalogue(path).order_of_cmd(cmd, user=None)
        assert found.command.argv[-2:] == last
        assert (found.cmd, found.name, found.max_running) == (cmd, "backup", 1)

    @pytest.mark.parametrize(
        ("cmd", "paths"),
        [
            ("backup", ["params.db"]),
            ("backup other", ["params.db"]),
            ("backup main x", ["params.level"]),
            ("backup main 10", ["params.level"]),
            ("backup main 3 4", ["cmd"]),
            ("backup main db=main", ["params.db"]),
            ("backup db=main main", ["params.db"]),
            ("backup 'main", ["cmd"]),
            ("backup main;id", ["params.db"]),
            ("backup main && id", ["cmd"]),
            ("backup $(id)", ["params.db"]),
            ("backup --db main", ["params.db", "params.level"]),
            ("backup main level", ["params.level"]),
        ],
    )
    def test_a_faulty_one_is_refused(self, path, write, cmd, paths):
        write(BACKUP)
        assert paths_of(catalogue(path).order_of_cmd, cmd, user=None) == paths

    @pytest.mark.parametrize(
        "cmd", ["", " ", "''", "ls", "/bin/true", "backup\\ main", "a\0b", "sh -c id"]
    )
    def test_a_first_word_that_names_no_command_is_not_allowed(self, path, write, cmd):
        write(BACKUP)
        with pytest.raises(CommandNotAllowed) as refused:
            catalogue(path).order_of_cmd(cmd, user=None)
        assert refused.value.allowed == ("backup",)

    def test_a_shell_s_signs_are_text(self, path, write):
        write(
            '[commands.say]\nargv = ["/bin/echo", "{a}", "{b}"]\n'
            "params.a = {}\nparams.b = {default = ''}\n"
        )
        found = catalogue(path).order_of_cmd("say $HOME;id '>x y'", user=None)
        assert found.command.argv == ("/bin/echo", "$HOME;id", ">x y")


class TestShell:
    """`cmd` and `argv` where whoever may call may run anything."""

    def order(self, *, allow_shell=True, **wish):
        return catalogue(allow_shell=allow_shell).order(Wish(**wish), user=None)

    @pytest.mark.parametrize("cmd", ["ls | wc", "echo 'a b' | cat", "é", "\n true"])
    def test_a_cmd_becomes_one_argument_of_the_shell(self, cmd):
        expected = Order(Command(("/bin/sh", "-c", cmd), AROUND, 7), cmd=cmd)
        assert self.order(cmd=cmd) == expected
        assert catalogue(allow_shell=True).order_of_cmd(cmd, user=None) == expected

    @pytest.mark.parametrize("value", [p for p in PIECES if p])
    def test_an_argv_is_run_as_it_is_or_refused(self, value):
        cannot = "\0" in value or any("\ud800" <= c <= "\udfff" for c in value)
        if cannot:
            assert paths_of(self.order, argv=["/bin/echo", value]) == ["argv.1"]
        else:
            argv = ("/bin/echo", value)
            assert self.order(argv=argv) == Order(Command(argv, AROUND, 7))

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
            (
                ": é" + "x" * (ARGUMENT_BYTES - 3),
                "is 131072 bytes long, the system takes 131071",
            ),
        ],
    )
    def test_a_cmd_that_no_program_can_take_is_refused(self, cmd, message):
        assert faults_of(self.order, cmd=cmd) == [("cmd", message)]
        order_of_cmd = catalogue(allow_shell=True).order_of_cmd
        assert faults_of(order_of_cmd, cmd, user=None) == [("cmd", message)]

    @pytest.mark.parametrize("program", ["", " "])
    def test_a_program_without_a_name_is_refused(self, program):
        assert faults_of(self.order, argv=[program, "a"]) == [("argv.0", "is empty")]

    def test_arguments_may_be_empty(self):
        assert self.order(argv=["/bin/echo", ""]).command.argv[-1] == ""

    def test_a_caller_sets_all_that_there_is(self):
        wish = {"env": {"A": "1", "PATH": "/x"}, "cwd": "/tmp", "stdin": "ü"}
        command = self.order(argv=["x"], **wish, timeout_seconds=6.5).command
        assert command == Command(
            ("x",), {"PATH": "/x", "A": "1"}, 6.5, cwd="/tmp", stdin="ü".encode()
        )
        assert self.order(cmd="x", stdin="").command.stdin == b""

    @pytest.mark.parametrize(
        ("wish", "paths"),
        [
            ({"env": {"BELLHOP_TASK_ID": "x"}}, ["env"]),
            ({"env": {"A=B": "x"}}, ["env"]),
            ({"env": {"": "x"}}, ["env"]),
            ({"env": {"A\n": "x"}}, ["env"]),
            ({"env": {"\ud800": "x"}}, ["env"]),
            ({"env": {"A": "\0"}}, ["env.A"]),
            ({"env": {"A": "\ud800"}}, ["env.A"]),
            ({"env": {"A": "x" * (ARGUMENT_BYTES - 1)}}, ["env.A"]),
            ({"cwd": "/\0"}, ["cwd"]),
            ({"cwd": "/\udc80"}, ["cwd"]),
            ({"timeout_seconds": 7.1}, ["timeout_seconds"]),
            ({"cwd": "\0", "timeout_seconds": 8}, ["cwd", "timeout_seconds"]),
        ],
    )
    def test_what_cannot_be_is_refused(self, wish, paths):
        assert paths_of(self.order, cmd="true", **wish) == paths
        assert paths_of(self.order, argv=["true"], **wish) == paths

    def test_all_together_must_not_be_longer_than_the_system_takes(self):
        count = TOTAL_LIMIT_BYTES // 100_000
        argv = ["x"] + ["y" * 99_000] * count
        assert self.order(argv=argv).command.argv == tuple(argv)
        assert paths_of(self.order, argv=[*argv, *["y" * 99_000] * 2]) == ["argv"]

    def test_a_cmd_counts_with_its_environment(self):
        count, rest = divmod(TOTAL_LIMIT_BYTES - 50_000, 100_000)
        sizes = [*[100_000] * count, rest]
        env = {f"E{n:02}": "y" * max(0, s - 20) for n, s in enumerate(sizes)}
        assert self.order(cmd="x" * 40_000, env=env)
        assert paths_of(self.order, cmd="x" * 60_000, env=env) == ["cmd"]


class TestReading:
    def test_the_file_is_first_read_when_it_is_needed(self, path, write, logged):
        found = catalogue(path)
        assert logged == []
        write(ONE)
        assert names(found) == ["one"]

    def test_a_change_is_seen_at_the_next_call(self, path, write, logged):
        write(ONE)
        found = catalogue(path)
        assert names(found) == ["one"]
        write(ONE + TWO)
        assert names(found) == ["one", "two"]
        write(TWO)
        with pytest.raises(CommandNotAllowed, match="allowed: two"):
            found.order(Wish("one"), user=None)
        assert [line["commands"] for line in logged] == [
            *(["one"], ["one", "two"]),
            ["two"],
        ]

    def test_what_has_not_changed_is_not_read_again(self, path, write, logged):
        write(ONE)
        found = catalogue(path)
        first = found.get("one", None)
        assert all(found.get("one", None) is first for _ in range(20))
        assert [line["event"] for line in logged] == ["catalogue.read"]

    def test_it_is_written_in_place(self, path):
        found = catalogue(path)
        for text, expected in ((ONE, "one"), (TWO, "two"), (BACKUP, "backup")):
            path.write_text(text)
            assert names(found) == [expected]

    @pytest.mark.parametrize("in_place", [True, False])
    def test_a_change_of_the_same_size_and_time_is_seen(self, path, write, in_place):
        write("")
        found = catalogue(path)
        for number in range(50):
            new = path if in_place else path.with_suffix(".new")
            new.write_text(f'[commands.c{number:02}]\nargv = ["/bin/true"]\n')
            # Some kernels' clock of files stands still for some milliseconds.
            before = path.stat().st_ctime_ns
            wait_until(lambda new=new, before=before: touched(new) != before)
            new.rename(path)
            assert names(found) == [f"c{number:02}"]

    def test_an_older_file_that_is_put_back_is_seen(self, path, write):
        write(ONE)
        kept = path.with_suffix(".kept")
        shutil.copy2(path, kept)
        found = catalogue(path)
        names(found)
        write(TWO)
        assert names(found) == ["two"]
        kept.rename(path)
        assert names(found) == ["one"]

    def test_a_link_that_points_elsewhere_is_seen(self, path, tmp_path):
        for name, text in (("a", ONE), ("b", TWO)):
            (tmp_path / name).write_text(text)
        path.symlink_to("a")
        found = catalogue(path)
        assert names(found) == ["one"]
        path.unlink()
        path.symlink_to("b")
        assert names(found) == ["two"]

    def test_an_empty_file_has_no_commands(self, path, write, logged):
        write("")
        assert names(catalogue(path)) == []
        assert logged == [
            {"event": "catalogue.read", "log_level": "info", "commands": []}
        ]

    def test_what_was_ordered_is_not_changed(self, path, write):
        write(BACKUP)
        found = catalogue(path)
        ordered = found.order(Wish("backup", {"db": "main"}), user=None)
        entry = found.get("backup", None)
        write(BACKUP.replace("--db", "--other"))
        assert ordered.command.argv[1] == "--db"
        again = entry.order(Wish("backup", {"db": "main"}))
        assert again == ordered
        new = found.order(Wish("backup", {"db": "main"}), user=None)
        assert new.command.argv[1] == "--other"


class TestFaultyFile:
    @pytest.mark.parametrize(("text", "fault"), FAULTY.values(), ids=FAULTY)
    def test_it_keeps_what_was_there_and_says_why_once(
        self, path, write, logged, text, fault
    ):
        write(ONE)
        found = catalogue(path)
        assert names(found) == ["one"]
        write(text)
        assert [names(found) for _ in range(5)] == [["one"]] * 5
        assert found.order(Wish("one"), user=None).command.argv == ("/bin/true",)
        [_, refused] = logged
        assert (refused["event"], refused["log_level"]) == (
            "catalogue.refused",
            "error",
        )
        assert (refused["path"], refused["kept"]) == (str(path), ["one"])
        assert refused["faults"][0].startswith(fault)
        write(TWO)
        assert names(found) == ["two"]

    def test_every_fault_of_every_command_is_said(self, path, write, logged):
        write('[commands.a]\nargv = []\nx = 1\n[commands.b]\n[commands.c]\nargv=["x"]')
        assert names(catalogue(path)) == []
        [refused] = logged
        assert sorted(fault.partition(":")[0] for fault in refused["faults"]) == [
            "commands.a.argv",
            "commands.a.x",
            "commands.b.argv",
        ]

    def test_one_faulty_command_keeps_the_others_as_they_were(self, path, write):
        write(ONE + TWO)
        found = catalogue(path)
        names(found)
        write('[commands.one]\nargv = ["/bin/false"]\n[commands.two]\nargv = []')
        assert names(found) == ["one", "two"]
        assert found.order(Wish("one"), user=None).command.argv == ("/bin/true",)

    def test_another_fault_is_said_again(self, path, write, logged):
        found = catalogue(path)
        for text in ("[", "]", "["):
            write(text)
            assert names(found) == names(found) == []
        assert [line["event"] for line in logged] == ["catalogue.refused"] * 3

    def test_a_first_file_that_is_faulty_allows_nothing(self, path, write):
        write("[")
        with pytest.raises(CommandNotAllowed):
            catalogue(path).order(Wish("one"), user=None)

    def test_a_file_that_was_removed_keeps_what_was_there(self, path, write, logged):
        write(ONE)
        found = catalogue(path)
        names(found)
        path.unlink()
        assert [names(found) for _ in range(5)] == [["one"]] * 5
        assert logged[1:] == [
            {
                "event": "catalogue.refused",
                "log_level": "error",
                "path": str(path),
                "faults": ["No such file or directory"],
                "kept": ["one"],
            }
        ]
        write(TWO)
        assert names(found) == ["two"]
        path.unlink()
        assert names(found) == ["two"]
        assert len(logged) == 4, "and that is said again"

    def test_the_same_file_that_comes_back_is_read(self, path, write):
        write(ONE)
        found = catalogue(path)
        away = path.with_suffix(".away")
        path.rename(away)
        assert names(found) == []
        away.rename(path)
        assert names(found) == ["one"]

    def test_a_folder_is_no_file(self, path, logged):
        path.mkdir()
        found = catalogue(path)
        assert names(found) == names(found) == []
        [refused] = logged
        assert refused["faults"] == ["Is a directory"]
        path.rmdir()
        path.write_text(ONE)
        assert names(found) == ["one"]

    def test_what_could_not_be_opened_for_a_moment_is_read_later(
        self, path, write, logged
    ):
        write(ONE)
        found = catalogue(path)
        with no_more_descriptors():
            assert names(found) == names(found) == []
        assert names(found) == ["one"]
        assert [line["event"] for line in logged] == [
            "catalogue.refused",
            "catalogue.read",
        ]
        write(TWO)
        with no_more_descriptors():
            assert names(found) == ["one"]
        assert names(found) == ["two"]


class TestThreads:
    def test_each_sees_a_whole_catalogue_whatever_is_written_meanwhile(
        self, path, write
    ):
        sets = [ONE, ONE + TWO, BACKUP + ONE, "[", "[commands.one]\n"]
        write(ONE)
        found = catalogue(path)
        assert names(found) == ["one"], "there is one to be kept"
        seen, errors, over = [], [], threading.Event()

        def look():
            while not over.is_set():
                try:
                    seen.append(tuple(names(found)))
                    found.order(Wish("one"), user=None)
                except Exception as error:  # noqa: BLE001 - shown below
                    errors.append(error)
                    return

        threads = [threading.Thread(target=look, name="look") for _ in range(2)]
        for thread in threads:
            thread.start()
        source = random.Random(9)
        for _ in range(400):
            write(source.choice(sets))
        over.set()
        for thread in threads:
            thread.join()
        assert errors == []
        assert set(seen) <= {("one",), ("one", "two"), ("backup", "one")}
        write(TWO)
        assert names(found) == ["two"]


class TestShipped:
    """What comes with the service."""

    PATH = PROJECT / "config" / "commands.toml"

    def test_it_is_the_default(self):
        assert BaseConfig.EXEC_COMMANDS.default == str(self.PATH)

    def test_it_is_faultless(self, logged):
        found = catalogue(self.PATH)
        assert names(found) != []
        assert [line["event"] for line in logged] == ["catalogue.read"]
        assert all(entry.description for entry in found.entries(None))

    def test_each_of_its_programs_is_there(self):
        around = child_environment()
        for entry in catalogue(self.PATH, environment=around).entries(None, every=True):
            params = {
                name: "x" for name, p in entry.parameters.items() if p.is_required
            }
            command = entry.order(Wish(entry.name, params)).command
            path = command.environment["PATH"]
            assert shutil.which(command.argv[0], path=path), entry.name


def touched(path):
    """Set a file back in time; return the time that the kernel notes of that."""
    os.utime(path, ns=(10**18, 10**18))
    return path.stat().st_ctime_ns


@contextmanager
def no_more_descriptors():
    """Let this process open nothing, as when it has all that it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
