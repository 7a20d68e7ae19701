"""Whether a PNG holds all the rows it declares: where its data stop early, PIL leaves black rows.

Inflating twice would cost half of all decoding, so the count is made only where the row that is
written last came out black. PNG specification, third edition: sections 5 (chunks), 8 (interlacing).
"""

import struct
import zlib
from typing import IO

from PIL import Image

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_PASSES = (  # first row, first column, row step, column step of each of Adam7's passes
    (0, 0, 8, 8),
    (0, 4, 8, 8),
    (4, 0, 8, 4),
    (0, 2, 4, 4),
    (2, 0, 4, 2),
    (0, 1, 2, 2),
    (1, 0, 2, 1),
)
_BLOCK = 1 << 20


def lacks_rows(image: Image.Image, file: IO[bytes], head: bytes) -> bool:
    """Whether the rows of a decoded PNG are not all in its ``file``, whose first bytes are ``head``."""
    last = image.height - 1
    if head[28] and image.height % 2:
        last -= 1  # interlacing writes the odd rows last
    bottom = image.crop((0, max(0, last), image.width, max(0, last) + 1))
    if any(bottom.tobytes()):
        return False
    wanted = _raw_size(head)
    file.seek(8)
    inflater = zlib.decompressobj()
    while wanted > 0 and len(start := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", start)
        if kind != b"IDAT":
            file.seek(length + 4, 1)
            continue
        waiting = file.read(length)
        while waiting and wanted > 0:
            wanted -= len(inflater.decompress(waiting, _BLOCK))
            waiting = inflater.unconsumed_tail
        file.seek(4, 1)
    return wanted > 0


def _raw_size(head: bytes) -> int:
    """Bytes that the rows take before compression, each led by the number of its filter."""
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", head[16:29])
    bits = depth * _CHANNELS[colour]
    total = 0
    for top, left, down, across in _PASSES if interlaced else ((0, 0, 1, 1),):
        rows, cols = -((top - height) // down), -((left - width) // across)
        if rows > 0 and cols > 0:
            total += rows * (1 + (cols * bits + 7) // 8)
    return total
