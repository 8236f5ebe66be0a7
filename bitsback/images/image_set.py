"""A set of images, what rebuilds its source, and ranges of it.

The manifest is a JSON object with a "kind" and what rebuilds that kind:

    array   dtype ("uint8" or "bool"), shape
    npz     the same, and name (of the image array), names (all, in order), packed (compressed)
    file    names, modes (see `images.CHANNELS`) and shapes (H, W, C), lists of length one
    folder  the same for every file; names are relative, with forward slashes
    tar     the same for every image among its members

An image's pixels are (H, W, C) uint8, C 1 to 4: gray, gray and alpha, RGB, RGBA. Where the whole
set is binary they are 0 and 1, otherwise a 1-bit file among others has 0 and 255. Of gray levels
of 16 bits the high ones are an image, the low ones lie beside it.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitsback.errors import FormatError, InputError
from bitsback.format.sidecar import pack_all

from .arrays import check_images, stack_shape
from .image_file import CHANNELS, DEEP, full_depth
from .lazy import Lazy

ImageArray = NDArray[np.uint8]
_SCAN_VALUES = 1 << 24  # held at once while a lazy array is searched for values above 1

_FIELDS = {
    "array": {"kind", "dtype", "shape"},
    "npz": {"kind", "dtype", "shape", "name", "names", "packed"},
    "file": {"kind", "names", "modes", "shapes"},
    "folder": {"kind", "names", "modes", "shapes"},
    "tar": {"kind", "names", "modes", "shapes"},
}


@dataclass(frozen=True)
class ImageSet:
    """Images, and what is needed to write them as they were.

    Args:
        pixels: of each image, (H, W, C) uint8, C 1 to 4: a list, a stack (N, H, W, C), or a
            sequence that reads them when they are asked for.
        binary: whether all have one channel that holds only 0 and 1.
        manifest: how to rebuild the source (see the module).
        extra: the other arrays of an .npz, serialised; b"" if none.
        sidecars: of files, what each image has beside its 8-bit values (see
            `bitsback.format.sidecar`); None if nothing.
    """

    pixels: Sequence[ImageArray] | NDArray[np.uint8]
    binary: bool
    manifest: dict[str, Any]
    extra: bytes = b""
    sidecars: Sequence[bytes] | None = None

    @property
    def each_sidecar(self) -> Sequence[bytes]:
        """Each image's sidecar; b"" for nothing."""
        return [b""] * len(self.pixels) if self.sidecars is None else self.sidecars

    @property
    def packed(self) -> bytes:
        """What the payload holds beside the manifest: `extra`, or the images' sidecars."""
        return self.extra if self.sidecars is None else pack_all(self.sidecars)


def from_array(array: NDArray[Any], title: str = "the array") -> ImageSet:
    """Take an array as images.

    Args:
        array: uint8 or bool; (N, H, W), (N, H, W, C) with C 1 to 4, or one image as (H, W) or
            (H, W, 3).
        title: what an error calls the array.

    Returns:
        The set; `to_array` reverses it.

    Raises:
        InputError: another dtype or shape, or no pixels.
    """
    array = np.asarray(array)
    check_images(array, title)
    stack = array.astype(np.uint8, copy=False).reshape(stack_shape(array.shape))
    binary = stack.shape[3] == 1 and bool(stack.max() <= 1)
    return ImageSet(stack, binary, array_manifest(array.dtype, array.shape))


