"""The compiled loop of `channel`: code lengths of pixels under moved components.

Imported through `compiled.loops` only, since it needs numba.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numba import int64, uint32, void

from bitsback.tables.loops import place, shifted
from bitsback.tables.tables import PIXEL_TOTAL, PRECISION

Array = np.ndarray[Any, Any]

_U32 = numba.types.Array(uint32, 1, "C", readonly=True)
_I64 = numba.types.Array(int64, 1, "C", readonly=True)
_I64_2 = numba.types.Array(int64, 2, "C", readonly=True)

_LEVELS = 256


@numba.njit(
    void(_U32, _I64_2, _I64_2, _I64_2, _I64, _I64, _I64, _I64, int64, int64, int64[::1]),
    cache=True,
)
def lengths(
    table: Array,
    means: Array,
    scales: Array,
    weights: Array,
    levels: Array,
    move: Array,
    by_scale: Array,
    logs: Array,
    mantissa: int,
    bits: int,
    found: Array,
) -> None:
    """`Channel.length`, into found, (n,).

    Args:
        table: of the components, flat.
        means, scales, weights: (M, n); levels, move: (n,).
        by_scale: shift of each log-scale of the table.
        logs: log2(1 + i / 2**mantissa), in units of 2**-bits.
    """
    for i in range(len(levels)):
        level = levels[i]
        freq = int64(1)
        for m in range(len(means)):
            at = place(means[m, i] + move[i], shifted(scales[m, i], by_scale))
            below = int64(0) if level == 0 else int64(table[at + level])
            above = PIXEL_TOTAL if level == _LEVELS - 1 else int64(table[at + level + 1])
            freq += weights[m, i] * (above - below)
        exponent = int64(math.frexp(float(freq))[1])
        # The nearest step of the mantissa, without leaving the whole numbers.
        rest = (freq << mantissa + 1) - (int64(1) << exponent + mantissa)
        step = (rest + (int64(1) << exponent - 1)) >> exponent
        found[i] = ((PRECISION + 1 - exponent) << bits) - logs[step]
