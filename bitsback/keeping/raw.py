"""A file whose samples lie uncompressed in one region: pixels, and all that lies around them.

The recipe, of kind `KIND`; numbers are LEB128:

    4 bytes  of the file's SHA-256
    1 byte   how the samples lie: 1, a plane for each channel; 2, rows from the bottom; 4, blue
             first; 8, the high byte first; 16, eight samples of one bit in a byte; 32, they are
             indices of a palette
    the number of zero bytes after each row
    the length of what lies before the samples, and that, verbatim
    what lies after them, verbatim

The bytes come back whatever the samples mean, so a header that is misread loses nothing.
"""

import numpy as np
from numpy.typing import NDArray

from bitsback.format import varint
from bitsback.images.outcomes import Outcome

from .coded import Coded, Levels, NotKept
from .fields import DIGEST, Fields, digest, not_of_these_pixels, sized
from .raw_headers import Order, Region, region_of

KIND = b"RAW_"
_MOST_PADDING = 3  # a BMP has rows of whole words
_MODES = {
    (1, 1): "L",
    (2, 1): "LA",
    (3, 1): "RGB",
    (4, 1): "RGBA",
    (1, 2): "I;16",
    (2, 2): "LA;16",
    (3, 2): "RGB;16",
    (4, 2): "RGBA;16",
}


def code(data: bytes) -> Coded:
    """A file as pixels and the recipe that gives it back.

    Raises:
        NotKept: it is of no format that is known here, its samples are of a kind that is not coded
            or do not lie in one region.
    """
    region = region_of(data)
    end = region.offset + region.size
    if min(region.height, region.width) < 1 or end > len(data):
        raise NotKept("is cut short")
    if len(data) - region.size > region.size + (1 << 16):
        raise NotKept("holds more than one image")
    levels, mode = _levels(data[region.offset : end], region)
    recipe = digest(data) + bytes([region.order]) + varint.pack(region.padding)
    recipe += sized(data[: region.offset]) + data[end:]
    return Coded(levels, mode, ((KIND, recipe),), Outcome.EXACT)


def write(levels: Levels, mode: str, recipe: bytes) -> tuple[bytes, bool]:
    """The file of a recipe, and whether it is byte for byte the one that was coded.

    Args:
        levels: (H, W, C).
        mode: of the levels.

    Raises:
        FormatError: the recipe is damaged, or another image's.
    """
    fields = Fields(recipe)
    wanted, flags, padding = fields.take(DIGEST), fields.take(1)[0], fields.number(_MOST_PADDING)
    before = fields.sized()
    after = recipe[fields.position :]
    order = Order(flags)
    packed = Order.BITS in order
    if flags > sum(Order) or (packed, Order.PALETTE in order) != (mode == "1", mode == "P"):
        raise not_of_these_pixels()
    data = before + _region(levels, order, padding) + after
    return data, digest(data) == wanted


def _levels(data: bytes, region: Region) -> tuple[Levels, str]:
    """Levels, (H, W, C), and their mode."""
    height, width, channels = region.height, region.width, region.channels
    values = np.frombuffer(data, np.uint8)
    if Order.BITS in region.order:
        lines = values.reshape(height, -(-width // 8) + region.padding)
        levels: Levels = np.unpackbits(lines, axis=1)[:, :width, None]
        levels = levels[::-1] if Order.UPWARDS in region.order else levels
        return np.ascontiguousarray(levels), "1"
    kind = np.dtype((">" if Order.BIG in region.order else "<") + f"u{region.bytes}")
    if Order.PLANES in region.order:
        samples = values.view(kind).reshape(channels, height, width).transpose(1, 2, 0)
    else:
        lines = values.reshape(height, width * channels * region.bytes + region.padding)
        rows = np.ascontiguousarray(lines[:, : lines.shape[1] - region.padding])
        samples = rows.view(kind).reshape(height, width, channels)
    if Order.BLUE in region.order:
        samples = samples[:, :, [2, 1, 0, 3][:channels]]
    if Order.UPWARDS in region.order:
        samples = samples[::-1]
    native = np.ascontiguousarray(samples).astype(kind.newbyteorder("="))
    return native, "P" if Order.PALETTE in region.order else _MODES[channels, region.bytes]


def _region(levels: Levels, order: Order, padding: int) -> bytes:
    """Inverse of `_levels`, if the padding is of zeros."""
    samples: NDArray[np.uint8 | np.uint16] = levels
    if Order.UPWARDS in order:
        samples = samples[::-1]
    if Order.BITS in order:
        rows = np.packbits(samples[:, :, 0] != 0, axis=1)
    else:
        if Order.BLUE in order:
            if samples.shape[2] < 3:
                raise not_of_these_pixels()
            samples = samples[:, :, [2, 1, 0, 3][: samples.shape[2]]]
        if Order.PLANES in order:
            samples = samples.transpose(2, 0, 1)
        kind = np.dtype((">" if Order.BIG in order else "<") + f"u{levels.itemsize}")
        rows = np.ascontiguousarray(samples, kind).view(np.uint8).reshape(len(levels), -1)
    return np.pad(rows, ((0, 0), (0, padding))).tobytes()
