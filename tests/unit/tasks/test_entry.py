import os
import random
import shlex
import subprocess
import sys
import tomllib

import pytest

from app.errors import InvalidInput
from app.processes.child import Child
from app.processes.command import TOTAL_LIMIT_BYTES, Command
from app.processes.limits import Limits
from app.tasks.entry import Entry, words_of
from app.tasks.order import Order, Wish
from tests.commands import ENVIRONMENT, python_argv
from tests.servers import PROJECT
from tests.values import ARGUMENT_BYTES, is_refused, values

AROUND = {"PATH": "/usr/bin:/bin", "HOME": "/", "LANG": "C.UTF-8"}
TEXT = {"type": "string"}

A_DATE = {"receivers": "x", "template": "x", **tomllib.loads("params.at = 2026-11-20")}

# Says exactly which arguments and which of our variables it was given.
TELLS = """
import os, sys
parts = list(map(os.fsencode, sys.argv[1:]))
for name, value in sorted(os.environb.items()):
    if name.startswith(b"BELLHOP_PARAM_"):
        parts.append(name + b"=" + value)
sys.stdout.buffer.write(b"".join(part + b"\\0" for part in parts))
"""


_started = []
_hooked = []


def _note(event, arguments):
    """Note what this process has run: an audit hook is for ever."""
    if event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn"):
        _started.append(
            os.fspath(arguments[-4]) if len(arguments) > 3 else arguments[0]
        )
    elif event in ("os.system", "os.fork", "os.forkpty", "pty.spawn"):
        _started.append(event)


@pytest.fixture
def started():
    """Return what is started in the test, program by program."""
    if not _hooked:
        sys.addaudithook(_note)
        _hooked.append(_note)
    _started.clear()
    return _started


def entry(*argv, environment=AROUND, timeout_seconds=60, **document):
    return Entry(
        "backup",
        {"argv": list(argv) or ["/bin/true"], **document},
        environment=environment,
        timeout_seconds=timeout_seconds,
    )


def of_toml(text):
    document = tomllib.loads(text)
    return Entry("backup", document, environment=AROUND, timeout_seconds=60)


def order(found, *, cmd=None, **wish):
    return found.order(Wish(command=found.name, **wish), cmd=cmd)


def argv(found, **params):
    return order(found, params=params).command.argv


def faults_of(make, *args, **kwargs):
    with pytest.raises(InvalidInput) as refused:
        make(*args, **kwargs)
    return [(fault.path, fault.message) for fault in refused.value.faults]


def paths_of(make, *args, **kwargs):
    return [path for path, _ in faults_of(make, *args, **kwargs)]


BACKUP = """
description = "Dump one database"
argv = ["/usr/local/bin/backup", "--db", "{db}", "--level={level}"]
timeout_seconds = 30
max_running = 1
[params.db]
type = "string"
enum = ["main", "audit"]
[params.level]
type = "integer"
minimum = 0
maximum = 9
default = 1
"""


# An entry that sets, and grants, all that one can.
FULL = {
    "env": {"A": "entry", "B": "entry"},
    "env_allowed": ["A", "C"],
    "stdin": True,
    "cwd": "/srv",
    "timeout_seconds": 10,
    "limits": {"cpu_seconds": 1, "memory_bytes": 2, "processes": 3},
}


