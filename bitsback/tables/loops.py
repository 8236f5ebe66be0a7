"""Compiled loops from a model's numbers to table rows: what `latent_grid` and `pixels` do in NumPy.

Imported through `compiled.loops` only, since it needs numba. Numbers are int64, and every place
that is looked up was clipped, so that none leaves its table, whatever a model's numbers are; only
`kl_bits` trusts its rows to be those of `posterior_rows`.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import float64, int64, uint32, uint64, void

from bitsback.ans.loops import MESSAGE, pop_head

from . import tables
from .corrections import WEIGHT_BITS
from .tables import (
    COLUMNS,
    FIRST,
    FRACTIONS,
    LAST,
    PIXEL_COLUMNS,
    PIXEL_FRACTIONS,
    PIXEL_TOTAL,
    PRECISION,
    TOTAL,
)

Array = np.ndarray[Any, Any]

_U32 = numba.types.Array(uint32, 1, "C", readonly=True)
_I64 = numba.types.Array(int64, 1, "C", readonly=True)
_F64 = numba.types.Array(float64, 1, "C", readonly=True)
_I64_2 = numba.types.Array(int64, 2, "C", readonly=True)
_I64_3 = numba.types.Array(int64, 3, "C", readonly=True)
_U8_4 = numba.types.Array(numba.uint8, 4, "C", readonly=True)
_I64_4 = numba.types.Array(int64, 4, "C", readonly=True)

_LEAST_SCALE, _GREATEST_SCALE = tables.PIXEL_SCALES
_LEAST_WIDTH, _GREATEST_WIDTH = tables.POSTERIOR_WIDTHS
_LEVELS = 256
_LEVELS_TOTAL = _LEVELS * PIXEL_TOTAL
_HIGHEST = (_LEVELS - 1) * PIXEL_FRACTIONS
_SUM = 256  # of a mixture's weights


@numba.njit(inline="always")
def clip(value: int, low: int, high: int) -> int:
    return max(low, min(high, value))


@numba.njit(inline="always")
def _scale(scales: Array, log_scale: int) -> int:
    middle = len(scales) // 2
    return scales[clip(log_scale, -middle, middle) + middle]


@numba.njit(
    void(_I64, _I64, _I64, _I64, _I64, _I64, _I64, _I64, int64, int64, int64[::1], int64[::1]),
    cache=True,
)
def posterior_rows(
    q_mean: Array,
    q_scale: Array,
    p_mean: Array,
    p_scale: Array,
    log_width: Array,
    dither: Array,
    scales: Array,
    radii: Array,
    per_width: int,
    shift: int,
    rows: Array,
    base: Array,
) -> None:
    """`latent_grid.posterior_rows`, into rows and base; `shift` as in `latent_grid._offsets`."""
    half = int64(1) << (shift - 1)
    for i in range(len(rows)):
        inverse = _scale(scales, -(p_scale[i] + per_width * log_width[i]))
        offset = ((q_mean[i] - p_mean[i]) * inverse + half) >> shift
        value = offset - dither[i] + FRACTIONS - 1
        width = (q_scale[i] - p_scale[i] + per_width // 2) // per_width - log_width[i]
        width = clip(width, _LEAST_WIDTH, _GREATEST_WIDTH) - _LEAST_WIDTH
        radius = radii[width]
        rows[i] = width * FRACTIONS + value % FRACTIONS
        base[i] = clip(value // FRACTIONS, FIRST + radius, LAST - radius)


@numba.njit(
    void(_I64, _I64, _I64, _I64, _I64, _I64, int64, int64, int64, int64, int64[::1]), cache=True
)
def latents(
    mean: Array,
    log_scale: Array,
    log_width: Array,
    k: Array,
    dither: Array,
    scales: Array,
    per_width: int,
    shift: int,
    drop: int,
    limit: int,
    z: Array,
) -> None:
    """`latent_grid.latent`, into z; `shift` and `drop` as there."""
    half = int64(1) << (drop - 1)
    for i in range(len(z)):
        step = _scale(scales, log_scale[i] + per_width * log_width[i])
        halves = 2 * FRACTIONS * k[i] + 2 * dither[i] - (FRACTIONS - 1)
        z[i] = clip(((mean[i] << shift) + step * halves + half) >> drop, -limit, limit)


@numba.njit(void(_U32, _F64, _F64, _I64, _I64, _I64, _I64, float64[::1]), cache=True)
def kl_bits(
    posterior: Array,
    negentropy: Array,
    log_prior: Array,
    rows: Array,
    base: Array,
    p_rows: Array,
    radii: Array,
    bits: Array,
) -> None:
    """`latent_grid.kl_bits`, into bits.

    Args:
        posterior: its table, flat; negentropy: sum of Q log2 Q of each of its rows.
        log_prior: log2 of the prior's frequencies, in rows of 256.
    """
    for i in range(len(rows)):
        radius = radii[rows[i] // FRACTIONS]
        q_at = rows[i] * (COLUMNS + 1) - FIRST
        p_at = p_rows[i] * COLUMNS + base[i] - FIRST
        cross = 0.0
        for k in range(-radius, radius + 1):
            freq = int64(posterior[q_at + k + 1]) - int64(posterior[q_at + k])
            cross += freq * log_prior[p_at + k]
        bits[i] = negentropy[rows[i]] - cross / TOTAL


@numba.njit(void(_U32, _F64, _F64, _I64, _I64, _I64, _I64, float64[::1]), cache=True)
def luck_variance(
    posterior: Array,
    log_posterior: Array,
    log_prior: Array,
    rows: Array,
    base: Array,
    p_rows: Array,
    radii: Array,
    variance: Array,
) -> None:
    """`latent_grid.luck_variance`, into variance.

    Args:
        posterior: its table, flat; log_posterior: log2 of its frequencies, in rows of 256.
        log_prior: the same of the prior's.
    """
    for i in range(len(rows)):
        radius = radii[rows[i] // FRACTIONS]
        q_at = rows[i] * (COLUMNS + 1) - FIRST
        log_at = rows[i] * COLUMNS - FIRST
        p_at = p_rows[i] * COLUMNS + base[i] - FIRST
        mean = 0.0
        square = 0.0
        for k in range(-radius, radius + 1):
            freq = int64(posterior[q_at + k + 1]) - int64(posterior[q_at + k])
            ratio = log_posterior[log_at + k] - log_prior[p_at + k]
            mean += freq * ratio
            square += freq * ratio * ratio
        variance[i] = max(square / TOTAL - (mean / TOTAL) ** 2, 0.0)


@numba.njit(void(int64[:, ::1]), cache=True)
def normalise(mass: Array) -> None:
    """`mixture_levels._normalised`, in place: (M, n) weights that sum to 256 over M.

    Mass is below 2**30 in all: a float64 quotient of integers below 2**53 has the right floor.
    """
    for i in range(mass.shape[1]):
        total, largest = int64(0), 0
        for m in range(len(mass)):
            total += mass[m, i]
            if mass[m, i] > mass[largest, i]:
                largest = m
        rest, whole = int64(_SUM), float64(total)
        for m in range(len(mass)):
            mass[m, i] = int64(float64(mass[m, i] * _SUM) / whole)
            rest -= mass[m, i]
        mass[largest, i] += rest


@numba.njit(inline="always")
def place(mean: int, scale: int) -> int:
    """Where level 0 of a component lies in the flat table; mean and log-scale are clipped to it."""
    mean = clip(mean, 0, _HIGHEST)
    scale = clip(scale, _LEAST_SCALE, _GREATEST_SCALE)
    row = (scale - _LEAST_SCALE) * PIXEL_FRACTIONS + mean % PIXEL_FRACTIONS
    return row * PIXEL_COLUMNS + PIXEL_COLUMNS // 2 - mean // PIXEL_FRACTIONS


@numba.njit(inline="always")
def shifted(scale: int, by_scale: Array) -> int:
    """A log-scale and the shift that the table has for it."""
    scale = clip(scale, _LEAST_SCALE, _GREATEST_SCALE)
    return scale + by_scale[scale - _LEAST_SCALE]


@numba.njit(inline="always")
def _mean(means: Array, coeffs: Array, x: Array, b: int, m: int, channel: int, p: int) -> int:
    """A component's mean given the pixel's earlier channels."""
    mean = means[b, m, channel, p]
    if channel:
        first = channel * (channel - 1) // 2
        move = int64(0)
        for c in range(channel):
            move += coeffs[b, m, first + c, p] * (x[b, c, p] - 128)
        mean += (move + 64) >> 7
    return mean


@numba.njit(void(_I64_4, _I64_4, _I64_4, _I64_3, int64, int64[:, ::1]), cache=True)
def places(
    means: Array, log_scales: Array, coeffs: Array, x: Array, channel: int, at: Array
) -> None:
    """Where level 0 of a channel's components lies in the flat table, into at, (M, n).

    Args:
        means, log_scales: (B, M, C, P) for P pixels; coeffs: (B, M, C (C - 1) / 2, P).
        x: (B, C, P), of which the channels before this one are read.
    """
    batch, components, _, size = means.shape
    for b in range(batch):
        for m in range(components):
            for p in range(size):
                mean = _mean(means, coeffs, x, b, m, channel, p)
                at[m, b * size + p] = place(mean, log_scales[b, m, channel, p])


@numba.njit(
    void(_I64_4, _I64_4, _I64_4, _I64_3, int64, _U8_4, _I64_2, _I64, _I64_2, int64[:, ::1]),
    cache=True,
)
def corrected_places(
    means: Array,
    log_scales: Array,
    coeffs: Array,
    x: Array,
    channel: int,
    near: Array,
    sent: Array,
    by_scale: Array,
    weights: Array,
    at: Array,
) -> None:
    """`places` of corrected components (see `corrections`).

    Args:
        near: neighbours, (B, K, C, P); sent: their weights, (channel + 1, at most K).
        by_scale: shift of each log-scale of the table.
        weights: of the components, (M, B * P).
    """
    batch, components, _, size = means.shape
    count = sent.shape[1]
    half = int64(1) << WEIGHT_BITS - 1
    own = int64(0)
    for k in range(count):
        own += sent[0, k]
    total = np.empty(size, np.int64)
    mean = np.empty(components, np.int64)
    for b in range(batch):
        total[:] = 0
        for k in range(count):
            for e in range(channel + 1):
                # Row 0 has the weights of the channel itself, row e + 1 those of channel e.
                weight = sent[e, k]
                source = near[b, k, e - 1 if e else channel]
                for p in range(size):
                    total[p] += weight * int64(source[p])
        for e in range(channel):
            weight = int64(0)
            for k in range(count):
                weight += sent[e + 1, k]
            for p in range(size):
                total[p] -= weight * x[b, e, p]
        for p in range(size):
            middle = int64(0)
            for m in range(components):
                mean[m] = _mean(means, coeffs, x, b, m, channel, p)
                middle += weights[m, b * size + p] * clip(mean[m], 0, _HIGHEST)
            middle = (middle + _SUM // 2) // _SUM
            move = PIXEL_FRACTIONS * total[p] - own * middle
            move = (move + half) >> WEIGHT_BITS
            for m in range(components):
                scale = shifted(log_scales[b, m, channel, p], by_scale)
                at[m, b * size + p] = place(mean[m] + move, scale)


@numba.njit(inline="always")
def _below(table: Array, at: int, level: int) -> int:
    """A component's cumulative frequency at the lower edge of level 0..256."""
    if level == 0:
        return 0
    return PIXEL_TOTAL if level == _LEVELS else int64(table[at + level])


