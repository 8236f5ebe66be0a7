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
from bitsback.format import varint
from bitsback.format.sidecar import pack_all, unpack_all

from .arrays import shapes, sources
from .arrays.sources import Source
from .arrays.stored import ArraysManifest
from .image_file import CHANNELS, DEEP_MODES, full_depth
from .lazy import Lazy
from .manifest import ArrayManifest, FilesManifest, Manifest, NpzManifest
from .outcomes import NOTHING, Kept

ImageArray = NDArray[np.uint8]
Values = NDArray[np.integer[Any] | np.bool_]
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
        sidecars: what each image of files, or of levels of 16 bits, has beside its 8-bit values
            (see `bitsback.format.sidecar`); None if nothing.
        kept: how the files of the set come back.
        blocks: of files, those that have chunks of their own, in order.
        is_new: whether only readers of the newest format know its sidecars.
        originals: of files, the bytes of each image's file, which may travel in place of its
            pixels; b"" where they may not; None if that is so of all.
    """

    pixels: Sequence[ImageArray] | ImageArray
    binary: bool
    manifest: Manifest
    extra: bytes = b""
    sidecars: Sequence[bytes] | None = None
    kept: Kept = NOTHING
    blocks: tuple[Block, ...] = ()
    is_new: bool = False
    originals: Sequence[bytes] | None = None

    @property
    def each_sidecar(self) -> Sequence[bytes]:
        """Each image's sidecar; b"" for nothing."""
        return [b""] * len(self.pixels) if self.sidecars is None else self.sidecars

    @property
    def packed(self) -> bytes:
        """What the payload holds beside the manifest: `extra`, or the images' sidecars.

        Of several arrays, or of levels of 16 bits, it is the length of `extra`, and both.
        """
        beside = b"" if self.sidecars is None else pack_all(self.sidecars)
        if isinstance(self.manifest, ArraysManifest):
            return varint.pack(len(self.extra)) + self.extra + beside
        return self.extra if self.sidecars is None else beside


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
    elif isinstance(manifest, ArraysManifest):
        size, start = varint.unpack(packed, 0, "its payload")
        if start + size > len(packed):
            raise FormatError("its payload is cut short")
        sidecars = unpack_all(packed[start + size :], len(pixels))
        images = ImageSet(pixels, binary, manifest, packed[start : start + size], sidecars)
    else:
        images = ImageSet(pixels, binary, manifest, packed)
    check_manifest(images)
    return images


def from_array(array: NDArray[Any], title: str = "the array") -> ImageSet:
    """Take an array as images.

    Args:
        array: integers or bool, of two axes or more (see `bitsback.images.arrays.shapes`).
        title: what an error calls the array.

    Returns:
        The set; `to_array` reverses it.

    Raises:
        InputError: another dtype, too few axes, no pixels, or values more than 16 bits apart.
    """
    if np.ma.is_masked(array):
        raise InputError(f"{title} has a mask; give array.data and array.mask, each by itself")
    array = np.asarray(array)
    shapes.check(array.dtype, array.shape, title)
    if not shapes.is_plain(array.dtype, array.shape):
        # How an array lies in memory is not part of its value, unlike the order in a file.
        source = dataclasses.replace(sources.source_of(array, title), fortran=False)
        return from_sources([source], ArraysManifest("npy", (), 0, 0))
    stack = array.astype(np.uint8, copy=False).reshape(shapes.stack_shape(array.shape))
    binary = stack.shape[3] == 1 and bool(stack.max() <= 1)
    return ImageSet(stack, binary, ArrayManifest(array.dtype.name, array.shape))


