"""A message that tells what rounding adds to its pushes, number by number."""

from __future__ import annotations

from itertools import pairwise
from types import ModuleType

import numpy as np

from .message import HEAD_BITS, U64, Message

_LOW_WORD = np.uint64(0xFFFFFFFF)


class MeteredMessage(Message):
    """The same heads and tail as another message's, whose pushes are simulated in float64, too.

    A push of [start, start + freq) of T takes a head x to (x - r) T / freq + r + start, with
    r = x mod freq. Beside log2(T / freq) this adds

        log2(1 + (start freq - r (T - freq)) / (x T)),

    and a head that spilled its low word before has lost log2(1 - (x mod 2**32) / x).

    Args:
        message: that is pushed onto; NumPy does it, not the compiled loops.
    """

    __slots__ = ("pushes", "rounding_bits")

    def __init__(self, message: Message) -> None:
        super().__init__(message.heads, message.tail)
        self.pushes = 0
        self.rounding_bits = 0.0

    @property
    def loops(self) -> ModuleType | None:
        """None: a compiled loop does not tell its intervals."""
        return None

    def _push_blocks(self, start: U64, freq: U64, power: U64, width: int) -> None:
        for lo, hi in pairwise(range(0, len(start) + width, width)):
            block = slice(lo, hi)
            size = power[block] if power.ndim else power
            self._simulate(start[block], freq[block], size, self.heads[:width].copy())
            super()._push_blocks(start[block], freq[block], size, width)

    def _simulate(self, start: U64, freq: U64, power: U64, heads: U64) -> None:
        total = np.uint64(1) << power
        spill = heads >= freq << (np.uint64(HEAD_BITS) - power)
        spilled = heads[spill]
        lost = np.log1p(-(spilled & _LOW_WORD).astype(np.float64) / spilled.astype(np.float64))
        heads[spill] = spilled >> np.uint64(32)
        rest = heads % freq
        more = (start * freq).astype(np.float64) - (rest * (total - freq)).astype(np.float64)
        gained = np.log1p(more / (heads.astype(np.float64) * total.astype(np.float64)))
        self.rounding_bits += float(lost.sum() + gained.sum()) / float(np.log(2.0))
        self.pushes += len(start)
