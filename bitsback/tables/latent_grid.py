"""The latent grid: z = mu_p + sigma_p * delta * (k + u), all of it in integers.

k is what is coded; delta, a stored constant of a channel, is the grid's width in units of the
prior's sigma (where q's width is constant, in units of 1: see `latents`); u in (-1/2, 1/2) is a
dither that both sides draw from the file's seed. Under the prior k follows N(-u, 1/delta**2) on the
integers; under the posterior N((mu_q - mu_p) / (sigma_p delta) - u, (sigma_q / (sigma_p delta))**2
- 1/12): the dither's own variance is left out, so that z has the variance sigma_q**2 whatever delta
is. The narrowest posterior is one k: the paper's first scheme, with noise uniform over the width.
"""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitsback.ans import compiled

from . import arithmetic, tables
from .tables import FIRST, FRACTIONS, POSTERIOR_WIDTHS, PRIOR_WIDTHS, SCALE_STEPS, Ints

MEAN_BITS = 8  # a mean is in units of 2**-8
Z_BITS = 6  # a latent is in units of 2**-6
Z_LIMIT = 512
UNLIMITED = 1 << 40
STEPS = 64  # of a Gaussian's log-scale in an octave
MIDDLE = FRACTIONS // 2  # the dither of no shift, but for 1/64
NIL = 127  # the log-width of a channel that is not coded

_FIXED = 20  # fractional bits of the tables of scales below
WIDEST = 12 * STEPS
PER_WIDTH = STEPS // SCALE_STEPS  # widths, of grids and of table rows, have fewer steps
# A distance has 8 fractional bits, an inverse scale 20: in units of 1/32, 23 bits are to go.
_OFFSET_SHIFT = MEAN_BITS + _FIXED - FRACTIONS.bit_length() + 1
# A step times a number of 1/64 of it has 26 fractional bits; means rise to them, latents keep 6.
_MEAN_SHIFT = _FIXED + FRACTIONS.bit_length() - MEAN_BITS
_LATENT_SHIFT = _MEAN_SHIFT + MEAN_BITS - Z_BITS


@dataclass(frozen=True)
class Gaussian:
    """Diagonal Gaussians with integer parameters.

    Args:
        mean: int (B, C, h, w), in units of 2**-8.
        log_scale: the same shape, 64 log2(sigma), in -512..192.
    """

    mean: Ints
    log_scale: Ints


@functools.cache
def _scales() -> NDArray[np.int64]:
    """round(2**(i/64) * 2**20) for i = -768..768, int64; the least is 2**8."""
    steps = np.arange(-WIDEST, WIDEST + 1)
    return np.floor(arithmetic.exp2_steps(steps, STEPS) * 2**_FIXED + 0.5).astype(np.int64)


def scale(log_scale: Ints) -> NDArray[np.int64]:
    """2**(log_scale/64) in units of 2**-20, int64."""
    return _scales()[np.clip(log_scale, -WIDEST, WIDEST) + WIDEST]


def _bits(seed: int, index: int, group: int, lane: int, count: int) -> NDArray[np.uint64]:
    """The top 32 bits of `count` 64-bit words of Philox-4x64 under this key and counter."""
    philox = np.random.Philox(key=seed, counter=[0, lane, group, index])
    return philox.random_raw(count) >> np.uint64(32)


