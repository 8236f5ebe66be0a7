"""What rebuilds the source of a set of images, as frozen dataclasses and as JSON.

A chunk's payload holds a manifest as a JSON object with its "kind" and the fields of that kind:

    array   dtype ("uint8" or "bool"), shape
    npz     the same, and name (of the array of images), names (of all arrays, in order), packed
            (whether the .npz is compressed)
    arrays  several arrays, or one of other dtypes and axes: see `arrays.stored.ArraysManifest`
    file    names, modes (see `image_file.CHANNELS`) and shapes (H, W, C), lists of length one
    folder  the same for every image file; names are relative, with forward slashes
    tar     the same for every image among its members
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from bitsback.errors import FormatError
from bitsback.format.payload import JsonValue

from .arrays import stored
from .arrays.shapes import ImageShape as ImageShape
from .arrays.shapes import stack_shape
from .arrays.stored import ArraysManifest
from .image_file import CHANNELS

Kind = Literal["file", "folder", "tar"]
"""Of a source of image files."""
Fields = Mapping[str, JsonValue]

_NOT_ITS_IMAGES = "its manifest does not describe its images"
_NO_SHAPES = "its manifest does not say the images' shapes"
_NO_STACK = "the manifest has an array that is not one of images"


@dataclass(frozen=True)
class ArrayManifest:
    """An array of images.

    Args:
        dtype: "uint8" or "bool".
        shape: as `arrays.shapes.is_plain` takes it.
    """

    kind: ClassVar[str] = "array"
    dtype: str
    shape: tuple[int, ...]

    @property
    def stack_shape(self) -> tuple[int, int, int, int]:
        """Shape (N, H, W, C) of the stack that the array holds."""
        return stack_shape(self.shape)

    def image_shapes(self, count: int) -> list[ImageShape]:
        """Shapes of the images, in order.

        Args:
            count: how many images there should be.

        Raises:
            FormatError: there are more or fewer.
        """
        n, *shape = self.stack_shape
        if n != count:
            raise FormatError(_NOT_ITS_IMAGES)
        height, width, channels = shape
        return [(height, width, channels)] * count

    def sizes(self) -> NDArray[np.int64]:
        """Values of every image, (N,)."""
        n, *shape = self.stack_shape
        return np.full(n, math.prod(shape), np.int64)

    def part(self, begin: int, end: int) -> "ArrayManifest":
        """The manifest of images begin..end - 1 of an array with an axis for them."""
        return dataclasses.replace(self, shape=(end - begin, *self.shape[1:]))

    def picked(self, numbers: Sequence[int]) -> "ArrayManifest":
        """The manifest of images of these numbers, without the other arrays of an .npz."""
        return ArrayManifest(self.dtype, (len(numbers), *self.shape[1:]))

    def to_json(self) -> dict[str, JsonValue]:
        """The manifest as a JSON object; `from_json` reverses it."""
        return {"kind": self.kind, "dtype": self.dtype, "shape": list(self.shape)}


@dataclass(frozen=True)
class NpzManifest(ArrayManifest):
    """An array of images among the arrays of an .npz.

    Args:
        name: of the array of images.
        names: of all arrays, in the file's order.
        packed: whether the file is compressed.
    """

    kind: ClassVar[str] = "npz"
    name: str
    names: tuple[str, ...]
    packed: bool

    def to_json(self) -> dict[str, JsonValue]:
        """The manifest as a JSON object; `from_json` reverses it."""
        fields = super().to_json()
        return fields | {"name": self.name, "names": list(self.names), "packed": self.packed}


@dataclass(frozen=True)
class FilesManifest:
    """Image files.

    Args:
        kind: whether they are one file, or lie in a folder or a tar.
        names: of all files, relative, with forward slashes.
        modes: of the images, keys of `image_file.CHANNELS`.
        shapes: of the images.
    """

    kind: Kind
    names: tuple[str, ...]
    modes: tuple[str, ...]
    shapes: tuple[ImageShape, ...]

    def image_shapes(self, count: int) -> list[ImageShape]:
        """Shapes of the images, in order.

        Args:
            count: how many images there should be.

        Raises:
            FormatError: there are more or fewer.
        """
        if len(self.shapes) != count:
            raise FormatError(_NOT_ITS_IMAGES)
        return list(self.shapes)

    def sizes(self) -> NDArray[np.int64]:
        """Values of every image, (N,)."""
        return np.array([math.prod(shape) for shape in self.shapes], np.int64)

    def part(self, begin: int, end: int) -> "FilesManifest":
        """The manifest of images begin..end - 1."""
        return self.picked(range(begin, end))

    def picked(self, numbers: Sequence[int]) -> "FilesManifest":
        """The manifest of images of these numbers."""
        return FilesManifest(
            self.kind,
            tuple(self.names[number] for number in numbers),
            tuple(self.modes[number] for number in numbers),
            tuple(self.shapes[number] for number in numbers),
        )

    def to_json(self) -> dict[str, JsonValue]:
        """The manifest as a JSON object; `from_json` reverses it."""
        return {
            "kind": self.kind,
            "names": list(self.names),
            "modes": list(self.modes),
            "shapes": [list(shape) for shape in self.shapes],
        }


Manifest = ArrayManifest | ArraysManifest | FilesManifest
"""Of a set of images; an `NpzManifest` is an `ArrayManifest`."""


def from_json(fields: Fields) -> Manifest:
    """The manifest that a JSON object says.

    Raises:
        FormatError: it has other fields than its kind, or wrong values in them.
    """
    kind = fields.get("kind")
    match kind:
        case "array":
            _check_names(fields, ArrayManifest)
            return ArrayManifest(_dtype(fields), _array_shape(fields))
        case "npz":
            _check_names(fields, NpzManifest)
            name, packed = fields["name"], fields["packed"]
            if not isinstance(name, str) or not isinstance(packed, bool):
                raise FormatError(_NOT_ITS_IMAGES)
            names = _texts(fields["names"])
            return NpzManifest(_dtype(fields), _array_shape(fields), name, names, packed)
        case "arrays":
            return stored.from_json(fields)
        case "file" | "folder" | "tar":
            _check_names(fields, FilesManifest)
            return _files(kind, fields)
    raise FormatError(_NOT_ITS_IMAGES)


def _files(kind: Kind, fields: Fields) -> FilesManifest:
    names, modes, shapes = _texts(fields["names"]), _texts(fields["modes"]), fields["shapes"]
    if not isinstance(shapes, list):
        raise FormatError(_NO_SHAPES)
    if not len(names) == len(modes) == len(shapes) or not CHANNELS.keys() >= set(modes):
        raise FormatError(_NOT_ITS_IMAGES)
    if kind == "file" and len(names) != 1:
        raise FormatError(_NOT_ITS_IMAGES)
    return FilesManifest(kind, names, modes, tuple(map(_image_shape, shapes)))


def _check_names(fields: Fields, kind: type[ArrayManifest] | type[FilesManifest]) -> None:
    if fields.keys() != {"kind"} | {field.name for field in dataclasses.fields(kind)}:
        raise FormatError(_NOT_ITS_IMAGES)


def _dtype(fields: Fields) -> str:
    match fields["dtype"]:
        case "uint8" | "bool" as dtype:
            return dtype
    raise FormatError(_NOT_ITS_IMAGES)


def _array_shape(fields: Fields) -> tuple[int, ...]:
    shape = _sides(fields["shape"])
    try:
        *_, channels = stack_shape(shape)
    except ValueError as error:
        raise FormatError(_NO_STACK) from error
    if channels > 4:
        raise FormatError(_NOT_ITS_IMAGES)
    return shape


def _image_shape(value: JsonValue) -> ImageShape:
    sides = _sides(value)
    if len(sides) != 3:
        raise FormatError(_NO_SHAPES)
    height, width, channels = sides
    if channels > 4:
        raise FormatError(_NOT_ITS_IMAGES)
    return height, width, channels


def _sides(value: JsonValue) -> tuple[int, ...]:
    """A shape; true and false, which Python takes for numbers, are no sides."""
    if not isinstance(value, list):
        raise FormatError(_NO_SHAPES)
    sides = tuple(side for side in value if type(side) is int and side >= 1)
    if len(sides) != len(value):
        raise FormatError(_NOT_ITS_IMAGES)
    return sides


def _texts(value: JsonValue) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise FormatError(_NOT_ITS_IMAGES)
    texts = tuple(text for text in value if isinstance(text, str))
    if len(texts) != len(value):
        raise FormatError(_NOT_ITS_IMAGES)
    return texts
