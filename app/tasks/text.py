"""Where bytes may be cut so that no UTF-8 character is torn."""


def character_bytes(first: int) -> int:
    """Return how many bytes the character has whose first byte that is."""
    return 4 if first >= 0xF0 else 3 if first >= 0xE0 else 2 if first >= 0xC0 else 1


def continuation_bytes(data: bytes) -> int:
    """Return how many bytes at the front are the rest of a torn character."""
    count = 0
    while count < min(3, len(data)) and data[count] & 0xC0 == 0x80:
        count += 1
    return count


def torn_bytes(data: bytes) -> int:
    """Return how many bytes at the back are the front of a torn character."""
    for back in range(1, min(4, len(data)) + 1):
        if data[-back] & 0xC0 != 0x80:
            return back if character_bytes(data[-back]) > back else 0
    return 0