def from_ranges(source: Source) -> ImageSet:
    """Take an array as images that are read each time they are asked for.

    Raises:
        InputError: as `from_array`.
    """
    shapes.check(source.dtype, source.shape, source.title)
    if source.fortran or not shapes.is_plain(source.dtype, source.shape):
        return from_sources([source], ArraysManifest("npy", (), 0, 0))
    n, *sides = shapes.stack_shape(source.shape)

    def stack(begin: int, end: int) -> NDArray[np.uint8]:
        # NumPy takes any byte but 0 of a bool for true.
        read = source.read(begin, end)
        values = read.view(np.uint8) != 0 if read.dtype == np.bool_ else read
        return values.astype(np.uint8, copy=False).reshape(-1, *sides)

    block = max(1, _SCAN_VALUES // math.prod(sides))
    binary = sides[2] == 1 and all(
        bool(stack(begin, min(begin + block, n)).max() <= 1) for begin in range(0, n, block)
    )

    def checked(begin: int, end: int) -> list[ImageArray]:
        images = stack(begin, end)
        if binary and bool((images > 1).any()):
            raise InputError(f"{source.title} changed while it was read")
        return list(images)

    return ImageSet(Lazy(n, checked), binary, ArrayManifest(source.dtype.name, source.shape))


def from_sources(
    arrays: Sequence[Source], manifest: ArraysManifest, extra: bytes = b""
) -> ImageSet:
    """Take arrays as images, one array after another.

    Args:
        manifest: what they come back as; its arrays and their images are filled in.
        extra: the other arrays of an .npz, serialised.

    Raises:
        InputError: as `from_array`.
    """
    coded = sources.code(arrays)
    manifest = dataclasses.replace(manifest, arrays=coded.arrays, count=len(coded.pixels))
    return ImageSet(coded.pixels, coded.binary, manifest, extra, coded.sidecars)


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
    if isinstance(manifest, ArraysManifest):
        stack = to_stack(images)
        whole = manifest.count == manifest.total and len(manifest.arrays) == 1
        return stack.reshape(manifest.arrays[0].shape) if whole else stack
    stack = pixels if isinstance(pixels, np.ndarray) else np.stack(list(pixels))
    return stack.reshape(manifest.shape).astype(manifest.dtype)


def to_stack(images: ImageSet) -> Values:
    """The images along a first axis of their own, also where there is one.

    Returns:
        (N, H, W) or (N, H, W, C) in the source's dtype: with an axis of channels where the array
        had one; for files (N, H, W, C). Of arrays of other axes, each image in these.

    Raises:
        InputError, FormatError: as `to_array`.
    """
    manifest = images.manifest
    if isinstance(manifest, ArraysManifest):
        check_manifest(images)
        values = [each for _, each in manifest.values(images.pixels, images.each_sidecar)]
        if len({(each.shape[1:], each.dtype) for each in values}) != 1:
            raise InputError(
                "images of several arrays make no single array; decompress to an .npz, or take "
                "them one by one from bitsback.open"
            )
        # Without a dtype NumPy would change the byte order.
        return np.concatenate(values, dtype=values[0].dtype)
    array = to_array(images)
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
    originals = None if images.originals is None else images.originals[begin:end]
    if len(pixels) == len(images.pixels):
        return dataclasses.replace(
            images, pixels=pixels, sidecars=sidecars, blocks=(), originals=originals
        )
    return ImageSet(
        pixels,
        images.binary,
        images.manifest.part(begin, begin + len(pixels)),
        b"" if begin else images.extra,
        sidecars=sidecars,
        is_new=images.is_new,
        originals=originals,
    )


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
    originals = None
    if images.originals is not None:
        originals = [images.originals[number] for number in numbers]
    return ImageSet(
        pixels,
        images.binary,
        images.manifest.picked(numbers),
        sidecars=sidecars,
        is_new=images.is_new,
        originals=originals,
    )


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
    if isinstance(manifest, ArraysManifest):
        fits = images.sidecars is not None or not manifest.is_deep_here
    elif isinstance(manifest, FilesManifest):
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
    other = isinstance(manifest, FilesManifest) and not DEEP_MODES.keys().isdisjoint(manifest.modes)
    # Such a taker keeps neither dtypes nor the order of axes.
    other |= isinstance(manifest, ArraysManifest) and not manifest.is_pixels
    if other or any(image.shape[2] not in (1, 3) for image in images.pixels):
        raise InputError(f"{taker} takes gray and RGB images of 8 bits, without alpha")


def _fits(mode: str, pixels: ImageArray, binary: bool) -> bool:
    """Whether an image of this mode can have these pixels."""
    if mode == "1":
        return pixels.shape[2] == 1 and bool(np.isin(pixels, (0, 1 if binary else 255)).all())
    return pixels.shape[2] == CHANNELS[mode]
