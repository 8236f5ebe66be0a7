"""Components of pixel mixtures whose means or scales the table of `tables` does not hold.

Such a component's cumulative function is computed for the 256 levels of a pixel, by the formula of
the table, and its row is put behind the table: where the table has a component, both are the same.
"""

import numpy as np
from numpy.typing import NDArray

from . import arithmetic, tables
from .tables import PIXEL_FRACTIONS, PIXEL_SCALES, PIXEL_STEPS, PIXEL_TOTAL, Ints

HIGHEST = 255 * PIXEL_FRACTIONS  # mean that the table holds
LEVELS = 256
_SUM = 256  # of a mixture's integer weights
# What float64 takes without an overflow; components beyond have no other masses than these.
_FAR_MEAN, _FAR_SCALES = 1 << 50, (-30 * PIXEL_STEPS, 50 * PIXEL_STEPS)
_KEYS = 1 << 10  # scales are fewer

Int64 = NDArray[np.int64]


def beyond(means: Ints, log_scales: Ints) -> NDArray[np.bool_]:
    """Which components the table does not hold; units as of `pixels.Mixture`."""
    low, high = PIXEL_SCALES
    inside = (means >= 0) & (means <= HIGHEST) & (log_scales >= low) & (log_scales <= high)
    return ~inside


def rows(kind: str, means: Int64, log_scales: Int64) -> NDArray[np.uint32]:
    """T(v) = round(cdf((v - 1/2 - mean) / s) (2**16 - 1)) of levels v.

    Args:
        kind: "gaussian" or "logistic".
        means, log_scales: (n,), units as of `pixels.Mixture`.

    Returns:
        uint32 (n, 256); rows do not fall.
    """
    scales = arithmetic.exp2_steps(log_scales, PIXEL_STEPS)[:, None]
    edges = np.arange(LEVELS) - (0.5 + means[:, None] / PIXEL_FRACTIONS)
    rising = np.maximum.accumulate(tables.PIXEL_KINDS[kind](edges / scales), axis=-1)
    return np.floor(rising * PIXEL_TOTAL + 0.5).astype(np.uint32)


def extended(
    kind: str, table: tables.U32, at: Int64, means: Ints, log_scales: Ints
) -> tuple[tables.U32, Int64]:
    """A table with the rows that it lacks behind it, and where level 0 of components lies in it.

    Args:
        kind: "gaussian" or "logistic".
        table: flat.
        at: of shape (M, n), where level 0 of those components lies that the table holds.
        means, log_scales: (M, n), units as of `pixels.Mixture`.
    """
    lacking = beyond(means, log_scales)
    if not lacking.any():
        return table, at
    mean = np.clip(means[lacking].astype(np.int64), -_FAR_MEAN, _FAR_MEAN)
    scale = np.clip(log_scales[lacking].astype(np.int64), *_FAR_SCALES) - _FAR_SCALES[0]
    keys, which = np.unique(mean * _KEYS + scale, return_inverse=True)
    more = rows(kind, keys // _KEYS, keys % _KEYS + _FAR_SCALES[0])
    found = at.copy()
    found[lacking] = table.size + LEVELS * which
    return np.concatenate([table, more.ravel()]), found


def clipped(
    kind: str, means: Ints, log_scales: Ints, weights: Ints, x: NDArray[np.uint8]
) -> tuple[int, float]:
    """How many components are clipped to the table, and the bits that this adds to pixels x.

    Args:
        kind: "gaussian" or "logistic".
        means, log_scales, weights: (M, n), units as of `pixels.Mixture`; weights sum to 256.
        x: (n,) levels.
    """
    lacking = beyond(means, log_scales)
    some = lacking.any(0)
    free = means[:, some].astype(np.int64), log_scales[:, some].astype(np.int64)
    bound = np.clip(free[0], 0, HIGHEST), np.clip(free[1], *PIXEL_SCALES)
    mass = [_mass(kind, *pair, weights[:, some], x[some]) for pair in (free, bound)]
    return int(lacking.sum()), float(np.log2(mass[0] / mass[1]).sum())


def _mass(
    kind: str, means: Ints, log_scales: Ints, weights: Ints, x: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """p(x) of n pixels under M components, (M, n) integers each, without tables; (n,)."""
    scales = np.exp2(np.clip(log_scales / tables.PIXEL_STEPS, -20.0, 40.0))
    below = (x - 0.5 - means / PIXEL_FRACTIONS) / scales
    cdf = tables.PIXEL_KINDS[kind]
    low = np.where(x == 0, 0.0, cdf(np.clip(below, -38.0, 38.0)))
    high = np.where(x == 255, 1.0, cdf(np.clip(below + 1.0 / scales, -38.0, 38.0)))
    mass = (weights * (high - low)).sum(0) / _SUM
    floor = 1.0 / tables.TOTAL  # every level has this much
    share: NDArray[np.float64] = mass * (1.0 - 256 * floor) + floor
    return share
