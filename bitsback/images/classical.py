"""Lossless coding of a stack of tiles by well-known codecs, whichever is smallest.

The coded bytes are one byte for the method (see `METHODS`) and then what the method made of the
tiles: raw and xz take the array in C order, at one bit a pixel where the tiles are binary, the
image codecs take all tiles side by side as one mosaic. Where images do not fill their tiles, raw
and xz may also take the images' own values alone, so that noise never takes more than it is.
"""

import hashlib
import io
import lzma
import math
import warnings
from collections.abc import Mapping, Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bitsback.errors import FormatError
from bitsback.format import xz
from bitsback.progress import Progress
from bitsback.tiles import mosaic, padding
from bitsback.tiles.mosaic import Shape
from bitsback.tiles.padding import Extents

_PRESET = 6 | lzma.PRESET_EXTREME
_WORSE = 1.08  # methods that make a sample larger by this factor than the best one are left out
MAX_SIDE = 16383  # WebP's limit
MAX_AREA = 1 << 26  # below what Pillow takes for a decompression bomb


class Method(IntEnum):
    """How tiles were coded; the number is the first byte."""

    RAW = 0
    PNG = 1
    WEBP = 2
    XZ = 3
    G4 = 4
    RAW_INSIDE = 5
    XZ_INSIDE = 6


METHODS = tuple(Method)
INSIDE = frozenset((Method.RAW_INSIDE, Method.XZ_INSIDE))
"""Methods that leave out what lies beyond the images' edges, from version 5 of the format on."""
_PLAIN = frozenset((Method.RAW, Method.RAW_INSIDE))
_XZ = frozenset((Method.XZ, Method.XZ_INSIDE))
_FORMATS = {Method.PNG: "PNG", Method.WEBP: "WEBP", Method.G4: "TIFF"}


def encode(
    tiles: NDArray[np.uint8],
    binary: bool,
    extents: Extents | None = None,
    progress: Progress | None = None,
    methods: Sequence[Method] = METHODS,
) -> bytes:
    """Code tiles by the method that makes them smallest.

    Args:
        tiles: (n, h, w, C) uint8, C 1 or 3; where binary, C is 1 and values are 0 or 1. Beyond the
            images' edges they repeat the last pixels.
        binary: whether a pixel is one bit.
        extents: what of each tile lies in its image; None if they are all whole.
        progress: called with (methods tried, methods in all).
        methods: to try; with one of `RAW` and `RAW_INSIDE` at least.

    Returns:
        The method's byte and its data.
    """
    coded = []
    for method in methods:
        coded.append(_encode(method, tiles, binary, extents))
        if progress is not None:
            progress(len(coded), len(methods))
    # Of equally small ones the lowest number, so that the same tiles always give the same bytes.
    return min((data for data in coded if data is not None), key=len)


def decode(
    data: bytes, shape: Shape, binary: bool, extents: Extents | None = None
) -> NDArray[np.uint8]:
    """Reverse `encode`.

    Args:
        data: exactly the bytes that it returned.
        shape: (n, h, w, C) of the tiles.
        binary, extents: as given to it.

    Returns:
        The tiles, (n, h, w, C) uint8.

    Raises:
        FormatError: damaged data, or data of other tiles; found before anything larger than the
            tiles is allocated.
    """
    if not data or data[0] not in _known():
        raise FormatError("its classical code is damaged: unknown method")
    method = Method(data[0])
    if method in _FORMATS:
        return _decode_image(method, data[1:], shape, binary)
    if method not in INSIDE:
        return _unpack(method, data[1:], math.prod(shape), binary).reshape(shape)
    if extents is None:
        raise FormatError("its classical code is damaged: its method does not fit its tiles")
    inside = padding.known(extents, shape[1:3])
    tiles = np.zeros(shape, np.uint8)
    values = _unpack(method, data[1:], shape[3] * int(inside.sum()), binary)
    tiles[inside] = values.reshape(-1, shape[3])
    padding.fill(tiles.transpose(0, 3, 1, 2), extents)
    return tiles


def quick_sizes(
    tiles: NDArray[np.uint8], binary: bool, extents: Extents | None
) -> dict[Method, int]:
    """Bytes of tiles by every method, the image codecs making less of an effort.

    Arguments as of `encode`.
    """
    coded = {method: _encode(method, tiles, binary, extents, quick=True) for method in METHODS}
    return {method: len(data) for method, data in coded.items() if data is not None}