class TestOrder:
    def test_the_values_are_in_their_places_and_in_the_environment(self):
        found = order(of_toml(BACKUP), params={"db": "main", "level": 3})
        program = ("/usr/local/bin/backup", "--db", "main", "--level=3")
        variables = {"BELLHOP_PARAM_DB": "main", "BELLHOP_PARAM_LEVEL": "3"}
        assert found == Order(
            Command(program, AROUND | variables, 30),
            name="backup",
            params={"db": "main", "level": 3},
            max_running=1,
        )

    def test_what_is_secret_is_given_to_the_command_and_kept_nowhere(self):
        secrets = {
            "word": TEXT | {"writeOnly": True},
            "pin": TEXT | {"format": "password", "default": "0000"},
        }
        found = entry("/bin/x", "{word}", "{who}", params=secrets | {"who": TEXT})
        made = order(found, params={"word": "s3cret", "who": "ann"})
        assert made.command.argv == ("/bin/x", "s3cret", "ann")
        assert made.params == {"who": "ann"}

    def test_a_default_takes_the_place_of_a_value(self):
        found = order(of_toml(BACKUP), params={"db": "audit"}).command
        assert found.argv[-1] == "--level=1"
        assert found.environment["BELLHOP_PARAM_LEVEL"] == "1"

    def test_every_kind_of_value_is_written_as_it_stands_in_json(self):
        params = {name: {} for name in "abcdef"}
        found = entry("/bin/x", *(f"{{{name}}}" for name in params), params=params)
        assert argv(found, a=True, b=False, c=7, d=2.0, e=0.5, f="")[1:] == (
            *("true", "false", "7", "2", "0.5"),
            "",
        )

    @pytest.mark.parametrize(
        ("params", "faults"),
        [
            ({}, [("params.db", "is required")]),
            ({"db": "x"}, [("params.db", "'x' is not one of ['main', 'audit']")]),
            ({"db": None}, [("params.db", "None is not of type 'string'")]),
            (
                {"level": 10, "DB": "main", "x": 1},
                [
                    ("params.db", "is required"),
                    ("params.level", "10 is greater than the maximum of 9"),
                    ("params.DB", "is not known here"),
                    ("params.x", "is not known here"),
                ],
            ),
        ],
    )
    def test_every_faulty_parameter_is_named(self, params, faults):
        found = faults_of(order, of_toml(BACKUP), params=params)
        if params == {"db": None}:  # which fails its list too
            assert faults[0] in found
        else:
            assert found == faults

    def test_one_order_changes_nothing_of_the_next(self):
        found = entry("/bin/x", "{a}", params={"a": TEXT}, env_allowed=["F"])
        first = order(found, params={"a": "1"}, env={"F": "x"}).command
        second = order(found, params={"a": "2"}).command
        assert (first.argv[1], second.argv[1]) == ("1", "2")
        assert "F" not in second.environment
        assert first.environment["BELLHOP_PARAM_A"] == "1"

    def test_the_text_that_was_asked_for_is_kept(self):
        found = order(of_toml(BACKUP), cmd="backup main", params={"db": "main"})
        assert (found.cmd, found.name) == ("backup main", "backup")


