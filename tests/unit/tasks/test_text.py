import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tasks.text import character_bytes, continuation_bytes, torn_bytes

# What happens at random hardly ever: bytes that look like UTF-8 for a while.
utf8_like = st.lists(
    st.sampled_from(
        [b"a", b"\x80", b"\xbf", b"\xc2", b"\xe4", b"\xed", b"\xf0", b"\xff"]
    )
    | st.characters(exclude_categories=["Cs"]).map(str.encode),
    max_size=8,
).map(b"".join)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"a", 1),
        ("é".encode(), 2),
        ("中a".encode(), 3),
        ("😀😀".encode(), 4),
        (b"\xe4", 1),
        (b"\xe4\xb8", 2),
        (b"\xe4a", 1),
        (b"\xf0\x9f\x98a", 3),
        (b"\xffabc", 1),
        (b"\x80\x80", 1),
        (b"\xc0\x80", 1),
        (b"\xed\xa0\x80", 1),
    ],
)
def test_a_first_character_has_its_bytes_and_what_is_none_those_of_one_replacement(
    data, expected
):
    assert character_bytes(data) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"abc", 0),
        ("中".encode(), 0),
        ("中".encode()[1:], 2),
        ("😀a".encode()[1:], 3),
        (b"\x80" * 7, 3),
    ],
)
def test_the_rest_of_a_character_is_three_bytes_at_most(data, expected):
    assert continuation_bytes(data) == expected


@pytest.mark.parametrize("character", ["é", "中", "😀", "\ufffd", "\U0010ffff"])
def test_every_front_of_a_character_is_torn_and_the_whole_is_not(character):
    encoded = character.encode()
    for before in (b"", b"a", encoded, b"\xff"):
        assert torn_bytes(before + encoded) == 0
        for width in range(1, len(encoded)):
            assert torn_bytes(before + encoded[:width]) == width


@pytest.mark.parametrize(
    "data", [b"\xff", b"\xc0", b"\xc1", b"\xf5", b"\xe0\x80", b"a\x80\x80"]
)
def test_what_begins_no_character_is_not_waited_for(data):
    assert torn_bytes(data) == 0


@given(utf8_like)
def test_what_is_torn_is_what_a_decoder_would_wait_for(data):
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(data)
    assert torn_bytes(data) == len(decoder.getstate()[0])


@given(utf8_like)
def test_cut_into_first_characters_a_text_reads_as_it_does_whole(data):
    text, left = "", data
    while left:
        count = character_bytes(left)
        one = left[:count].decode(errors="replace")
        assert len(one) == 1
        text, left = text + one, left[count:]
    assert text == data.decode(errors="replace")
