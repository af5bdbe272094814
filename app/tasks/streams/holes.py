"""Which bytes of an output are missing, besides those that are not to be kept.

Holes are pairs of offsets, sorted, none of them touching the next from behind.
"""

Holes = tuple[tuple[int, int], ...]


def with_hole(holes: Holes, start: int, stop: int) -> Holes:
    """Return the holes once nothing from `start` to `stop` is there.

    `stop` is beyond all of them. Where it is not beyond `start`, all up to there is as
    it was, and nothing more is missing.
    """
    before = tuple((first, min(last, start)) for first, last in holes if first < start)
    return (*before, (start, stop)) if start < stop else before


def outside(holes: Holes, gap_start: int, gap_stop: int) -> Holes:
    """Return what of the holes lies outside of a gap."""
    parts = [(first, min(last, gap_start)) for first, last in holes]
    parts += [(max(first, gap_stop), last) for first, last in holes]
    return tuple((first, last) for first, last in parts if first < last)


def missing_bytes(holes: Holes, gap_start: int, gap_stop: int) -> int:
    """Return how many bytes are in a gap, or in holes besides."""
    apart = sum(last - first for first, last in outside(holes, gap_start, gap_stop))
    return gap_stop - gap_start + apart
