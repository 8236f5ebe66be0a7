"""One channel of some pixels of a pass, and what coding them takes under moved components."""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitsback.ans import compiled
from bitsback.tables import arithmetic, tables
from bitsback.tables.mixture_levels import Levels
from bitsback.tables.pixels import places_of
from bitsback.tables.tables import PIXEL_SCALES, Ints

Int64 = NDArray[np.int64]

#: fractional bits of a code length
BITS = 16
_MANTISSA = 12
_MOST_TRIED = 1 << 10
_UNMOVED = np.zeros(PIXEL_SCALES[1] - PIXEL_SCALES[0] + 1, np.int64)


@dataclass(frozen=True)
class Channel:
    """Some pixels of one channel: components (M, n), levels (n,), and how many each stands for."""

    kind: str
    means: Int64
    scales: Int64
    weights: Int64
    levels: Int64
    times: float

    @property
    def tried(self) -> slice:
        """The pixels on which codes are tried."""
        return slice(0, None, -(-len(self.levels) // _MOST_TRIED))

    def some(self, where: slice) -> "Channel":
        """Those of them that stand at some places."""
        times = self.times * len(self.levels) / len(self.levels[where])
        means, scales, weights = (
            compiled.plain(part[:, where]) for part in (self.means, self.scales, self.weights)
        )
        levels = compiled.plain(self.levels[where])
        return Channel(self.kind, means, scales, weights, levels, times)

    def length(self, move: Int64 | None = None, by_scale: Int64 | None = None) -> Int64:
        """Code length of each pixel, in units of 2**-16 bits.

        Args:
            move: of the means, (n,), in 1/16 level.
            by_scale: shift of each log-scale of the tables, the least first.
        """
        move = np.zeros(len(self.levels), np.int64) if move is None else move
        by_scale = _UNMOVED if by_scale is None else by_scale
        if (loops := compiled.loops("side")) is not None:
            table = tables.component_table(self.kind).reshape(-1)
            found = np.empty(len(self.levels), np.int64)
            own = self.means, self.scales, self.weights, self.levels
            given = compiled.plain(move), compiled.plain(by_scale)
            loops.lengths(table, *own, *given, _logs(), _MANTISSA, BITS, found)
            return found
        codes = self.codes(move, by_scale)
        _, freqs = codes.interval(self.levels, slice(0, len(self.levels)))
        return code_length(freqs)

    def codes(self, move: Int64, by_scale: Int64) -> Levels:
        """The levels' codec, means and log-scales being moved as in `length`."""
        table = tables.component_table(self.kind).reshape(-1)
        shifted = self.scales + by_scale[self.scales - PIXEL_SCALES[0]]
        places = places_of(self.means + move, shifted)
        return Levels(table, places, self.weights, self.levels.shape)

    def total(self, length: Int64) -> float:
        """Bits of all pixels that these stand for."""
        return self.times * float(length.sum()) / (1 << BITS)


@functools.cache
def _logs() -> Int64:
    """log2(1 + i / 2**12), in units of 2**-16."""
    steps = np.arange((1 << _MANTISSA) + 1) / (1 << _MANTISSA)
    values = np.floor(arithmetic.log1p(steps) / arithmetic.log1p(1.0) * (1 << BITS) + 0.5)
    return values.astype(np.int64)


def code_length(freqs: Ints) -> Int64:
    """Code lengths of frequencies of 2**24, in units of 2**-16 bits, by whole numbers alone."""
    mantissa, exponent = np.frexp(freqs.astype(np.float64))
    steps = np.floor((mantissa * 2.0 - 1.0) * (1 << _MANTISSA) + 0.5).astype(np.int64)
    octaves = tables.PRECISION + 1 - exponent.astype(np.int64)
    length: Int64 = (octaves << BITS) - _logs()[steps]
    return length
