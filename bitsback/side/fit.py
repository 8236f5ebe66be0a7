"""What side information saves most: found by the encoder, in numbers that are the same everywhere.

The predictor's weights are a least-squares solution in which each pixel counts by the inverse
square of its scale, and less the farther its level lies from the mean, as under a logistic. Their
number, and the shifts of scales, are those that give the shortest code of the pixels themselves.
"""

import dataclasses
import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitsback.ans import compiled
from bitsback.tables import arithmetic, corrections, tables
from bitsback.tables.corrections import NODES, NONE, WEIGHT_BITS, WEIGHT_LIMIT, Correction
from bitsback.tables.mixture_levels import Levels, flat, mixture_weights
from bitsback.tables.pixels import Mixture, picked, places_of
from bitsback.tables.tables import PIXEL_FRACTIONS, PIXEL_SCALES, PIXEL_STEPS, Ints

from . import apply, codec, least_squares
from .wanted import Wanted

Int64 = NDArray[np.int64]
F64 = NDArray[np.float64]

COUNTS = codec.COUNTS
_MOST, _MOST_TRIED = 1 << 12, 1 << 11  # pixels of a pass, for the least squares and for trials
_FEWEST = 64
_ROUNDS = 2
_ROBUST = 8.0  # squared error, in units of the scale, at which a pixel counts half
_NARROWEST = 4.0  # inverse square of the smallest scale that is told apart
_UNIT = 1 << 12  # of a pixel's weight in the least squares
_RIDGE = 2.0
_SHIFTS = (-6, -4, -2, 0, 2, 4, 6)
_SHIFT_COST = 6.0  # bits that a node's shift must save
_BITS = 16  # fractional, of a code length


@dataclass(frozen=True)
class Fitted:
    """Corrections of a pass by channel, and the bits that they should save, less those sent."""

    corrections: tuple[Correction, ...]
    saved: float


