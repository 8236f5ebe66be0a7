"""Where the samples of uncompressed files lie: BMP, PNM and PAM, TIFF, NPY.

Sources: the BITMAPINFOHEADER of Windows; netpbm's pbm(5) to pam(5); TIFF 6.0; NumPy's NEP 1.
"""

import io
import re
import struct
from enum import IntFlag
from typing import NamedTuple

import numpy as np

from .coded import NotKept
from .tiff import tags
from .tiff.pieces import samples_of


class Order(IntFlag):
    """How samples lie; without any, gray or red first, from the top, the low byte first."""

    PLANES = 1
    UPWARDS = 2
    BLUE = 4
    BIG = 8
    BITS = 16
    PALETTE = 32


class InPieces(NotKept):
    """A TIFF's samples lie in pieces (see `tiff.code`)."""


class Region(NamedTuple):
    """The region of a file's samples.

    Args:
        bytes: of a sample, 1 or 2; 1 where eight samples of one bit share it.
        padding: bytes after each row.
    """

    offset: int
    height: int
    width: int
    channels: int
    bytes: int
    order: Order
    padding: int = 0

    @property
    def size(self) -> int:
        """In bytes."""
        row = self.width * self.channels * self.bytes
        if Order.BITS in self.order:
            row = -(-self.width // 8)
        return self.height * (row + self.padding)


def region_of(data: bytes) -> Region:
    """The region of a file.

    Raises:
        NotKept: it is of no format that is known here, or its samples are of a kind that is not
            coded, or do not lie in one region.
    """
    try:
        if data[:2] == b"BM":
            region = _of_bmp(data)
        elif data[:2] in (b"P4", b"P5", b"P6"):
            region = _of_pnm(data)
        elif data[:3] == b"P7\n":
            region = _of_pam(data)
        elif data[:4] in tags.SIGNATURES:
            region = _of_tiff(data)
        elif data[:6] == b"\x93NUMPY":
            region = _of_npy(data)
        else:
            raise NotKept("is of no format that is coded")
    except NotKept:
        raise
    except Exception as error:  # NumPy's parser of headers raises many kinds
        raise NotKept("has a damaged header") from error
    if not 1 <= region.channels <= 4:
        raise NotKept(f"has {region.channels} channels")
    return region


def _of_bmp(data: bytes) -> Region:
    offset, head, width, height, planes, bits, compression = struct.unpack_from(
        "<IIiiHHI", data, 10
    )
    if head < 40 or planes != 1 or compression not in (0, 3):
        raise NotKept("is a BMP that is compressed, or of an old kind")
    order = Order.UPWARDS if height > 0 else Order(0)
    palette = data[14 + head : offset]
    if bits == 1 and len(palette) == 8:
        return Region(offset, abs(height), width, 1, 1, order | Order.BITS, -width // 8 % 4)
    if bits == 8 and palette == bytes(n for level in range(256) for n in (level,) * 3 + (0,)):
        return Region(offset, abs(height), width, 1, 1, order, -width % 4)
    if bits == 8:
        order |= Order.PALETTE
        return Region(offset, abs(height), width, 1, 1, order, -width % 4)
    if bits in (24, 32):
        channels = bits // 8
        return Region(
            offset, abs(height), width, channels, 1, order | Order.BLUE, -width * channels % 4
        )
    raise NotKept(f"is a BMP of {bits} bits a pixel")


def _of_pnm(data: bytes) -> Region:
    kind = data[1:2]
    count = 2 if kind == b"4" else 3
    space = rb"(?:\s|#[^\n]*\n)+"
    found = re.match(rb"P[456]" + (space + rb"(\d+)") * count + rb"\s", data[: 1 << 16])
    if found is None:
        raise NotKept("is a PNM with a damaged header")
    width, height, *rest = map(int, found.groups())
    if kind == b"4":
        return Region(found.end(), height, width, 1, 1, Order.BITS)
    channels = 1 if kind == b"5" else 3
    return _of_levels(found.end(), height, width, channels, rest[0])


def _of_pam(data: bytes) -> Region:
    end = data.index(b"ENDHDR\n", 0, 1 << 16) + 7
    lines = (line.split() for line in data[:end].splitlines() if not line.startswith(b"#"))
    fields = {line[0]: line[1] for line in lines if len(line) == 2}
    width, height, depth, highest = (
        int(fields.get(name, b"0")) for name in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL")
    )
    return _of_levels(end, height, width, depth, highest)


def _of_levels(offset: int, height: int, width: int, channels: int, highest: int) -> Region:
    if not 1 <= highest < 1 << 16:
        raise NotKept(f"has levels that end at {highest}")
    size = 1 if highest < 256 else 2
    return Region(offset, height, width, channels, size, Order.BIG)


def _of_npy(data: bytes) -> Region:
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, is_fortran, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise NotKept("is an array of an unknown version")
    if dtype.str not in ("|u1", "<u2", ">u2") or is_fortran or len(shape) not in (2, 3, 4):
        raise NotKept(f"is an array that is not of images ({dtype}, {shape})")
    *stack, height, width, channels = shape if len(shape) > 2 else (*shape, 1)
    if channels > 4 and not stack:  # (N, H, W)
        stack, (height, width, channels) = [height], (width, channels, 1)
    images = stack[0] if stack else 1
    order = Order.BIG if dtype.str[0] == ">" else Order(0)
    return Region(file.tell(), images * height, width, channels, dtype.itemsize, order)


def _of_tiff(data: bytes) -> Region:
    found = tags.only_image(data)
    if found.number(tags.COMPRESSION, 1) != 1:
        raise InPieces("is a compressed TIFF")
    if tags.TILE_WIDTH in found.fields:
        raise InPieces("is a TIFF of tiles")
    samples = samples_of(found)
    if samples.palette:
        raise InPieces("has a palette")
    order = Order.BIG if samples.order == ">" else Order(0)
    order |= Order.PLANES if samples.planes else Order(0)
    order |= Order.BITS if samples.bits == 1 else Order(0)
    offset, size = _start_of_strips(found), 2 if samples.bits == 16 else 1
    return Region(offset, samples.height, samples.width, samples.channels, size, order)


def _start_of_strips(found: tags.Tags) -> int:
    """Where strips begin that lie one after another."""
    offsets = found.numbers(tags.STRIP_OFFSETS, ())
    sizes = found.numbers(tags.STRIP_SIZES, ())
    if not offsets or len(sizes) != len(offsets):
        raise NotKept("is a TIFF without strips")
    ends = [offset + size for offset, size in zip(offsets, sizes, strict=True)]
    if list(offsets[1:]) != ends[:-1]:
        raise InPieces("is a TIFF whose strips lie apart")
    return offsets[0]
