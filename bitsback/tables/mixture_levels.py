"""One channel of a mixture as a codec over grey levels: table places and integer weights."""

import functools
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bitsback.ans import codecs, compiled
from bitsback.ans.message import Message

from . import arithmetic, tables
from .tables import LOGIT_LIMIT, LOGIT_UNIT, PIXEL_TOTAL, Ints

T = TypeVar("T", bound=np.generic)
_SUM = 256  # of a mixture's integer weights


def flat(parameters: NDArray[T]) -> NDArray[T]:
    """(B, M, H, W) as (M, B * H * W)."""
    return parameters.transpose(1, 0, 2, 3).reshape(parameters.shape[1], -1)


@functools.cache
def _weight_table() -> NDArray[np.int64]:
    """round(2**20 e**(-i/32)), i = 0..1024: weights of a mixture before they are normalised."""
    weights = arithmetic.exp(-np.arange(2 * LOGIT_LIMIT + 1) / LOGIT_UNIT)
    return np.floor(weights * 2**20 + 0.5).astype(np.int64)


def mixture_weights(logits: Ints) -> NDArray[np.int64]:
    """Integer softmax of (M, n) logits: int64 weights that sum to 256 over M."""
    wide = logits.astype(np.int64)
    mass = _weight_table().take(np.minimum(wide.max(0) - wide, 2 * LOGIT_LIMIT))
    return _normalised(mass)


def _normalised(mass: NDArray[np.int64]) -> NDArray[np.int64]:
    """Weights in proportion to mass, (M, n): floors of their share of 256, the rest to the largest.

    It may change mass.
    """
    if (loops := compiled.loops("tables")) is not None:
        loops.normalise(mass)
        return mass
    weights = mass * _SUM // mass.sum(0)
    largest = mass.argmax(0)[None]
    rest = _SUM - weights.sum(0)
    np.put_along_axis(weights, largest, np.take_along_axis(weights, largest, 0) + rest, 0)
    return weights


@dataclass(frozen=True)
class Levels:
    """One channel of all images, flattened: where its components' tables start, and weights."""

    table: NDArray[np.uint32]
    at: NDArray[np.int64]  # (M, n): index of level 0 in the flat table
    weights: NDArray[np.int64]  # (M, n)
    shape: tuple[int, ...]

    def cumulative(self, levels: Ints, where: slice) -> NDArray[np.int64]:
        """Cumulative frequency at the lower edge of levels 0..256, int64 (n,)."""
        at, weights = self.at[:, where], self.weights[:, where]
        below: NDArray[np.int64] = (weights * self.table.take(at + np.minimum(levels, 255))).sum(0)
        below = np.where(levels == 0, 0, np.where(levels == 256, _SUM * PIXEL_TOTAL, below))
        edges: NDArray[np.int64] = below + levels
        return edges

    def posterior_weights(self, levels: Ints) -> NDArray[np.int64]:
        """Weights once this channel's levels are known: w_m p_m(level), normalised, (M, n)."""
        wide = levels.astype(np.int64)
        if (loops := compiled.loops("tables")) is not None:
            mass = np.empty_like(self.weights)
            loops.level_mass(self.table, self.at, self.weights, wide, mass)
            return _normalised(mass)
        below = np.where(wide == 0, 0, self.table.take(self.at + wide))
        above = np.where(
            wide == 255, PIXEL_TOTAL, self.table.take(self.at + np.minimum(wide, 254) + 1)
        )
        # One more, so that no level leaves all weights at zero.
        return _normalised(self.weights * (above.astype(np.int64) - below + 1))

    def interval(self, levels: Ints, where: slice) -> tuple[Ints, Ints]:
        """Starts and frequencies of levels."""
        wide = levels.astype(np.int64)
        if where == slice(0, len(wide)) and (loops := compiled.loops("tables")) is not None:
            bounds = np.empty((2, len(wide)), np.uint64)
            loops.level_intervals(self.table, self.at, self.weights, wide, *bounds)
            return bounds[0], bounds[1]
        starts = self.cumulative(wide, where)
        return starts, self.cumulative(wide + 1, where) - starts

    def find(self, cf: Ints, where: slice) -> NDArray[np.int64]:
        """The level whose interval holds cf, by exact bisection."""
        wanted = cf.astype(np.int64)
        low = np.zeros(len(wanted), np.int64)
        for span in (128, 64, 32, 16, 8, 4, 2, 1):
            middle = low + span
            low = np.where(self.cumulative(middle, where) <= wanted, middle, low)
        return low

    def codec(self) -> codecs.Codec[Ints]:
        """The codec of these levels, in the images' shape."""
        return codecs.from_intervals(self.interval, self.find, self.shape, tables.PRECISION)

    def pop(self, message: Message) -> NDArray[np.int64]:
        """Levels in the images' shape, off the message."""
        loops = compiled.loops("tables")
        if message.loops is None or loops is None:
            return self.codec().pop(message)[1].astype(np.int64, copy=False)
        symbols = np.empty(self.at.shape[1], np.int64)
        message.pop_compiled(loops.pop_levels, self.table, self.at, self.weights, symbols)
        return symbols.reshape(self.shape)
