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

from . import components, corrections, tables
from .corrections import Correction
from .mixture_levels import Levels, flat, mixture_weights
from .tables import LOGIT_LIMIT, PIXEL_COLUMNS, PIXEL_FRACTIONS, PIXEL_SCALES, Ints

T = TypeVar("T", bound=np.generic)


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
        neighbours: known pixels near each one, (B, K, C, H, W), if there are corrections.
        corrections: by channel, from side information; none if the mixture is not corrected.
    """

    kind: str
    weights: Ints
    means: Ints
    log_scales: Ints
    coeffs: Ints
    gray: bool = False
    counts: Ints | None = None
    clips: bool = False
    neighbours: NDArray[np.uint8] | None = None
    corrections: tuple[Correction, ...] = ()

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
            neighbours=None if self.neighbours is None else picked(self.neighbours, where),
        )

    @property
    def _coded(self) -> int:
        return 1 if self.gray else self.means.shape[2]

    def _channels(self, x: NDArray[np.uint8]) -> Iterator[Levels]:
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

    def _levels(self, x: NDArray[np.uint8], c: int, weights: NDArray[np.int64]) -> Levels:
        table = tables.component_table(self.kind).reshape(-1)
        at = self._places(x, c, weights)
        if not self.clips:
            table, at = components.extended(self.kind, table, at, *self.components(x, c, weights))
        return Levels(table, at, weights, x.shape[:1] + x.shape[2:])

    def _places(
        self, x: NDArray[np.uint8], c: int, weights: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        correction = self.corrections[c] if self.corrections else corrections.NONE
        if (loops := compiled.loops("tables")) is not None:
            earlier = compiled.plain(x[:, :c]).reshape(len(x), c, x[0, 0].size)
            places = np.empty((self.means.shape[1], x[:, 0].size), np.int64)
            if correction:
                near = self._near
                sent = correction.by_channel(c), correction.by_scale
                loops.corrected_places(*self._plain, earlier, c, near, *sent, weights, places)
            else:
                loops.places(*self._plain, earlier, c, places)
            return places
        return places_of(*self.components(x, c, weights))

    @functools.cached_property
    def _near(self) -> NDArray[np.uint8]:
        """The neighbours as compiled loops take them, (B, K, C, H * W)."""
        if self.neighbours is None:
            return np.empty((len(self.means), 0, self.means.shape[2], 0), np.uint8)
        near = compiled.plain(self.neighbours, np.uint8)
        return near.reshape(*near.shape[:3], near.shape[3] * near.shape[4])

    def components(
        self, x: NDArray[np.uint8], c: int, weights: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Means and log-scales of channel c, corrected, not clipped, (M, B * H * W).

        Args:
            x: (B, C, H, W), of which the channels before c are read.
            weights: of the components given those channels, (M, B * H * W).
        """
        means, scales = self._means(x, c), flat(self.log_scales[:, :, c]).astype(np.int64)
        if not (self.corrections and self.corrections[c]):
            return means, scales
        correction = self.corrections[c]
        if correction.weights and self.neighbours is not None:
            mean = corrections.mean_of(weights, means)
            sent = correction.by_channel(c)
            found = corrections.features(self.neighbours, x, c, mean, sent.shape[1])
            means = means + corrections.moved(sent.ravel() @ found)
        at = np.clip(scales, *PIXEL_SCALES) - PIXEL_SCALES[0]
        return means, scales + correction.by_scale[at]

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
                means, scales = self.components(x, c, levels.weights)
                some, more = components.clipped(
                    self.kind, means, scales, levels.weights, x[:, c].ravel()
                )
                count, cost = count + some, cost + more
        return count, total, cost


def places_of(means: Ints, log_scales: Ints) -> NDArray[np.int64]:
    """Where level 0 of components lies in the flat table, clipped to it; units of `Mixture`."""
    means = np.clip(means, 0, components.HIGHEST)
    rows = (np.clip(log_scales, *PIXEL_SCALES) - PIXEL_SCALES[0]) * PIXEL_FRACTIONS
    rows = rows + means % PIXEL_FRACTIONS
    places: NDArray[np.int64] = rows * PIXEL_COLUMNS + PIXEL_COLUMNS // 2 - means // PIXEL_FRACTIONS
    return places


def picked(values: NDArray[T], where: NDArray[np.bool_]) -> NDArray[T]:
    """The pixels of (B, ..., H, W) that a mask (B, H, W) picks, (1, ..., 1, n)."""
    last = np.moveaxis(values, 0, -3)[..., where]
    return np.ascontiguousarray(last[None, ..., None, :])
