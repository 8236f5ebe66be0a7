"""A set compressed, decoded and compared, with the time of both ways."""

import dataclasses
import hashlib
import io
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bitsback.archive import writer
from bitsback.archive.reader import Reader
from bitsback.archive.writer import Compressed
from bitsback.chunks.plan import Settings
from bitsback.coding.model import LoadedModel
from bitsback.errors import BitsbackError
from bitsback.images.image_set import ImageSet, check_plain, from_array
from bitsback.progress import Progress

T = TypeVar("T")
_WARM_SIDE = 64  # pixels of what is coded beforehand
Pixels = NDArray[np.uint8]
"""An image, (H, W, C)."""


@dataclasses.dataclass(frozen=True)
class Seconds:
    """Time that some work took.

    Args:
        wall: by the clock.
        processor: of all threads of this process together, user and system.
    """

    wall: float
    processor: float


@dataclasses.dataclass(frozen=True)
class Encoded:
    """What became of a set, and how long it took."""

    packed: Compressed
    seconds: Seconds


def timed(work: Callable[[], T]) -> tuple[T, Seconds]:
    """What some work gives, and the time that it takes."""
    wall, processor = time.perf_counter(), time.process_time()
    found = work()
    return found, Seconds(time.perf_counter() - wall, time.process_time() - processor)


def pixels_of(images: ImageSet, taker: str) -> ImageSet:
    """The images in memory, without metadata.

    Args:
        taker: what takes gray and RGB images alone, for the error.

    Raises:
        InputError: they are no such images.
    """
    check_plain(images, taker)
    return dataclasses.replace(
        images, pixels=list(images.pixels), sidecars=None, blocks=(), originals=None
    )


def warm_up(images: ImageSet, loaded: LoadedModel) -> None:
    """Code a piece of the first image, so that libraries are loaded and loops compiled."""
    piece = np.ascontiguousarray(images.pixels[0][None, :_WARM_SIDE, :_WARM_SIDE])
    writer.compress_set(from_array(piece), loaded)


def encode(
    images: ImageSet,
    loaded: LoadedModel,
    settings: Settings,
    chunk: int | None = None,
    progress: Progress | None = None,
) -> Encoded:
    """Compress a set in memory; arguments as of `writer.compress_set`.

    Raises:
        InputError: the set cannot be coded so.
    """
    return Encoded(
        *timed(
            lambda: writer.compress_set(images, loaded, settings, chunk=chunk, progress=progress)
        )
    )


def decode(
    data: bytes,
    images: ImageSet,
    loaded: LoadedModel,
    any_order: bool = False,
    progress: Progress | None = None,
) -> Seconds:
    """Decode a file of a set, and compare its images.

    Args:
        any_order: whether the same images in another order will do.

    Raises:
        BitsbackError: other images come back.
    """

    def restore() -> list[Pixels]:
        reader = Reader(io.BytesIO(data), lambda *_: loaded)
        return [image for part in reader.restored(progress) for image in part.pixels]

    restored, seconds = timed(restore)
    same = _same_set if any_order else _same
    if not same(list(images.pixels), restored):
        raise BitsbackError("bitsback did not give the images back")
    return seconds


def _same(images: Sequence[Pixels], restored: Sequence[Pixels]) -> bool:
    return len(images) == len(restored) and all(map(np.array_equal, images, restored))


def _same_set(images: Sequence[Pixels], restored: Sequence[Pixels]) -> bool:
    return Counter(map(_key, images)) == Counter(map(_key, restored))


def _key(image: Pixels) -> tuple[tuple[int, ...], bytes]:
    return image.shape, hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest()
