"""A set of images, what rebuilds its source, and ranges of it.

An image's pixels are (H, W, C) uint8, C 1 to 4: gray, gray and alpha, RGB, RGBA. Where the whole
set is binary they are 0 and 1, otherwise a 1-bit file among others has 0 and 255. Of gray levels
of 16 bits the high bits are an image, and the low bits are its sidecar.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitsback.errors import FormatError, InputError
from bitsback.format.sidecar import pack_all, unpack_all

from .arrays import check_images, stack_shape
from .image_file import CHANNELS, DEEP_MODES, full_depth
from .lazy import Lazy
from .manifest import ArrayManifest, FilesManifest, Manifest, NpzManifest
from .outcomes import NOTHING, Kept

ImageArray = NDArray[np.uint8]
Values = NDArray[np.uint8 | np.uint16 | np.bool_]
"""Values as a source has them."""
NO_IMAGES = "no image is coded here, only files that travel as they are: decompress them"
_SCAN_VALUES = 1 << 24  # held at once while a lazy array is searched for values above 1


@dataclass(frozen=True)
class Block:
    """Files that no image has beside it since they are large: a chunk of their own.

    Args:
        before: number of the image that follows; that of all images for the last files.
        size: of the files, bytes.
        read: gives their sidecar.
    """

    before: int
    size: int
    read: Callable[[], bytes]


@dataclass(frozen=True)
class ImageSet:
    """Images, and what is needed to write them as they were.

    Args:
        pixels: of each image, (H, W, C) uint8, C 1 to 4: a list, a stack (N, H, W, C), or a
            sequence that reads them when they are asked for.
        binary: whether all have one channel that holds only 0 and 1.
        manifest: how to rebuild the source.
        extra: the other arrays of an .npz, serialised; b"" if none.
        sidecars: of files, what each image has beside its 8-bit values (see
            `bitsback.format.sidecar`); None if nothing.
        kept: how the files of the set come back.
        blocks: of files, those that have chunks of their own, in order.
        is_new: whether only readers of the newest format know its sidecars.
    """

    pixels: Sequence[ImageArray] | ImageArray
    binary: bool
    manifest: Manifest
    extra: bytes = b""
    sidecars: Sequence[bytes] | None = None
    kept: Kept = NOTHING
    blocks: tuple[Block, ...] = ()
    is_new: bool = False

    @property
    def each_sidecar(self) -> Sequence[bytes]:
        """Each image's sidecar; b"" for nothing."""
        return [b""] * len(self.pixels) if self.sidecars is None else self.sidecars

    @property
    def packed(self) -> bytes:
        """What the payload holds beside the manifest: `extra`, or the images' sidecars."""
        return self.extra if self.sidecars is None else pack_all(self.sidecars)


