"""Likelihoods of pixels whose parameters are floats: their numbers are those of one machine.

What they compute from the parameters is the same on every machine: the cumulative frequency of
level v among n levels is

    C(v) = 2 v + floor(F(v) (2**24 - 2 n)),    C(0) = 0,  C(n) = 2**24

so that each level has at least 1, however the last digit of F is rounded: at most 4.4e-5 bits more
a value of 8 bits than F itself would take.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitsback.ans import codecs
from bitsback.ans.message import Message

from . import arithmetic
from .pixels import picked
from .tables import PIXEL_KINDS, PRECISION, TOTAL, Ints

F64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Below = Callable[[Int64, slice], F64]


@dataclass(frozen=True)
class Continuous:
    """Levels whose bins hold the mass of a mixture of continuous densities, the end bins the tails.

        F(v) = sum over m of weight_m cdf((v - 1/2 - mean_m) / scale_m)

    Args:
        kind: "gaussian" (scales are deviations) or "logistic" (scale parameters).
        weights: (B, M, C, H, W), not negative; they sum to 1 over M.
        means, scales: (B, M, C, H, W), in levels; scales are positive.
        levels: how many there are, at most 256.
    """

    kind: str
    weights: F64
    means: F64
    scales: F64
    levels: int = 256

    def push(self, message: Message, x: NDArray[np.uint8]) -> F64:
        """Push x, uint8 (B, C, H, W); gives every image's code length, (B,) bits."""
        return self._values().push(message, x)

    def pop(self, message: Message) -> NDArray[np.uint8]:
        """Pop x, uint8 (B, C, H, W)."""
        return self._values().pop(message)

    def only(self, where: NDArray[np.bool_]) -> "Continuous":
        """The codec of n pixels alone, as (1, C, 1, n), that a mask (B, H, W) picks."""
        weights, means, scales = (picked(v, where) for v in (self.weights, self.means, self.scales))
        return Continuous(self.kind, weights, means, scales, self.levels)

    def _values(self) -> "_Values":
        flat = [
            np.moveaxis(v, 1, 0).reshape(v.shape[1], -1)
            for v in (self.weights, self.means, self.scales)
        ]

        def below(v: Int64, where: slice) -> F64:
            weights, means, scales = (values[:, where] for values in flat)
            mass = PIXEL_KINDS[self.kind]((v - 0.5 - means) / scales)
            total = np.zeros(mass.shape[1])
            for weight, part in zip(weights, mass, strict=True):
                total = total + weight * part
            return total

        shape = self.means.shape[:1] + self.means.shape[2:]
        return _Values(below, shape, self.levels)


@dataclass(frozen=True)
class Discrete:
    """Levels with a probability each.

    Args:
        cumulative: (B, C, H, W, n - 1), the mass below levels 1, 2, ..., not falling.
    """

    cumulative: F64

    def push(self, message: Message, x: NDArray[np.uint8]) -> F64:
        """Push x, uint8 (B, C, H, W); gives every image's code length, (B,) bits."""
        return self._values().push(message, x)

    def pop(self, message: Message) -> NDArray[np.uint8]:
        """Pop x, uint8 (B, C, H, W)."""
        return self._values().pop(message)

    def only(self, where: NDArray[np.bool_]) -> "Discrete":
        """The codec of n pixels alone, as (1, C, 1, n), that a mask (B, H, W) picks."""
        first = np.moveaxis(self.cumulative, 4, 1)
        return Discrete(np.moveaxis(picked(first, where), 1, 4))

    def _values(self) -> "_Values":
        levels = self.cumulative.shape[-1] + 1
        flat = self.cumulative.reshape(-1, levels - 1)

        def below(v: Int64, where: slice) -> F64:
            rows = flat[where]
            return rows[np.arange(len(rows)), np.clip(v, 1, levels - 1) - 1]

        return _Values(below, self.cumulative.shape[:-1], levels)


def softmax(logits: F64, axis: int) -> F64:
    """exp(logits) over their sum along an axis, the same on every machine."""
    mass = arithmetic.exp(logits - logits.max(axis, keepdims=True))
    total = np.add.accumulate(mass, axis).take([-1], axis)
    return mass / total


def _edges(below: Below, v: Int64, where: slice, levels: int) -> Int64:
    mass = np.clip(below(v, where), 0.0, 1.0)
    inside = 2 * v + np.floor(mass * (TOTAL - 2 * levels)).astype(np.int64)
    return np.where(v <= 0, 0, np.where(v >= levels, TOTAL, inside))


@dataclass(frozen=True)
class _Values:
    """The codec of values, flattened, from the mass below each level."""

    below: Below
    shape: tuple[int, ...]
    levels: int

    def push(self, message: Message, x: NDArray[np.uint8]) -> F64:
        if x.shape != self.shape:
            raise ValueError(f"{x.shape} is not the shape of the pixels, {self.shape}")
        starts, freqs = self.interval(x.ravel(), slice(0, x.size))
        message.push(starts, freqs, PRECISION)
        bits: F64 = PRECISION - np.log2(freqs.astype(np.float64))
        return bits.reshape(len(x), -1).sum(1)

    def pop(self, message: Message) -> NDArray[np.uint8]:
        codec = codecs.from_intervals(self.interval, self.find, self.shape, PRECISION)
        return codec.pop(message)[1].astype(np.uint8)

    def edges(self, v: Int64, where: slice) -> Int64:
        mass = np.clip(self.below(v, where), 0.0, 1.0)
        inside = 2 * v + np.floor(mass * (TOTAL - 2 * self.levels)).astype(np.int64)
        return np.where(v <= 0, 0, np.where(v >= self.levels, TOTAL, inside))

    def interval(self, v: Ints, where: slice) -> tuple[Ints, Ints]:
        wide = v.astype(np.int64)
        start = self.edges(wide, where)
        return start, np.where(wide < self.levels, self.edges(wide + 1, where) - start, 0)

    def find(self, cf: Ints, where: slice) -> Int64:
        wanted = cf.astype(np.int64)
        low = np.zeros(len(wanted), np.int64)
        span = 1 << (self.levels - 1).bit_length()
        while (span := span // 2) > 0:
            middle = np.minimum(low + span, self.levels - 1)
            low = np.where(self.edges(middle, where) <= wanted, middle, low)
        return low
