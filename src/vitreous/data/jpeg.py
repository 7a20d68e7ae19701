"""How many scans a JPEG has, told without decoding: each costs a pass over all of the pixels."""

import re

# In entropy-coded data ff is followed by 00 (a stuffed byte) or d0 to d7 (restart); else a segment begins.
_SEGMENT = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_SCAN, _END = 0xDA, 0xD9
_BARE = {0x00, 0x01, *range(0xD0, 0xD9)}  # markers without a length


def count_scans(encoded: bytes) -> int:
    """Scans up to the end of the picture; what is appended to it, a film for example, does not count."""
    place, scans = 2, 0
    while 0 <= place <= len(encoded) - 4:
        if encoded[place] != 0xFF:
            place = encoded.find(b"\xff", place)
            continue
        marker = encoded[place + 1]
        if marker == _END:
            break
        if marker == 0xFF:
            place += 1
        elif marker in _BARE:
            place += 2
        else:
            place += 2 + int.from_bytes(encoded[place + 2 : place + 4])
            if marker == _SCAN:
                scans += 1
                found = _SEGMENT.search(encoded, place)
                place = -1 if found is None else found.start()
    return scans