def from_ranges(
    read: Callable[[int, int], NDArray[np.uint8 | np.bool_]],
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    title: str,
) -> ImageSet:
    """Take an array as images that are read each time they are asked for.

    Args:
        read: gives images begin..end - 1, whose values in C order are those of the array.
        dtype: of the array.
        shape: (N, H, W) or (N, H, W, C), as for `from_array`.
        title: what an error calls the array.

    Raises:
        InputError: another dtype or shape, or no pixels.
    """
    # An empty array of the shape tells what is wrong with it.
    check_images(np.broadcast_to(np.zeros((), dtype), shape), title)
    n, *sides = stack_shape(shape)

    def stack(begin: int, end: int) -> list[ImageArray]:
        return list(read(begin, end).astype(np.uint8, copy=False).reshape(-1, *sides))

    block = max(1, _SCAN_VALUES // math.prod(sides))
    binary = sides[2] == 1 and all(
        bool(read(begin, min(begin + block, n)).max() <= 1) for begin in range(0, n, block)
    )
    return ImageSet(Lazy(n, stack), binary, array_manifest(dtype, shape))


def array_manifest(dtype: np.dtype[Any], shape: Sequence[int]) -> dict[str, Any]:
    """The manifest of an array of images."""
    return {"kind": "array", "dtype": dtype.name, "shape": list(shape)}


def to_array(images: ImageSet) -> NDArray[Any]:
    """The array that an ImageSet was read from; for files, their images stacked.

    Returns:
        The array in its dtype and shape; for files (N, H, W, C) uint8, or uint16 of 16-bit ones.

    Raises:
        InputError: files with images of different sizes or depths.
        FormatError: the manifest does not describe these images.
    """
    check_manifest(images)
    manifest, pixels = images.manifest, images.pixels
    if "modes" in manifest:
        each = levels(images)
        if len({(found.shape, found.dtype) for found in each}) != 1:
            raise InputError(
                "images of different sizes or kinds make no single array; decompress to a "
                "folder, or take them one by one from bitsback.open"
            )
        return np.stack(each)
    stack = pixels if isinstance(pixels, np.ndarray) else np.stack(list(pixels))
    return stack.reshape([int(side) for side in manifest["shape"]]).astype(manifest["dtype"])


def levels(images: ImageSet) -> list[NDArray[Any]]:
    """The images of files in full depth: (H, W, C) uint8, or (H, W, 1) uint16 each.

    Raises:
        FormatError: the low bits of one are damaged.
    """
    modes = images.manifest["modes"]
    together = zip(images.pixels, modes, images.each_sidecar, strict=True)
    return [full_depth(*each) for each in together]


def to_stack(images: ImageSet) -> NDArray[Any]:
    """The images along a first axis of their own, also where there is one.

    Returns:
        (N, H, W) or (N, H, W, C) in the source's dtype: with an axis of channels where the array
        had one; for files (N, H, W, C).

    Raises:
        InputError, FormatError: as `to_array`.
    """
    array, shape = to_array(images), images.manifest.get("shape", [])
    n, height, width, channels = stack_shape(shape) if shape else array.shape
    flat = shape and (len(shape) == 2 or (len(shape) == 3 and shape[2] not in (1, 3)))
    return array.reshape((n, height, width) if flat else (n, height, width, channels))


def part(images: ImageSet, begin: int, end: int) -> ImageSet:
    """Images begin..end - 1 as a set of their own; the other arrays go with the first."""
    pixels = images.pixels[begin:end]
    sidecars = None if images.sidecars is None else images.sidecars[begin:end]
    if len(pixels) == len(images.pixels):
        return dataclasses.replace(images, pixels=pixels, sidecars=sidecars)
    manifest = dict(images.manifest)
    if manifest["kind"] in ("array", "npz"):
        manifest["shape"] = [len(pixels), *manifest["shape"][1:]]
    else:
        for field in ("names", "modes", "shapes"):
            manifest[field] = manifest[field][begin:end]
    return ImageSet(pixels, images.binary, manifest, b"" if begin else images.extra, sidecars)


def picked(images: ImageSet, numbers: Sequence[int]) -> ImageSet:
    """Images of these numbers as a set of their own, without the other arrays of an ."""
    if len(numbers) == len(images.pixels):
        return images
    pixels = [images.pixels[number] for number in numbers]
    manifest = dict(images.manifest)
    if manifest["kind"] in ("array", "npz"):
        shape = [len(pixels), *manifest["shape"][1:]]
        manifest = array_manifest(np.dtype(manifest["dtype"]), shape)
    else:
        for field in ("names", "modes", "shapes"):
            manifest[field] = [manifest[field][number] for number in numbers]
    sidecars = None if images.sidecars is None else [images.sidecars[number] for number in numbers]
    return ImageSet(pixels, images.binary, manifest, sidecars=sidecars)


def first_images(images: ImageSet, count: int) -> ImageSet:
    """The first `count` images as a set of their own, without the other arrays of an ."""
    found = part(images, 0, count)
    manifest = dict(found.manifest)
    if manifest["kind"] == "npz":
        manifest = array_manifest(np.dtype(manifest["dtype"]), manifest["shape"])
    return ImageSet(found.pixels, found.binary, manifest, sidecars=found.sidecars)


def image_sizes(manifest: dict[str, Any]) -> NDArray[np.int64]:
    """Values of every image that a manifest describes, (N,) int64."""
    if manifest["kind"] in ("array", "npz"):
        n, *sides = stack_shape(manifest["shape"])
        return np.full(n, math.prod(sides), np.int64)
    return np.array([math.prod(shape) for shape in manifest["shapes"]], np.int64)


def image_shapes(manifest: dict[str, Any], count: int) -> list[tuple[int, int, int]]:
    """Shapes (H, W, C) of the images that a manifest describes, in order.

    Args:
        count: images that it should describe.

    Raises:
        FormatError: the manifest is malformed, or describes more or fewer.
    """
    try:
        if manifest["kind"] in ("array", "npz"):
            n, height, width, channels = stack_shape(manifest["shape"])
            found = [(height, width, channels)] * (n if n == count else 0)
        else:
            found = [(height, width, c) for height, width, c in manifest["shapes"]]
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError("its manifest does not say the images' shapes") from error
    sides = (side for shape in found for side in shape)
    good = len(found) == count and all(type(side) is int and side >= 1 for side in sides)
    if not good or any(shape[2] > 4 for shape in found):
        raise FormatError("its manifest does not describe its images")
    return found


def check_manifest(images: ImageSet) -> None:
    """Raise FormatError unless the manifest has its kind's fields and fits the images."""
    manifest = images.manifest
    kind = manifest.get("kind")
    good = isinstance(kind, str) and manifest.keys() == _FIELDS.get(kind)
    if good and kind in ("array", "npz"):
        good = manifest["dtype"] in ("uint8", "bool")
    if good and kind == "npz":
        good = isinstance(manifest["name"], str) and _is_texts(manifest["names"])
        good = good and isinstance(manifest["packed"], bool)
    if good and kind in ("file", "folder", "tar"):
        names = manifest["names"]
        modes = manifest["modes"]
        good = _is_texts(names) and _is_texts(modes) and len(names) == len(modes)
        good = good and len(names) == len(images.pixels) and set(modes) <= CHANNELS.keys()
        good = good and (kind != "file" or len(names) == 1)
    if not good or image_shapes(manifest, len(images.pixels)) != [
        image.shape for image in images.pixels
    ]:
        raise FormatError("its manifest does not describe its images")
    if kind in ("array", "npz"):
        good = manifest["dtype"] == "uint8" or all(p.max() <= 1 for p in images.pixels)
    else:
        modes = zip(manifest["modes"], images.pixels, strict=True)
        good = all(_holds(mode, pixels, images.binary) for mode, pixels in modes)
    if not good:
        raise FormatError("its manifest tells a kind of pixels that cannot hold its images")


def check_plain(images: ImageSet, what: str) -> None:
    """Raise InputError unless all images are gray or RGB of 8 bits; `what` takes no others."""
    deep = DEEP in images.manifest.get("modes", [])
    if deep or any(image.shape[2] not in (1, 3) for image in images.pixels):
        raise InputError(f"{what} takes gray and RGB images of 8 bits, without alpha")


def _holds(mode: str, pixels: ImageArray, binary: bool) -> bool:
    if mode == "1":
        return pixels.shape[2] == 1 and bool(np.isin(pixels, (0, 1 if binary else 255)).all())
    return pixels.shape[2] == CHANNELS[mode]


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
