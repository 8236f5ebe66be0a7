"""Levels of 16 bits as an image of 8 bits and the low bits.

A level x is ((high << width) | low) << zeros. The lowest `zeros` bits are 0 in the whole image. Of
the other bits that are used, the 8 highest make an image like any other. The low bits of
photographs are close to noise: they are packed, or coded by a classical codec if that is smaller.
Models that code both bytes as images take more bits: docs/pipelines.md has the figures.

The low bits as bytes: zeros, width, one byte that says whether they are packed (0) or coded (1),
and the bits, `width` of each level, row by row, the highest first; or a classical code of them as
an image.
"""

import math

import numpy as np
from numpy.typing import NDArray

from bitsback.errors import FormatError

from . import classical


def high(levels: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """The high bits of an image (H, W) or (H, W, C) as one of 8 bits of this shape."""
    zeros, width = _layout(levels)
    return (levels >> np.uint16(zeros + width)).astype(np.uint8)


def low(levels: NDArray[np.uint16]) -> bytes:
    """The bytes of the low bits of an image (H, W) or (H, W, C).

    Slow, since several codecs are tried.
    """
    zeros, width = _layout(levels)
    levels = levels.reshape(*levels.shape[:2], -1)
    values = levels >> np.uint16(zeros)
    below = (values & np.uint16((1 << width) - 1)).astype(np.uint8)
    bits = np.unpackbits(below[..., None], axis=3)[..., 8 - width :]
    packed = np.packbits(bits).tobytes()
    coded = classical.encode(below[None], False) if width else b""
    smaller = len(coded) < len(packed)
    return bytes((zeros, width, int(smaller))) + (coded if smaller else packed)


def _layout(levels: NDArray[np.uint16]) -> tuple[int, int]:
    """`zeros` and `width` of an image."""
    used = int(np.bitwise_or.reduce(levels, axis=None))
    zeros = (used & -used).bit_length() - 1 if used else 0
    return zeros, max(0, used.bit_length() - zeros - 8)


def join(above: NDArray[np.uint8], data: bytes) -> NDArray[np.uint16]:
    """Inverse of `high` and `low`.

    Args:
        above: what `high` gave.
        data: what `low` gave.

    Returns:
        The levels, in the shape of `above`.

    Raises:
        FormatError: the low bits are damaged, or another image's.
    """
    if len(data) < 3:
        raise FormatError("the low bits of an image are cut short")
    zeros, width, coded = data[:3]
    if width > 8 or zeros + width > 15 or coded > 1:
        raise FormatError("the low bits of an image are damaged")
    if coded:
        rows, columns, channels = (*above.shape, 1)[:3]
        below = classical.decode(data[3:], (1, rows, columns, channels), False)
    else:
        below = _unpacked(data[3:], above.shape, width)
    below = below.reshape(above.shape)
    levels = (above.astype(np.uint32) << width | below) << zeros
    if int(below.max()) >> width or int(levels.max()) >> 16:
        raise FormatError("the low bits of an image are damaged")
    return levels.astype(np.uint16)


def _unpacked(data: bytes, shape: tuple[int, ...], width: int) -> NDArray[np.uint8]:
    count = math.prod(shape) * width
    if len(data) != -(-count // 8):
        raise FormatError("the low bits of an image are cut short")
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=count).reshape(*shape, width)
    padded = np.concatenate([np.zeros((*shape, 8 - width), np.uint8), bits], -1)
    return np.packbits(padded, axis=-1)[..., 0]