class TestGranted:
    def test_what_the_entry_sets_is_around_the_command(self):
        command = order(entry(**FULL)).command
        assert command.environment == AROUND | {"A": "entry", "B": "entry"}
        assert (command.cwd, command.stdin, command.timeout_seconds) == (
            "/srv",
            None,
            10,
        )
        assert command.limits == Limits(cpu_seconds=1, memory_bytes=2, processes=3)

    def test_what_it_says_nothing_of_is_the_service_s(self):
        command = order(entry(timeout_seconds=60)).command
        assert command == Command(("/bin/true",), AROUND, 60)

    def test_an_entry_can_change_what_is_around_it(self):
        found = entry(env={"PATH": "/opt/bin", "LANG": ""})
        around = {"PATH": "/opt/bin", "HOME": "/", "LANG": ""}
        assert order(found).command.environment == around

    def test_a_caller_sets_what_is_allowed(self):
        wish = {"env": {"A": "caller", "C": "caller"}, "stdin": "ü\0\n"}
        command = order(entry(**FULL), **wish, timeout_seconds=0.5).command
        assert command.environment == AROUND | {
            "A": "caller",
            "B": "entry",
            "C": "caller",
        }
        assert command.stdin == "ü\0\n".encode()
        assert command.timeout_seconds == 0.5

    @pytest.mark.parametrize("seconds", [10, 10.0, 9.999])
    def test_the_time_may_be_up_to_the_entry_s(self, seconds):
        found = order(entry(**FULL), timeout_seconds=seconds)
        assert found.command.timeout_seconds == seconds

    def test_what_is_not_granted_is_refused_all_at_once(self):
        found = faults_of(
            order,
            entry(env={"B": "1"}, env_allowed=["A"], timeout_seconds=10),
            timeout_seconds=10.001,
            stdin="",
            cwd="/",
            env={"A": "1", "B": "2", "a": "3", "PATH": "4", "LD_PRELOAD": "5"},
        )
        assert found == [
            ("timeout_seconds", "is more than the 10 that it may run"),
            ("stdin", "is not taken by backup"),
            ("cwd", "is set by the catalogue alone"),
            *(
                (f"env.{name}", "may not be set for backup")
                for name in ("B", "a", "PATH", "LD_PRELOAD")
            ),
        ]

    def test_even_the_entry_s_own_folder_may_not_be_asked_for(self):
        assert paths_of(order, entry(cwd="/srv"), cwd="/srv") == ["cwd"]

    @pytest.mark.parametrize("name", ["BELLHOP_TASK_ID", "BELLHOP_PARAM_A", "BELLHOP_"])
    def test_what_is_ours_cannot_be_set_by_anybody(self, name):
        assert paths_of(entry, env_allowed=[name]) == ["env_allowed.0"]
        assert paths_of(entry, env={name: "x"}) == ["env"]
        assert paths_of(order, entry(), env={name: "x"}) == [f"env.{name}"]

    @pytest.mark.parametrize("value", ["\0", "\ud800", "x" * (ARGUMENT_BYTES - 1)])
    def test_a_value_of_the_environment_that_it_cannot_hold_is_refused(self, value):
        found = entry(env_allowed=["A"])
        assert paths_of(order, found, env={"A": value}) == ["env.A"]

    def test_the_longest_that_it_can_hold_is_taken(self):
        longest = "x" * (ARGUMENT_BYTES - len("A="))
        found = order(entry(env_allowed=["A"]), env={"A": longest})
        assert found.command.environment["A"] == longest

    def test_users_says_for_whom_it_is(self):
        found = entry(users=["ann", "bob"])
        assert [found.is_for(user) for user in ("ann", "bob", "Ann", "", None)] == [
            *(True, True),
            *(False, False, False),
        ]
        assert not any(entry(users=[]).is_for(user) for user in ("ann", None))
        assert all(entry().is_for(user) for user in ("ann", None))

    def test_who_is_told_stands_in_every_order(self):
        notify = {"on": ["lost"], "webhook": {"url": "https://x.test/"}}
        assert order(entry(notify=notify)).notify == ({**notify, "by": "catalogue"},)
        assert order(entry()).notify == ()


class TestSize:
    """Too long is the caller's fault, said before anything is started."""

    def test_literals_and_value_together_make_one_argument(self):
        found = entry("/bin/x", "--level=a-rather-long-option={db}", params={"db": {}})
        room = ARGUMENT_BYTES - len("--level=a-rather-long-option=")
        assert len(argv(found, db="x" * room)[1]) == ARGUMENT_BYTES
        faults = faults_of(argv, found, db="x" * (room + 1))
        message = f"is 131072 bytes long, the system takes {ARGUMENT_BYTES}"
        assert faults == [("params", f"make an argument that {message}")]

    def test_a_value_that_is_only_in_the_environment_is_measured_there(self):
        found = entry(params={"p": TEXT})
        longest = ARGUMENT_BYTES - len("BELLHOP_PARAM_P=")
        assert argv(found, p="x" * longest) == ("/bin/true",)
        assert paths_of(argv, found, p="x" * (longest + 1)) == ["params.p"]

    def test_bytes_count_and_not_characters(self):
        found = entry("/bin/x", "{p}", params={"p": TEXT})
        assert paths_of(argv, found, p="中" * 50_000) == ["params.p"]
        assert argv(found, p="中" * 40_000)

    def test_arguments_and_environment_together_have_a_limit(self):
        names = [f"p{number}" for number in range(40)]
        found = entry("/bin/x", *(f"{{{n}}}" for n in names), params=dict.fromkeys(
            names, TEXT
        ))  # fmt: skip
        [(path, message)] = faults_of(
            argv, found, **dict.fromkeys(names, "x" * 100_000)
        )
        assert path == "params"
        assert message.endswith(f"in all, the system takes {TOTAL_LIMIT_BYTES}")

    def test_a_value_in_many_places_counts_in_each(self):
        found = entry("/bin/x", *["{p}"] * 100, params={"p": TEXT})
        assert paths_of(argv, found, p="x" * 100_000) == ["params"]

    def test_very_many_empty_arguments_have_a_limit_too(self):
        count = TOTAL_LIMIT_BYTES // 9  # of a NUL and a pointer each
        found = entry("/bin/x", *["{p}"] * count, params={"p": TEXT})
        assert paths_of(argv, found, p="") == ["params"]

    def test_an_environment_that_is_no_text_can_be_measured(self):
        around = AROUND | {"HOME": os.fsdecode(b"/home/caf\xe9")}
        assert order(entry(environment=around)).command.environment == around


