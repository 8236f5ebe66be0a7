"""Fine grids: rows of normal frequencies that are computed when they are asked for.

The tables of `tables` hold grids of 256 points, whose width is at least an eighth of the prior's
sigma. A latent whose posterior is much narrower than its prior needs a finer one. On it, all is in
units of the grid's width: a latent is k + u, with the dither u of `latent_grid`,

    p:  k ~ N(mean_p - u, s_p**2)    on |k| <= limit
    q:  k ~ N(mean_q - u, s_q**2 - 1/12)    within 6 sigma, as far as |k| <= limit

and the cumulative frequency of k in a window from `low` to `high` is

    C(k) = 2 (k - low) + floor(Phi((k - 1/2 - centre) / s) (2**24 - 2 (high - low + 1)))

so that each k of the window has at least 1, however Phi's last digit is rounded. `arithmetic` gives
every machine the same Phi. A row is a number: its centre in 1/32, and its width.
"""

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bitsback.ans import codecs
from bitsback.ans.message import U64, Message

from . import arithmetic
from .latent_grid import MEAN_BITS, STEPS, Gaussian
from .tables import FRACTIONS, PRECISION, TOTAL, Ints

LIMIT = 4096  # the largest |k|
WIDTHS = (-116, 576)  # 64 log2 of the sigmas, in units of the grid's width

_WIDTH_BITS = 10
_SIGMAS_OF_PRIOR, _SIGMAS_OF_POSTERIOR, _SIGMAS_OF_CENTRE = 16.0, 6.0, 4.0
_LEAST_WIDTH = 0.05
_MEAN_SHIFT = MEAN_BITS - (FRACTIONS.bit_length() - 1)
_COLUMNS = 12  # that a report evaluates in a sigma, at most
Int64 = NDArray[np.int64]
Window = tuple[Int64, Int64]  # lowest and highest k


@functools.cache
def _scales() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Deviations of all widths: of the prior, and of the posterior without the dither's."""
    wide = arithmetic.exp2_steps(np.arange(WIDTHS[0], WIDTHS[1] + 1), STEPS)
    least = np.float64(_LEAST_WIDTH * _LEAST_WIDTH)
    return wide, np.sqrt(np.maximum(wide * wide - 1.0 / 12.0, least))


def rows(gaussian: Gaussian, d: Ints) -> Int64:
    """Rows of Gaussians on the grid.

    Args:
        gaussian: means in 2**-8 of the grid's width; log-scales 64 log2 of sigma in that unit.
        d: dither in 0..31.

    Returns:
        int64 of their shape.
    """
    mean = gaussian.mean.astype(np.int64)
    value = ((mean + (1 << (_MEAN_SHIFT - 1))) >> _MEAN_SHIFT) - d + FRACTIONS - 1
    width = np.clip(gaussian.log_scale.astype(np.int64), *WIDTHS) - WIDTHS[0]
    return (value << _WIDTH_BITS) + width


def _value(row: Int64) -> Int64:
    return row >> _WIDTH_BITS


def _width(row: Int64) -> Int64:
    return row & ((1 << _WIDTH_BITS) - 1)