def dither(seed: int, index: int, group: int, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Dither d in 0..31 of a group in batch `index`; u = (d + 1/2) / 32 - 1/2. int64."""
    bits = _bits(seed, index, group, 0, int(np.prod(shape)))
    return (bits % np.uint64(FRACTIONS)).astype(np.int64).reshape(shape)


def nil_cf(seed: int, index: int, group: int, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Uniform 24-bit numbers that pick the latents which are not coded. int64."""
    bits = _bits(seed, index, group, 1, int(np.prod(shape)))
    return (bits >> np.uint64(32 - tables.PRECISION)).astype(np.int64).reshape(shape)


def prior_rows(log_width: Ints, d: Ints) -> NDArray[np.int64]:
    """Rows of `tables.prior_table` for k under the prior: width 1/delta, centre -u.

    Args:
        log_width: 16 log2(delta), broadcastable to d; the table has 1/delta in 2**-6..2**3, the
            nearest stands for others.
        d: dither in 0..31.
    """
    width = np.clip(-np.asarray(log_width, np.int64), *PRIOR_WIDTHS) - PRIOR_WIDTHS[0]
    rows: NDArray[np.int64] = width * FRACTIONS + (FRACTIONS - 1 - d)
    return rows


def _offsets(
    q: Gaussian, p: Gaussian, log_width: Ints, d: Ints
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Nearest k to the posterior's centre, and the centre's fraction in 0..31 about it."""
    distance = q.mean.astype(np.int64) - p.mean
    inverse = scale(-(p.log_scale.astype(np.int64) + PER_WIDTH * log_width))
    offset = (distance * inverse + (1 << (_OFFSET_SHIFT - 1))) >> _OFFSET_SHIFT
    value = offset - d + FRACTIONS - 1
    return value // FRACTIONS, value % FRACTIONS


def posterior_rows(
    q: Gaussian, p: Gaussian, log_width: Ints, d: Ints
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of `tables.posterior_table`, and the base from which they count: k = base + j.

    The centre is rounded to 1/32 of the grid, the width to 1/16 octave, and clipping keeps every
    k in the window; q may be any distribution, so none of it costs correctness.

    Args:
        log_width: 16 log2(delta), broadcastable to d.
        d: dither in 0..31, (B, C, h, w).

    Returns:
        rows and base, int64 (B, C, h, w).
    """
    if (loops := compiled.loops("tables")) is not None:
        rows, base = np.empty((2, *d.shape), np.int64)
        parameters = q.mean, q.log_scale, p.mean, p.log_scale, np.broadcast_to(log_width, d.shape)
        flat = (compiled.plain(v).ravel() for v in (*parameters, d))
        radii = tables.posterior_radius()
        fixed = _scales(), radii, PER_WIDTH, _OFFSET_SHIFT
        loops.posterior_rows(*flat, *fixed, rows.ravel(), base.ravel())
        return rows, base
    base, fraction = _offsets(q, p, log_width, d)
    width = q.log_scale.astype(np.int64) - p.log_scale
    width = (width + PER_WIDTH // 2) // PER_WIDTH - log_width
    width = np.clip(width, *POSTERIOR_WIDTHS) - POSTERIOR_WIDTHS[0]
    radius = tables.posterior_radius()[width]
    last = FIRST + tables.COLUMNS - 1
    return width * FRACTIONS + fraction, np.clip(base, FIRST + radius, last - radius)


def centre(q: Gaussian, p: Gaussian, log_width: Ints, d: Ints) -> NDArray[np.int64]:
    """The base that `posterior_rows` would give on a window without ends; int64 (B, C, h, w)."""
    return _offsets(q, p, log_width, d)[0]


def nearest(q: Gaussian, p: Gaussian, log_width: Ints, d: Ints) -> NDArray[np.int64]:
    """The k of a posterior that is uniform of the grid's width: the paper's first scheme."""
    return np.clip(_offsets(q, p, log_width, d)[0], FIRST, FIRST + tables.COLUMNS - 1)


def latent(
    p: Gaussian, log_width: Ints, k: Ints, d: Ints, limit: int = Z_LIMIT
) -> NDArray[np.int64]:
    """z in units of 2**-6, rounded and clipped to |z| <= limit; int64 (B, C, h, w)."""
    if (loops := compiled.loops("tables")) is not None:
        z = np.empty(d.shape, np.int64)
        parameters = p.mean, p.log_scale, np.broadcast_to(log_width, d.shape), k, d
        flat = (compiled.plain(v).ravel() for v in parameters)
        fixed = _scales(), PER_WIDTH, _MEAN_SHIFT, _LATENT_SHIFT, limit
        loops.latents(*flat, *fixed, z.ravel())
        return z
    step = scale(p.log_scale.astype(np.int64) + PER_WIDTH * np.asarray(log_width, np.int64))
    # k + u = (64 k + 2 d - 31) / 64 exactly.
    halves = 2 * FRACTIONS * np.asarray(k, np.int64) + 2 * d - (FRACTIONS - 1)
    total = (p.mean.astype(np.int64) << _MEAN_SHIFT) + step * halves
    return np.clip((total + (1 << (_LATENT_SHIFT - 1))) >> _LATENT_SHIFT, -limit, limit)


@dataclass(frozen=True)
class _Logs:
    """log2 of the tables' frequencies, flat, and sums of Q log2 Q of the posterior's rows."""

    posterior: NDArray[np.float64]
    negentropy: NDArray[np.float64]
    prior: NDArray[np.float64]


@functools.cache
def _logs() -> _Logs:
    q = np.diff(tables.posterior_table().astype(np.float64))
    p = np.diff(tables.prior_table().astype(np.float64))
    log_q = np.log2(np.maximum(q, 1))
    return _Logs(log_q.ravel(), (q * log_q).sum(1) / tables.TOTAL, np.log2(p).ravel())


def code_length(rows: Ints, k: Ints) -> NDArray[np.float64]:
    """-log2 P(k) of rows of the prior's table, bits, of their shape."""
    return tables.PRECISION - _logs().prior[rows * tables.COLUMNS + k - FIRST]


def kl_bits(rows: Ints, base: Ints, p_rows: Ints) -> NDArray[np.float64]:
    """KL(q || p) on the grid, from the integer tables: sum_k Q log2(Q / P), bits per latent.

    Args:
        rows, base: of the posterior.
        p_rows: of the prior; all of one shape.

    Returns:
        float64 of that shape; its last digits depend on whether there are compiled loops.
    """
    if (loops := compiled.loops("tables")) is None:
        return _moments(rows, base, p_rows)[0]
    flat = [compiled.plain(v).ravel() for v in (rows, base, p_rows)]
    bits = np.empty(len(flat[0]))
    logs, fixed = _logs(), tables.posterior_table().ravel()
    loops.kl_bits(fixed, logs.negentropy, logs.prior, *flat, tables.posterior_radius(), bits)
    return bits.reshape(np.shape(rows))


def luck_variance(rows: Ints, base: Ints, p_rows: Ints) -> NDArray[np.float64]:
    """Variance of log2(Q(k) / P(k)), whose mean is the KL, for k from Q: bits**2 per latent.

    Args, returns: as of `kl_bits`.
    """
    if (loops := compiled.loops("tables")) is None:
        mean, square = _moments(rows, base, p_rows)
        return np.maximum(square - mean**2, 0.0)
    flat = [compiled.plain(v).ravel() for v in (rows, base, p_rows)]
    variance = np.empty(len(flat[0]))
    logs, fixed = _logs(), tables.posterior_table().ravel()
    radii = tables.posterior_radius()
    loops.luck_variance(fixed, logs.posterior, logs.prior, *flat, radii, variance)
    return variance.reshape(np.shape(rows))


def _moments(
    rows: Ints, base: Ints, p_rows: Ints
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and mean square of log2(Q / P) under Q, without compiled loops."""
    flat_rows, flat_base, flat_p = (compiled.plain(v).ravel() for v in (rows, base, p_rows))
    mean, square = np.empty(len(flat_rows)), np.empty(len(flat_rows))
    radius_of = tables.posterior_radius()[flat_rows // FRACTIONS]
    posterior, prior = tables.posterior_table().ravel(), tables.prior_table().ravel()
    stride = tables.COLUMNS + 1
    # Latents of like width together, so that narrow ones do not pay for wide ones' columns.
    for radius in np.unique(radius_of):
        same = np.flatnonzero(radius_of == radius)
        for begin in range(0, len(same), 1 << 14):
            some = same[begin : begin + (1 << 14)]
            j = np.arange(-radius, radius + 2) - FIRST
            c_q = posterior[(flat_rows[some] * stride)[:, None] + j]
            c_p = prior[(flat_p[some] * stride + flat_base[some])[:, None] + j]
            f_q = np.diff(c_q.astype(np.float64))
            ratio = np.log2(f_q / np.diff(c_p.astype(np.float64)))
            mean[some] = (f_q * ratio).sum(1) / tables.TOTAL
            square[some] = (f_q * ratio**2).sum(1) / tables.TOTAL
    return mean.reshape(np.shape(rows)), square.reshape(np.shape(rows))


def continuous_kl_bits(q: Gaussian, p: Gaussian) -> NDArray[np.float64]:
    """KL of the Gaussians themselves, bits per latent, (B, C, h, w) (the paper's eq. 7)."""
    log_ratio = (q.log_scale - p.log_scale.astype(np.float64)) / STEPS
    distance = (q.mean - p.mean.astype(np.float64)) / 2**MEAN_BITS
    distance = distance * np.exp2(-p.log_scale / STEPS)
    nats = 0.5 * (np.exp2(2 * log_ratio) + distance**2 - 1)
    bits: NDArray[np.float64] = nats / np.log(2) - log_ratio
    return bits