class TestWords:
    @pytest.mark.parametrize(
        ("cmd", "words"),
        [
            ("", []),
            (" \t\n ", []),
            ("backup", ["backup"]),
            ("backup main 3", ["backup", "main", "3"]),
            ("  backup\tmain\n3 ", ["backup", "main", "3"]),
            ("a ''", ["a", ""]),
            ('a ""', ["a", ""]),
            ("a'b c'd", ["ab cd"]),
            ("'a\"b'\"c'd\"", ["a\"bc'd"]),
            (r"a\ b", ["a b"]),
            (r"'a\ b'", [r"a\ b"]),
            (r'"a\ b"', [r"a\ b"]),
            (r'"\$HOME \`id\` \" \\ \n"', [r"$HOME `id` " + r"\" \ \n"[1:]]),
            ("a\\\nb \\\n c", ["ab", "c"]),
            ('"a\\\nb"', ["ab"]),
            ("'a\\\nb'", ["a\\\nb"]),
            ("'a\nb'", ["a\nb"]),
            # Nothing is expanded, redirected, chained or left out.
            ("$HOME $(id) `id` *", ["$HOME", "$(id)", "`id`", "*"]),
            ("a;b && c | d >e # f", ["a;b", "&&", "c", "|", "d", ">e", "#", "f"]),
            ("ü\xa0中 \u2003", ["ü\xa0中", "\u2003"]),
        ],
    )
    def test_a_cmd_is_split_as_a_shell_would(self, cmd, words):
        assert words_of(cmd) == words

    @pytest.mark.parametrize("cmd", ["'", '"', "a 'b", 'a "b', '"\\"', "'\\''", "a\\"])
    def test_what_is_not_closed_is_refused(self, cmd):
        assert paths_of(words_of, cmd) == ["cmd"]

    def test_words_are_those_that_a_shell_gives_its_program(self):
        source = random.Random(5)
        script, expected = [], []
        while len(expected) < 500:
            cmd = "".join(source.choices("ab é'\"\\\t ", k=source.randint(1, 16)))
            try:
                words = words_of(cmd)
            except InvalidInput:
                continue
            script.append(f"printf '%s\\0' x {cmd}\nprintf '\\1'\n")
            expected.append("".join(f"{word}\0" for word in ["x", *words]))
        run = subprocess.run(
            ["/bin/sh", "-s"], input="".join(script).encode(), stdout=-1
        )
        assert run.stdout.decode().split("\1")[:-1] == expected

    def test_words_that_were_quoted_come_back(self):
        for value in values(2000, seed=1, long_every=500):
            words = ["backup", value, f"db={value}", ""]
            assert words_of(shlex.join(words)) == words

    def test_a_megabyte_is_split_in_no_time(self):
        for cmd in ("x" * 10**6, "''" * 500_000, '"' + "\\$" * 500_000 + '"'):
            assert len(words_of(cmd)) == 1


