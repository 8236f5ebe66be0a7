"""Gray levels of 16 bits as a picture of 8 and the bits below it.

A level x is ((high << width) | low) << zeros: `zeros` lowest bits are 0 in the whole picture, and
of the rest the 8 highest that are used make a picture like any other. The bits below are close
to noise in photographs: they are kept as they are, or as a well-known codec makes them smaller.
Models that code both bytes as pictures take more: the README has the figures.

The low bits as bytes: zeros, width, one byte that says whether they are packed (0) or coded (1),
and the bits, `width` of each level, row by row, the highest first; or a classical code of them as
a picture.
"""

import numpy as np
from numpy.typing import NDArray

from . import classical
from .errors import FormatError


def split(levels: NDArray[np.uint16]) -> tuple[NDArray[np.uint8], bytes]:
    """The high bits of a picture (H, W) as one of 8 bits, (H, W), and the bytes of the low ones."""
    used = int(np.bitwise_or.reduce(levels, axis=None))
    zeros = (used & -used).bit_length() - 1 if used else 0
    width = max(0, used.bit_length() - zeros - 8)
    values = levels >> np.uint16(zeros)
    low = (values & np.uint16((1 << width) - 1)).astype(np.uint8)
    bits = np.unpackbits(low[:, :, None], axis=2)[:, :, 8 - width :]
    packed = np.packbits(bits).tobytes()
    coded = classical.encode(low[None, :, :, None], False) if width else b""
    smaller = len(coded) < len(packed)
    head = bytes((zeros, width, int(smaller)))
    return (values >> np.uint16(width)).astype(np.uint8), head + (coded if smaller else packed)


def join(high: NDArray[np.uint8], data: bytes) -> NDArray[np.uint16]:
    """Inverse of `split`.

    Raises:
        FormatError: the low bits are damaged, or another picture's.
    """
    if len(data) < 3:
        raise FormatError("the low bits of a picture are cut short")
    zeros, width, coded = data[:3]
    if width > 8 or zeros + width > 15 or coded > 1:
        raise FormatError("the low bits of a picture are damaged")
    if coded:
        low = classical.decode(data[3:], (1, *high.shape, 1), False)[0, :, :, 0]
    else:
        low = _unpacked(data[3:], high.shape, width)
    levels = (high.astype(np.uint32) << width | low) << zeros
    if int(low.max()) >> width or int(levels.max()) >> 16:
        raise FormatError("the low bits of a picture are damaged")
    return levels.astype(np.uint16)


def _unpacked(data: bytes, shape: tuple[int, ...], width: int) -> NDArray[np.uint8]:
    count = shape[0] * shape[1] * width
    if len(data) != -(-count // 8):
        raise FormatError("the low bits of a picture are cut short")
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=count).reshape(*shape, width)
    padded = np.concatenate([np.zeros((*shape, 8 - width), np.uint8), bits], 2)
    return np.packbits(padded, axis=2)[:, :, 0]
