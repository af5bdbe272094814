"""What a text takes on the air: its encoding, and the parts that it is sent in.

GSM 03.38 (3GPP TS 23.038) has 7-bit septets, of which some characters take two; a text
with any other character is sent in 16-bit units, of which emoji take two. The parts of
a long message are shorter, since each says which it is.
"""

from typing import Literal

Encoding = Literal["GSM-7", "UCS-2"]

# The default alphabet in the order of its codes, but for the escape at 0x1b.
_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ"
    " !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
# An escape and one more septet.
_EXTENSION = frozenset("\f^{}\\[~]|€")
_GSM = _BASIC | _EXTENSION

# Of a message that is sent whole, and of each part of one that is not.
_LIMITS: dict[Encoding, tuple[int, int]] = {"GSM-7": (160, 153), "UCS-2": (70, 67)}

_LAST_OF_ONE_UNIT = "\uffff"


def encoding_of(text: str) -> Encoding:
    """Return the encoding that a text is sent in."""
    return "GSM-7" if _GSM.issuperset(text) else "UCS-2"


def split(text: str) -> list[str]:
    """Return the parts that a text is sent in, one for an empty text.

    No character is in two of them.
    """
    encoding = encoding_of(text)
    sizes = [_size(character, encoding) for character in text]
    whole, limit = _LIMITS[encoding]
    if sum(sizes) <= whole:
        return [text]
    parts, first, taken = [], 0, 0
    for place, size in enumerate(sizes):
        if taken + size > limit:
            parts.append(text[first:place])
            first, taken = place, 0
        taken += size
    return [*parts, text[first:]]


def count(text: str) -> int:
    """Return how many parts a text is sent in."""
    return len(split(text))


def _size(character: str, encoding: Encoding) -> int:
    """Return how many septets, or units of UTF-16, a character takes."""
    if encoding == "GSM-7":
        return 2 if character in _EXTENSION else 1
    return 2 if character > _LAST_OF_ONE_UNIT else 1
