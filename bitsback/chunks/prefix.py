"""The classical code of tiles at the bottom of a chunk's stack."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bitsback.errors import FormatError
from bitsback.images import classical
from bitsback.progress import Progress, Stretch
from bitsback.tiles.segments import Segment


def encode_prefix(
    tiles: Sequence[NDArray[np.uint8]],
    counts: Sequence[int],
    binary: bool,
    progress: Progress | None = None,
) -> bytes:
    """Classical code of the first counts[i] tiles, (n, h, w, C) uint8, of every segment.

    Args:
        progress: called with (tiles done, tiles in all), a tile being done by so many parts as
            there are codes to try.
    """
    parts, done, total = [], 0, sum(counts)
    for segment, count in zip(tiles, counts, strict=True):
        if count:
            within = Stretch(progress, done, done + count, total)
            done += count
            code = classical.encode(segment[:count], binary, within)
            parts.append(len(code).to_bytes(8, "little") + code)
    return b"".join(parts)


def decode_prefix(
    prefix: bytes, segments: Sequence[Segment], binary: bool
) -> list[NDArray[np.uint8]]:
    """Inverse of `encode_prefix`: (classical, h, w, C) uint8 for every segment.

    Raises:
        FormatError: the prefix is damaged.
    """
    tiles, position = [], 0
    for segment in segments:
        shape = (segment.classical, segment.height, segment.width, segment.channels)
        if not segment.classical:
            tiles.append(np.empty(shape, np.uint8))
            continue
        size = int.from_bytes(prefix[position : position + 8], "little")
        code = prefix[position + 8 : position + 8 + size]
        if len(code) != size:
            raise FormatError("its classical part is cut short")
        tiles.append(classical.decode(code, shape, binary))
        position += 8 + size
    if position != len(prefix):
        raise FormatError("its classical part is too long")
    return tiles
