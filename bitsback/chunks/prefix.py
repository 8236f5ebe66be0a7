"""The classical code of tiles at the bottom of a chunk's stack.

Of each segment with such tiles: the code's length, 8 bytes, and the code (`images.classical`).
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from bitsback.errors import FormatError
from bitsback.images import classical
from bitsback.images.classical import METHODS, Method
from bitsback.progress import Progress, Stretch
from bitsback.tiles.segments import Segment, SomeTiles

_LENGTH = 8


def encode_prefix(
    segments: Sequence[SomeTiles],
    binary: bool,
    progress: Progress | None = None,
    candidates: Sequence[Sequence[Method]] | None = None,
) -> bytes:
    """Classical code of the tiles of every segment, as far as there are any.

    Args:
        progress: called with (tiles done, tiles in all), a tile being done by so many parts as
            there are codes to try.
        candidates: methods to try on each segment; None for all.
    """
    parts, done, total = [], 0, sum(len(some.tiles) for some in segments)
    for some, tried in zip(segments, candidates or [METHODS] * len(segments), strict=True):
        if count := len(some.tiles):
            within = Stretch(progress, done, done + count, total)
            done += count
            code = classical.encode(some.tiles, binary, some.extents, within, tried)
            parts.append(len(code).to_bytes(_LENGTH, "little") + code)
    return b"".join(parts)


def is_new(prefix: bytes) -> bool:
    """Whether only readers of version 5 of the format know a method of what was encoded."""
    return any(code[0] in classical.INSIDE for code in _codes(prefix))


def methods(prefix: bytes) -> list[str]:
    """The methods of what was encoded, in words."""
    return [classical.Method(code[0]).name.lower().replace("_", " ") for code in _codes(prefix)]


def _codes(prefix: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(prefix):
        begin = position + _LENGTH
        position = begin + int.from_bytes(prefix[position:begin], "little")
        yield prefix[begin:position]


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
        begin = position + _LENGTH
        size = int.from_bytes(prefix[position:begin], "little")
        code = prefix[begin : begin + size]
        if len(code) != size:
            raise FormatError("its classical part is cut short")
        extents = segment.layout.extents(range(segment.classical))
        tiles.append(classical.decode(code, shape, binary, extents))
        position = begin + size
    if position != len(prefix):
        raise FormatError("its classical part is too long")
    return tiles