def promising(sizes: Mapping[Method, int], tiles: NDArray[np.uint8]) -> tuple[Method, ...]:
    """Methods worth trying on tiles: the plain ones, and those that a sample does not rule out.

    Args:
        sizes: of the sample by method, from `quick_sizes`.
        tiles: (n, h, w, C) uint8, all that are to be coded.
    """
    most = _WORSE * min(sizes.values())
    # A sample does not show that tiles come again, which xz finds; blank ones cost nothing anyway.
    drawn = [tile.tobytes() for tile in tiles if tile.min() != tile.max()]
    repeated = len({hashlib.blake2b(tile).digest() for tile in drawn}) < len(drawn)
    is_inside_smaller = sizes.get(Method.XZ_INSIDE, math.inf) < sizes[Method.XZ]
    slow = Method.XZ if is_inside_smaller else Method.XZ_INSIDE  # of two alike, one will do
    good = {method for method, size in sizes.items() if size <= most}
    good |= _XZ if repeated else frozenset()
    return tuple(each for each in METHODS if each in _PLAIN or each in good - {slow})


def _known() -> frozenset[int]:
    return frozenset(int(method) for method in METHODS)


def _encode(
    method: Method,
    tiles: NDArray[np.uint8],
    binary: bool,
    extents: Extents | None = None,
    quick: bool = False,
) -> bytes | None:
    prefix = bytes([method])
    if method not in _FORMATS:
        if method not in INSIDE:
            values = tiles
        elif extents is None:
            return None
        else:
            values = tiles[padding.known(extents, tiles.shape[1:3])]
        packed = (np.packbits(values) if binary else values).tobytes()
        return prefix + (xz.compress(packed, _PRESET) if method in _XZ else packed)
    if not _is_image(method, mosaic.shape_of(tiles), binary):
        return None
    image = to_image(mosaic.join(tiles), binary)
    file = io.BytesIO()
    if method is Method.PNG:
        image.save(file, "PNG", optimize=not quick)
    elif method is Method.WEBP:
        effort = {"quality": 75, "method": 4} if quick else {"quality": 90, "method": 6}
        image.convert("RGB").save(file, "WEBP", lossless=True, exact=True, **effort)
    else:
        image.save(file, "TIFF", compression="group4")
    return prefix + file.getvalue()


def _decode_image(method: Method, data: bytes, shape: Shape, binary: bool) -> NDArray[np.uint8]:
    if not _is_image(method, shape, binary):
        raise FormatError("its classical code is damaged: its method does not fit its tiles")
    rows, cols = mosaic.sides(shape)
    size = (cols * shape[2], rows * shape[1])
    mode = "1" if binary else ("L" if shape[3] == 1 else "RGB")
    try:
        with warnings.catch_warnings():
            # On damage Pillow warns before it fails.
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=[_FORMATS[method]])
            if image.size != size:
                raise FormatError("its classical code is damaged: its image has another size")
            pixels = _from_image(image, mode)
    except FormatError:
        raise
    except Exception as error:  # Pillow's plugins raise whatever their parsers run into
        raise FormatError("its classical code is damaged: its image is unreadable") from error
    return mosaic.split(pixels, shape)


def _is_image(method: Method, shape: Shape, binary: bool) -> bool:
    if min(shape) < 1 or shape[3] not in ((1,) if binary else (1, 3)):
        return False
    if method is Method.G4 and not binary:
        return False
    rows, cols = mosaic.sides(shape)
    height, width = rows * shape[1], cols * shape[2]
    return max(height, width) <= MAX_SIDE and height * width <= MAX_AREA


def to_image(joined: NDArray[np.uint8], binary: bool) -> Image.Image:
    """Pixels (H, W, C) as Pillow holds them: mode "1" if binary, else "L" or "RGB"."""
    if binary:
        return Image.fromarray(joined[:, :, 0] != 0)
    return Image.fromarray(joined[:, :, 0] if joined.shape[2] == 1 else joined)


def _from_image(image: Image.Image, mode: str) -> NDArray[np.uint8]:
    if image.mode != mode and not (image.format == "WEBP" and image.mode == "RGB"):
        raise FormatError("its classical code is damaged: its image has another mode")
    pixels = np.asarray(image, np.uint8)
    if mode == "RGB":
        return pixels
    if pixels.ndim == 3:
        pixels = pixels[:, :, 0]
    return np.minimum(pixels, 1)[:, :, None] if mode == "1" else pixels[:, :, None]


def _unpack(method: Method, data: bytes, count: int, binary: bool) -> NDArray[np.uint8]:
    """So many values, (count,) uint8, of a method that is no image codec."""
    size = -(-count // 8) if binary else count
    unpacked = xz.decompress(data, size) if method in _XZ else data
    if unpacked is None:
        raise FormatError("its classical code is damaged: cannot decompress it")
    if len(unpacked) != size:
        raise FormatError("its classical code is damaged: it has a wrong length")
    values = np.frombuffer(unpacked, np.uint8)
    return np.unpackbits(values, count=count) if binary else values.copy()
