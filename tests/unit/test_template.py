import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.template import Template
from tests.values import PIECES

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
LITERALS = st.text(st.characters() | st.sampled_from("{}$%'\"\\"), max_size=20)
VALUES = st.text(max_size=30) | st.sampled_from(PIECES)
# What a template is made of: texts, and names of values.
PARTS = st.lists(
    st.tuples(st.just("text"), LITERALS) | st.tuples(st.just("name"), NAMES),
    max_size=8,
)


def written(parts):
    return "".join(
        "{" + part + "}"
        if kind == "name"
        else part.replace("{", "{{").replace("}", "}}")
        for kind, part in parts
    )


class TestFill:
    @pytest.mark.parametrize(
        ("text", "argument"),
        [
            ("", ""),
            ("plain", "plain"),
            ("{a}", "1"),
            ("--level={a}", "--level=1"),
            ("{a}{b}{a}", "121"),
            ("{a}.{b}", "1.2"),
            ("{_C1}", "3"),
            ("{{a}}", "{a}"),
            ("{{{a}}}", "{1}"),
            ("{{{{a}}}}", "{{a}}"),
            ("{{}}", "{}"),
            ("}}{{", "}{"),
            ("$a ${{a}} %(a)s %s", "$a ${a} %(a)s %s"),
        ],
    )
    def test_values_are_put_in_their_places(self, text, argument):
        assert Template(text).fill({"a": "1", "b": "2", "_C1": "3"}) == argument

    @pytest.mark.parametrize("value", [p for p in PIECES if p])
    def test_a_value_is_not_looked_at_again(self, value):
        filled = Template("<{a}|{b}>").fill({"a": value, "b": "{a}"})
        assert filled == f"<{value}|{{a}}>"

    def test_values_that_it_has_no_place_for_are_passed_over(self):
        assert Template("{a}").fill({"a": "1", "c": "3"}) == "1"

    def test_a_value_that_is_missing_is_an_error(self):
        with pytest.raises(KeyError):
            Template("{a}").fill({})

    def test_it_is_filled_anew_each_time(self):
        template = Template("{a}-{a}")
        assert [template.fill({"a": v}) for v in ("1", "2")] == ["1-1", "2-2"]

    @settings(deadline=None)
    @given(parts=PARTS, data=st.data())
    def test_it_is_its_text_with_the_values_and_nothing_else(self, parts, data):
        names = {part for kind, part in parts if kind == "name"}
        values = {name: data.draw(VALUES, label=name) for name in sorted(names)}
        template = Template(written(parts))
        assert template.names == names
        assert template.fill(values) == "".join(
            values[part] if kind == "name" else part for kind, part in parts
        )


class TestFaults:
    @pytest.mark.parametrize(
        ("text", "brace"),
        [
            ("{", "{"),
            ("}", "}"),
            ("{a", "{"),
            ("a}", "}"),
            ("{a}}", "}"),
            ("{{a}", "}"),
            ("{}", "{"),
            ("{ a}", "{"),
            ("{a }", "{"),
            ("{1}", "{"),
            ("{é}", "{"),
            ("{a.b}", "{"),
            ("{a!r}", "{"),
            ("{a:>9}", "{"),
            ("{a[0]}", "{"),
            ("{a\n}", "{"),
            ("{a{b}}", "{"),
        ],
    )
    def test_a_brace_that_is_neither_is_refused(self, text, brace):
        with pytest.raises(ValueError, match=re.escape(f"has a lone {brace};")):
            Template(text)

    @settings(deadline=None)
    @given(text=st.text(st.sampled_from("{}ab_1 "), max_size=12))
    def test_a_text_is_refused_or_comes_back_as_it_was(self, text):
        try:
            template = Template(text)
        except ValueError:
            return
        # With its own places as values, only the doubled braces are gone.
        filled = template.fill({name: f"\0{name}\0" for name in template.names})
        again = filled.replace("{", "{{").replace("}", "}}")
        assert re.sub("\0(.*?)\0", r"{\1}", again) == text
