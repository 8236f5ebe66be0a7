"""Corrections of a mixture by side information: a sent predictor, and a recalibration.

Of each channel of a pass, weights of known neighbours move the mean, and shifts by scale widen or
narrow the components, all by integers. With mu the mixture's mean given the pixel's earlier
channels, N_k the neighbours and x_e the earlier channels,

    mean_m += sum_k (w_0k (N_k - mu) + sum_e w_ek (N_ke - x_e))
    log_scale_m += shift(log_scale_m)

Source: the predictor, TMW (Meyer and Tischer, 1997) and MRP (Matsuda et al., 2000), which send the
weights of neighbours by image; the recalibration, CALIC (Wu and Memon, 1997), which learns it.
"""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .components import HIGHEST
from .tables import PIXEL_FRACTIONS, PIXEL_SCALES, Ints

WEIGHT_BITS = 7
#: weights lie in -LIMIT..LIMIT
WEIGHT_LIMIT = 255
#: log-scales, in 1/8 octaves, at which shifts are sent
NODES = (-8, 0, 8, 16, 24, 32)
SHIFT_LIMIT = 8
_STEP = NODES[1] - NODES[0]
_MIXTURE_BITS = 8  # the weights of components sum to 2**8


@dataclass(frozen=True)
class Correction:
    """What side information says of one channel of a pass.

    Args:
        weights: in units of 2**-7: those of the channel's own neighbours, the nearest first, then
            as many for each earlier channel; none for no predictor.
        shifts: of log-scales at the `NODES`, in 1/8 octaves, linear in between; none for none.
    """

    weights: tuple[int, ...] = ()
    shifts: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.weights or self.shifts)

    def by_channel(self, channel: int) -> NDArray[np.int64]:
        """The weights, (channel + 1, K)."""
        return np.array(self.weights, np.int64).reshape(channel + 1, -1)

    @functools.cached_property
    def by_scale(self) -> NDArray[np.int64]:
        """The shift of each log-scale of the tables, the least first."""
        return by_scale(self.shifts or (0,) * len(NODES))


NONE = Correction()


@functools.lru_cache(1 << 12)
def by_scale(shifts: tuple[int, ...]) -> NDArray[np.int64]:
    """Shifts at the nodes, spread over the log-scales of the tables."""
    scales = np.arange(PIXEL_SCALES[0], PIXEL_SCALES[1] + 1)
    node, rest = between(scales)
    at = np.array(shifts, np.int64)
    values: NDArray[np.int64] = (
        at[node] * (_STEP - rest) + at[node + 1] * rest + _STEP // 2
    ) // _STEP
    values.flags.writeable = False
    return values


def between(log_scales: Ints) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The node below each log-scale, and the eighths of the way from there to the next one."""
    inside = np.clip(log_scales.astype(np.int64), NODES[0], NODES[-1]) - NODES[0]
    node = np.minimum(inside // _STEP, len(NODES) - 2)
    return node, inside - _STEP * node


def mean_of(weights: Ints, means: Ints) -> NDArray[np.int64]:
    """The mixtures' means, (n,), from weights and means (M, n) of their components."""
    total = (weights.astype(np.int64) * np.clip(means, 0, HIGHEST)).sum(0)
    return (total + (1 << _MIXTURE_BITS - 1)) >> _MIXTURE_BITS


def features(
    neighbours: NDArray[np.uint8], x: NDArray[np.uint8], channel: int, mean: Ints, count: int
) -> NDArray[np.int64]:
    """What the weights multiply, ((channel + 1) * count, n), in 1/16 level.

    Args:
        neighbours: (B, K, C, H, W), of which the first `count` serve.
        x: (B, C, H, W), of which the channels before this one are read.
        mean: of the mixtures, (n,).
    """
    near = np.moveaxis(neighbours[:, :count], 0, 2).astype(np.int64) * PIXEL_FRACTIONS
    near = near.reshape(*near.shape[:2], -1)  # (K, C, n)
    parts = [near[:, channel] - mean]
    for e in range(channel):
        parts.append(near[:, e] - PIXEL_FRACTIONS * x[:, e].ravel().astype(np.int64))
    return np.concatenate(parts)


def moved(total: Ints) -> NDArray[np.int64]:
    """Moves of means in 1/16 level, from sums of weights times features."""
    return (total.astype(np.int64) + (1 << WEIGHT_BITS - 1)) >> WEIGHT_BITS
