"""Arrays of integers as a manifest describes them: which values each image's pixels stand for.

A value is its level and the array's `offset`. Levels of 8 bits are pixels; of levels of 16 bits the
high bits are pixels, and the low bits a sidecar (see `bitsback.images.bit_depth`).
"""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bitsback.errors import FormatError
from bitsback.format import sidecar
from bitsback.format.payload import JsonValue
from bitsback.images import bit_depth

from . import shapes
from .shapes import Axes, ImageShape

Integers: TypeAlias = NDArray[np.integer[Any] | np.bool_]
File = Literal["npy", "npz"]
"""What the arrays come back as."""

_WRONG = "its manifest does not describe its images"
_DTYPE = re.compile(r"\|b1|[|<>][iu][1248]")


@dataclass(frozen=True)
class StoredArray:
    """An array of images.

    Args:
        name: in an .npz; "" of an array by itself.
        dtype: of integers or bool, with its byte order, as NumPy spells it: "<u2".
        shape: of the array.
        axes: of an image, the last axes of the array.
        offset: the value of level 0.
        depth: bits of the levels, 8 or 16.
        fortran: whether the file had the values in Fortran order.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    axes: Axes
    offset: int
    depth: int
    fortran: bool

    @property
    def images(self) -> int:
        """How many there are."""
        return math.prod(self.shape[: len(self.shape) - len(self.axes)])

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Of an image in the array."""
        return self.shape[len(self.shape) - len(self.axes) :]

    @property
    def pixel_shape(self) -> ImageShape:
        """(H, W, C) of an image's pixels."""
        return shapes.pixel_shape(self.axes, self.image_shape)

    def levels(self, values: Integers) -> NDArray[np.uint8 | np.uint16] | None:
        """The levels, (n, H, W, C), of images (n, *image_shape); None where a value has none."""
        native = values.astype(values.dtype.newbyteorder("="), copy=False)
        if native.dtype == np.bool_:
            # NumPy takes any byte but 0 of a bool for true.
            return shapes.to_pixels(self.axes, native.view(np.uint8) != 0).astype(np.uint8)
        # Modulo 2 to the power of its bits, an integer less the least one is their distance.
        distance = native - native.dtype.type(self.offset) if self.offset else native
        unsigned = np.ascontiguousarray(distance).view(f"u{native.dtype.itemsize}")
        if int(unsigned.max()) >> self.depth:
            return None
        levels = unsigned.astype(np.uint8 if self.depth == 8 else np.uint16)
        return np.ascontiguousarray(shapes.to_pixels(self.axes, levels))

    def values(self, levels: NDArray[np.uint8 | np.uint16]) -> Integers:
        """Inverse of `levels`: images (n, *image_shape) in the array's dtype."""
        dtype = np.dtype(self.dtype)
        arranged = shapes.from_pixels(self.axes, levels, self.image_shape)
        if dtype == np.bool_:
            return np.ascontiguousarray(arranged != 0)
        native = arranged.astype(dtype.newbyteorder("="))
        if self.offset:
            native += native.dtype.type(self.offset)
        return np.ascontiguousarray(native.astype(dtype))

    def to_json(self) -> dict[str, JsonValue]:
        """The array as a JSON object."""
        return dataclasses.asdict(self) | {"shape": list(self.shape)}


