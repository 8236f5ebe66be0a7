"""A set of images in parts, one for each chunk of a file, some of them lost to damage."""

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from bitsback.errors import FormatError, InputError
from bitsback.format import sidecar

from .arrays.stored import ArraysManifest, StoredArray
from .image_file import HEAD_BYTES, looks_like_image
from .image_set import NO_IMAGES, ImageSet, Values, check_manifest, to_array
from .manifest import ArrayManifest, FilesManifest, Manifest

STRANGERS = "the file is damaged: its chunks do not belong together"


@dataclass(frozen=True)
class Lost:
    """So many images that could not be decoded."""

    images: int


Part = ImageSet | Lost


def image_count(part: Part) -> int:
    """Images in a part."""
    return part.images if isinstance(part, Lost) else len(part.pixels)


def with_first(parts: Iterable[Part]) -> tuple[ImageSet, Iterator[Part]]:
    """The first part that is not lost, its manifest checked, and an iterator over all parts.

    Raises:
        FormatError: all parts are lost, or the manifest does not describe its images.
    """
    rest, passed = iter(parts), []
    for part in rest:
        passed.append(part)
        if isinstance(part, ImageSet):
            check_manifest(part)
            return part, itertools.chain(passed, rest)
    raise FormatError("the file is damaged: no chunk of it can be decoded")


def whole_shape(manifest: ArrayManifest, count: int) -> tuple[int, ...]:
    """Shape of the array of `count` images that a part with this manifest comes from.

    Raises:
        FormatError: there is no such array.
    """
    images = manifest.stack_shape[0]
    if images == count:
        return manifest.shape
    if manifest.shape[0] != images or len(manifest.shape) < 3:
        raise FormatError(STRANGERS)
    return (count, *manifest.shape[1:])


def check_same_array(one: Manifest, other: Manifest) -> None:
    """Raise FormatError unless parts with these manifests are parts of one array."""
    if _array_of(one) != _array_of(other):
        raise FormatError(STRANGERS)


def _array_of(manifest: Manifest) -> tuple[str, str, tuple[int, ...]] | None:
    """What parts of one array have in common; None for files."""
    if isinstance(manifest, ArrayManifest):
        return manifest.kind, manifest.dtype, manifest.shape[1:]
    return None


def values_of(
    manifest: ArraysManifest, parts: Iterable[Part], count: int
) -> Iterator[tuple[StoredArray, Values]]:
    """The arrays whose parts these are, in order, a few images of one at a time.

    Args:
        manifest: of one of the parts.
        count: images in all parts.

    Returns:
        Pairs of an array and some of its images, (n, ...), zero where a part is lost.

    Raises:
        FormatError: the parts do not belong together.
    """
    whole, first = manifest.whole, 0
    if whole.total != count:
        raise FormatError(STRANGERS)
    for part in parts:
        images = image_count(part)
        if isinstance(part, Lost):
            for array, numbers in whole.runs(first, first + images):
                for _ in numbers:
                    yield array, np.zeros((1, *array.image_shape), array.dtype)
        else:
            check_manifest(part)
            if part.manifest != whole.part(first, first + images):
                raise FormatError(STRANGERS)
            yield from whole.part(first, first + images).values(part.pixels, part.each_sidecar)
        first += images


def join(parts: Iterable[Part], count: int) -> Values:
    """The array whose parts these are; for files, their images stacked.

    Args:
        count: images in all parts.

    Returns:
        The array, zero where a part is lost.

    Raises:
        InputError: images of different sizes, or image files that travel as they are.
        FormatError: a manifest does not describe its images.
    """
    if not count:
        raise InputError(NO_IMAGES)
    first, parts = with_first(each for each in map(_all_coded, parts) if image_count(each))
    if isinstance(first.manifest, ArraysManifest):
        return _join_values(first.manifest, parts, count)
    manifest, start = first.manifest, to_array(first)
    is_array = isinstance(manifest, ArrayManifest)
    shape = (count, *start.shape[1:])
    if isinstance(manifest, ArrayManifest):
        shape = whole_shape(manifest, count)
    # It grows with the parts that come: how many there are to be is but what the file says.
    flat: Values = np.zeros(0, start.dtype)
    image_size, position = math.prod(shape) // count, 0
    for part in parts:
        if isinstance(part, ImageSet):
            if is_array:
                check_same_array(manifest, part.manifest)
            values = to_array(part)
            if not is_array and (values.shape[1:], values.dtype) != (shape[1:], start.dtype):
                raise InputError(
                    "images of different sizes or kinds make no single array; decompress to a "
                    "folder, or take them one by one from bitsback.open"
                )
        end = position + image_size * image_count(part)
        flat.resize(end, refcheck=False)
        if isinstance(part, ImageSet):
            if values.size != end - position:
                raise FormatError(STRANGERS)
            flat[position:] = values.reshape(-1)
        position = end
    if flat.size != math.prod(shape):
        raise FormatError(STRANGERS)
    return flat.reshape(shape)


def _all_coded(part: Part) -> Part:
    """The part, if it has no image file beside its images.

    Raises:
        InputError: it has.
    """
    names = carried_images(part) if isinstance(part, ImageSet) else []
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise InputError(
            f"{names[0]}{more} travel as they are and are no part of an array; decompress to a "
            "folder, or take the coded images one by one from bitsback.open"
        )
    return part


@dataclass(frozen=True)
class ImageFile:
    """An image file that travels as it is: one whose name ends, or that begins, like one."""

    name: str
    content: bytes


def in_order(images: ImageSet) -> Iterator[int | ImageFile]:
    """The numbers of a set's images, and the image files beside them, as the source had them."""
    files = isinstance(images.manifest, FilesManifest)
    sidecars = images.sidecars if files and images.sidecars is not None else ()
    for number, data in enumerate(sidecars):
        records = sidecar.unpack(data)
        if number < len(images.pixels) and (sidecar.IMAGE, b"") not in records:
            yield number
        for kind, content in records:
            if kind == sidecar.IMAGE:
                yield number
            elif kind == sidecar.FILE:
                file = ImageFile(*sidecar.unpack_file(content))
                if looks_like_image(file.content[:HEAD_BYTES], file.name):
                    yield file
    yield from range(len(sidecars), len(images.pixels))


def carried_images(images: ImageSet) -> list[str]:
    """The names of image files beside a set's images, which travel as they are."""
    return [item.name for item in in_order(images) if isinstance(item, ImageFile)]


def _join_values(manifest: ArraysManifest, parts: Iterable[Part], count: int) -> Values:
    if len(manifest.arrays) > 1:
        names = ", ".join(array.name for array in manifest.arrays)
        raise InputError(
            f"the file holds several arrays of images ({names}); decompress to an .npz, or take "
            "the images one by one from bitsback.open"
        )
    (array,) = manifest.arrays
    pieces = [values for _, values in values_of(manifest, parts, count)]
    # Without a dtype NumPy would change the byte order.
    return np.concatenate(pieces, dtype=array.dtype).reshape(array.shape)
