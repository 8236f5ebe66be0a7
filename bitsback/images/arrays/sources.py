"""Arrays that are read when they are asked for, as images of which a manifest tells the rest."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitsback.errors import InputError
from bitsback.format import sidecar
from bitsback.images import bit_depth
from bitsback.images.lazy import Lazy

from . import shapes
from .stored import Integers, StoredArray

_SCAN_VALUES = 1 << 24  # held at once while the least and the greatest value are searched


@dataclass(frozen=True)
class Source:
    """An array of images that is read in ranges.

    Args:
        read: gives images begin..end - 1, whose values in C order are those of the array.
        dtype: of the array.
        shape: of the array.
        title: what an error calls it.
        name: in an .npz.
        fortran: whether its file has the values in Fortran order.
    """

    read: Callable[[int, int], NDArray[Any]]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    title: str
    name: str = ""
    fortran: bool = False


@dataclass(frozen=True)
class Coded:
    """Images of arrays, one array after another.

    Args:
        arrays: how their values make pixels.
        pixels: of each image, (H, W, C) uint8.
        sidecars: low bits of each image; None if no image has any.
        binary: whether all pixels are of one channel and 0 or 1.
    """

    arrays: tuple[StoredArray, ...]
    pixels: Lazy[NDArray[np.uint8]]
    sidecars: Lazy[bytes] | None
    binary: bool


def source_of(array: NDArray[Any], title: str, name: str = "") -> Source:
    """An array in memory."""
    shapes.check(array.dtype, array.shape, title)
    image = array.shape[array.ndim - len(shapes.axes_of(array.shape)) :]
    stack = array.reshape(-1, *image)
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    return Source(
        lambda begin, end: stack[begin:end], array.dtype, array.shape, title, name, fortran
    )


def code(sources: Sequence[Source]) -> Coded:
    """Arrays as images; each is read once, for its least and its greatest value.

    Raises:
        InputError: a dtype or shape is not one of images, or values are more than 16 bits apart.
    """
    described = [_described(source) for source in sources]
    arrays = tuple(array for array, _ in described)
    firsts = np.cumsum([0, *(array.images for array in arrays)]).tolist()

    def levels(begin: int, end: int) -> list[NDArray[np.uint8 | np.uint16]]:
        found: list[NDArray[np.uint8 | np.uint16]] = []
        for number, (source, (array, most)) in enumerate(zip(sources, described, strict=True)):
            low, high = max(begin, firsts[number]), min(end, firsts[number + 1])
            if low < high:
                values = _values(source, array, low - firsts[number], high - firsts[number])
                own = array.levels(values)
                if own is None or int(own.max()) > most:
                    raise InputError(f"{source.title} changed while it was read")
                found.extend(own)
        return found

    def pixels(begin: int, end: int) -> list[NDArray[np.uint8]]:
        return [_high(image) for image in levels(begin, end)]

    def sidecars(begin: int, end: int) -> list[bytes]:
        return [_low(image) for image in levels(begin, end)]

    deep = any(array.depth > 8 for array in arrays)
    binary = all(array.pixel_shape[2] == 1 and most <= 1 for array, most in described)
    low_bits = Lazy(firsts[-1], sidecars) if deep else None
    return Coded(arrays, Lazy(firsts[-1], pixels), low_bits, binary)


def _high(levels: NDArray[np.uint8 | np.uint16]) -> NDArray[np.uint8]:
    if levels.dtype == np.uint8:
        return levels.astype(np.uint8, copy=False)
    return bit_depth.high(levels.astype(np.uint16, copy=False))


def _low(levels: NDArray[np.uint8 | np.uint16]) -> bytes:
    if levels.dtype == np.uint8:
        return b""
    return sidecar.pack([(sidecar.LOW, bit_depth.low(levels.astype(np.uint16, copy=False)))])


def _described(source: Source) -> tuple[StoredArray, int]:
    """How an array's values make pixels, and its greatest level."""
    dtype, shape = source.dtype, source.shape
    shapes.check(dtype, shape, source.title)
    axes = shapes.axes_of(shape)
    array = StoredArray(source.name, dtype.str, shape, axes, 0, 8, source.fortran)
    low, high = _extremes(source, array)
    offset = 0 if low >= 0 and high < 1 << 16 and (high < 256 or high - low > 255) else low
    depth = 8 if high - offset < 256 else 16
    if high - offset >= 1 << 16:
        raise shapes.too_wide(dtype, low, high, source.title)
    return dataclasses.replace(array, offset=offset, depth=depth), high - offset


def _extremes(source: Source, array: StoredArray) -> tuple[int, int]:
    """The least and the greatest value of an array."""
    block = max(1, _SCAN_VALUES // int(np.prod(array.image_shape)))
    lows, highs = [], []
    for begin in range(0, array.images, block):
        values = _values(source, array, begin, min(begin + block, array.images))
        if values.dtype == np.bool_:
            values = values.view(np.uint8) != 0
        lows.append(int(values.min()))
        highs.append(int(values.max()))
    return min(lows), max(highs)


def _values(source: Source, array: StoredArray, begin: int, end: int) -> Integers:
    values = source.read(begin, end)
    if values.dtype != source.dtype:
        raise InputError(f"{source.title} changed while it was read")
    return np.ascontiguousarray(values).reshape(-1, *array.image_shape)