class TestParamsOf:
    def params(self, *words, **params):
        return entry(params=params).params_of(words)

    def test_words_are_the_parameters_in_their_declared_order(self):
        params = self.params("x", "2", "true", z=TEXT, a={"type": "integer"}, m={})
        assert params == {"z": "x", "a": 2, "m": "true"}

    def test_words_can_name_them(self):
        assert self.params("b=2", "a=1", a={}, b={}) == {"b": "2", "a": "1"}
        assert self.params("1", "b=2", a={}, b={}) == {"a": "1", "b": "2"}

    def test_a_value_may_hold_the_sign_itself(self):
        assert self.params("a=b=c=", a={}) == {"a": "b=c="}
        assert self.params("a=", a={}) == {"a": ""}

    def test_what_names_no_parameter_is_a_value(self):
        assert self.params("x=1", a={}) == {"a": "x=1"}
        assert self.params("=1", a={}) == {"a": "=1"}
        assert self.params("A=1", a={}) == {"a": "A=1"}

    def test_more_words_than_parameters_are_refused(self):
        faults = faults_of(self.params, "1", "2", "3", a={})
        assert faults == [
            ("cmd", "has more than backup takes: 2"),
            ("cmd", "has more than backup takes: 3"),
        ]
        assert paths_of(self.params, "") == ["cmd"]

    def test_a_fault_shows_no_more_than_the_beginning_of_a_word(self):
        [(_, message)] = faults_of(self.params, "x" * 10**6)
        assert len(message) < 200

    def test_one_that_is_given_twice_is_refused(self):
        assert paths_of(self.params, "a=1", "a=2", a={}) == ["params.a"]
        assert paths_of(self.params, "1", "a=2", a={}, b={}) == ["params.a"]


class TestSchema:
    def test_it_is_that_of_the_params_as_a_whole(self):
        assert of_toml(BACKUP).params_schema == {
            "type": "object",
            "properties": {
                "db": {"type": "string", "enum": ["main", "audit"]},
                "level": {"type": "integer", "minimum": 0, "maximum": 9, "default": 1},
            },
            "required": ["db"],
            "additionalProperties": False,
        }

    def test_of_a_command_without_parameters_it_takes_none(self):
        assert entry().params_schema["properties"] == {}