@numba.njit(void(_U32, _I64_2, _I64_2, _I64, uint64[::1], uint64[::1]), cache=True)
def level_intervals(
    table: Array, at: Array, weights: Array, levels: Array, starts: Array, freqs: Array
) -> None:
    """Intervals of levels under mixtures, into starts and freqs; 0 for what is no level."""
    for i in range(len(levels)):
        level = levels[i]
        start, freq = level, int64(1)
        if level < 0 or level >= _LEVELS:
            start, freq = int64(0), int64(0)
        else:
            for m in range(len(at)):
                below = _below(table, at[m, i], level)
                start += weights[m, i] * below
                freq += weights[m, i] * (_below(table, at[m, i], level + 1) - below)
        starts[i], freqs[i] = uint64(start), uint64(freq)


@numba.njit(void(_U32, _I64_2, _I64_2, _I64, int64[:, ::1]), cache=True)
def level_mass(table: Array, at: Array, weights: Array, levels: Array, mass: Array) -> None:
    """What each component gives to the levels, into mass, (M, n)."""
    for m in range(len(at)):
        for i in range(len(levels)):
            level = clip(levels[i], 0, _LEVELS - 1)
            below = _below(table, at[m, i], level)
            own = _below(table, at[m, i], level + 1) - below
            mass[m, i] = weights[m, i] * (own + 1)


