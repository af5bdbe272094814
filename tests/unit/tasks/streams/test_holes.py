from hypothesis import given
from hypothesis import strategies as st

from app.tasks.streams.holes import missing_bytes, outside, with_hole

steps = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=10)


def offsets_of(holes):
    found = [offset for first, last in holes for offset in range(first, last)]
    assert found == sorted(set(found)), "they overlap, or are not sorted"
    return set(found)


@given(steps, st.integers(0, 120), st.integers(0, 120))
def test_holes_are_what_is_missing(given_steps, gap_start, gap_bytes):
    """Each step: the server goes back to an end it had, and the next bytes come."""
    holes, missing, stop = (), set(), 0
    for back, on in given_steps:
        start, stop = max(0, stop - back), stop + on
        holes = with_hole(holes, start, stop)
        missing = {offset for offset in missing if offset < start}
        missing |= set(range(start, stop))
        assert offsets_of(holes) == missing
    gap = gap_start, gap_start + gap_bytes
    assert offsets_of(outside(holes, *gap)) == missing - set(range(*gap))
    assert missing_bytes(holes, *gap) == len(missing | set(range(*gap)))


def test_where_the_server_is_further_than_thought_nothing_more_is_missing():
    assert with_hole(((10, 20),), 50, 40) == ((10, 20),)