FAULTY = {
    "no argv": ({}, "argv"),
    "an empty argv": ({"argv": []}, "argv"),
    "an argv that is a text": ({"argv": "df -h"}, "argv"),
    "a number in argv": ({"argv": ["df", 1]}, "argv.1"),
    "an empty program": ({"argv": [""]}, "argv.0"),
    "a program that a caller chooses": (
        {"argv": ["{p}"], "params": {"p": {}}},
        "argv.0",
    ),
    "a folder that a caller chooses": (
        {"argv": ["/bin/{p}"], "params": {"p": {}}},
        "argv.0",
    ),
    "a lone brace": ({"argv": ["x", "a", "{"]}, "argv.2"),
    "a place without a parameter": ({"argv": ["x", "{p}"]}, "argv.1"),
    "a NUL in argv": ({"argv": ["x", "a\0"]}, "argv.1"),
    "an argument that is too long": ({"argv": ["x", "y" * 2**17]}, "argv.1"),
    "an unknown member": ({"argv": ["x"], "shell": True}, "shell"),
    "an unknown limit": ({"argv": ["x"], "limits": {"cpu": 1}}, "limits.cpu"),
    "a limit of nothing": (
        {"argv": ["x"], "limits": {"cpu_seconds": 0}},
        "limits.cpu_seconds",
    ),
    "a limit of half": (
        {"argv": ["x"], "limits": {"processes": 1.5}},
        "limits.processes",
    ),
    "no time": ({"argv": ["x"], "timeout_seconds": 0}, "timeout_seconds"),
    "a time before": ({"argv": ["x"], "timeout_seconds": -1}, "timeout_seconds"),
    "a time that is none": (
        {"argv": ["x"], "timeout_seconds": float("nan")},
        "timeout_seconds",
    ),
    "endless time": (
        {"argv": ["x"], "timeout_seconds": float("inf")},
        "timeout_seconds",
    ),
    "time as a text": ({"argv": ["x"], "timeout_seconds": "5"}, "timeout_seconds"),
    "none at a time": ({"argv": ["x"], "max_running": 0}, "max_running"),
    "true at a time": ({"argv": ["x"], "max_running": True}, "max_running"),
    "no folder": ({"argv": ["x"], "cwd": ""}, "cwd"),
    "a folder that none can be": ({"argv": ["x"], "cwd": "/\0"}, "cwd"),
    "a variable of ours": ({"argv": ["x"], "env": {"BELLHOP_X": ""}}, "env"),
    "a variable with a sign": ({"argv": ["x"], "env": {"A=B": ""}}, "env"),
    "a variable with a newline": ({"argv": ["x"], "env": {"A\n": ""}}, "env"),
    "a variable without a name": ({"argv": ["x"], "env": {"": ""}}, "env"),
    "a number in env": ({"argv": ["x"], "env": {"A": 1}}, "env.A"),
    "a NUL in env": ({"argv": ["x"], "env": {"A": "\0"}}, "env.A"),
    "a value of env that is too long": (
        {"argv": ["x"], "env": {"A": "y" * 2**17}},
        "env.A",
    ),
    "a variable of ours for callers": (
        {"argv": ["x"], "env_allowed": ["A", "BELLHOP_X"]},
        "env_allowed.1",
    ),
    "all variables for callers": (
        {"argv": ["x"], "env_allowed": ["*"]},
        "env_allowed.0",
    ),
    "a stdin that is a text": ({"argv": ["x"], "stdin": "hello"}, "stdin"),
    "a user that is none": ({"argv": ["x"], "users": [""]}, "users.0"),
    "users that are a text": ({"argv": ["x"], "users": "ann"}, "users"),
    "a notice for nobody": ({"argv": ["x"], "notify": {"on": ["lost"]}}, "notify"),
    "a notice of no end": (
        {"argv": ["x"], "notify": {"on": ["end"], "webhook": {"url": "x"}}},
        "notify.on.0",
    ),
    "a date in a notice": (
        {"argv": ["x"], "notify": {"on": ["lost"], "sms": A_DATE}},
        "notify.sms.params.at",
    ),
    "a secret that is none": (
        {
            "argv": ["x"],
            "notify": {"on": ["lost"], "webhook": {"url": "x", "secret": "whsec_"}},
        },
        "notify.webhook.secret",
    ),
    "a parameter in capitals": ({"argv": ["x"], "params": {"Db": {}}}, "params"),
    "a parameter with a hyphen": ({"argv": ["x"], "params": {"a-b": {}}}, "params"),
    "a parameter with a digit first": ({"argv": ["x"], "params": {"1a": {}}}, "params"),
    "a parameter with a newline": ({"argv": ["x"], "params": {"a\n": {}}}, "params"),
    "a parameter that is a text": (
        {"argv": ["x"], "params": {"a": "string"}},
        "params.a",
    ),
    "params that are a list": ({"argv": ["x"], "params": ["a"]}, "params"),
}
FAULTY_SCHEMAS = {
    "an unknown type": ({"type": "text"}, "params.p.type"),
    "a bound that is a text": ({"minimum": "3"}, "params.p.minimum"),
    "a list that is a text": ({"enum": "main"}, "params.p.enum"),
    "required as if it were a member": ({"required": True}, "params.p.required"),
    "a faulty pattern": ({"pattern": "("}, "params.p.pattern"),
    "a pattern that is too large": ({"pattern": "a{9999999999}"}, "params.p.pattern"),
    "a pattern that is too deep": (
        {"pattern": "(" * 9000 + ")" * 9000},
        "params.p.pattern",
    ),
    "a faulty pattern within": ({"not": {"pattern": "*"}}, "params.p.not.pattern"),
    "a NaN": ({"maximum": float("nan")}, "params.p"),
    "an infinity": ({"maximum": float("inf")}, "params.p"),
    "a date": (tomllib.loads("enum = [2026-11-20]"), "params.p"),
    "a reference": ({"$ref": "#/x"}, "params.p.$ref"),
    "a reference to elsewhere": (
        {"$ref": "http://127.0.0.1:9/schema.json"},
        "params.p.$ref",
    ),
    "a dynamic reference": ({"$dynamicRef": "#x"}, "params.p.$dynamicRef"),
    "a reference within": (
        {"anyOf": [{}, {"$ref": "file:///etc/passwd"}]},
        "params.p.anyOf.1.$ref",
    ),
    "a default that the schema refuses": (
        {"type": "integer", "maximum": 9, "default": 10},
        "params.p.default",
    ),
    "a default of another type": (
        {"type": "integer", "default": "1"},
        "params.p.default",
    ),
    "a default like an option": (
        {"type": "string", "default": "-x"},
        "params.p.default",
    ),
    "a default that is a list": ({"default": ["a"]}, "params.p.default"),
    "a default with a NUL": ({"default": "\0"}, "params.p.default"),
}


