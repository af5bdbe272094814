import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import Fault
from app.tasks.parameter import Parameter, written
from tests.values import ARGUMENT_BYTES, PIECES

HYPHEN = "begins with a hyphen, which a program may take for an option"


def faults(value, **document):
    return [f.message for f in Parameter("db", document).faults(value)]


class TestFaults:
    @pytest.mark.parametrize(
        ("document", "good", "bad"),
        [
            ({"type": "string"}, ["", "a", "ü", "1", " -a"], [1, 1.5, True, None]),
            ({"type": "integer"}, [0, -5, 3.0, 10**30], ["1", 1.5, True, None]),
            ({"type": "number"}, [0, -1.5, 1e300], ["1", False, float("nan")]),
            ({"type": "boolean"}, [True, False], ["true", 0, 1, None]),
            ({"enum": ["main", "audit"]}, ["main"], ["Main", "main\n", "", 1]),
            ({"minimum": 0, "maximum": 9, "type": "integer"}, [0, 9], [-1, 10]),
            ({"type": "string", "maxLength": 2}, ["üü"], ["abc"]),
            ({"type": ["string", "integer"]}, ["a", 1], [1.5, None]),
            ({"multipleOf": 0.5, "type": "number"}, [1, 1.5], [0.7, 10**400]),
        ],
    )
    def test_a_value_has_to_meet_the_schema(self, document, good, bad):
        for value in good:
            assert not faults(value, **document), value
        for value in bad:
            assert faults(value, **document), value

    def test_each_is_named_with_the_parameter_s_path(self):
        document = {"type": "string", "minLength": 5, "pattern": "[a-z]+"}
        found = Parameter("db", document).faults("A")
        assert {fault.path for fault in found} == {"db"}
        assert len(found) == 2

    @pytest.mark.parametrize("value", [None, [], ["a"], {}, {"a": "b"}])
    def test_only_a_single_value_can_be_an_argument(self, value):
        assert faults(value) == ["is not a single value"]

    @pytest.mark.parametrize("value", ["a\0b", "\0"])
    def test_a_nul_is_refused(self, value):
        found = ["has a NUL character, which no argument can hold"]
        assert faults(value) == found
        assert faults(value, type="string", pattern=r"[\s\S]*") == found

    @pytest.mark.parametrize("value", ["\ud800", "a\udc80", "\udfff\ud800"])
    def test_a_lone_surrogate_is_refused(self, value):
        assert faults(value) == ["has a lone surrogate, which is no character"]
        assert faults(value, type="string")
        assert faults(value, enum=[value])

    def test_a_value_may_be_as_long_as_its_variable_can_be(self):
        longest = ARGUMENT_BYTES - len("BELLHOP_PARAM_DB=")
        assert not faults("x" * longest)
        assert not faults("é" * (longest // 2))
        for value in ("x" * (longest + 1), "é" * (longest // 2 + 1)):
            [fault] = faults(value)
            assert fault.endswith(f"bytes long, the system takes {longest}")


class TestHyphen:
    @pytest.mark.parametrize("value", ["-", "--", "-x", "--db=x", "-\n", "-1"])
    @pytest.mark.parametrize(
        "document",
        [
            {},
            {"type": "string"},
            {"type": ["string", "integer"]},
            {"type": "string", "maxLength": 9},
            # What allows it must be said of the value as a whole.
            {"allOf": [{"pattern": r"[\s\S]*"}]},
            {"not": {"enum": ["x"]}},
        ],
    )
    def test_a_text_that_begins_with_one_is_refused(self, document, value):
        assert faults(value, **document) == [HYPHEN]

    def test_a_pattern_says_what_may_begin_with_one(self):
        document = {"type": "string", "pattern": "-[a-z]"}
        assert not faults("-x", **document)
        assert faults("--", **document) == ["'--' does not match '-[a-z]'"]

    def test_a_list_says_what_may_begin_with_one(self):
        assert not faults("-x", enum=["-x", "-y"])
        assert faults("-z", enum=["-x", "-y"])

    @pytest.mark.parametrize("value", ["a-", " -x", "\n-x", "\u2010x", "+x", "@x"])
    def test_others_are_none(self, value):
        assert not faults(value, type="string")

    def test_a_number_is_no_text(self):
        assert not faults(-5, type="integer")
        assert not faults(-0.5, type="number")


class TestPattern:
    @pytest.mark.parametrize("value", ["main\n", "\nmain", "xmain", "mainx", "main\0"])
    @pytest.mark.parametrize("pattern", ["main", "^main$", "main|x"])
    def test_it_matches_the_whole_value(self, pattern, value):
        assert faults(value, type="string", pattern=pattern)


class TestWritten:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (True, "true"),
            (False, "false"),
            (0, "0"),
            (-5, "-5"),
            (3.0, "3"),
            (-0.0, "0"),
            (1.5, "1.5"),
            (1e22, "10000000000000000000000"),
            (1e-7, "1e-07"),
            (10**300, str(10**300)),
            ("true", "true"),
            ("1.50", "1.50"),
            ("", ""),
        ],
    )
    def test_a_value_is_written_as_in_json(self, value, text):
        assert written(value) == text

    @settings(deadline=None)
    @given(st.text() | st.sampled_from(PIECES))
    def test_a_text_is_written_as_it_is(self, text):
        assert written(text) == text

    @settings(deadline=None)
    @given(st.floats(allow_nan=False, allow_infinity=False) | st.integers())
    def test_a_number_is_the_same_number_when_it_is_read(self, number):
        assert json.loads(written(number)) == number


class TestFromText:
    @pytest.mark.parametrize(
        ("document", "text", "value"),
        [
            ({}, "5", "5"),
            ({"type": "string"}, "5", "5"),
            ({"type": "string"}, "true", "true"),
            ({"type": "integer"}, "5", 5),
            ({"type": "integer"}, "-5", -5),
            ({"type": "integer"}, "5.0", 5.0),
            ({"type": "integer", "minimum": 0}, "-5", -5),
            ({"type": "number"}, "1.50", 1.5),
            ({"type": "number"}, "5", 5),
            ({"type": "number"}, "-1e3", -1000.0),
            ({"type": "boolean"}, "true", True),
            ({"type": "boolean"}, "false", False),
            ({"enum": [1, 2, "x"]}, "2", 2),
            ({"enum": [1, 2, "x"]}, "x", "x"),
            ({"enum": [True]}, "true", True),
            # Where a text is taken, it is the text as it was written.
            ({"type": ["number", "string"]}, "1.50", "1.50"),
            ({"type": ["string", "boolean"]}, "true", "true"),
            ({"type": ["number", "string"]}, "-1.50", -1.5),
        ],
    )
    def test_a_word_becomes_what_the_parameter_takes(self, document, text, value):
        found = Parameter("p", document).from_text(text)
        assert (found, type(found)) == (value, type(value))

    @pytest.mark.parametrize("type_", ["integer", "number", "boolean"])
    @pytest.mark.parametrize(
        "text",
        [
            "",
            " 5",
            "5 ",
            "5\n",
            "+5",
            "05",
            "0x5",
            "5_0",
            "\u0665",
            "1.",
            ".5",
            "1e999",
            "nan",
            "NaN",
            "Infinity",
            "-inf",
            "True",
            "yes",
            "null",
            "9" * 5000,
        ],
    )
    def test_a_word_that_is_none_stays_a_text_and_is_refused(self, type_, text):
        parameter = Parameter("p", {"type": type_})
        assert parameter.from_text(text) == text
        assert parameter.faults(text)

    def test_what_is_wrong_is_said_of_what_it_stands_for(self):
        parameter = Parameter("p", {"type": "integer", "maximum": 9})
        [fault] = parameter.faults(parameter.from_text("10"))
        assert fault == Fault("p", "10 is greater than the maximum of 9")
        parameter = Parameter("p", {"type": "string"})
        assert parameter.faults(parameter.from_text("-5")) == [Fault("p", HYPHEN)]

    def test_every_number_that_json_writes_is_understood(self):
        source = random.Random(3)
        parameter = Parameter("p", {"type": "number"})
        for _ in range(500):
            number = source.choice(
                [source.randint(-(10**18), 10**18), source.uniform(-1e9, 1e9)]
            )
            assert parameter.from_text(json.dumps(number)) == number


class TestDocument:
    def test_without_a_default_it_is_required(self):
        assert Parameter("p", {"type": "string"}).is_required
        parameter = Parameter("p", {"type": "string", "default": ""})
        assert (parameter.is_required, parameter.default) == (False, "")

    def test_a_default_that_is_false_is_one(self):
        assert not Parameter("p", {"type": "boolean", "default": False}).is_required

    def test_its_variable_is_its_name_in_capitals(self):
        assert Parameter("db_2", {}).variable == "BELLHOP_PARAM_DB_2"