@numba.njit(inline="always")
def _edge(table: Array, at: Array, weights: Array, i: int, level: int) -> int:
    """Cumulative frequency at the lower edge of a pixel's level, 1..255."""
    total = level
    for m in range(len(at)):
        total += weights[m, i] * int64(table[at[m, i] + level])
    return total


@numba.njit(int64(*MESSAGE, _U32, _I64_2, _I64_2, int64[::1]), cache=True)
def pop_levels(
    heads: Array,
    tail: Array,
    size: int,
    table: Array,
    at: Array,
    weights: Array,
    levels: Array,
) -> int:
    """Pop grey levels under mixtures; see `mixture_levels.Levels` for table, at and weights."""
    n, count = at.shape[1], len(heads)
    power = uint64(PRECISION)
    for lo in range((n - 1) // count * count, -1, -count):
        for i in range(lo, min(lo + count, n)):
            head = heads[i - lo]
            cf = int64(head & ((uint64(1) << power) - uint64(1)))
            # Outwards from the mean of the likeliest component, in growing steps, then bisection:
            # most levels are near it, and so are the places of the table.
            best = 0
            for m in range(1, len(at)):
                if weights[m, i] > weights[best, i]:
                    best = m
            low, high, start, end = 0, COLUMNS, 0, _LEVELS_TOTAL + COLUMNS
            middle, span = PIXEL_COLUMNS // 2 - at[best, i] % PIXEL_COLUMNS, 1
            while high - low > 1:
                middle = min(max(middle, low + 1), high - 1)
                edge = _edge(table, at, weights, i, middle)
                if edge <= cf:
                    low, start = middle, edge
                else:
                    high, end = middle, edge
                if low == 0:
                    middle -= span
                elif high == COLUMNS:
                    middle += span
                else:
                    middle = (low + high) // 2
                span *= 2
            levels[i] = low
            heads[i - lo], size = pop_head(
                head, uint64(cf - start), uint64(end - start), power, tail, size
            )
        if size < 0:
            return size
    return size