class TestFaultyDocument:
    @pytest.mark.parametrize(("document", "path"), FAULTY.values(), ids=FAULTY)
    def test_it_is_refused_with_the_path_of_the_fault(self, document, path):
        found = paths_of(Entry, "x", document, environment=AROUND, timeout_seconds=1)
        assert found == [path]

    @pytest.mark.parametrize(
        ("schema", "path"), FAULTY_SCHEMAS.values(), ids=FAULTY_SCHEMAS
    )
    def test_a_parameter_s_faulty_schema_likewise(self, schema, path):
        found = paths_of(entry, "/bin/x", "{p}", params={"ok": {}, "p": schema})
        assert path in found
        assert all(other.startswith("params.p") for other in found)

    def test_every_fault_is_named_at_once(self):
        found = paths_of(
            entry, "{a}", "{b}", params={"a": {"default": "-"}, "c": {"type": "x"}}
        )
        assert found[0] == "params.a.default"
        assert found[1].startswith("params.c")

    @pytest.mark.parametrize("document", [None, [], "df", 1])
    def test_what_is_no_table_is_refused(self, document):
        faults = faults_of(Entry, "x", document, environment={}, timeout_seconds=1)
        assert [path for path, _ in faults] == [""]


class TestTenThousandValues:
    """Each arrives as it is, as one argument, or is refused."""

    def test_each_is_in_its_argument_to_the_letter_or_is_refused(self):
        found = entry(
            "/bin/x",
            "{value}",
            "--value={value}",
            "{{{value}}}",
            "{other}",
            params={"value": TEXT, "other": TEXT},
        )
        variable = "BELLHOP_PARAM_VALUE"
        refused = 0
        for value in values(10_000, seed=20):
            params = {"value": value, "other": "{value}"}
            if is_refused(value, variable=variable):
                assert "params.value" in paths_of(order, found, params=params)
                refused += 1
                continue
            command = order(found, params=params).command
            assert command.argv == (
                "/bin/x",
                value,
                f"--value={value}",
                f"{{{value}}}",
                "{value}",
            )
            assert command.environment == AROUND | {
                variable: value,
                "BELLHOP_PARAM_OTHER": "{value}",
            }
        assert 1000 < refused < 9000, "there is enough of either kind"

    def test_some_hundreds_reach_a_real_program_and_nothing_else_is_run(self, started):
        taken = [
            value
            for value in values(700, seed=21, long_every=60)
            if not is_refused(value, variable="BELLHOP_PARAM_P00")
        ]
        assert len(taken) > 300
        assert any(len(value) >= 100_000 for value in taken)
        argv = python_argv(TELLS)
        count = 0
        for batch in batches(taken, most_bytes=700_000):
            names = [f"p{number:02}" for number in range(len(batch))]
            found = entry(
                *argv,
                *(f"{{{name}}}" for name in names),
                *(f"--{name}={{{name}}}" for name in names),
                environment=ENVIRONMENT,
                params=dict.fromkeys(names, TEXT),
            )
            params = dict(zip(names, batch, strict=True))
            told = output_of(order(found, params=params).command)
            expected = [
                *batch,
                *(f"--{name}={value}" for name, value in params.items()),
                *(f"BELLHOP_PARAM_{n.upper()}={v}" for n, v in params.items()),
            ]
            assert told.decode().split("\0")[:-1] == expected
            count += 1
        assert started == [sys.executable] * count

    def test_the_most_that_is_let_through_really_runs(self):
        # Many of 100 KB, and one that fills what is left to the byte.
        names = [f"p{number:02}" for number in range(60)]
        found = entry(
            *python_argv("import sys; print(sum(map(len, sys.argv[1:])))"),
            *(f"{{{name}}}" for name in names),
            environment=ENVIRONMENT,
            params={name: {"default": ""} for name in names},
        )
        params = {}
        for name in names:
            low, high = 0, 100_000
            while low < high:
                middle = (low + high + 1) // 2
                if is_taken(found, params | {name: "x" * middle}):
                    low = middle
                else:
                    high = middle - 1
            if not low:
                break
            params[name] = "x" * low
        size = sum(map(len, params.values()))
        assert 2 * size > TOTAL_LIMIT_BYTES * 0.9
        last = list(params)[-1]
        assert not is_taken(found, params | {last: params[last] + "x"})
        assert output_of(order(found, params=params).command) == b"%d\n" % size


