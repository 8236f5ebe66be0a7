"""Likelihoods of pixels as codecs over integer tables, with integer parameters.

Source: eq. 8-10 of Gregor et al. (2016) for the Gaussian, coded as the mass of each level's bin;
Salimans et al. (2017), PixelCNN++, for the mixture and its conditioning over the channels.
"""

import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bitsback.ans import codecs, compiled
from bitsback.ans.message import Message
from bitsback.errors import InputError

from . import arithmetic, components, tables
from .tables import (
    LOGIT_LIMIT,
    LOGIT_UNIT,
    PIXEL_COLUMNS,
    PIXEL_FRACTIONS,
    PIXEL_SCALES,
    PIXEL_TOTAL,
    Ints,
)

T = TypeVar("T", bound=np.generic)
_SUM = 256  # of a mixture's integer weights


@dataclass(frozen=True)
class Bernoulli:
    """Binary pixels.

    Args:
        logits: int (B, C, H, W), in units of 1/32; clipped to |logit| <= 512.
        counts: pixels of each image, where they are those that `only` picked; else None.
    """

    logits: Ints
    counts: Ints | None = None

    def _rows(self) -> Ints:
        return np.clip(self.logits, -LOGIT_LIMIT, LOGIT_LIMIT) + LOGIT_LIMIT

    def _codec(self) -> codecs.Codec[Ints]:
        return codecs.categorical(_binary_table(), self._rows(), tables.PRECISION)

    def push(self, message: Message, x: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Push x, uint8 (B, C, H, W) of 0 and 1; gives every image's code length, (B,) bits."""
        self._codec().push(message, x)
        ones = tables.bernoulli_table()[self._rows()].astype(np.int64)
        return _bits(np.where(x == 1, ones, tables.TOTAL - ones), len(x), self.counts)

    def only(self, where: NDArray[np.bool_]) -> "Bernoulli":
        """The codec of n pixels alone, as (1, C, 1, n), that a mask (B, H, W) picks."""
        return Bernoulli(picked(self.logits, where), _counts(where))

    def pop(self, message: Message) -> NDArray[np.uint8]:
        """Pop x, uint8 (B, C, H, W)."""
        return self._codec().pop(message)[1].astype(np.uint8)


@functools.cache
def _binary_table() -> NDArray[np.uint32]:
    """`tables.bernoulli_table` as cumulative frequencies: (1025, 3), a 0 below a 1."""
    ends = np.zeros(2 * LOGIT_LIMIT + 1, np.uint32), np.full(2 * LOGIT_LIMIT + 1, tables.TOTAL)
    table = np.stack([ends[0], tables.TOTAL - tables.bernoulli_table(), ends[1]], 1)
    table = table.astype(np.uint32)
    table.flags.writeable = False
    return table


def _bits(freq: Ints, images: int, counts: Ints | None) -> NDArray[np.float64]:
    """Code lengths of so many images, from the frequencies of all their pixels.

    Args:
        counts: pixels of each image, where `only` picked them; None where all have equally many.
    """
    bits: NDArray[np.float64] = tables.PRECISION - np.log2(freq.astype(np.float64))
    if counts is None:
        return bits.reshape(images, -1).sum(1)
    owners = np.repeat(np.arange(len(counts)), counts)
    by_channel = bits.reshape(bits.size // max(1, len(owners)), len(owners))
    return np.bincount(owners, by_channel.sum(0), len(counts)).astype(np.float64)


def _counts(where: NDArray[np.bool_]) -> Ints:
    """Pixels of each image that a mask (B, H, W) picks, (B,)."""
    return where.reshape(len(where), -1).sum(1)


@dataclass(frozen=True)
class Mixture:
    """Grey levels 0..255 under a mixture of M discretised Gaussians or logistics a channel.

    The components are shared by a pixel's channels: once a channel is known, the weights of the
    next one's are those of the components given it, so that the joint code length is that of
    -log sum_m weight_m prod_c p_m(x_c). The cumulative frequency of level v is
    v + sum_m weight_m T_m(v) of 2**24, where T_m is a component's table with T_m(0) = 0 and
    T_m(256) = 2**16 - 1, so that every level has at least 1.

    Args:
        kind: "gaussian" or "logistic".
        weights: int logits (B, M, H, W), in units of 1/32.
        means: int (B, M, C, H, W), in units of 1/16 level.
        log_scales: int (B, M, C, H, W), in 1/8 octaves of a level.
        coeffs: int (B, M, C (C - 1) / 2, H, W), in units of 2**-11: how the later channels' means
            move with (earlier level - 128).
        gray: all channels are equal: only the first is coded.
        counts: pixels of each image, where they are those that `only` picked; else None.
        clips: means are clipped to 0..255 and log-scales to -24..48, as of models that were trained
            so. Other mixtures take any: what the table does not hold is computed.
    """

    kind: str
    weights: Ints
    means: Ints
    log_scales: Ints
    coeffs: Ints
    gray: bool = False
    counts: Ints | None = None
    clips: bool = False

    def push(self, message: Message, x: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Push x, uint8 (B, C, H, W); the last channel first, so that it is popped last.

        Returns:
            Code length of every image, (B,) bits.

        Raises:
            InputError: `gray` is set but the channels of x differ.
            ValueError: x is of another shape.
        """
        batch, _, channels, height, width = self.means.shape
        if x.shape != (batch, channels, height, width):
            raise ValueError(f"{x.shape} is not the shape of the mixtures' pixels")
        if self.gray and not (x == x[:, :1]).all():
            raise InputError("pixels to be coded as gray have channels that differ")
        bits = np.zeros(batch if self.counts is None else len(self.counts))
        for c, levels in reversed(list(enumerate(self._channels(x)))):
            symbols = x[:, c].ravel()
            starts, freqs = levels.interval(symbols, slice(0, len(symbols)))
            message.push(starts, freqs, tables.PRECISION)
            bits += _bits(freqs, batch, self.counts)
        return bits

    def pop(self, message: Message) -> NDArray[np.uint8]:
        """Pop x, uint8 (B, C, H, W)."""
        batch, _, channels, height, width = self.means.shape
        x = np.empty((batch, channels, height, width), np.uint8)
        for c, levels in enumerate(self._channels(x)):
            x[:, c] = levels.pop(message)
        if self.gray:
            x[:, 1:] = x[:, :1]
        return x

    def only(self, where: NDArray[np.bool_]) -> "Mixture":
        """The codec of n pixels alone, as (1, C, 1, n), that a mask (B, H, W) picks."""
        return dataclasses.replace(
            self,
            weights=picked(self.weights, where),
            means=picked(self.means, where),
            log_scales=picked(self.log_scales, where),
            coeffs=picked(self.coeffs, where),
            counts=_counts(where),
        )

    @property
    def _coded(self) -> int:
        return 1 if self.gray else self.means.shape[2]

    def _channels(self, x: NDArray[np.uint8]) -> Iterator["_Levels"]:
        """The mixtures of the coded channels, each given the channels of x before it.

        A channel of x is read only when the next one's mixture is asked for.
        """
        weights = mixture_weights(flat(self.weights))
        for c in range(self._coded):
            levels = self._levels(x, c, weights)
            yield levels
            if c + 1 < self._coded:
                weights = levels.posterior_weights(x[:, c].ravel())

    @functools.cached_property
    def _plain(self) -> tuple[NDArray[np.int64], ...]:
        """Means, log-scales and coefficients as compiled loops take them, (B, M, _, H * W)."""
        parameters = self.means, self.log_scales, self.coeffs
        size = self.means.shape[3] * self.means.shape[4]
        return tuple(compiled.plain(v).reshape(*v.shape[:3], size) for v in parameters)

    def _levels(self, x: NDArray[np.uint8], c: int, weights: NDArray[np.int64]) -> "_Levels":
        table = tables.component_table(self.kind).reshape(-1)
        at = self._places(x, c)
        if not self.clips:
            scales = flat(self.log_scales[:, :, c])
            table, at = components.extended(self.kind, table, at, self._means(x, c), scales)
        return _Levels(table, at, weights, x.shape[:1] + x.shape[2:])

    def _places(self, x: NDArray[np.uint8], c: int) -> NDArray[np.int64]:
        if (loops := compiled.loops("tables")) is not None:
            earlier = compiled.plain(x[:, :c]).reshape(len(x), c, x[0, 0].size)
            places = np.empty((self.means.shape[1], x[:, 0].size), np.int64)
            loops.places(*self._plain, earlier, c, places)
            return places
        means = np.clip(self._means(x, c), 0, components.HIGHEST)
        scales = flat(np.clip(self.log_scales[:, :, c], *PIXEL_SCALES))
        rows = (scales - PIXEL_SCALES[0]) * PIXEL_FRACTIONS + means % PIXEL_FRACTIONS
        return rows * PIXEL_COLUMNS + PIXEL_COLUMNS // 2 - means // PIXEL_FRACTIONS

    def _means(self, x: NDArray[np.uint8], c: int) -> NDArray[np.int64]:
        """Means of channel c given those of x before it, not clipped, (M, B * H * W)."""
        means = self.means[:, :, c].astype(np.int64)
        first = c * (c - 1) // 2
        if c:
            earlier = x[:, None, :c].astype(np.int64) - 128
            move = (self.coeffs[:, :, first : first + c] * earlier).sum(2)
            means = means + ((move + 64) >> 7)  # 2**-11 to 1/16 level
        return flat(means)

    def beyond(self, x: NDArray[np.uint8]) -> tuple[int, int, float]:
        """How many components are clipped, given x, (B, C, H, W).

        Returns:
            Components that are clipped, components of all channels, and the bits that the clipping
            adds to the code length of x: negative where x suits the clipped ones better.
        """
        count, total, cost = 0, 0, 0.0
        for c, levels in enumerate(self._channels(x)):
            total += levels.at.size
            if self.clips:
                means, scales = self._means(x, c), flat(self.log_scales[:, :, c])
                some, more = components.clipped(
                    self.kind, means, scales, levels.weights, x[:, c].ravel()
                )
                count, cost = count + some, cost + more
        return count, total, cost


def picked(values: NDArray[T], where: NDArray[np.bool_]) -> NDArray[T]:
    """The pixels of (B, ..., H, W) that a mask (B, H, W) picks, (1, ..., 1, n)."""
    last = np.moveaxis(values, 0, -3)[..., where]
    return np.ascontiguousarray(last[None, ..., None, :])


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
class _Levels:
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
