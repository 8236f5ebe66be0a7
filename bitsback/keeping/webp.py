"""A lossless WebP file as pixels and a recipe, and back.

The recipe, of kind `KIND`; numbers are LEB128:

    4 bytes  of the file's SHA-256; 0 where its bytes need not come back
    1 byte   libwebp's quality, 0 to 100
    1 byte   its method, 0 to 6
    the length of the VP8L chunk, with its head and its padding
    the length of what lies before that chunk, and that, verbatim
    what lies after it, verbatim

Source: RFC 9649 (WebP), section 2.
"""

import io
import struct
from typing import NamedTuple

import numpy as np
from PIL import Image

from bitsback.format import varint
from bitsback.images.outcomes import Outcome

from .coded import Coded, Levels, NotKept, seen
from .fields import DIGEST, Fields, damaged, digest, not_of_these_pixels, sized

KIND = b"WEB_"
_DAMAGED = "is a damaged WebP"
_HEAD = 12
_WAYS = ((80, 4), (75, 4), (100, 6))  # of Pillow, of cwebp, the smallest
_MOST = 1 << 31


class Parts(NamedTuple):
    """A file cut at its pixels: before the VP8L chunk, that, after it."""

    before: bytes
    chunk: bytes
    after: bytes


def is_webp(data: bytes) -> bool:
    """Whether a file begins as WebP does."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def code(data: bytes, any_bytes: bool, known: tuple[int, ...] = ()) -> Coded:
    """A lossless WebP file as pixels and the recipe that gives it back.

    Args:
        any_bytes: whether any bytes of the same pixels will do.
        known: quality and method that give the file's own bytes.

    Raises:
        NotKept: it is lossy, animated or damaged.
    """
    parts = parts_of(data)
    values, mode = seen(data, "WEBP", _DAMAGED)
    levels = values.astype(np.uint8, copy=False)
    ending = varint.pack(len(parts.chunk)) + sized(parts.before) + parts.after
    for way in [known] if known else () if any_bytes else _WAYS:
        recipe = digest(data) + bytes(way) + ending
        if known or write(levels, mode, recipe) == (data, True):
            records = ((KIND, recipe),)
            return Coded(levels, mode, records, Outcome.EXACT, way, proven=not known)
    recipe = bytes(DIGEST) + bytes(_WAYS[0]) + ending
    return Coded(levels, mode, ((KIND, recipe),), Outcome.SAMPLES)


def write(levels: Levels, mode: str, recipe: bytes) -> tuple[bytes, bool]:
    """The file of a recipe, and whether it has the bytes that the recipe promises, if any.

    Args:
        levels: (H, W, C) of RGB or RGBA.
        mode: of the levels.

    Raises:
        FormatError: the recipe is damaged, or another image's.
    """
    fields = Fields(recipe)
    wanted, quality, method = fields.take(DIGEST), fields.take(1)[0], fields.take(1)[0]
    length, before = fields.number(_MOST), fields.sized()
    after = recipe[fields.position :]
    if mode not in ("RGB", "RGBA"):
        raise not_of_these_pixels()
    if quality > 100 or method > 6 or len(before) < _HEAD:
        raise damaged("libwebp has no such settings")
    try:
        chunk = parts_of(_packed(levels, quality, method)).chunk
    except NotKept as error:
        raise not_of_these_pixels() from error
    (size,) = struct.unpack_from("<I", before, 4)
    size += len(chunk) - length
    if not 0 <= size < 1 << 32:
        raise damaged("a number is out of range")
    data = before[:4] + struct.pack("<I", size) + before[8:] + chunk + after
    return data, wanted == bytes(DIGEST) or digest(data) == wanted


def _packed(levels: Levels, quality: int, method: int) -> bytes:
    """A lossless file of these pixels.

    Raises:
        NotKept: WebP cannot hold them.
    """
    file = io.BytesIO()
    options = {"lossless": True, "quality": quality, "method": method, "exact": True}
    try:
        Image.fromarray(levels).save(file, "WEBP", **options)
    except Exception as error:  # Pillow's plugins raise whatever their libraries run into
        raise NotKept("is too large for a WebP") from error
    return file.getvalue()


def check_same(data: bytes, other: bytes) -> None:
    """Raise NotKept unless a file holds what another does: pixels, mode, and all other chunks."""
    one, two = parts_of(data), parts_of(other)
    if (one.before[8:], one.after) != (two.before[8:], two.after):
        raise NotKept("does not come back with its metadata")
    (pixels, mode), (others, again) = (seen(each, "WEBP", _DAMAGED) for each in (data, other))
    if mode != again or not np.array_equal(pixels, others):
        raise NotKept("does not come back from its pixels")


def parts_of(data: bytes) -> Parts:
    """A file cut at its pixels.

    Raises:
        NotKept: it is lossy, animated or damaged.
    """
    position, found = _HEAD, list[tuple[int, int]]()
    while position + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, position)
        end = position + 8 + size + size % 2
        if kind in (b"VP8 ", b"ANIM", b"ANMF", b"ALPH"):
            raise NotKept("is a lossy or an animated WebP")
        if kind == b"VP8L":
            found.append((position, end))
        position = end
    if len(found) != 1 or found[0][1] > len(data):
        raise NotKept(_DAMAGED)
    begin, end = found[0]
    return Parts(data[:begin], data[begin:end], data[end:])
