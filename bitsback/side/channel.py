"""One channel of some pixels of a pass, and what coding them takes under moved components."""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitsback.ans import compiled
from bitsback.tables import arithmetic, tables
from bitsback.tables.mixture_levels import Levels
from bitsback.tables.pixels import places_of
from bitsback.tables.tables import Ints

Int64 = NDArray[np.int64]

#: fractional bits of a code length
BITS = 16
_MANTISSA = 12
_MOST_TRIED = 1 << 11


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

    def length(self, move: Int64 | int = 0, shift: Int64 | int = 0) -> Int64:
        """Code length of each pixel, in units of 2**-16 bits."""
        codes = self.codes(move, shift)
        _, freqs = codes.interval(self.levels, slice(0, len(self.levels)))
        return code_length(freqs)

    def codes(self, move: Int64 | int, shift: Int64 | int) -> Levels:
        """The levels' codec, means and log-scales being moved."""
        table = tables.component_table(self.kind).reshape(-1)
        places = places_of(self.means + move, self.scales + shift)
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