def from_payload(
    pixels: list[ImageArray], binary: bool, manifest: Manifest, packed: bytes
) -> ImageSet:
    """The set whose pixels were decoded, and whose payload holds the rest.

    Args:
        packed: what `ImageSet.packed` gave.

    Raises:
        FormatError: the manifest or the sidecars are not those of such images.
    """
    if isinstance(manifest, FilesManifest):
        sidecars = unpack_all(packed, len(pixels))
        images = ImageSet(pixels, binary, manifest, sidecars=sidecars)
    else:
        images = ImageSet(pixels, binary, manifest, packed)
    check_manifest(images)
    return images


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
    if np.ma.is_masked(array):
        raise InputError(f"{title} has a mask; give array.data and array.mask, each by itself")
    array = np.asarray(array)
    check_images(array, title)
    stack = array.astype(np.uint8, copy=False).reshape(stack_shape(array.shape))
    binary = stack.shape[3] == 1 and bool(stack.max() <= 1)
    return ImageSet(stack, binary, ArrayManifest(array.dtype.name, array.shape))


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
    # An array of this shape that takes no memory.
    check_images(np.broadcast_to(np.zeros((), dtype), shape), title)
    n, *sides = stack_shape(shape)

    def stack(begin: int, end: int) -> list[ImageArray]:
        return list(read(begin, end).astype(np.uint8, copy=False).reshape(-1, *sides))

    block = max(1, _SCAN_VALUES // math.prod(sides))
    binary = sides[2] == 1 and all(
        bool(read(begin, min(begin + block, n)).max() <= 1) for begin in range(0, n, block)
    )
    return ImageSet(Lazy(n, stack), binary, ArrayManifest(dtype.name, shape))


def to_array(images: ImageSet) -> Values:
    """The array that an ImageSet was read from; for files, their images stacked.

    Returns:
        The array in its dtype and shape; for files (N, H, W, C) uint8, or uint16 of 16-bit ones.

    Raises:
        InputError: files with images of different sizes or depths.
        FormatError: the manifest does not describe these images.
    """
    check_manifest(images)
    if not len(images.pixels):
        raise InputError(NO_IMAGES)
    manifest, pixels = images.manifest, images.pixels
    if isinstance(manifest, FilesManifest):
        together = zip(pixels, manifest.modes, images.each_sidecar, strict=True)
        levels = [full_depth(*image) for image in together]
        if len({(array.shape, array.dtype) for array in levels}) != 1:
            raise InputError(
                "images of different sizes or kinds make no single array; decompress to a "
                "folder, or take them one by one from bitsback.open"
            )
        return np.stack(levels)
    stack = pixels if isinstance(pixels, np.ndarray) else np.stack(list(pixels))
    return stack.reshape(manifest.shape).astype(manifest.dtype)


def to_stack(images: ImageSet) -> Values:
    """The images along a first axis of their own, also where there is one.

    Returns:
        (N, H, W) or (N, H, W, C) in the source's dtype: with an axis of channels where the array
        had one; for files (N, H, W, C).

    Raises:
        InputError, FormatError: as `to_array`.
    """
    array, manifest = to_array(images), images.manifest
    if isinstance(manifest, FilesManifest):
        return array
    n, height, width, channels = manifest.stack_shape
    shape = manifest.shape
    has_channels = len(shape) == 4 or (len(shape) == 3 and shape[2] in (1, 3))
    return array.reshape((n, height, width, channels) if has_channels else (n, height, width))


def part(images: ImageSet, begin: int, end: int) -> ImageSet:
    """Images begin..end - 1 as a set of their own; the other arrays go with the first."""
    pixels = images.pixels[begin:end]
    sidecars = None if images.sidecars is None else images.sidecars[begin:end]
    if len(pixels) == len(images.pixels):
        return dataclasses.replace(images, pixels=pixels, sidecars=sidecars, blocks=())
    manifest = images.manifest.part(begin, begin + len(pixels))
    extra = b"" if begin else images.extra
    return ImageSet(pixels, images.binary, manifest, extra, sidecars=sidecars, is_new=images.is_new)


def bare(images: ImageSet, block: Block) -> ImageSet:
    """A block's files as a set without images."""
    sidecars = [block.read()]
    return ImageSet([], images.binary, images.manifest.part(0, 0), sidecars=sidecars, is_new=True)


def picked(images: ImageSet, numbers: Sequence[int]) -> ImageSet:
    """Images of these numbers as a set of their own, without the other arrays of an .npz."""
    if len(numbers) == len(images.pixels):
        return images
    pixels = [images.pixels[number] for number in numbers]
    sidecars = None if images.sidecars is None else [images.sidecars[number] for number in numbers]
    manifest = images.manifest.picked(numbers)
    return ImageSet(pixels, images.binary, manifest, sidecars=sidecars, is_new=images.is_new)


def first_images(images: ImageSet, count: int) -> ImageSet:
    """The first `count` images as a set of their own, without the other arrays of an .npz."""
    first = part(images, 0, count)
    manifest = first.manifest
    if isinstance(manifest, NpzManifest):
        manifest = ArrayManifest(manifest.dtype, manifest.shape)
    return dataclasses.replace(first, manifest=manifest, extra=b"")


def check_manifest(images: ImageSet) -> None:
    """Raise FormatError unless the manifest fits the images."""
    manifest, pixels = images.manifest, images.pixels
    if manifest.image_shapes(len(pixels)) != [image.shape for image in pixels]:
        raise FormatError("its manifest does not describe its images")
    if isinstance(manifest, FilesManifest):
        modes = zip(manifest.modes, pixels, strict=True)
        fits = all(_fits(mode, image, images.binary) for mode, image in modes)
    else:
        fits = manifest.dtype == "uint8" or all(image.max() <= 1 for image in pixels)
    if not fits:
        raise FormatError("its manifest tells a kind of pixels that cannot hold its images")


def check_plain(images: ImageSet, taker: str) -> None:
    """Raise InputError unless all images are gray or RGB of 8 bits.

    Args:
        taker: what takes no others, for the error.
    """
    manifest = images.manifest
    if not len(images.pixels):
        raise InputError(NO_IMAGES)
    deep = isinstance(manifest, FilesManifest) and not DEEP_MODES.keys().isdisjoint(manifest.modes)
    if deep or any(image.shape[2] not in (1, 3) for image in images.pixels):
        raise InputError(f"{taker} takes gray and RGB images of 8 bits, without alpha")


def _fits(mode: str, pixels: ImageArray, binary: bool) -> bool:
    """Whether an image of this mode can have these pixels."""
    if mode == "1":
        return pixels.shape[2] == 1 and bool(np.isin(pixels, (0, 1 if binary else 255)).all())
    return pixels.shape[2] == CHANNELS[mode]
