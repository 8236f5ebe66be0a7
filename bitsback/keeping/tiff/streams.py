"""The compressions of TIFF: LZW, PackBits and DEFLATE, by libtiff and by zlib.

A piece's bytes go through libtiff as a gray image of 8 bits, whose rows are the piece's: LZW and
DEFLATE know no rows, and PackBits begins anew at each.
"""

import io
import struct
import warnings

import numpy as np
from PIL import Image

from bitsback.keeping import deflate

from . import tags

NONE, LZW, DEFLATE, OLD_DEFLATE, PACK_BITS = 1, 5, 8, 32946, 32773
KNOWN = (NONE, LZW, DEFLATE, OLD_DEFLATE, PACK_BITS)
BY_LIBTIFF = deflate.Settings(0, 0, 0, 0)
"""Stands for what libtiff makes by default, which for DEFLATE may be none of zlib's settings."""
_NAMES = {LZW: "tiff_lzw", DEFLATE: "tiff_adobe_deflate", PACK_BITS: "packbits"}


def unpack(stream: bytes, compression: int, rows: int, row: int) -> bytes | None:
    """The bytes of a piece; None if it is damaged.

    Args:
        rows, row: how many rows it has, and how many bytes each of them.
    """
    if compression == NONE:
        return stream if len(stream) == rows * row else None
    if compression in (DEFLATE, OLD_DEFLATE):
        found = deflate.inflate(stream, rows * row)
        return found[0] if found is not None and len(found[0]) == rows * row else None
    fields = {
        tags.WIDTH: row,
        tags.HEIGHT: rows,
        tags.BITS: 8,
        tags.COMPRESSION: compression,
        tags.PHOTOMETRIC: 1,
        tags.STRIP_OFFSETS: 8,
        tags.SAMPLES: 1,
        tags.ROWS: rows,
        tags.STRIP_SIZES: len(stream),
    }
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields.items())
    directory = struct.pack("<H", len(fields)) + entries + bytes(4)
    place = 8 + len(stream) + len(stream) % 2
    whole = struct.pack("<4sI", b"II*\0", place) + stream + bytes(len(stream) % 2) + directory
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # libtiff warns of what it then reads as it can
            with Image.open(io.BytesIO(whole), formats=["TIFF"]) as image:
                return np.array(image, np.uint8).tobytes() if image.size == (row, rows) else None
    except Exception:  # Pillow's plugins raise whatever their parsers run into
        return None


def pack(
    data: bytes, compression: int, rows: int, row: int, settings: deflate.Settings = BY_LIBTIFF
) -> bytes:
    """Inverse of `unpack`.

    Args:
        settings: of zlib, for DEFLATE.
    """
    if compression == NONE:
        return data
    if compression in (DEFLATE, OLD_DEFLATE) and settings != BY_LIBTIFF:
        return deflate.compress(data, settings)
    name = _NAMES[DEFLATE if compression == OLD_DEFLATE else compression]
    file = io.BytesIO()
    image = Image.frombytes("L", (row, rows), data)
    image.save(file, "TIFF", compression=name, strip_size=len(data))
    whole = file.getvalue()
    found = tags.only_image(whole)
    (offset,), (size,) = (found.numbers(t, ()) for t in (tags.STRIP_OFFSETS, tags.STRIP_SIZES))
    return whole[offset : offset + size]
