"""Images whose order is not coded: bits-back over the order itself.

Before a batch is coded, the number of each of its images is popped from the message, uniformly
among those that remain in canonical order. Decoding inserts an image into the sorted list of those
that it has, and pushes its number back. So n images give back log2(n!) bits, less what equal images
share. The canonical order is that of a hash, so that the first images, which are initial bits, are
of no special kind.

Source: D. Severo et al., arXiv:2107.09202 (multisets) and arXiv:2305.09705 (random order coding).
"""

import bisect
import hashlib
import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from bitsback.ans.message import Message
from bitsback.coding.rates import Spread

PRECISION = 24
_TOTAL = 1 << PRECISION

Image = NDArray[np.uint8]


def key(image: Image) -> bytes:
    """What images are sorted by: the same for equal ones alone."""
    data = np.ascontiguousarray(image, np.uint8).tobytes()
    return hashlib.blake2b(data, digest_size=8).digest() + data


def canonical(images: Iterable[Image]) -> NDArray[np.int64]:
    """Numbers of images in canonical order, (N,); equal ones stay in theirs."""
    keys = [key(image) for image in images]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)


def _interval(keys: list[bytes], found: bytes) -> tuple[int, int, int]:
    """Start and width of an image's numbers among those of a sorted list; how many are equal."""
    low, high = bisect.bisect_left(keys, found), bisect.bisect_right(keys, found)
    start, end = (each * _TOTAL // len(keys) for each in (low, high))
    return start, end - start, high - low


def _on_one_head(message: Message, count: int) -> Message:
    """The head that takes the number of one of `count` images; the tail is shared."""
    head = count % len(message.heads)
    return Message(message.heads[head : head + 1], message.tail)


class Remaining:
    """Images that are still to be coded, in canonical order.

    Args:
        keys: of the images, sorted.
        first: number of the first of them.
    """

    def __init__(self, keys: list[bytes], first: int) -> None:
        self._keys = keys
        self._numbers = list(range(first, first + len(keys)))
        self.bits = self.promised_bits = 0.0
        self.spread = Spread()

    def pop(self, message: Message, count: int) -> NDArray[np.int64]:
        """Take the numbers of so many images off the message, (count,).

        Raises:
            EmptyMessageError: it holds too few bits.
        """
        before = message.bits
        numbers = [self._pop(message) for _ in range(count)]
        self.bits += before - message.bits
        return np.array(numbers, np.int64)

    def _pop(self, message: Message) -> int:
        keys, count = self._keys, len(self._keys)

        def find(
            places: NDArray[np.uint64], where: slice
        ) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint64]]:
            place = ((int(places[0]) + 1) * count - 1) >> PRECISION
            start, width, _ = _interval(keys, keys[place])
            return np.array([place]), np.array([start], np.uint64), np.array([width], np.uint64)

        (place,) = _on_one_head(message, count).pop(1, PRECISION, find)
        _, width, same = _interval(keys, keys[place])
        self.promised_bits += math.log2(count / same)
        # A width is a whole number: it is off by at most one.
        self.spread += Spread(rounding_bits=1 / (width * math.log(2)), pushes=1)
        del keys[place]
        return self._numbers.pop(place)


class Gathered:
    """Images that were decoded, in canonical order."""

    def __init__(self) -> None:
        self._keys: list[bytes] = []
        self.images: list[Image] = []

    def push(self, message: Message, images: Iterable[Image], keyed: Iterable[Image]) -> None:
        """Add the images of a batch, and push the numbers that were popped for them.

        Args:
            images: in the order of the batch.
            keyed: what they are sorted by, such as the part of a tile that the image fills.
        """
        for image, part in reversed(list(zip(images, keyed, strict=True))):
            own = key(part)
            place = bisect.bisect_left(self._keys, own)
            self._keys.insert(place, own)
            self.images.insert(place, image)
            start, width, _ = _interval(self._keys, own)
            _on_one_head(message, len(self._keys)).push([start], [width], PRECISION)