@dataclass(frozen=True)
class ArraysManifest:
    """Images of one array or several, one after another in C order.

    Args:
        file: whether they come back as a .npy or an .npz.
        arrays: of images, in the file's order.
        first: number of the first of these images among those of all arrays.
        count: how many of them these are.
        names: of all arrays of an .npz, in the file's order.
        packed: whether the .npz is compressed.
        header: of a .npy, the bytes before its values, where NumPy would write others.
    """

    kind: ClassVar[str] = "arrays"
    file: File
    arrays: tuple[StoredArray, ...]
    first: int
    count: int
    names: tuple[str, ...] = ()
    packed: bool = False
    header: bytes = b""

    @property
    def total(self) -> int:
        """Images of all arrays."""
        return sum(array.images for array in self.arrays)

    @property
    def whole(self) -> "ArraysManifest":
        """The manifest of all images."""
        return dataclasses.replace(self, first=0, count=self.total)

    @property
    def is_deep_here(self) -> bool:
        """Whether any of these images has low bits in its sidecar."""
        return any(array.depth > 8 for array, _ in self.runs())

    @property
    def is_pixels(self) -> bool:
        """Whether the values of all arrays are pixels as they are: (N, H, W, C) or gray uint8."""
        return all(
            array.dtype == "|u1" and array.offset == 0 and array.axes in ("hw", "hwc")
            for array in self.arrays
        )

    def runs(self, begin: int = 0, end: int | None = None) -> Iterator[tuple[StoredArray, range]]:
        """Each array that holds any of images begin..end - 1 of these, and which of them."""
        low, high = self.first + begin, self.first + (self.count if end is None else end)
        start = 0
        for array in self.arrays:
            stop = start + array.images
            if max(start, low) < min(stop, high):
                yield array, range(max(start, low) - self.first, min(stop, high) - self.first)
            start = stop

    def image_shapes(self, count: int) -> list[ImageShape]:
        """Shapes (H, W, C) of the images' pixels, in order.

        Args:
            count: how many images there should be.

        Raises:
            FormatError: there are more or fewer.
        """
        if count != self.count:
            raise FormatError(_WRONG)
        return [array.pixel_shape for array, numbers in self.runs() for _ in numbers]

    def sizes(self) -> NDArray[np.int64]:
        """Values of every image, (N,)."""
        runs = [
            np.full(len(numbers), math.prod(array.pixel_shape), np.int64)
            for array, numbers in self.runs()
        ]
        return np.concatenate(runs)

    def part(self, begin: int, end: int) -> "ArraysManifest":
        """The manifest of images begin..end - 1 of these."""
        return dataclasses.replace(self, first=self.first + begin, count=end - begin)

    def picked(self, numbers: Sequence[int]) -> "ArraysManifest":
        """The manifest of images of these numbers, each an array of its own."""
        arrays = [array for array, run in self.runs() for _ in run]
        chosen = tuple(
            dataclasses.replace(arrays[number], shape=(1, *arrays[number].image_shape))
            for number in numbers
        )
        return ArraysManifest(self.file, chosen, 0, len(chosen))

    def values(
        self, pixels: Sequence[NDArray[np.uint8]] | NDArray[np.uint8], sidecars: Sequence[bytes]
    ) -> Iterator[tuple[StoredArray, Integers]]:
        """Each array that has any of these images, and their values, (n, *image_shape).

        Args:
            pixels: (H, W, C) of each image.
            sidecars: of each image.

        Raises:
            FormatError: low bits are missing or damaged.
        """
        for array, run in self.runs():
            own = [pixels[number] for number in run]
            if array.depth == 8:
                levels = np.stack(own)
            else:
                lows = [sidecars[number] for number in run]
                levels = np.stack(list(map(full_levels, own, lows)))
            yield array, array.values(levels)

    def to_json(self) -> dict[str, JsonValue]:
        """The manifest as a JSON object; `from_json` reverses it."""
        return {
            "kind": self.kind,
            "file": self.file,
            "arrays": [array.to_json() for array in self.arrays],
            "first": self.first,
            "count": self.count,
            "names": list(self.names),
            "packed": self.packed,
            "header": self.header.decode("latin-1"),
        }


def full_levels(pixels: NDArray[np.uint8], data: bytes) -> NDArray[np.uint16]:
    """Levels of 16 bits, (H, W, C), from their high bits and an image's sidecar.

    Raises:
        FormatError: it lacks the low bits, or they are damaged.
    """
    low = sidecar.find(sidecar.unpack(data), sidecar.LOW)
    if low is None:
        raise FormatError("an image of 16 bits lacks its low bits")
    return bit_depth.join(pixels, low)


def from_json(fields: Mapping[str, JsonValue]) -> ArraysManifest:
    """The manifest that a JSON object says.

    Raises:
        FormatError: it has other fields, or wrong values in them.
    """
    match dict(fields):
        case {
            "kind": "arrays",
            "file": "npy" | "npz" as file,
            "arrays": [_, *_] as arrays,
            "first": int(first),
            "count": int(count),
            "names": [*names],
            "packed": bool(packed),
            "header": str(header),
        } if len(fields) == 8 and all(isinstance(name, str) for name in names):
            stored = tuple(map(_stored, arrays))
            texts = tuple(map(str, names))
            manifest = ArraysManifest(
                file, stored, first, count, texts, packed, header.encode("latin-1", "replace")
            )
            own = [array.name for array in stored]
            known = own == [name for name in texts if name in own] or not texts
            inside = 0 <= first < first + count <= manifest.total
            if known and inside and {type(first), type(count)} == {int}:
                return manifest
    raise FormatError(_WRONG)


def _stored(fields: object) -> StoredArray:
    match fields if isinstance(fields, dict) and len(fields) == 7 else None:
        case {
            "name": str(name),
            "dtype": str(dtype),
            "shape": [*shape],
            "axes": "hw" | "hwc" | "chw" | "hwb" as axes,
            "offset": int(offset),
            "depth": 8 | 16 as depth,
            "fortran": bool(fortran),
        } if _DTYPE.fullmatch(dtype):
            sides = tuple(side for side in shape if type(side) is int and side >= 1)
            right = len(sides) == len(shape) and shapes.fits(axes, sides)
            if right and type(depth) is int and _holds(np.dtype(dtype), offset):
                return StoredArray(name, dtype, sides, axes, offset, depth, fortran)
    raise FormatError(_WRONG)


def _holds(dtype: np.dtype[Any], value: int) -> bool:
    if type(value) is not int:
        return False
    if dtype == np.bool_:
        return value == 0
    return int(np.iinfo(dtype).min) <= value <= int(np.iinfo(dtype).max)
