import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sms.segments import count, encoding_of, split

EXTENSION = "\f^{}\\[~]|€"
TEXTS = st.text(max_size=400) | st.text(
    st.sampled_from(f"aÅ @\n{EXTENSION}") | st.sampled_from("a中😀\u200d"), max_size=400
)


def taken(text, encoding):
    """Return what a text takes of a segment, counted another way than it is split."""
    if encoding == "GSM-7":
        return len(text) + sum(map(text.count, EXTENSION))
    return len(text.encode("utf-16-le")) // 2


def test_the_alphabet_has_all_characters_of_gsm_and_no_others():
    every = (chr(n) for n in range(sys.maxunicode + 1))
    found = [c for c in every if encoding_of(c) == "GSM-7"]
    assert len(found) == 127 + len(EXTENSION)
    assert set(EXTENSION) < set(found)


@pytest.mark.parametrize("character", "\x1b\t`çμ…’“中😀\u00a0\ud800")  # noqa: RUF001
def test_one_other_character_makes_it_ucs_2(character):
    assert encoding_of("a") == "GSM-7"
    assert encoding_of(f"a{character}b") == "UCS-2"


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("", [0]),
        ("a" * 160, [160]),
        ("a" * 161, [153, 8]),
        ("a" * 306, [153, 153]),
        ("a" * 307, [153, 153, 1]),
        ("€" * 80, [80]),
        ("€" * 81, [76, 5]),
        ("a" * 152 + "[" + "a" * 8, [152, 9]),
        ("a" * 151 + "[" + "a" * 8, [152, 8]),
        ("中" * 70, [70]),
        ("中" * 71, [67, 4]),
        ("中" * 135, [67, 67, 1]),
        ("😀" * 35, [35]),
        ("😀" * 36, [33, 3]),
        ("中" * 66 + "😀中中中", [66, 4]),
        ("a" * 69 + "中", [70]),
        ("[" * 35 + "中" * 36, [67, 4]),  # the extension takes one unit
    ],
)
def test_a_long_text_is_cut_between_characters(text, sizes):
    parts = split(text)
    assert [len(part) for part in parts] == sizes
    assert "".join(parts) == text
    assert count(text) == len(sizes)


@given(text=TEXTS)
def test_parts_are_the_text_and_none_is_too_long_or_could_take_more(text):
    encoding, parts = encoding_of(text), split(text)
    whole, limit = (160, 153) if encoding == "GSM-7" else (70, 67)
    assert "".join(parts) == text
    assert count(text) == len(parts)
    if len(parts) == 1:
        assert taken(text, encoding) <= whole
        return
    assert taken(text, encoding) > whole
    assert all(0 < taken(part, encoding) <= limit for part in parts)
    for part, following in pairwise(parts):
        assert taken(part + following[0], encoding) > limit
