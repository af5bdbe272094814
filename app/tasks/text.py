"""Where bytes may be cut so that no UTF-8 character is torn."""

import codecs

#: The most that a character has.
CHARACTER_BYTES = 4


def character_bytes(data: bytes) -> int:
    """Return how many bytes the first character has.

    Where it is none, those that one U+FFFD stands for; the front of a torn one is all.
    """
    if not data:
        return 0
    first = data[0]
    width = 4 if first >= 0xF0 else 3 if first >= 0xE0 else 2 if first >= 0xC0 else 1
    try:
        data[:width].decode()
    except UnicodeDecodeError as error:
        return error.end
    return width


def continuation_bytes(data: bytes) -> int:
    """Return how many bytes at the front are the rest of a torn character."""
    count = 0
    while count < min(CHARACTER_BYTES - 1, len(data)) and data[count] & 0xC0 == 0x80:
        count += 1
    return count


def torn_bytes(data: bytes) -> int:
    """Return how many bytes at the back are the front of a torn character.

    What can be the front of none, whatever follows, is invalid and not torn.
    """
    back = data[1 - CHARACTER_BYTES :]
    return len(back) - codecs.utf_8_decode(back, "replace", False)[1]