@dataclass(frozen=True)
class _Channel:
    """Some pixels of one channel: components (M, n), levels (n,), and how many each stands for."""

    kind: str
    means: Int64
    scales: Int64
    weights: Int64
    levels: Int64
    times: float

    @property
    def tried(self) -> slice:
        """Those on which codes are tried."""
        return slice(0, None, -(-len(self.levels) // _MOST_TRIED))

    def some(self, where: slice) -> "_Channel":
        times = self.times * len(self.levels) / len(self.levels[where])
        means, scales, weights = (
            compiled.plain(part[:, where]) for part in (self.means, self.scales, self.weights)
        )
        levels = compiled.plain(self.levels[where])
        return _Channel(self.kind, means, scales, weights, levels, times)

    def length(self, move: Int64 | int = 0, shift: Int64 | int = 0) -> Int64:
        """Code length of each pixel, in units of 2**-16 bits."""
        codes = self.codes(move, shift)
        _, freqs = codes.interval(self.levels, slice(0, len(self.levels)))
        return _length(freqs)

    def codes(self, move: Int64 | int, shift: Int64 | int) -> Levels:
        table = tables.component_table(self.kind).reshape(-1)
        places = places_of(self.means + move, self.scales + shift)
        return Levels(table, places, self.weights, self.levels.shape)

    def total(self, length: Int64) -> float:
        """Bits of all pixels that these stand for."""
        return self.times * float(length.sum()) / (1 << _BITS)


def fit(mixture: object, x: NDArray[np.uint8], near: NDArray[np.uint8], wanted: Wanted) -> Fitted:
    """Corrections of a pass, from some of its pixels.

    Args:
        mixture: of its pixels, without corrections; a likelihood that is no mixture has none.
        x: its pixels, (B, C, H, W).
        near: their neighbours, (B, K, C, H, W).
        wanted: what may be sent.
    """
    channels, count = apply.channels(mixture), x[:, 0].size
    if not isinstance(mixture, Mixture) or count < _FEWEST:
        return Fitted((NONE,) * channels, 0.0)
    chosen = _chosen(count)
    mask = np.zeros(count, np.bool_)
    mask[chosen] = True
    where = mask.reshape(x[:, 0].shape)
    some, x, near = mixture.only(where), picked(x, where), picked(near, where)
    found: list[Correction] = []
    saved = 0.0
    weights = mixture_weights(flat(some.weights))
    for c in range(channels):
        means, scales = some.components(x, c, weights)
        scales = np.clip(scales, *PIXEL_SCALES)
        levels = x[:, c].ravel().astype(np.int64)
        whole = _Channel(some.kind, means, scales, weights, levels, count / len(chosen))
        correction, gain, move = _channel(whole, x, c, near, wanted)
        found.append(correction)
        saved += gain
        if c + 1 < channels:
            shift = correction.by_scale[scales - PIXEL_SCALES[0]] if correction.shifts else 0
            weights = whole.codes(move, shift).posterior_weights(levels)
    return Fitted(tuple(found), saved)


def _chosen(count: int) -> Int64:
    """Numbers of the pixels that serve, spread so that no row or column is left out."""
    step = -(-count // _MOST)
    first = np.arange(0, count, step)
    return np.minimum(first + 7 * np.arange(len(first)) % step, count - 1)


def _channel(
    whole: _Channel, x: NDArray[np.uint8], c: int, near: NDArray[np.uint8], wanted: Wanted
) -> tuple[Correction, float, Int64]:
    """The correction of a channel, the bits that it saves, and the moves of the means, (n,)."""
    move = np.zeros(len(whole.levels), np.int64)
    found, gain = NONE, 0.0
    if wanted.predictor and near.shape[1]:
        mean = corrections.mean_of(whole.weights, whole.means)
        features = corrections.features(near, x, c, mean, near.shape[1])
        sent = _predictor(whole, features, mean, c)
        if sent:
            chosen = _rows(c, len(sent) // (c + 1), near.shape[1])
            move = corrections.moved(np.array(sent) @ features[chosen])
            found = Correction(sent)
    if wanted.recalibration:
        found = dataclasses.replace(found, shifts=_shifts(whole, move))
    if found:
        shift = found.by_scale[whole.scales - PIXEL_SCALES[0]]
        gain = whole.total(whole.length() - whole.length(move, shift)) - codec.bits_of(found, c)
    return (found, gain, move) if gain > 0 else (NONE, 0.0, np.zeros_like(move))


def _rows(c: int, count: int, known: int) -> Int64:
    """Rows of all features that are those of the nearest `count` neighbours."""
    return (known * np.arange(c + 1)[:, None] + np.arange(count)).ravel()


def _predictor(whole: _Channel, a: Int64, mean: Int64, c: int) -> tuple[int, ...]:
    solved = a.astype(np.float64)
    error = PIXEL_FRACTIONS * whole.levels - mean
    precise = (whole.weights * _inverse_squares()[whole.scales - PIXEL_SCALES[0]]).sum(0) / 256.0
    precise = np.minimum(precise, _NARROWEST)
    left = error
    known = len(a) // (c + 1)
    for last in (False, True):
        square = (left * left).astype(np.float64) / PIXEL_FRACTIONS**2 * precise
        counts = np.floor(precise / (square / _ROBUST + 1.0) * _UNIT)
        matrix, right = least_squares.normal_equations(solved, error.astype(np.float64), counts)
        matrix[np.diag_indices(len(matrix))] += _RIDGE * _UNIT * PIXEL_FRACTIONS**2
        if not last:
            found = _solution(matrix, right)
            left = error - corrections.moved(found @ a)
    tried = whole.tried
    some = whole.some(tried)
    best: tuple[int, ...] = ()
    least = some.total(some.length())
    for count in sorted({min(count, known) for count in COUNTS if count}):
        rows = _rows(c, count, known)
        found = _solution(matrix[np.ix_(rows, rows)], right[rows])
        sent = Correction(tuple(found.tolist()))
        move = corrections.moved(found @ a[rows][:, tried])
        bits = some.total(some.length(move)) + codec.bits_of(sent, c)
        if bits < least:
            best, least = sent.weights, bits
    return best


def _solution(matrix: F64, right: F64) -> Int64:
    return least_squares.rounded_solution(matrix, right, float(1 << WEIGHT_BITS), WEIGHT_LIMIT)


def _shifts(whole: _Channel, move: Int64) -> tuple[int, ...]:
    """Shifts of log-scales at the nodes, none where all are 0."""
    some = whole.some(whole.tried)
    own = move[whole.tried]
    scale = (some.weights * some.scales).sum(0) // 256
    node, rest = corrections.between(scale)
    step = NODES[1] - NODES[0]
    by_node = []
    for shift in _SHIFTS:
        length = some.length(own, shift)
        low = np.bincount(node, length * (step - rest), len(NODES))
        by_node.append(low + np.bincount(node + 1, length * rest, len(NODES)))
    bits = np.stack(by_node, 1) * (some.times / (step * (1 << _BITS)))
    shifts = tuple(_least(row) for row in bits)
    return shifts if any(shifts) else ()


def _least(bits: F64) -> int:
    """The shift of the fewest bits, from those of `_SHIFTS`: the vertex of a parabola."""
    at = int(bits.argmin())
    if bits[_SHIFTS.index(0)] - bits[at] < _SHIFT_COST:
        return 0
    if not 0 < at < len(_SHIFTS) - 1:
        return _SHIFTS[at]
    low, middle, high = bits[at - 1 : at + 2].tolist()
    bend = low + high - 2 * middle
    step = _SHIFTS[1] - _SHIFTS[0]
    return _SHIFTS[at] + (int(np.floor((low - high) / (2 * bend) * step + 0.5)) if bend > 0 else 0)


@functools.cache
def _inverse_squares() -> F64:
    """1 / s**2 of each log-scale of the tables, the least first."""
    scales = np.arange(PIXEL_SCALES[0], PIXEL_SCALES[1] + 1)
    return arithmetic.exp2_steps(-2 * scales, PIXEL_STEPS)


_MANTISSA = 12


@functools.cache
def _logs() -> Int64:
    """log2(1 + i / 2**12), in units of 2**-16."""
    steps = np.arange((1 << _MANTISSA) + 1) / (1 << _MANTISSA)
    values = np.floor(arithmetic.log1p(steps) / arithmetic.log1p(1.0) * (1 << _BITS) + 0.5)
    return values.astype(np.int64)


def _length(freqs: Ints) -> Int64:
    """Code length of frequencies of 2**24, in units of 2**-16 bits: of whole numbers alone."""
    mantissa, exponent = np.frexp(freqs.astype(np.float64))
    steps = np.floor((mantissa * 2.0 - 1.0) * (1 << _MANTISSA) + 0.5).astype(np.int64)
    octaves = tables.PRECISION + 1 - exponent.astype(np.int64)
    length: Int64 = (octaves << _BITS) - _logs()[steps]
    return length