# What the stack may hold is the kernel's measure; in a process of its own.
OF_A_STACK = """
import resource, sys
hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
most = resource.RLIM_INFINITY
soft = int(sys.argv[1]) or hard
if hard != most:
    soft = min(soft, hard)
resource.setrlimit(resource.RLIMIT_STACK, (soft, hard))

from app.errors import InvalidInput
from app.processes.child import Child
from app.tasks.entry import Entry
from app.tasks.order import Wish

entry = Entry(
    "x",
    {"argv": ["/bin/true", *["{p}"] * 60], "params": {"p": {}}},
    environment={},
    timeout_seconds=20,
)

def order(size):
    return entry.order(Wish(params={"p": "x" * size}))

low, high = 0, 131_000
while low < high:
    middle = (low + high + 1) // 2
    try:
        order(middle)
        low = middle
    except InvalidInput:
        high = middle - 1
child = Child(order(low).command, mark="A=B", grace_seconds=1)
child.start(bytearray().extend)
assert child.run().returncode == 0
print(low)
"""


class TestStack:
    @pytest.mark.parametrize(
        ("stack", "least"),
        [(2**20, 4_000), (8 * 2**20, 30_000), (64 * 2**20, 30_000), (0, 30_000)],
        ids=["small", "usual", "large", "without-limit"],
    )
    def test_what_is_let_through_runs_whatever_the_stack_may_hold(self, stack, least):
        run = subprocess.run(
            [sys.executable, "-c", OF_A_STACK, str(stack)],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert run.returncode == 0, run.stdout
        assert int(run.stdout) >= least


def is_taken(found, params):
    try:
        order(found, params=params)
    except InvalidInput:
        return False
    return True


def batches(taken, *, most_bytes):
    batch, size = [], 0
    for value in taken:
        length = len(value.encode())
        if batch and (size + length > most_bytes or len(batch) == 40):
            yield batch
            batch, size = [], 0
        batch.append(value)
        size += length
    yield batch


def output_of(command):
    output = bytearray()
    child = Child(command, mark="A=B", grace_seconds=1)
    child.start(output.extend)
    ending = child.run()
    assert (ending.reason, ending.returncode) == ("exit", 0)
    return bytes(output)
