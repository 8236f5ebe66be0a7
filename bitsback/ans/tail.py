"""The part of a message below its heads: a growable stack of 32-bit words."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitsback.errors import EmptyMessageError

U32 = NDArray[np.uint32]


class Tail:
    """A growable stack of uint32 words, its top at the end of the buffer (amortised O(1) a word).

    `size` words lie on it; `lowest` is the smallest size since `Message.track_low_water`.
    """

    __slots__ = ("buffer", "lowest", "size")

    def __init__(self, words: U32) -> None:
        self.buffer = words
        self.size = self.lowest = len(words)

    def push(self, words: NDArray[np.unsignedinteger[Any]]) -> None:
        """Put the low 32 bits of words on top; the first of them will be the first to come off."""
        end = self.size + len(words)
        self.room(len(words))[self.size : end] = words[::-1]
        self.size = end

    def room(self, count: int) -> U32:
        """The buffer, with room for `count` words more, contiguous and writable."""
        end = self.size + count
        if end > len(self.buffer) or not self.buffer.flags.carray:
            grown = np.empty(max(2 * len(self.buffer), end, 1024), np.uint32)
            grown[: self.size] = self.buffer[: self.size]
            self.buffer = grown
        return self.buffer

    def pop(self, count: int) -> U32:
        """Take the `count` topmost words off, the topmost first."""
        if count > self.size:
            self.refill(count - self.size)
        end = self.size
        self.size = end - count
        if self.size < self.lowest:
            self.lowest = self.size
        return self.buffer[self.size : end][::-1]

    def mark(self) -> tuple[Any, ...]:
        """What `restore` needs to undo the pops, or else the pushes, since."""
        return self.size, self.lowest

    def restore(self, mark: tuple[Any, ...]) -> None:
        """Undo what has been done since the mark."""
        self.size, self.lowest = mark

    def refill(self, missing: int) -> None:
        """Put `missing` words beneath the others; a plain tail has none to put there."""
        raise EmptyMessageError(32 * missing)