def limits(row: Int64) -> Int64:
    """The largest |k| that a prior's rows code: 16 sigma, or 4096."""
    far = np.ceil(_scales()[0] * _SIGMAS_OF_PRIOR).astype(np.int64)[_width(row)]
    return np.minimum(far + 2 + np.abs(_value(row)) // FRACTIONS, LIMIT)


def prior_window(row: Int64, limit: Int64) -> Window:
    """The k that a prior codes: all up to the limit."""
    return -limit, limit


def posterior_window(row: Int64, limit: Int64) -> Window:
    """The k that a posterior may give: 6 sigma about its centre, as far as the limit lets them."""
    radius = _radii(_SIGMAS_OF_POSTERIOR)[_width(row)]
    middle = np.clip(_value(row) // FRACTIONS, -limit, limit)
    return np.maximum(middle - radius, -limit), np.minimum(middle + radius, limit)


def _radii(sigmas: float) -> Int64:
    return np.ceil(_scales()[1] * sigmas).astype(np.int64) + 1


def _cumulative(row: Int64, s: NDArray[np.float64], window: Window, k: Int64) -> Int64:
    low, high = window
    # k - 1/2 - centre, exactly; past 9 deviations the mass left is below 2**-60
    x = (2 * FRACTIONS * k - 2 * _value(row) - 1) / (2.0 * FRACTIONS) / s
    mass = np.minimum(arithmetic.normal_cdf(np.clip(x, -9.0, 9.0)), 1.0)
    inside = 2 * (k - low) + np.floor(mass * (TOTAL - 2 * (high - low + 1))).astype(np.int64)
    return np.where(k <= low, 0, np.where(k > high, TOTAL, inside))


def prior_codec(row: Int64, limit: Int64) -> codecs.Codec[NDArray[np.int64]]:
    """k under priors.

    Args:
        row: any shape; of `rows`.
        limit: the same shape; of `limits`.
    """
    return _codec(row.ravel(), _scales()[0], prior_window(row.ravel(), limit.ravel()), row.shape)


def posterior_codec(row: Int64, limit: Int64, masks: U64) -> codecs.Codec[NDArray[np.int64]]:
    """k under posteriors.

    Args:
        row, limit: as of `prior_codec`, the limit being the prior's.
        masks: as of `codecs.categorical`.
    """
    flat = row.ravel()
    window = posterior_window(flat, limit.ravel())

    def part(where: slice) -> codecs.Codec[NDArray[np.int64]]:
        some = window[0][where], window[1][where]
        return _codec(flat[where], _scales()[1], some, flat[where].shape)

    return _masked(part, row.shape, masks)


def _codec(
    row: Int64, scales: NDArray[np.float64], window: Window, shape: tuple[int, ...]
) -> codecs.Codec[NDArray[np.int64]]:
    s = scales[_width(row)]
    low, high = window

    def at(k: Int64, where: slice) -> Int64:
        return _cumulative(row[where], s[where], (low[where], high[where]), k)

    def interval(k: Ints, where: slice) -> tuple[Ints, Ints]:
        wide = k.astype(np.int64)
        outside = (wide < low[where]) | (wide > high[where])
        start = at(wide, where)
        return start, np.where(outside, 0, at(wide + 1, where) - start)

    def find(cf: Ints, where: slice) -> Int64:
        wanted, below = cf.astype(np.int64), low[where].copy()
        span = 1 << int((high - low).max(initial=0)).bit_length()
        while (span := span // 2) > 0:
            middle = np.minimum(below + span, high[where])
            below = np.where(at(middle, where) <= wanted, middle, below)
        return below

    return codecs.from_intervals(interval, find, shape, PRECISION)


def _masked(
    part: Callable[[slice], codecs.Codec[NDArray[np.int64]]], shape: tuple[int, ...], masks: U64
) -> codecs.Codec[NDArray[np.int64]]:
    """Blocks of a symbol for each head, popped first to last; all heads are masked before it."""
    size = int(np.prod(shape, dtype=np.int64))

    def blocks(message: Message) -> list[slice]:
        heads = len(message.heads)
        return [slice(begin, begin + heads) for begin in range(0, size, heads)]

    def push(message: Message, k: NDArray[np.int64]) -> Message:
        flat = k.ravel()
        for where in reversed(blocks(message)):
            part(where).push(message, flat[where])
            message.heads ^= masks[where]
        return message

    def pop(message: Message) -> tuple[Message, NDArray[np.int64]]:
        flat = np.empty(size, np.int64)
        for where in blocks(message):
            message.heads ^= masks[where]
            flat[where] = part(where).pop(message)[1]
        return message, flat.reshape(shape)

    return codecs.Codec(push, pop)


def is_clipped(row: Int64, limit: Int64) -> NDArray[np.bool_]:
    """Which posteriors lose what lies within 4 sigma of their centre to the limit."""
    near = _radii(_SIGMAS_OF_CENTRE)[_width(row)]
    return np.abs(_value(row) // FRACTIONS) + near > limit


def moments(q_row: Int64, limit: Int64, p_row: Int64) -> tuple[NDArray[np.float64], float]:
    """KL(q || p) of each latent on the grid, bits; all latents' variance of log2(Q / P), bits**2.

    Of a wide posterior a part of the k is evaluated, at equal distances.
    """
    return _moments(q_row, limit, p_row)


def entropy(q_row: Int64, limit: Int64) -> tuple[NDArray[np.float64], float]:
    """Entropy of each latent on the grid, bits; all latents' variance of log2 Q, bits**2."""
    negative, variance = _moments(q_row, limit, None)
    return -negative, variance


def code_length(p_row: Int64, limit: Int64, k: Int64) -> NDArray[np.float64]:
    """-log2 P(k) of each latent."""
    frequency = _frequency(p_row, _scales()[0], prior_window(p_row, limit), k)
    return PRECISION - np.log2(np.maximum(frequency, 1))


def _frequency(row: Int64, scales: NDArray[np.float64], window: Window, k: Int64) -> Int64:
    s = scales[_width(row)]
    return _cumulative(row, s, window, k + 1) - _cumulative(row, s, window, k)


def _moments(q_row: Int64, limit: Int64, p_row: Int64 | None) -> tuple[NDArray[np.float64], float]:
    """Mean under q and variance of log2(Q / P), or of log2 Q without a prior."""
    q, most = q_row.ravel(), limit.ravel()
    p = None if p_row is None else p_row.ravel()
    mean_bits, variance = np.zeros(len(q)), 0.0
    for width in np.unique(_width(q)):
        same = np.flatnonzero(_width(q) == width)
        stride = max(1, int(_scales()[1][width] / _COLUMNS))
        for begin in range(0, len(same), 1 << 12):
            some = same[begin : begin + (1 << 12)]
            q_some, far = q[some, None], most[some, None]
            low, high = posterior_window(q_some, far)
            k = low + np.arange(0, int((high - low).max()) + 1, stride)
            f_q = np.where(k <= high, _frequency(q_some, _scales()[1], (low, high), k), 0)
            f_p = np.full_like(f_q, TOTAL)
            if p is not None:
                p_some = p[some, None]
                f_p = _frequency(p_some, _scales()[0], prior_window(p_some, far), k)
            ratio = np.log2(np.maximum(f_q, 1) / np.maximum(f_p, 1))
            share = f_q / f_q.sum(1, keepdims=True)
            mean = (share * ratio).sum(1)
            mean_bits[some] = mean
            variance += float(np.maximum((share * ratio**2).sum(1) - mean**2, 0.0).sum())
    return mean_bits.reshape(q_row.shape), variance
